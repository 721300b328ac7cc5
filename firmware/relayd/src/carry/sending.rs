//! How much this box gives others just now: counted bytes, over some seconds. Decides nothing.

use std::collections::VecDeque;
use std::time::Duration;

use swarm::score::on_the_line;

use super::{Carriers, lock};

/// Over so long, where there is a count that is that old.
const WINDOW: Duration = Duration::from_secs(10);
/// Counts that lie nearer together are one.
const APART: Duration = Duration::from_millis(500);
const COUNTS_MAX: usize = 32;

/// Counts of bytes, the oldest first, with when they were taken.
#[derive(Debug, Default)]
pub(super) struct Sending(VecDeque<(Duration, u64)>);

impl Sending {
    /// Takes what was sent since the start, all in all, and gives the rate in bits per second. Zero before the second
    /// count.
    fn bps(&mut self, now: Duration, bytes: u64) -> u64 {
        // A stream that ended took its count with it.
        if self.0.back().is_some_and(|(_, before)| bytes < *before) {
            self.0.clear();
        }
        if self.0.back().is_none_or(|(at, _)| now.saturating_sub(*at) >= APART) {
            self.0.push_back((now, bytes));
        }
        let is_old =
            |count: Option<&(Duration, u64)>| count.is_some_and(|(at, _)| now.saturating_sub(*at) >= WINDOW);
        // One that is older than the window stays, to measure from.
        while is_old(self.0.get(1)) || self.0.len() > COUNTS_MAX {
            self.0.pop_front();
        }
        let Some((at, before)) = self.0.front() else { return 0 };
        let millis = u64::try_from(now.saturating_sub(*at).as_millis()).unwrap_or(u64::MAX);
        bytes.saturating_sub(*before).saturating_mul(8 * 1000).checked_div(millis).unwrap_or(0)
    }
}

impl Carriers {
    /// Of all streams together, on the line, in bits per second: a mean of the last seconds.
    pub(crate) fn sending_bps(&self) -> u64 {
        let bytes = self.tallies().iter().map(|(_, tally, _)| tally.sent()).sum();
        on_the_line(lock(&self.sending).bps(self.began.elapsed(), bytes))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(sending: &mut Sending, millis: u64, bytes: u64) -> u64 {
        sending.bps(Duration::from_millis(millis), bytes)
    }

    #[test]
    fn the_rate_is_that_of_the_last_seconds() {
        let mut sending = Sending::default();
        assert_eq!(at(&mut sending, 1_000, 0), 0);
        // 375000 bytes in 3 s.
        assert_eq!(at(&mut sending, 4_000, 375_000), 1_000_000);
        assert_eq!(at(&mut sending, 4_100, 375_000), 967_741, "counts this near make no window");
        assert_eq!(at(&mut sending, 7_000, 1_500_000), 2_000_000);
        assert_eq!(at(&mut sending, 14_000, 1_500_000), 900_000, "since 4 s");
        assert_eq!(at(&mut sending, 24_000, 1_500_000), 0, "nothing for a while");
    }

    #[test]
    fn who_is_asked_seldom_gives_the_mean_since_then() {
        let mut sending = Sending::default();
        at(&mut sending, 0, 0);
        assert_eq!(at(&mut sending, 60_000, 7_500_000), 1_000_000);
    }

    #[test]
    fn a_stream_that_ends_makes_no_rate() {
        let mut sending = Sending::default();
        at(&mut sending, 0, 5_000_000);
        assert_eq!(at(&mut sending, 5_000, 1_000), 0);
        assert_eq!(at(&mut sending, 6_000, 126_000), 1_000_000);
    }

    #[test]
    fn counts_are_bounded() {
        let mut sending = Sending::default();
        for second in 0..1_000 {
            at(&mut sending, second * 500, second * 1_000);
        }
        assert!(sending.0.len() <= COUNTS_MAX);
        assert_eq!(at(&mut sending, 500_000, 1_000_000), 16_000);
    }
}
