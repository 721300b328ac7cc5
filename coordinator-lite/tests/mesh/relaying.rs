//! The relay over TLS, with the real service and boxes by hand: whom it carries for, and how much.

use std::time::{Duration, Instant};

use trust::{BoxSecret, Digest, Signed};
use wire::request::{HEADER, RequestNonce};
use wire::{BoxRequest, Method, path};

use crate::client::ask;
use crate::hand::{Hand, now};
use crate::house::{House, text, wait_for};
use crate::lines::{Line, refused, upgrade};

fn relayed(house: &House, name: &str) -> serde_json::Value {
    let (_, _, body) = ask(house.address(), "GET", "/api/v1/operator/boxes", "", b"");
    let view: serde_json::Value = serde_json::from_str(&body).unwrap();
    let boxes = view["boxes"].as_array().unwrap().clone();
    boxes.into_iter().find(|view| view["name"] == name).unwrap()["relayed"].clone()
}

#[tokio::test(flavor = "multi_thread")]
async fn two_boxes_exchange_datagrams() {
    let house = House::running("relay");
    let (ana, bob) = (Hand::join(&house, "ana", 1), Hand::join(&house, "bob", 2));
    let (mut at_ana, mut at_bob) = (Line::open(&house, &ana).await, Line::open(&house, &bob).await);
    for length in [1, 148, 1600] {
        let datagram = vec![length as u8; length];
        at_ana.mouth.say(bob.address(), &datagram).await;
        assert_eq!(at_bob.ear.next().await, Some((ana.address(), datagram.clone())));
        at_bob.mouth.say(ana.address(), &datagram).await;
        assert_eq!(at_ana.ear.next().await, Some((bob.address(), datagram)));
    }
    // To itself, and to a member that is not connected: dropped, and nothing else happens.
    let eve = Hand::join(&house, "eve", 3);
    at_ana.mouth.say(ana.address(), b"echo").await;
    at_ana.mouth.say(eve.address(), b"nobody").await;
    at_ana.mouth.say_bytes(&[0, 0]).await;
    at_ana.mouth.say(bob.address(), b"last").await;
    assert_eq!(at_bob.ear.next().await, Some((ana.address(), b"last".to_vec())));
    let expected = |sent: u64, received: u64, dropped: u64| {
        serde_json::json!({
            "connected": true, "sent_bytes": sent, "received_bytes": received, "dropped_datagrams": dropped,
        })
    };
    assert_eq!(relayed(&house, "ana"), expected(1753, 1749, 2));
    assert_eq!(relayed(&house, "bob"), expected(1749, 1753, 0));
    drop(at_bob);
    wait_for("bob to be gone", || (relayed(&house, "bob")["connected"] == false).then_some(()));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stranger_is_refused_and_so_is_who_asks_for_less() {
    let house = House::running("relay-strangers");
    let ana = Hand::join(&house, "ana", 1);
    let signature = || ana.signature(Method::Get, path::RELAY, b"");
    assert_eq!(refused(&house, &upgrade()).await, "request-forged");
    assert_eq!(refused(&house, &signature()).await, "malformed");
    let other = format!("Connection: Upgrade\r\nUpgrade: websocket\r\n{}", signature());
    assert_eq!(refused(&house, &other).await, "malformed");
    let elsewhere = ana.signature(Method::Get, path::PUSH, b"");
    assert_eq!(refused(&house, &format!("{}{elsewhere}", upgrade())).await, "request-forged");
    let stranger = BoxSecret::from_seed(&[9; 32]);
    let request = BoxRequest {
        mesh: ana.mesh,
        key: stranger.public(),
        method: Method::Get,
        target: path::RELAY.parse().unwrap(),
        body: Digest::of(b""),
        time: now(),
        nonce: RequestNonce([9; 16]),
    };
    let signed = Signed::sign(request, &stranger).unwrap();
    assert_eq!(refused(&house, &format!("{}{HEADER}: {signed}\r\n", upgrade())).await, "box-unknown");
    let once = signature();
    assert_eq!(refused(&house, &format!("{}{once}", upgrade())).await, "not refused");
    assert_eq!(refused(&house, &format!("{}{once}", upgrade())).await, "request-replayed");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_newest_line_counts_and_a_bad_frame_ends_one() {
    let house = House::running("relay-newest");
    let (ana, bob) = (Hand::join(&house, "ana", 1), Hand::join(&house, "bob", 2));
    let mut at_ana = Line::open(&house, &ana).await;
    let mut old = Line::open(&house, &bob).await;
    let mut new = Line::open(&house, &bob).await;
    assert_eq!(old.ear.next().await, None);
    at_ana.mouth.say(bob.address(), b"hello").await;
    assert_eq!(new.ear.next().await, Some((ana.address(), b"hello".to_vec())));
    new.mouth.say_bytes(&[0, 5, 1, 2, 3, 4, 5]).await;
    assert_eq!(new.ear.next().await, None);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_revoked_box_is_cut_at_once() {
    let house = House::running("relay-revoked");
    let (ana, bob) = (Hand::join(&house, "ana", 1), Hand::join(&house, "bob", 2));
    let (mut at_ana, mut at_bob) = (Line::open(&house, &ana).await, Line::open(&house, &bob).await);
    at_ana.mouth.say(bob.address(), b"before").await;
    assert_eq!(at_bob.ear.next().await, Some((ana.address(), b"before".to_vec())));
    let revoked = house.operate(&["box", "revoke"], &["ana"]);
    assert!(revoked.status.success(), "{}", text(&revoked));
    let told = Instant::now();
    assert_eq!(at_ana.ear.next().await, None);
    assert!(told.elapsed() < Duration::from_secs(2), "{:?}", told.elapsed());
    let again = format!("{}{}", upgrade(), ana.signature(Method::Get, path::RELAY, b""));
    assert_eq!(refused(&house, &again).await, "box-revoked");
    // The other box's line goes on, to whoever is left.
    let eve = Hand::join(&house, "eve", 3);
    let mut at_eve = Line::open(&house, &eve).await;
    at_bob.mouth.say(ana.address(), b"to nobody").await;
    at_bob.mouth.say(eve.address(), b"after").await;
    assert_eq!(at_eve.ear.next().await, Some((bob.address(), b"after".to_vec())));
}

/// What got through of a megabyte, sent as fast as it goes by all of `senders` to one box, and how long it took.
async fn flooded(house: &House, senders: &[&Hand], to: &Hand, witness: &Hand) -> (usize, Duration) {
    let mut at_witness = Line::open(house, witness).await;
    let mut at_to = Line::open(house, to).await;
    let hearing = {
        let end = witness.address();
        tokio::spawn(async move {
            let mut sum = 0;
            loop {
                match at_to.ear.next().await.unwrap() {
                    (from, _) if from == end => return sum,
                    (_, datagram) => sum += datagram.len(),
                }
            }
        })
    };
    let began = Instant::now();
    for sender in senders {
        let mut line = Line::open(house, sender).await;
        for _ in 0..1000 / senders.len() {
            line.mouth.say(to.address(), &[7; 1000]).await;
        }
        // Lines are in order: once the witness hears this, all of the flood has passed or was dropped.
        line.mouth.say(witness.address(), b"done").await;
        at_witness.ear.next().await.unwrap();
    }
    let took = began.elapsed();
    at_witness.mouth.say(to.address(), b"end").await;
    (hearing.await.unwrap(), took)
}

#[tokio::test(flavor = "multi_thread")]
async fn the_budget_of_a_pair_holds() {
    let mut house = House::made("relay-pair");
    house.start_with(&["--relay-pair-mbps", "1"]);
    let hands = ["ana", "bob", "eve"].map(|name| Hand::join(&house, name, name.as_bytes()[0]));
    let (through, took) = flooded(&house, &[&hands[0]], &hands[1], &hands[2]).await;
    // 1 Mbit/s: 125 bytes each millisecond, and those of a quarter of a second at once.
    let most = (took.as_millis() as usize + 250 + 1) * 125;
    assert!((30_000..=most).contains(&through), "{through} of {most}");
    assert!(relayed(&house, "ana")["dropped_datagrams"].as_u64().unwrap() > 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_budget_of_a_friend_holds_for_all_boxes_together() {
    let mut house = House::made("relay-friend");
    house.start_with(&["--relay-friend-mbps", "1"]);
    let invite = house.invite("ana", &["--boxes", "2"]);
    let one = Hand::join_by(&house, &invite, "ana-one", 1);
    let two = Hand::join_by(&house, &invite, "ana-two", 2);
    let (bob, eve) = (Hand::join(&house, "bob", 3), Hand::join(&house, "eve", 4));
    let (through, took) = flooded(&house, &[&one, &two], &bob, &eve).await;
    let most = (took.as_millis() as usize + 250 + 1) * 125;
    assert!((30_000..=most).contains(&through), "{through} of {most}");
}

/// Enough for a box that reads nothing: sockets take some megabytes before anything is dropped.
const FREE: [&str; 4] = ["--relay-pair-mbps", "10000", "--relay-friend-mbps", "10000"];

#[tokio::test(flavor = "multi_thread")]
async fn a_box_that_reads_nothing_holds_up_nobody() {
    let mut house = House::made("relay-full");
    house.start_with(&FREE);
    let [ana, bob, eve] = ["ana", "bob", "eve"].map(|name| Hand::join(&house, name, name.as_bytes()[0]));
    let mut at_ana = Line::open(&house, &ana).await;
    let mut at_bob = Line::open(&house, &bob).await;
    let mut at_eve = Line::open(&house, &eve).await;
    for _ in 0..20_000 {
        at_ana.mouth.say(bob.address(), &[7; 1600]).await;
    }
    at_ana.mouth.say(eve.address(), b"still here").await;
    assert_eq!(at_eve.ear.next().await, Some((ana.address(), b"still here".to_vec())));
    let count = relayed(&house, "ana");
    let (sent, dropped) =
        (count["sent_bytes"].as_u64().unwrap() - 10, count["dropped_datagrams"].as_u64().unwrap());
    assert!(dropped > 0 && sent / 1600 + dropped == 20_000, "{count}");
    // Once it reads again, it hears what waited, and what comes then.
    let mut heard = 0;
    while heard < sent {
        let (from, datagram) = at_bob.ear.next().await.unwrap();
        assert_eq!(from, ana.address());
        heard += datagram.len() as u64;
    }
    at_ana.mouth.say(bob.address(), b"hello again").await;
    assert_eq!(at_bob.ear.next().await, Some((ana.address(), b"hello again".to_vec())));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_of_8_mbit_per_second_passes() {
    let mut house = House::made("relay-stream");
    house.start_with(&FREE);
    let (ana, bob) = (Hand::join(&house, "ana", 1), Hand::join(&house, "bob", 2));
    let (mut at_ana, mut at_bob) = (Line::open(&house, &ana).await, Line::open(&house, &bob).await);
    let (to, back) = (bob.address(), ana.address());
    let answering = tokio::spawn(async move {
        while let Some((_, datagram)) = at_bob.ear.next().await {
            at_bob.mouth.say(back, &datagram[..4]).await;
        }
    });
    // 4 MB, 64 datagrams on their way at a time, as a sender does that is told of each.
    let began = Instant::now();
    let mut datagram = [7; 1250];
    for number in 0..3264_u32 {
        if number < 3200 {
            datagram[..4].copy_from_slice(&number.to_be_bytes());
            at_ana.mouth.say(to, &datagram).await;
        }
        if let Some(expected) = number.checked_sub(64) {
            let (_, answer) = at_ana.ear.next().await.unwrap();
            assert_eq!(answer, expected.to_be_bytes(), "nothing is lost, and all is in order");
        }
    }
    let took = began.elapsed();
    assert!(took < Duration::from_secs(4), "4 MB took {took:?}");
    drop(at_ana);
    answering.abort();
}
