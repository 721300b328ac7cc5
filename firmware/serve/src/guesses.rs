//! How often a PIN may be tried: a bucket of tries per peer and one for the box.
//!
//! A try is taken before the PIN is looked at and given back when it was right, so that trying in parallel gains
//! nothing. An IPv6 peer is its /64. The table is bounded by the box's bucket: more peers than that can't have
//! tried within the time their buckets take to fill again.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

const PEER: Limit = Limit { tries: 5, refill: Duration::from_secs(60) };
const BOX: Limit = Limit { tries: 30, refill: Duration::from_secs(20) };
const PEERS_MAX: usize = 256;

#[derive(Clone, Copy)]
struct Limit {
    tries: u32,
    /// One more try after each of these.
    refill: Duration,
}

/// A bucket as the moment at which it is full again (a "virtual scheduling" leaky bucket): no timers, no counts.
#[derive(Clone, Copy, Debug)]
struct Bucket {
    full_at: Instant,
}

impl Bucket {
    /// Takes a try, or says how long until there is one.
    fn take(&mut self, limit: Limit, now: Instant) -> Result<(), Duration> {
        let full_at = self.full_at.max(now) + limit.refill;
        let over = full_at.duration_since(now).saturating_sub(limit.refill * limit.tries);
        if !over.is_zero() {
            return Err(over);
        }
        self.full_at = full_at;
        Ok(())
    }

    fn give_back(&mut self, limit: Limit, now: Instant) {
        self.full_at = self.full_at.checked_sub(limit.refill).unwrap_or(now);
    }
}

#[derive(Debug)]
pub(crate) struct Guesses {
    tables: Mutex<Tables>,
}

#[derive(Debug)]
struct Tables {
    everyone: Bucket,
    peers: HashMap<IpAddr, Bucket>,
}

impl Guesses {
    pub(crate) fn new() -> Self {
        let everyone = Bucket { full_at: Instant::now() };
        Self { tables: Mutex::new(Tables { everyone, peers: HashMap::new() }) }
    }

    /// Takes a try, or says how long the peer must wait for one.
    pub(crate) fn take(&self, peer: IpAddr) -> Result<(), Duration> {
        let now = Instant::now();
        let mut tables = self.tables.lock().unwrap_or_else(PoisonError::into_inner);
        let Tables { everyone, peers } = &mut *tables;
        if peers.len() >= PEERS_MAX {
            peers.retain(|_, bucket| bucket.full_at > now);
        }
        if peers.len() >= PEERS_MAX {
            return Err(PEER.refill);
        }
        let bucket = peers.entry(key(peer)).or_insert(Bucket { full_at: now });
        bucket.take(PEER, now)?;
        everyone.take(BOX, now).inspect_err(|_| bucket.give_back(PEER, now))
    }

    /// The PIN was right.
    pub(crate) fn was_right(&self, peer: IpAddr) {
        let mut tables = self.tables.lock().unwrap_or_else(PoisonError::into_inner);
        tables.peers.remove(&key(peer));
        tables.everyone.give_back(BOX, Instant::now());
    }
}

fn key(peer: IpAddr) -> IpAddr {
    match peer.to_canonical() {
        IpAddr::V6(ip) => {
            let [a, b, c, d, ..] = ip.segments();
            Ipv6Addr::new(a, b, c, d, 0, 0, 0, 0).into()
        }
        ip @ IpAddr::V4(_) => ip,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[tokio::test(start_paused = true)]
    async fn five_tries_then_one_a_minute() {
        let guesses = Guesses::new();
        let peer = ip("192.168.1.2");
        for _ in 0..5 {
            assert_eq!(guesses.take(peer), Ok(()));
        }
        assert_eq!(guesses.take(peer), Err(Duration::from_secs(60)));
        assert_eq!(guesses.take(ip("192.168.1.3")), Ok(()));
        tokio::time::advance(Duration::from_secs(60)).await;
        assert_eq!(guesses.take(peer), Ok(()));
        assert!(guesses.take(peer).is_err());
    }

    #[tokio::test(start_paused = true)]
    async fn many_peers_share_the_box_bucket() {
        let guesses = Guesses::new();
        let tries = (0..=255).filter(|n| guesses.take(ip(&format!("10.0.0.{n}"))).is_ok()).count();
        assert_eq!(tries, 30);
        let tries = (0..=255).filter(|n| guesses.take(ip(&format!("2001:db8:0:{n}::1"))).is_ok()).count();
        assert_eq!(tries, 0);
        assert!(guesses.tables.lock().unwrap().peers.len() <= 256);
        tokio::time::advance(Duration::from_secs(20)).await;
        assert_eq!(guesses.take(ip("10.9.9.9")), Ok(()));
        assert!(guesses.take(ip("10.9.9.8")).is_err());
    }

    #[tokio::test(start_paused = true)]
    async fn a_right_pin_clears_the_peer() {
        let guesses = Guesses::new();
        let peer = ip("fd00::1");
        for _ in 0..20 {
            for _ in 0..5 {
                assert_eq!(guesses.take(ip("fd00::2")), Ok(()), "one /64 is one peer");
                guesses.was_right(peer);
            }
        }
    }
}
