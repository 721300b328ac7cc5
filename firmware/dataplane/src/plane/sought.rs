//! Addresses of the mesh to which the host sends packets that can't go there: no peer has them, or one that there is no
//! session with. Whoever knows more may make them peers, and have them know this one. Each is told once, and again after
//! a while if packets still come.
//!
//! Refuses to remember more than [`ADDRESSES_MAX`], so a program that tries all addresses is heard now and then; and to
//! wait for anybody to listen. Nothing is allocated for a packet.

use std::net::IpAddr;
use std::time::{Duration, Instant};

use mesh::{MeshPrefix, Ula};
use tokio::sync::mpsc;

/// Addresses that are remembered. With as many told within [`AGAIN_AFTER`], others are passed over.
const ADDRESSES_MAX: usize = 32;

/// Before the same address is told again.
const AGAIN_AFTER: Duration = Duration::from_secs(5);

#[derive(Debug)]
pub(super) struct Sought {
    inside: MeshPrefix,
    told: heapless::Vec<(Ula, Instant), ADDRESSES_MAX>,
    listener: mpsc::Sender<Ula>,
}

impl Sought {
    pub(super) fn new(inside: MeshPrefix, listener: mpsc::Sender<Ula>) -> Sought {
        Sought { inside, told: heapless::Vec::new(), listener }
    }

    /// A packet for this address can't be sent.
    pub(super) fn note(&mut self, destination: IpAddr, now: Instant) {
        let IpAddr::V6(destination) = destination else { return };
        let Ok(address) = Ula::try_from(destination) else { return };
        if !self.inside.contains(&address) {
            return;
        }
        let is_over = |at: Instant| now.saturating_duration_since(at) >= AGAIN_AFTER;
        let known = self.told.iter().position(|(known, _)| *known == address);
        let place = match known {
            Some(known) if !is_over(self.told[known].1) => return,
            Some(known) => Some(known),
            None if self.told.is_full() => self.told.iter().position(|(_, at)| is_over(*at)),
            None => None,
        };
        match place {
            Some(place) => self.told[place] = (address, now),
            None => {
                let Ok(()) = self.told.push((address, now)) else { return };
            }
        }
        // Who listens has enough to do: it is told again.
        let _ = self.listener.try_send(address);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_address_is_told_now_and_then() {
        let inside = MeshPrefix::of(&"EJ50YAA67EF9BXEH3DB3Y8KS7R".parse().unwrap());
        let (sender, mut told) = mpsc::channel(64);
        let (mut sought, start) = (Sought::new(inside, sender), Instant::now());
        let mut note = |address: IpAddr, seconds: u64| {
            sought.note(address, start + Duration::from_secs(seconds));
            std::iter::from_fn(|| told.try_recv().ok()).collect::<Vec<_>>()
        };
        let nth = |n: u64| inside.nth(n);
        let at = |n: u64| IpAddr::V6(nth(n).into());
        assert_eq!(note(at(1), 0), [nth(1)]);
        assert_eq!((note(at(1), 0), note(at(1), 4)), (vec![], vec![]));
        assert_eq!(note(at(1), 5), [nth(1)]);
        for outside in ["fd00::1", "2001:db8::1", "192.0.2.1", "ff02::1"] {
            assert_eq!(note(outside.parse().unwrap(), 5), []);
        }
        // Somebody tries them all.
        let tried: Vec<_> = (2..100).flat_map(|n| note(at(n), 6)).collect();
        assert_eq!(tried, (2..33).map(nth).collect::<Vec<_>>());
        assert_eq!((note(at(99), 9), note(at(99), 10)), (vec![], vec![nth(99)]));
        assert_eq!((note(at(2), 10), note(at(2), 11)), (vec![], vec![nth(2)]));
    }

    #[test]
    fn nobody_is_waited_for() {
        let inside = MeshPrefix::of(&"EJ50YAA67EF9BXEH3DB3Y8KS7R".parse().unwrap());
        let (sender, mut told) = mpsc::channel(1);
        let (mut sought, now) = (Sought::new(inside, sender), Instant::now());
        (0..5).for_each(|n| sought.note(IpAddr::V6(inside.nth(n).into()), now));
        assert_eq!((told.try_recv(), told.try_recv().is_err()), (Ok(inside.nth(0)), true));
    }
}
