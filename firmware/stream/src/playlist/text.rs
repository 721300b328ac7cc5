//! How numbers and times are written in a playlist (RFC 8216bis 4.2, 4.4.4.6).

use core::fmt;

use crate::track::Ticks;

/// Seconds with five decimals, in units of 10 us. Five, because one tick is 11 us: distinct durations stay distinct.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Decimal(u64);

impl Decimal {
    /// The nearest to a duration, which must not be negative.
    pub(crate) fn nearest(duration: Ticks) -> Self {
        Self((duration.0.max(0).unsigned_abs() * 10 + 4) / 9)
    }

    /// The smallest that is not below a duration: for a limit that no duration may exceed.
    pub(crate) fn up(duration: Ticks) -> Self {
        Self((duration.0.max(0).unsigned_abs() * 10).div_ceil(9))
    }

    pub(crate) fn times(self, factor: u64) -> Self {
        Self(self.0 * factor)
    }
}

impl fmt::Display for Decimal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{:05}", self.0 / 100_000, self.0 % 100_000)
    }
}

/// A wall-clock time as ISO 8601 writes it, in UTC with milliseconds.
#[derive(Clone, Copy, Debug)]
pub(crate) struct DateTime {
    pub(crate) unix_ms: i64,
}

/// The last millisecond of the year 9999: later ones have no four-digit year.
pub(crate) const UNIX_MS_MAX: i64 = 253_402_300_799_999;

impl fmt::Display for DateTime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let unix_ms = self.unix_ms.clamp(0, UNIX_MS_MAX);
        let (days, ms) = (unix_ms / 86_400_000, unix_ms % 86_400_000);
        let (year, month, day) = civil(days);
        let (hour, minute) = (ms / 3_600_000, ms / 60_000 % 60);
        let (second, milli) = (ms / 1_000 % 60, ms % 1_000);
        write!(f, "{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{milli:03}Z")
    }
}

/// Gregorian year, month and day of a day counted from 1970-01-01.
///
/// Counts from 0000-03-01, so that the leap day is the last of its year, and of its era of 400 years.
fn civil(days: i64) -> (i64, i64, i64) {
    let days = days + 719_468;
    let (era, day_of_era) = (days.div_euclid(146_097), days.rem_euclid(146_097));
    let year_of_era = (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let march_month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * march_month + 2) / 5 + 1;
    let month = if march_month < 10 { march_month + 3 } else { march_month - 9 };
    let year = era * 400 + year_of_era + i64::from(month <= 2);
    (year, month, day)
}

#[cfg(test)]
mod tests {
    use alloc::string::ToString;

    use super::*;

    #[test]
    fn durations_have_five_decimals() {
        for (ticks, nearest, up) in [
            (0, "0.00000", "0.00000"),
            (1, "0.00001", "0.00002"),
            (18_000, "0.20000", "0.20000"),
            (18_018, "0.20020", "0.20020"),
            (18_769, "0.20854", "0.20855"),
            (180_180, "2.00200", "2.00200"),
            (224_999, "2.49999", "2.49999"),
        ] {
            assert_eq!(Decimal::nearest(Ticks(ticks)).to_string(), nearest, "{ticks}");
            assert_eq!(Decimal::up(Ticks(ticks)).to_string(), up, "{ticks}");
        }
    }

    #[test]
    fn dates_are_gregorian() {
        for (unix_ms, text) in [
            (0, "1970-01-01T00:00:00.000Z"),
            (951_782_399_999, "2000-02-28T23:59:59.999Z"),
            (951_782_400_000, "2000-02-29T00:00:00.000Z"),
            (1_735_689_599_001, "2024-12-31T23:59:59.001Z"),
            (4_107_542_400_000, "2100-03-01T00:00:00.000Z"),
            (i64::MAX, "9999-12-31T23:59:59.999Z"),
            (-1, "1970-01-01T00:00:00.000Z"),
        ] {
            assert_eq!(DateTime { unix_ms }.to_string(), text);
        }
    }
}
