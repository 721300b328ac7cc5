//! Viewers with the ordinary WireGuard app: the operator's tool prints a configuration, and the gateway learns of it by
//! the root's word.

use data_encoding::BASE64;
use trust::{MeshPrefix, Revoked, RootKey, Signed, Ticket, Viewer};
use wire::Frame;

use crate::client::ask;
use crate::hand::Hand;
use crate::house::{House, text, wait_for};
use crate::pushing::Ear;

fn root(house: &House) -> RootKey {
    Ticket::parse(&house.invite("nobody", &[])).unwrap().root
}

fn field<'a>(conf: &'a str, name: &str) -> &'a str {
    let line = conf.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(" = "));
    line.unwrap_or_else(|| panic!("no {name} in {conf}"))
}

fn viewer(house: &House, name: &str, more: &[&str]) -> String {
    let rest = [&["--viewer", "--name", name, "--gateway", "ana", "--quiet"], more].concat();
    let made = house.operate(&["invite"], &rest);
    assert!(made.status.success(), "{}", text(&made));
    String::from_utf8(made.stdout).unwrap()
}

fn next_viewers(ear: &mut Ear) -> Vec<Signed<Viewer>> {
    loop {
        if let Frame::Viewers { entries } = ear.next() {
            return entries.to_vec();
        }
    }
}

#[test]
fn a_viewer_gets_a_configuration_and_its_gateway_the_roots_word() {
    let house = House::running("viewer");
    let (ana, root) = (Hand::join(&house, "ana", 1), root(&house));
    ana.beat(&house, &["192.168.1.5:51820", "[fd00::5]:51820", "198.51.100.7:51820"]);
    let mut ear = Ear::open(&house, &ana);
    let conf = viewer(&house, "ana-phone", &[]);
    let entries = next_viewers(&mut ear);
    let [entry] = &entries[..] else { panic!("{entries:?}") };
    let told = entry.verify(&ana.mesh, &root).unwrap();
    assert_eq!((told.name.as_str(), told.gateway), ("ana-phone", ana.key()));

    let private: [u8; 32] = BASE64.decode(field(&conf, "PrivateKey").as_bytes()).unwrap().try_into().unwrap();
    let public = x25519_dalek::x25519(private, x25519_dalek::X25519_BASEPOINT_BYTES);
    assert_eq!(told.key.as_bytes(), &public, "of the key that was printed");
    // The key of a box by hand is made of its seed.
    assert_eq!(field(&conf, "PublicKey"), BASE64.encode(&[1; 32]));
    assert_eq!(field(&conf, "Endpoint"), "198.51.100.7:51820", "the one that is reached from outside");
    let first = MeshPrefix::of(&ana.mesh).nth(0);
    assert_eq!(field(&conf, "Address"), format!("{}/32, {first}/128", told.address_v4));
    assert_eq!(field(&conf, "AllowedIPs"), format!("{}/32, {}/128", told.gateway_v4, ana.address()));

    let second =
        viewer(&house, "ana-laptop", &["--prefix", "192.168.200.0/24", "--endpoint", "[2001:db8::1]:9"]);
    assert_eq!(field(&second, "Endpoint"), "[2001:db8::1]:9");
    let next = MeshPrefix::of(&ana.mesh).nth(1);
    assert_eq!(field(&second, "Address"), format!("192.168.200.3/32, {next}/128"));
    assert!(field(&second, "AllowedIPs").starts_with("192.168.200.1/32, "), "{second}");
    assert_eq!(next_viewers(&mut ear).len(), 2);

    let (_, _, page) = ask(house.address(), "GET", "/operator", "", b"");
    assert!(
        page.contains("<h2>Viewers</h2>") && page.contains("ana-phone") && page.contains("<td>ana<"),
        "{page}"
    );
    assert!(!page.contains(field(&conf, "PrivateKey")));
    let list = text(&house.look(&["box", "list"], &[]));
    assert!(list.contains("viewer ana-phone through ana, until "), "{list}");

    let revoked = house.operate(&["box", "revoke"], &["ana-phone"]);
    assert!(revoked.status.success(), "{}", text(&revoked));
    let id = told.id();
    let target = loop {
        if let Frame::Revocations { entries } = ear.next() {
            break entries.last().unwrap().claims().target;
        }
    };
    assert_eq!(target, Revoked::Invite(id));
    ear = Ear::open(&house, &ana);
    assert_eq!(
        next_viewers(&mut ear)[0].claims().name.as_str(),
        "ana-laptop",
        "the revoked one is not told any more"
    );
    // Its name is free again, its addresses are not.
    let third = viewer(&house, "ana-phone", &[]);
    let third_address = MeshPrefix::of(&ana.mesh).nth(2);
    assert!(field(&third, "Address").ends_with(&format!("{third_address}/128")), "{third}");
}

#[test]
fn what_can_be_no_viewer_is_said() {
    let house = House::running("no-viewer");
    let ana = Hand::join(&house, "ana", 1);
    let check = |rest: &[&str], why: &str| {
        let end = house.operate(&["invite"], &[&["--viewer"], rest].concat());
        assert!(!end.status.success() && text(&end).contains(why), "{rest:?}: {}", text(&end));
    };
    check(&["--name", "tv", "--gateway", "bob"], "no box is called bob");
    check(&["--name", "tv", "--gateway", "ana"], "say where the viewer finds it with --endpoint");
    check(&["--name", "tv"], "--gateway <BOX>");
    ana.beat(&house, &["198.51.100.7:51820"]);
    wait_for("ana's address", || {
        let made = house.operate(&["invite"], &["--viewer", "--name", "tv", "--gateway", "ana"]);
        assert!(made.status.success(), "{}", text(&made));
        // The QR code, and what to do with it.
        assert!(
            text(&made).contains('\u{2580}') && text(&made).contains("In the WireGuard app"),
            "{}",
            text(&made)
        );
        Some(())
    });
    check(&["--name", "tv", "--gateway", "ana"], "a viewer is called tv");
    check(&["--name", "ana", "--gateway", "ana"], "a box is called ana");
    check(&["--name", "two", "--gateway", "ana", "--prefix", "8.8.8.0/24"], "not a private IPv4 network");
    check(&["--name", "two", "--gateway", "ana", "--expires", "367d"], "at most 366 days");
    check(&["--name", "two", "--gateway", "ana", "--boxes", "2"], "cannot be used with");
    let small = ["--gateway", "ana", "--prefix", "10.9.8.0/29", "--quiet", "--viewer"];
    for n in 0..4 {
        let made = house.operate(&["invite"], &[&["--name", &format!("many-{n}")], &small[..]].concat());
        assert!(made.status.success(), "{}", text(&made));
    }
    check(&[&["--name", "many-4"], &small[..5]].concat(), "10.9.8.0/29 has no address left");
    assert!(house.operate(&["box", "revoke"], &["ana"]).status.success());
    check(&["--name", "two", "--gateway", "ana"], "ana is revoked");
}
