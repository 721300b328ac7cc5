//! Numbers that nobody outside can guess, drawn from a seed that the shell gives. Refuses to be a source of keys.

use core::ops::Range;
use core::time::Duration;

/// A stream of numbers: BLAKE3 of a counter, keyed by the seed.
#[derive(Debug, Clone)]
pub(crate) struct Dice {
    seed: [u8; 32],
    drawn: u64,
}

impl Dice {
    pub(crate) const fn new(seed: [u8; 32]) -> Self {
        Self { seed, drawn: 0 }
    }

    pub(crate) fn bytes(&mut self) -> [u8; 32] {
        self.drawn += 1;
        *blake3::keyed_hash(&self.seed, &self.drawn.to_le_bytes()).as_bytes()
    }

    pub(crate) fn number(&mut self) -> u64 {
        let [a, b, c, d, e, f, g, h, ..] = self.bytes();
        u64::from_le_bytes([a, b, c, d, e, f, g, h])
    }

    pub(crate) fn within(&mut self, range: Range<u16>) -> u16 {
        let span = u64::from(range.end.saturating_sub(range.start)).max(1);
        // Less than the span, which is a u16.
        range.start.saturating_add(u16::try_from(self.number() % span).unwrap_or(0))
    }

    /// Between the whole duration and a quarter less, so that many boxes don't do the same at once.
    pub(crate) fn jittered(&mut self, duration: Duration) -> Duration {
        let part = u32::from(self.within(0..1000));
        duration - duration / 4000 * part
    }
}
