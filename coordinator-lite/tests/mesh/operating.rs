//! The operator: making a mesh, looking at it, and who else may not.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;

use trust::BoxSecret;
use wire::heartbeat::{PathKind, PeerPath};

use crate::client::ask;
use crate::hand::Hand;
use crate::house::{House, read, text, wait_for};

#[test]
fn a_mesh_is_made_once() {
    let house = House::made("once");
    let key = house.root_dir().join("root.key");
    assert_eq!(fs::metadata(&key).unwrap().permissions().mode() & 0o777, 0o600);
    let before = (read(&key), read(&house.data_dir().join("mesh.json")));
    let again = house.operate(&["init"], &[]);
    assert!(again.status.success() && text(&again).contains("Nothing was changed"), "{}", text(&again));
    assert_eq!((read(&key), read(&house.data_dir().join("mesh.json"))), before);
    fs::rename(&key, house.dir.join("elsewhere")).unwrap();
    let lost = house.operate(&["init"], &[]);
    assert!(!lost.status.success() && text(&lost).contains("nothing was changed"), "{}", text(&lost));
    assert!(!key.exists(), "no second root is made for a mesh that has one");
    let no_root = house.operate(&["invite"], &["--name", "ana"]);
    assert!(text(&no_root).contains("there is no root key"), "{}", text(&no_root));
}

#[test]
fn a_service_without_a_mesh_says_how_to_make_one() {
    let house = House::made("none");
    let end = std::process::Command::new(env!("CARGO_BIN_EXE_coordinator-lite"))
        .args(["serve", "--data-dir"])
        .arg(house.dir.join("empty"))
        .output()
        .unwrap();
    assert!(!end.status.success() && text(&end).contains("coordinator-lite init"), "{}", text(&end));
}

#[test]
fn the_operator_sees_boxes_and_strangers_do_not() {
    let house = House::running("page");
    house.joined("ana");
    let mut ana = house.run("ana");
    ana.wait_for_log("a map came");
    let at = house.address();
    wait_for("ana's heartbeat", || {
        let (_, _, body) = ask(at, "GET", "/api/v1/operator/boxes", "", b"");
        let view: serde_json::Value = serde_json::from_str(&body).ok()?;
        let ana = &view["boxes"][0];
        let there = ana["name"] == "ana" && ana["connected"] == true && ana["heartbeat"]["boot"] == 2;
        (there && ana["uptime"]["days_7_milli"].is_u64()).then_some(())
    });
    let (status, _, page) = ask(at, "GET", "/operator", "", b"");
    assert!(status == 200 && page.contains("connected") && page.contains(">ana</a>"), "{page}");
    let token = read(&house.data_dir().join("operator-token"));
    let bearer = format!("Authorization: Bearer {}\r\n", token.trim());
    let elsewhere = "Host: coordinator.example.org\r\n";
    let check = |fields: &str, expected: u16| {
        let (status, head, _) = ask(at, "GET", "/api/v1/operator/boxes", fields, b"");
        assert_eq!(status, expected, "{fields}: {head}");
    };
    check("", 200);
    check(elsewhere, 401);
    check("X-Forwarded-For: 192.0.2.1\r\n", 401);
    check("Authorization: Bearer wrong\r\n", 401);
    check(&format!("{elsewhere}{bearer}"), 200);
    let (status, _, page) = ask(at, "GET", "/operator", elsewhere, b"");
    assert!(status == 200 && page.contains("data-locked") && !page.contains("ana"), "{page}");
    let (status, _, problem) = ask(at, "GET", "/problems/invite-used", "", b"");
    assert!(status == 200 && problem.contains("Ask whoever runs the mesh for another invite"), "{problem}");
}

#[test]
fn the_operator_sees_how_boxes_reach_each_other() {
    let house = House::running("paths");
    let (ana, bob) = (Hand::join(&house, "ana", 1), Hand::join(&house, "bob", 2));
    let mut beat = ana.heartbeat(&["192.0.2.1:51820"]);
    let path = PeerPath {
        peer: bob.key(),
        kind: PathKind::Direct,
        endpoint: Some(trust::Endpoint::new("198.51.100.7:41641".parse().unwrap()).unwrap()),
        round_trip_ms: Some(23),
        handshake_age_s: Some(119),
        sent_bytes: 1_500_000,
        received_bytes: 12_340_000_000,
    };
    let nobody = BoxSecret::from_seed(&[77; 32]).public();
    let lost = PeerPath { peer: nobody, kind: PathKind::None, ..path.clone() };
    beat.paths = vec![path, lost].try_into().unwrap();
    assert_eq!(ana.try_beat(&house, &beat).0, 200);
    let at = house.address();
    wait_for("a share of a connection's time", || {
        ana.try_beat(&house, &beat);
        let (status, _, body) = ask(at, "GET", "/api/v1/operator/box?name=bob", "", b"");
        assert_eq!(status, 200, "{body}");
        let view: serde_json::Value = serde_json::from_str(&body).unwrap();
        assert!(view["box"]["name"] == "bob" && view["connections"][0]["name"] == "ana", "{view}");
        assert!(view["connections"][0]["path"].is_null(), "bob told nothing: {view}");
        let milli = &view["connections"][0]["uptime"]["days_7_milli"];
        (milli.as_u64().unwrap() > 0).then_some(())
    });
    let (_, _, body) = ask(at, "GET", "/api/v1/operator/box?name=ana", "", b"");
    let view: serde_json::Value = serde_json::from_str(&body).unwrap();
    let connections = view["connections"].as_array().unwrap();
    let known = connections.iter().find(|connection| connection["name"] == "bob").unwrap();
    assert_eq!(known["path"]["round_trip_ms"], 23, "{view}");
    let (status, _, page) = ask(at, "GET", "/operator/box?name=ana", "", b"");
    assert_eq!(status, 200);
    for told in ["direct", "198.51.100.7:41641", "23 ms", "119 s ago", "1.5 MB", "12340.0 MB", "not reached"]
    {
        assert!(page.contains(&format!("\">{told}")), "{told}: {page}");
    }
    let elsewhere = "Host: coordinator.example.org\r\n";
    assert_eq!(ask(at, "GET", "/api/v1/operator/box?name=ana", elsewhere, b"").0, 401);
    let (_, _, locked) = ask(at, "GET", "/operator/box?name=ana", elsewhere, b"");
    assert!(locked.contains("data-locked") && !locked.contains("198.51"), "{locked}");
    assert_eq!(ask(at, "GET", "/api/v1/operator/box?name=carl", "", b"").0, 404);
    assert_eq!(ask(at, "GET", "/operator/box?name=%3Cscript%3E", "", b"").0, 400);
}

#[test]
fn what_is_not_signed_by_a_member_is_refused_in_words() {
    let house = House::running("unsigned");
    let at = house.address();
    let check = |method: &str, target: &str, code: &str| {
        let (_, head, body) = ask(at, method, target, "", b"");
        let problem: serde_json::Value =
            serde_json::from_str(&body).unwrap_or_else(|e| panic!("{e}: {body}"));
        assert_eq!(problem["code"], code, "{method} {target}: {body}");
        assert!(problem["what_to_do"].as_str().unwrap().ends_with('.'));
        assert!(head.to_ascii_lowercase().contains("content-type: application/problem+json"), "{head}");
    };
    check("POST", "/api/v1/heartbeat", "request-forged");
    check("GET", "/api/v1/push", "request-forged");
    check("GET", "/api/v1/box?name=ana", "request-forged");
    check("GET", "/api/v1/nothing", "not-found");
    check("DELETE", "/api/v1/enrol", "method-not-allowed");
    check("POST", "/api/v1/time", "malformed");
}

#[test]
fn doctor_finds_what_is_wrong() {
    let mut house = House::running("doctor");
    let well = house.look(&["doctor"], &[]);
    assert!(well.status.success() && text(&well).contains("All is well."), "{}", text(&well));
    assert!(text(&well).contains("ok    relay: takes members, and nobody else"), "{}", text(&well));
    let ports = read(&house.data_dir().join("stun")).replace('\n', " ");
    let ports = ports.trim().replace(' ', " and ");
    assert!(text(&well).contains(&format!("ok    STUN: UDP {ports} at 127.0.0.1")), "{}", text(&well));
    fs::copy(house.root_dir().join("root.key"), house.data_dir().join("root.key")).unwrap();
    house.kill();
    let ill = house.look(&["doctor"], &[]);
    assert!(!ill.status.success(), "{}", text(&ill));
    assert!(text(&ill).contains("the root's key lies in the service's directory"), "{}", text(&ill));
    assert!(text(&ill).contains("BAD   reachable"), "{}", text(&ill));
    assert!(text(&ill).contains("4 to mend."), "{}", text(&ill));
    assert!(
        text(&ill).contains("BAD   relay: ") && text(&ill).contains("open it in the firewall"),
        "{}",
        text(&ill)
    );
}

#[test]
fn the_root_vouches_again() {
    let mut house = House::running("certify");
    house.joined("ana");
    let certified = house.operate(&["certify"], &[]);
    assert!(certified.status.success() && text(&certified).contains("serial 2"), "{}", text(&certified));
    house.kill();
    house.start();
    house.joined("bob");
    let mut ana = house.run("ana");
    ana.wait_for_log("a map came");
}
