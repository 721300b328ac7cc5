//! What goes through a tunnel, with every byte checked at the other end.

use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use crate::lab::{Lab, Side};

/// Bytes that differ from place to place and from one use to another.
fn pattern(seed: u64, at: u64) -> u8 {
    let mixed = (at / 8 + seed * 1_000_003).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    mixed.to_le_bytes()[usize::try_from(at % 8).expect("below 8")]
}

fn bytes(seed: u64, from: u64, len: usize) -> Vec<u8> {
    (from..from + len as u64).map(|at| pattern(seed, at)).collect()
}

/// Sends datagrams from A to B and waits until each has come back whole; what is lost is sent again.
pub(crate) fn echo(lab: &Lab, to: &str, lens: &[usize], patience: Duration) {
    let to: SocketAddr = to.parse().expect("an address");
    let done = Arc::new(AtomicBool::new(false));
    let server = lab.inside(Side::B, {
        let done = Arc::clone(&done);
        move || {
            let socket = UdpSocket::bind(to).expect("a port");
            socket.set_read_timeout(Some(Duration::from_millis(50))).expect("a time");
            let mut datagram = vec![0; 65_536];
            while !done.load(Ordering::Relaxed) {
                if let Ok((len, from)) = socket.recv_from(&mut datagram) {
                    let _ = socket.send_to(&datagram[..len], from);
                }
            }
        }
    });
    let lens = lens.to_vec();
    let client = lab.inside(Side::A, move || {
        let socket = UdpSocket::bind(if to.is_ipv4() { "0.0.0.0:0" } else { "[::]:0" }).expect("a port");
        socket.set_read_timeout(Some(Duration::from_millis(300))).expect("a time");
        let mut datagram = vec![0; 65_536];
        for (number, len) in lens.into_iter().enumerate() {
            let sent = bytes(number as u64, 0, len);
            let end = Instant::now() + patience;
            loop {
                assert!(Instant::now() < end, "{len} bytes never came back from {to}");
                if socket.send_to(&sent, to).is_err() {
                    thread::sleep(Duration::from_millis(50));
                    continue;
                }
                match socket.recv(&mut datagram) {
                    Ok(got) if datagram[..got] == sent => break,
                    // An echo of one before, which was sent twice.
                    Ok(_) => {}
                    Err(error) => {
                        assert!(matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut));
                    }
                }
            }
        }
    });
    let result = client.join();
    done.store(true, Ordering::Relaxed);
    server.join().expect("the server");
    result.expect("the client");
}

/// One TCP connection, `len` bytes each way at once.
pub(crate) fn bulk(lab: &Lab, to: &str, len: u64) {
    let to: SocketAddr = to.parse().expect("an address");
    let (ready, is_ready) = std::sync::mpsc::channel();
    let server = lab.inside(Side::B, move || {
        let listener = TcpListener::bind(to).expect("a port");
        ready.send(()).expect("somebody waits");
        both_ways(listener.accept().expect("a connection").0, 1, 2, len);
    });
    is_ready.recv().expect("a server");
    let client =
        lab.inside(Side::A, move || both_ways(TcpStream::connect(to).expect("a connection"), 2, 1, len));
    client.join().expect("the client");
    server.join().expect("the server");
}

fn both_ways(stream: TcpStream, sends: u64, takes: u64, len: u64) {
    stream.set_read_timeout(Some(Duration::from_secs(30))).expect("a time");
    stream.set_write_timeout(Some(Duration::from_secs(30))).expect("a time");
    let mut out = stream.try_clone().expect("a handle");
    let writer = thread::spawn(move || {
        let mut at = 0;
        while at < len {
            let piece = usize::try_from((len - at).min(256 << 10)).expect("small");
            out.write_all(&bytes(sends, at, piece)).expect("the connection takes it");
            at += piece as u64;
        }
    });
    check(stream, takes, len);
    writer.join().expect("the writer");
}

fn check(mut stream: TcpStream, seed: u64, len: u64) {
    let mut buffer = vec![0; 256 << 10];
    let mut at = 0;
    while at < len {
        let got = stream.read(&mut buffer).expect("the connection goes on");
        assert!(got > 0, "the connection ended at {at} of {len}");
        assert!(buffer[..got] == bytes(seed, at, got), "wrong bytes after {at}");
        at += got as u64;
    }
}

/// A slow stream each way for a while; a hole of a few seconds fails it.
pub(crate) fn soak(lab: &Lab, to: &str, time: Duration) {
    let to: SocketAddr = to.parse().expect("an address");
    let (ready, is_ready) = std::sync::mpsc::channel();
    let server = lab.inside(Side::B, move || {
        let listener = TcpListener::bind(to).expect("a port");
        ready.send(()).expect("somebody waits");
        trickle(listener.accept().expect("a connection").0, 3, 4, time);
    });
    is_ready.recv().expect("a server");
    let client =
        lab.inside(Side::A, move || trickle(TcpStream::connect(to).expect("a connection"), 4, 3, time));
    client.join().expect("the client");
    server.join().expect("the server");
}

fn trickle(mut stream: TcpStream, sends: u64, takes: u64, time: Duration) {
    const PIECE: usize = 25_000;
    stream.set_read_timeout(Some(Duration::from_secs(8))).expect("a time");
    let mut buffer = vec![0; PIECE];
    // The rate of a live stream: 20 Mbit/s at most.
    let pause = std::env::var("RELAYBOX_PAUSE_MS").map_or(10, |text| text.parse().expect("milliseconds"));
    let pause = Duration::from_millis(pause);
    let end = Instant::now() + time;
    let mut at = 0;
    loop {
        let is_last = Instant::now() >= end;
        let mut piece = bytes(sends, at, PIECE);
        piece[0] = u8::from(is_last);
        stream.write_all(&piece).expect("the connection takes it");
        stream.read_exact(&mut buffer).expect("an answer within 8 s");
        let other_ends = buffer[0] == 1;
        assert!(buffer[1..] == bytes(takes, at, PIECE)[1..], "wrong bytes after {at}");
        at += PIECE as u64;
        if is_last || other_ends {
            return;
        }
        thread::sleep(pause);
    }
}

pub(crate) struct Flood {
    stop: Arc<AtomicBool>,
    thread: JoinHandle<u64>,
}

impl Flood {
    pub(crate) fn stop(self) -> u64 {
        self.stop.store(true, Ordering::Relaxed);
        self.thread.join().expect("the flooder")
    }
}

/// Datagrams that look like handshake and data messages, as fast as ten thousand a second.
pub(crate) fn flood(lab: &Lab, to: &str) -> Flood {
    let to: SocketAddr = to.parse().expect("an address");
    let stop = Arc::new(AtomicBool::new(false));
    let stopped = Arc::clone(&stop);
    let thread = lab.inside(Side::A, move || {
        let socket = UdpSocket::bind("0.0.0.0:0").expect("a port");
        let mut sent = 0;
        while !stopped.load(Ordering::Relaxed) {
            for (kind, len) in [(1_u8, 148), (2, 92), (3, 64), (4, 1452), (9, 148), (1, 149), (4, 31), (0, 0)]
            {
                let mut datagram = bytes(sent, 0, len);
                if len > 0 {
                    datagram[..4].copy_from_slice(&[kind, 0, 0, 0]);
                }
                sent += u64::from(socket.send_to(&datagram, to).is_ok());
            }
            thread::sleep(Duration::from_micros(800));
        }
        sent
    });
    Flood { stop, thread }
}
