//! Maps go forward, by the right signer, for the right box, without a gap.

use proptest::prelude::*;
use trust::map::{Map, MapEpoch, MapError, PEERS_MAX, PeerMap, Staleness};
use trust::peer::Entry;
use trust::*;

use crate::mesh::{Joined, Mesh, NOW, list, secs};

struct World {
    mesh: Mesh,
    me: BoxKey,
    entries: Vec<Entry>,
}

impl World {
    fn new() -> Self {
        let mesh = Mesh::new(1);
        let entries = (1..5).map(|seed| mesh.entry(&mesh.join(seed))).collect();
        Self { me: mesh.join(9).key(), entries, mesh }
    }

    fn map(&self, epoch: u64, entries: &[Entry]) -> Signed<Map> {
        self.mesh.map(self.me, epoch, entries.to_vec())
    }

    fn open(&self, epoch: u64, entries: &[Entry]) -> PeerMap {
        PeerMap::open(self.map(epoch, entries), &self.me, &self.mesh.coordinator()).unwrap()
    }
}

#[test]
fn a_change_leads_to_the_next_map() {
    let world = World::new();
    let (mesh, me, all) = (&world.mesh, world.me, &world.entries);
    let mut map = world.open(7, &all[..2]);
    let delta = mesh.sign_delta(mesh.delta(me, 7, 8, &all[..2], &all[1..]));
    map.handle_delta(delta, &mesh.coordinator()).unwrap();
    assert_eq!(map.epoch(), MapEpoch(8));
    let mut expected: Vec<_> = all[1..].iter().map(|entry| *entry.key()).collect();
    expected.sort_unstable();
    assert_eq!(map.entries().map(|entry| *entry.key()).collect::<Vec<_>>(), expected);
    let (whole, deltas) = map.saved();
    let back = PeerMap::restore(whole.clone(), deltas.to_vec(), &me, &mesh.coordinator()).unwrap();
    assert_eq!(back.epoch(), MapEpoch(8));
    assert!(back.entries().eq(map.entries()));
}

#[test]
fn what_does_not_fit_is_refused_and_changes_nothing() {
    let world = World::new();
    let (mesh, me, all) = (&world.mesh, world.me, &world.entries);
    let check = |delta: Signed<map::Delta>, expected| {
        let mut map = world.open(7, &all[..2]);
        assert_eq!(map.handle_delta(delta, &mesh.coordinator()), Err(expected));
        assert_eq!((map.epoch(), map.entries().count(), map.saved().1.len()), (MapEpoch(7), 2, 0));
    };
    let delta = |from, to| mesh.delta(me, from, to, &all[..2], &all[..3]);
    let have = MapEpoch(7);
    check(mesh.sign_delta(delta(8, 9)), MapError::Gap { have, from: MapEpoch(8) });
    check(mesh.sign_delta(delta(6, 8)), MapError::Gap { have, from: MapEpoch(6) });
    check(mesh.sign_delta(delta(6, 7)), MapError::Back { have, offered: MapEpoch(7) });
    check(mesh.sign_delta(delta(1, 2)), MapError::Back { have, offered: MapEpoch(2) });
    let thief = CoordinatorSecret::from_seed(&[0x66; 32]);
    check(Signed::sign(delta(7, 8), &thief).unwrap(), MapError::Signer(VerifyError::Forged));
    let other = Mesh::new(2);
    let foreign = VerifyError::Foreign { mesh: other.id() };
    check(other.sign_delta(other.delta(me, 7, 8, &[], &[])), MapError::Signer(foreign));
    check(
        mesh.sign_delta(mesh.delta(mesh.join(8).key(), 7, 8, &all[..2], &all[..3])),
        MapError::OtherRecipient,
    );
    let mut wrong = delta(7, 8);
    wrong.result = Digest::of(b"");
    check(mesh.sign_delta(wrong), MapError::Diverged);
    let mut gone = delta(7, 8);
    gone.removed = list(vec![*all[3].key()]);
    check(mesh.sign_delta(gone), MapError::NotThere);
}

#[test]
fn a_stale_map_is_not_taken() {
    let world = World::new();
    let (mesh, all) = (&world.mesh, &world.entries);
    let mut map = world.open(7, &all[..2]);
    let mut check = |whole, expected| assert_eq!(map.handle_map(whole, &mesh.coordinator()), expected);
    let back = MapError::Back { have: MapEpoch(7), offered: MapEpoch(6) };
    check(world.map(6, all), Err(back));
    check(world.map(7, all), Err(MapError::Fork));
    check(world.map(7, &all[..2]), Ok(()));
    check(mesh.map(mesh.join(8).key(), 8, vec![]), Err(MapError::OtherRecipient));
    check(world.map(9, all), Ok(()));
    assert_eq!(map.epoch(), MapEpoch(9));
}

#[test]
fn silence_makes_a_map_stale_and_an_empty_change_current() {
    let world = World::new();
    let mut map = world.open(7, &world.entries);
    assert_eq!(map.staleness(secs(10_799)), Staleness::Current);
    assert_eq!(map.staleness(secs(10_800)), Staleness::Stale { since: secs(10_800) });
    let mut still = world.mesh.delta(world.me, 7, 8, &world.entries, &world.entries);
    still.issued = secs(10_000);
    assert!(still.changed.is_empty() && still.removed.is_empty());
    map.handle_delta(world.mesh.sign_delta(still), &world.mesh.coordinator()).unwrap();
    assert_eq!(map.staleness(secs(20_799)), Staleness::Current);
}

#[test]
fn a_map_is_bounded() {
    let world = World::new();
    let (mesh, me) = (&world.mesh, world.me);
    let invited = mesh.invite(1);
    let joined = mesh.join_as(&invited, 1, "ana");
    let stranger = |n: u16| {
        let mut seed = [0; 32];
        seed[..2].copy_from_slice(&n.to_le_bytes());
        let secret = BoxSecret::from_seed(&seed);
        let certificate =
            BoxCertificate { key: secret.public(), ..joined.chain.certificate.claims().clone() };
        let certificate = Signed::sign(certificate, &invited.secret).unwrap();
        let chain = Chain { invite: invited.signed.clone(), certificate };
        Entry { chain: chain.clone(), ..mesh.entry(&Joined { secret, chain }) }
    };
    let full: Vec<Entry> = (0..256).map(stranger).collect();
    assert_eq!(full.len(), PEERS_MAX);
    let mut map = world.open(1, &full);
    let mut more = full.clone();
    more.push(stranger(256));
    let delta = mesh.sign_delta(mesh.delta(me, 1, 2, &full, &more));
    assert_eq!(map.handle_delta(delta, &mesh.coordinator()), Err(MapError::TooMany));

    let mut map = world.open(0, &[]);
    for n in 0..256 {
        map.handle_delta(mesh.sign_delta(mesh.delta(me, n, n + 1, &[], &[])), &mesh.coordinator()).unwrap();
    }
    let delta = mesh.sign_delta(mesh.delta(me, 256, 257, &[], &[]));
    assert_eq!(map.handle_delta(delta, &mesh.coordinator()), Err(MapError::DeltasFull));
    assert_eq!(map.handle_map(world.map(256, &[]), &mesh.coordinator()), Ok(()));
    assert!(map.saved().1.is_empty());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    /// Changes, lost, repeated and out of order: the epoch never goes back, and what is there is always what the
    /// coordinator had at that epoch.
    #[test]
    fn epochs_only_rise(
        versions in proptest::collection::vec(proptest::bits::u8::masked(0x0f), 2..7),
        sent in proptest::collection::vec((0usize..6, 1usize..3, any::<bool>()), 1..20),
    ) {
        let world = World::new();
        let (mesh, me) = (&world.mesh, world.me);
        let picked = |mask: u8| -> Vec<Entry> {
            let mut entries: Vec<_> =
                (0..4).filter(|bit| mask >> bit & 1 == 1).map(|bit| world.entries[bit].clone()).collect();
            entries.sort_by_key(|entry| *entry.key());
            entries
        };
        let at = |version: usize| picked(versions[version % versions.len()]);
        let mut map = world.open(0, &at(0));
        for (from, step, whole) in sent {
            let (from, to) = (from % versions.len(), (from + step) % versions.len());
            let before = map.epoch();
            if whole {
                let _ = map.handle_map(world.map(to as u64, &at(to)), &mesh.coordinator());
            } else if from < to {
                let delta = mesh.delta(me, from as u64, to as u64, &at(from), &at(to));
                let _ = map.handle_delta(mesh.sign_delta(delta), &mesh.coordinator());
            }
            prop_assert!(map.epoch() >= before);
            let version = usize::try_from(map.epoch().0).unwrap();
            prop_assert!(map.entries().eq(at(version).iter()));
        }
        prop_assert_eq!(map.staleness(NOW), Staleness::Current);
    }
}
