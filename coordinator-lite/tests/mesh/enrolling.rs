//! Coming in: the good way, and every bad one with its message.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::process::Stdio;

use trust::ticket::TlsPin;
use trust::{Name, RootSecret, Ticket};

use crate::house::{House, read, text, wait_for};

#[test]
fn a_box_comes_in_and_may_ask_again() {
    let house = House::running("joins");
    let invite = house.invite("ana", &[]);
    let first = house.join("ana", &invite, &[]);
    assert!(first.status.success(), "{}", text(&first));
    assert!(text(&first).contains("Joined as ana."), "{}", text(&first));
    let mesh = house.box_dir("ana").join("mesh");
    for secret in ["identity.key", "wireguard.key", "mesh.json"] {
        let mode = fs::metadata(mesh.join(secret)).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600, "{secret}");
    }
    let seed = Ticket::parse(&invite).unwrap().seed;
    assert!(!read(&mesh.join("mesh.json")).contains(&format!("{:?}", seed.0)), "the seed is thrown away");
    let before = read(&mesh.join("mesh.json"));
    let again = house.join("ana", &invite, &[]);
    assert!(again.status.success() && text(&again).contains("Nothing was changed"), "{}", text(&again));
    assert_eq!(read(&mesh.join("mesh.json")), before);
    // As if the answer had been lost: the coordinator knows the box.
    fs::remove_file(mesh.join("mesh.json")).unwrap();
    let lost = house.join("ana", &invite, &[]);
    assert!(lost.status.success(), "{}", text(&lost));
    let status = house.status("ana");
    assert!(status.contains("name         ana\n") && status.contains("good until"), "{status}");
    let list = text(&house.look(&["box", "list"], &[]));
    assert_eq!(list.lines().filter(|line| line.starts_with("ana ")).count(), 1, "{list}");
}

#[test]
fn of_twenty_that_come_by_one_invite_one_gets_in() {
    let house = House::running("race");
    let invite = house.invite("ana", &[]);
    let racers: Vec<_> = (0..20)
        .map(|n| {
            let mut racer = house.joining(&format!("racer-{n}"), &invite, &["--name", &format!("ana-{n}")]);
            racer.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
        })
        .collect();
    let ends: Vec<_> = racers.into_iter().map(|racer| racer.wait_with_output().unwrap()).collect();
    let (won, lost): (Vec<_>, Vec<_>) = ends.iter().partition(|end| end.status.success());
    assert_eq!(won.len(), 1, "{}", house.log());
    for end in lost {
        assert!(text(end).contains("The invite has been used"), "{}", text(end));
        assert!(text(end).contains("Ask whoever runs the mesh for another invite"), "{}", text(end));
    }
    let list = text(&house.look(&["box", "list"], &[]));
    assert_eq!(list.lines().filter(|line| line.starts_with("ana-")).count(), 1, "{list}");
}

#[test]
fn a_friend_who_signs_two_boxes_with_one_invite_adds_one() {
    let house = House::running("two");
    let invite = house.invite("ana", &[]);
    let first = house.join("one", &invite, &[]);
    assert!(first.status.success(), "{}", text(&first));
    let second = house.join("two", &invite, &["--name", "ana-attic"]);
    assert!(!second.status.success());
    assert!(text(&second).contains("The invite has been used: the invite for `ana`"), "{}", text(&second));
    assert!(house.status("two").contains("belongs to no mesh"));
}

fn refused(house: &House, as_box: &str, invite: &str, rest: &[&str], expected: &[&str]) {
    let end = house.join(as_box, invite, rest);
    assert!(!end.status.success(), "{}", text(&end));
    for part in expected {
        assert!(text(&end).contains(part), "`{part}` is not in: {}", text(&end));
    }
}

#[test]
fn a_bad_invite_is_told_before_anybody_is_asked() {
    // Nothing runs: what is said here is said offline.
    let house = House::made("offline");
    let url = ["--url", "https://127.0.0.1:1"];
    let invite = house.invite("ana", &url);
    refused(&house, "a", "hello", &[], &["this is not an invite: one begins with RELAYBOX"]);
    refused(
        &house,
        "a",
        &invite[..invite.len() - 9],
        &[],
        &["characters are missing", "Copy the whole line again"],
    );
    let mut typed = invite.clone().into_bytes();
    typed[40] = if typed[40] == b'A' { b'B' } else { b'A' };
    let typed = String::from_utf8(typed).unwrap();
    refused(&house, "a", &typed, &[], &["the invite is mistyped", "Copy the whole line again"]);
    let ticket = Ticket::parse(&invite).unwrap();
    let forged = Ticket { root: RootSecret::from_seed(&[7; 32]).public(), ..ticket };
    refused(&house, "a", &forged.text(), &[], &["not made by the mesh that it names", "Do not use it"]);
    refused(&house, "a", &invite, &[], &["can't be reached", "The invite was not used"]);
}

#[test]
fn a_clock_that_is_ahead_expires_no_invite() {
    let house = House::running("expired");
    let invite = house.invite("ana", &["--expires", "1m"]);
    // A board that believes it is next week is put right by the signed time.
    let late = house.join("late", &invite, &["--clock-off-s", "604800"]);
    assert!(late.status.success() && text(&late).contains("clock was off"), "{}", text(&late));
    let bad = house.operate(&["invite"], &["--name", "bob", "--expires", "91d"]);
    assert!(!bad.status.success() && text(&bad).contains("at most 90 days"), "{}", text(&bad));
    let bad = house.operate(&["invite"], &["--name", "bob", "--expires", "7"]);
    assert!(!bad.status.success() && text(&bad).contains("90m, 12h or 7d"), "{}", text(&bad));
}

#[test]
fn a_board_at_1970_joins() {
    let house = House::running("clock");
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_secs();
    let joined = house.join("ana", &house.invite("ana", &[]), &["--clock-off-s", &format!("-{now}")]);
    assert!(joined.status.success(), "{}", text(&joined));
    assert!(text(&joined).contains("This board's clock was off"), "{}", text(&joined));
    let floor: u64 = read(&house.box_dir("ana").join("mesh/clock")).trim().parse().unwrap();
    assert!(floor >= now, "{floor}");
}

#[test]
fn another_key_than_the_pinned_one_is_refused() {
    let house = House::running("pin");
    let mut ticket = Ticket::parse(&house.invite("ana", &[])).unwrap();
    ticket.pin = TlsPin([7; 32]);
    let expected = ["has another TLS key than the invite names", "somebody may stand between"];
    refused(&house, "ana", &ticket.text(), &[], &expected);
    assert!(!house.box_dir("ana").join("mesh/mesh.json").exists());
}

#[test]
fn another_mesh_is_told_apart() {
    let (here, there) = (House::running("here"), House::running("there"));
    here.joined("ana");
    refused(&here, "ana", &there.invite("ana", &[]), &[], &["the invite is for another mesh"]);
    // An invite of there that names the address and the key of here.
    let (mut ticket, ours) =
        (Ticket::parse(&there.invite("bob", &[])).unwrap(), Ticket::parse(&here.invite("bob", &[])).unwrap());
    (ticket.url, ticket.pin) = (ours.url, ours.pin);
    refused(&here, "bob", &ticket.text(), &[], &["Do not go on"]);
    refused(&here, "ana", &here.invite("ana-2", &[]), &[], &["a member already, by another invite"]);
}

#[test]
fn a_name_that_is_taken_or_not_granted_is_refused() {
    let house = House::running("names");
    house.joined("ana");
    let invite = house.invite("ana", &[]);
    refused(&house, "other", &invite, &[], &["Another box has this name", "--name NAME"]);
    refused(&house, "other", &invite, &["--name", "bob"], &["does not grant this name"]);
    let joined = house.join("other", &invite, &["--name", "ana-attic"]);
    assert!(joined.status.success(), "{}", text(&joined));
    let name: Name = "ana-attic".parse().unwrap();
    assert!(house.status("other").contains(name.as_str()));
}

#[test]
fn a_box_that_left_comes_in_anew() {
    let house = House::running("left");
    house.joined("ana");
    let dir = house.box_dir("ana");
    fs::write(dir.join("streams.toml"), "live = \"a-key\"\n").unwrap();
    let other = house.invite("bob", &[]);
    let member = house.join("ana", &other, &[]);
    assert!(!member.status.success() && text(&member).contains("relayd leave --yes"), "{}", text(&member));
    let unsure = house.leave("ana", &[]);
    assert!(!unsure.status.success() && text(&unsure).contains("would forget `ana`"), "{}", text(&unsure));
    assert!(house.status("ana").contains("name         ana"));
    let mut running = house.run("ana");
    running.wait_for_log("a map came");
    let left = house.leave("ana", &["--yes"]);
    assert!(left.status.success() && text(&left).contains("box revoke ana"), "{}", text(&left));
    assert!(house.status("ana").contains("belongs to no mesh"));
    assert_eq!(read(&dir.join("streams.toml")), "live = \"a-key\"\n");
    house.joined("carl");
    // A daemon that was not told has no place to write its membership down again.
    wait_for("the daemon to say so", || running.log().contains("the disk refuses").then_some(()));
    assert!(house.status("ana").contains("belongs to no mesh"));
    drop(running);
    let again = house.leave("ana", &["--yes"]);
    assert!(again.status.success() && text(&again).contains("Nothing was changed"), "{}", text(&again));
    let joined = house.join("ana", &other, &[]);
    assert!(joined.status.success() && text(&joined).contains("name         bob"), "{}", text(&joined));
}
