//! HTTP-FLV: instant start, an end, and slow viewers who cost the others nothing.

use bytes::Bytes;

use super::harness::{Bench, Client, until};

async fn watch(bench: &Bench) -> Client {
    let mut client = bench.connect().await;
    client.send("GET", "/live/demo.flv", &[], "").await;
    let head = client.head().await;
    assert_eq!((head.status, head.header("content-type")), (200, Some("video/x-flv")));
    assert_eq!(head.header("transfer-encoding"), Some("chunked"));
    assert_eq!(head.header("access-control-allow-origin"), Some("*"));
    client
}

fn push(bench: &Bench, tag: &'static str, start: bool) {
    bench.live.push_flv(Bytes::from_static(tag.as_bytes()), start);
}

#[tokio::test]
async fn a_viewer_starts_at_the_last_keyframe() {
    let bench = Bench::start().await;
    let offline = bench.get("/live/demo.flv", &[]).await;
    offline.assert_problem(503);
    assert_eq!(offline.header("retry-after"), Some("2"));
    bench.get("/live/other.flv", &[]).await.assert_problem(404);

    bench.live.begin_flv(Bytes::from_static(b"HEAD"), Bytes::new());
    push(&bench, "K0", true);
    push(&bench, "d1", false);
    push(&bench, "K2", true);
    push(&bench, "d3", false);
    let mut client = watch(&bench).await;
    assert_eq!(client.chunk().await.unwrap(), b"HEADK2d3", "all in one chunk");
    push(&bench, "d4", false);
    assert_eq!(client.chunk().await.unwrap(), b"d4");
    assert_eq!(bench.live.viewers(), 1);
    assert_eq!(bench.ask("HEAD", "/live/demo.flv", &[], "").await.status, 200);
    bench.live.end();
    assert_eq!(client.chunk().await, None);
    until(|| bench.live.viewers() == 0).await;
}

#[tokio::test]
async fn a_slow_viewer_is_dropped_and_another_goes_on() {
    let bench = Bench::with(|config| config.flv_bytes_max = 1 << 20, crate::Limits::default(), None).await;
    bench.live.begin_flv(Bytes::from_static(b"HEAD"), Bytes::new());
    let tag = Bytes::from(vec![b'x'; 64 << 10]);
    bench.live.push_flv(tag.clone(), true);
    // Takes the head of the answer, and nothing else.
    let mut slow = watch(&bench).await;
    let mut quick = watch(&bench).await;
    assert_eq!(quick.chunk().await.unwrap().len(), 4 + tag.len());
    // More than the sockets' buffers and the ring take together.
    for nth in 0..512 {
        bench.live.push_flv(tag.clone(), nth % 8 == 0);
        assert_eq!(quick.chunk().await.unwrap().len(), tag.len());
        assert!(bench.live.stats().flv_bytes <= 1 << 20);
    }
    tokio::time::pause();
    while !bench.metrics().contains("relaybox_flv_readers_dropped_total 1\n") {
        tokio::time::advance(std::time::Duration::from_secs(1)).await;
    }
    tokio::time::resume();
    until(|| bench.live.viewers() == 1).await;
    let rest = slow.rest().await;
    assert!(!rest.ends_with(b"0\r\n\r\n"), "an end would look like the stream's");
    bench.live.push_flv(tag.clone(), false);
    assert_eq!(quick.chunk().await.unwrap().len(), tag.len());
}
