//! Texts that are invites, nearly are, or aren't: no panic, no edit that goes unseen, one spelling. The frame is made
//! here once more by its description, so that the payload is reached behind its check.
#![no_main]

use std::sync::LazyLock;

use arbitrary::Arbitrary;
use libfuzzer_sys::fuzz_target;
use trust::{MeshId, Ticket, TicketError, UnixSeconds};

#[path = "../../tests/trust/mesh.rs"]
mod mesh;

use mesh::Mesh;

const EDITS_MAX: usize = 3;

#[derive(Arbitrary, Debug)]
enum Input<'a> {
    Text(&'a str),
    Edited(Vec<Edit>),
    Framed {
        version: u8,
        payload: &'a [u8],
    },
    /// The true payload, with bytes of it put over.
    Bent {
        patches: Vec<(u16, u8)>,
        cut: u8,
    },
}

#[derive(Arbitrary, Clone, Copy, Debug)]
enum Edit {
    Put(u16, char),
    Insert(u16, char),
    Remove(u16),
    Swap(u16),
    Cut(u16),
}

static TEXT: LazyLock<String> = LazyLock::new(|| {
    let mesh = Mesh::new(1);
    mesh.ticket(&mesh.invite(1)).text()
});

const DIGITS: &[u8; 32] = b"0123456789ABCDEFGHJKMNPQRSTVWXYZ";

fn value(c: char) -> Option<u8> {
    let c = match c.to_ascii_uppercase() {
        'O' => '0',
        'I' | 'L' => '1',
        c => c,
    };
    DIGITS.iter().position(|digit| char::from(*digit) == c).map(|at| at as u8)
}

/// Bit by bit, as slow as it is plain.
fn regroup(values: &[u8], from: usize, to: usize) -> Vec<u8> {
    let bits: Vec<u8> =
        values.iter().flat_map(|value| (0..from).rev().map(move |bit| value >> bit & 1)).collect();
    let group = |bits: &[u8]| bits.iter().fold(0u8, |value, bit| value << 1 | bit) << (to - bits.len());
    bits.chunks(to).map(group).collect()
}

fn framed(version: u8, payload: &[u8]) -> String {
    let payload = regroup(payload, 8, 5);
    let mut digits: Vec<u8> = "RELAYBOX".chars().filter_map(value).collect();
    digits.push(version % 32);
    digits.extend([(payload.len() / 32) as u8 & 31, (payload.len() % 32) as u8]);
    digits.extend(payload);
    let mut hasher = blake3::Hasher::new_derive_key("relaybox 2026 invite text v1");
    hasher.update(&(digits.len() as u64).to_le_bytes()).update(&digits);
    digits.extend(regroup(&hasher.finalize().as_bytes()[..5], 8, 5));
    digits.into_iter().map(|digit| char::from(DIGITS[usize::from(digit)])).collect()
}

fn payload() -> Vec<u8> {
    let digits: Vec<u8> = TEXT.chars().filter_map(value).collect();
    let mut bytes = regroup(&digits[11..digits.len() - 8], 5, 8);
    bytes.truncate((digits.len() - 19) * 5 / 8);
    bytes
}

fn edit(text: &mut Vec<char>, edit: Edit) {
    let at = |n: u16| usize::from(n) % text.len().max(1);
    match edit {
        _ if text.is_empty() => {}
        Edit::Put(n, c) => {
            let at = at(n);
            text[at] = c;
        }
        Edit::Insert(n, c) => text.insert(at(n), c),
        Edit::Remove(n) => drop(text.remove(at(n))),
        Edit::Swap(n) => {
            let at = at(n);
            let next = (at + 1) % text.len();
            text.swap(at, next);
        }
        Edit::Cut(n) => text.truncate(at(n)),
    }
}

/// Without what is passed over; none when something else stands there.
fn digits(text: &str) -> Option<Vec<u8>> {
    let passed = |c: &char| c.is_whitespace() || "-\u{ad}\u{200b}\u{2060}\u{feff}".contains(*c);
    text.chars().filter(|c| !passed(c)).map(value).collect()
}

fn check(text: &str) -> Result<Ticket, TicketError> {
    let ticket = Ticket::parse(text);
    match &ticket {
        Ok(ticket) => {
            assert_eq!(digits(&ticket.text()), digits(text), "one spelling");
            assert!(ticket.invite.verify(&MeshId::of(&ticket.root), &ticket.root).is_ok());
            assert_eq!(ticket.seed.secret().public(), ticket.invite.claims().key);
            let _ = ticket.check(None, UnixSeconds::MAX);
        }
        Err(error) => assert!(error.to_string().len() < 300),
    }
    ticket
}

fuzz_target!(|input: Input<'_>| match input {
    Input::Text(text) => drop(check(text)),
    Input::Edited(edits) => {
        let mut text: Vec<char> = TEXT.chars().collect();
        edits.iter().take(EDITS_MAX).for_each(|one| edit(&mut text, *one));
        let text: String = text.into_iter().collect();
        let same = digits(&text) == digits(&TEXT);
        assert_eq!(check(&text).is_ok(), same, "{text}");
    }
    Input::Framed { version, payload } => {
        let found = check(&framed(version, &payload[..payload.len().min(480)]));
        assert!(!matches!(found, Err(TicketError::Mistyped(_) | TicketError::Truncated { .. })), "{found:?}");
        assert_eq!(matches!(found, Err(TicketError::OtherVersion { .. })), version % 32 != 1);
    }
    Input::Bent { patches, cut } => {
        let mut bytes = payload();
        for (at, byte) in patches.iter().take(4) {
            let at = usize::from(*at) % bytes.len();
            bytes[at] = *byte;
        }
        bytes.truncate(bytes.len() - usize::from(cut % 8));
        drop(check(&framed(1, &bytes)));
    }
});
