//! Who may watch: everybody, who is near, or who has a link.

use std::sync::atomic::Ordering;

use bytes::Bytes;
use trust::Access;

use super::access::session;
use super::harness::{Bench, EPOCH, NOW, link};

/// What players ask for, and what of it a shared cache may keep of an open stream.
fn paths() -> Vec<String> {
    [
        "index.m3u8",
        "status.json",
        &format!("{EPOCH}.0.m3u8"),
        &format!("{EPOCH}/init.mp4"),
        &format!("{EPOCH}/0.1.m4s"),
    ]
    .map(|rest| format!("/live/demo/{rest}"))
    .into()
}

async fn refused(bench: &Bench, path: &str, headers: &[&str], sentence: &str) {
    let reply = bench.get(path, headers).await;
    reply.assert_problem(403);
    assert!(reply.text().contains(sentence), "{path}: {}", reply.text());
    assert_eq!(reply.header("cache-control"), Some("no-store"));
}

#[tokio::test]
async fn a_link_opens_all_that_a_player_asks_for() {
    let bench = Bench::start().await;
    bench.publish(7);
    let good = link("demo", 0, 60);
    for path in paths() {
        bench.stage.opens_for(Access::Open);
        let open = bench.get(&path, &[]).await;
        assert_eq!(open.status, 200, "{path}");
        bench.stage.opens_for(Access::Link);
        refused(&bench, &path, &[], "watched by link").await;
        let linked = bench.get(&format!("/t/{good}{path}"), &[]).await;
        assert_eq!((linked.status, &linked.body), (200, &open.body), "{path}");
        assert_eq!(linked.header("etag"), open.header("etag"));
        assert_eq!(open.header("access-control-allow-origin"), Some("*"), "{path}");
        assert_eq!(linked.header("access-control-allow-origin"), Some("*"), "{path}");
        let kept = linked.header("cache-control").unwrap();
        assert!(!kept.contains("public"), "a shared cache may keep {path}");
    }
    let media = bench.get(&format!("/t/{good}/live/demo/{EPOCH}/0.1.m4s"), &[]).await;
    assert_eq!(media.header("cache-control"), Some("private, max-age=31536000, immutable"));
    // The page itself holds no secret, and says in words what is wrong.
    for page in ["/live/demo".to_owned(), format!("/t/{good}/live/demo"), "/t/nonsense/live/demo".to_owned()]
    {
        assert_eq!(bench.get(&page, &[]).await.status, 200, "{page}");
    }
    assert!(bench.metrics().contains("{reason=\"access\"} 5\n"));
}

#[tokio::test]
async fn what_is_wrong_with_a_link_is_said_in_a_sentence() {
    let bench = Bench::start().await;
    bench.publish(7);
    let good = link("demo", 0, 60);
    let bent = format!("{}{}", &good[..good.len() - 4], "AAAA");
    let cases = [
        (link("demo", 100, 160), "good later"),
        (link("other", 0, 60), "another stream"),
        (bent, "another stream"),
        (good[..good.len() - 1].to_owned(), "not whole"),
        ("x".to_owned(), "not whole"),
    ];
    for access in [Access::Open, Access::Mesh, Access::Link] {
        bench.stage.opens_for(access);
        for (token, sentence) in &cases {
            for path in paths() {
                refused(&bench, &format!("/t/{token}{path}"), &[], sentence).await;
            }
            refused(&bench, &format!("/t/{token}/live/demo.flv"), &[], sentence).await;
        }
    }
    bench.stage.now.store(NOW + 60, Ordering::Relaxed);
    refused(&bench, &format!("/t/{good}/live/demo/index.m3u8"), &[], "no longer good").await;
    // Longer than any token, or with what no token has in it: nothing is there.
    for token in ["x".repeat(300), "a%20b".to_owned()] {
        bench.get(&format!("/t/{token}/live/demo/index.m3u8"), &[]).await.assert_problem(404);
    }
    bench.get(&format!("/t/{good}/live/index.json"), &[]).await.assert_problem(404);
    bench.get(&format!("/t/{good}/api/v1/studio"), &[]).await.assert_problem(404);
}

#[tokio::test]
async fn near_is_the_house_and_not_a_page_or_a_proxy_in_it() {
    let bench = Bench::start().await;
    bench.publish(7);
    bench.stage.opens_for(Access::Mesh);
    let asks_for_a_link = "ask for a link";
    for path in paths() {
        assert_eq!(bench.get(&path, &[]).await.status, 200, "{path}");
        for line in [
            "X-Forwarded-For: 192.0.2.1",
            "Forwarded: for=192.0.2.1",
            "Origin: http://evil.example",
            "Sec-Fetch-Site: cross-site",
        ] {
            refused(&bench, &path, &[line], asks_for_a_link).await;
        }
    }
    let page = ["Origin: https://watch.example.org", "Sec-Fetch-Site: cross-site"];
    assert_eq!(bench.get("/live/demo/index.m3u8", &page).await.status, 200);
    refused(&bench, "/live/demo/index.m3u8", &["Host: evil.example"], asks_for_a_link).await;
    bench.stage.near.store(false, Ordering::Relaxed);
    for path in paths() {
        refused(&bench, &path, &[], asks_for_a_link).await;
        let linked = bench.get(&format!("/t/{}{path}", link("demo", 0, 60)), &[]).await;
        assert_eq!(linked.status, 200, "{path}");
    }
}

#[tokio::test]
async fn the_list_shows_what_the_asker_may_watch() {
    let bench = Bench::start().await;
    for (access, near, shown) in [
        (Access::Open, false, true),
        (Access::Mesh, true, true),
        (Access::Mesh, false, false),
        (Access::Link, true, false),
    ] {
        bench.stage.opens_for(access);
        bench.stage.near.store(near, Ordering::Relaxed);
        let list = bench.get("/live/index.json", &[]).await;
        assert_eq!(list.text().contains("\"demo\""), shown, "{access:?}, near {near}");
        assert_eq!(list.text().contains("relaybox.toml: line 2"), near, "who is far can mend nothing");
    }
    let cookie = session(&bench).await;
    assert!(bench.get("/live/index.json", &["Host: box.local", &cookie]).await.text().contains("\"demo\""));
}

/// The studio's own preview has no link: the PIN's session opens.
#[tokio::test]
async fn whoever_has_the_pin_watches() {
    let bench = Bench::start().await;
    bench.publish(7);
    bench.stage.opens_for(Access::Link);
    let cookie = session(&bench).await;
    for path in paths() {
        assert_eq!(bench.get(&path, &["Host: box.local", &cookie]).await.status, 200, "{path}");
    }
}

#[tokio::test]
async fn flv_ends_with_its_link() {
    let bench = Bench::start().await;
    bench.live.begin_flv(Bytes::from_static(b"HEAD"), Bytes::new());
    bench.live.push_flv(Bytes::from_static(b"K0"), true);
    bench.stage.opens_for(Access::Link);
    refused(&bench, "/live/demo.flv", &[], "watched by link").await;
    let mut client = bench.connect().await;
    client.send("GET", &format!("/t/{}/live/demo.flv", link("demo", 0, 1)), &[], "").await;
    assert_eq!(client.head().await.status, 200);
    assert_eq!(client.chunk().await.unwrap(), b"HEADK0");
    // Nobody ends the stream: the body ends when the link does.
    assert_eq!(client.chunk().await, None);
}

#[tokio::test]
async fn the_streamer_sets_access_and_makes_links() {
    let bench = Bench::start().await;
    bench.publish(7);
    let cookie = session(&bench).await;
    let headers = ["Host: box.local", "Content-Type: application/json", cookie.as_str()];
    let path = "/api/v1/studio/streams/demo/access";
    let set = bench.ask("PUT", path, &headers, "{\"access\":\"link\"}").await;
    assert_eq!((set.status, *bench.stage.access.lock().unwrap()), (204, Access::Link));
    bench.ask("PUT", path, &headers, "{\"access\":\"nobody\"}").await.assert_problem(400);
    bench.ask("POST", path, &headers, "{\"access\":\"open\"}").await.assert_problem(405);
    let fixed =
        bench.ask("PUT", "/api/v1/studio/streams/fixed/access", &headers, "{\"access\":\"open\"}").await;
    fixed.assert_problem(409);

    let path = "/api/v1/studio/streams/demo/links";
    let made = bench.ask("POST", path, &headers, "{\"valid_s\":3600,\"label\":\"ana\"}").await;
    assert_eq!(made.status, 201, "{made:?}");
    let view: serde_json::Value = serde_json::from_slice(&made.body).unwrap();
    assert_eq!((view["label"].as_str(), view["expires_unix_s"].as_u64()), (Some("ana"), Some(NOW + 3600)));
    let playlist = format!("{}/index.m3u8", view["path"].as_str().unwrap());
    assert_eq!(bench.get(&playlist, &[]).await.status, 200);
    bench.ask("POST", path, &headers, "{\"valid_s\":1}").await.assert_problem(422);
    bench
        .ask("POST", path, &headers, "{\"valid_s\":3600,\"label\":\"Not A Name\"}")
        .await
        .assert_problem(400);
}
