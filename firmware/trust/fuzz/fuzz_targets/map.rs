//! Maps and deltas, honest, stolen and bent, in any order into a box: epochs never go back, and the box holds what the
//! coordinator signed for it, or nothing new.
#![no_main]

use std::collections::BTreeMap;
use std::sync::LazyLock;

use arbitrary::Arbitrary;
use libfuzzer_sys::fuzz_target;
use trust::clock::SignedTime;
use trust::map::{Delta, Map, MapEpoch, PeerMap, digest};
use trust::peer::Entry;
use trust::*;

#[path = "../../tests/trust/mesh.rs"]
mod mesh;

use mesh::{Judge, Mesh, NOW, list};

const STEPS_MAX: usize = 24;

#[derive(Arbitrary, Debug)]
struct Input<'a> {
    raw: &'a [u8],
    first: u8,
    steps: Vec<Step>,
}

#[derive(Arbitrary, Debug)]
struct Step {
    what: What,
    signer: Signer,
    /// Bits to flip, by position.
    flips: Vec<u16>,
    mine: bool,
}

#[derive(Arbitrary, Debug)]
enum What {
    Map { epoch: u8, entries: u8 },
    Delta { from: u8, to: u8, removed: u8, changed: u8, honest_digest: bool },
}

#[derive(Arbitrary, Clone, Copy, Debug, PartialEq)]
enum Signer {
    Coordinator,
    Thief,
    OtherMesh,
}

struct World {
    mesh: Mesh,
    thief: CoordinatorSecret,
    other: Mesh,
    judge: Judge,
    me: BoxKey,
    somebody: BoxKey,
    /// By rising key: four that belong to the mesh, and four that the coordinator made up.
    entries: Vec<Entry>,
    honest: Vec<BoxKey>,
}

static WORLD: LazyLock<World> = LazyLock::new(|| {
    let (mesh, other) = (Mesh::new(1), Mesh::new(2));
    let honest: Vec<_> = (1..5).map(|seed| mesh.join(seed)).collect();
    let mut entries: Vec<_> = honest.iter().map(|joined| mesh.entry(joined)).collect();
    for seed in 11..15 {
        // Invites by another root, under the mesh's own id.
        let mut made_up = Mesh::new(1);
        made_up.root = RootSecret::from_seed(&[seed; 32]);
        let mut joined = made_up.join(seed);
        let invite = Invite { mesh: mesh.id(), ..joined.chain.invite.claims().clone() };
        let certificate = BoxCertificate { mesh: mesh.id(), ..joined.chain.certificate.claims().clone() };
        joined.chain.invite = Signed::sign(invite, &made_up.root).expect("in bounds");
        let secret = made_up.invite(seed).secret;
        joined.chain.certificate = Signed::sign(certificate, &secret).expect("in bounds");
        entries.push(mesh.entry(&joined));
    }
    entries.sort_by_key(|entry| *entry.key());
    World {
        thief: CoordinatorSecret::from_seed(&[0x66; 32]),
        judge: Judge::of(&mesh),
        me: mesh.join(9).key(),
        somebody: mesh.join(8).key(),
        honest: honest.iter().map(mesh::Joined::key).collect(),
        entries,
        mesh,
        other,
    }
});

fn picked(mask: u8) -> Vec<Entry> {
    let chosen = |(bit, _): &(usize, &Entry)| mask >> bit & 1 == 1;
    WORLD.entries.iter().enumerate().filter(chosen).map(|(_, entry)| entry.clone()).collect()
}

fn signed<T: Statement<Signer = key::role::Coordinator>>(statement: T, step: &Step) -> Option<Signed<T>> {
    let secret = match step.signer {
        Signer::Coordinator => &WORLD.mesh.coordinator,
        Signer::Thief => &WORLD.thief,
        Signer::OtherMesh => &WORLD.other.coordinator,
    };
    let mut bytes = Signed::sign(statement, secret).ok()?.to_bytes();
    for flip in step.flips.iter().take(4) {
        let bit = usize::from(*flip) % (bytes.len() * 8);
        bytes[bit / 8] ^= 1 << (bit % 8);
    }
    read(&bytes)
}

/// What can be read is written back.
fn read<T: Statement>(bytes: &[u8]) -> Option<Signed<T>> {
    let signed = Signed::<T>::from_bytes(bytes).ok()?;
    assert_eq!(signed.to_bytes(), bytes);
    assert!(bytes.len() <= T::BYTES_MAX);
    Some(signed)
}

/// Whether it is as the coordinator made it: nobody flipped a bit, or all were flipped back.
fn is_honest(step: &Step, unbent: bool) -> bool {
    step.signer == Signer::Coordinator && step.mine && unbent
}

/// The map at an epoch, as the true coordinator signed it. It may sign two for one epoch: also then one of them.
type Signings = BTreeMap<u64, Vec<Vec<Entry>>>;

fn step(map: &mut PeerMap, signings: &mut Signings, step: &Step) {
    let recipient = if step.mine { WORLD.me } else { WORLD.somebody };
    let (mesh, coordinator) = (WORLD.mesh.id(), &WORLD.judge.coordinator);
    let before = map.epoch();
    let had: Vec<Entry> = map.entries().cloned().collect();
    let taken = match step.what {
        What::Map { epoch, entries } => {
            let epoch = MapEpoch(epoch.into());
            let content = Map { mesh, recipient, epoch, issued: NOW, entries: list(picked(entries)) };
            let Some(whole) = signed(content.clone(), step) else { return };
            if is_honest(step, *whole.claims() == content) {
                signings.entry(epoch.0).or_default().push(picked(entries));
            }
            map.handle_map(whole, coordinator).is_ok()
        }
        What::Delta { from, to, removed, changed, honest_digest } => {
            let removed: Vec<BoxKey> = picked(removed).iter().map(|entry| *entry.key()).collect();
            let mut after: BTreeMap<_, _> = had.iter().map(|entry| (*entry.key(), entry.clone())).collect();
            removed.iter().for_each(|key| drop(after.remove(key)));
            after.extend(picked(changed).into_iter().map(|entry| (*entry.key(), entry)));
            let result = if honest_digest { digest(after.values()) } else { Digest::of(&[from]) };
            let (from, to) = (MapEpoch(from.into()), MapEpoch(to.into()));
            let (changed, removed) = (list(picked(changed)), list(removed));
            let content = Delta { mesh, recipient, from, to, issued: NOW, removed, changed, result };
            let Some(delta) = signed(content.clone(), step) else { return };
            if is_honest(step, *delta.claims() == content) {
                signings.entry(to.0).or_default().push(after.into_values().collect());
            }
            map.handle_delta(delta, coordinator).is_ok()
        }
    };
    assert!(map.epoch() >= before);
    if taken {
        let has: Vec<Entry> = map.entries().cloned().collect();
        assert!(signings.get(&map.epoch().0).is_some_and(|maps| maps.contains(&has)), "nobody signed this");
    } else {
        assert!(map.epoch() == before && map.entries().eq(had.iter()), "a refusal changed something");
    }
}

fuzz_target!(|input: Input<'_>| {
    let _ = (read::<Map>(input.raw), read::<Delta>(input.raw), read::<Invite>(input.raw));
    let _ = (read::<BoxCertificate>(input.raw), read::<WireGuardBinding>(input.raw));
    let _ = (read::<Membership>(input.raw), read::<Revocation>(input.raw), read::<SignedTime>(input.raw));
    let _ = read::<CoordinatorCertificate>(input.raw);

    let first = WORLD.mesh.map(WORLD.me, 0, picked(input.first));
    let mut signings = Signings::from([(0, vec![picked(input.first)])]);
    let mut map = PeerMap::open(first, &WORLD.me, &WORLD.judge.coordinator).expect("an honest map");
    for each in input.steps.iter().take(STEPS_MAX) {
        step(&mut map, &mut signings, each);
    }
    let verdicts = map.peers(&WORLD.judge.authority(), NOW, &mut Roster::new());
    for peer in &verdicts.accepted {
        assert!(WORLD.honest.contains(peer.identity().key()), "a stranger was accepted");
    }
    assert_eq!(verdicts.accepted.len() + verdicts.refused.len(), map.entries().count());
    let (whole, deltas) = map.saved();
    let saved = PeerMap::restore(whole.clone(), deltas.to_vec(), &WORLD.me, &WORLD.judge.coordinator);
    let saved = saved.expect("what was taken can be taken again");
    assert!(saved.epoch() == map.epoch() && saved.entries().eq(map.entries()));
});
