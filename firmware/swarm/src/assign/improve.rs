//! Small moves that make a plan better that is already whole: fewer hops, lines with something left, nobody who has much
//! from one box. Boxes come one after the other, and each finds its place among those that came before; what is best for
//! all of them is seen only afterwards. Refuses to move anything for a small gain: a move costs its box a moment.
//!
//! ```text
//! a move:       a box takes a stripe from another parent, which has a slot
//! an exchange:  the other parent has none: one of its children goes elsewhere for its place, or to the first parent
//! ```

use alloc::vec::Vec;

use super::place::{FULL_MS, HOP_MS};
use super::{Assigner, BoxId, DEPTH_MAX, Near};

/// What a move has to gain, in the milliseconds of the prices below.
const GAIN_MS: u64 = 90;
/// Boxes that are compared with each other; in a larger fleet some of them, others each time.
const BOXES_LOOK_AT: usize = 8;
/// Edges below a box that are looked at for what moves with it.
const BELOW_MAX: usize = 64;
/// Of a line, what may be used before it counts as full: it gets over nothing any more.
const USED_PERCENT: u64 = 95;
/// Each pair of stripes that a box has from the same other one: it loses both with it. The origin's loss costs all.
const PAIR_MS: u64 = 25;
/// A single parent for all.
const ALONE_MS: u64 = 500;

/// A box takes a stripe from this one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Edge {
    child: BoxId,
    stripe: u8,
    parent: BoxId,
}

impl Assigner {
    /// Makes the best move that there is among some boxes. Whether there was one. Costs nothing while the plan stays as it
    /// is, once all were looked at.
    pub fn improve(&mut self, near: Near<'_>) -> bool {
        if self.unmoved > self.forest.len() {
            return false;
        }
        let (some, origin) = (self.some(), self.origin);
        let mut best: Option<(u64, Edge, Option<Edge>)> = None;
        for child in some.iter().copied().filter(|id| *id != origin) {
            for stripe in self.load.stripes.all().iter() {
                for parent in some.iter().copied() {
                    let to = Edge { child, stripe, parent };
                    for (gain, other) in self.ways(to, &some, near) {
                        if gain >= GAIN_MS && best.is_none_or(|(most, ..)| gain > most) {
                            best = Some((gain, to, other));
                        }
                    }
                }
            }
        }
        let Some((_, to, other)) = best else {
            self.unmoved += some.len();
            return false;
        };
        self.cut(to.child, to.stripe);
        if let Some(other) = other {
            self.cut(other.child, other.stripe);
            self.ensure_gives(other.parent, other.stripe);
            self.join(other.child, other.stripe, other.parent);
        }
        self.ensure_gives(to.parent, to.stripe);
        self.join(to.child, to.stripe, to.parent);
        true
    }

    /// The origin, and boxes from where the last call ended.
    fn some(&mut self) -> Vec<BoxId> {
        let after = self.improved;
        let ids = || self.forest.ids().filter(|id| *id != self.origin);
        let turn = ids().filter(|id| *id > after).chain(ids().filter(|id| *id <= after));
        let mut some: Vec<_> = turn.take(BOXES_LOOK_AT).collect();
        self.improved = some.last().copied().unwrap_or(self.origin);
        some.sort_unstable();
        some.insert(0, self.origin);
        some
    }

    /// What is gained where a box takes a stripe from another one than now: alone, or where one of that one's children
    /// gives way.
    fn ways(&mut self, to: Edge, some: &[BoxId], near: Near<'_>) -> Vec<(u64, Option<Edge>)> {
        let mut ways = Vec::new();
        let Some(from) = self.forest.parent(to.child, to.stripe).filter(|from| *from != to.parent) else {
            return ways;
        };
        let before = self.forest.depth(to.child, to.stripe);
        if to.child == to.parent || before.is_none() {
            return ways;
        }
        let now = Edge { parent: from, ..to };
        let left = self.worth(now, near);
        self.forest.cut(to.child, to.stripe);
        // What is below the box has no depth while it is cut off.
        if self.forest.depth(to.parent, to.stripe).is_some() {
            if self.has_slot(to.parent) {
                ways.push((left.saturating_sub(self.worth(to, near)), None));
            } else {
                for other in self.edges_of(to.parent, some) {
                    let gain = self.way_by(to, other, some, left, near);
                    ways.extend(gain.map(|(gain, other)| (gain, Some(other))));
                }
            }
        }
        self.put_back(now);
        ways
    }

    /// The best place for a child that gives way, and what is gained by both moves.
    fn way_by(
        &mut self,
        to: Edge,
        other: Edge,
        some: &[BoxId],
        left: u64,
        near: Near<'_>,
    ) -> Option<(u64, Edge)> {
        if other.child == to.child {
            return None;
        }
        let left = left + self.worth(other, near);
        self.forest.cut(other.child, other.stripe);
        let mut best = None;
        if self.forest.depth(to.parent, to.stripe).is_some() {
            let price = self.worth(to, near);
            self.put_back(to);
            for parent in some.iter().copied().filter(|parent| *parent != to.parent && *parent != other.child)
            {
                let place = Edge { parent, ..other };
                if self.forest.depth(parent, other.stripe).is_some() && self.has_slot(parent) {
                    let gain = left.saturating_sub(price + self.worth(place, near));
                    if best.is_none_or(|(most, _)| gain > most) {
                        best = Some((gain, place));
                    }
                }
            }
            self.forest.cut(to.child, to.stripe);
        }
        self.put_back(other);
        best
    }

    fn put_back(&mut self, edge: Edge) {
        self.ensure_gives(edge.parent, edge.stripe);
        self.forest.join(edge.child, edge.stripe, edge.parent);
    }

    fn has_slot(&self, id: BoxId) -> bool {
        self.forest.node(id).is_some_and(|node| node.free() > 0)
    }

    /// What a box gives to some others.
    fn edges_of(&self, parent: BoxId, some: &[BoxId]) -> Vec<Edge> {
        let given = |child: &BoxId| {
            let parents = (0..).zip(self.parents(*child)).filter(|(_, from)| *from == Some(parent));
            parents.map(|(stripe, _)| Edge { child: *child, stripe, parent }).collect::<Vec<_>>()
        };
        some.iter().flat_map(given).collect()
    }

    /// What an edge costs, with all that hangs on it, whether it is there or would be added.
    fn worth(&self, edge: Edge, near: Near<'_>) -> u64 {
        let Edge { child, stripe, parent } = edge;
        let there = self.forest.parent(child, stripe) == Some(parent);
        let Some(above) = self.forest.depth(parent, stripe) else { return u64::MAX / 4 };
        let Some(deep) = self.depths_below(child, stripe, above.saturating_add(1)) else {
            return u64::MAX / 4;
        };
        let Some(node) = self.forest.node(parent) else { return u64::MAX / 4 };
        let used = u64::from(node.used) + u64::from(!there);
        let slots = u64::from(node.slots.max(1));
        let full = if used * 100 > slots * USED_PERCENT { FULL_MS } else { 0 };
        let others = self.parents(child).into_iter().enumerate();
        let others: Vec<_> =
            others.filter(|(at, _)| *at != usize::from(stripe)).map(|(_, other)| other).collect();
        let same = others.iter().filter(|other| **other == Some(parent)).count() as u64;
        let alone = if same > 0 && same == others.len() as u64 { ALONE_MS } else { 0 };
        let pairs = if parent == self.origin { 0 } else { same * PAIR_MS };
        deep + used * FULL_MS / slots + full + pairs + alone + near(parent, child)
    }

    /// The price of depth for a box and all below it; none where that is too deep, or too many.
    fn depths_below(&self, id: BoxId, stripe: u8, depth: u8) -> Option<u64> {
        let (mut todo, mut price, mut seen) = (Vec::from([(id, depth)]), 0, 0);
        while let Some((at, depth)) = todo.pop() {
            seen += 1;
            if seen > BELOW_MAX || depth > DEPTH_MAX {
                return None;
            }
            // Each further hop is worse than the one before: what is late comes to what is late.
            price += u64::from(depth) * (u64::from(depth) + 1) / 2 * HOP_MS;
            todo.extend(self.forest.children(at, stripe).into_iter().map(|child| (child, depth + 1)));
        }
        Some(price)
    }
}
