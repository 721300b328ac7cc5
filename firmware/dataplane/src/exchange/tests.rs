//! Two exchanges against each other, in memory, with the real engine.

use super::*;
use crate::engine::Boring;
use crate::key::{PresharedKey, PrivateKey, PublicKey};
use crate::split::tests::udp;

const A: &str = "192.0.2.1:1000";
const B: &str = "[2001:db8::2]:2000";

struct End {
    exchange: Exchange<Boring>,
    address: SocketAddr,
    key: PublicKey,
    out: Vec<u8>,
    got: Vec<Vec<u8>>,
}

impl End {
    fn new(seed: u8, address: &str, now: Instant) -> End {
        let key = PrivateKey::new([seed; 32]);
        End {
            key: key.public(),
            exchange: Exchange::new(key, 1420, now),
            address: address.parse().expect("an address"),
            out: vec![0; DATAGRAM_BYTES_MAX + crate::SPARE_BYTES],
            got: Vec::new(),
        }
    }

    fn add(&mut self, key: PublicKey, allowed: &str, endpoint: Option<&str>) {
        let config = PeerConfig {
            public_key: key,
            preshared_key: Some(PresharedKey([9; 32])),
            allowed_ips: allowed.split(',').map(|prefix| prefix.parse().expect("a prefix")).collect(),
            endpoint: endpoint.map(|endpoint| endpoint.parse().expect("an address")),
            keepalive: None,
            mesh: None,
        };
        self.exchange.add_peer(config, Instant::now()).expect("a new peer");
    }

    /// Sends a packet as the thread does; what comes out at once is given.
    fn send(&mut self, packet: &[u8]) -> Vec<Vec<u8>> {
        let to = packet::header(packet).expect("a packet").destination;
        let peer = self.exchange.route(to).expect("a route");
        let mut sent = Vec::new();
        if self.exchange.ready(peer).is_some() {
            let mut room = packet.to_vec();
            room.resize(packet.len() + SLACK_BYTES, 0xee);
            let len = self.exchange.seal(peer, &mut room, packet.len(), Instant::now(), &mut self.out);
            sent.push(self.out[..len.expect("a session")].to_vec());
            assert_eq!(sent[0].len(), self.exchange.sealed_len(peer, packet.len()));
            assert_eq!(&room[..packet.len()], packet);
            assert!(room[packet.len()..].iter().all(|&byte| byte == 0xee));
        } else {
            self.exchange.hold(peer, packet);
        }
        sent.extend(self.poll());
        sent
    }

    fn poll(&mut self) -> Vec<Vec<u8>> {
        let mut sent = Vec::new();
        while let Some((_, len)) = self.exchange.poll_transmit(Instant::now(), &mut self.out) {
            sent.push(self.out[..len].to_vec());
        }
        sent
    }

    fn take(&mut self, from: SocketAddr, datagram: &[u8]) -> (Inbound, Vec<Vec<u8>>) {
        let inbound = self.exchange.handle_datagram(from, datagram, Instant::now(), &mut self.out);
        let mut sent = Vec::new();
        match inbound {
            Inbound::Deliver(ip) => self.got.push(self.out[..ip.len].to_vec()),
            Inbound::Reply(len) => sent.push(self.out[..len].to_vec()),
            Inbound::Mesh(_) | Inbound::Nothing | Inbound::Dropped(_) => {}
        }
        sent.extend(self.poll());
        (inbound, sent)
    }
}

/// Hands messages to and fro until there are none.
fn settle(a: &mut End, b: &mut End, mut to_b: Vec<Vec<u8>>) {
    let mut to_a = Vec::new();
    for _ in 0..20 {
        to_a.extend(to_b.drain(..).flat_map(|datagram| b.take(a.address, &datagram).1).collect::<Vec<_>>());
        to_b.extend(to_a.drain(..).flat_map(|datagram| a.take(b.address, &datagram).1).collect::<Vec<_>>());
    }
    assert!(to_b.is_empty());
}

fn pair() -> (End, End) {
    let now = Instant::now();
    let (mut a, mut b) = (End::new(1, A, now), End::new(2, B, now));
    a.add(b.key, "10.0.0.2/32,fd00::2/128", Some(B));
    b.add(a.key, "10.0.0.1/32", None);
    (a, b)
}

/// From 10.0.0.1 to 10.0.0.2.
fn hello(n: u8) -> Vec<u8> {
    udp(false, &[n; 21])
}

#[test]
fn packets_wait_for_the_handshake_and_arrive_in_order() {
    let (mut a, mut b) = pair();
    let first = a.send(&hello(1));
    assert_eq!(first.iter().map(Vec::len).collect::<Vec<_>>(), [148]);
    assert!(a.send(&hello(2)).is_empty());
    settle(&mut a, &mut b, first);
    assert_eq!(b.got, [hello(1), hello(2)]);
    let more = a.send(&hello(3));
    // 49 bytes, padded to 64.
    assert_eq!(more[0].len(), 64 + 32);
    settle(&mut a, &mut b, more);
    assert_eq!(b.got.len(), 3);
}

/// How many messages of 148 bytes come out when time goes on by that.
fn initiations(end: &mut End, later: Duration) -> usize {
    let now = Instant::now() + later;
    end.exchange.handle_timeout(now);
    let mut count = 0;
    while let Some((_, len)) = end.exchange.poll_transmit(now, &mut end.out) {
        count += usize::from(len == 148);
    }
    count
}

#[test]
fn packets_that_waited_cost_one_handshake() {
    let (mut a, mut b) = pair();
    let first = a.send(&hello(1));
    assert!(a.send(&hello(2)).is_empty());
    settle(&mut a, &mut b, first);
    assert_eq!(b.got, [hello(1), hello(2)]);
    // The second packet's wish for a handshake is fulfilled as well.
    assert_eq!([1, 6, 12].map(|later| initiations(&mut a, Duration::from_secs(later))), [0, 0, 0]);
}

#[test]
fn a_handshake_counts_when_both_ends_have_it() {
    let (mut a, mut b) = pair();
    let handshakes = |end: &End| end.exchange.stats(Instant::now())[0].handshakes;
    let first = a.send(&hello(1)).remove(0);
    // The answer is lost, so the same peer asks again: with a clock of its own, as after a restart.
    assert!(matches!(b.take(a.address, &first).0, Inbound::Reply(92)));
    assert_eq!(handshakes(&b), 0);
    let (mut again, _) = pair();
    let second = again.send(&hello(2));
    settle(&mut again, &mut b, second);
    assert_eq!((handshakes(&again), handshakes(&b)), (1, 1));
    let more = again.send(&hello(3));
    settle(&mut again, &mut b, more);
    assert_eq!((handshakes(&again), handshakes(&b)), (1, 1));
    assert_eq!(b.got, [hello(2), hello(3)]);
}

#[test]
fn a_peer_is_followed_on_data_only() {
    let (mut a, mut b) = pair();
    let initiation = a.send(&hello(1));
    let (inbound, response) = b.take(A.parse().expect("an address"), &initiation[0]);
    assert!(matches!(inbound, Inbound::Reply(92)));
    let endpoint = |end: &End| end.exchange.stats(Instant::now())[0].endpoint;
    assert_eq!(endpoint(&b), None);
    settle(&mut b, &mut a, response);
    assert_eq!(endpoint(&b), Some(a.address));
    a.address = "203.0.113.5:7".parse().expect("an address");
    let more = a.send(&hello(2));
    let from: SocketAddr = "203.0.113.66:6".parse().expect("an address");
    let mut forged = more[0].clone();
    forged[40] ^= 1;
    assert_eq!(b.take(from, &forged).0, Inbound::Dropped(Drop::NotAuthentic));
    assert_ne!(endpoint(&b), Some(from));
    assert!(matches!(b.take(a.address, &more[0]).0, Inbound::Deliver(_)));
    assert_eq!(endpoint(&b), Some(a.address));
    // A replay moves nothing.
    assert_eq!(b.take(from, &more[0]).0, Inbound::Dropped(Drop::NotAuthentic));
    assert_eq!(endpoint(&b), Some(a.address));
}

#[test]
fn a_foreign_source_is_dropped_even_if_the_sender_may_have_it_too() {
    let (mut a, mut b) = pair();
    let initiation = a.send(&hello(1));
    settle(&mut a, &mut b, initiation);
    let mut c = End::new(3, "198.51.100.3:3", Instant::now());
    // The wider prefix is c's, the address in it is a's.
    b.add(c.key, "10.0.0.0/24", None);
    c.add(b.key, "10.0.0.2/32", Some(B));
    let initiation = c.send(&hello(1));
    settle(&mut c, &mut b, initiation);
    let lie = c.send(&hello(9));
    assert_eq!(b.take(c.address, &lie[0]).0, Inbound::Dropped(Drop::ForeignSource));
}

#[test]
fn rubbish_is_counted_and_changes_nothing() {
    let (mut a, mut b) = pair();
    let initiation = a.send(&hello(1));
    settle(&mut a, &mut b, initiation);
    let good = a.send(&hello(2)).remove(0);
    let from = a.address;
    assert_eq!(b.take(from, &[]).0, Inbound::Dropped(Drop::Malformed));
    assert_eq!(b.take(from, &[1; 147]).0, Inbound::Dropped(Drop::Malformed));
    for forged in ["192.0.2.1:0", "0.0.0.0:5", "224.0.0.1:5", "[ff02::1]:5", "[::]:5"] {
        assert_eq!(b.take(forged.parse().expect("an address"), &good).0, Inbound::Dropped(Drop::Malformed));
    }
    let mut unknown = good.clone();
    unknown[7] ^= 0x55;
    assert_eq!(b.take(from, &unknown).0, Inbound::Dropped(Drop::Unknown));
    let mut late = good.clone();
    late[8..16].copy_from_slice(&(u64::MAX - 8192).to_le_bytes());
    assert_eq!(b.take(from, &late).0, Inbound::Dropped(Drop::NotAuthentic));
    let long: Vec<u8> = good.iter().copied().chain([0; 60_000]).collect();
    assert_eq!(b.take(from, &long).0, Inbound::Dropped(Drop::NotAuthentic));
    assert!(matches!(b.take(from, &good).0, Inbound::Deliver(_)));
    let drops = Drops { malformed: 7, unknown: 1, not_authentic: 2, ..Drops::default() };
    assert_eq!(b.exchange.drops(), drops);
}

#[test]
fn one_source_of_initiations_is_limited() {
    let (mut a, mut b) = pair();
    let flooder: SocketAddr = "198.51.100.9:9".parse().expect("an address");
    let mut bogus = vec![7; 148];
    bogus[..4].copy_from_slice(&[1, 0, 0, 0]);
    (0..1000).for_each(|_| drop(b.take(flooder, &bogus)));
    let drops = b.exchange.drops();
    assert_eq!(drops.limited + drops.not_authentic, 1000);
    assert!(drops.not_authentic <= 20, "{drops:?}");
    let initiation = a.send(&hello(1));
    settle(&mut a, &mut b, initiation);
    assert_eq!(b.got, [hello(1)]);
}

#[test]
fn a_flood_that_knows_our_key_leaves_sessions_alone() {
    let (mut a, mut b) = pair();
    let initiation = a.send(&hello(1));
    settle(&mut a, &mut b, initiation);
    let mut stranger = End::new(3, "198.51.100.3:3", Instant::now());
    stranger.add(b.key, "10.0.0.2/32", Some(B));
    let initiation = stranger.send(&hello(9)).remove(0);
    let mut cookies = 0;
    for n in 0..1000_u16 {
        let [high, low] = n.to_be_bytes();
        match b.take(([100, 64, high, low], 3).into(), &initiation).0 {
            Inbound::Dropped(Drop::Unknown | Drop::Limited) => {}
            // Under load a sender has to prove its address, and the answer is shorter than the question.
            Inbound::Reply(64) => cookies += 1,
            other => panic!("{other:?}"),
        }
    }
    assert!(cookies > 0);
    let sent = a.send(&hello(2));
    settle(&mut a, &mut b, sent);
    assert_eq!(b.got, [hello(1), hello(2)]);
}

#[test]
fn keys_change_while_packets_flow() {
    let (mut a, mut b) = pair();
    let initiation = a.send(&hello(1));
    settle(&mut a, &mut b, initiation);
    let (old, new) = (a.key, PrivateKey::new([77; 32]));
    // b hears of it first; what a still seals with the old key arrives.
    b.exchange.replace_key(old, new.public()).expect("a peer");
    let sent = a.send(&hello(2));
    settle(&mut a, &mut b, sent);
    a.exchange.set_key(new).expect("randomness");
    let sent = a.send(&hello(3));
    assert_eq!(sent.iter().map(Vec::len).collect::<Vec<_>>(), [96, 148], "old session, new initiation");
    settle(&mut a, &mut b, sent);
    let sent = a.send(&hello(4));
    settle(&mut a, &mut b, sent);
    assert_eq!(b.got, [hello(1), hello(2), hello(3), hello(4)]);
    assert_eq!(a.exchange.stats(Instant::now())[0].handshakes, 2);
}

#[test]
fn old_keys_go_when_the_new_ones_have_lived() {
    let (mut a, mut b) = pair();
    let initiation = a.send(&hello(1));
    settle(&mut a, &mut b, initiation);
    let new = PrivateKey::new([77; 32]);
    b.exchange.replace_key(a.key, new.public()).expect("a peer");
    a.exchange.set_key(new).expect("randomness");
    let sent = a.send(&hello(2));
    settle(&mut a, &mut b, sent);
    let counts = |a: &End| {
        let pairs = a.exchange.peers.iter().flatten().map(|peer| peer.pairs.len()).sum::<usize>();
        (a.exchange.identities.len(), pairs, a.exchange.indices.len())
    };
    a.exchange.handle_timeout(Instant::now());
    assert!(!a.poll().iter().any(|message| message.len() == 148));
    assert_eq!(counts(&a), (2, 2, 2));
    a.exchange.handle_timeout(Instant::now() + Duration::from_secs(179));
    assert_eq!(counts(&a), (2, 2, 2));
    a.exchange.handle_timeout(Instant::now() + Duration::from_secs(182));
    assert_eq!(counts(&a), (1, 1, 1));
}

#[test]
fn peers_come_and_go() {
    let (mut a, b) = pair();
    let config = |key: u16| PeerConfig {
        public_key: PublicKey(std::array::from_fn(|n| key.to_le_bytes()[n % 2])),
        preshared_key: None,
        allowed_ips: Vec::new(),
        endpoint: None,
        keepalive: None,
        mesh: None,
    };
    let now = Instant::now();
    let added = (0..300).filter(|&n| a.exchange.add_peer(config(n), now).is_ok()).count();
    assert_eq!(added, PEERS_MAX - 1);
    assert!(matches!(a.exchange.add_peer(config(7), now), Err(PeerError::Known)));
    assert!(matches!(a.exchange.remove_peer(PublicKey([0xaa; 32])), Err(PeerError::Unknown)));
    a.exchange.remove_peer(b.key).expect("a peer");
    assert_eq!(a.exchange.route([10, 0, 0, 2].into()), None);
    assert_eq!(a.exchange.indices.len(), PEERS_MAX - 1);
    a.exchange.add_peer(config(299), now).expect("there is room");
}

fn ula(text: &str) -> Ula {
    text.parse::<std::net::Ipv6Addr>().expect("an address").try_into().expect("a local one")
}

/// From fd00::1 to fd00::2, with this port.
fn inside(port: u16) -> Vec<u8> {
    let mut packet = udp(true, &[5; 9]);
    packet[42..44].copy_from_slice(&port.to_be_bytes());
    packet
}

#[test]
fn a_box_is_followed_by_the_agent_alone() {
    let now = Instant::now();
    let (mut a, mut b) = (End::new(1, A, now), End::new(2, B, now));
    a.add(b.key, "fd00::2/128", Some(B));
    b.exchange.set_mesh_address(Some(ula("fd00::2")));
    let mesh = MeshPeer { address: ula("fd00::1"), hints: mesh::Hints::default() };
    let config = PeerConfig {
        public_key: a.key,
        preshared_key: Some(PresharedKey([9; 32])),
        allowed_ips: vec!["fd00::1/128".parse().expect("a prefix")],
        endpoint: Some(A.parse().expect("an address")),
        keepalive: None,
        mesh: Some(mesh),
    };
    b.exchange.add_peer(config, now).expect("a new peer");
    let (peer, number) = (b.exchange.peer(a.key).expect("a peer"), b.exchange.box_at(ula("fd00::1")));
    assert_eq!(number, Some(peer));
    assert_eq!(b.exchange.box_at(ula("fd00::9")), None);
    // The same initiation for all ways, until it is old.
    let mut twice = [[0; 148]; 2];
    for bytes in &mut twice {
        assert_eq!(b.exchange.initiate(peer, now, bytes), Some(148));
    }
    assert_eq!(twice[0], twice[1]);
    assert!(b.poll().is_empty(), "without a path nothing goes by itself");
    let (_, response) = a.take(b.address, &twice[0]);
    let from: SocketAddr = A.parse().expect("an address");
    let (inbound, keepalive) = b.take(from, &response[0]);
    assert!(matches!(inbound, Inbound::Reply(32)));
    assert_eq!(b.exchange.sign(), Some(Sign { peer, is_new: true }));
    a.take(b.address, &keepalive[0]);
    assert_eq!(b.exchange.ready(peer), None, "nobody said by which path");
    for (port, is_mesh) in [(mesh::PORT, true), (mesh::PORT + 1, false)] {
        let sealed = a.send(&inside(port)).remove(0);
        let inbound = b.take(from, &sealed).0;
        assert_eq!(matches!(inbound, Inbound::Mesh(_)), is_mesh, "{inbound:?}");
        assert_eq!(matches!(inbound, Inbound::Deliver(_)), !is_mesh, "{inbound:?}");
        assert_eq!(b.exchange.sign(), Some(Sign { peer, is_new: false }));
        b.take(from, &sealed);
        assert_eq!(b.exchange.sign(), None, "a replay is no sign");
    }
    assert_eq!(b.exchange.poll_lost(), None);
    let path = Path::Box(PeerId(9));
    b.exchange.set_path(peer, Some(path), 1392);
    assert_eq!((b.exchange.ready(peer), b.exchange.mtu(peer)), (Some(path), 1392));
    // Padding to 16 stops at what the path carries.
    let lens = [1376, 1377, 1392, 1393].map(|len| b.exchange.sealed_len(peer, len));
    assert_eq!(lens, [1408, 1424, 1424, 1425]);
}

#[test]
fn the_mesh_port_of_a_plain_peer_is_the_hosts() {
    let now = Instant::now();
    let (mut a, mut b) = (End::new(1, A, now), End::new(2, B, now));
    a.add(b.key, "fd00::2/128", Some(B));
    b.add(a.key, "fd00::1/128", None);
    b.exchange.set_mesh_address(Some(ula("fd00::2")));
    let initiation = a.send(&inside(mesh::PORT));
    settle(&mut a, &mut b, initiation);
    assert_eq!(b.got, [inside(mesh::PORT)]);
}
