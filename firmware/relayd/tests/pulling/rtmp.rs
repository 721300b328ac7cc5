//! By RTMP and RTMPS: what comes out, what happens when the server goes, and when a publisher comes.

use std::fs;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;

use rustls::ServerConfig;
use rustls::pki_types::PrivateKeyDer;
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;

use crate::ffmpeg::{H264_AAC, Publishing};
use crate::laboratory::{Laboratory, until};
use crate::nginx::Nginx;
use crate::verdict::{check_media, check_sync};
use crate::{await_state, check_secrecy, epochs, lint, segments, source};

fn pulling(url: &str, more: &str) -> Laboratory {
    Laboratory::start(&format!("[[pull]]\nname = \"demo\"\nurl = \"{url}\"\n{more}"))
}

fn publish(url: &str) -> Publishing {
    Publishing::start("ffmpeg".as_ref(), H264_AAC, url)
}

#[test]
fn a_stream_is_taken_from_nginx_and_comes_back_with_it() {
    let mut nginx = Nginx::start();
    let lab = pulling(&nginx.url("show?key=s3cret"), "");
    // nginx takes whoever asks, and sends nothing while nobody publishes.
    let waiting = await_state(&lab, "waiting");
    assert_eq!(waiting["text"], format!("pulled from {}", nginx.rtmp));
    assert_eq!(waiting["trouble"], serde_json::Value::Null);

    let publishing = publish(&nginx.url("show"));
    await_state(&lab, "live");
    let files = check_media(&lab, &segments(&lab, 4));
    check_sync(files.last().unwrap(), 4);
    lint(&lab);
    assert!(lab.get("/metrics").text().contains("relaybox_pull_live{stream=\"demo\"} 1"));

    let before = epochs(&lab);
    nginx.stop();
    drop(publishing);
    let failed = await_state(&lab, "failed");
    let trouble = failed["trouble"].as_str().unwrap();
    assert!(trouble.starts_with("no connection: Connection refused"), "{trouble}");
    nginx.again();
    let _publishing = publish(&nginx.url("show"));
    await_state(&lab, "live");
    until("there is a new epoch", || epochs(&lab).iter().any(|map| !before.contains(map)).then_some(()));
    check_media(&lab, &segments(&lab, 4));
    check_secrecy(&lab, "s3cret");
}

#[test]
fn the_end_of_a_publication_there_is_one_here() {
    let nginx = Nginx::start();
    let lab = pulling(&nginx.url("show"), "");
    let publishing = publish(&nginx.url("show"));
    segments(&lab, 2);
    let before = epochs(&lab);
    drop(publishing);
    await_state(&lab, "waiting");
    let _publishing = publish(&nginx.url("show"));
    await_state(&lab, "live");
    until("there is a new epoch", || epochs(&lab).iter().any(|map| !before.contains(map)).then_some(()));
}

#[test]
fn a_publisher_takes_the_stream_over_and_gives_it_back() {
    let nginx = Nginx::start();
    let _there = publish(&nginx.url("show"));
    let lab = pulling(&nginx.url("show"), "");
    segments(&lab, 2);
    let before = epochs(&lab);

    let here = publish(&format!("rtmp://{}/live/secret", lab.rtmp));
    await_state(&lab, "held");
    until("the publisher's epoch is there", || {
        epochs(&lab).iter().any(|map| !before.contains(map)).then_some(())
    });
    assert_eq!(source(&lab)["state"], "held");
    drop(here);
    await_state(&lab, "live");
}

#[test]
fn rtmps_is_pulled_from_whom_the_given_authority_vouches_for() {
    let nginx = Nginx::start();
    let _publishing = publish(&nginx.url("show"));
    let (door, certificate) = tls_door(nginx.rtmp);
    let url = format!("rtmps://localhost:{}/live/show", door.port());

    let stranger = pulling(&url, "");
    let failed = await_state(&stranger, "failed");
    assert_eq!(failed["trouble"], "TLS: invalid peer certificate: UnknownIssuer");
    drop(stranger);

    let lab = pulling(&url, &format!("authorities = {certificate:?}\n"));
    assert_eq!(segments(&lab, 2).segments.len(), 2);
    assert_eq!(source(&lab)["text"], format!("pulled from localhost:{}", door.port()));
    fs::remove_file(certificate).unwrap();
}

/// TLS in front of a server, with a certificate of its own.
fn tls_door(behind: SocketAddr) -> (SocketAddr, PathBuf) {
    let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    let file = std::env::temp_dir().join(format!("relaybox-authority-{}.pem", std::process::id()));
    fs::write(&file, made.cert.pem()).unwrap();
    let key = PrivateKeyDer::try_from(made.signing_key.serialize_der()).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![made.cert.der().clone()], key)
        .unwrap();
    let acceptor = TlsAcceptor::from(Arc::new(config));
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    listener.set_nonblocking(true).unwrap();
    let at = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let listener = TcpListener::from_std(listener).unwrap();
            loop {
                let (socket, _) = listener.accept().await.unwrap();
                let acceptor = acceptor.clone();
                tokio::spawn(async move {
                    let Ok(mut secured) = acceptor.accept(socket).await else { return };
                    let mut plain = TcpStream::connect(behind).await.unwrap();
                    let _ = tokio::io::copy_bidirectional(&mut secured, &mut plain).await;
                });
            }
        });
    });
    (at, file)
}
