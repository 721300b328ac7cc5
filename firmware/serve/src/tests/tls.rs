//! HTTP/2 and HTTP/1.1 over TLS, chosen by ALPN.

use std::sync::Arc;

use http::{Request, Version};
use http_body_util::{BodyExt as _, Empty};
use hyper_util::rt::{TokioExecutor, TokioIo};
use rustls::{ClientConfig, RootCertStore, ServerConfig};
use rustls_pki_types::{PrivateKeyDer, ServerName};
use tokio::net::TcpStream;
use tokio_rustls::client::TlsStream;
use tokio_rustls::{TlsAcceptor, TlsConnector};

use super::harness::{Bench, EPOCH};

async fn start() -> (Bench, RootCertStore) {
    let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    let key = PrivateKeyDer::try_from(made.signing_key.serialize_der()).unwrap();
    let mut config = ServerConfig::builder()
        .with_no_client_auth()
        .with_single_cert(vec![made.cert.der().clone()], key)
        .unwrap();
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    let mut roots = RootCertStore::empty();
    roots.add(made.cert.der().clone()).unwrap();
    let acceptor = TlsAcceptor::from(Arc::new(config));
    (Bench::with(|_| {}, crate::Limits::default(), Some(acceptor)).await, roots)
}

async fn connect(bench: &Bench, roots: RootCertStore, alpn: &[&[u8]]) -> TlsStream<TcpStream> {
    let mut config = ClientConfig::builder().with_root_certificates(roots).with_no_client_auth();
    config.alpn_protocols = alpn.iter().map(|protocol| protocol.to_vec()).collect();
    let stream = TcpStream::connect(bench.address).await.unwrap();
    let name = ServerName::try_from("localhost").unwrap();
    TlsConnector::from(Arc::new(config)).connect(name, stream).await.unwrap()
}

fn get(uri: String) -> Request<Empty<bytes::Bytes>> {
    Request::get(uri).body(Empty::new()).unwrap()
}

#[tokio::test]
async fn one_http2_connection_carries_held_and_quick_answers() {
    let (bench, roots) = start().await;
    bench.publish(6);
    let stream = connect(&bench, roots, &[b"h2", b"http/1.1"]).await;
    assert_eq!(stream.get_ref().1.alpn_protocol(), Some(b"h2".as_slice()));
    let (mut client, connection) =
        hyper::client::conn::http2::handshake(TokioExecutor::new(), TokioIo::new(stream)).await.unwrap();
    let connection = tokio::spawn(connection);

    let held = client.send_request(get(format!("https://localhost/live/demo/{EPOCH}/1.1.m4s")));
    let quick = client.send_request(get("https://localhost/live/demo/index.m3u8".into())).await.unwrap();
    assert_eq!((quick.status().as_u16(), quick.version()), (200, Version::HTTP_2));
    bench.push(6);
    let held = held.await.unwrap();
    assert_eq!(held.into_body().collect().await.unwrap().to_bytes(), "<6>");
    bench.push(7);
    bench.push(8);
    bench.push(9);
    let whole = client.send_request(get(format!("https://localhost/live/demo/{EPOCH}/1.m4s"))).await.unwrap();
    assert_eq!(whole.headers()["content-length"], "15");
    assert_eq!(whole.into_body().collect().await.unwrap().to_bytes(), "<5><6><7><8><9>");
    let rebound = client.send_request(get("https://evil.example/studio".into())).await.unwrap();
    assert_eq!(rebound.status().as_u16(), 421);

    let login = Request::post("https://localhost/api/v1/session")
        .header("content-type", "application/json")
        .header("origin", "https://localhost")
        .body(http_body_util::Full::new(bytes::Bytes::from_static(b"{\"pin\":\"314159\"}")))
        .unwrap();
    drop(client);
    connection.await.unwrap().unwrap();
    // A body type of its own needs a connection of its own.
    let (bench, roots) = start().await;
    let stream = connect(&bench, roots, &[b"h2"]).await;
    let (mut client, connection) =
        hyper::client::conn::http2::handshake(TokioExecutor::new(), TokioIo::new(stream)).await.unwrap();
    tokio::spawn(connection);
    let reply = client.send_request(login).await.unwrap();
    assert_eq!(reply.status().as_u16(), 204);
    assert!(reply.headers()["set-cookie"].to_str().unwrap().ends_with("; Secure"));
}

#[tokio::test]
async fn without_http2_it_is_http1() {
    let (bench, roots) = start().await;
    bench.publish(6);
    for alpn in [&[b"http/1.1".as_slice()][..], &[]] {
        let stream = connect(&bench, roots.clone(), alpn).await;
        let (mut client, connection) =
            hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.unwrap();
        tokio::spawn(connection);
        let mut request = get(format!("/live/demo/{EPOCH}/0.m4s"));
        request.headers_mut().insert("host", "localhost".parse().unwrap());
        let reply = client.send_request(request).await.unwrap();
        assert_eq!((reply.status().as_u16(), reply.version()), (200, Version::HTTP_11));
        assert_eq!(reply.into_body().collect().await.unwrap().to_bytes(), "<0><1><2><3><4>");
    }
}

#[tokio::test]
async fn a_client_without_tls_is_counted() {
    let (bench, _) = start().await;
    let mut client = bench.connect().await;
    client.send("GET", "/", &[], "").await;
    client.rest().await;
    super::harness::until(|| bench.metrics().contains("{reason=\"tls\"} 1\n")).await;
}
