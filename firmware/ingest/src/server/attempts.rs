//! Wrong attempts per address and minute: what makes guessing keys slow.
//!
//! An attempt is charged before the key is looked at and given back if it was right, so that many connections at
//! once gain nothing.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv6Addr};

use stream::Millis;

const WINDOW_MS: u64 = 60_000;
/// Addresses remembered. When all are recent, further ones share one entry.
const ADDRESSES_MAX: usize = 1024;
const SHARED: IpAddr = IpAddr::V6(Ipv6Addr::UNSPECIFIED);

#[derive(Debug)]
pub(super) struct Attempts {
    per_window: u32,
    counts: BTreeMap<IpAddr, Count>,
}

#[derive(Debug)]
struct Count {
    since: Millis,
    wrong: u32,
}

impl Attempts {
    pub(super) const fn new(per_window: u32) -> Self {
        Self { per_window, counts: BTreeMap::new() }
    }

    /// False if the address has no attempt left in this window.
    pub(super) fn charge(&mut self, address: IpAddr, now: Millis) -> bool {
        let household = self.entry_key(household(address), now);
        let count = self.counts.entry(household).or_insert(Count { since: now, wrong: 0 });
        if now.since(count.since) >= WINDOW_MS {
            *count = Count { since: now, wrong: 0 };
        }
        if count.wrong >= self.per_window {
            return false;
        }
        count.wrong += 1;
        true
    }

    /// The attempt was right.
    pub(super) fn refund(&mut self, address: IpAddr) {
        let household = household(address);
        let key = if self.counts.contains_key(&household) { household } else { SHARED };
        if let Some(count) = self.counts.get_mut(&key) {
            count.wrong = count.wrong.saturating_sub(1);
        }
    }

    fn entry_key(&mut self, household: IpAddr, now: Millis) -> IpAddr {
        if self.counts.contains_key(&household) || self.counts.len() < ADDRESSES_MAX {
            return household;
        }
        self.counts.retain(|_, count| count.wrong > 0 && now.since(count.since) < WINDOW_MS);
        if self.counts.len() < ADDRESSES_MAX { household } else { SHARED }
    }
}

/// The unit one household gets: an IPv4 address, or an IPv6 /64.
pub(super) fn household(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        v4 @ IpAddr::V4(_) => v4,
        IpAddr::V6(v6) => {
            let [a, b, c, d, ..] = v6.segments();
            IpAddr::V6(Ipv6Addr::new(a, b, c, d, 0, 0, 0, 0))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn an_address_has_its_attempts_again_after_a_minute() {
        let mut attempts = Attempts::new(2);
        let (one, other) = (address("192.0.2.1"), address("192.0.2.2"));
        assert!(attempts.charge(one, Millis(0)));
        assert!(attempts.charge(one, Millis(1)));
        assert!(!attempts.charge(one, Millis(59_999)));
        assert!(attempts.charge(other, Millis(59_999)));
        assert!(attempts.charge(one, Millis(60_000)));
    }

    #[test]
    fn right_attempts_cost_nothing() {
        let mut attempts = Attempts::new(1);
        for _ in 0..10 {
            assert!(attempts.charge(address("192.0.2.1"), Millis(0)));
            attempts.refund(address("192.0.2.1"));
        }
    }

    #[test]
    fn a_slash_64_is_one_address() {
        let mut attempts = Attempts::new(1);
        assert!(attempts.charge(address("2001:db8::1"), Millis(0)));
        assert!(!attempts.charge(address("2001:db8::ffff:1"), Millis(0)));
        assert!(attempts.charge(address("2001:db8:0:1::1"), Millis(0)));
        assert!(attempts.charge(address("::ffff:192.0.2.1"), Millis(0)));
        assert!(!attempts.charge(address("192.0.2.1"), Millis(0)));
    }

    #[test]
    fn memory_is_bounded_and_the_rest_shares_one_entry() {
        let mut attempts = Attempts::new(1);
        let tried =
            (0..5000_u32).filter(|i| attempts.charge(IpAddr::V4((0x0A00_0000 + i).into()), Millis(0)));
        assert_eq!(tried.count(), 1025);
        assert_eq!(attempts.counts.len(), 1025);
        assert!(attempts.charge(address("192.0.2.1"), Millis(60_000)));
        assert_eq!(attempts.counts.len(), 1);
    }
}
