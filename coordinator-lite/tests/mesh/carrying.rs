//! From whom boxes are told to take a stream.

use trust::{Access, BoxKey, List};
use wire::heartbeat::{PathKind, PeerPath, StreamReport};
use wire::parents::Take;
use wire::{ParentsRequest, ParentsResponse, path};

use crate::hand::{Hand, now};
use crate::house::{House, text, wait_for};

const MBIT: u64 = 1_000_000;

/// Begins or goes on to publish `streams`.
fn publish(house: &House, owner: &Hand, streams: &[&str]) {
    let report = |name: &&str| StreamReport {
        name: name.parse().unwrap(),
        owner: owner.key(),
        live_since: now(),
        bitrate_bps: 6 * MBIT,
        viewers: 0,
        access: Access::Open,
        key: None,
    };
    let streams = streams.iter().map(report).collect::<Vec<_>>().try_into().unwrap();
    let heartbeat = wire::Heartbeat { streams, ..owner.heartbeat(&[]) };
    assert_eq!(owner.try_beat(house, &heartbeat).0, 200);
}

fn says(uplink_bps: u64) -> ParentsRequest {
    ParentsRequest {
        stream: "show".parse().unwrap(),
        uplink_bps: Some(uplink_bps),
        sending_bps: 0,
        viewers: 0,
        takes: List::new(),
        failed: List::new(),
        leaving: false,
    }
}

fn parents(house: &House, hand: &Hand, said: &ParentsRequest) -> ParentsResponse {
    hand.post(house, path::PARENTS, said)
}

fn keys(answer: &ParentsResponse) -> Vec<BoxKey> {
    answer.parents.iter().map(|entry| entry.key).collect()
}

fn code(answer: &(u16, String, String)) -> (u16, String) {
    let problem: serde_json::Value = serde_json::from_str(&answer.2).unwrap();
    assert!(problem["what_to_do"].as_str().is_some_and(|words| !words.is_empty()), "{problem}");
    (answer.0, problem["code"].as_str().unwrap().to_owned())
}

#[test]
fn a_box_hears_of_a_stream_as_soon_as_it_is_published() {
    let house = House::running("live");
    let (ana, bob) = (Hand::join(&house, "ana", 1), Hand::join(&house, "bob", 2));
    let unknown = bob.try_post(&house, path::PARENTS, &says(5 * MBIT));
    assert_eq!(code(&unknown), (404, "stream-unknown".to_owned()));
    publish(&house, &ana, &["show"]);
    let answer = parents(&house, &bob, &says(5 * MBIT));
    assert_eq!((answer.owner, answer.live, answer.stripes, answer.next_s), (ana.key(), true, 4, 5));
    assert_eq!(keys(&answer), [ana.key()]);
    assert_eq!((answer.parents[0].stripes, answer.parents[0].barred), (0, 0));
    publish(&house, &ana, &[]);
    // One that only asks carries nothing yet, and is named to nobody.
    let carl = Hand::join(&house, "carl", 3);
    let answer = parents(&house, &carl, &says(5 * MBIT));
    assert_eq!((answer.live, keys(&answer)), (false, vec![bob.key(), ana.key()]));
    let answer = parents(&house, &bob, &says(5 * MBIT));
    assert_eq!((answer.owner, answer.live, keys(&answer)), (ana.key(), false, vec![ana.key()]));
    let own = parents(&house, &ana, &says(5 * MBIT));
    assert_eq!((own.owner, keys(&own)), (ana.key(), vec![]));
}

#[test]
fn a_restart_forgets_who_carries_and_not_who_publishes() {
    let mut house = House::running("again");
    let (ana, bob) = (Hand::join(&house, "ana", 1), Hand::join(&house, "bob", 2));
    publish(&house, &ana, &["show"]);
    house.kill();
    house.start();
    let answer = wait_for("a request made after the start", || {
        let answer = bob.try_post(&house, path::PARENTS, &says(5 * MBIT));
        (answer.0 == 200).then(|| serde_json::from_str::<ParentsResponse>(&answer.2).unwrap())
    });
    assert_eq!((answer.0.live, keys(&answer.0)), (true, vec![ana.key()]));
}

#[test]
fn boxes_take_it_from_each_other_without_circles() {
    let house = House::running("others");
    let hands: Vec<_> =
        ["ana", "bob", "carl", "dora"].iter().zip(1..).map(|(name, n)| Hand::join(&house, name, n)).collect();
    let [ana, bob, carl, dora] = hands.as_slice() else { unreachable!() };
    publish(&house, ana, &["show"]);
    let near = |peer: &Hand, ms| PeerPath {
        peer: peer.key(),
        kind: PathKind::Direct,
        endpoint: None,
        round_trip_ms: Some(ms),
        handshake_age_s: None,
        sent_bytes: 0,
        received_bytes: 0,
    };
    // By either side's word: dora is near to bob, and far from carl.
    let paths = vec![near(bob, 0), near(carl, 900)].try_into().unwrap();
    assert_eq!(dora.try_beat(&house, &wire::Heartbeat { paths, ..dora.heartbeat(&[]) }).0, 200);
    let take = |parent: &Hand, stripes| Take { parent: parent.key(), stripes };
    parents(&house, ana, &ParentsRequest { sending_bps: 12 * MBIT, ..says(12 * MBIT) });
    // Bob has a stripe from dora, whom it was told of before she left and came back.
    let takes = vec![take(ana, 0b1110), take(dora, 0b0001)].try_into().unwrap();
    assert_eq!(keys(&parents(&house, bob, &ParentsRequest { takes, ..says(5 * MBIT) })), [ana.key()]);
    let takes = vec![take(bob, 0b0011), take(ana, 0b1100)].try_into().unwrap();
    let answer = parents(&house, carl, &ParentsRequest { takes, ..says(40 * MBIT) });
    assert_eq!(keys(&answer), [bob.key(), ana.key()]);
    let answer = parents(&house, dora, &says(5 * MBIT));
    assert_eq!(keys(&answer), [bob.key(), carl.key(), ana.key()]);
    assert_eq!(answer.parents.iter().map(|entry| entry.score).collect::<Vec<_>>(), [5000, 4000, 0]);
    assert_eq!(answer.parents.iter().map(|entry| entry.barred).collect::<Vec<_>>(), [1, 1, 0]);
    // Whom one failed is not named to that one again; the owner is.
    let failed = vec![bob.key(), ana.key()].try_into().unwrap();
    let answer = parents(&house, carl, &ParentsRequest { failed, ..says(40 * MBIT) });
    assert_eq!(keys(&answer), [ana.key()]);
}

#[test]
fn who_leaves_or_is_put_out_is_named_to_nobody() {
    let house = House::running("gone");
    let hands: Vec<_> =
        ["ana", "bob", "carl", "dora"].iter().zip(1..).map(|(name, n)| Hand::join(&house, name, n)).collect();
    let [ana, bob, carl, dora] = hands.as_slice() else { unreachable!() };
    publish(&house, ana, &["show"]);
    for hand in [bob, carl] {
        parents(&house, hand, &says(9 * MBIT));
    }
    assert_eq!(keys(&parents(&house, dora, &says(MBIT))), [bob.key(), carl.key(), ana.key()]);
    let left = parents(&house, bob, &ParentsRequest { leaving: true, ..says(9 * MBIT) });
    assert_eq!(keys(&left), []);
    assert_eq!(keys(&parents(&house, dora, &says(MBIT))), [carl.key(), ana.key()]);
    let revoked = house.operate(&["box", "revoke"], &["carl"]);
    assert!(revoked.status.success(), "{}", text(&revoked));
    wait_for("carl to be out", || {
        let answer = dora.try_post(&house, path::PARENTS, &says(MBIT));
        (answer.0 == 200)
            .then(|| serde_json::from_str::<ParentsResponse>(&answer.2).unwrap())
            .filter(|answer| keys(answer) == [ana.key()])
    });
    assert_eq!(code(&carl.try_post(&house, path::PARENTS, &says(MBIT))), (403, "box-revoked".to_owned()));
    // With its owner a stream is out, too.
    let revoked = house.operate(&["box", "revoke"], &["ana"]);
    assert!(revoked.status.success(), "{}", text(&revoked));
    wait_for("the stream to be out", || {
        let answer = bob.try_post(&house, path::PARENTS, &says(MBIT));
        (answer.0 == 404).then(|| assert_eq!(code(&answer).1, "stream-unknown"))
    });
}

#[test]
fn a_box_may_ask_once_a_second_about_each_stream() {
    let house = House::running("asks");
    let (ana, bob) = (Hand::join(&house, "ana", 1), Hand::join(&house, "bob", 2));
    publish(&house, &ana, &["show", "other"]);
    let refused = (0..60).find_map(|n| {
        let answer = bob.try_post(&house, path::PARENTS, &says(MBIT));
        (answer.0 != 200).then_some((n, answer))
    });
    let (taken, answer) = refused.unwrap();
    assert!(taken >= 3, "{taken}");
    assert_eq!(code(&answer), (429, "too-many-requests".to_owned()));
    assert!(answer.1.to_ascii_lowercase().contains("retry-after: 1\r"), "{}", answer.1);
    parents(&house, &bob, &ParentsRequest { stream: "other".parse().unwrap(), ..says(MBIT) });
    parents(&house, &bob, &ParentsRequest { leaving: true, ..says(MBIT) });
    wait_for("bob to be heard again", || {
        (bob.try_post(&house, path::PARENTS, &says(MBIT)).0 == 200).then_some(())
    });
}

#[test]
fn who_is_no_member_hears_nothing() {
    let house = House::running("stranger");
    let other = House::running("elsewhere");
    let (ana, eve) = (Hand::join(&house, "ana", 1), Hand::join(&other, "eve", 9));
    publish(&house, &ana, &["show"]);
    assert_eq!(code(&eve.try_post(&house, path::PARENTS, &says(MBIT))), (404, "box-unknown".to_owned()));
    let body = serde_json::to_vec(&says(MBIT)).unwrap();
    let unsigned = crate::client::ask(house.address(), "POST", path::PARENTS, "", &body);
    assert_eq!(code(&unsigned), (401, "request-forged".to_owned()));
}
