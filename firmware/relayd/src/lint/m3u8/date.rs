//! Dates and times of ISO 8601, as EXT-X-PROGRAM-DATE-TIME has them (RFC 8216bis 4.4.4.6).

/// Milliseconds since 1970-01-01T00:00:00Z; a time without a zone is taken as UTC.
pub(super) fn unix_ms(text: &str) -> Option<i64> {
    let (date, time) = text.split_once('T')?;
    let mut date = date.splitn(3, '-').map(number);
    let (year, month, day) = (date.next()??, date.next()??, date.next()??);
    let in_range = (1970..=9999).contains(&year) && (1..=12).contains(&month) && (1..=31).contains(&day);
    let (time, offset_minutes) = zone(time)?;
    let mut time = time.splitn(3, ':');
    let (hour, minute) = (number(time.next()?)?, number(time.next()?)?);
    let (second, fraction) = time.next().map_or(("0", "0"), |s| s.split_once('.').unwrap_or((s, "0")));
    let second = number(second)?;
    if !in_range || hour > 23 || minute > 59 || second > 60 {
        return None;
    }
    let millis = number(&format!("{fraction:0<3}").chars().take(3).collect::<String>())?;
    let minutes = (days(year, month, day) * 24 + hour) * 60 + minute - offset_minutes;
    Some((minutes * 60 + second) * 1000 + millis)
}

/// Cuts the zone off, and gives its distance from UTC in minutes.
fn zone(time: &str) -> Option<(&str, i64)> {
    if let Some(time) = time.strip_suffix('Z') {
        return Some((time, 0));
    }
    let Some(at) = time.rfind(['+', '-']) else { return Some((time, 0)) };
    let digits: String = time[at + 1..].chars().filter(|c| *c != ':').collect();
    let value = number(&format!("{digits:0<4}"))?;
    let minutes = value / 100 * 60 + value % 100;
    Some((&time[..at], if time[at..].starts_with('-') { -minutes } else { minutes }))
}

fn number(text: &str) -> Option<i64> {
    let digits = (1..=4).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_digit());
    if digits { text.parse().ok() } else { None }
}

/// Days from 1970-01-01, by counting years and months.
fn days(year: i64, month: i64, day: i64) -> i64 {
    let leap = |year: i64| year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
    let leaps_before = |year: i64| (year - 1) / 4 - (year - 1) / 100 + (year - 1) / 400;
    let months = [31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31];
    let in_year: i64 = months.iter().take(usize::try_from(month - 1).unwrap_or(0)).sum();
    let leap_day = i64::from(month > 2 && leap(year));
    (year - 1970) * 365 + leaps_before(year) - leaps_before(1970) + in_year + leap_day + day - 1
}

#[cfg(test)]
mod tests {
    #[test]
    fn times_are_read_with_their_zone() {
        for (text, expected) in [
            ("1970-01-01T00:00:00Z", Some(0)),
            ("2000-02-29T00:00:00.5Z", Some(951_782_400_500)),
            ("2010-02-19T14:54:23.031+08:00", Some(1_266_562_463_031)),
            ("2024-12-31T23:59:59.999-0030", Some(1_735_691_399_999)),
            ("2024-13-01T00:00:00Z", None),
            ("2024-12-01 00:00:00Z", None),
            ("", None),
        ] {
            assert_eq!(super::unix_ms(text), expected, "{text}");
        }
    }
}
