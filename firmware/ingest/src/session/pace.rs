//! A leaky bucket: whether bytes come faster than a mean rate, with a burst allowed.

use stream::Millis;

#[derive(Debug)]
pub(crate) struct Pace {
    bytes_per_second: u64,
    /// In thousandths of a byte, so that one millisecond of `bytes_per_second` is a whole number.
    level: u64,
    level_max: u64,
    at: Millis,
}

impl Pace {
    pub(crate) fn new(bits_per_second: u64, burst_ms: u64, now: Millis) -> Self {
        let bytes_per_second = bits_per_second / 8;
        Self { bytes_per_second, level: 0, level_max: bytes_per_second.saturating_mul(burst_ms), at: now }
    }

    /// Adds what came; false once the bucket runs over.
    pub(crate) fn handle_bytes(&mut self, now: Millis, bytes: usize) -> bool {
        let leaked = now.since(self.at).saturating_mul(self.bytes_per_second);
        self.at = self.at.max(now);
        self.level = self.level.saturating_sub(leaked).saturating_add((bytes as u64).saturating_mul(1000));
        self.level <= self.level_max
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_mean_rate_passes_and_a_burst_runs_over() {
        // 8000 bit/s with a burst of 2 s: 1000 bytes a second, 2000 bytes at once.
        let mut pace = Pace::new(8000, 2000, Millis(0));
        for second in 1..100 {
            assert!(pace.handle_bytes(Millis(second * 1000), 1000), "second {second}");
        }
        assert!(pace.handle_bytes(Millis(99_000), 1000));
        assert!(!pace.handle_bytes(Millis(99_000), 1));
        assert!(pace.handle_bytes(Millis(99_001), 0));
    }

    #[test]
    fn a_clock_that_steps_back_leaks_nothing() {
        let mut pace = Pace::new(8000, 1000, Millis(5000));
        assert!(pace.handle_bytes(Millis(5000), 1000));
        assert!(!pace.handle_bytes(Millis(0), 1));
    }
}
