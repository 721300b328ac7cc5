//! The coordinator's part: a tree for each stripe, over all boxes that want a stream.
//!
//! As in SplitStream (Castro et al., SOSP 2003), a box that comes gives on in one stripe and is a leaf in the others, so that
//! its loss costs each of its children one stripe; only a box with a large uplink gives in more, where slots are scarce. Small
//! moves then make hops fewer, and keep what a child has from one box little (docs/adr/0023-two-hops.md).
//! A change moves as few edges as it can. Refuses to give a box more children than its uplink and its friend's limit
//! allow, in whole stripes; and everything is decided by what it was told and in which order, so it's the same each
//! time.
//!
//! ```text
//! a box comes:   a free slot near the origin ──────────────────────────> its parent
//!                a leaf nearer to the origin that can give less ──────> it takes the leaf's place, the leaf is its child
//! a box goes:    its best child takes its place, the others look for a free slot with all that hangs on them
//! each second:   the move that saves most hops, or most of a full line (see `improve`)
//! no slot free:  a box with slots left gives in this stripe, too ──> a leaf that gives nothing makes room ──> unserved
//! ```

mod forest;
mod heirs;
mod improve;
mod place;
mod standby;
#[cfg(test)]
mod tests;

use alloc::collections::{BTreeMap, BTreeSet};
use alloc::vec::Vec;
use core::cmp::Reverse;
use core::ops::Bound::{Excluded, Unbounded};

use crate::part::{StripeCount, Stripes};
use crate::score::{self, Facts};
use forest::{Forest, Node};
use heirs::Legacy;
pub use standby::StandBy;

/// Boxes of one stream; one more is not taken.
pub const BOXES_MAX: usize = 65_536;
/// Edges from the origin to a box; a place farther down is none.
pub const DEPTH_MAX: u8 = 16;
/// Boxes that give way with one change, where there is not enough for all.
const WAITING_STEPS: usize = 8;
/// Boxes with a single parent that are looked after with one change.
const LONELY_STEPS: usize = 8;

/// How far away a box is from which nothing came: farther than any other.
const FAILED_MS: u64 = 1 << 32;

/// A box, by the number that the coordinator gave it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct BoxId(pub u32);

/// What is to be given on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Load {
    pub stripes: StripeCount,
    /// Of the media.
    pub bitrate_bps: u64,
}

/// A box takes a stripe from another one than before; from nobody where there is no room.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Change {
    pub child: BoxId,
    pub stripe: u8,
    pub parent: Option<BoxId>,
}

/// What a person may see.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Figures {
    pub boxes: usize,
    /// With all stripes.
    pub boxes_served: usize,
    /// Stripes that all boxes together can give, the origin included.
    pub slots: usize,
    /// Stripes that the origin gives.
    pub origin_gives: usize,
    /// Edges from the origin to the box that is farthest away.
    pub depth: u8,
}

/// See the module's page.
#[derive(Debug)]
pub struct Assigner {
    load: Load,
    stripe_bps: u64,
    origin: BoxId,
    forest: Forest,
    /// Boxes without a parent in some stripe, the strongest first: they make room for others.
    waiting: BTreeSet<(Reverse<u32>, BoxId)>,
    lonely: BTreeSet<BoxId>,
    /// The one that was looked after last.
    consoled: BoxId,
    /// The last one that [`Assigner::improve`] looked at.
    improved: BoxId,
    /// Boxes that it looked at since something changed.
    unmoved: usize,
    changes: BTreeMap<(BoxId, u8), Option<BoxId>>,
}

/// The round trip between two boxes in milliseconds, as well as it is known.
pub type Near<'a> = &'a dyn Fn(BoxId, BoxId) -> u64;

impl Assigner {
    #[must_use]
    pub fn new(load: Load, origin: BoxId, facts: &Facts) -> Self {
        let stripe_bps = score::stripe_bps(load.bitrate_bps, load.stripes);
        let mut node = Node::new(facts, facts.slots(stripe_bps), load.stripes);
        node.gives = load.stripes.all();
        Self {
            load,
            stripe_bps,
            origin,
            forest: Forest::new(origin, node, load.stripes),
            waiting: BTreeSet::new(),
            lonely: BTreeSet::new(),
            consoled: origin,
            improved: origin,
            unmoved: 0,
            changes: BTreeMap::new(),
        }
    }

    /// A box wants the stream, or something about it changed; the origin's uplink may change, too.
    pub fn handle_box(&mut self, id: BoxId, facts: &Facts, near: Near<'_>) {
        if self.forest.contains(id) {
            self.resize(id, facts, facts.slots(self.stripe_bps), near);
        } else if self.forest.len() <= BOXES_MAX {
            let node = Node::new(facts, facts.slots(self.stripe_bps), self.load.stripes);
            let first = self.forest.add(id, node);
            // The stripe that it is to give comes first, so that there is room for others below it.
            let order =
                first.into_iter().chain(self.load.stripes.all().iter().filter(|other| Some(*other) != first));
            for stripe in order.collect::<Vec<_>>() {
                self.place(id, stripe, near);
                self.note(id, stripe);
            }
        }
        self.settle(near);
    }

    /// A box went, or doesn't want the stream any more.
    pub fn handle_gone(&mut self, id: BoxId, near: Near<'_>) {
        if id == self.origin || !self.forest.contains(id) {
            return;
        }
        let legacies = self.legacies(id);
        let mut orphans = Vec::new();
        for stripe in self.load.stripes.all().iter() {
            self.cut(id, stripe);
            let children = self.forest.children(id, stripe);
            children.iter().for_each(|child| self.cut(*child, stripe));
            orphans.extend(children.into_iter().map(|child| (child, stripe)));
        }
        // They turn to their heirs by themselves, before anybody plans.
        for Legacy { child, stripe, heir } in legacies {
            if self.free(heir) > 0 && self.forest.depth(heir, stripe).is_some() {
                self.ensure_gives(heir, stripe);
                self.join(child, stripe, heir);
                orphans.retain(|orphan| *orphan != (child, stripe));
            }
        }
        self.waiting.remove(&(Reverse(self.forest.strength(id)), id));
        self.forest.remove(id);
        self.lonely.remove(&id);
        self.changes.retain(|(child, _), _| *child != id);
        for (child, stripe) in orphans {
            self.place(child, stripe, near);
        }
        self.settle(near);
    }

    /// A box can't take anything from another one: what it had from that one comes from elsewhere, if there is a slot.
    /// Where it stays, the caller names nobody for it.
    pub fn handle_failed(&mut self, child: BoxId, parent: BoxId, near: Near<'_>) {
        let near = |one: BoxId, other: BoxId| {
            if (one, other) == (parent, child) { FAILED_MS } else { near(one, other) }
        };
        for stripe in self.load.stripes.all().iter() {
            if self.forest.parent(child, stripe) == Some(parent) {
                self.cut(child, stripe);
                let height = self.forest.height(child, stripe);
                // A free slot, although a leaf's place may be better: that may be below the same parent.
                match self.slot_but(child, stripe, height, Some(parent), &near) {
                    Some((_, other)) => self.join(child, stripe, other),
                    None => _ = self.place(child, stripe, &near),
                }
            }
        }
        self.settle(&near);
    }

    /// How near boxes are to each other is not what it was: the next [`Assigner::improve`] looks at all again.
    pub const fn handle_ways_changed(&mut self) {
        self.unmoved = 0;
    }

    /// From whom a box takes each stripe. Empty for one that is not known.
    #[must_use]
    pub fn parents(&self, id: BoxId) -> Vec<Option<BoxId>> {
        if !self.forest.contains(id) {
            return Vec::new();
        }
        self.load.stripes.all().iter().map(|stripe| self.forest.parent(id, stripe)).collect()
    }

    /// To whom a box gives a stripe.
    #[must_use]
    pub fn children(&self, id: BoxId, stripe: u8) -> Vec<BoxId> {
        self.forest.children(id, stripe)
    }

    /// Stripes in which a box gives anything.
    #[must_use]
    pub fn gives(&self, id: BoxId) -> Stripes {
        let gives =
            self.load.stripes.all().iter().filter(|stripe| !self.forest.children(id, *stripe).is_empty());
        gives.fold(Stripes::NONE, Stripes::with)
    }

    /// Edges from the origin to a box in a stripe, if it gets that.
    #[must_use]
    pub fn depth(&self, id: BoxId, stripe: u8) -> Option<u8> {
        self.forest.depth(id, stripe)
    }

    /// What is different since it was last asked, once for each box and stripe.
    pub fn poll_change(&mut self) -> Option<Change> {
        let ((child, stripe), parent) = self.changes.pop_first()?;
        Some(Change { child, stripe, parent })
    }

    /// Walks over all boxes.
    #[must_use]
    pub fn figures(&self) -> Figures {
        let mut figures = Figures { slots: self.forest.slots(), ..Figures::default() };
        for id in self.forest.ids() {
            let depths = self.load.stripes.all().iter().map(|stripe| self.forest.depth(id, stripe));
            let depths: Vec<_> = depths.collect();
            if id == self.origin {
                figures.origin_gives = usize::from(self.forest.used(id));
                continue;
            }
            figures.boxes += 1;
            figures.boxes_served += usize::from(depths.iter().all(Option::is_some));
            figures.depth = depths.into_iter().flatten().fold(figures.depth, u8::max);
        }
        figures
    }

    /// The stream became larger or smaller. Only those move for whom there is no room any more where they are.
    pub fn handle_bitrate(&mut self, bitrate_bps: u64, boxes: &[(BoxId, Facts)], near: Near<'_>) {
        self.load.bitrate_bps = bitrate_bps;
        self.stripe_bps = score::stripe_bps(bitrate_bps, self.load.stripes);
        let known: Vec<_> = boxes.iter().filter(|(id, _)| self.forest.contains(*id)).collect();
        let moved: Vec<_> =
            known.iter().flat_map(|(id, facts)| self.fit(*id, facts, facts.slots(self.stripe_bps))).collect();
        for (child, stripe) in moved {
            self.place(child, stripe, near);
        }
        self.settle(near);
    }

    fn resize(&mut self, id: BoxId, facts: &Facts, slots: u16, near: Near<'_>) {
        for (child, stripe) in self.fit(id, facts, slots) {
            self.place(child, stripe, near);
        }
    }

    /// Gives a box so many slots, and takes from it what it has no room for any more.
    fn fit(&mut self, id: BoxId, facts: &Facts, slots: u16) -> Vec<(BoxId, u8)> {
        let waits = self.waiting.remove(&(Reverse(self.forest.strength(id)), id));
        self.forest.resize(id, facts, slots);
        if waits {
            self.waiting.insert((Reverse(self.forest.strength(id)), id));
        }
        let mut moved = Vec::new();
        while let Some((child, stripe)) = self.forest.surplus(id) {
            self.cut(child, stripe);
            moved.push((child, stripe));
        }
        moved
    }

    /// Tries again what found no room, and finds a second parent for those with one.
    fn settle(&mut self, near: Near<'_>) {
        for _ in 0..WAITING_STEPS {
            while let Some((_, id)) = self.waiting.first().copied() {
                if !self.complete(id, near) {
                    break;
                }
            }
            // Three stripes of four are no picture: whoever is last gives what it has to the first.
            let (Some((_, first)), Some((_, last))) = (self.waiting.first(), self.waiting.last().copied())
            else {
                break;
            };
            if *first == last || !self.yields(last) {
                break;
            }
        }
        self.relieve(near);
        let next = self.lonely.range((Excluded(self.consoled), Unbounded)).chain(&self.lonely);
        let lonely: Vec<_> = next.copied().take(LONELY_STEPS.min(self.lonely.len())).collect();
        for id in lonely {
            self.consoled = id;
            self.accompany(id, near);
        }
    }

    /// Whether a box got all stripes.
    fn complete(&mut self, id: BoxId, near: Near<'_>) -> bool {
        let stripes: Vec<_> = self.load.stripes.all().iter().collect();
        stripes.into_iter().all(|stripe| self.place(id, stripe, near))
    }

    /// Takes from a box the stripes that it gives to nobody. Whether there were any.
    fn yields(&mut self, id: BoxId) -> bool {
        let gives = self.gives(id);
        let leaf = self.load.stripes.all().without(gives).iter();
        let leaf: Vec<_> = leaf.filter(|stripe| self.forest.parent(id, *stripe).is_some()).collect();
        leaf.iter().for_each(|stripe| self.cut(id, *stripe));
        !leaf.is_empty()
    }

    fn note(&mut self, child: BoxId, stripe: u8) {
        let parent = self.forest.parent(child, stripe);
        self.changes.insert((child, stripe), parent);
        self.unmoved = 0;
        let parents = self.parents(child);
        let waits = (Reverse(self.forest.strength(child)), child);
        if parents.iter().all(Option::is_some) {
            self.waiting.remove(&waits);
        } else {
            self.waiting.insert(waits);
        }
        let parents: BTreeSet<_> = parents.into_iter().flatten().collect();
        if parents.len() == 1 && self.load.stripes.get() > 1 {
            self.lonely.insert(child);
        } else {
            self.lonely.remove(&child);
        }
    }

    fn cut(&mut self, child: BoxId, stripe: u8) {
        if self.forest.cut(child, stripe) {
            self.note(child, stripe);
        }
    }

    fn join(&mut self, child: BoxId, stripe: u8, parent: BoxId) {
        self.forest.join(child, stripe, parent);
        self.note(child, stripe);
    }
}
