//! Bounds across connections, and those that need a socket.

use ingest::script::{Script, body};
use ingest::{CloseReason, Limits, Refusal};

use crate::client::Client;
use crate::publishing::limits;
use crate::recorder::{House, KEYS};

async fn guess(house: &House, key: &str) -> String {
    let mut client = Client::open(house.address).await;
    client.send(&mut Script::publisher("live", key)).await;
    client.read_to_end().await
}

#[tokio::test]
async fn after_three_wrong_keys_even_the_right_one_is_not_looked_at() {
    let house = House::open(limits(), None).await;
    for wrong in ["a", "b", "c"] {
        assert!(guess(&house, wrong).await.contains("wrong stream key"));
    }
    let said = guess(&house, KEYS[0]).await;
    assert!(said.contains("too many wrong attempts"), "{said:?}");
    assert_eq!(house.until("nothing", |record| Some(record.opened.len())).await, 0);
}

#[tokio::test]
async fn right_keys_are_no_attempts() {
    let house = House::open(limits(), None).await;
    for _ in 0..5 {
        Client::publishing(house.address, KEYS[0]).await;
    }
}

#[tokio::test]
async fn one_publisher_too_many_is_refused_but_a_takeover_is_not() {
    let house = House::open(Limits { publishers: 1, ..limits() }, None).await;
    let _first = Client::publishing(house.address, KEYS[0]).await;
    let said = guess(&house, KEYS[1]).await;
    assert!(said.contains("too many publishers"), "{said:?}");
    assert_eq!(house.first_refusal().await, Refusal::TooManyPublishers);
    let expected = (KEYS[1], CloseReason::Refused(Refusal::TooManyPublishers));
    assert_eq!(house.closed(1).await, [expected]);
    let _again = Client::publishing(house.address, KEYS[0]).await;
}

#[tokio::test]
async fn one_connection_too_many_is_closed() {
    let house = House::open(Limits { connections: 2, ..limits() }, None).await;
    let first = Client::publishing(house.address, KEYS[0]).await;
    let _second = Client::publishing(house.address, KEYS[1]).await;
    assert_eq!(Client::open(house.address).await.read_to_end().await, "");
    drop(first);
    house.closed(1).await;
}

#[tokio::test]
async fn one_address_can_not_take_all_places_by_saying_nothing() {
    let house = House::open(Limits { waiting_per_address: 2, ..limits() }, None).await;
    let silent = [Client::open(house.address).await, Client::open(house.address).await];
    assert_eq!(Client::open(house.address).await.read_to_end().await, "");
    drop(silent);
    // Their places are free as soon as the server has seen them go; who publishes needs none.
    let patience = tokio::time::Instant::now() + std::time::Duration::from_secs(10);
    for key in KEYS {
        while tokio::time::Instant::now() < patience {
            let mut client = Client::open(house.address).await;
            client.send(&mut Script::publisher("live", key)).await;
            if house.until("a look", |record| Some(record.opened.contains(&key))).await {
                break;
            }
            tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        }
    }
    house
        .until("publications", |record| (KEYS.iter().all(|key| record.opened.contains(key))).then_some(()))
        .await;
}

#[tokio::test]
async fn who_says_nothing_is_asked_and_then_dropped() {
    let house = House::open(Limits { ping_ms: 20, idle_ms: 60, ..limits() }, None).await;
    let mut client = Client::publishing(house.address, KEYS[0]).await;
    assert_eq!(house.closed(1).await, [(KEYS[0], CloseReason::Idle)]);
    let said = client.read_to_end().await;
    assert!(said.contains("\x04\0\0\0\0\0\x06"), "a ping request: {said:?}");
}

#[tokio::test]
async fn who_does_not_publish_in_time_is_dropped() {
    let house = House::open(Limits { preamble_ms: 50, ..limits() }, None).await;
    let mut client = Client::open(house.address).await;
    client.send(Script::new().handshake().connect("live")).await;
    client.read_to_end().await;
    let text = house.first_refusal().await.to_string();
    assert_eq!(text, "broken stream: not publishing 50 ms after connecting");
}

#[tokio::test]
async fn a_bitrate_beyond_the_limit_is_refused() {
    let limits = Limits { bits_per_second: 80_000, burst_ms: 1000, ..limits() };
    let house = House::open(limits, None).await;
    let mut client = Client::publishing(house.address, KEYS[0]).await;
    let mut script = Script::new();
    script
        .set_chunk_size(4096)
        .video(0, &body::avc_config())
        .video(0, &body::avc_frame(true, 0, &[1; 20_000]));
    client.send(&mut script).await;
    assert!(client.read_to_end().await.contains("faster than 80000 bit/s"));
    assert_eq!(house.first_refusal().await, Refusal::TooFast { bits_per_second: 80_000 });
}
