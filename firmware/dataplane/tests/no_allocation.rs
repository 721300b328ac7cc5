//! A counting allocator shows that packets cost no memory: not on their way out, not on their way in.
//!
//! The way is that of the thread, without the device and the sockets: cut, seal, open, put together.
#![allow(unsafe_code)]

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::net::SocketAddr;
use std::time::Instant;

use dataplane::coalesce::{Coalescer, Offload};
use dataplane::engine::Boring;
use dataplane::split::{self, SLACK_BYTES};
use dataplane::vnet::{self, Checksum, Gso, VnetHeader};
use dataplane::{DATAGRAM_BYTES_MAX, Exchange, Inbound, PeerConfig, PrivateKey, SPARE_BYTES, packet};

struct Counting;

thread_local! {
    static COUNT: Cell<u64> = const { Cell::new(0) };
}

// SAFETY: every call goes on to the system's allocator with the same arguments, so its promises hold here too.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        COUNT.set(COUNT.get() + 1);
        // SAFETY: as the caller promises.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // SAFETY: as the caller promises.
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

struct End {
    exchange: Exchange<Boring>,
    address: SocketAddr,
    out: Vec<u8>,
}

impl End {
    fn new(seed: u8, other: u8, address: [u8; 4]) -> End {
        let mut exchange = Exchange::new(PrivateKey::new([seed; 32]), 1420, Instant::now());
        let config = PeerConfig {
            public_key: PrivateKey::new([other; 32]).public(),
            preshared_key: None,
            allowed_ips: vec!["0.0.0.0/0".parse().expect("a prefix")],
            endpoint: Some((address.map(|_| other), 51820).into()),
            keepalive: None,
            mesh: None,
        };
        exchange.add_peer(config, Instant::now()).expect("a peer");
        let out = vec![0; vnet::LEN + DATAGRAM_BYTES_MAX + SPARE_BYTES];
        End { exchange, address: (address, 51820).into(), out }
    }

    fn poll(&mut self) -> Option<Vec<u8>> {
        let (_, len) = self.exchange.poll_transmit(Instant::now(), &mut self.out)?;
        Some(self.out[..len].to_vec())
    }

    fn take(&mut self, from: SocketAddr, datagram: &[u8]) -> Option<Vec<u8>> {
        match self.exchange.handle_datagram(from, datagram, Instant::now(), &mut self.out) {
            Inbound::Reply(len) => Some(self.out[..len].to_vec()),
            _ => None,
        }
    }
}

/// A large packet as the device gives it: 40 pieces of 1360 bytes.
fn large() -> (VnetHeader, Vec<u8>) {
    let len = 40 + 40 * 1360;
    let mut packet = vec![7; len];
    packet[..20].copy_from_slice(&[0x45, 0, 0, 0, 0, 1, 0x40, 0, 64, 6, 0, 0, 10, 0, 0, 1, 10, 0, 0, 2]);
    packet[2..4].copy_from_slice(&u16::try_from(len).expect("small").to_be_bytes());
    packet[20..40].copy_from_slice(&[0, 9, 0, 9, 0, 0, 0, 0, 0, 0, 0, 0, 0x50, 0x10, 1, 0, 0, 0, 0, 0]);
    let checksum = Some(Checksum { start: 20, offset: 16 });
    (VnetHeader { checksum, gso: Some((Gso::TcpV4, 1360)), header_len: 40 }, packet)
}

#[test]
fn ten_thousand_packets_cost_no_memory() {
    let (mut a, mut b) = (End::new(1, 2, [1, 1, 1, 1]), End::new(2, 1, [2, 2, 2, 2]));
    let peer = a.exchange.route([10, 0, 0, 2].into()).expect("a route");
    a.exchange.hold(peer, &[0x45; 40]);
    let initiation = a.poll().expect("an initiation");
    let response = b.take(a.address, &initiation).expect("a response");
    let keepalive = a.take(b.address, &response).expect("a keepalive");
    b.take(a.address, &keepalive);
    while a.poll().is_some() {}
    let (header, packet) = large();
    let mut frame = packet.clone();
    frame.resize(packet.len() + SLACK_BYTES, 0);
    let mut datagram = vec![0; 2048];
    let mut coalescer = Coalescer::new(Offload { tcp: true, udp: true });
    let (mut arrived, mut frames, mut frame_bytes) = (0, 0, 0);
    let before = COUNT.get();
    for _ in 0..250 {
        let now = Instant::now();
        frame[..packet.len()].copy_from_slice(&packet);
        split::split(&header, &mut frame, packet.len(), 1420, |room, len| {
            let to = a.exchange.ready(peer).expect("a session");
            assert_eq!(to.endpoint().map(|to| to.port()), Some(51820));
            let sealed = a.exchange.seal(peer, room, len, now, &mut datagram).expect("a session");
            let inbound =
                b.exchange.handle_datagram(a.address, &datagram[..sealed], now, &mut b.out[vnet::LEN..]);
            let Inbound::Deliver(ip) = inbound else { panic!("{inbound:?}") };
            arrived += 1;
            coalescer.push(&mut b.out, &ip, |frame| {
                (frames, frame_bytes) = (frames + 1, frame_bytes + frame.len());
            });
        })
        .expect("it is cut");
        coalescer.flush(|frame| {
            (frames, frame_bytes) = (frames + 1, frame_bytes + frame.len());
        });
        a.exchange.handle_timeout(now);
        assert!(a.exchange.poll_transmit(now, &mut a.out).is_none());
        // Rubbish costs nothing either.
        b.exchange.handle_datagram(a.address, &[1; 148], now, &mut b.out);
        b.exchange.handle_datagram(a.address, &[4; 99], now, &mut b.out);
    }
    let cost = COUNT.get() - before;
    assert_eq!((arrived, frames, frame_bytes), (10_000, 250, 250 * (vnet::LEN + packet.len())));
    assert_eq!(cost, 0, "allocations for {arrived} packets");
    // The counter counts.
    drop(packet.clone());
    assert!(COUNT.get() > before);
    assert!(packet::header(&packet).is_ok());
}

#[test]
fn waiting_costs_no_memory_either() {
    let mut a = End::new(1, 2, [1, 1, 1, 1]);
    let peer = a.exchange.route([10, 0, 0, 2].into()).expect("a route");
    let before = COUNT.get();
    for _ in 0..1000 {
        a.exchange.hold(peer, &[0x45; 1420]);
    }
    assert_eq!(COUNT.get() - before, 0);
    assert_eq!(a.exchange.drops().waited, 1000 - 16);
}
