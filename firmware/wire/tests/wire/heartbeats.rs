//! The heartbeat, as it stands on the line.

use trust::map::MapEpoch;
use trust::*;
use wire::heartbeat::{PathKind, PeerPath, StreamReport};
use wire::{Code, Heartbeat, HeartbeatResponse};

use crate::mesh::{Mesh, NOW, list};
use crate::strictness;

fn heartbeat() -> Heartbeat {
    let mesh = Mesh::new(1);
    let (peer, owner) = (mesh.join(1).key(), mesh.join(2).key());
    Heartbeat {
        version: "0.1.0".parse().unwrap(),
        board: "rpi5".parse().unwrap(),
        uptime_s: 86_400,
        boot: 3,
        load_milli: 250,
        temperature_milli_c: Some(48_500),
        map_epoch: Some(MapEpoch(9)),
        revocations: Revocations::new().digest(),
        endpoints: list(vec![]),
        paths: list(vec![PeerPath {
            peer,
            kind: PathKind::Direct,
            endpoint: Some(Endpoint::new("192.0.2.7:51820".parse().unwrap()).unwrap()),
            round_trip_ms: Some(12),
            handshake_age_s: Some(61),
            sent_bytes: 1000,
            received_bytes: 2000,
        }]),
        streams: list(vec![StreamReport {
            name: "ana-live".parse().unwrap(),
            owner,
            live_since: NOW,
            bitrate_bps: 6_000_000,
            viewers: 2,
            access: Access::Mesh,
            key: Some(StreamSecret::from_seed(&[3; 32]).public()),
        }]),
        watch: list(vec!["http://192.168.1.7:8080".parse().unwrap()]),
    }
}

#[test]
fn a_heartbeat_has_its_fields() {
    strictness::check(&heartbeat(), &["temperature_milli_c", "map_epoch", "watch"]);
    strictness::check(&heartbeat().paths[0], &["endpoint", "round_trip_ms", "handshake_age_s"]);
    strictness::check(&heartbeat().streams[0], &["access", "key"]);
    let json = serde_json::to_value(heartbeat()).unwrap();
    assert_eq!(json["paths"][0]["kind"], "direct");
    assert_eq!(json["paths"][0]["endpoint"], "192.0.2.7:51820");
    assert_eq!(json["streams"][0]["live_since"], 1_800_000_000);
    assert_eq!(json["temperature_milli_c"], 48_500);
}

#[test]
fn a_path_of_a_later_kind_is_read() {
    let mut json = serde_json::to_value(heartbeat()).unwrap();
    json["paths"][0]["kind"] = "by-pigeon".into();
    let read: Heartbeat = serde_json::from_value(json).unwrap();
    assert_eq!(read.paths[0].kind, PathKind::Other);
}

#[test]
fn more_peers_than_a_map_has_are_refused() {
    let mut json = serde_json::to_value(heartbeat()).unwrap();
    let path = json["paths"][0].clone();
    json["paths"] = vec![path.clone(); 256].into();
    assert!(serde_json::from_value::<Heartbeat>(json.clone()).is_ok());
    json["paths"] = vec![path; 257].into();
    assert!(serde_json::from_value::<Heartbeat>(json).is_err());
}

#[test]
fn an_answer_has_its_fields() {
    let answer = HeartbeatResponse {
        now: NOW,
        map_epoch: MapEpoch(9),
        revocations: Revocations::new().digest(),
        next_s: 15,
        notices: list(vec![Code::StreamTaken]),
        stun_ports: list(vec![3478, 3479]),
        watch: Some("https://watch.example.org".parse().unwrap()),
    };
    strictness::check(&answer, &["stun_ports", "watch"]);
    let mut json = serde_json::to_value(&answer).unwrap();
    assert_eq!(json["stun_ports"], serde_json::json!([3478, 3479]));
    assert_eq!(json["notices"][0], "stream-taken");
    json["notices"] = vec!["of-a-later-version"].into();
    assert_eq!(serde_json::from_value::<HeartbeatResponse>(json).unwrap().notices[0], Code::Other);
}
