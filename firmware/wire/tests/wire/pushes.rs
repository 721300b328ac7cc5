//! Frames of the push, one per line.

use trust::clock::{Nonce, SignedTime};
use trust::{Revoked, Signed};
use wire::Frame;
use wire::updates::{BindingUpdate, LookupResponse, RevocationSet, TimeRequest, TimeResponse};

use crate::mesh::{Mesh, NOW, list};
use crate::strictness;

#[test]
fn frames_are_lines() {
    let mesh = Mesh::new(1);
    let (me, entry) = (mesh.join(9).key(), mesh.entry(&mesh.join(1)));
    let delta = mesh.sign_delta(mesh.delta(me, 1, 2, &[], std::slice::from_ref(&entry)));
    let entries = list(vec![mesh.revocation(1, Revoked::Box(me))]);
    for (frame, name) in [
        (Frame::Map { map: mesh.map(me, 1, vec![entry]) }, "map"),
        (Frame::Delta { delta }, "delta"),
        (Frame::Revocations { entries }, "revocations"),
        (Frame::Viewers { entries: list(vec![mesh.viewer(1, me)]) }, "viewers"),
        (Frame::Certificate { certificate: mesh.certificate() }, "certificate"),
        (Frame::Alive { now: NOW }, "alive"),
    ] {
        strictness::check(&frame, &[]);
        let line = serde_json::to_string(&frame).unwrap();
        assert!(!line.contains('\n') && line.contains(&format!("\"type\":\"{name}\"")), "{line}");
    }
}

#[test]
fn a_frame_of_a_later_kind_is_passed_over() {
    let line = r#"{"type":"of-a-later-version","map":7}"#;
    assert_eq!(serde_json::from_str::<Frame>(line).unwrap(), Frame::Unknown);
    assert!(serde_json::from_str::<Frame>(r#"{"type":"map","map":7}"#).is_err());
    assert!(serde_json::from_str::<Frame>(r#"{"map":7}"#).is_err());
}

#[test]
fn the_small_requests_have_their_fields() {
    let mesh = Mesh::new(1);
    let joined = mesh.join(1);
    let nonce = Nonce([7; 32]);
    strictness::check(&TimeRequest { nonce }, &[]);
    let time = Signed::sign(SignedTime { mesh: mesh.id(), nonce, now: NOW }, &mesh.coordinator).unwrap();
    strictness::check(&TimeResponse { certificate: mesh.certificate(), time }, &[]);
    strictness::check(&BindingUpdate { wireguard: joined.binding(&mesh, 2, 5) }, &[]);
    strictness::check(&LookupResponse { entry: mesh.entry(&joined), lasts_s: 600 }, &["lasts_s"]);
    let entries = list(vec![mesh.revocation(1, Revoked::Box(joined.key()))]);
    strictness::check(&RevocationSet { entries }, &[]);
}
