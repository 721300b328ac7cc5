//! Root, invite, box: each link is signed by the one before it, or it is nothing.

use proptest::prelude::*;
use trust::*;

use crate::mesh::{Mesh, NOW, days, name, secs};

fn check(chain: &Chain, mesh: &Mesh, expected: Result<(), ChainError>) {
    assert_eq!(chain.verify(&mesh.root_key(), &Revocations::new()).map(drop), expected);
}

#[test]
fn a_chain_says_who_a_box_is() {
    let mesh = Mesh::new(1);
    let joined = mesh.join(1);
    let identity = joined.chain.verify(&mesh.root_key(), &Revocations::new()).unwrap();
    assert_eq!(*identity.key(), joined.key());
    assert_eq!(identity.name().as_str(), "ana");
    assert_eq!(*identity.mesh(), mesh.id());
    assert_eq!(identity.invite(), mesh.invite(1).signed.id());
    assert_eq!((identity.kind(), identity.limits()), (InviteKind::Box, Limits::SINGLE));
}

/// The invite's expiry matters when a box comes in, and never again.
#[test]
fn an_expired_invite_enrols_nobody_and_throws_nobody_out() {
    let mesh = Mesh::new(1);
    let (chain, root, none) = (mesh.join(1).chain, mesh.root_key(), Revocations::new());
    let enrols = |now| chain.verify_enrolment(&root, now, &none).map(drop);
    assert_eq!(enrols(NOW), Ok(()));
    assert_eq!(enrols(secs(6 * 86_400 - 1)), Ok(()));
    assert_eq!(enrols(days(6)), Err(ChainError::InviteExpired { since: days(6) }));
    assert!(chain.verify(&root, &none).is_ok(), "whatever the time is: it is not even asked for");
}

#[test]
fn foreign_is_told_apart_from_forged() {
    let (ours, theirs) = (Mesh::new(1), Mesh::new(2));
    let foreign = VerifyError::Foreign { mesh: theirs.id() };
    check(&theirs.join(1).chain, &ours, Err(ChainError::Invite(foreign)));
    // Their root signs an invite for our mesh.
    let mut invite = ours.invite(1).signed.claims().clone();
    invite.issued = days(-2);
    let forged = Signed::sign(invite, &theirs.root).unwrap();
    let chain = Chain { invite: forged, ..ours.join(1).chain };
    check(&chain, &ours, Err(ChainError::Invite(VerifyError::Forged)));
    let chain = Chain { certificate: theirs.join(1).chain.certificate, ..ours.join(1).chain };
    check(&chain, &ours, Err(ChainError::Certificate(foreign)));
}

#[test]
fn a_friend_names_only_what_was_granted() {
    let mesh = Mesh::new(1);
    let invited = mesh.invite(1);
    check(&mesh.join_as(&invited, 1, "ana-attic").chain, &mesh, Ok(()));
    let (granted, claimed) = (Box::new(name("ana")), Box::new(name("bob")));
    let refused = Err(ChainError::Name { granted, claimed });
    check(&mesh.join_as(&invited, 1, "bob").chain, &mesh, refused);
}

#[test]
fn what_is_revoked_is_refused() {
    let mesh = Mesh::new(1);
    let joined = mesh.join(1);
    let invite = joined.chain.invite.id();
    let check = |target, expected| {
        let revocations = mesh.revoked(target);
        assert_eq!(joined.chain.verify(&mesh.root_key(), &revocations).map(drop), expected);
    };
    check(Revoked::Invite(invite), Err(ChainError::InviteRevoked { invite }));
    check(Revoked::Box(joined.key()), Err(ChainError::BoxRevoked));
    check(Revoked::Box(mesh.join(2).key()), Ok(()));
    check(Revoked::Invite(mesh.invite(2).signed.id()), Ok(()));
    check(Revoked::Coordinator(mesh.coordinator.public()), Ok(()));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// Links of two chains, of any two meshes: only those that belong together hold.
    #[test]
    fn a_swapped_link_breaks_the_chain(a in (1u8..4, 1u8..5), b in (1u8..4, 1u8..5), by in 1u8..4) {
        let joined = |(mesh, seed): (u8, u8)| Mesh::new(mesh).join(seed).chain;
        let chain = Chain { invite: joined(a).invite, certificate: joined(b).certificate };
        let holds = chain.verify(&Mesh::new(by).root_key(), &Revocations::new()).is_ok();
        prop_assert_eq!(holds, a == b && a.0 == by);
    }

    /// Whoever holds no invite, signs with what they have.
    #[test]
    fn a_box_that_signs_itself_is_nobody(seed: [u8; 32]) {
        let mesh = Mesh::new(1);
        let certificate = mesh.join(1).chain.certificate.claims().clone();
        let certificate = Signed::sign(certificate, &InviteSecret::from_seed(&seed)).unwrap();
        let chain = Chain { invite: mesh.invite(1).signed, certificate };
        let found = chain.verify(&mesh.root_key(), &Revocations::new()).map(drop);
        prop_assert_eq!(found, Err(ChainError::Certificate(VerifyError::Forged)));
    }
}
