//! Viewers of the watch page: which boxes they are led to, and what the page's door does not do.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use trust::{Access, BoxKey, StreamSecret};
use wire::heartbeat::StreamReport;

use crate::client::ask;
use crate::hand::{Hand, now};
use crate::house::{House, read};

fn report(owner: BoxKey, access: Access) -> StreamReport {
    let name = "demo".parse().unwrap();
    let key = Some(StreamSecret::from_seed(&[7; 32]).public());
    StreamReport { name, owner, live_since: now(), bitrate_bps: 4_000_000, viewers: 0, access, key }
}

fn says(house: &House, hand: &Hand, owner: BoxKey, access: Access, url: &str) -> wire::HeartbeatResponse {
    let mut beat = hand.heartbeat(&[]);
    beat.streams = vec![report(owner, access)].try_into().unwrap();
    beat.watch = vec![url.parse().unwrap()].try_into().unwrap();
    hand.post(house, wire::path::HEARTBEAT, &beat)
}

/// On the viewers' own door, which is plain.
fn plain(at: SocketAddr, target: &str) -> (u16, String) {
    let mut stream = TcpStream::connect(at).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    let request = format!("GET {target} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).unwrap();
    let mut answer = String::new();
    let _ = stream.read_to_string(&mut answer);
    (answer.split(' ').nth(1).and_then(|status| status.parse().ok()).unwrap_or(0), answer)
}

#[test]
fn viewers_are_led_to_boxes_that_carry_the_stream() {
    let house = House::running("leading");
    let (ana, bob) = (Hand::join(&house, "ana", 1), Hand::join(&house, "bob", 2));
    let at = house.address();
    assert_eq!(ask(at, "GET", "/watch/demo/boxes.json", "", b"").0, 404);
    says(&house, &ana, ana.key(), Access::Open, "http://127.0.0.1:8081");
    says(&house, &bob, ana.key(), Access::Open, "https://bob.example.org");

    let (status, _, body) = ask(at, "GET", "/watch/demo/boxes.json", "", b"");
    let view: serde_json::Value = serde_json::from_str(&body).unwrap();
    assert_eq!((status, view["name"].as_str()), (200, Some("demo")), "{body}");
    // The origin gives way to who carries for it.
    let names: Vec<_> = view["boxes"].as_array().unwrap().iter().map(|view| view["id"].clone()).collect();
    assert_eq!(names, ["bob", "ana"]);
    assert_eq!(view["boxes"][1]["urls"][0], "http://127.0.0.1:8081");
    let key = serde_json::to_value(StreamSecret::from_seed(&[7; 32]).public()).unwrap();
    assert_eq!(view["key"], key);

    let (status, head, text) = ask(at, "GET", "/watch/demo/index.m3u8", "", b"");
    assert_eq!(status, 200);
    assert!(head.to_ascii_lowercase().contains("access-control-allow-origin: *"), "{head}");
    let expected = "#EXTM3U\n#EXT-X-VERSION:9\n#EXT-X-INDEPENDENT-SEGMENTS\n\
        #EXT-X-CONTENT-STEERING:SERVER-URI=\"steering.json\",PATHWAY-ID=\"bob\"\n\
        #EXT-X-STREAM-INF:BANDWIDTH=6000000,AVERAGE-BANDWIDTH=4000000,PATHWAY-ID=\"bob\"\n\
        https://bob.example.org/live/demo/media.m3u8\n\
        #EXT-X-STREAM-INF:BANDWIDTH=6000000,AVERAGE-BANDWIDTH=4000000,PATHWAY-ID=\"ana\"\n\
        http://127.0.0.1:8081/live/demo/media.m3u8\n";
    assert_eq!(text, expected);
    let (_, _, text) = ask(at, "GET", "/watch/demo/steering.json", "", b"");
    let steering: serde_json::Value = serde_json::from_str(&text).unwrap();
    assert_eq!((steering["VERSION"].as_u64(), steering["TTL"].as_u64()), (Some(1), Some(10)));
    assert_eq!(steering["PATHWAY-PRIORITY"], serde_json::json!(["bob", "ana"]));

    let (status, head, page) = ask(at, "GET", "/watch/demo", "", b"");
    assert!(status == 200 && page.contains("/assets/watch-"), "{page}");
    assert!(head.contains("default-src 'none'") && !head.contains("unsafe"), "{head}");
    let script = page.split('"').find(|part| part.starts_with("/assets/") && part.ends_with(".js")).unwrap();
    let (status, head, _) = ask(at, "GET", script, "", b"");
    assert!(status == 200 && head.contains("immutable"), "{head}");
    for nothing in ["/assets/none.js", "/watch/", "/watch/a.b/boxes.json", "/watch/other/boxes.json"] {
        assert_eq!(ask(at, "GET", nothing, "", b"").0, 404, "{nothing}");
    }
}

#[test]
fn who_may_not_watch_is_told_so_and_not_where() {
    let house = House::running("access");
    let ana = Hand::join(&house, "ana", 1);
    let at = house.address();
    let boxes = |target: &str, fields: &str| {
        let (status, _, body) = ask(at, "GET", target, fields, b"");
        (status, body)
    };
    says(&house, &ana, ana.key(), Access::Link, "https://ana.example.org");
    for rest in ["boxes.json", "steering.json", "index.m3u8"] {
        let (status, body) = boxes(&format!("/watch/demo/{rest}"), "");
        assert!(status == 403 && body.contains("by link") && !body.contains("ana.example"), "{body}");
        let (status, _) = boxes(&format!("/t/some-token_1/watch/demo/{rest}"), "");
        assert_eq!(status, 200, "{rest}");
    }
    let (_, body) = boxes("/t/some-token_1/watch/demo/index.m3u8", "");
    assert!(body.contains("https://ana.example.org/t/some-token_1/live/demo/media.m3u8"), "{body}");
    let (status, body) = boxes("/t/some%0atoken/watch/demo/index.m3u8", "");
    assert!(status == 404 && !body.contains("EXTM3U"), "{body}");

    says(&house, &ana, ana.key(), Access::Mesh, "https://ana.example.org");
    assert!(boxes("/watch/demo/boxes.json", "").1.contains("ana.example.org"), "at home");
    let (status, body) = boxes("/watch/demo/boxes.json", "X-Forwarded-For: 192.0.2.1\r\n");
    assert!(status == 200 && !body.contains("ana.example.org"), "{body}");
}

#[test]
fn viewers_have_a_door_of_their_own() {
    let mut house = House::made("door");
    house.start_with(&["--watch", "127.0.0.1:0", "--watch-url", "http://watch.example.org"]);
    let ana = Hand::join(&house, "ana", 1);
    let told = says(&house, &ana, ana.key(), Access::Open, "http://127.0.0.1:8081");
    assert_eq!(told.watch, Some("http://watch.example.org".parse().unwrap()));
    let at: SocketAddr = read(&house.data_dir().join("watch")).trim().parse().unwrap();
    let (status, answer) = plain(at, "/watch/demo/boxes.json");
    assert!(status == 200 && answer.contains("127.0.0.1:8081"), "{answer}");
    assert_eq!(plain(at, "/watch/demo").0, 200);
    for closed in ["/operator", "/api/v1/operator/boxes", "/api/v1/openapi.json", "/problems/invite-used"] {
        assert_eq!(plain(at, closed).0, 404, "{closed}");
    }
}
