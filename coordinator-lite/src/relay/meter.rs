//! How much may pass, each for itself: a bucket of tokens per key, as the moment at which it will be full again.
//! Refuses to know more than [`KEYS_MAX`] keys at a time; those whose bucket is full need not be remembered.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

const KEYS_MAX: usize = 8192;
/// What may pass at once after silence: a stream's part comes in a burst.
const DEPTH: Duration = Duration::from_millis(250);

#[derive(Debug)]
pub(super) struct Meter<K> {
    bytes_per_s: u64,
    full_at: BTreeMap<K, Instant>,
}

impl<K: Ord> Meter<K> {
    pub(super) fn new(bytes_per_s: u64) -> Self {
        Self { bytes_per_s: bytes_per_s.max(1), full_at: BTreeMap::new() }
    }

    /// Whether so many bytes may pass now. Nothing is counted.
    pub(super) fn has_room(&mut self, key: &K, bytes: usize, now: Instant) -> bool {
        if self.full_at.len() >= KEYS_MAX && !self.full_at.contains_key(key) {
            self.full_at.retain(|_, full_at| *full_at > now);
            if self.full_at.len() >= KEYS_MAX {
                return false;
            }
        }
        self.after(key, bytes, now) <= now + DEPTH
    }

    /// They pass.
    pub(super) fn count(&mut self, key: K, bytes: usize, now: Instant) {
        let after = self.after(&key, bytes, now);
        self.full_at.insert(key, after);
    }

    fn after(&self, key: &K, bytes: usize, now: Instant) -> Instant {
        let bytes = u64::try_from(bytes).unwrap_or(u64::MAX);
        let cost = Duration::from_nanos(bytes.saturating_mul(1_000_000_000) / self.bytes_per_s);
        self.full_at.get(key).copied().unwrap_or(now).max(now) + cost
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn passes(meter: &mut Meter<u32>, key: u32, now: Instant) -> bool {
        let room = meter.has_room(&key, 1000, now);
        if room {
            meter.count(key, 1000, now);
        }
        room
    }

    #[test]
    fn a_second_brings_what_it_should_and_keys_are_apart() {
        // 8 Mbit/s: 250 ms are 250 datagrams of 1000 bytes.
        let (mut meter, start) = (Meter::new(1_000_000), Instant::now());
        assert_eq!((0..1000).filter(|_| passes(&mut meter, 1, start)).count(), 250);
        assert!(passes(&mut meter, 2, start));
        let at = |ms| start + Duration::from_millis(ms);
        assert_eq!((0..1000).filter(|_| passes(&mut meter, 1, at(100))).count(), 100);
        let steady = (100..1100).filter(|ms| passes(&mut meter, 1, at(*ms)) | passes(&mut meter, 1, at(*ms)));
        assert_eq!(steady.count(), 999, "one each millisecond, from the second on");
    }

    #[test]
    fn memory_is_bounded_and_given_back() {
        let (mut meter, start) = (Meter::new(1_000_000), Instant::now());
        let passed = (0..10_000).filter(|key| passes(&mut meter, *key, start)).count();
        assert_eq!((passed, meter.full_at.len()), (KEYS_MAX, KEYS_MAX));
        assert!(passes(&mut meter, 20_000, start + Duration::from_millis(1)));
        assert_eq!(meter.full_at.len(), 1);
    }
}
