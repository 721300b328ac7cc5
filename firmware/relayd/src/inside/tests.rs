//! Boxes on loopback, each at an address of its own.

use std::net::{IpAddr, Ipv4Addr};

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio_rustls::TlsConnector;
use trust::BoxSecret;

use super::door::Accepted;
use super::stream::PER_BOX_MAX;
use super::*;
use crate::control::seek::{Seek, Sought};

/// Longer than anything here takes on a busy machine.
const PATIENCE: Duration = Duration::from_secs(20);

fn key(n: u8) -> BoxKey {
    BoxSecret::from_seed(&[n; 32]).public()
}

/// Of this process alone, so that tests can run beside each other.
fn place(test: u8, n: u8) -> SocketAddr {
    let [.., high, low] = std::process::id().to_be_bytes();
    let ip = Ipv4Addr::new(127, high | 0x80, low, test * 16 + n);
    SocketAddr::new(IpAddr::V4(ip), mesh::RELAY_PORT)
}

fn neighbour(test: u8, n: u8) -> (BoxKey, Neighbour) {
    let name = format!("box-{n}").parse().unwrap();
    (key(n), Neighbour { name, places: vec![place(test, n)] })
}

/// Box `n`, which knows `others`.
fn around(test: u8, n: u8, others: &[u8]) -> watch::Sender<Neighbourhood> {
    let boxes = others.iter().map(|other| neighbour(test, *other)).collect();
    watch::Sender::new(Neighbourhood { own: vec![place(test, n)], boxes, proof: Proof::Address })
}

fn certificate(n: u8) -> Proof {
    Proof::Certificate(Arc::new(Certificate::of(&BoxSecret::from_seed(&[n; 32])).unwrap()))
}

/// The same in a network where addresses prove nothing: box `n` shows the certificate of box `shown`.
fn outside(test: u8, n: u8, shown: u8, others: &[u8]) -> watch::Sender<Neighbourhood> {
    let around = around(test, n, others);
    around.send_modify(|now| now.proof = certificate(shown));
    around
}

/// Nobody is there to be asked.
fn nobody() -> Seeks {
    Seeks::with(|questions| async { drop(questions) })
}

fn open(neighbourhood: watch::Receiver<Neighbourhood>) -> (Inside, Door) {
    super::open(neighbourhood, Meters::default(), nobody())
}

async fn soon<T>(work: impl Future<Output = T>) -> T {
    timeout(PATIENCE, work).await.expect("in time")
}

/// Connects as soon as the other side listens.
async fn connect(from: &Inside, to: u8) -> Stream {
    let until = async {
        loop {
            match from.connect(&key(to)).await {
                Ok(stream) => return stream,
                Err(ConnectError::Refused(_)) => tokio::task::yield_now().await,
                Err(error) => panic!("{error}"),
            }
        }
    };
    soon(until).await
}

/// Both ways.
async fn talk(ours: &mut Stream, theirs: &mut Stream) {
    ours.write_all(b"there").await.unwrap();
    theirs.write_all(b"back").await.unwrap();
    let (mut there, mut back) = ([0; 5], [0; 4]);
    soon(theirs.read_exact(&mut there)).await.unwrap();
    soon(ours.read_exact(&mut back)).await.unwrap();
    assert_eq!((&there, &back), (b"there", b"back"));
}

/// Whether the other side has closed, or cut, the connection.
async fn is_shut(stream: &mut (impl tokio::io::AsyncRead + Unpin)) -> bool {
    matches!(soon(stream.read(&mut [0])).await, Ok(0) | Err(_))
}

#[tokio::test]
async fn each_knows_the_other_by_its_key() {
    let (one, two) = (around(0, 1, &[2]), around(0, 2, &[1]));
    let (_, mut door) = open(one.subscribe());
    let (inside, _shut) = open(two.subscribe());
    let mut ours = connect(&inside, 1).await;
    let Accepted { key: found, name, stream: mut theirs } = soon(door.accept()).await.unwrap();
    assert_eq!((found, name.as_str(), ours.key()), (key(2), "box-2", &key(1)));
    talk(&mut ours, &mut theirs).await;
}

#[tokio::test]
async fn a_stranger_is_not_let_in() {
    let (one, two, three) = (around(1, 1, &[2]), around(1, 2, &[1]), around(1, 3, &[1]));
    let (_, mut door) = open(one.subscribe());
    let (friend, _shut) = open(two.subscribe());
    let (stranger, _shut) = open(three.subscribe());
    let mut refused = connect(&stranger, 1).await;
    assert!(is_shut(&mut refused).await);
    let _held = connect(&friend, 1).await;
    assert_eq!(soon(door.accept()).await.unwrap().key, key(2), "the next that is let in");
}

#[tokio::test]
async fn who_is_no_peer_any_more_is_cut_off() {
    let (one, two) = (around(2, 1, &[2]), around(2, 2, &[1]));
    let (_, mut door) = open(one.subscribe());
    let (inside, _shut) = open(two.subscribe());
    let mut ours = connect(&inside, 1).await;
    let mut theirs = soon(door.accept()).await.unwrap().stream;
    let cut = tokio::spawn(async move { theirs.read(&mut [0]).await.map_err(|error| error.kind()) });
    one.send_modify(|now| now.boxes.clear());
    assert_eq!(soon(cut).await.unwrap(), Err(io::ErrorKind::ConnectionAborted));
    assert!(is_shut(&mut ours).await);
    // And the other way: who leaves the mesh reaches nobody.
    two.send_modify(|now| now.boxes.clear());
    assert!(matches!(inside.connect(&key(1)).await, Err(ConnectError::NoPeer)));
    drop(two);
    assert_eq!(ours.write(b"x").await.map_err(|error| error.kind()), Err(io::ErrorKind::ConnectionAborted));
}

#[tokio::test]
async fn a_box_has_so_many_connections_and_no_more() {
    let (one, two) = (around(3, 1, &[2]), around(3, 2, &[1]));
    let (_, mut door) = open(one.subscribe());
    let (inside, _shut) = open(two.subscribe());
    let mut ends = Vec::new();
    for _ in 0..PER_BOX_MAX {
        let ours = connect(&inside, 1).await;
        ends.push((ours, soon(door.accept()).await.unwrap()));
    }
    assert!(is_shut(&mut connect(&inside, 1).await).await);
    drop(ends.pop());
    let _held = connect(&inside, 1).await;
    assert_eq!(soon(door.accept()).await.unwrap().key, key(2));
}

#[tokio::test]
async fn the_door_goes_where_the_box_goes() {
    let two = around(4, 2, &[1]);
    let one = watch::Sender::new(Neighbourhood { own: Vec::new(), ..around(4, 1, &[2]).borrow().clone() });
    let (_, mut door) = open(one.subscribe());
    let (inside, _shut) = open(two.subscribe());
    assert!(matches!(inside.connect(&key(1)).await, Err(ConnectError::Refused(_))), "no network yet");
    for place in [place(4, 1), place(4, 5)] {
        one.send_modify(|now| now.own = vec![place]);
        two.send_modify(|now| now.boxes.values_mut().for_each(|there| there.places = vec![place]));
        let _held = connect(&inside, 1).await;
        assert_eq!(soon(door.accept()).await.unwrap().key, key(2));
    }
    two.send_modify(|now| now.own.clear());
    assert!(matches!(inside.connect(&key(1)).await, Err(ConnectError::Nowhere)));
    drop(one);
    assert!(soon(door.accept()).await.is_none(), "the network is gone");
}

#[tokio::test]
async fn elsewhere_a_box_is_known_by_its_certificate() {
    let (one, two) = (outside(5, 1, 1, &[2]), outside(5, 2, 2, &[1]));
    // Nobody knows where box 2 is, and it comes in all the same.
    one.send_modify(|now| now.boxes.values_mut().for_each(|there| there.places.clear()));
    let (_, mut door) = open(one.subscribe());
    let (inside, _shut) = open(two.subscribe());
    let mut ours = connect(&inside, 1).await;
    let Accepted { key: found, stream: mut theirs, .. } = soon(door.accept()).await.unwrap();
    assert_eq!((found, ours.key()), (key(2), &key(1)));
    talk(&mut ours, &mut theirs).await;
    // Revoked, it is cut off at once, and comes in no more.
    one.send_modify(|now| now.boxes.clear());
    let cut = soon(theirs.read(&mut [0])).await.map_err(|error| error.kind());
    assert_eq!(cut, Err(io::ErrorKind::ConnectionAborted));
    drop(theirs);
    assert!(is_shut(&mut ours).await);
    let mut again = connect(&inside, 1).await;
    assert!(is_shut(&mut again).await, "TLS 1.3 tells a client late that it is refused");
}

#[tokio::test]
async fn elsewhere_nobody_passes_for_another_box() {
    // At the place of box 1 is one that shows the certificate of box 3.
    let (one, two) = (outside(6, 1, 3, &[2]), outside(6, 2, 2, &[1]));
    let (_, _door) = open(one.subscribe());
    let (inside, _shut) = open(two.subscribe());
    let refused = async {
        loop {
            match inside.connect(&key(1)).await {
                Err(ConnectError::Refused(_)) => tokio::task::yield_now().await,
                connected => return connected.map(drop),
            }
        }
    };
    assert!(matches!(soon(refused).await, Err(ConnectError::NotThatBox(_))));
}

#[tokio::test]
async fn elsewhere_a_stranger_is_not_let_in_with_any_certificate_or_none() {
    let (one, two) = (outside(7, 1, 1, &[2]), outside(7, 2, 2, &[1]));
    // Box 3 comes from the address of box 2.
    let three = outside(7, 2, 3, &[1]);
    let (_, mut door) = open(one.subscribe());
    let (friend, _shut) = open(two.subscribe());
    three.send_modify(|now| now.boxes = around(7, 3, &[1]).borrow().boxes.clone());
    let stranger = Inside::to(three.subscribe(), Meters::default(), nobody());
    let mut refused = connect(&stranger, 1).await;
    assert!(is_shut(&mut refused).await);
    // Without any certificate, and without TLS.
    let tcp = reach(place(7, 3), place(7, 1)).await.unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let roots = rustls::RootCertStore::empty();
    let config = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    let name = "box.invalid".try_into().unwrap();
    assert!(soon(TlsConnector::from(Arc::new(config)).connect(name, tcp)).await.is_err());
    let mut tcp = reach(place(7, 3), place(7, 1)).await.unwrap();
    tcp.write_all(b"GET / HTTP/1.1\r\n\r\n").await.unwrap();
    let mut said = Vec::new();
    let _ = soon(tcp.read_to_end(&mut said)).await;
    assert!(!said.starts_with(b"HTTP"), "no word but an alert: {said:?}");
    let _held = connect(&friend, 1).await;
    assert_eq!(soon(door.accept()).await.unwrap().key, key(2), "the first that is let in");
}

#[tokio::test]
async fn what_is_said_is_counted() {
    for (one, two) in
        [(around(8, 1, &[2]), around(8, 2, &[1])), (outside(9, 1, 1, &[2]), outside(9, 2, 2, &[1]))]
    {
        let (at_one, at_two) = (Meters::default(), Meters::default());
        let (_, mut door) = super::open(one.subscribe(), at_one.clone(), nobody());
        let inside = Inside::to(two.subscribe(), at_two.clone(), nobody());
        let mut ours = connect(&inside, 1).await;
        let mut theirs = soon(door.accept()).await.unwrap().stream;
        talk(&mut ours, &mut theirs).await;
        talk(&mut theirs, &mut ours).await;
        assert_eq!(at_one.read(&key(2)), Bytes { sent: 9, received: 9 });
        assert_eq!((at_two.moved(&key(1)), at_two.moved(&key(2))), (18, 0));
    }
}

#[tokio::test]
async fn one_that_is_no_peer_is_asked_for_and_then_reached() {
    let (one, two) = (around(10, 1, &[2]), around(10, 2, &[]));
    let (_, mut door) = open(one.subscribe());
    let (asked, mut heard) = tokio::sync::mpsc::unbounded_channel();
    let map = two.clone();
    // Box 1 is found, and the map comes a moment later; others are not.
    let seeks = Seeks::with(|mut questions| async move {
        while let Some(Seek { sought, is_there, done }) = questions.recv().await {
            asked.send((sought, is_there)).unwrap();
            let found = sought == Sought::Key(key(1));
            if let Some(done) = done {
                let _ = done.send(found);
            }
            if found && !is_there {
                tokio::task::yield_now().await;
                map.send_modify(|now| now.boxes.extend([neighbour(10, 1)]));
            }
        }
    });
    let inside = Inside::to(two.subscribe(), Meters::default(), seeks);
    assert!(matches!(inside.connect(&key(3)).await, Err(ConnectError::NoPeer)));
    let mut ours = connect(&inside, 1).await;
    let mut theirs = soon(door.accept()).await.unwrap().stream;
    talk(&mut ours, &mut theirs).await;
    assert_eq!(heard.recv().await, Some((Sought::Key(key(3)), false)));
    assert_eq!(heard.recv().await, Some((Sought::Key(key(1)), false)));
    while heard.try_recv().is_ok() {}
    // To see whether a peer is there nobody is asked for; to connect to it, so that it knows this box as well.
    let _probed = soon(inside.probe(&key(1))).await.unwrap();
    assert!(matches!(inside.connect(&key(3)).await, Err(ConnectError::NoPeer)));
    assert_eq!(heard.recv().await, Some((Sought::Key(key(3)), false)));
    let _again = soon(inside.connect(&key(1))).await.unwrap();
    assert_eq!(heard.recv().await, Some((Sought::Key(key(1)), true)));
}
