//! What a box does by itself while the coordinator is silent: parents for its stripes, out of those that it knows.
//!
//! The measure is the coordinator's ([`crate::score`]), but a box knows only what others tell it: what they have left,
//! and for each stripe who is above them. It takes no stripe from one that is below it, so no circle lasts: two boxes
//! that choose each other at the same moment see themselves above each other with the next word, and both are barred.
//! Plain functions; refuses to remember anything.

use alloc::collections::BTreeMap;
use alloc::vec;
use alloc::vec::Vec;

use crate::assign::DEPTH_MAX;
use crate::fetch::{Candidate, ParentId};
use crate::part::{STRIPES_MAX, StripeCount, Stripes};
use crate::score::Facts;

/// What an edge costs besides its round trip: about the time of a block.
const HOP_MS: u64 = 100;
/// A parent in use is left for one that is better by this.
const STAY_MS: u64 = 150;
/// What it costs to take a stripe from a box that gives in others: its loss would cost more at once.
const OTHER_MS: u64 = 50;
/// At most this for a box that comes and goes.
const SHAKY_MS: u64 = 200;

/// A box of the mesh, by a number that all boxes have for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Name(pub u64);

/// What another box says of itself, and what is known of the way to it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Offer {
    pub id: ParentId,
    pub facts: Facts,
    /// Stripes that it can give beyond those that it gives.
    pub free: u16,
    pub round_trip_ms: u64,
    /// Stripes in which it gives something.
    pub gives: Stripes,
    /// Per stripe, who is above it, itself left out; `None` where it doesn't get that stripe.
    pub above: Vec<Option<Vec<Name>>>,
}

impl Offer {
    fn depth(&self, stripe: u8) -> Option<usize> {
        Some(self.above.get(usize::from(stripe))?.as_ref()?.len())
    }

    /// Whether a box can't take a stripe from it: it has none, is below the box, or too far down.
    fn bars(&self, me: Name, stripe: u8) -> bool {
        let above = self.above.get(usize::from(stripe)).and_then(Option::as_ref);
        above.is_none_or(|above| above.contains(&me) || above.len() >= usize::from(DEPTH_MAX))
    }

    /// Smaller is better, in milliseconds.
    fn cost(&self, stripe: u8, holds: bool) -> u64 {
        let hops = u64::try_from(self.depth(stripe).unwrap_or(usize::from(DEPTH_MAX))).unwrap_or(0) * HOP_MS;
        let other = if self.gives.is_empty() || self.gives.contains(stripe) { 0 } else { OTHER_MS };
        let shaky = u64::from(1000_u32.saturating_sub(self.facts.steadiness())) * SHAKY_MS / 1000;
        hops + self.round_trip_ms + other + shaky + if holds { 0 } else { STAY_MS }
    }
}

/// Candidates for [`crate::Fetch::handle_parents`]: a parent for each stripe that anybody has room for, two parents
/// where there are two, and all others as stand-bys. `now` is from whom each stripe comes just now.
#[must_use]
pub fn choose(me: Name, stripes: StripeCount, offers: &[Offer], now: &[Option<ParentId>]) -> Vec<Candidate> {
    let held = |id: ParentId, stripe: u8| now.get(usize::from(stripe)).copied().flatten() == Some(id);
    let mut taken: BTreeMap<ParentId, u16> = BTreeMap::new();
    let mut plan = vec![None; usize::from(stripes.get())];
    let able = |offer: &Offer, stripe: u8, taken: &BTreeMap<ParentId, u16>| {
        // What this box holds is no part of what is free.
        let room = held(offer.id, stripe) || taken.get(&offer.id).copied().unwrap_or(0) < offer.free;
        room && !offer.bars(me, stripe)
    };
    for (stripe, slot) in (0..).zip(&mut plan) {
        let best = offers.iter().filter(|offer| able(offer, stripe, &taken));
        *slot = best
            .min_by_key(|offer| (offer.cost(stripe, held(offer.id, stripe)), offer.id))
            .map(|best| best.id);
        if let Some(id) = slot.filter(|id| !held(*id, stripe)) {
            *taken.entry(id).or_default() += 1;
        }
    }
    if let (Some(Some(only)), true) = (plan.first().copied(), plan.len() > 1)
        && plan.iter().all(|id| *id == Some(only))
    {
        // The stripe for which another costs least. Boxes begin with different ones: two that take the same stripe from
        // each other at the same moment would have to let it go again.
        let turn =
            |stripe: u8| (u64::from(stripe) + me.0 % u64::from(STRIPES_MAX)) % u64::from(stripes.get());
        let others = |stripe: u8| {
            offers.iter().filter(move |offer| offer.id != only).map(move |offer| (offer, stripe))
        };
        let pairs =
            stripes.all().iter().flat_map(others).filter(|(offer, stripe)| able(offer, *stripe, &taken));
        if let Some((other, stripe)) =
            pairs.min_by_key(|(offer, stripe)| (offer.cost(*stripe, false), turn(*stripe), offer.id))
            && let Some(slot) = plan.get_mut(usize::from(stripe))
        {
            *slot = Some(other.id);
        }
    }
    let candidate = |offer: &Offer| {
        let mine = (0..).zip(&plan).filter(|(_, id)| **id == Some(offer.id));
        let barred = stripes.all().iter().filter(|stripe| offer.bars(me, *stripe));
        Candidate {
            id: offer.id,
            score: offer.facts.worth(offer.free, offer.round_trip_ms),
            round_trip_ms: offer.round_trip_ms,
            stripes: mine.fold(Stripes::NONE, |all, (stripe, _)| all.with(stripe)),
            barred: barred.fold(Stripes::NONE, Stripes::with),
            heir: Stripes::NONE,
        }
    };
    offers.iter().map(candidate).collect()
}

#[cfg(test)]
mod tests;
