//! How many handshake messages one source may have looked at: a token bucket for each.
//!
//! The engine's own limiter counts everybody together, so one flooder would put all peers into cookie mode. This one
//! stands before it. A source is an IPv4 address or an IPv6 /64, since whoever has one address of those has them
//! all. The table never grows: a place is taken by the source whose number falls on it, once whoever was there has
//! been quiet for long enough to be full again; until then both share one bucket, to the disadvantage of both.

use std::hash::{BuildHasher, RandomState};
use std::net::IpAddr;
use std::time::{Duration, Instant};

/// Handshake messages that a source may send at once.
pub const BURST: u32 = 10;
/// Handshake messages per second that a source may go on with. One peer needs one in five seconds.
pub const PER_SECOND: u32 = 5;
/// Sources told apart.
pub const PLACES: usize = 2048;

const FULL: Duration = Duration::from_millis(1000 * BURST as u64 / PER_SECOND as u64);
const ONE: Duration = Duration::from_millis(1000 / PER_SECOND as u64);

/// The buckets of all sources.
#[derive(Debug)]
pub struct SourceBuckets {
    places: Box<[Place]>,
    /// Keyed, so that nobody outside can choose whom they share a place with.
    hasher: RandomState,
}

#[derive(Clone, Copy, Debug)]
struct Place {
    source: u128,
    bucket: Bucket,
}

/// One bucket, kept as the time at which it is full again.
#[derive(Clone, Copy, Debug, Default)]
pub struct Bucket {
    full_at: Option<Instant>,
}

impl Bucket {
    /// Takes a token, or says that there is none.
    pub fn take(&mut self, now: Instant) -> bool {
        let full_at = self.full_at.map_or(now, |full_at| full_at.max(now)) + ONE;
        let granted = full_at.duration_since(now) <= FULL;
        if granted {
            self.full_at = Some(full_at);
        }
        granted
    }

    fn is_full(&self, now: Instant) -> bool {
        self.full_at.is_none_or(|full_at| full_at <= now)
    }
}

impl Default for SourceBuckets {
    fn default() -> SourceBuckets {
        let empty = Place { source: 0, bucket: Bucket::default() };
        SourceBuckets { places: vec![empty; PLACES].into(), hasher: RandomState::new() }
    }
}

impl SourceBuckets {
    /// Takes a token of that source's, or says that there is none: then the message is to be dropped.
    pub fn take(&mut self, source: IpAddr, now: Instant) -> bool {
        let source = source_number(source);
        let number = self.hasher.hash_one(source) % self.places.len() as u64;
        let place = &mut self.places[usize::try_from(number).expect("below PLACES")];
        if place.source != source && place.bucket.is_full(now) {
            *place = Place { source, bucket: Bucket::default() };
        }
        place.bucket.take(now)
    }
}

/// IPv4 addresses lie where no /64 of IPv6 does: with low bits set.
fn source_number(source: IpAddr) -> u128 {
    match source {
        IpAddr::V4(address) => u128::from(u32::from(address)) | 1 << 32,
        IpAddr::V6(address) => match address.to_ipv4_mapped() {
            Some(address) => source_number(IpAddr::V4(address)),
            None => u128::from(address) >> 64 << 64,
        },
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn address(text: &str) -> IpAddr {
        text.parse().expect("an address")
    }

    #[test]
    fn a_burst_then_a_rate() {
        let mut bucket = Bucket::default();
        let start = Instant::now();
        let taken = |bucket: &mut Bucket, ms, tries| {
            (0..tries).filter(|_| bucket.take(start + Duration::from_millis(ms))).count()
        };
        assert_eq!(taken(&mut bucket, 0, 50), 10);
        assert_eq!(taken(&mut bucket, 199, 50), 0);
        assert_eq!(taken(&mut bucket, 200, 50), 1);
        assert_eq!(taken(&mut bucket, 1200, 50), 5);
        assert_eq!(taken(&mut bucket, 60_000, 50), 10);
    }

    #[test]
    fn one_source_does_not_drain_another() {
        let mut buckets = SourceBuckets::default();
        let now = Instant::now();
        assert_eq!((0..1000).filter(|_| buckets.take(address("192.0.2.1"), now)).count(), 10);
        let others = (0..100).filter(|n| buckets.take(address(&format!("198.51.100.{n}")), now)).count();
        // A few may fall on the same place.
        assert!(others >= 95, "{others}");
    }

    #[test]
    fn a_network_of_ipv6_is_one_source() {
        let mut buckets = SourceBuckets::default();
        let now = Instant::now();
        let taken = (0..100).filter(|n| buckets.take(address(&format!("2001:db8::{n:x}")), now)).count();
        assert_eq!(taken, 10);
        assert_eq!(source_number(address("::ffff:192.0.2.1")), source_number(address("192.0.2.1")));
    }

    proptest! {
        #[test]
        fn never_more_than_burst_and_rate(gaps_ms in proptest::collection::vec(0_u64..2000, 1..200)) {
            let mut bucket = Bucket::default();
            let start = Instant::now();
            let (mut ms, mut granted) = (0, 0);
            for gap in gaps_ms {
                ms += gap;
                granted += u64::from(bucket.take(start + Duration::from_millis(ms)));
                prop_assert!(granted <= 10 + ms * 5 / 1000, "{granted} in {ms} ms");
            }
        }
    }
}
