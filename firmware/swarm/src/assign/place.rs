//! Where a box gets a stripe. Refuses to move anybody who is not in the way.

use alloc::vec::Vec;
use core::cmp::Reverse;

use super::{Assigner, BoxId, DEPTH_MAX, Near};

/// Places that are compared, of each depth.
const LOOK_AT: usize = 24;
/// Depths of which places are compared, from the first that has any.
const DEPTHS: u8 = 2;
/// Boxes with slots left that are looked at for another stripe.
const SPARE_LOOK_AT: usize = 64;
/// Leaves that are looked at for their place.
const LEAVES_LOOK_AT: usize = 64;
/// What an edge costs besides its round trip: about the time of a block.
pub(super) const HOP_MS: u64 = 100;
/// What it costs that a line is full: it takes the whole length of a part to send a part on.
pub(super) const FULL_MS: u64 = 200;

impl Assigner {
    /// Finds a parent for a box that has none in a stripe. Whether there was one.
    pub(super) fn place(&mut self, id: BoxId, stripe: u8, near: Near<'_>) -> bool {
        if self.forest.parent(id, stripe).is_some() || !self.forest.contains(id) {
            return true;
        }
        let height = self.forest.height(id, stripe);
        let gives = self.forest.node(id).is_some_and(|node| node.first == Some(stripe) && node.free() > 0);
        let slot = self.slot(id, stripe, height, near);
        let leaf = if gives { self.weaker_leaf(id, stripe, height) } else { None };
        match (slot, leaf) {
            (Some((depth, _)), Some((leaf_depth, leaf))) if leaf_depth <= depth => {
                self.swap(id, leaf, stripe);
            }
            (Some((_, parent)), _) => self.join(id, stripe, parent),
            (None, Some((_, leaf))) => self.swap(id, leaf, stripe),
            (None, None) => return self.make_room(id, stripe, height, near),
        }
        true
    }

    /// The best free slot that there is, with its giver's depth.
    pub(super) fn slot(&self, id: BoxId, stripe: u8, height: u8, near: Near<'_>) -> Option<(u8, BoxId)> {
        self.slot_but(id, stripe, height, None, near)
    }

    /// The same, but not at this box.
    pub(super) fn slot_but(
        &self,
        id: BoxId,
        stripe: u8,
        height: u8,
        but: Option<BoxId>,
        near: Near<'_>,
    ) -> Option<(u8, BoxId)> {
        let alone = self.only_parent(id, stripe);
        let fits = |(depth, parent): &(u8, BoxId)| {
            *parent != id
                && Some(*parent) != but
                && depth.saturating_add(height).saturating_add(1) <= DEPTH_MAX
        };
        let cost = |(depth, parent): &(u8, BoxId)| {
            let full = self
                .forest
                .node(*parent)
                .map_or(0, |node| u64::from(node.used + 1) * FULL_MS / u64::from(node.slots.max(1)));
            (alone == Some(*parent), u64::from(*depth) * HOP_MS + full + near(*parent, id), *parent)
        };
        let (first, _) = self.forest.free(stripe).find(fits)?;
        let depths = first..first.saturating_add(DEPTHS);
        let places = depths.flat_map(|depth| self.forest.free_at(stripe, depth).filter(fits).take(LOOK_AT));
        places.min_by_key(cost)
    }

    /// From whom all other stripes come, if it's one.
    fn only_parent(&self, id: BoxId, but: u8) -> Option<BoxId> {
        let others = self.load.stripes.all().iter().filter(|stripe| *stripe != but);
        let mut parents = others.map(|stripe| self.forest.parent(id, stripe));
        let first = parents.next()??;
        parents.all(|parent| parent == Some(first)).then_some(first)
    }

    /// A leaf near the origin that is worth less there than this box.
    fn weaker_leaf(&self, id: BoxId, stripe: u8, height: u8) -> Option<(u8, BoxId)> {
        let strength = self.forest.strength(id);
        let weaker = |(depth, leaf): &(u8, BoxId)| {
            let weak = self.forest.node(*leaf).is_some_and(|node| {
                node.first != Some(stripe) || node.strength().saturating_mul(5) < strength.saturating_mul(4)
            });
            weak && *leaf != id && depth.saturating_add(height).saturating_add(1) <= DEPTH_MAX
        };
        self.forest.leaves(stripe).take(LEAVES_LOOK_AT).find(weaker)
    }

    /// Takes the place of a leaf, which becomes its child.
    fn swap(&mut self, id: BoxId, leaf: BoxId, stripe: u8) {
        let Some(parent) = self.forest.parent(leaf, stripe) else { return };
        self.cut(leaf, stripe);
        self.ensure_gives(parent, stripe);
        self.join(id, stripe, parent);
        self.join(leaf, stripe, id);
    }

    /// The last child may have been cut of one who gives here beyond its plan.
    pub(super) fn ensure_gives(&mut self, id: BoxId, stripe: u8) {
        if self.forest.node(id).is_some_and(|node| !node.gives.contains(stripe)) {
            self.forest.convert(id, stripe);
        }
    }

    /// There is no slot easily free in this stripe: somebody has to give more, or less to others.
    fn make_room(&mut self, id: BoxId, stripe: u8, height: u8, near: Near<'_>) -> bool {
        let fits = |other: &BoxId| {
            let depth = self.forest.depth(*other, stripe);
            *other != id
                && depth.is_some_and(|depth| depth.saturating_add(height).saturating_add(1) <= DEPTH_MAX)
        };
        let spare: Vec<_> = self.forest.spare().take(SPARE_LOOK_AT).filter(fits).take(LOOK_AT).collect();
        if let Some(parent) = spare.into_iter().min_by_key(|other| {
            let (easily, gives) = self
                .forest
                .node(*other)
                .map_or((0, false), |node| (node.easily_free(), node.gives.contains(stripe)));
            // Rather one more stripe for one with room than a full line for one that gives this already.
            let depth = self.forest.depth(*other, stripe);
            (easily == 0, !gives, depth, Reverse(easily), near(*other, id), *other)
        }) {
            self.ensure_gives(parent, stripe);
            self.join(id, stripe, parent);
            return true;
        }
        let (free, gives) = self.forest.node(id).map_or((0, false), |node| (node.free(), node.slots > 0));
        if free > 0
            && let Some((_, leaf)) = self.weaker_leaf(id, stripe, height)
        {
            self.forest.convert(id, stripe);
            self.swap(id, leaf, stripe);
            return true;
        }
        if gives && let Some(rider) = self.free_rider(id, stripe, height) {
            let parent = self.forest.parent(rider, stripe);
            self.cut(rider, stripe);
            if let Some(parent) = parent {
                self.ensure_gives(parent, stripe);
                self.join(id, stripe, parent);
                return true;
            }
        }
        false
    }

    /// A leaf that can give nothing in any stripe; for a box on which others hang, any that can give less.
    fn free_rider(&self, id: BoxId, stripe: u8, height: u8) -> Option<BoxId> {
        let strength = self.forest.strength(id);
        let rides = |(depth, leaf): &(u8, BoxId)| {
            let idle = self
                .forest
                .node(*leaf)
                .is_some_and(|node| node.slots == 0 || height > 0 && node.strength() < strength);
            idle && *leaf != id && depth.saturating_add(height) <= DEPTH_MAX
        };
        let weakest = |(depth, leaf): &(u8, BoxId)| (self.forest.strength(*leaf), *depth, *leaf);
        self.forest
            .leaves(stripe)
            .filter(rides)
            .take(LEAVES_LOOK_AT)
            .min_by_key(weakest)
            .map(|(_, leaf)| leaf)
    }

    /// The origin gives what others can't. When there are more than it began with, one of its children at a time moves.
    pub(super) fn relieve(&mut self, near: Near<'_>) {
        let origin = self.origin;
        if self.forest.node(origin).is_none_or(super::Node::is_easy) {
            return;
        }
        for stripe in self.load.stripes.all().iter() {
            let children = self.forest.children(origin, stripe);
            let light = children.into_iter().map(|child| (self.forest.height(child, stripe), child)).min();
            // The last one of a stripe stays, and who gives a lot is well where it is.
            let Some((height, child)) = light.filter(|(height, _)| *height == 0) else { continue };
            let alone = self.only_parent(child, stripe);
            let other = self.slot(child, stripe, height, near).filter(|(_, other)| Some(*other) != alone);
            if let Some((_, other)) = other.filter(|(_, other)| *other != origin) {
                self.cut(child, stripe);
                self.join(child, stripe, other);
                return;
            }
        }
    }

    /// A second parent for a box with one, if anybody has a slot.
    pub(super) fn accompany(&mut self, id: BoxId, near: Near<'_>) {
        let stripes: Vec<_> = self.load.stripes.all().iter().collect();
        for stripe in stripes.into_iter().rev() {
            let Some(now) = self.forest.parent(id, stripe) else { continue };
            let below = |other: BoxId| {
                let mut up = Some(other);
                while let Some(at) = up.filter(|at| *at != id) {
                    up = self.forest.parent(at, stripe);
                }
                up.is_some()
            };
            let height = self.forest.height(id, stripe);
            let fits = |(depth, other): &(u8, BoxId)| {
                *other != now && !below(*other) && depth.saturating_add(height).saturating_add(1) <= DEPTH_MAX
            };
            let free = self.forest.free(stripe).take(LOOK_AT).filter(fits);
            let other =
                free.min_by_key(|(depth, other)| (u64::from(*depth) * HOP_MS + near(*other, id), *other));
            let spare = || {
                let depth = |other: BoxId| Some((self.forest.depth(other, stripe)?, other));
                self.forest.spare().take(LOOK_AT).filter_map(depth).find(fits)
            };
            if let Some((_, other)) = other.or_else(spare) {
                self.cut(id, stripe);
                self.ensure_gives(other, stripe);
                self.join(id, stripe, other);
                return;
            }
        }
    }
}
