//! Fingerprints: 160 bits of a hash in a form that people compare and type, with a check so that a slip of the
//! finger is told apart from another key. Refuses to stand for a key of another role.

use alloc::vec::Vec;
use core::fmt;
use core::str::FromStr;

use crate::{crockford, digest};

/// Nine groups of four characters: 160 bits of BLAKE3 and 20 bits of check.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Fingerprint([u8; 20]);

/// The text is not a fingerprint.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FingerprintError {
    #[error("a fingerprint has 36 letters and digits, and this has {0}")]
    Length(usize),
    #[error("character {position} can't stand in a fingerprint")]
    Character { position: usize },
    #[error("the fingerprint is mistyped: its last four characters do not fit the others")]
    Check,
}

const DIGITS: usize = 32;
const CHECK_DIGITS: usize = 4;
/// Spaces and dashes included; longer texts are not read to their end.
const TEXT_CHARS_MAX: usize = 128;

impl Fingerprint {
    pub(super) fn of(role: &str, key: &[u8; 32]) -> Self {
        let hash = digest::derive("relaybox 2026 fingerprint v1", &[role.as_bytes(), key]);
        let mut bytes = [0; 20];
        bytes.copy_from_slice(&hash[..20]);
        Self(bytes)
    }

    fn values(self) -> Vec<u8> {
        let check = digest::derive("relaybox 2026 fingerprint check v1", &[&self.0]);
        let mut values = crockford::values(&self.0);
        values.extend(&crockford::values(&check)[..CHECK_DIGITS]);
        values
    }
}

impl fmt::Display for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, value) in self.values().into_iter().enumerate() {
            if at > 0 && at % 4 == 0 {
                f.write_str("-")?;
            }
            write!(f, "{}", crockford::digit(value))?;
        }
        Ok(())
    }
}
impl fmt::Debug for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}

/// Either case, with or without dashes and spaces.
impl FromStr for Fingerprint {
    type Err = FingerprintError;
    fn from_str(text: &str) -> Result<Self, FingerprintError> {
        let mut values = Vec::new();
        for (at, c) in text.chars().take(TEXT_CHARS_MAX).enumerate() {
            if c != '-' && !c.is_whitespace() {
                let strange = FingerprintError::Character { position: at + 1 };
                values.push(crockford::value(c).ok_or(strange)?);
            }
        }
        if values.len() != DIGITS + CHECK_DIGITS {
            return Err(FingerprintError::Length(values.len()));
        }
        let bytes = crockford::bytes(&values[..DIGITS]).and_then(|bytes| bytes.try_into().ok());
        let fingerprint = Self(bytes.ok_or(FingerprintError::Check)?);
        if fingerprint.values() == values { Ok(fingerprint) } else { Err(FingerprintError::Check) }
    }
}
