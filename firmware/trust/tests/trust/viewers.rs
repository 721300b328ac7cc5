//! Viewers come in by the root's word alone, at one box, for a time; everybody ends up with the same ones.

use proptest::prelude::*;
use proptest::sample::subsequence;
use trust::viewer::{Gateway, Merged, Viewers};
use trust::*;

use crate::mesh::{Mesh, NOW, days, secs};

fn viewer(mesh: &Mesh, key: u8, gateway: BoxKey, number: u8, issued: i64) -> Viewer {
    let key = WireGuardKey::from_bytes([key; 32]).unwrap();
    Viewer { key, issued: secs(issued), ..mesh.viewer(number, gateway).claims().clone() }
}

fn signed(mesh: &Mesh, viewer: Viewer) -> Signed<Viewer> {
    Signed::sign(viewer, &mesh.root).unwrap()
}

struct House {
    mesh: Mesh,
    root: RootKey,
    gateway: BoxKey,
    revocations: Revocations,
}

impl House {
    fn new() -> Self {
        let mesh = Mesh::new(1);
        let (root, gateway) = (mesh.root_key(), mesh.join(1).key());
        Self { mesh, root, gateway, revocations: Revocations::new() }
    }

    fn gateway(&self) -> Gateway<'_> {
        Gateway { root: &self.root, key: &self.gateway, revocations: &self.revocations }
    }

    fn merged<'a>(&self, entries: impl IntoIterator<Item = &'a Signed<Viewer>>) -> Viewers {
        let mut viewers = Viewers::new();
        viewers.merge(&self.gateway(), NOW, entries);
        viewers
    }
}

#[test]
fn only_the_roots_word_for_this_box_lets_in() {
    let house = House::new();
    let good = viewer(&house.mesh, 1, house.gateway, 0, -5);
    let thief = Mesh::new(2);
    let coordinator = RootSecret::from_seed(&[0xc0; 32]);
    let offered = [
        Signed::sign(good.clone(), &coordinator).unwrap(),
        Signed::sign(viewer(&thief, 2, house.gateway, 1, 0), &thief.root).unwrap(),
        signed(&house.mesh, viewer(&house.mesh, 3, house.mesh.join(2).key(), 2, 0)),
        signed(&house.mesh, good.clone()),
    ];
    let mut viewers = Viewers::new();
    assert_eq!(viewers.merge(&house.gateway(), NOW, &offered), Merged { changed: true, refused: 3 });
    assert_eq!(viewers.accepted(&house.revocations, NOW), [&good]);
    assert_eq!(viewers.merge(&house.gateway(), NOW, &offered), Merged { changed: false, refused: 3 });
}

#[test]
fn a_viewer_goes_when_its_time_is_over_or_the_root_says_so() {
    let mut house = House::new();
    let word = viewer(&house.mesh, 1, house.gateway, 0, -5);
    let mut viewers = house.merged([&signed(&house.mesh, word.clone())]);
    assert_eq!(viewers.next_expiry(), Some(days(30)));
    let accepted = |viewers: &Viewers, at| viewers.accepted(&Revocations::new(), at).len();
    let last = secs(30 * 86_400 - 1);
    assert_eq!((accepted(&viewers, last), accepted(&viewers, days(30))), (1, 0));
    house.revocations = house.mesh.revoked(Revoked::Invite(word.id()));
    assert_eq!(viewers.accepted(&house.revocations, NOW).len(), 0);
    assert_eq!(viewers.merge(&house.gateway(), NOW, []), Merged { changed: true, refused: 0 });
    assert_eq!(viewers, Viewers::new());
    assert_eq!(house.merged([&signed(&house.mesh, word)]), Viewers::new(), "it does not come back");
}

#[test]
fn a_newer_word_takes_the_place_of_an_older_one() {
    let house = House::new();
    let longer = Viewer { expires: days(300), ..viewer(&house.mesh, 1, house.gateway, 0, 5) };
    let (old, new) = (viewer(&house.mesh, 1, house.gateway, 0, -5), signed(&house.mesh, longer.clone()));
    let old = signed(&house.mesh, old);
    for order in [[&old, &new], [&new, &old]] {
        assert_eq!(house.merged(order).accepted(&house.revocations, NOW), [&longer]);
    }
}

#[test]
fn of_two_with_one_address_the_newer_has_it() {
    let house = House::new();
    let (old, new) =
        (viewer(&house.mesh, 1, house.gateway, 7, -5), viewer(&house.mesh, 2, house.gateway, 7, -4));
    let both = house.merged([&signed(&house.mesh, old), &signed(&house.mesh, new.clone())]);
    assert_eq!(both.accepted(&house.revocations, NOW), [&new]);
}

#[test]
fn what_could_be_a_boxs_address_is_refused() {
    let house = House::new();
    let good = viewer(&house.mesh, 1, house.gateway, 0, 0);
    let refused = |viewer: Viewer, why: &str| {
        let error = Signed::sign(viewer, &house.mesh.root).unwrap_err();
        assert!(error.to_string().contains(why), "{error}");
    };
    let keyed = MeshPrefix::of(&house.mesh.id()).of_box(&house.gateway, 0);
    refused(Viewer { address: keyed, ..good.clone() }, "numbered");
    let elsewhere = MeshPrefix::of(&Mesh::new(2).id()).nth(0);
    refused(Viewer { address: elsewhere, ..good.clone() }, "numbered");
    refused(Viewer { address_v4: [8, 8, 8, 8].into(), ..good.clone() }, "private");
    refused(Viewer { gateway_v4: [127, 0, 0, 1].into(), ..good.clone() }, "private");
    refused(Viewer { address_v4: good.gateway_v4, ..good.clone() }, "another address");
    refused(Viewer { expires: secs(0), ..good.clone() }, "366 days");
    refused(Viewer { expires: days(367), ..good }, "366 days");
}

#[test]
fn a_full_set_keeps_the_newest_in_any_order() {
    let house = House::new();
    let words: Vec<_> = (0..72_u8)
        .map(|n| signed(&house.mesh, viewer(&house.mesh, n + 1, house.gateway, n, i64::from(n))))
        .collect();
    let (up, down) = (house.merged(&words), house.merged(words.iter().rev()));
    assert_eq!(up, down);
    assert_eq!(up.entries().len(), 64);
    assert!(up.accepted(&house.revocations, NOW).iter().all(|viewer| viewer.issued >= secs(8)));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]

    #[test]
    fn merging_is_a_semilattice(
        a in subsequence((0usize..10).collect::<Vec<_>>(), 0..10),
        b in subsequence((0usize..10).collect::<Vec<_>>(), 0..10),
        c in subsequence((0usize..10).collect::<Vec<_>>(), 0..10),
    ) {
        let house = House::new();
        // Each key with two words, one of them over.
        let pool: Vec<_> = (0..10_u8).map(|n| {
            let word = viewer(&house.mesh, 1 + n / 2, house.gateway, n, -i64::from(n));
            signed(&house.mesh, Viewer { expires: if n == 3 { secs(0) } else { days(9) }, ..word })
        }).collect();
        let set = |picked: Vec<usize>| house.merged(picked.into_iter().map(|at| &pool[at]));
        let union = |a: &Viewers, b: &Viewers| {
            let mut set = a.clone();
            set.merge(&house.gateway(), NOW, b.entries().iter());
            set
        };
        let (a, b, c) = (set(a), set(b), set(c));
        prop_assert_eq!(&union(&a, &a), &a);
        prop_assert_eq!(union(&a, &b), union(&b, &a));
        prop_assert_eq!(union(&union(&a, &b), &c), union(&a, &union(&b, &c)));
    }
}
