//! Requests by a box: its own, in time, and once.

use proptest::prelude::*;
use trust::*;
use wire::request::{HEADER_BYTES_MAX, Incoming, RequestNonce};
use wire::{BoxRequest, Method, ReplayGuard, RequestError, path};

use crate::mesh::{Mesh, NOW, secs};

const BODY: &[u8] = b"{}";
const INCOMING: Incoming<'_> = Incoming { method: Method::Post, target: path::HEARTBEAT, body: BODY };

fn request(mesh: &Mesh, time: UnixSeconds, nonce: u8) -> BoxRequest {
    BoxRequest {
        mesh: mesh.id(),
        key: mesh.join(1).key(),
        method: Method::Post,
        target: path::HEARTBEAT.parse().unwrap(),
        body: Digest::of(BODY),
        time,
        nonce: RequestNonce([nonce; 16]),
    }
}

fn sign(mesh: &Mesh, request: BoxRequest) -> Signed<BoxRequest> {
    Signed::sign(request, &mesh.join(1).secret).unwrap()
}

#[test]
fn a_request_is_taken_once() {
    let mesh = Mesh::new(1);
    let mut guard = ReplayGuard::new(mesh.id(), secs(-1000));
    let signed = sign(&mesh, request(&mesh, NOW, 1));
    let header = signed.to_string();
    let signed: Signed<BoxRequest> = header.parse().unwrap();
    assert_eq!(guard.admit(&signed, &INCOMING, &mesh.join(1).key(), NOW), Ok(()));
    assert_eq!(guard.admit(&signed, &INCOMING, &mesh.join(1).key(), NOW), Err(RequestError::Replayed));
    assert_eq!(guard.admit(&signed, &INCOMING, &mesh.join(1).key(), secs(60)), Err(RequestError::Replayed));
    let off = RequestError::ClockOff { ours: secs(61), theirs: NOW };
    assert_eq!(guard.admit(&signed, &INCOMING, &mesh.join(1).key(), secs(61)), Err(off));
    let another = sign(&mesh, request(&mesh, NOW, 2));
    assert_eq!(guard.admit(&another, &INCOMING, &mesh.join(1).key(), secs(60)), Ok(()));
}

#[test]
fn a_request_counts_for_itself_alone() {
    let mesh = Mesh::new(1);
    let mut guard = ReplayGuard::new(mesh.id(), secs(-10));
    let mut check = |bend: &dyn Fn(&mut BoxRequest), incoming: &Incoming<'_>, expected| {
        let mut claims = request(&mesh, NOW, 1);
        bend(&mut claims);
        assert_eq!(guard.admit(&sign(&mesh, claims), incoming, &mesh.join(1).key(), NOW), Err(expected));
    };
    let other = RequestError::OtherRequest;
    check(&|_| (), &Incoming { method: Method::Delete, ..INCOMING }, other);
    check(&|_| (), &Incoming { target: path::RENEW, ..INCOMING }, other);
    check(&|_| (), &Incoming { body: b"{ }", ..INCOMING }, other);
    let off = |theirs| RequestError::ClockOff { ours: NOW, theirs };
    check(&|claims| claims.time = secs(61), &INCOMING, off(secs(61)));
    check(&|claims| claims.time = secs(-61), &INCOMING, off(secs(-61)));
    check(&|claims| claims.time = secs(-11), &INCOMING, RequestError::BeforeStart);
    let forged = RequestError::Signature(VerifyError::Forged);
    check(&|claims| claims.key = mesh.join(2).key(), &INCOMING, other);
    let foreign = RequestError::Signature(VerifyError::Foreign { mesh: Mesh::new(2).id() });
    check(&|claims| claims.mesh = Mesh::new(2).id(), &INCOMING, foreign);
    let by_two = Signed::sign(request(&mesh, NOW, 1), &mesh.join(2).secret).unwrap();
    assert_eq!(guard.admit(&by_two, &INCOMING, &mesh.join(1).key(), NOW), Err(forged));
    // Nothing of all this was remembered.
    assert_eq!(
        guard.admit(&sign(&mesh, request(&mesh, NOW, 1)), &INCOMING, &mesh.join(1).key(), NOW),
        Ok(())
    );
}

#[test]
fn a_box_that_asks_too_much_waits_until_its_requests_are_old() {
    let mesh = Mesh::new(1);
    let mut guard = ReplayGuard::new(mesh.id(), secs(-1000));
    for nonce in 0..=255 {
        assert!(
            guard
                .admit(&sign(&mesh, request(&mesh, NOW, nonce)), &INCOMING, &mesh.join(1).key(), NOW)
                .is_ok()
        );
    }
    let more = sign(&mesh, request(&mesh, secs(1), 0));
    assert_eq!(guard.admit(&more, &INCOMING, &mesh.join(1).key(), secs(60)), Err(RequestError::TooMany));
    assert_eq!(guard.admit(&more, &INCOMING, &mesh.join(1).key(), secs(61)), Ok(()));
    assert_eq!(guard.admit(&more, &INCOMING, &mesh.join(1).key(), secs(61)), Err(RequestError::Replayed));
}

#[test]
fn the_longest_header_fits() {
    let mesh = Mesh::new(1);
    let target = format!("/{}", "x".repeat(255)).parse().unwrap();
    let longest = sign(&mesh, BoxRequest { target, ..request(&mesh, UnixSeconds::MAX, 255) });
    assert!(longest.to_string().len() <= HEADER_BYTES_MAX);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]

    /// Whatever comes again, whenever it comes, is taken at most once.
    #[test]
    fn nothing_is_taken_twice(sent in proptest::collection::vec((0i64..90, 0u8..4, 0i64..60), 1..40)) {
        let mesh = Mesh::new(1);
        let mut guard = ReplayGuard::new(mesh.id(), NOW);
        let mut taken = Vec::new();
        let mut now = 0;
        for (time, nonce, pause) in sent {
            now += pause / 6;
            let signed = sign(&mesh, request(&mesh, secs(time), nonce));
            if guard.admit(&signed, &INCOMING, &mesh.join(1).key(), secs(now)).is_ok() {
                prop_assert!(!taken.contains(&(time, nonce)));
                taken.push((time, nonce));
            }
        }
    }
}
