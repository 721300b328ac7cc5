//! A coordinator counts as long as the root's word does.

use trust::*;

use crate::mesh::{Mesh, NOW, days, secs};

fn certified(mesh: &Mesh, serial: u32, key: CoordinatorKey) -> Signed<CoordinatorCertificate> {
    let certificate = CoordinatorCertificate { serial, key, ..mesh.certificate().claims().clone() };
    Signed::sign(certificate, &mesh.root).unwrap()
}

#[test]
fn a_certificate_holds_for_its_time() {
    let mesh = Mesh::new(1);
    let check = |now, revocations: &Revocations, expected| {
        let found = Coordinator::verify(&mesh.certificate(), &mesh.root_key(), now, revocations);
        assert_eq!(found.map(drop), expected);
    };
    let none = Revocations::new();
    check(days(-100), &none, Ok(()));
    check(secs(-100 * 86_400 - 1), &none, Err(CoordinatorError::NotYet { from: days(-100) }));
    check(secs(630 * 86_400 - 1), &none, Ok(()));
    check(days(630), &none, Err(CoordinatorError::Expired { since: days(630) }));
    let revoked = mesh.revoked(Revoked::Coordinator(mesh.coordinator.public()));
    check(NOW, &revoked, Err(CoordinatorError::Revoked));
    let coordinator = mesh.coordinator();
    assert_eq!(
        coordinator.holds(NOW, &revoked),
        Err(CoordinatorError::Revoked),
        "also one that was verified"
    );
}

#[test]
fn another_root_certifies_nobody_here() {
    let (ours, theirs) = (Mesh::new(1), Mesh::new(2));
    let check = |certificate: &Signed<_>, expected| {
        let found = Coordinator::verify(certificate, &ours.root_key(), NOW, &Revocations::new());
        assert_eq!(found.map(drop), Err(CoordinatorError::Certificate(expected)));
    };
    check(&theirs.certificate(), VerifyError::Foreign { mesh: theirs.id() });
    let forged = Signed::sign(ours.certificate().claims().clone(), &theirs.root).unwrap();
    check(&forged, VerifyError::Forged);
}

#[test]
fn an_older_certificate_does_not_come_back() {
    let mesh = Mesh::new(1);
    let other = CoordinatorSecret::from_seed(&[0xcc; 32]).public();
    let verified = |serial, key| {
        let certificate = certified(&mesh, serial, key);
        Coordinator::verify(&certificate, &mesh.root_key(), NOW, &Revocations::new()).unwrap()
    };
    let (first, second) = (verified(1, mesh.coordinator.public()), verified(2, other));
    let followed = second.clone().succeed(&first).unwrap();
    assert_eq!(*followed.key(), other);
    assert_eq!(followed.clone().succeed(&followed).unwrap(), followed, "the same one again");
    assert_eq!(first.succeed(&second), Err(CoordinatorError::Back { have: 2, offered: 1 }));
    let twin = verified(2, mesh.coordinator.public());
    assert_eq!(twin.succeed(&second), Err(CoordinatorError::Back { have: 2, offered: 2 }));
}
