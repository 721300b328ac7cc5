//! How often somebody may ask: a bucket of tokens each, for addresses of strangers and for members. Refuses to
//! remember more than [`KEYS_MAX`]; then those that have waited longest are forgotten, which costs them nothing.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv6Addr};
use std::time::{Duration, Instant};

const KEYS_MAX: usize = 4096;

/// How large a bucket is, and how fast it fills.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Rate {
    /// Attempts at once.
    burst: u32,
    /// Another attempt each.
    refill: Duration,
}

impl Rate {
    /// Who need not be a member: guessing and flooding lead nowhere, and a household with many boxes comes in.
    pub(super) const STRANGERS: Self = Self { burst: 40, refill: Duration::from_secs(3) };
    /// Heartbeats of one box: one whose network comes and goes tells all of it, and one that went mad is heard once a
    /// second.
    pub(super) const HEARTBEATS: Self = Self { burst: 10, refill: Duration::from_secs(1) };
    /// Look-ups of one box: somebody opens a page with many streams, and each of them comes from elsewhere.
    pub(super) const LOOKUPS: Self = Self { burst: 16, refill: Duration::from_secs(1) };
    /// Requests of one box for parents of one stream: it begins, and its first parent fails at once.
    pub(super) const PARENTS: Self = Self { burst: 3, refill: Duration::from_secs(1) };
}

#[derive(Debug)]
pub(super) struct Attempts<K> {
    rate: Rate,
    /// When the bucket was full, or will be.
    full_at: BTreeMap<K, Instant>,
}

impl<K: Ord + Clone> Attempts<K> {
    pub(super) const fn new(rate: Rate) -> Self {
        Self { rate, full_at: BTreeMap::new() }
    }

    /// Whether one more is allowed; it counts if it is.
    ///
    /// # Errors
    /// How long until one is.
    pub(super) fn admit(&mut self, key: K, now: Instant) -> Result<(), Duration> {
        if self.full_at.len() >= KEYS_MAX && !self.full_at.contains_key(&key) {
            self.full_at.retain(|_, full_at| *full_at > now);
            if self.full_at.len() >= KEYS_MAX {
                let first =
                    self.full_at.iter().min_by_key(|(_, full_at)| **full_at).map(|(key, _)| key.clone());
                first.map(|key| self.full_at.remove(&key));
            }
        }
        let full_at = self.full_at.entry(key).or_insert(now);
        let next = (*full_at).max(now) + self.rate.refill;
        let latest = now + self.rate.refill * self.rate.burst;
        if next > latest {
            return Err(next - latest);
        }
        *full_at = next;
        Ok(())
    }
}

/// A household has a /64 (RFC 6177).
pub(super) fn site(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(ip) => Ipv6Addr::from(u128::from(ip) >> 64 << 64).into(),
        v4 @ IpAddr::V4(_) => v4,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn a_flood_is_stopped_and_others_are_not() {
        let (mut attempts, start) = (Attempts::new(Rate::STRANGERS), Instant::now());
        let mut admit = |text: &str, now| attempts.admit(site(ip(text)), now).is_ok();
        assert_eq!((0..100).filter(|_| admit("2001:db8::1", start)).count(), 40);
        assert!(!admit("2001:db8::2", start), "the same household");
        assert!(admit("2001:db8:0:1::1", start));
        assert!(admit("192.0.2.1", start));
        let later = start + Duration::from_secs(6);
        assert_eq!((0..9).filter(|_| admit("2001:db8::1", later)).count(), 2);
    }

    #[test]
    fn a_box_is_told_how_long_to_wait() {
        let (mut attempts, start) = (Attempts::new(Rate::HEARTBEATS), Instant::now());
        let after = |millis| start + Duration::from_millis(millis);
        assert_eq!((0..50).filter(|_| attempts.admit(1, start).is_ok()).count(), 10);
        assert_eq!(attempts.admit(1, after(300)), Err(Duration::from_millis(700)));
        assert_eq!(attempts.admit(1, after(1000)), Ok(()));
        assert_eq!(attempts.admit(1, after(1000)), Err(Duration::from_secs(1)));
        assert_eq!(attempts.admit(2, start), Ok(()));
    }

    #[test]
    fn memory_is_bounded() {
        let (mut attempts, start) = (Attempts::new(Rate::STRANGERS), Instant::now());
        for n in 0..10_000_u32 {
            attempts.admit(n, start).unwrap();
        }
        assert_eq!(attempts.full_at.len(), KEYS_MAX);
    }
}
