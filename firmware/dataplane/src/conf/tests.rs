//! Tests of the reader: one file that is good, and one line changed at a time.

use proptest::prelude::*;

use super::*;

const GOOD: &str = "\u{feff}# a box
[Interface]
PrivateKey = dwdtCnMYpX08FsFyUbJmRd9ML4frwJkqsXf7pR25LCo=
Address = 10.7.0.1/24, fd07::1/64 # ours
Address=10.8.0.1
ListenPort = 51820
MTU = 1380
DNS = 192.0.2.53
PostUp = iptables -A FORWARD

[peer]
publickey=3p7bfXt9wbTTW2HC7OQ1Nz+DQ8hbeGdNrfx+FG+IK08=
PresharedKey = AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=
AllowedIPs = 10.7.0.2/32, fd07::2/128
AllowedIPs = 10.9.1.2/16
Endpoint = [2001:db8::2]:51820
PersistentKeepalive = 25
";

fn shown(text: &str) -> String {
    match read(text) {
        Ok(conf) => format!("{} peers", conf.peers.len()),
        Err(error) => error.to_string(),
    }
}

#[test]
fn a_good_file_reads() {
    let conf = read(GOOD).expect("a good file");
    let addresses: Vec<_> =
        conf.addresses.iter().map(|(address, bits)| format!("{address}/{bits}")).collect();
    assert_eq!(addresses, ["10.7.0.1/24", "fd07::1/64", "10.8.0.1/32"]);
    assert_eq!((conf.listen_port, conf.mtu), (Some(51820), 1380));
    assert_eq!(conf.remarks.iter().map(|remark| remark.line).collect::<Vec<_>>(), [8, 9]);
    let peer = &conf.peers[0];
    let allowed: Vec<_> = peer.allowed_ips.iter().map(ToString::to_string).collect();
    assert_eq!(allowed, ["10.7.0.2/32", "fd07::2/128", "10.9.0.0/16"]);
    assert_eq!(peer.endpoint, Some(Endpoint::Address("[2001:db8::2]:51820".parse().expect("an address"))));
    assert_eq!(peer.keepalive, Some(Duration::from_secs(25)));
    assert_eq!(peer.preshared_key, Some(PresharedKey([0; 32])));
}

#[test]
fn every_mistake_has_its_line() {
    for (line, put, expected) in [
        (3, "PrivateKey = dwdtCnMYpX08FsFy", "line 3: PrivateKey: is no key: 44 letters of base64 are one"),
        (3, "", "line 2: this [Interface] has no PrivateKey"),
        (2, "[Interfaces]", "line 2: [Interfaces] is unknown: only [Interface] and [Peer] are"),
        (2, "", "line 3: stands before the first [Interface] or [Peer]"),
        (
            4,
            "Address = 10.7.0.1/33",
            "line 4: Address: \"10.7.0.1/33\" its length has to be a number from 0 to 32",
        ),
        (4, "Address = 10.7.0", "line 4: Address: \"10.7.0\" is no IP address"),
        (4, "Adress = 10.7.0.1", "line 4: Adress is unknown in [Interface]"),
        (4, "10.7.0.1", "line 4: neither `Key = Value` nor `[Section]`"),
        (6, "ListenPort = 65536", "line 6: ListenPort: \"65536\" is no port: a number from 0 to 65535"),
        (6, "MTU = 1400", "line 7: MTU stands twice in this section"),
        (7, "MTU = 100", "line 7: MTU: \"100\" is no MTU: a number from 576 to 9200"),
        (7, "MTU = 1000", "line 7: an MTU below 1280 carries no IPv6, but an address of IPv6 is given"),
        (10, "[Interface]", "line 10: a second [Interface]; the first is in line 2"),
        (12, "", "line 11: this [Peer] has no PublicKey"),
        (
            12,
            "PublicKey = hSDwCYkwp1R0i33ctD73Wg2/Og0mOBr066SpjqqbTmo=",
            "line 11: this peer's key is the interface's own",
        ),
        (
            15,
            "AllowedIPs = 10.9.1.2/",
            "line 15: AllowedIPs: \"10.9.1.2/\" its length has to be a number from 0 to 32",
        ),
        (
            17,
            "PersistentKeepalive = 1m",
            "line 17: PersistentKeepalive: \"1m\" is no time: seconds from 0 to 65535, or `off`",
        ),
    ] {
        let mut lines: Vec<&str> = GOOD.lines().collect();
        lines[line - 1] = put;
        assert_eq!(shown(&lines.join("\r\n")), expected);
    }
    assert_eq!(shown(""), "there is no [Interface]");
    assert_eq!(shown(&" ".repeat(FILE_BYTES_MAX + 1)), "the file is longer than 1048576 bytes");
}

#[test]
fn endpoints() {
    let read = |text| value::endpoint(text);
    assert_eq!(read("relay.example.org:51820"), Ok(Endpoint::Name("relay.example.org".into(), 51820)));
    assert!(matches!(read("192.0.2.1:1"), Ok(Endpoint::Address(_))));
    for bad in [
        "",
        "host",
        "host:",
        "host:0",
        "192.0.2.1:0",
        "192.0.2.1",
        "192.0.2.256:1",
        "2001:db8::1:51820",
        ":1",
        "a b:1",
        "host:+1",
        "[::1]:99999",
        ".:1",
    ] {
        assert!(read(bad).is_err(), "{bad}");
    }
}

#[test]
fn peers_may_not_share() {
    let peer = &GOOD[GOOD.find("[peer]").expect("a peer")..];
    assert_eq!(shown(&format!("{GOOD}{peer}")), "line 18: this peer's key is that of the peer in line 11");
    let other = peer.replace("3p7b", "4p7b");
    assert_eq!(
        shown(&format!("{GOOD}{other}")),
        "line 18: 10.7.0.2/32 belongs to the peer in line 11 already"
    );
    let many: String = (0..=PEERS_MAX).map(|_| "[Peer]\n").collect();
    assert_eq!(shown(&many), "line 257: more than 256 peers");
}

#[test]
fn an_error_shows_no_key() {
    let text = GOOD.replace("LCo=", "LC");
    assert!(!shown(&text).contains("dwdt"), "{}", shown(&text));
    assert!(!format!("{:?}", read(GOOD)).contains("dwdt"));
}

proptest! {
    #[test]
    fn nothing_panics(cuts in proptest::collection::vec((0_usize..600, ".{0,6}"), 0..6)) {
        let mut text = GOOD.to_owned();
        for (at, put) in cuts {
            let at = (0..=at.min(text.len())).rev().find(|at| text.is_char_boundary(*at)).unwrap_or(0);
            text.insert_str(at, &put);
        }
        let _ = read(&text);
    }
}
