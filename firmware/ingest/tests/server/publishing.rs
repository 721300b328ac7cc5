//! Publishing, being refused, and being taken over.

use ingest::script::{Script, body};
use ingest::{CloseReason, Limits, Refusal};
use stream::TrackKind;

use crate::client::Client;
use crate::recorder::{House, KEYS};

/// No test waits out the delay that blunts guessing, nor a second for a peer that lingers.
pub(crate) fn limits() -> Limits {
    Limits { refusal_ms: 1, linger_ms: 100, wrong_attempts_per_minute: 3, ..Limits::default() }
}

#[tokio::test]
async fn a_publication_is_recorded_from_open_to_goodbye() {
    let house = House::open(limits(), None).await;
    let mut client = Client::publishing(house.address, KEYS[0]).await;
    let mut script = Script::new();
    script.set_chunk_size(4096).metadata("script", 640.0, 360.0, 25.0);
    script.video(0, &body::avc_config()).audio(0, &body::aac_config());
    script.video(0, &body::avc_frame(true, 80, &[1; 5000])).audio(3, &body::aac_frame(&[2; 50]));
    script.video(40, &body::avc_frame(false, -34, &[3; 500])).call("FCUnpublish", 7.0);
    client.send(&mut script).await;
    assert_eq!(house.closed(1).await, [(KEYS[0], CloseReason::Finished)]);
    let units = house
        .until("units", |record| {
            let units = record.units.iter();
            Some(
                units
                    .map(|unit| (unit.kind, unit.stamp_ms, unit.composition_ms, unit.keyframe))
                    .collect::<Vec<_>>(),
            )
        })
        .await;
    let expected =
        [(TrackKind::Video, 0, 80, true), (TrackKind::Audio, 3, 0, true), (TrackKind::Video, 40, -34, false)];
    assert_eq!(units, expected);
    assert!(client.read_to_end().await.contains("NetStream.Unpublish.Success"));
}

#[tokio::test]
async fn a_wrong_key_is_told_and_the_connection_closed() {
    let house = House::open(limits(), None).await;
    let mut client = Client::open(house.address).await;
    // Media right behind the question must not cost the publisher the answer.
    let mut script = Script::publisher("live", "guess");
    client.send(script.video(0, &[7; 20_000])).await;
    let said = client.read_to_end().await;
    assert!(said.contains("NetStream.Publish.BadName") && said.contains("wrong stream key"), "{said:?}");
    assert_eq!(house.first_refusal().await, Refusal::WrongKey);
    assert_eq!(house.until("nothing", |record| Some(record.opened.len())).await, 0);
}

#[tokio::test]
async fn an_unknown_application_is_rejected_at_connect() {
    let house = House::open(limits(), None).await;
    let mut client = Client::open(house.address).await;
    client.send(Script::new().handshake().connect("vod")).await;
    let said = client.read_to_end().await;
    assert!(said.contains("_error") && said.contains("NetConnection.Connect.Rejected"), "{said:?}");
    assert_eq!(house.first_refusal().await, Refusal::UnknownApplication);
}

#[tokio::test]
async fn an_unsupported_codec_ends_a_publication() {
    let house = House::open(limits(), None).await;
    let mut client = Client::publishing(house.address, KEYS[0]).await;
    client.send(Script::new().audio(0, b"\x2f\xff\xfb\x90")).await;
    let said = client.read_to_end().await;
    assert!(said.contains("unsupported codec: MP3 audio: set the encoder to AAC"), "{said:?}");
    let refusal = Refusal::UnsupportedCodec("MP3 audio: set the encoder to AAC".into());
    assert_eq!(house.first_refusal().await, refusal);
    assert_eq!(house.closed(1).await, [(KEYS[0], CloseReason::Refused(refusal))]);
}

#[tokio::test]
async fn the_same_key_takes_over_a_half_open_connection() {
    let limits = limits();
    let house = House::open(limits, None).await;
    let mut older = Client::publishing(house.address, KEYS[0]).await;
    let mut script = Script::new();
    older.send(script.video(0, &body::avc_config()).video(0, &body::avc_frame(true, 0, &[1]))).await;
    house.until("first unit", |record| (!record.units.is_empty()).then_some(())).await;

    let mut younger = Client::publishing(house.address, KEYS[0]).await;
    assert_eq!(house.closed(1).await, [(KEYS[0], CloseReason::TakenOver)]);
    assert!(older.read_to_end().await.contains("took over"));
    younger.send(script.video(0, &body::avc_config()).video(7, &body::avc_frame(true, 0, &[1]))).await;
    house.until("second unit", |record| (record.units.len() == 2).then_some(())).await;
    drop(younger);
    assert_eq!(house.closed(2).await[1], (KEYS[0], CloseReason::Disconnected));
}

#[tokio::test]
async fn a_server_that_ends_closes_its_publications() {
    let house = House::open(limits(), None).await;
    let _client = Client::publishing(house.address, KEYS[0]).await;
    house.shut_down();
    assert_eq!(house.closed(1).await, [(KEYS[0], CloseReason::ShuttingDown)]);
}

#[tokio::test]
async fn another_protocol_on_the_port_is_named() {
    let house = House::open(limits(), None).await;
    let mut client = Client::open(house.address).await;
    client.send(Script::new().raw(b"\x16\x03\x01\x02\0")).await;
    client.read_to_end().await;
    let text = house.first_refusal().await.to_string();
    assert_eq!(
        text,
        "broken stream: handshake failed: TLS on the port for plain RTMP: use the rtmps address"
    );
}
