//! Who is taken as a peer, and what a thief of the coordinator or a friend with two boxes gets: nobody, and one.

use proptest::prelude::*;
use trust::map::{MapEpoch, PeerMap};
use trust::peer::Entry;
use trust::roster::{RosterError, Seen};
use trust::*;

use crate::mesh::{Judge, Mesh, NOW, days, list, secs};

fn accept(entry: &Entry, judge: &Judge, now: UnixSeconds) -> Result<(), PeerError> {
    Peer::accept(entry, &judge.authority(), now, &mut Roster::new()).map(drop)
}

#[test]
fn a_box_is_accepted_on_both_lines() {
    let mesh = Mesh::new(1);
    let (joined, judge) = (mesh.join(1), Judge::of(&mesh));
    let mut roster = Roster::new();
    let peer = Peer::accept(&mesh.entry(&joined), &judge.authority(), NOW, &mut roster).unwrap();
    assert_eq!(*peer.identity().key(), joined.key());
    assert_eq!(peer.state(), MembershipState::Fresh);
    assert_eq!(peer.address(), MeshPrefix::of(&mesh.id()).of_box(&joined.key(), 0));
    assert_eq!(peer.keys().newest().generation, 1);
    assert!(roster.knows(&joined.key()));
}

#[test]
fn a_membership_ends_a_peer_when_its_grace_is_over() {
    let mesh = Mesh::new(1);
    let (entry, judge) = (mesh.entry(&mesh.join(1)), Judge::of(&mesh));
    assert_eq!(accept(&entry, &judge, secs(44 * 86_400 - 1)), Ok(()));
    assert_eq!(accept(&entry, &judge, days(44)), Err(PeerError::Lapsed { since: days(44) }));
    assert_eq!(accept(&entry, &judge, days(-2)), Err(PeerError::Early { from: NOW }));
    let expired = CoordinatorError::Expired { since: days(630) };
    assert_eq!(accept(&entry, &judge, days(700)), Err(PeerError::Coordinator(expired)));
}

#[test]
fn words_about_another_box_do_not_help() {
    let mesh = Mesh::new(1);
    let (one, two, judge) = (mesh.join(1), mesh.join(2), Judge::of(&mesh));
    let check = |bend: &dyn Fn(&mut Entry), expected| {
        let mut entry = mesh.entry(&one);
        bend(&mut entry);
        assert_eq!(accept(&entry, &judge, NOW), Err(expected));
    };
    let signed = |membership| Signed::sign(membership, &mesh.coordinator).unwrap();
    check(&|entry| entry.membership = mesh.membership(&two), PeerError::OtherBox);
    let invite = two.chain.invite.id();
    check(&|entry| entry.membership = signed(mesh.membership_of(one.key(), invite)), PeerError::OtherInvite);
    let address = MeshPrefix::of(&Mesh::new(2).id()).nth(1);
    check(
        &|entry| {
            let membership = mesh.membership(&one).claims().clone();
            entry.membership = signed(Membership { address, ..membership });
        },
        PeerError::AddressOutside { address },
    );
    check(&|entry| entry.wireguard = list(vec![]), PeerError::NoKey);
    let forged = PeerError::Binding(VerifyError::Forged);
    check(&|entry| entry.wireguard = list(vec![two.binding(&mesh, 1, 1)]), forged);
    let back = wireguard::RotationError::Back { have: 2, offered: 1 };
    check(
        &|entry| entry.wireguard = list(vec![one.binding(&mesh, 2, 1), one.binding(&mesh, 1, 1)]),
        PeerError::Rotation(back),
    );
}

/// All that is on a coordinator's disk: its secret, its certificate, all chains, memberships and maps. The thief signs
/// whatever it can, for a box of its own.
#[test]
fn a_stolen_coordinator_adds_no_box() {
    let mesh = Mesh::new(1);
    let judge = Judge::of(&mesh);
    let (known, stolen) = (mesh.join(1), &mesh.coordinator);
    let thief = BoxSecret::from_seed(&[0x66; 32]);
    let certificate = BoxCertificate { key: thief.public(), ..known.chain.certificate.claims().clone() };
    // The coordinator's seed in the place of an invite's and of the root's.
    let as_invite = InviteSecret::from_seed(stolen.seed());
    let as_root = RootSecret::from_seed(stolen.seed());
    let invite = Invite { key: as_invite.public(), ..known.chain.invite.claims().clone() };
    let invites = [known.chain.invite.clone(), Signed::sign(invite, &as_root).unwrap()];
    let certificates = [
        known.chain.certificate.clone(),
        Signed::sign(certificate.clone(), &as_invite).unwrap(),
        Signed::sign(certificate, &InviteSecret::from_seed(thief.seed())).unwrap(),
    ];
    let bindings = [
        known.binding(&mesh, 1, 1),
        Signed::sign(known.binding(&mesh, 1, 1).claims().clone(), &thief).unwrap(),
    ];
    let (mut accepted, mut tried) = (0, 0);
    for invite in &invites {
        for certificate in &certificates {
            for binding in &bindings {
                for key in [known.key(), thief.public()] {
                    let chain = Chain { invite: invite.clone(), certificate: certificate.clone() };
                    let membership = mesh.membership_of(key, invite.id());
                    let membership = Signed::sign(membership, stolen).unwrap();
                    let wireguard = list(vec![binding.clone()]);
                    let entry = Entry { chain, membership, wireguard, endpoints: list(vec![]) };
                    tried += 1;
                    if let Ok(peer) = Peer::accept(&entry, &judge.authority(), NOW, &mut Roster::new()) {
                        accepted += 1;
                        assert_eq!(*peer.identity().key(), known.key(), "a stranger was taken");
                        assert_eq!(peer.keys().newest(), known.binding(&mesh, 1, 1).claims());
                    }
                }
            }
        }
    }
    assert_eq!((accepted, tried), (1, 24), "only the box that was there, as it was");
}

/// A friend signs two boxes with one invite, and the coordinator plays along.
#[test]
fn two_boxes_under_one_invite_are_one_box() {
    let mesh = Mesh::new(1);
    let (invited, judge) = (mesh.invite(1), Judge::of(&mesh));
    let (one, two) = (mesh.join_as(&invited, 1, "ana"), mesh.join_as(&invited, 2, "ana-2"));
    let mut roster = Roster::new();
    let mut accept = |entry: &Entry| Peer::accept(entry, &judge.authority(), NOW, &mut roster).map(drop);
    assert_eq!(accept(&mesh.entry(&one)), Ok(()));
    let Err(PeerError::Roster(RosterError::UsedUp(evidence))) = accept(&mesh.entry(&two)) else {
        panic!("the second box was not refused");
    };
    assert_eq!(accept(&mesh.entry(&one)), Ok(()), "the first one keeps its place");
    assert_eq!(evidence.invite, invited.signed);
    assert_eq!(evidence.certificates[..], [one.chain.certificate, two.chain.certificate]);
    assert_eq!(evidence.verify(&mesh.root_key()), Ok(()));
    assert!(evidence.verify(&Mesh::new(2).root_key()).is_err());
    let json = serde_json::to_string(&evidence).unwrap();
    assert_eq!(serde_json::from_str::<DoubleUse>(&json).unwrap(), *evidence);
    let twice = vec![evidence.certificates[0].clone(), evidence.certificates[0].clone()];
    let nothing = DoubleUse { certificates: list(twice), ..*evidence };
    assert_eq!(nothing.verify(&mesh.root_key()), Err(roster::EvidenceError::NotTooMany));
}

#[test]
fn a_refused_box_takes_nobodys_place() {
    let mesh = Mesh::new(1);
    let (invited, judge) = (mesh.invite(1), Judge::of(&mesh));
    let (one, two) = (mesh.join_as(&invited, 1, "ana"), mesh.join_as(&invited, 2, "ana"));
    let mut roster = Roster::new();
    let mut lapsed = mesh.entry(&two);
    lapsed.wireguard = list(vec![]);
    assert!(Peer::accept(&lapsed, &judge.authority(), NOW, &mut roster).is_err());
    assert!(Peer::accept(&mesh.entry(&one), &judge.authority(), NOW, &mut roster).is_ok());
}

#[test]
fn one_box_does_not_come_in_twice() {
    let mesh = Mesh::new(1);
    let (first, second) = (mesh.invite(1), mesh.invite(2));
    let (one, same) = (mesh.join_as(&first, 7, "ana"), mesh.join_as(&second, 7, "ana"));
    let mut roster = Roster::new();
    let identity = |chain: &Chain| chain.verify(&mesh.root_key(), &Revocations::new()).unwrap();
    assert_eq!(roster.admit(&identity(&one.chain)), Ok(Seen::First));
    assert_eq!(roster.admit(&identity(&one.chain)), Ok(Seen::Before));
    let refused = Err(RosterError::OtherInvite { by: first.signed.id() });
    assert_eq!(roster.admit(&identity(&same.chain)), refused);
    // Once the first invite is revoked, the box may come again by the second.
    let revocations = mesh.revoked(Revoked::Invite(first.signed.id()));
    roster.forget_revoked(&revocations);
    assert_eq!(roster.admit(&identity(&same.chain)), Ok(Seen::First));
    let saved: Vec<Chain> = roster.chains().collect();
    assert_eq!(saved, [same.chain]);
}

/// Whoever of the three was there before, and however their keys are ordered.
#[test]
fn addresses_and_keys_belong_to_one_box() {
    for seeds in [[1, 2, 3], [2, 3, 1], [3, 1, 2]] {
        the_first_one_keeps_what_others_claim(seeds);
    }
}

fn the_first_one_keeps_what_others_claim(seeds: [u8; 3]) {
    let mesh = Mesh::new(1);
    let ([one, two, three], judge) = (seeds.map(|seed| mesh.join(seed)), Judge::of(&mesh));
    let address = MeshPrefix::of(&mesh.id()).of_box(&one.key(), 0);
    let mut takes_address = mesh.entry(&two);
    let membership = Membership { address, ..mesh.membership(&two).claims().clone() };
    takes_address.membership = Signed::sign(membership, &mesh.coordinator).unwrap();
    let mut takes_key = mesh.entry(&three);
    let binding = one.binding(&mesh, 1, 1).claims().clone();
    takes_key.wireguard = list(vec![Signed::sign(binding, &three.secret).unwrap()]);

    let recipient = mesh.join(9).key();
    let entries = vec![mesh.entry(&one), takes_address, takes_key];
    let map = PeerMap::open(mesh.map(recipient, 1, entries), &recipient, &judge.coordinator).unwrap();
    let mut roster = Roster::new();
    Peer::accept(&mesh.entry(&one), &judge.authority(), NOW, &mut roster).unwrap();
    let verdicts = map.peers(&judge.authority(), NOW, &mut roster);
    assert_eq!(map.epoch(), MapEpoch(1));
    assert_eq!(verdicts.accepted.iter().map(|peer| *peer.identity().key()).collect::<Vec<_>>(), [one.key()]);
    let mut expected =
        vec![(two.key(), PeerError::AddressTaken { address }), (three.key(), PeerError::KeyTaken)];
    expected.sort_by_key(|(key, _)| *key);
    assert_eq!(verdicts.refused, expected);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]

    /// However many boxes a friend signs, in whatever order they come: as many are taken as the invite is for.
    #[test]
    fn an_invite_brings_in_what_it_is_for(limit in 1u8..5, order in proptest::collection::vec(1u8..9, 1..24)) {
        let mesh = Mesh::new(1);
        let invited = mesh.invite_for(1, "ana", Limits { boxes: limit, streams: 0 });
        let mut roster = Roster::new();
        let mut first = Vec::new();
        for seed in order {
            let joined = mesh.join_as(&invited, seed, "ana");
            let identity = joined.chain.verify(&mesh.root_key(), &Revocations::new()).unwrap();
            match roster.admit(&identity) {
                Ok(Seen::First) => first.push(seed),
                Ok(Seen::Before) => prop_assert!(first.contains(&seed)),
                Err(RosterError::UsedUp(evidence)) => {
                    prop_assert!(first.len() == usize::from(limit) && !first.contains(&seed));
                    prop_assert_eq!(evidence.verify(&mesh.root_key()), Ok(()));
                }
                Err(error) => prop_assert!(false, "{error}"),
            }
        }
        prop_assert!(first.len() <= usize::from(limit));
    }
}
