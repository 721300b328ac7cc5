//! Coming in, from the invite's text to the first peers; and what goes wrong on the way.

use trust::map::{MapError, PeerMap};
use trust::peer::PeerError;
use trust::*;
use wire::enrol::{AnswerError, EnrolError};
use wire::updates::{RenewRequest, RenewResponse};
use wire::{Code, EnrolRequest, EnrolResponse};

use crate::mesh::{Joined, Judge, Mesh, NOW, days, list};
use crate::strictness;

fn request(mesh: &Mesh, joined: &Joined) -> EnrolRequest {
    EnrolRequest {
        chain: joined.chain.clone(),
        wireguard: joined.binding(mesh, 1, 1),
        version: "0.1.0".parse().unwrap(),
        board: "rpi5".parse().unwrap(),
        endpoints: list(vec![]),
    }
}

fn response(mesh: &Mesh, joined: &Joined, others: &[&Joined]) -> EnrolResponse {
    let entries = others.iter().map(|other| mesh.entry(other)).collect();
    EnrolResponse {
        certificate: mesh.certificate(),
        membership: mesh.membership(joined),
        revocations: list(vec![]),
        map: mesh.map(joined.key(), 1, entries),
        heartbeat_s: 15,
        stun_ports: list(vec![3478, 3479]),
    }
}

#[test]
fn a_box_comes_in_by_a_text() {
    let mesh = Mesh::new(1);
    let ticket = Ticket::parse(&mesh.ticket(&mesh.invite(1)).text()).unwrap();
    ticket.check(None, NOW).unwrap();
    let secret = BoxSecret::from_seed(&[0xb1; 32]);
    let chain = ticket.sign_box(secret.public(), "ana".parse().unwrap()).unwrap();
    let joined = Joined { secret, chain };

    let asked = request(&mesh, &joined);
    strictness::check(&asked, &[]);
    let none = Revocations::new();
    let (identity, binding) = asked.check(&mesh.root_key(), NOW, &none).unwrap();
    assert_eq!((identity.name().as_str(), binding.generation), ("ana", 1));

    let answer = response(&mesh, &joined, &[&mesh.join(2)]);
    strictness::check(&answer, &["stun_ports"]);
    let enrolled = answer.check(&ticket.root, &joined.chain, NOW).unwrap();
    assert_eq!(enrolled.membership.key, joined.key());
    let judge = Judge::of(&mesh);
    let verdicts = enrolled.map.peers(&judge.authority(), NOW, &mut Roster::new());
    assert_eq!((verdicts.accepted.len(), verdicts.refused.len()), (1, 0));
}

#[test]
fn who_may_not_come_in_is_told_why() {
    let mesh = Mesh::new(1);
    let joined = mesh.join(1);
    let check = |asked: &EnrolRequest, now, revocations: &Revocations, code| {
        let error = asked.check(&mesh.root_key(), now, revocations).unwrap_err();
        assert_eq!(Code::from(&error), code, "{error:?}");
    };
    let none = Revocations::new();
    let asked = request(&mesh, &joined);
    check(&asked, days(6), &none, Code::InviteExpired);
    check(&asked, NOW, &mesh.revoked(Revoked::Invite(joined.chain.invite.id())), Code::InviteRevoked);
    check(&asked, NOW, &mesh.revoked(Revoked::Box(joined.key())), Code::BoxRevoked);
    let other = Mesh::new(2);
    check(&request(&other, &other.join(1)), NOW, &none, Code::InviteForeign);
    check(&request(&mesh, &mesh.join_as(&mesh.invite(1), 1, "bob")), NOW, &none, Code::NameRefused);
    let borrowed = EnrolRequest { wireguard: mesh.join(2).binding(&mesh, 1, 1), ..asked };
    check(&borrowed, NOW, &none, Code::BoxRefused);
    let error = borrowed.check(&mesh.root_key(), NOW, &none).unwrap_err();
    assert_eq!(error, EnrolError::Binding(VerifyError::Forged));
}

#[test]
fn an_answer_that_makes_nobody_a_member_is_refused() {
    let mesh = Mesh::new(1);
    let (joined, two, other) = (mesh.join(1), mesh.join(2), Mesh::new(2));
    let check = |bend: &dyn Fn(&mut EnrolResponse), expected| {
        let mut answer = response(&mesh, &joined, &[&two]);
        bend(&mut answer);
        let found = answer.check(&mesh.root_key(), &joined.chain, NOW).map(drop);
        assert_eq!(found, Err(expected));
    };
    let foreign = VerifyError::Foreign { mesh: other.id() };
    let certificate = CoordinatorError::Certificate(foreign);
    check(&|answer| answer.certificate = other.certificate(), AnswerError::Coordinator(certificate));
    check(&|answer| answer.membership = other.membership(&joined), AnswerError::Membership(foreign));
    check(&|answer| answer.membership = mesh.membership(&two), AnswerError::Judged(PeerError::OtherBox));
    check(&|answer| answer.map = mesh.map(two.key(), 1, vec![]), AnswerError::Map(MapError::OtherRecipient));
    let revoke = |target| {
        move |answer: &mut EnrolResponse| {
            answer.revocations = list(vec![Mesh::new(1).revocation(1, target)]);
        }
    };
    let of_coordinator = revoke(Revoked::Coordinator(mesh.coordinator.public()));
    check(&of_coordinator, AnswerError::Coordinator(CoordinatorError::Revoked));
    check(&revoke(Revoked::Box(joined.key())), AnswerError::Chain(ChainError::BoxRevoked));
}

#[test]
fn a_membership_is_renewed_on_what_the_box_brings() {
    let mesh = Mesh::new(1);
    let (joined, judge) = (mesh.join(1), Judge::of(&mesh));
    let asked = RenewRequest {
        chain: joined.chain.clone(),
        membership: mesh.membership(&joined),
        wireguard: list(vec![joined.binding(&mesh, 1, 1), joined.binding(&mesh, 2, 1)]),
    };
    strictness::check(&asked, &[]);
    let (identity, membership) = asked.check(&judge.authority(), days(31)).unwrap();
    assert_eq!((*identity.key(), membership.issued), (joined.key(), NOW));
    let lapsed = asked.check(&judge.authority(), days(44)).unwrap_err();
    assert_eq!(Code::from(&lapsed), Code::MembershipLapsed);
    let answer = RenewResponse { certificate: mesh.certificate(), membership: mesh.membership(&joined) };
    strictness::check(&answer, &[]);
}

#[test]
fn lists_and_texts_are_bounded_while_they_are_read() {
    let mesh = Mesh::new(1);
    let mut json = serde_json::to_value(request(&mesh, &mesh.join(1))).unwrap();
    let mut check = |field: &str, value: serde_json::Value, expected: bool| {
        json[field] = value;
        let read = serde_json::from_value::<EnrolRequest>(json.clone());
        assert_eq!(read.is_ok(), expected, "{field}: {read:?}");
    };
    check("endpoints", vec!["192.0.2.1:1"; 8].into(), true);
    check("endpoints", vec!["192.0.2.1:1"; 9].into(), false);
    check("endpoints", vec!["224.0.0.1:1"].into(), false);
    check("endpoints", vec!["192.0.2.1:1"].into(), true);
    check("version", "v".repeat(65).into(), false);
    check("version", "v".repeat(64).into(), true);
    check("wireguard", "A".repeat(10_000).into(), false);
    check("wireguard", "not base64!".into(), false);
}

#[test]
fn the_largest_answer_fits_into_a_body() {
    let mesh = Mesh::new(1);
    let joined = mesh.join(1);
    let answer = response(&mesh, &joined, &[]);
    let empty = serde_json::to_string(&answer).unwrap().len();
    let revocation = Revocation::BYTES_MAX.div_ceil(3) * 4 + 3;
    let map = map::Map::BYTES_MAX.div_ceil(3) * 4;
    assert!(empty + Revocations::MAX * revocation + map <= wire::BODY_BYTES_MAX);
    assert!(PeerMap::open(answer.map, &joined.key(), &mesh.coordinator()).is_ok());
}
