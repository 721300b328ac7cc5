//! Boxes that ask for one that is not in their map, in a mesh with more boxes than a map has places.

use std::time::Duration;

use trust::map::PeerMap;
use wire::path;
use wire::updates::LookupResponse;

use crate::hand::Hand;
use crate::house::{House, text, wait_for};
use crate::pushing::Ear;

/// Places of a map here. A quarter of that, which is one box, is for those that a box asks for.
const PLACES: usize = 2;

/// A box that is connected.
struct Member {
    name: &'static str,
    hand: Hand,
    ear: Ear,
}

impl Member {
    fn knows(&self, other: &Self) -> bool {
        self.ear.knows().contains(&other.hand.key())
    }

    /// As it stands in JSON.
    fn key(&self) -> String {
        serde_json::to_value(self.hand.key()).unwrap().as_str().unwrap().to_owned()
    }

    fn look_up(&self, house: &House, question: &str) -> (u16, String, String) {
        self.hand.try_get(house, &format!("{}?{question}", path::LOOKUP))
    }

    fn finds(&self, house: &House, question: &str) -> LookupResponse {
        let (status, _, body) = self.look_up(house, question);
        assert_eq!(status, 200, "{body}");
        serde_json::from_str(&body).unwrap()
    }

    /// Status and code of an answer that is a problem.
    fn refused(&self, house: &House, question: &str) -> (u16, String) {
        let (status, _, body) = self.look_up(house, question);
        let problem: serde_json::Value = serde_json::from_str(&body).unwrap();
        (status, problem["code"].as_str().unwrap_or("none").to_owned())
    }

    fn hears_of(&mut self, other: &Hand) -> Duration {
        let key = other.key();
        self.ear.until("the other one", |map: &PeerMap| map.entries().any(|entry| *entry.key() == key))
    }
}

/// Six boxes that are connected, each with its first map. The first two do not know each other: of 15 pairs at most 12
/// have one who knows the other.
fn crowded(name: &str) -> (House, Vec<Member>) {
    let mut house = House::made(name);
    house.start_with(&["--map-boxes-max", &PLACES.to_string()]);
    let names = ["ana", "bob", "carl", "dora", "emil", "fred"];
    let hands: Vec<_> = names.iter().zip(1..).map(|(name, n)| Hand::join(&house, name, n)).collect();
    let connected = names.into_iter().zip(hands).map(|(name, hand)| {
        let mut ear = Ear::open(&house, &hand);
        ear.until("a map", |_| true);
        Member { name, hand, ear }
    });
    let mut boxes: Vec<_> = connected.collect();
    assert!(boxes.iter().all(|one| one.ear.knows().len() == PLACES));
    let mut pairs = (0..boxes.len()).flat_map(|one| (0..one).map(move |other| (one, other)));
    let strangers =
        pairs.find(|(one, other)| !boxes[*one].knows(&boxes[*other]) && !boxes[*other].knows(&boxes[*one]));
    let (one, other) = strangers.unwrap();
    // The second of a pair is the lower one.
    boxes.swap(0, other);
    boxes.swap(1, one);
    (house, boxes)
}

#[test]
fn each_stands_in_the_others_map_after_one_of_them_asked() {
    let (house, mut boxes) = crowded("look");
    let [one, other, ..] = &mut boxes[..] else { panic!("six boxes") };
    let answer = one.finds(&house, &format!("address={}", other.hand.address()));
    assert_eq!((*answer.entry.key(), answer.lasts_s), (other.hand.key(), 600));
    let (took, at_the_other) = (one.hears_of(&other.hand), other.hears_of(&one.hand));
    assert!(took.max(at_the_other) < Duration::from_secs(2), "{took:?}, {at_the_other:?}: at once");
    assert_eq!((one.ear.knows().len(), other.ear.knows().len()), (PLACES, PLACES));
    // Asked again by another name of it; and after the box connected anew.
    let answer = one.finds(&house, &format!("key={}", other.key()));
    assert_eq!((*answer.entry.key(), answer.lasts_s), (other.hand.key(), 600));
    one.ear = Ear::open(&house, &one.hand);
    one.hears_of(&other.hand);
    assert_eq!(one.ear.knows().len(), PLACES);
    // Oneself one finds as well, for what it is worth.
    assert_eq!(one.finds(&house, &format!("name={}", one.name)).lasts_s, 0);
}

#[test]
fn in_a_small_mesh_nothing_has_to_be_asked_again() {
    let house = House::running("small");
    let (ana, bob) = (Hand::join(&house, "ana", 1), Hand::join(&house, "bob", 2));
    let (status, _, body) = ana.try_get(&house, &format!("{}?address={}", path::LOOKUP, bob.address()));
    let answer: LookupResponse = serde_json::from_str(&body).unwrap();
    assert_eq!((status, *answer.entry.key(), answer.lasts_s), (200, bob.key(), 0));
}

#[test]
fn what_is_not_there_is_refused_and_so_is_one_that_asks_for_everybody() {
    let (house, boxes) = crowded("refused");
    let [one, other, third, fourth, ..] = &boxes[..] else { panic!("six boxes") };
    let problem = |status: u16, code: &str| (status, code.to_owned());
    assert_eq!(one.refused(&house, "address=fd00::1"), problem(404, "box-unknown"));
    assert_eq!(one.refused(&house, "address=192.0.2.1"), problem(400, "malformed"));
    let both = format!("address={}&key={}", other.hand.address(), other.key());
    assert_eq!(one.refused(&house, &both), problem(400, "malformed"));
    let revoked = house.operate(&["box", "revoke"], &[third.name]);
    assert!(revoked.status.success(), "{}", text(&revoked));
    wait_for("the revocation", || {
        let refused = one.refused(&house, &format!("key={}", third.key()));
        (refused == problem(404, "box-unknown")).then_some(())
    });
    other.finds(&house, &format!("key={}", one.key()));
    assert_eq!(other.refused(&house, &format!("key={}", fourth.key())), problem(429, "too-many-requests"));
    assert_eq!(fourth.refused(&house, &format!("key={}", one.key())), problem(503, "try-again"));
    let flood = (0..60).map(|_| one.refused(&house, "address=fd00::1"));
    let stopped = flood.into_iter().find(|refused| *refused != problem(404, "box-unknown"));
    assert_eq!(stopped, Some(problem(429, "too-many-requests")));
}
