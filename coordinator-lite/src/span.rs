//! Spans of time as people type them: `90m`, `12h`, `7d`. Refuses a number without its unit.

use std::str::FromStr;
use std::time::Duration;

/// Whole minutes, hours or days.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Span(pub(crate) Duration);

#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a span of time is a number with its unit: 90m, 12h or 7d")]
pub(crate) struct BadSpan;

impl FromStr for Span {
    type Err = BadSpan;
    fn from_str(text: &str) -> Result<Self, BadSpan> {
        let unit = text.chars().last().ok_or(BadSpan)?;
        let seconds = match unit {
            'm' => 60,
            'h' => 3600,
            'd' => 86_400,
            _ => return Err(BadSpan),
        };
        let number: u64 = text[..text.len() - 1].parse().map_err(|_| BadSpan)?;
        let seconds = number.checked_mul(seconds).filter(|seconds| *seconds > 0).ok_or(BadSpan)?;
        Ok(Self(Duration::from_secs(seconds)))
    }
}

/// In words, by its largest unit: for tables.
pub(crate) fn words(span: Duration) -> String {
    let seconds = span.as_secs();
    match seconds {
        0..120 => format!("{seconds} s"),
        120..7200 => format!("{} min", seconds / 60),
        7200..172_800 => format!("{} h", seconds / 3600),
        _ => format!("{} d", seconds / 86_400),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_numbers_with_units_are_spans() {
        for (text, seconds) in [("1m", 60), ("12h", 43_200), ("7d", 604_800)] {
            assert_eq!(text.parse(), Ok(Span(Duration::from_secs(seconds))), "{text}");
        }
        for bad in ["", "7", "d", "-1d", "0d", "7 d", "1w", "1é", "99999999999999999d"] {
            assert_eq!(bad.parse::<Span>(), Err(BadSpan), "{bad}");
        }
    }

    #[test]
    fn spans_are_told_by_their_largest_unit() {
        let check = |seconds, expected: &str| assert_eq!(words(Duration::from_secs(seconds)), expected);
        check(0, "0 s");
        check(119, "119 s");
        check(121, "2 min");
        check(7_200, "2 h");
        check(864_000, "10 d");
    }
}
