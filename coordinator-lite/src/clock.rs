//! The machine's clock and randomness, at the one place where they come in.

use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::{Context as _, Result};
use trust::UnixSeconds;

/// 2026-01-01: a clock before it was never set.
pub(crate) const EARLIEST: UnixSeconds = UnixSeconds::new(1_767_225_600);

/// The time by this machine's clock; 1970 on one that stands before it.
pub(crate) fn now() -> UnixSeconds {
    UnixSeconds::new(SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs())
}

pub(crate) fn random<const N: usize>() -> Result<[u8; N]> {
    let mut bytes = [0; N];
    getrandom::fill(&mut bytes).context("the system has no randomness")?;
    Ok(bytes)
}
