//! A friend signed two boxes with an invite for one: a box that saw both has the proof, and the operator's page names
//! the invite.

use trust::{BoxSecret, DoubleUse, Ticket};
use wire::path;

use crate::client::ask;
use crate::hand::Hand;
use crate::house::House;

/// With the certificates of boxes that were signed with ana's invite.
fn proof(ticket: &Ticket, seeds: &[u8]) -> DoubleUse {
    let certificate = |seed: &u8| {
        let key = BoxSecret::from_seed(&[*seed; 32]).public();
        ticket.sign_box(key, "ana".parse().unwrap()).unwrap().certificate
    };
    let certificates: Vec<_> = seeds.iter().map(certificate).collect();
    DoubleUse { invite: ticket.invite.clone(), certificates: certificates.try_into().unwrap() }
}

#[test]
fn a_box_proves_that_an_invite_brought_in_too_many() {
    let house = House::running("accusing");
    let invite = house.invite("ana", &[]);
    let bob = Hand::join(&house, "bob", 1);
    let ticket = Ticket::parse(&invite).unwrap();
    let page = || ask(house.address(), "GET", "/api/v1/operator/boxes", "", &[]).2;
    for one_box in [&[8][..], &[8, 8]] {
        let (status, _, answer) = bob.try_post(&house, path::EVIDENCE, &proof(&ticket, one_box));
        assert_eq!(status, 400, "one box proves nothing: {answer}");
    }
    assert!(page().contains("\"evidence\":[]"), "{}", page());
    for _ in 0..2 {
        let (status, _, answer) = bob.try_post(&house, path::EVIDENCE, &proof(&ticket, &[8, 9]));
        assert_eq!(status, 204, "{answer}");
    }
    assert!(page().contains("\"evidence\":[\"ana\"]"), "{}", page());
    assert!(house.log().contains("more boxes than it is for"), "{}", house.log());
}
