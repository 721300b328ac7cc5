//! When media that comes in whole segments is due, on the box's clock. Reads no clock.
//!
//! The first unit is due at once, each later one as much later as its stamp says. What comes too late moves all that
//! follows; a server whose clock is faster than ours is followed a little faster.

/// Later than this is too late: less is the machine's own hesitation.
const LATE_MS: i64 = 150;
/// A stamp that is farther off than this has nothing to do with the one before.
const JUMP_MS: i64 = 30_000;
/// Segments that wait at the server: then we are slower than it is.
const BEHIND_MAX: usize = 4;
/// By one part in so many it goes faster then.
const HURRY_SHARE: i64 = 50;

#[derive(Debug, Default)]
pub(super) struct Pace {
    /// Added to a stamp, it gives the time at which it is due; the newest stamp.
    known: Option<(i64, i64)>,
}

impl Pace {
    /// `at_ms` by the stream's clock, `now_ms` by ours; `behind` segments are at the server besides.
    pub(super) fn due(&mut self, at_ms: i64, now_ms: u64, behind: usize) -> u64 {
        let now = i64::try_from(now_ms).unwrap_or(i64::MAX);
        let (mut offset, newest) = self.known.unwrap_or((now - at_ms, at_ms));
        if behind > BEHIND_MAX {
            offset -= (at_ms - newest).clamp(0, JUMP_MS) / HURRY_SHARE;
        }
        let ahead = at_ms + offset - now;
        let jumped = (at_ms - newest).abs() > JUMP_MS;
        if ahead < -LATE_MS || jumped {
            offset = now - at_ms;
        }
        self.known = Some((offset, if jumped { at_ms } else { at_ms.max(newest) }));
        u64::try_from((at_ms + offset).max(now)).unwrap_or(now_ms)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn units_are_due_as_their_stamps_say() {
        let mut pace = Pace::default();
        assert_eq!(pace.due(1_000_000, 500, 0), 500);
        assert_eq!(pace.due(1_000_040, 500, 0), 540);
        assert_eq!(pace.due(1_002_000, 500, 0), 2500);
        // A little late is made up for.
        assert_eq!(pace.due(1_002_040, 2600, 0), 2600);
        assert_eq!(pace.due(1_002_200, 2600, 0), 2700);
    }

    #[test]
    fn what_comes_too_late_moves_what_follows() {
        let mut pace = Pace::default();
        pace.due(0, 0, 0);
        assert_eq!(pace.due(1000, 4000, 0), 4000);
        assert_eq!(pace.due(1040, 4000, 0), 4040);
    }

    #[test]
    fn a_jump_is_no_wait() {
        let mut pace = Pace::default();
        pace.due(0, 0, 0);
        assert_eq!(pace.due(100_000, 40, 0), 40);
        assert_eq!(pace.due(100_040, 40, 0), 80);
        assert_eq!(pace.due(0, 80, 0), 80);
        assert_eq!(pace.due(40, 80, 0), 120);
    }

    #[test]
    fn a_faster_server_is_followed() {
        let mut pace = Pace::default();
        pace.due(0, 0, 0);
        assert_eq!(pace.due(1000, 0, 5), 980);
        assert_eq!(pace.due(2000, 0, 5), 1960);
    }
}
