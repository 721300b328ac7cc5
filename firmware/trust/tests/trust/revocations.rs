//! Revocations are a set that everybody ends up with, in whatever order the news came.

use proptest::prelude::*;
use proptest::sample::subsequence;
use trust::revocation::Merged;
use trust::*;

use crate::mesh::Mesh;

/// Twelve entries with all that can clash: a target under two serials, a serial under two targets, a copy.
fn pool(mesh: &Mesh) -> Vec<Signed<Revocation>> {
    let targets = |n: u8| {
        [
            Revoked::Box(mesh.join(n).key()),
            Revoked::Invite(mesh.invite(n).signed.id()),
            Revoked::Coordinator(CoordinatorSecret::from_seed(&[n; 32]).public()),
        ]
    };
    let mut pool: Vec<_> = (1u8..4)
        .flat_map(|n| targets(n).into_iter().zip(u32::from(n)..))
        .map(|(target, serial)| mesh.revocation(serial, target))
        .collect();
    pool.push(mesh.revocation(9, targets(1)[0]));
    pool.push(mesh.revocation(1, targets(2)[0]));
    pool.push(pool[0].clone());
    pool
}

fn merged<'a>(mesh: &Mesh, entries: impl IntoIterator<Item = &'a Signed<Revocation>>) -> Revocations {
    let mut set = Revocations::new();
    assert_eq!(set.merge(&mesh.root_key(), entries).refused, 0);
    set
}

fn union(mesh: &Mesh, a: &Revocations, b: &Revocations) -> Revocations {
    let mut set = a.clone();
    set.merge(&mesh.root_key(), b.entries());
    set
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn merging_is_a_semilattice(
        a in subsequence((0usize..12).collect::<Vec<_>>(), 0..12),
        b in subsequence((0usize..12).collect::<Vec<_>>(), 0..12),
        c in subsequence((0usize..12).collect::<Vec<_>>(), 0..12),
    ) {
        let mesh = Mesh::new(1);
        let pool = pool(&mesh);
        let set = |picked: Vec<usize>| merged(&mesh, picked.into_iter().map(|at| &pool[at]));
        let (a, b, c) = (set(a), set(b), set(c));
        let ab = union(&mesh, &a, &b);
        prop_assert_eq!(&union(&mesh, &a, &a), &a);
        prop_assert_eq!(&ab, &union(&mesh, &b, &a));
        prop_assert_eq!(union(&mesh, &ab, &c), union(&mesh, &a, &union(&mesh, &b, &c)));
        prop_assert_eq!(ab.digest() == a.digest(), ab == a);
        prop_assert!(ab.serial_max() == a.serial_max().max(b.serial_max()));
    }

    #[test]
    fn order_does_not_matter(order in Just((0usize..12).collect::<Vec<_>>()).prop_shuffle()) {
        let mesh = Mesh::new(1);
        let pool = pool(&mesh);
        let set = merged(&mesh, order.iter().map(|at| &pool[*at]));
        prop_assert_eq!(set.len(), 9);
        prop_assert_eq!(set.digest(), merged(&mesh, &pool).digest());
    }
}

#[test]
fn a_forged_entry_hides_no_good_one() {
    let (ours, theirs) = (Mesh::new(1), Mesh::new(2));
    let target = Revoked::Box(ours.join(1).key());
    let forged = Signed::sign(ours.revocation(99, target).claims().clone(), &theirs.root).unwrap();
    let mut set = Revocations::new();
    let entries = [&forged, &theirs.revocation(7, target), &ours.revocation(1, target)];
    let expected = Merged { new: 1, refused: 2, dropped: 0 };
    assert_eq!(set.merge(&ours.root_key(), entries), expected);
    assert_eq!(set.serial_max(), 1);
    assert_eq!(set.merge(&ours.root_key(), entries), Merged { new: 0, ..expected });
}

/// The newest are kept: the oldest boxes have lapsed long ago.
#[test]
fn a_full_set_keeps_the_highest_serials_in_any_order() {
    let mesh = Mesh::new(1);
    let target = |n: u32| {
        let mut seed = [0; 32];
        seed[..4].copy_from_slice(&n.to_le_bytes());
        Revoked::Box(BoxSecret::from_seed(&seed).public())
    };
    let max = u32::try_from(Revocations::MAX).unwrap();
    let entries: Vec<_> = (1..=max + 8).map(|n| mesh.revocation(n, target(n))).collect();
    let (up, down) = (merged(&mesh, &entries), merged(&mesh, entries.iter().rev()));
    assert_eq!(up, down);
    assert_eq!(up.len(), Revocations::MAX);
    assert_eq!(up.entries()[0].claims().serial, 9);
    let mut again = up.clone();
    let told = again.merge(&mesh.root_key(), &entries);
    assert_eq!((told.new, told.dropped, again), (0, 8, up), "no news for ever");
}
