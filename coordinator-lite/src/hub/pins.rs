//! Boxes that stand in each other's maps because one of them asked for the other: for a while, and before those that
//! were seen last. Both have to know each other, or the one that is called answers no handshake.
//!
//! Decides only; the clock comes from its caller. Refuses to give a box more than a quarter of its map for those that
//! it asked for, and another quarter for those that asked for it, so that its other peers stay; and to remember
//! anything over a restart: a box asks again.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use trust::BoxKey;

/// How long a pin holds. Asking again renews it.
pub(crate) const HOLDS: Duration = Duration::from_secs(600);

/// Over all boxes: some 20 MB.
const PINS_MAX: usize = 65_536;

/// Two boxes are not put into each other's maps.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum PinRefused {
    #[error("this box has asked for as many others as its map has room for")]
    AsksTooMany {
        /// Until there is room for one more.
        wait: Duration,
    },
    #[error("as many others asked for that box as its map has room for")]
    AskedByTooMany,
    #[error("too many boxes ask for others just now")]
    Full,
}

/// To each box the others of its kind, and until when.
type Side = BTreeMap<BoxKey, BTreeMap<BoxKey, Instant>>;

#[derive(Debug)]
pub(super) struct Pins {
    /// Of one box, on each side.
    share: usize,
    /// Who asked -> for whom.
    asks: Side,
    /// The same the other way round.
    asked: Side,
}

impl Pins {
    /// `boxes_max` are the places of a map.
    pub(super) fn new(boxes_max: usize) -> Self {
        Self { share: (boxes_max / 4).max(1), asks: Side::new(), asked: Side::new() }
    }

    /// Puts the two into each other's maps until [`HOLDS`] from now.
    ///
    /// # Errors
    /// [`PinRefused`]; what was pinned before stays.
    pub(super) fn pin(&mut self, asker: &BoxKey, sought: &BoxKey, now: Instant) -> Result<(), PinRefused> {
        self.forget_over(asker, now);
        self.forget_over(sought, now);
        let is_new = self.asks.get(asker).is_none_or(|them| !them.contains_key(sought));
        if is_new {
            self.room(asker, sought, now)?;
        }
        let until = now + HOLDS;
        self.asks.entry(*asker).or_default().insert(*sought, until);
        self.asked.entry(*sought).or_default().insert(*asker, until);
        Ok(())
    }

    fn room(&mut self, asker: &BoxKey, sought: &BoxKey, now: Instant) -> Result<(), PinRefused> {
        if let Some(them) = self.asks.get(asker).filter(|them| them.len() >= self.share) {
            let first = them.values().min().copied().unwrap_or(now);
            return Err(PinRefused::AsksTooMany { wait: first.saturating_duration_since(now) });
        }
        if self.asked.get(sought).is_some_and(|them| them.len() >= self.share) {
            return Err(PinRefused::AskedByTooMany);
        }
        if self.count() >= PINS_MAX {
            let askers: Vec<_> = self.asks.keys().copied().collect();
            askers.iter().for_each(|asker| self.forget_over(asker, now));
        }
        if self.count() >= PINS_MAX { Err(PinRefused::Full) } else { Ok(()) }
    }

    /// Who has to stand in a box's map, and until when.
    pub(super) fn of(&self, key: &BoxKey, now: Instant) -> BTreeMap<BoxKey, Instant> {
        let mut pinned = BTreeMap::new();
        for (other, until) in [&self.asks, &self.asked].into_iter().filter_map(|side| side.get(key)).flatten()
        {
            let latest = pinned.entry(*other).or_insert(*until);
            *latest = (*latest).max(*until);
        }
        pinned.retain(|_, until| *until > now);
        pinned
    }

    fn count(&self) -> usize {
        self.asks.values().map(BTreeMap::len).sum()
    }

    /// Lets go of what is over of one box's, on both sides.
    fn forget_over(&mut self, key: &BoxKey, now: Instant) {
        forget_over(&mut self.asks, &mut self.asked, key, now);
        forget_over(&mut self.asked, &mut self.asks, key, now);
    }
}

fn forget_over(side: &mut Side, other_side: &mut Side, key: &BoxKey, now: Instant) {
    let Some(them) = side.get_mut(key) else { return };
    let over: Vec<_> = them.iter().filter(|(_, until)| **until <= now).map(|(other, _)| *other).collect();
    for other in over {
        take(side, key, &other);
        take(other_side, &other, key);
    }
}

fn take(side: &mut Side, key: &BoxKey, other: &BoxKey) {
    let Some(them) = side.get_mut(key) else { return };
    them.remove(other);
    if them.is_empty() {
        side.remove(key);
    }
}

#[cfg(test)]
mod tests {
    use trust::BoxSecret;

    use super::*;

    fn key(n: u8) -> BoxKey {
        BoxSecret::from_seed(&[n; 32]).public()
    }

    fn pinned(pins: &Pins, of: u8, now: Instant) -> Vec<BoxKey> {
        pins.of(&key(of), now).into_keys().collect()
    }

    #[test]
    fn both_have_each_other_until_it_is_over() {
        let (mut pins, start) = (Pins::new(256), Instant::now());
        let at = |seconds| start + Duration::from_secs(seconds);
        pins.pin(&key(1), &key(2), start).unwrap();
        for moment in [at(0), at(599)] {
            assert_eq!(pinned(&pins, 1, moment), [key(2)]);
            assert_eq!(pinned(&pins, 2, moment), [key(1)]);
        }
        assert_eq!((pinned(&pins, 1, at(600)), pinned(&pins, 2, at(600))), (vec![], vec![]));
        // Asked for again in time, by either of them.
        pins.pin(&key(2), &key(1), at(300)).unwrap();
        assert_eq!(pins.of(&key(1), at(400)), BTreeMap::from([(key(2), at(900))]));
        assert_eq!(pinned(&pins, 2, at(899)), [key(1)]);
        // What is over takes no room.
        pins.pin(&key(1), &key(3), at(2000)).unwrap();
        pins.pin(&key(2), &key(3), at(2000)).unwrap();
        assert_eq!((pins.asks.len(), pins.asked.len(), pins.count()), (2, 1, 2));
    }

    #[test]
    fn one_that_asks_for_everybody_gets_its_share_and_costs_each_one_place() {
        let (mut pins, start) = (Pins::new(256), Instant::now());
        let asked: Vec<_> = (2..=200).map(|n| pins.pin(&key(1), &key(n), start)).collect();
        assert_eq!(asked.iter().filter(|pinned| pinned.is_ok()).count(), 64);
        assert_eq!(asked[64], Err(PinRefused::AsksTooMany { wait: Duration::from_secs(600) }));
        assert_eq!((pins.of(&key(1), start).len(), pins.of(&key(2), start).len()), (64, 1));
        // It may renew those that it has, and others may ask for it.
        let later = start + Duration::from_secs(400);
        assert_eq!(pins.pin(&key(1), &key(2), later), Ok(()));
        assert_eq!(pins.pin(&key(201), &key(1), later), Ok(()));
        // Of the others all are over after 600 s.
        let over = start + Duration::from_secs(600);
        assert_eq!(pins.pin(&key(1), &key(200), over), Ok(()));
        assert_eq!(pins.of(&key(1), over).len(), 3);
    }

    #[test]
    fn one_that_everybody_asks_for_may_still_ask_itself() {
        let (mut pins, now) = (Pins::new(16), Instant::now());
        let asked: Vec<_> = (2..8).map(|n| pins.pin(&key(n), &key(1), now)).collect();
        let full = Err(PinRefused::AskedByTooMany);
        assert_eq!(asked, [Ok(()), Ok(()), Ok(()), Ok(()), full, full]);
        assert_eq!(pins.pin(&key(1), &key(9), now), Ok(()));
        assert_eq!(pins.of(&key(1), now).len(), 5);
    }
}
