//! Too much of anything ends at a bound, and others go on.

use bytes::Bytes;

use super::harness::{Bench, EPOCH, until};
use crate::Limits;

#[tokio::test]
async fn long_heads_are_refused() {
    let bench = Bench::start().await;
    bench.get(&format!("/{}", "x".repeat(3000)), &[]).await.assert_problem(414);
    let mut client = bench.connect().await;
    let _ = client.write(format!("GET / HTTP/1.1\r\nX: {}\r\n\r\n", "x".repeat(200 << 10)).as_bytes()).await;
    let answer = client.rest().await;
    assert!(
        answer.starts_with(b"HTTP/1.1 431 ") || answer.is_empty(),
        "{:?}",
        String::from_utf8_lossy(&answer)
    );
    let mut client = bench.connect().await;
    let many: String = (0..200).map(|n| format!("X-{n}: y\r\n")).collect();
    client.write(format!("GET / HTTP/1.1\r\n{many}\r\n").as_bytes()).await.unwrap();
    assert!(client.rest().await.starts_with(b"HTTP/1.1 431 "));
    let mut client = bench.connect().await;
    client.write(b"\x16\x03\x01 this is no HTTP\r\n\r\n").await.unwrap();
    assert!(client.rest().await.starts_with(b"HTTP/1.1 400 "));
    assert_eq!(bench.get("/healthz", &[]).await.status, 200);
}

#[tokio::test]
async fn connections_beyond_the_limit_are_told() {
    let limits = Limits { connections_max: 3, ..Limits::default() };
    let bench = Bench::with(|_| {}, limits, None).await;
    let mut held = Vec::new();
    for _ in 0..3 {
        let mut client = bench.connect().await;
        client.send("GET", "/healthz", &[], "").await;
        assert_eq!(client.reply("GET").await.status, 200);
        held.push(client);
    }
    let mut fourth = bench.connect().await;
    fourth.reply("GET").await.assert_problem(503);
    assert!(bench.metrics().contains("{reason=\"box_limit\"} 1\n"));
    held.pop();
    until(|| bench.metrics().contains("relaybox_http_connections 2\n")).await;
    let mut client = bench.connect().await;
    client.send("GET", "/healthz", &[], "").await;
    assert_eq!(client.reply("GET").await.status, 200);
}

#[tokio::test]
async fn who_takes_nothing_is_dropped() {
    let bench = Bench::start().await;
    bench.publish(0);
    for nth in 0..5 {
        bench.push_bytes(nth, Bytes::from(vec![0; 8 << 20]));
    }
    let mut client = bench.connect().await;
    client.send("GET", &format!("/live/demo/{EPOCH}/0.m4s"), &[], "").await;
    assert_eq!(client.head().await.header("content-length"), Some("41943040"));
    tokio::time::pause();
    while !bench.metrics().contains("relaybox_http_stalled_total 1\n") {
        tokio::time::advance(std::time::Duration::from_secs(1)).await;
    }
    tokio::time::resume();
    assert!(client.rest().await.len() < 40 << 20);
    until(|| bench.metrics().contains("relaybox_http_connections 0\n")).await;
    assert_eq!(bench.get("/healthz", &[]).await.status, 200);
}
