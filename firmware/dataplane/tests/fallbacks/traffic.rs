//! What goes through the tunnel, with every byte checked at the other end.

use std::io::{Read, Write};
use std::net::{Ipv6Addr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use quinn_udp::{Transmit, UdpSocketState};

use crate::end::Place;

const SOON: Duration = Duration::from_secs(30);
const PORT: u16 = 7001;
/// Datagrams of one burst, and the bytes of each: by one call, so that the kernel hands them over in one piece.
const BURST: usize = 40;
const DATAGRAM_BYTES: usize = 1000;

/// Bytes that differ from place to place.
fn pattern(seed: u8, at: u64) -> u8 {
    let mixed = (at / 8 + u64::from(seed) * 1_000_003).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    mixed.to_le_bytes()[usize::try_from(at % 8).expect("below 8")]
}

fn bytes(seed: u8, from: u64, len: usize) -> Vec<u8> {
    (from..from + len as u64).map(|at| pattern(seed, at)).collect()
}

fn at(side: u8) -> SocketAddr {
    (Ipv6Addr::new(0xfd77, 0, 0, 0, 0, 0, 0, side.into()), PORT).into()
}

/// One connection, so many bytes each way at once.
pub(crate) fn tcp(place: &Place, len: u64) {
    let (ready, is_ready) = mpsc::channel();
    let server = place.inside(2, move || {
        let listener = bound(|| TcpListener::bind(at(2)));
        ready.send(()).expect("somebody waits");
        both_ways(listener.accept().expect("a connection").0, 1, 2, len);
    });
    is_ready.recv().expect("a server");
    let client =
        place.inside(1, move || both_ways(TcpStream::connect(at(2)).expect("a connection"), 2, 1, len));
    client.join().expect("the client");
    server.join().expect("the server");
}

/// The kernel needs a moment until an address of IPv6 is there for good.
fn bound<T>(bind: impl Fn() -> std::io::Result<T>) -> T {
    let end = Instant::now() + SOON;
    loop {
        match bind() {
            Ok(bound) => return bound,
            Err(error) => assert!(Instant::now() < end, "{error}"),
        }
        std::thread::sleep(Duration::from_millis(20));
    }
}

fn both_ways(stream: TcpStream, sends: u8, takes: u8, len: u64) {
    stream.set_read_timeout(Some(SOON)).expect("a time");
    let mut out = stream.try_clone().expect("a handle");
    let writer = std::thread::spawn(move || {
        for at in (0..len).step_by(64 << 10) {
            out.write_all(&bytes(sends, at, 64 << 10)).expect("the connection takes it");
        }
    });
    let (mut stream, mut buffer, mut done) = (stream, vec![0; 64 << 10], 0);
    while done < len {
        let got = stream.read(&mut buffer).expect("the connection goes on");
        assert!(got > 0, "the connection ended at {done} of {len}");
        assert!(buffer[..got] == bytes(takes, done, got), "wrong bytes after {done}");
        done += got as u64;
    }
    writer.join().expect("the writer");
}

/// Bursts of datagrams each way, until each datagram of one has arrived as it was sent.
pub(crate) fn datagrams(place: &Place) {
    for (from, to) in [(1, 2), (2, 1)] {
        let (ready, is_ready) = mpsc::channel();
        let (done, is_done) = mpsc::channel();
        let receiver = place.inside(to, move || {
            let socket = bound(|| UdpSocket::bind(at(to)));
            socket.set_read_timeout(Some(SOON)).expect("a time");
            ready.send(()).expect("somebody waits");
            let (mut left, mut datagram): (Vec<Vec<u8>>, _) = (burst(), [0; 2000]);
            while !left.is_empty() {
                let got = socket.recv(&mut datagram).expect("a datagram");
                assert!(burst().iter().any(|sent| *sent == datagram[..got]), "a datagram that nobody sent");
                left.retain(|sent| *sent != datagram[..got]);
            }
            let _ = done.send(());
        });
        is_ready.recv().expect("a receiver");
        let sender = place.inside(from, move || {
            let socket = bound(|| UdpSocket::bind(at(from)));
            let state = UdpSocketState::new((&socket).into()).expect("a socket");
            assert!(state.max_gso_segments() >= BURST, "this end's kernel sends many at once");
            let all = burst().concat();
            let once = Transmit {
                destination: at(to),
                ecn: None,
                contents: &all,
                segment_size: Some(DATAGRAM_BYTES),
                src_ip: None,
            };
            while is_done.recv_timeout(Duration::from_millis(100)).is_err() {
                state.try_send((&socket).into(), &once).expect("the kernel takes it");
            }
        });
        receiver.join().expect("the receiver");
        sender.join().expect("the sender");
    }
}

fn burst() -> Vec<Vec<u8>> {
    (0..BURST).map(|n| bytes(9, (n * DATAGRAM_BYTES) as u64, DATAGRAM_BYTES)).collect()
}
