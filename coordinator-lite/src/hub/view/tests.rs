//! More boxes than a map has places: who stands in it, and that it can always be followed.

use proptest::prelude::*;
use trust::peer::Entry;
use trust::{
    BoxCertificate, BoxSecret, Chain, Coordinator, CoordinatorCertificate, CoordinatorSecret, Invite,
    InviteKind, InviteSecret, Limits, Membership, MeshId, MeshPrefix, Revocations, RootSecret, UnixSeconds,
    WireGuardBinding, WireGuardKey,
};

use super::*;
use crate::hub::pins::Pins;
use crate::service::Mesh;
use crate::store::BoxRow;

fn root() -> RootSecret {
    RootSecret::from_seed(&[1; 32])
}

fn mesh() -> MeshId {
    MeshId::of(&root().public())
}

fn key(n: u8) -> BoxKey {
    BoxSecret::from_seed(&[n; 32]).public()
}

fn service() -> Service {
    let secret = CoordinatorSecret::from_seed(&[2; 32]);
    let certificate = CoordinatorCertificate {
        mesh: mesh(),
        key: secret.public(),
        serial: 1,
        not_before: UnixSeconds::new(0),
        not_after: UnixSeconds::new(u64::MAX >> 20),
    };
    let certificate = Signed::sign(certificate, &root()).unwrap();
    Service { dir: "nowhere".into(), mesh: Mesh { root: root().public(), certificate }, secret }
}

/// A box that came in a moment ago, and was seen so many seconds later than box 0.
fn row(n: u8, seen: u64) -> BoxRow {
    let (secret, invite) = (BoxSecret::from_seed(&[n; 32]), InviteSecret::from_seed(&[n; 32]));
    let now = clock::now();
    let name: trust::Name = format!("box-{n}").parse().unwrap();
    let invited = Invite {
        mesh: mesh(),
        key: invite.public(),
        name: name.clone(),
        kind: InviteKind::Box,
        limits: Limits::SINGLE,
        issued: now,
        expires: now.plus(Duration::from_secs(86_400)),
    };
    let invited = Signed::sign(invited, &root()).unwrap();
    let address = MeshPrefix::of(&mesh()).of_box(&key(n), 0);
    let membership = Membership { mesh: mesh(), key: key(n), invite: invited.id(), address, issued: now };
    let certificate = BoxCertificate { mesh: mesh(), key: key(n), name };
    let bound = WireGuardKey::from_bytes([n + 1; 32]).unwrap();
    let binding = WireGuardBinding { mesh: mesh(), key: bound, generation: 1, boot: 1, valid_from: now };
    BoxRow {
        entry: Entry {
            chain: Chain { invite: invited, certificate: Signed::sign(certificate, &invite).unwrap() },
            membership: Signed::sign(membership, &service().secret).unwrap(),
            wireguard: vec![Signed::sign(binding, &secret).unwrap()].try_into().unwrap(),
            endpoints: List::new(),
        },
        version: "1".into(),
        board: "test".into(),
        enrolled: now,
        seen: Some(now.plus(Duration::from_secs(seen))),
        heartbeat: None,
    }
}

/// A box with its view, and the map that it makes of what it is told.
struct Told {
    view: View,
    map: Option<PeerMap>,
    epoch: u64,
}

impl Told {
    fn new(n: u8, places: usize) -> Self {
        Self { view: View::new(key(n), places), map: None, epoch: 0 }
    }

    /// Looks, and takes what comes as a box does. Gives how many maps and changes there were.
    fn look(&mut self, directory: &Directory, pins: &Pins, now: Instant) -> usize {
        let service = service();
        let (recipient, epoch) = (self.view.recipient, &mut self.epoch);
        let coordinator = service.mesh.coordinator(clock::now(), &Revocations::new()).unwrap();
        let next = || {
            *epoch += 1;
            MapEpoch(*epoch)
        };
        let frames = self.view.news(directory, pins.of(&recipient, now), &service, now, next).unwrap();
        for frame in &frames {
            self.take(frame, &coordinator);
        }
        frames.len()
    }

    /// Every error of a map is one of this test: one that went back, a gap, too many, or another content.
    fn take(&mut self, frame: &Frame, coordinator: &Coordinator) {
        match frame {
            Frame::Map { map } => match &mut self.map {
                Some(known) => known.handle_map(map.clone(), coordinator).unwrap(),
                None => {
                    let map = PeerMap::open(map.clone(), &self.view.recipient, coordinator);
                    self.map = Some(map.unwrap());
                }
            },
            Frame::Delta { delta } => {
                self.map.as_mut().unwrap().handle_delta(delta.clone(), coordinator).unwrap();
            }
            other => panic!("{other:?}"),
        }
    }

    fn has(&self, n: u8) -> bool {
        self.map.as_ref().unwrap().entries().any(|entry| *entry.key() == key(n))
    }

    fn len(&self) -> usize {
        self.map.as_ref().unwrap().entries().count()
    }
}

fn directory(boxes: u8, seen: impl Fn(u8) -> u64) -> Directory {
    Directory::new((0..boxes).map(|n| row(n, seen(n))).collect(), Revocations::new(), Vec::new())
}

#[test]
fn a_look_up_makes_room_for_the_other_one_and_its_end_gives_it_back() {
    // Box 9 was seen last, box 1 longest ago.
    let (directory, start) = (directory(10, u64::from), Instant::now());
    let mut pins = Pins::new(4);
    let (mut one, mut other) = (Told::new(0, 4), Told::new(1, 4));
    for told in [&mut one, &mut other] {
        assert_eq!((told.look(&directory, &pins, start), told.len()), (1, 4));
        assert!([9, 8, 7, 6].into_iter().all(|n| told.has(n)));
    }
    // At once, though both were told something a moment ago.
    pins.pin(&key(0), &key(1), start).unwrap();
    for (told, new) in [(&mut one, 1), (&mut other, 0)] {
        assert_eq!((told.look(&directory, &pins, start), told.len()), (1, 4));
        assert!(told.has(new) && told.has(9) && !told.has(6));
        assert_eq!(told.view.until(), Some(start + Duration::from_secs(600)));
        assert_eq!(told.look(&directory, &pins, start + Duration::from_secs(599)), 0);
    }
    let over = start + Duration::from_secs(600);
    for told in [&mut one, &mut other] {
        assert_eq!((told.look(&directory, &pins, over), told.len()), (1, 4));
        assert!([9, 8, 7, 6].into_iter().all(|n| told.has(n)));
        assert_eq!(told.view.until(), None);
    }
}

#[test]
fn a_map_that_holds_everybody_changes_by_no_look_up() {
    let (directory, start) = (directory(5, u64::from), Instant::now());
    let (mut pins, mut told) = (Pins::new(4), Told::new(0, 4));
    assert_eq!((told.look(&directory, &pins, start), told.len()), (1, 4));
    pins.pin(&key(0), &key(1), start).unwrap();
    for seconds in [1, 600, 1200] {
        assert_eq!(told.look(&directory, &pins, start + Duration::from_secs(seconds)), 0);
    }
}

#[test]
fn a_map_of_one_place_holds_whoever_was_asked_for_last() {
    let (directory, start) = (directory(4, u64::from), Instant::now());
    let (mut pins, mut told) = (Pins::new(1), Told::new(0, 1));
    told.look(&directory, &pins, start);
    assert!(told.has(3));
    pins.pin(&key(0), &key(1), start).unwrap();
    told.look(&directory, &pins, start);
    assert!(told.has(1));
    pins.pin(&key(2), &key(0), start + Duration::from_secs(1)).unwrap();
    told.look(&directory, &pins, start + Duration::from_secs(1));
    assert_eq!((told.has(2), told.len()), (true, 1));
}

/// What happens in a mesh.
#[derive(Clone, Debug)]
enum Step {
    Pin(u8, u8),
    Wait(u64),
    /// Another order in which they were seen.
    Seen(u64),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => (0..12_u8, 0..12_u8).prop_map(|(one, other)| Step::Pin(one, other)),
        2 => (0..700_u64).prop_map(Step::Wait),
        1 => any::<u64>().prop_map(Step::Seen),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    /// Whoever asks for whom: every box can follow its map, which has never more boxes than places, and holds everybody
    /// who is pinned to it at the end of any wait.
    #[test]
    fn any_look_ups_leave_a_map_that_can_be_followed(steps in proptest::collection::vec(step(), 1..40)) {
        let places = 8;
        let (mut pins, mut now) = (Pins::new(places), Instant::now());
        let mut all = directory(12, u64::from);
        let mut boxes: Vec<_> = (0..12).map(|n| Told::new(n, places)).collect();
        for step in steps {
            match step {
                Step::Pin(one, other) => {
                    // Also where it is refused.
                    let _ = pins.pin(&key(one), &key(other), now);
                }
                Step::Wait(seconds) => now += Duration::from_secs(seconds),
                Step::Seen(order) => all = directory(12, |n| order.rotate_left(n.into()) % 100),
            }
            for (n, told) in (0..).zip(&mut boxes) {
                told.look(&all, &pins, now);
                prop_assert_eq!(told.len(), places);
                for pinned in pins.of(&key(n), now).keys().filter(|other| **other != key(n)) {
                    let mut entries = told.map.as_ref().unwrap().entries();
                    prop_assert!(entries.any(|entry| entry.key() == pinned));
                }
            }
        }
    }
}
