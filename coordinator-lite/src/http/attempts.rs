//! How often an address may ask without being a member: a bucket of tokens each. Refuses to remember more than
//! [`ADDRESSES_MAX`] addresses; then those that have waited longest are forgotten, which costs them nothing.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv6Addr};
use std::time::{Duration, Instant};

const ADDRESSES_MAX: usize = 4096;
/// Attempts at once.
const BURST: u32 = 40;
/// Another attempt each.
const REFILL: Duration = Duration::from_secs(3);

#[derive(Debug, Default)]
pub(super) struct Attempts {
    /// When the bucket was full, or will be.
    full_at: BTreeMap<IpAddr, Instant>,
}

impl Attempts {
    /// Whether one more is allowed; it counts if it is.
    pub(super) fn admit(&mut self, address: IpAddr, now: Instant) -> bool {
        let address = site(address);
        if self.full_at.len() >= ADDRESSES_MAX && !self.full_at.contains_key(&address) {
            self.full_at.retain(|_, full_at| *full_at > now);
            if self.full_at.len() >= ADDRESSES_MAX {
                let first = self.full_at.iter().min_by_key(|(_, full_at)| **full_at).map(|(at, _)| *at);
                first.map(|address| self.full_at.remove(&address));
            }
        }
        let full_at = self.full_at.entry(address).or_insert(now);
        let next = (*full_at).max(now) + REFILL;
        if next > now + REFILL * BURST {
            return false;
        }
        *full_at = next;
        true
    }
}

/// A household has a /64 (RFC 6177).
fn site(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(ip) => Ipv6Addr::from(u128::from(ip) >> 64 << 64).into(),
        v4 @ IpAddr::V4(_) => v4,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flood_is_stopped_and_others_are_not() {
        let (mut attempts, start) = (Attempts::default(), Instant::now());
        let ip = |text: &str| text.parse::<IpAddr>().unwrap();
        assert_eq!((0..100).filter(|_| attempts.admit(ip("2001:db8::1"), start)).count(), 40);
        assert!(!attempts.admit(ip("2001:db8::2"), start), "the same household");
        assert!(attempts.admit(ip("2001:db8:0:1::1"), start));
        assert!(attempts.admit(ip("192.0.2.1"), start));
        let later = start + Duration::from_secs(6);
        assert_eq!((0..9).filter(|_| attempts.admit(ip("2001:db8::1"), later)).count(), 2);
    }

    #[test]
    fn memory_is_bounded() {
        let (mut attempts, start) = (Attempts::default(), Instant::now());
        for n in 0..10_000_u32 {
            assert!(attempts.admit(IpAddr::from(n.to_be_bytes()), start));
        }
        assert_eq!(attempts.full_at.len(), ADDRESSES_MAX);
    }
}
