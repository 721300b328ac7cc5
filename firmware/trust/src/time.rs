//! Points in time: whole seconds since the Unix epoch, as given by the shell. Refuses to know what time it is.

use core::fmt;
use core::time::Duration;

use serde::{Deserialize, Serialize};

/// Seconds since 1970-01-01T00:00:00Z, at most [`Self::MAX`]: what a signed statement says, and `now`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "u64", into = "u64")]
pub struct UnixSeconds(u64);

/// The number is past the year 9999, so that no calendar could show it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a time is at most the end of the year 9999")]
pub struct TimeOutOfRange;

impl UnixSeconds {
    /// 9999-12-31T23:59:59Z. Also exact in a JSON number (RFC 8259 section 6).
    pub const MAX: Self = Self(253_402_300_799);

    /// The time that many seconds after 1970; past [`Self::MAX`] it is [`Self::MAX`].
    #[must_use]
    pub const fn new(seconds: u64) -> Self {
        if seconds > Self::MAX.0 { Self::MAX } else { Self(seconds) }
    }

    #[must_use]
    pub const fn get(self) -> u64 {
        self.0
    }

    /// Later by whole seconds; stops at [`Self::MAX`].
    #[must_use]
    pub const fn plus(self, duration: Duration) -> Self {
        Self::new(self.0.saturating_add(duration.as_secs()))
    }

    /// Earlier by whole seconds; stops at 1970.
    #[must_use]
    pub const fn minus(self, duration: Duration) -> Self {
        Self(self.0.saturating_sub(duration.as_secs()))
    }

    /// How long after `earlier` this is; zero when it is before.
    #[must_use]
    pub const fn since(self, earlier: Self) -> Duration {
        Duration::from_secs(self.0.saturating_sub(earlier.0))
    }
}

impl TryFrom<u64> for UnixSeconds {
    type Error = TimeOutOfRange;
    fn try_from(seconds: u64) -> Result<Self, TimeOutOfRange> {
        if seconds > Self::MAX.0 { Err(TimeOutOfRange) } else { Ok(Self(seconds)) }
    }
}

impl From<UnixSeconds> for u64 {
    fn from(time: UnixSeconds) -> u64 {
        time.0
    }
}

/// As UTC, `2026-10-01 08:30:00 UTC`: messages say when something ended.
impl fmt::Display for UnixSeconds {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (days, second) = (self.0 / 86_400, self.0 % 86_400);
        let (year, month, day) = civil(days);
        let (hour, minute, second) = (second / 3600, second / 60 % 60, second % 60);
        write!(f, "{year:04}-{month:02}-{day:02} {hour:02}:{minute:02}:{second:02} UTC")
    }
}

/// The Gregorian date that many days after 1970-01-01: whole years first, then whole months.
fn civil(mut days: u64) -> (u64, u64, u64) {
    const CYCLE_DAYS: u64 = 146_097; // 400 years
    let leap = |year: u64| year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400));
    let mut year = 1970 + days / CYCLE_DAYS * 400;
    days %= CYCLE_DAYS;
    while days >= 365 + u64::from(leap(year)) {
        days -= 365 + u64::from(leap(year));
        year += 1;
    }
    let lengths = [31, 28 + u64::from(leap(year)), 31, 30, 31, 30, 31, 31, 30, 31, 30, 31];
    let mut month = 1;
    for length in lengths {
        if days < length {
            break;
        }
        days -= length;
        month += 1;
    }
    (year, month, days + 1)
}

#[cfg(test)]
mod tests {
    use std::string::ToString;

    use super::*;

    #[test]
    fn a_time_reads_as_utc() {
        for (seconds, expected) in [
            (0, "1970-01-01 00:00:00 UTC"),
            (951_782_400, "2000-02-29 00:00:00 UTC"),
            (951_868_799, "2000-02-29 23:59:59 UTC"),
            (951_868_800, "2000-03-01 00:00:00 UTC"),
            (1_790_843_400, "2026-10-01 08:30:00 UTC"),
            (4_107_542_399, "2100-02-28 23:59:59 UTC"),
            (4_107_542_400, "2100-03-01 00:00:00 UTC"),
            (253_402_300_799, "9999-12-31 23:59:59 UTC"),
        ] {
            assert_eq!(UnixSeconds::new(seconds).to_string(), expected);
        }
    }

    #[test]
    fn times_stop_at_their_bounds() {
        assert_eq!(UnixSeconds::new(u64::MAX), UnixSeconds::MAX);
        assert_eq!(UnixSeconds::MAX.plus(Duration::MAX), UnixSeconds::MAX);
        assert_eq!(UnixSeconds::new(5).minus(Duration::from_secs(6)), UnixSeconds::new(0));
        assert_eq!(UnixSeconds::new(5).since(UnixSeconds::new(9)), Duration::ZERO);
        assert_eq!(UnixSeconds::try_from(253_402_300_800), Err(TimeOutOfRange));
    }
}
