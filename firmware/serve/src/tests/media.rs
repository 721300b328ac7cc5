//! Playlists and objects: status codes, waiting, ranges, caching.

use bytes::Bytes;
use store::Keep;

use super::harness::{Bench, EPOCH, until};

fn playlist(query: &str) -> String {
    format!("/live/demo/{EPOCH}.0.m3u8{query}")
}

fn object(file: &str) -> String {
    format!("/live/demo/{EPOCH}/{file}")
}

#[tokio::test]
async fn playlists_carry_their_headers() {
    let bench = Bench::start().await;
    bench.publish(7);
    let master = bench.get("/live/demo/index.m3u8", &[]).await;
    assert_eq!(master.status, 200);
    assert!(master.text().contains(&format!("\n{EPOCH}.0.m3u8\n")), "{}", master.text());
    for (path, cache) in [
        ("/live/demo/index.m3u8".to_owned(), "no-cache"),
        (playlist(""), "no-cache"),
        (playlist("?_HLS_msn=1&_HLS_part=0"), "public, max-age=4"),
    ] {
        let reply = bench.get(&path, &["Host: cdn.example"]).await;
        assert_eq!(reply.status, 200, "{path}");
        assert_eq!(reply.header("content-type"), Some("application/vnd.apple.mpegurl"));
        assert_eq!(reply.header("access-control-allow-origin"), Some("*"));
        assert_eq!(reply.header("cache-control"), Some(cache), "{path}");
        let etag = format!("If-None-Match: {}", reply.header("etag").unwrap());
        let again = bench.get(&path, &[&etag]).await;
        assert_eq!((again.status, again.header("cache-control")), (304, Some(cache)));
        let head = bench.ask("HEAD", &path, &[], "").await;
        assert_eq!(head.header("content-length"), Some(reply.body.len().to_string().as_str()));
        assert!(bench.ask("HEAD", &path, &[], "").await.body.is_empty());
    }
    let etag = bench.get(&playlist(""), &[]).await.header("etag").map(str::to_owned).unwrap();
    bench.push(7);
    let changed = bench.get(&playlist(""), &[&format!("If-None-Match: {etag}")]).await;
    assert_eq!(changed.status, 200);
}

#[tokio::test]
async fn a_blocking_reload_wakes() {
    let bench = Bench::start().await;
    bench.publish(6);
    let mut waiting = bench.connect().await;
    waiting.send("GET", &playlist("?_HLS_msn=1&_HLS_part=1"), &[], "").await;
    until(|| bench.metrics().contains("relaybox_playlist_waiting 1\n")).await;
    bench.push(6);
    let reply = waiting.reply("GET").await;
    assert!(reply.text().contains("/1.1.m4s"), "{}", reply.text());
    assert!(bench.metrics().contains("relaybox_playlist_waiting 0\n"));
    assert!(bench.metrics().contains("relaybox_playlist_waits_total 1\n"));
    assert!(bench.metrics().contains("relaybox_stream_hls_clients{stream=\"demo\"} 1\n"));
}

#[tokio::test]
async fn what_cannot_be_answered_is_said() {
    let bench = Bench::start().await;
    let offline = bench.get("/live/demo/index.m3u8", &[]).await;
    offline.assert_problem(503);
    assert_eq!(offline.header("retry-after"), Some("2"));
    assert_eq!(offline.header("access-control-allow-origin"), Some("*"));

    bench.publish(6);
    bench.get(&playlist("?_HLS_msn=4"), &[]).await.assert_problem(400);
    bench.get(&playlist("?_HLS_msn=1&_HLS_part=90"), &[]).await.assert_problem(400);
    bench.get(&playlist("?_HLS_msn=x"), &[]).await.assert_problem(400);
    bench.get(&playlist("?_HLS_part=1"), &[]).await.assert_problem(400);
    for path in [
        format!("/live/demo/{EPOCH}.1.m3u8"),
        "/live/other/index.m3u8".into(),
        object("9.m4s"),
        object("1.3.m4s"),
        object("01.m4s"),
        "/live/demo/".into(),
        "/nothing".into(),
    ] {
        bench.get(&path, &[]).await.assert_problem(404);
    }
    let stalled = bench.get(&playlist("?_HLS_msn=1&_HLS_part=1"), &[]).await;
    stalled.assert_problem(503);
    assert_eq!(stalled.header("retry-after"), Some("2"));
    bench.get(&object("1.1.m4s"), &[]).await.assert_problem(503);
}

#[tokio::test]
async fn only_reading_is_allowed() {
    let bench = Bench::start().await;
    bench.publish(6);
    for method in ["POST", "PUT", "DELETE", "PATCH"] {
        let reply = bench.ask(method, &playlist(""), &[], "").await;
        reply.assert_problem(405);
        assert_eq!(reply.header("allow"), Some("GET, HEAD, OPTIONS"));
    }
    let options = bench.ask("OPTIONS", &object("0.m4s"), &["Origin: https://page.example"], "").await;
    assert_eq!(options.status, 204);
    assert_eq!(options.header("access-control-allow-origin"), Some("*"));
    assert!(options.header("access-control-allow-headers").unwrap().contains("range"));
    assert_eq!(options.header("access-control-allow-methods"), Some("GET, HEAD, OPTIONS"));
}

#[tokio::test]
async fn objects_are_immutable_and_have_ranges() {
    let bench = Bench::start().await;
    bench.publish(10);
    let path = object("1.m4s");
    let whole = bench.get(&path, &[]).await;
    assert_eq!((whole.status, whole.text()), (200, "<5><6><7><8><9>"));
    assert_eq!(whole.header("content-type"), Some("video/mp4"));
    assert_eq!(whole.header("cache-control"), Some("public, max-age=31536000, immutable"));
    assert_eq!(whole.header("accept-ranges"), Some("bytes"));
    assert_eq!(whole.header("access-control-allow-origin"), Some("*"));
    assert_eq!(bench.get(&object("init.mp4"), &[]).await.text(), "init");
    assert_eq!(bench.get(&object("1.2.m4s"), &[]).await.text(), "<7>");

    let part = bench.get(&path, &["Range: bytes=2-7"]).await;
    assert_eq!((part.status, part.text()), (206, "><6><7"));
    assert_eq!(part.header("content-range"), Some("bytes 2-7/15"));
    let tail = bench.get(&path, &["Range: bytes=-4"]).await;
    assert_eq!((tail.status, tail.text()), (206, "><9>"));
    let beyond = bench.get(&path, &["Range: bytes=15-"]).await;
    beyond.assert_problem(416);
    assert_eq!(beyond.header("content-range"), Some("bytes */15"));
    assert_eq!(bench.get(&path, &["Range: bytes=0-1,4-5"]).await.status, 200);
    assert_eq!(bench.get(&path, &["Range: bytes=0-1", "If-Range: \"other\""]).await.status, 200);

    let etag = whole.header("etag").unwrap();
    assert_eq!(bench.get(&path, &["Range: bytes=0-1", &format!("If-Range: {etag}")]).await.status, 206);
    let same = bench.get(&path, &[&format!("If-None-Match: {etag}")]).await;
    assert_eq!((same.status, same.header("etag")), (304, Some(etag)));
    let head = bench.ask("HEAD", &path, &[], "").await;
    assert_eq!((head.status, head.header("content-length")), (200, Some("15")));
}

#[tokio::test]
async fn a_hinted_part_is_held_then_streamed() {
    let bench = Bench::start().await;
    bench.publish(6);
    let mut hinted = bench.connect().await;
    hinted.send("GET", &object("1.1.m4s"), &[], "").await;
    // Whoever comes later is answered while the first is held.
    assert_eq!(bench.get(&object("1.0.m4s"), &[]).await.text(), "<5>");
    bench.push(6);
    assert_eq!(hinted.reply("GET").await.text(), "<6>");
}

#[tokio::test]
async fn a_part_that_is_never_made_is_not_found_at_once() {
    let bench = Bench::start().await;
    bench.publish(6);
    let mut hinted = bench.connect().await;
    hinted.send("GET", &object("1.1.m4s"), &[], "").await;
    assert_eq!(bench.get(&object("1.0.m4s"), &[]).await.status, 200);
    bench.live.abandon_segment();
    hinted.reply("GET").await.assert_problem(404);
    bench.get(&object("1.1.m4s"), &[]).await.assert_problem(404);
}

#[tokio::test]
async fn an_open_segment_streams_part_by_part() {
    let bench = Bench::start().await;
    bench.publish(7);
    let mut client = bench.connect().await;
    client.send("GET", &object("1.m4s"), &["Range: bytes=0-1"], "").await;
    let head = client.head().await;
    assert_eq!((head.status, head.header("transfer-encoding")), (200, Some("chunked")));
    assert_eq!(client.chunk().await.unwrap(), b"<5>");
    assert_eq!(client.chunk().await.unwrap(), b"<6>");
    bench.push(7);
    assert_eq!(client.chunk().await.unwrap(), b"<7>");
    bench.push(8);
    bench.push(9);
    assert_eq!(client.chunk().await.unwrap(), b"<8>");
    assert_eq!(client.chunk().await.unwrap(), b"<9>");
    assert_eq!(client.chunk().await, None);
    // The connection goes on.
    client.send("GET", &object("1.m4s"), &[], "").await;
    assert_eq!(client.reply("GET").await.text(), "<5><6><7><8><9>");
}

#[tokio::test]
async fn what_is_on_disk_only_is_served_with_its_length() {
    let media = std::env::temp_dir().join(format!("relaybox-serve-media-{}", std::process::id()));
    let keep = Keep::Disk { directory: media.clone(), ram_bytes_max_per_stream: 1 << 20 };
    let bench = Bench::with(|config| config.keep = keep, crate::Limits::default(), None).await;
    bench.publish(0);
    for nth in 0..15_u8 {
        bench.push_bytes(nth.into(), Bytes::from(vec![nth; 200 << 10]));
        bench.server.store.flush();
    }
    let whole = bench.get(&object("0.m4s"), &[]).await;
    assert_eq!((whole.status, whole.header("content-length")), (200, Some("1024000")));
    let parts: Vec<u8> = (0..5_u8).flat_map(|nth| vec![nth; 200 << 10]).collect();
    assert!(whole.body == parts);
    let range = bench.get(&object("0.m4s"), &["Range: bytes=204799-204800"]).await;
    assert_eq!((range.status, range.body), (206, vec![0, 1]));
    std::fs::remove_dir_all(media).unwrap();
}

#[tokio::test]
async fn the_playlist_of_the_moment_has_a_name_that_stays() {
    let bench = Bench::start().await;
    bench.get("/live/other/media.m3u8", &[]).await.assert_problem(404);
    bench.publish(7);
    let newest = bench.get("/live/demo/media.m3u8?_HLS_msn=1&_HLS_part=0", &[]).await;
    assert_eq!((newest.status, newest.header("access-control-allow-origin")), (307, Some("*")));
    let location = format!("{EPOCH}.0.m3u8?_HLS_msn=1&_HLS_part=0");
    assert_eq!(newest.header("location"), Some(location.as_str()));
    assert_eq!(newest.header("cache-control"), Some("no-store"));
    let plain = bench.get("/live/demo/media.m3u8", &[]).await;
    assert_eq!(plain.header("location"), Some(format!("{EPOCH}.0.m3u8").as_str()));
}
