//! What a connected box is told of the others, how soon, and how often at most.

use std::io::{BufRead as _, BufReader, Write as _};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use rustls::{ClientConnection, StreamOwned};
use trust::map::PeerMap;
use trust::{BoxKey, Coordinator, Revocations};
use wire::{Frame, Method, path};

use crate::client::connect;
use crate::hand::{Hand, now};
use crate::house::{House, text, wait_for};

/// One change and no more in this time, and a busy machine's share on top.
const DELTA_EVERY: Duration = Duration::from_secs(2);

/// The push of one box, and the map that it makes of it.
pub(crate) struct Ear {
    lines: BufReader<StreamOwned<ClientConnection, TcpStream>>,
    recipient: BoxKey,
    coordinator: Coordinator,
    map: Option<PeerMap>,
    deltas: u32,
}

impl Ear {
    pub(crate) fn open(house: &House, hand: &Hand) -> Self {
        let mut stream = connect(house.address());
        let signature = hand.signature(Method::Get, path::PUSH, b"");
        let head = format!("GET {} HTTP/1.1\r\nHost: localhost\r\n{signature}\r\n", path::PUSH);
        stream.write_all(head.as_bytes()).unwrap();
        let certificate = &hand.enrolled.certificate;
        let root = trust::Ticket::parse(&house.invite("nobody", &[])).unwrap().root;
        let coordinator = Coordinator::verify(certificate, &root, now(), &Revocations::new()).unwrap();
        let lines = BufReader::new(stream);
        Self { lines, recipient: hand.key(), coordinator, map: None, deltas: 0 }
    }

    /// The next frame; between them are the head and the lengths of pieces (RFC 9112 section 7.1).
    pub(crate) fn next(&mut self) -> Frame {
        loop {
            let mut line = String::new();
            assert!(self.lines.read_line(&mut line).unwrap() > 0, "the push ended");
            if line.starts_with('{') {
                return serde_json::from_str(&line).unwrap();
            }
        }
    }

    /// Takes frames until the map is as wanted.
    pub(crate) fn until(&mut self, what: &str, wanted: impl Fn(&PeerMap) -> bool) -> Duration {
        let start = Instant::now();
        while !self.map.as_ref().is_some_and(&wanted) {
            assert!(start.elapsed() < Duration::from_secs(30), "waited in vain for {what}");
            match self.next() {
                Frame::Map { map } => match &mut self.map {
                    Some(known) => known.handle_map(map, &self.coordinator).unwrap(),
                    None => {
                        self.map = Some(PeerMap::open(map, &self.recipient, &self.coordinator).unwrap());
                    }
                },
                Frame::Delta { delta } => {
                    self.deltas += 1;
                    self.map.as_mut().unwrap().handle_delta(delta, &self.coordinator).unwrap();
                }
                other => assert!(matches!(other, Frame::Alive { .. }), "{other:?}"),
            }
        }
        start.elapsed()
    }

    /// Who stands in its map.
    pub(crate) fn knows(&self) -> Vec<BoxKey> {
        self.map.iter().flat_map(PeerMap::entries).map(|entry| *entry.key()).collect()
    }
}

fn has(map: &PeerMap, hand: &Hand, endpoint: &str) -> bool {
    let entry = map.entries().find(|entry| *entry.key() == hand.key());
    entry.is_some_and(|entry| entry.endpoints.iter().any(|known| known.to_string() == endpoint))
}

#[test]
fn a_box_that_moved_is_found_within_three_seconds() {
    let house = House::running("moved");
    let (ana, bob) = (Hand::join(&house, "ana", 1), Hand::join(&house, "bob", 2));
    let mut ear = Ear::open(&house, &bob);
    ear.until("a map", |map| map.entries().count() == 1);
    for endpoint in ["192.0.2.1:1", "192.0.2.2:2"] {
        ana.beat(&house, &[endpoint]);
        let took = ear.until(endpoint, |map| has(map, &ana, endpoint));
        assert!(took < Duration::from_secs(3), "{endpoint}: {took:?}");
    }
}

#[test]
fn many_changes_are_told_together_and_the_last_one_wins() {
    let house = House::running("many");
    let bob = Hand::join(&house, "bob", 2);
    let movers: Vec<_> = (0..5_u8).map(|n| Hand::join(&house, &format!("ana-{n}"), 10 + n)).collect();
    let mut ear = Ear::open(&house, &bob);
    ear.until("a map", |map| map.entries().count() == 5);
    let (start, before) = (Instant::now(), ear.deltas);
    for change in 1..=10 {
        for (mover, host) in movers.iter().zip(1..) {
            mover.beat(&house, &[&format!("192.0.2.{host}:{change}")]);
        }
    }
    let last = |map: &PeerMap| {
        let mut all = movers.iter().zip(1..);
        all.all(|(mover, host)| has(map, mover, &format!("192.0.2.{host}:10")))
    };
    ear.until("the last places", last);
    // One at once, one per time that has passed, and what was on its way.
    let most = 2 + start.elapsed().as_millis() / DELTA_EVERY.as_millis();
    let told = ear.deltas - before;
    assert!((1..=most).contains(&u128::from(told)), "50 changes, {told} deltas in {:?}", start.elapsed());
}

#[test]
fn a_revocation_waits_for_no_other_news() {
    let house = House::running("urgent");
    let (ana, bob) = (Hand::join(&house, "ana", 1), Hand::join(&house, "bob", 2));
    house.joined("carl");
    let mut ear = Ear::open(&house, &bob);
    ear.until("a map", |map| map.entries().count() == 2);
    ana.beat(&house, &["192.0.2.1:1"]);
    ear.until("ana's place", |map| has(map, &ana, "192.0.2.1:1"));
    let revoked = house.operate(&["box", "revoke"], &["carl"]);
    assert!(revoked.status.success(), "{}", text(&revoked));
    let first = ear.next();
    assert!(matches!(&first, Frame::Revocations { .. }), "before the change of the map: {first:?}");
}

#[test]
fn a_box_that_went_mad_is_heard_now_and_then() {
    let house = House::running("mad");
    let (ana, bob) = (Hand::join(&house, "ana", 1), Hand::join(&house, "bob", 2));
    let beat = ana.heartbeat(&[]);
    let refused = (0..200).find_map(|n| {
        let (status, head, body) = ana.try_beat(&house, &beat);
        (status != 200).then_some((n, status, head, body))
    });
    let (taken, status, head, body) = refused.unwrap();
    assert!(taken >= 10 && status == 429, "{taken}: {body}");
    assert!(head.to_ascii_lowercase().contains("retry-after: 1\r"), "{head}");
    assert!(body.contains("\"too-many-requests\"") && body.contains("tries again by itself"), "{body}");
    bob.beat(&house, &[]);
    let ((), _) = wait_for("ana to be heard again", || {
        let again = ana.heartbeat(&["192.0.2.9:9"]);
        (ana.try_beat(&house, &again).0 == 200).then_some(())
    });
}
