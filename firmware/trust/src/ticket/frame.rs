//! The frame around an invite's payload, and where a slip of the finger is.
//!
//! A text whose check does not fit is compared with all texts that are one slip away: a wrong character, one missing,
//! one too many, two swapped. If one of them fits, the slip was there. That is at most 35,000 hashes of 800 bytes,
//! bounded by the length that a text may have. Refuses to look for more than one slip.

use alloc::string::String;
use alloc::vec::Vec;
use core::fmt;

use super::{TicketError, bytes_of};
use crate::{crockford, digest};

const PREFIX: &str = "RELAYBOX";
const LENGTH_DIGITS: usize = 2;
const CHECK_DIGITS: usize = 8;
/// Prefix, version and length.
const HEAD_DIGITS: usize = PREFIX.len() + 1 + LENGTH_DIGITS;
/// Of the payload: 480 bytes.
const PAYLOAD_DIGITS_MAX: usize = 768;
const DIGITS_MAX: usize = HEAD_DIGITS + PAYLOAD_DIGITS_MAX + CHECK_DIGITS;
/// Of what is typed, with spaces and line breaks.
const TYPED_BYTES_MAX: usize = 4096;

/// Where a slip is; positions count the typed characters from 1, spaces and dashes too.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Slip {
    /// A character that is in no invite.
    Strange {
        position: usize,
        found: char,
    },
    Wrong {
        position: usize,
        expected: char,
    },
    /// Before this position.
    Missing {
        position: usize,
        expected: char,
    },
    Surplus {
        position: usize,
    },
    /// With the one behind it.
    Swapped {
        position: usize,
    },
}

impl fmt::Display for Slip {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Strange { position, found } => {
                write!(f, "character {position} is {found:?}, which is in no invite")
            }
            Self::Wrong { position, expected } => write!(f, "character {position} should be {expected}"),
            Self::Missing { position, expected } => {
                write!(f, "before character {position} there should be {expected}")
            }
            Self::Surplus { position } => write!(f, "character {position} is one too many"),
            Self::Swapped { position } => write!(f, "character {position} and the next one are swapped"),
        }
    }
}

pub(super) fn write(version: char, payload: &[u8]) -> String {
    let payload = crockford::values(payload);
    let (high, low) = (payload.len() / 32, payload.len() % 32);
    let length = [high, low].map(|value| u8::try_from(value).unwrap_or(31));
    let mut digits = prefix();
    digits.extend(crockford::value(version));
    digits.extend(length);
    digits.extend(payload);
    digits.extend(check(&digits));
    let text: String = crockford::text(&digits);
    // The prefix as a word, and not as its digits: `O` and `L` are read as `0` and `1`.
    [PREFIX, &text[PREFIX.len()..]].concat()
}

/// The version and the payload of a text without a slip.
pub(super) fn read(typed: &str) -> Result<(char, Vec<u8>), TicketError> {
    if typed.len() > TYPED_BYTES_MAX {
        return Err(TicketError::TooLong);
    }
    let Typed { digits, positions, strange } = Typed::read(typed);
    if let Some(slip) = strange {
        let looks = resembles_prefix(&digits);
        return Err(if looks { TicketError::Mistyped(Some(slip)) } else { TicketError::NotAnInvite });
    }
    if fits(&digits) {
        let version = crockford::digit(digits[PREFIX.len()]);
        return Ok((version, bytes_of(&digits[HEAD_DIGITS..digits.len() - CHECK_DIGITS])?));
    }
    if !resembles_prefix(&digits) {
        return Err(TicketError::NotAnInvite);
    }
    if digits.len() > DIGITS_MAX + 1 {
        return Err(TicketError::TooLong);
    }
    let end = positions.last().map_or(1, |last| last + 1);
    let slip = one_slip(&digits, |at| positions.get(at).copied().unwrap_or(end));
    match (slip, missing(&digits)) {
        (Some(Slip::Missing { position, .. }), _) if position == end => {
            Err(TicketError::Truncated { missing: 1 })
        }
        (None, Some(missing)) => Err(TicketError::Truncated { missing }),
        (slip, _) => Err(TicketError::Mistyped(slip)),
    }
}

/// What was typed, without what is passed over.
struct Typed {
    digits: Vec<u8>,
    positions: Vec<usize>,
    /// The first character that is no digit. Reading goes on behind it only to see whether this is an invite.
    strange: Option<Slip>,
}

impl Typed {
    fn read(typed: &str) -> Self {
        let mut read = Self { digits: Vec::new(), positions: Vec::new(), strange: None };
        for (at, c) in typed.chars().enumerate() {
            // Also what chats and web pages put between characters without showing it.
            if c.is_whitespace() || matches!(c, '-' | '\u{ad}' | '\u{200b}' | '\u{2060}' | '\u{feff}') {
                continue;
            }
            if let Some(digit) = crockford::value(c) {
                read.digits.push(digit);
                read.positions.push(at + 1);
            } else if read.strange.is_none() {
                read.strange = Some(Slip::Strange { position: at + 1, found: c });
            }
        }
        read
    }
}

fn prefix() -> Vec<u8> {
    PREFIX.chars().filter_map(crockford::value).collect()
}

fn check(digits: &[u8]) -> Vec<u8> {
    let hash = digest::derive("relaybox 2026 invite text v1", &[digits]);
    crockford::values(&hash[..CHECK_DIGITS * 5 / 8])
}

fn declared(digits: &[u8]) -> Option<usize> {
    let length = digits.get(HEAD_DIGITS - LENGTH_DIGITS..HEAD_DIGITS)?;
    Some(HEAD_DIGITS + usize::from(length[0]) * 32 + usize::from(length[1]) + CHECK_DIGITS)
}

/// Whether prefix, length and check are as they should be. The cheap ones come first.
fn fits(digits: &[u8]) -> bool {
    let framed = declared(digits) == Some(digits.len()) && digits.starts_with(&prefix());
    framed && digits.len() <= DIGITS_MAX && {
        let (content, checked) = digits.split_at(digits.len() - CHECK_DIGITS);
        check(content) == checked
    }
}

/// How many characters an otherwise plausible beginning still lacks.
fn missing(digits: &[u8]) -> Option<usize> {
    let begins = digits.iter().zip(prefix()).all(|(a, b)| *a == b);
    let whole = declared(digits).unwrap_or(HEAD_DIGITS + CHECK_DIGITS);
    let plausible = begins && whole <= DIGITS_MAX;
    whole.checked_sub(digits.len()).filter(|missing| plausible && *missing > 0)
}

/// At most two edits away from the prefix, or a beginning of it: two, since swapping is two.
fn resembles_prefix(digits: &[u8]) -> bool {
    let prefix = prefix();
    if digits.len() < prefix.len() {
        return digits.len() >= 2 && prefix.starts_with(digits);
    }
    let lengths = prefix.len() - 1..=prefix.len() + 1;
    lengths.filter_map(|length| digits.get(..length)).any(|start| edits(start, &prefix) <= 2)
}

/// Levenshtein's distance, row by row.
fn edits(a: &[u8], b: &[u8]) -> usize {
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.iter().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, y) in b.iter().enumerate() {
            let changed = diagonal + usize::from(x != y);
            diagonal = row[j + 1];
            row[j + 1] = changed.min(row[j] + 1).min(diagonal + 1);
        }
    }
    row[b.len()]
}

/// The slip after which an invite looks like this.
fn one_slip(digits: &[u8], position: impl Fn(usize) -> usize) -> Option<Slip> {
    let mut tried = digits.to_vec();
    for at in 0..digits.len() {
        for value in 0..32 {
            tried[at] = value;
            if value != digits[at] && fits(&tried) {
                return Some(Slip::Wrong { position: position(at), expected: crockford::digit(value) });
            }
        }
        tried[at] = digits[at];
        if at + 1 < digits.len() {
            tried.swap(at, at + 1);
            if fits(&tried) {
                return Some(Slip::Swapped { position: position(at) });
            }
            tried.swap(at, at + 1);
        }
        tried.remove(at);
        if fits(&tried) {
            return Some(Slip::Surplus { position: position(at) });
        }
        tried.insert(at, digits[at]);
    }
    for at in 0..=digits.len() {
        tried.insert(at, 0);
        for value in 0..32 {
            tried[at] = value;
            if fits(&tried) {
                return Some(Slip::Missing { position: position(at), expected: crockford::digit(value) });
            }
        }
        tried.remove(at);
    }
    None
}
