//! Invites as people paste, type and mistype them.

use std::string::{String, ToString};
use std::vec::Vec;
use std::{format, vec};

use proptest::prelude::*;

use super::*;
use crate::invite::{InviteKind, Limits};
use crate::key::RootSecret;

const ISSUED: UnixSeconds = UnixSeconds::new(1_800_000_000);
const EXPIRES: UnixSeconds = UnixSeconds::new(1_800_600_000);

fn ticket() -> Ticket {
    let (root, seed) = (RootSecret::from_seed(&[1; 32]), InviteSeed([0x5e; 16]));
    let invite = Invite {
        mesh: MeshId::of(&root.public()),
        key: seed.secret().public(),
        name: "ana".parse().unwrap(),
        kind: InviteKind::Box,
        limits: Limits::SINGLE,
        issued: ISSUED,
        expires: EXPIRES,
    };
    Ticket {
        url: "https://coordinator.example.org:8443".parse().unwrap(),
        pin: TlsPin([0x77; 32]),
        root: root.public(),
        invite: Signed::sign(invite, &root).unwrap(),
        seed,
    }
}

#[test]
fn a_text_reads_back_however_it_was_pasted() {
    let text = ticket().text();
    assert!(text.starts_with("RELAYBOX1"));
    assert!(text.chars().all(|c| c.is_ascii_digit() || c.is_ascii_uppercase()), "{text}");
    // Version 11 with error correction L takes 468 alphanumeric characters (ISO/IEC 18004 table 7).
    assert!(text.len() <= 468, "{} characters", text.len());
    let wrapped: String = text
        .as_bytes()
        .chunks(40)
        .map(|line| format!(" {}\r\n", std::str::from_utf8(line).unwrap()))
        .collect();
    let dashed: String =
        text.as_bytes().chunks(4).map(|group| format!("{}-", std::str::from_utf8(group).unwrap())).collect();
    let confused = text.replace('0', "O").replace('1', "l");
    for pasted in
        [text.clone(), text.to_lowercase(), wrapped, dashed, confused, format!("\u{feff}{text}\u{200b}")]
    {
        assert_eq!(Ticket::parse(&pasted), Ok(ticket()), "{pasted}");
    }
}

#[test]
fn the_longest_url_fits() {
    let host = format!("https://{}.{}.{}", "a".repeat(63), "b".repeat(63), "c".repeat(24));
    let long = Ticket { url: host.parse().unwrap(), ..ticket() };
    assert_eq!(long.url.as_str().len(), CoordinatorUrl::BYTES_MAX);
    assert!(long.text().len() <= 800);
    assert_eq!(Ticket::parse(&long.text()), Ok(long));
}

#[test]
fn secrets_are_not_shown() {
    let shown = format!("{:?} {:?}", ticket(), ticket().seed);
    assert!(!shown.contains("94"), "{shown}"); // 0x5e
    assert!(shown.contains("InviteSeed(..)"));
}

#[test]
fn any_wrong_character_is_found_where_it_is() {
    let text: Vec<char> = ticket().text().chars().collect();
    for at in 0..text.len() {
        let mut typed = text.clone();
        let value = crate::crockford::value(typed[at]).unwrap();
        typed[at] = crate::crockford::digit(value ^ 1);
        let typed: String = typed.into_iter().collect();
        let Err(TicketError::Mistyped(Some(Slip::Wrong { position, expected }))) = Ticket::parse(&typed)
        else {
            panic!("character {at} of {typed}: {:?}", Ticket::parse(&typed));
        };
        assert_eq!(position, at + 1);
        assert_eq!(crate::crockford::value(expected), Some(value));
    }
}

#[test]
fn other_slips_are_found_too() {
    let text = ticket().text();
    let check =
        |typed: &str, expected: TicketError| assert_eq!(Ticket::parse(typed), Err(expected), "{typed}");
    let at = |n: usize| text.chars().nth(n).unwrap();
    let mistyped = |slip| TicketError::Mistyped(Some(slip));
    let (spaced, strange) =
        (format!("{} {}", &text[..50], &text[50..]), Slip::Strange { position: 61, found: '#' });
    check(&format!("{}#{}", &spaced[..60], &spaced[61..]), mistyped(strange));
    let missing = Slip::Missing { position: 101, expected: at(100) };
    check(&format!("{}{}", &text[..100], &text[101..]), mistyped(missing));
    check(&text[1..], mistyped(Slip::Missing { position: 1, expected: 'R' }));
    check(&format!("{}{}{}", &text[..100], 'Z', &text[100..]), mistyped(Slip::Surplus { position: 101 }));
    let n = (20..).find(|n| at(*n) != at(n + 1)).unwrap();
    let swapped = format!("{}{}{}{}", &text[..n], at(n + 1), at(n), &text[n + 2..]);
    check(&swapped, mistyped(Slip::Swapped { position: n + 1 }));
    let two = format!("{}{}{}", &text[..30], text[30..200].replace('E', "F"), &text[200..]);
    check(&two, TicketError::Mistyped(None));
}

#[test]
fn a_cut_text_is_said_to_be_cut() {
    let text = ticket().text();
    for kept in 2..text.len() {
        let found = Ticket::parse(&text[..kept]);
        let missing = if kept < 11 { 19 - kept } else { text.len() - kept };
        assert_eq!(found, Err(TicketError::Truncated { missing }), "{kept} characters");
    }
}

#[test]
fn what_is_no_invite_is_said_to_be_none() {
    for text in ["", " ", "hello", "https://coordinator.example.org", "R", "REGARDSTOALL", "ünïcödé"] {
        assert_eq!(Ticket::parse(text), Err(TicketError::NotAnInvite), "{text}");
    }
    let twice = format!("{0}{0}{0}{0}", ticket().text());
    assert_eq!(Ticket::parse(&twice), Err(TicketError::TooLong));
    assert_eq!(Ticket::parse(&"R".repeat(5000)), Err(TicketError::TooLong));
}

#[test]
fn another_version_is_told_apart_from_a_slip() {
    let payload = frame::read(&ticket().text()).unwrap().1;
    let later = frame::write('2', &payload);
    assert_eq!(Ticket::parse(&later), Err(TicketError::OtherVersion { found: '2' }));
    let slip = ticket().text().replacen("RELAYBOX1", "RELAYBOX2", 1);
    assert_eq!(
        Ticket::parse(&slip),
        Err(TicketError::Mistyped(Some(Slip::Wrong { position: 9, expected: '1' })))
    );
}

#[test]
fn what_was_not_made_properly_is_refused() {
    let other_secret = Ticket { seed: InviteSeed([0x5f; 16]), ..ticket() };
    assert_eq!(Ticket::parse(&other_secret.text()), Err(TicketError::OtherSecret));
    let other_root = RootSecret::from_seed(&[2; 32]);
    let foreign = VerifyError::Foreign { mesh: ticket().invite.claims().mesh };
    let swapped = Ticket { root: other_root.public(), ..ticket() };
    assert_eq!(Ticket::parse(&swapped.text()), Err(TicketError::Forged(foreign)));
    let forged = Signed::sign(ticket().invite.claims().clone(), &other_root).unwrap();
    let forged = Ticket { invite: forged, ..ticket() };
    assert_eq!(Ticket::parse(&forged.text()), Err(TicketError::Forged(VerifyError::Forged)));
    let empty = frame::write(VERSION, &[]);
    assert_eq!(Ticket::parse(&empty), Err(TicketError::Content(DecodeError::TooShort)));
}

#[test]
fn foreign_and_expired_are_told_apart() {
    let (ticket, other) = (ticket(), RootSecret::from_seed(&[2; 32]).public());
    assert_eq!(ticket.check(None, ISSUED), Ok(()));
    assert_eq!(ticket.check(Some(&ticket.root), UnixSeconds::new(1_800_599_999)), Ok(()));
    assert_eq!(ticket.check(None, EXPIRES), Err(TicketError::Expired { since: EXPIRES }));
    let theirs = ticket.root.fingerprint();
    assert_eq!(ticket.check(Some(&other), EXPIRES), Err(TicketError::Foreign { theirs }));
    let said = ticket.check(None, EXPIRES).unwrap_err().to_string();
    assert_eq!(said, "the invite expired at 2027-01-22 06:40:00 UTC: ask for another one");
}

#[test]
fn a_ticket_signs_a_box_that_its_mesh_takes() {
    let key = crate::key::BoxSecret::from_seed(&[3; 32]).public();
    let chain = ticket().sign_box(key, "ana-attic".parse().unwrap()).unwrap();
    let revocations = crate::revocation::Revocations::new();
    let identity = chain.verify_enrolment(&ticket().root, ISSUED, &revocations).unwrap();
    assert_eq!((*identity.key(), identity.name().as_str()), (key, "ana-attic"));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn no_text_panics(text: String) {
        let _ = Ticket::parse(&text);
        let _ = Ticket::parse(&format!("RELAYBOX{text}"));
    }

    /// Any one character by any other one.
    #[test]
    fn one_wrong_character_is_a_mistype(at: proptest::sample::Index, c: char) {
        let text = ticket().text();
        let mut typed: Vec<char> = text.chars().collect();
        let at = at.index(typed.len());
        prop_assume!(crate::crockford::value(c) != crate::crockford::value(typed[at]));
        typed[at] = c;
        let typed: String = typed.into_iter().collect();
        let found = Ticket::parse(&typed);
        // One that is passed over is a missing one, and at the end a text that was cut.
        let cut = found == Err(TicketError::Truncated { missing: 1 }) && at == text.len() - 1;
        prop_assert!(cut || matches!(found, Err(TicketError::Mistyped(Some(_)))), "{:?}", found);
    }

    /// Anything under a check that fits: what the payload says is judged, and nothing panics.
    #[test]
    fn no_payload_panics(payload in proptest::collection::vec(any::<u8>(), 0..480)) {
        let _ = Ticket::parse(&frame::write(VERSION, &payload));
    }
}

/// So that a change of the format can't go unseen: the frame of a payload of three bytes.
#[test]
fn the_frame_is_as_described() {
    let text = frame::write('1', &[0xff, 0x00, 0xff]);
    assert_eq!(&text[..16], "RELAYBOX105ZW0FY");
    assert_eq!(text.len(), 24);
    assert_eq!(frame::read(&text).unwrap(), ('1', vec![0xff, 0x00, 0xff]));
}
