//! `Range` of one byte range (RFC 9110 14.1.2). Several ranges at once are refused by answering in full, as 14.2
//! allows.

use std::ops::Range;

#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Asked {
    /// No range, or one that is not ours to honour: the whole object.
    Whole,
    Part(Range<u64>),
    /// 416.
    Unsatisfiable,
}

impl Asked {
    /// `header` is the value of `Range`, `len` the object's length.
    pub(crate) fn of(header: &str, len: u64) -> Self {
        let Some(spec) = header.strip_prefix("bytes=") else { return Self::Whole };
        let Some((first, last)) = spec.trim().split_once('-') else { return Self::Whole };
        match (number(first), number(last)) {
            (Number::Some(first), Number::None) if first < len => Self::Part(first..len),
            (Number::Some(first), Number::Some(last)) if first <= last => {
                if first < len {
                    Self::Part(first..last.saturating_add(1).min(len))
                } else {
                    Self::Unsatisfiable
                }
            }
            (Number::None, Number::Some(suffix)) if suffix > 0 && len > 0 => {
                Self::Part(len.saturating_sub(suffix)..len)
            }
            (Number::Some(_), Number::None) | (Number::None, Number::Some(_)) => Self::Unsatisfiable,
            _ => Self::Whole,
        }
    }
}

enum Number {
    None,
    Some(u64),
    Bad,
}

fn number(text: &str) -> Number {
    if text.is_empty() {
        return Number::None;
    }
    if !text.bytes().all(|b| b.is_ascii_digit()) {
        return Number::Bad;
    }
    // More digits than a u64 holds: beyond every object.
    Number::Some(text.parse().unwrap_or(u64::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_are_read_as_the_rfc_says() {
        for (header, expected) in [
            ("bytes=0-0", Asked::Part(0..1)),
            ("bytes=2-5", Asked::Part(2..6)),
            ("bytes=2-", Asked::Part(2..10)),
            ("bytes=-3", Asked::Part(7..10)),
            ("bytes=-30", Asked::Part(0..10)),
            ("bytes=5-99999999999999999999999", Asked::Part(5..10)),
            ("bytes=10-", Asked::Unsatisfiable),
            ("bytes=10-12", Asked::Unsatisfiable),
            ("bytes=-0", Asked::Unsatisfiable),
            ("bytes=5-2", Asked::Whole),
            ("bytes=0-1,3-4", Asked::Whole),
            ("bytes=a-", Asked::Whole),
            ("bytes=-", Asked::Whole),
            ("bytes=", Asked::Whole),
            ("items=0-1", Asked::Whole),
        ] {
            assert_eq!(Asked::of(header, 10), expected, "{header}");
        }
        assert_eq!(Asked::of("bytes=-3", 0), Asked::Unsatisfiable);
    }
}
