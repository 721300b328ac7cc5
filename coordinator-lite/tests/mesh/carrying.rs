//! From whom boxes are told to take a stream.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use trust::{Access, BoxKey, List};
use wire::heartbeat::{PathKind, PeerPath, StreamReport};
use wire::parents::Take;
use wire::{ParentsRequest, ParentsResponse, path};

use crate::hand::{Hand, now};
use crate::house::{House, text, wait_for};
use crate::pushing::Ear;

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
        watched_bytes: 0,
        takes: List::new(),
        failed: List::new(),
        silent: List::new(),
        relayed: List::new(),
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
    let heard = (answer.owner, answer.live, answer.stripes, answer.next_s);
    assert_eq!(heard, (ana.key(), true, 8, 1), "and soon again, since it has just come");
    assert_eq!(keys(&answer), [ana.key()]);
    assert_eq!((answer.parents[0].stripes, answer.parents[0].barred), (0xff, 0));
    publish(&house, &ana, &[]);
    // Nobody gives what is not there.
    let carl = Hand::join(&house, "carl", 3);
    let answer = parents(&house, &carl, &says(5 * MBIT));
    assert_eq!((answer.live, keys(&answer)), (false, vec![ana.key()]));
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

/// Asks, however often it has to, and does as it is told: what nobody is to give stays where it is.
fn follow(house: &House, hand: &Hand, said: &mut ParentsRequest) -> ParentsResponse {
    let (answer, _) = wait_for("an answer", || {
        let answer = hand.try_post(house, path::PARENTS, said);
        (answer.0 == 200).then(|| serde_json::from_str::<ParentsResponse>(&answer.2).unwrap())
    });
    let assigned = answer.parents.iter().fold(0, |all, entry| all | entry.stripes);
    let stays = said.takes.iter().map(|take| Take { stripes: take.stripes & !assigned, ..*take });
    let comes = answer.parents.iter().map(|entry| Take { parent: entry.key, stripes: entry.stripes });
    let mut takes: BTreeMap<BoxKey, u16> = BTreeMap::new();
    for take in stays.chain(comes).filter(|take| take.stripes != 0) {
        *takes.entry(take.parent).or_default() |= take.stripes;
    }
    let takes = takes.into_iter().map(|(parent, stripes)| Take { parent, stripes });
    said.takes = takes.collect::<Vec<_>>().try_into().unwrap();
    answer
}

#[test]
fn lines_smaller_than_the_stream_carry_it_together() {
    let house = House::running("six");
    let names = ["ana", "bob", "carl", "dora", "emil", "fred", "gina"];
    let hands: Vec<_> = names.iter().zip(1..).map(|(name, n)| Hand::join(&house, name, n)).collect();
    let owner = hands[0].key();
    publish(&house, &hands[0], &["show"]);
    let mut said: Vec<_> = [20, 5, 5, 5, 5, 5, 5].map(|mbit| says(mbit * MBIT)).to_vec();
    let mut moved = Instant::now();
    wait_for("all to be where they stay", || {
        let before = said.clone();
        for (hand, said) in hands.iter().zip(&mut said) {
            follow(&house, hand, said);
        }
        if before != said {
            moved = Instant::now();
        }
        // The coordinator looks at its plan once a second.
        (moved.elapsed() > Duration::from_secs(3)).then_some(())
    });
    let parents = |key: BoxKey, stripe: u16| {
        let at = hands.iter().position(|hand| hand.key() == key).unwrap();
        let from = said[at].takes.iter().filter(|take| take.stripes & (1 << stripe) != 0);
        from.map(|take| take.parent).collect::<Vec<_>>()
    };
    let mut gives: BTreeMap<BoxKey, u64> = BTreeMap::new();
    let mut deepest = 0;
    for hand in &hands[1..] {
        for stripe in 0..8 {
            let mut way = vec![hand.key()];
            while way.last() != Some(&owner) {
                let [parent] = parents(way[way.len() - 1], stripe)[..] else {
                    panic!("one parent for each stripe")
                };
                assert!(!way.contains(&parent), "a circle");
                way.push(parent);
            }
            deepest = deepest.max(way.len() - 1);
            *gives.entry(way[1]).or_default() += 1;
        }
        let all: BTreeSet<_> = (0..8).flat_map(|stripe| parents(hand.key(), stripe)).collect();
        assert!(all.len() >= 2, "{all:?}");
    }
    // A stripe of eight of 6 Mbit/s is 0.8545 Mbit/s on the line.
    for (key, gives) in gives {
        let most = if key == owner { 20 * MBIT } else { 5 * MBIT };
        assert!(gives * 854_500 <= most, "{gives} stripes of {most} bit/s");
        assert!(gives <= 24, "at least half of 48 come from boxes");
    }
    assert!(deepest >= 2, "{deepest}");
}

#[test]
fn near_boxes_are_worth_more_and_who_failed_is_not_named() {
    let house = House::running("near");
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
    let paths = vec![near(bob, 0), near(carl, 900)].try_into().unwrap();
    assert_eq!(dora.try_beat(&house, &wire::Heartbeat { paths, ..dora.heartbeat(&[]) }).0, 200);
    for (hand, mbit) in [(ana, 40), (bob, 20), (carl, 20)] {
        parents(&house, hand, &says(mbit * MBIT));
    }
    let answer = parents(&house, dora, &says(5 * MBIT));
    let score =
        |hand: &Hand| answer.parents.iter().find(|entry| entry.key == hand.key()).map(|entry| entry.score);
    assert!(score(bob).unwrap() > 5 * score(carl).unwrap_or(0), "{answer:?}");
    let failed = vec![bob.key(), ana.key()].try_into().unwrap();
    let answer = parents(&house, dora, &ParentsRequest { failed, ..says(5 * MBIT) });
    assert!(!keys(&answer).contains(&bob.key()), "{answer:?}");
    assert_eq!(keys(&answer).last(), Some(&ana.key()), "but the owner, as the last");
}

#[test]
fn who_leaves_or_is_put_out_is_named_to_nobody() {
    let house = House::running("gone");
    let hands: Vec<_> =
        ["ana", "bob", "carl", "dora"].iter().zip(1..).map(|(name, n)| Hand::join(&house, name, n)).collect();
    let [ana, bob, carl, dora] = hands.as_slice() else { unreachable!() };
    publish(&house, ana, &["show"]);
    let named = |answer: &ParentsResponse| keys(answer).into_iter().collect::<BTreeSet<_>>();
    for hand in [bob, carl] {
        parents(&house, hand, &says(9 * MBIT));
    }
    assert_eq!(
        named(&parents(&house, dora, &says(MBIT))),
        BTreeSet::from([bob.key(), carl.key(), ana.key()])
    );
    let left = parents(&house, bob, &ParentsRequest { leaving: true, ..says(9 * MBIT) });
    assert_eq!(keys(&left), []);
    assert_eq!(named(&parents(&house, dora, &says(MBIT))), BTreeSet::from([carl.key(), ana.key()]));
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

#[test]
fn the_operator_sees_who_takes_what_from_whom() {
    let house = House::running("tree");
    let hands: Vec<_> =
        ["ana", "bob", "carl", "dora"].iter().zip(1..).map(|(name, n)| Hand::join(&house, name, n)).collect();
    let [ana, bob, carl, dora] = hands.as_slice() else { unreachable!() };
    let ears: Vec<_> = hands.iter().map(|hand| Ear::open(&house, hand)).collect();
    publish(&house, ana, &["show"]);
    let take = |parent: &Hand, stripes| Take { parent: parent.key(), stripes };
    let takes = |all: &[Take]| List::try_from(all.to_vec()).unwrap();
    let bobs = ParentsRequest { takes: takes(&[take(ana, 0xff)]), viewers: 2, ..says(5 * MBIT) };
    parents(&house, bob, &bobs);
    let carls = takes(&[take(ana, 0xf0), take(bob, 0x0f)]);
    parents(&house, carl, &ParentsRequest { takes: carls, sending_bps: 3 * MBIT, ..says(12 * MBIT) });
    let doras = takes(&[take(carl, 0b0111)]);
    parents(&house, dora, &ParentsRequest { takes: doras, uplink_bps: None, ..says(0) });
    let see = |target: &str| crate::client::ask(house.address(), "GET", target, "", b"");
    let (streams, _) = wait_for("ana to be connected", || {
        let (status, _, body) = see("/api/v1/operator/streams");
        assert_eq!(status, 200, "{body}");
        let streams: serde_json::Value = serde_json::from_str(&body).unwrap();
        (streams.as_array().unwrap().len() == 1).then_some(streams)
    });
    let (show, tree) = (&streams[0], streams[0]["tree"].as_array().unwrap());
    // Seven of nineteen stripes come from bob and carl.
    assert_eq!((show["from_boxes_milli"].as_u64(), show["owner"].as_str()), (Some(368), Some("ana")));
    let rows = tree.iter().map(|row| {
        let hops = row["hops"].as_u64();
        (
            row["name"].as_str().unwrap(),
            hops,
            row["gives"].as_u64().unwrap(),
            row["viewers"].as_u64().unwrap(),
        )
    });
    let expected =
        [("ana", Some(0), 12, 0), ("bob", Some(1), 4, 2), ("carl", Some(2), 3, 0), ("dora", None, 0, 0)];
    assert_eq!(rows.collect::<Vec<_>>(), expected);
    assert_eq!(tree[0]["gives_bps"], 9_000_000);
    assert_eq!(tree[2]["takes"][1]["stripes"].as_array().unwrap().len(), 4);
    let page = see("/operator").2;
    for text in [
        "ana gives other boxes about 9.0 Mbit/s",
        "36.8 %</strong> of what boxes take comes from boxes other than ana",
        "(not all)",
        "sends 3.0 Mbit/s of 12.0 Mbit/s",
    ] {
        assert!(page.contains(text), "{text}: {page}");
    }
    if let Some(place) = std::env::var_os("RELAYBOX_KEEP_PAGE") {
        std::fs::write(place, page).unwrap();
    }
    drop(ears);
}
