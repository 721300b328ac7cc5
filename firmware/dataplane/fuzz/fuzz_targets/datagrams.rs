//! Hostile datagrams among good ones into an exchange: no panic, nothing forged is delivered, and what is good still
//! arrives afterwards.
#![no_main]

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use arbitrary::Arbitrary;
use dataplane::engine::Boring;
use dataplane::exchange::Drop;
use dataplane::{DATAGRAM_BYTES_MAX, Exchange, Inbound, PeerConfig, PrivateKey, SPARE_BYTES};
use libfuzzer_sys::fuzz_target;

#[derive(Arbitrary, Debug)]
enum Step<'a> {
    /// Any bytes, from anywhere.
    Bytes {
        from: u8,
        bytes: &'a [u8],
    },
    /// Bytes with the head of a message, to the peer's own sessions if `known`.
    Message {
        from: u8,
        kind: u8,
        known: bool,
        counter: u64,
        bytes: &'a [u8],
    },
    /// A packet of the peer's, whole, or with one byte changed, from anywhere.
    Packet {
        from: u8,
        bend: Option<(u16, u8)>,
        packet: &'a [u8],
    },
    Later {
        ms: u16,
    },
}

struct End {
    exchange: Exchange<Boring>,
    address: SocketAddr,
    out: Vec<u8>,
}

fn end(seed: u8, other: u8, address: &str) -> End {
    let mut exchange = Exchange::new(PrivateKey::new([seed; 32]), 1420, Instant::now());
    let config = PeerConfig {
        public_key: PrivateKey::new([other; 32]).public(),
        preshared_key: None,
        allowed_ips: vec!["10.0.0.0/8".parse().expect("a prefix"), "fd00::/8".parse().expect("a prefix")],
        endpoint: Some("192.0.2.9:9".parse().expect("an address")),
        keepalive: None,
        mesh: None,
    };
    exchange.add_peer(config, Instant::now()).expect("a peer");
    let address = address.parse().expect("an address");
    End { exchange, address, out: vec![0; DATAGRAM_BYTES_MAX + SPARE_BYTES] }
}

impl End {
    fn take(&mut self, from: SocketAddr, datagram: &[u8], now: Instant) -> Inbound {
        self.exchange.handle_datagram(from, datagram, now, &mut self.out)
    }

    fn poll(&mut self, now: Instant) -> Option<Vec<u8>> {
        let (_, len) = self.exchange.poll_transmit(now, &mut self.out)?;
        Some(self.out[..len].to_vec())
    }

    fn seal(&mut self, packet: &[u8], now: Instant) -> Option<Vec<u8>> {
        let peer = self.exchange.route([10, 0, 0, 2].into())?;
        let mut room = packet.to_vec();
        room.resize(packet.len() + 16, 0xee);
        let len = self.exchange.seal(peer, &mut room, packet.len(), now, &mut self.out)?;
        Some(self.out[..len].to_vec())
    }
}

/// 10.0.0.1 to 10.0.0.2, with nothing in it.
fn good() -> [u8; 20] {
    [0x45, 0, 0, 20, 0, 0, 0, 0, 64, 17, 0, 0, 10, 0, 0, 1, 10, 0, 0, 2]
}

fuzz_target!(|steps: Vec<Step<'_>>| {
    let mut now = Instant::now();
    let (mut a, mut b) = (end(1, 2, "192.0.2.1:1"), end(2, 1, "192.0.2.2:2"));
    let peer = a.exchange.route([10, 0, 0, 2].into()).expect("a route");
    a.exchange.hold(peer, &good());
    let initiation = a.poll(now).expect("an initiation");
    let Inbound::Reply(len) = b.take(a.address, &initiation, now) else { panic!("no response") };
    let response = b.out[..len].to_vec();
    let Inbound::Reply(len) = a.take(b.address, &response, now) else { panic!("no keepalive") };
    let keepalive = a.out[..len].to_vec();
    assert_eq!(b.take(a.address, &keepalive, now), Inbound::Nothing);
    let index: [u8; 4] = keepalive[4..8].try_into().expect("4 bytes");
    while a.poll(now).is_some() {}
    for step in steps.into_iter().take(32) {
        let source = |from: u8| SocketAddr::from(([203, 0, 113, from], 7));
        match step {
            Step::Bytes { from, bytes } => {
                let inbound = b.take(source(from), bytes, now);
                assert!(!matches!(inbound, Inbound::Deliver(_)), "{inbound:?}");
            }
            Step::Message { from, kind, known, counter, bytes } => {
                let mut datagram = vec![kind % 6, 0, 0, 0];
                datagram.extend_from_slice(&if known { index } else { [from; 4] });
                datagram.extend_from_slice(&counter.to_le_bytes());
                datagram.extend_from_slice(bytes);
                match kind % 6 {
                    1 => datagram.resize(148, from),
                    2 => datagram.resize(92, from),
                    3 => datagram.resize(64, from),
                    _ => {}
                }
                let inbound = b.take(source(from), &datagram, now);
                assert!(matches!(inbound, Inbound::Dropped(_)), "{inbound:?}");
            }
            Step::Packet { from, bend, packet } => {
                let packet = &packet[..packet.len().min(2000)];
                let Some(mut datagram) = a.seal(packet, now) else { continue };
                let bent = bend.is_some_and(|(at, with)| {
                    let at = usize::from(at) % datagram.len();
                    datagram[at] ^= with;
                    with != 0
                });
                match b.take(source(from), &datagram, now) {
                    Inbound::Deliver(ip) => {
                        assert!(!bent);
                        assert!(ip.len <= packet.len() && b.out[..ip.len] == packet[..ip.len]);
                        assert!(b.exchange.route(ip.source).is_some());
                    }
                    Inbound::Nothing => assert!(packet.is_empty() && !bent),
                    Inbound::Dropped(why) => assert!(bent || why != Drop::Malformed),
                    Inbound::Reply(_) | Inbound::Mesh(_) => panic!("an answer to data"),
                }
            }
            Step::Later { ms } => {
                now += Duration::from_millis(ms.into());
                b.exchange.handle_timeout(now);
                while b.poll(now).is_some() {}
            }
        }
    }
    let datagram = a.seal(&good(), now).expect("a session");
    assert!(matches!(b.take(a.address, &datagram, now), Inbound::Deliver(_)));
});
