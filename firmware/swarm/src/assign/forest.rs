//! The trees, and what is looked up in them: free slots and leaves by their depth. Refuses to close a circle: what is
//! cut off has no depth, and only what has one takes children.

use alloc::collections::{BTreeMap, BTreeSet};
use alloc::vec;
use alloc::vec::Vec;
use core::cmp::Reverse;

use super::{BoxId, DEPTH_MAX};
use crate::part::{StripeCount, Stripes};
use crate::score::Facts;

/// By depth, then the strongest first, then the lowest number.
pub(super) type Ranked = BTreeSet<(u8, Reverse<u32>, BoxId)>;

#[derive(Clone, Debug)]
pub(super) struct Node {
    pub(super) slots: u16,
    pub(super) used: u16,
    /// Where it may have children.
    pub(super) gives: Stripes,
    /// The one that it gives by the plan; none for the origin, and for who can give nothing.
    pub(super) first: Option<u8>,
    pub(super) steadiness: u32,
    parents: Vec<Option<BoxId>>,
    children: Vec<BTreeSet<BoxId>>,
    /// None while it is cut off from the origin.
    depths: Vec<Option<u8>>,
}

impl Node {
    pub(super) fn new(facts: &Facts, slots: u16, stripes: StripeCount) -> Self {
        let count = usize::from(stripes.get());
        Self {
            slots,
            used: 0,
            gives: Stripes::NONE,
            first: None,
            steadiness: facts.steadiness(),
            parents: vec![None; count],
            children: vec![BTreeSet::new(); count],
            depths: vec![None; count],
        }
    }

    pub(super) const fn free(&self) -> u16 {
        self.slots.saturating_sub(self.used)
    }

    /// Slots that it gives before others have to give more: a line that is nearly full gets over nothing.
    const fn easy(&self) -> u16 {
        self.slots - self.slots / 4
    }

    pub(super) const fn is_easy(&self) -> bool {
        self.used <= self.easy()
    }

    pub(super) const fn easily_free(&self) -> u16 {
        self.easy().saturating_sub(self.used)
    }

    /// What it is worth high up: a leaf place is no loss for one that can give nothing.
    pub(super) fn strength(&self) -> u32 {
        u32::from(self.slots.min(1000)) * self.steadiness
    }
}

#[derive(Debug)]
pub(super) struct Forest {
    origin: BoxId,
    nodes: BTreeMap<BoxId, Node>,
    stripes: StripeCount,
    /// Per stripe: who has a slot easily free and gives in it.
    free: Vec<Ranked>,
    /// Per stripe: who has no child in it.
    leaves: Vec<Ranked>,
    /// All with a slot free, the most easily free ones first.
    spare: BTreeSet<(Reverse<u16>, BoxId)>,
    /// Per stripe: slots of those who give it by the plan.
    supply: Vec<usize>,
    slots: usize,
}

impl Forest {
    pub(super) fn new(origin: BoxId, node: Node, stripes: StripeCount) -> Self {
        let count = usize::from(stripes.get());
        let mut forest = Self {
            origin,
            nodes: BTreeMap::new(),
            stripes,
            free: vec![Ranked::new(); count],
            leaves: vec![Ranked::new(); count],
            spare: BTreeSet::new(),
            supply: vec![0; count],
            slots: usize::from(node.slots),
        };
        forest.nodes.insert(origin, Node { depths: vec![Some(0); count], ..node });
        forest.list(origin);
        forest
    }

    pub(super) fn contains(&self, id: BoxId) -> bool {
        self.nodes.contains_key(&id)
    }

    pub(super) fn len(&self) -> usize {
        self.nodes.len()
    }

    pub(super) fn ids(&self) -> impl Iterator<Item = BoxId> {
        self.nodes.keys().copied()
    }

    /// The first from this number on.
    pub(super) fn id_from(&self, id: BoxId) -> Option<BoxId> {
        self.nodes.range(id..).next().map(|(id, _)| *id)
    }

    pub(super) fn last_id(&self) -> BoxId {
        self.nodes.last_key_value().map_or(self.origin, |(id, _)| *id)
    }

    pub(super) const fn slots(&self) -> usize {
        self.slots
    }

    pub(super) fn node(&self, id: BoxId) -> Option<&Node> {
        self.nodes.get(&id)
    }

    pub(super) fn used(&self, id: BoxId) -> u16 {
        self.nodes.get(&id).map_or(0, |node| node.used)
    }

    pub(super) fn strength(&self, id: BoxId) -> u32 {
        self.nodes.get(&id).map_or(0, Node::strength)
    }

    pub(super) fn parent(&self, id: BoxId, stripe: u8) -> Option<BoxId> {
        self.nodes.get(&id)?.parents.get(usize::from(stripe)).copied().flatten()
    }

    pub(super) fn depth(&self, id: BoxId, stripe: u8) -> Option<u8> {
        self.nodes.get(&id)?.depths.get(usize::from(stripe)).copied().flatten()
    }

    pub(super) fn children(&self, id: BoxId, stripe: u8) -> Vec<BoxId> {
        let children = self.nodes.get(&id).and_then(|node| node.children.get(usize::from(stripe)));
        children.map_or_else(Vec::new, |children| children.iter().copied().collect())
    }

    /// Who has a slot easily free in a stripe, nearest to the origin first.
    pub(super) fn free(&self, stripe: u8) -> impl Iterator<Item = (u8, BoxId)> {
        self.free.get(usize::from(stripe)).into_iter().flatten().map(|(depth, _, id)| (*depth, *id))
    }

    /// The same, of one depth.
    pub(super) fn free_at(&self, stripe: u8, depth: u8) -> impl Iterator<Item = (u8, BoxId)> {
        let all = (depth, Reverse(u32::MAX), BoxId(0))..=(depth, Reverse(0), BoxId(u32::MAX));
        let free = self.free.get(usize::from(stripe)).map(|free| free.range(all));
        free.into_iter().flatten().map(|(depth, _, id)| (*depth, *id))
    }

    /// Who has no child in a stripe, nearest to the origin first.
    pub(super) fn leaves(&self, stripe: u8) -> impl Iterator<Item = (u8, BoxId)> {
        self.leaves.get(usize::from(stripe)).into_iter().flatten().map(|(depth, _, id)| (*depth, *id))
    }

    /// Who has a slot free, whatever it gives, and most easily.
    pub(super) fn spare(&self) -> impl Iterator<Item = BoxId> {
        self.spare.iter().map(|(_, id)| *id)
    }

    /// A box without a parent; it is to give the stripe that is scarcest. Returns that.
    pub(super) fn add(&mut self, id: BoxId, node: Node) -> Option<u8> {
        let scarce = self.stripes.all().iter().min_by_key(|stripe| self.supply.get(usize::from(*stripe)));
        let first = scarce.filter(|_| node.slots > 0);
        self.slots += usize::from(node.slots);
        let gives = first.map_or(Stripes::NONE, Stripes::one);
        self.supplies(first, node.slots, true);
        self.nodes.insert(id, Node { first, gives, ..node });
        first
    }

    /// One that has no children and no parents any more.
    pub(super) fn remove(&mut self, id: BoxId) {
        self.unlist(id);
        if let Some(node) = self.nodes.remove(&id) {
            self.slots -= usize::from(node.slots);
            self.supplies(node.first, node.slots, false);
        }
    }

    fn supplies(&mut self, stripe: Option<u8>, slots: u16, more: bool) {
        let Some(supply) = stripe.and_then(|stripe| self.supply.get_mut(usize::from(stripe))) else { return };
        *supply = if more { *supply + usize::from(slots) } else { *supply - usize::from(slots) };
    }

    pub(super) fn resize(&mut self, id: BoxId, facts: &Facts, slots: u16) {
        let Some(node) = self.nodes.get(&id) else { return };
        let (before, mut first) = (node.slots, node.first);
        self.unlist(id);
        self.supplies(first, before, false);
        if id != self.origin && first.is_none() && slots > 0 {
            first = self.stripes.all().iter().min_by_key(|stripe| self.supply.get(usize::from(*stripe)));
        }
        self.supplies(first, slots, true);
        self.slots = self.slots - usize::from(before) + usize::from(slots);
        if let Some(node) = self.nodes.get_mut(&id) {
            (node.slots, node.first, node.steadiness) = (slots, first, facts.steadiness());
            node.gives = first.map_or(node.gives, |first| node.gives.with(first));
        }
        self.list(id);
    }

    /// An edge that a box can't bear any more: one that least hangs on.
    pub(super) fn surplus(&self, id: BoxId) -> Option<(BoxId, u8)> {
        let node = self.nodes.get(&id).filter(|node| node.used > node.slots)?;
        let edges =
            (0..).zip(&node.children).flat_map(|(stripe, all)| all.iter().map(move |child| (*child, stripe)));
        edges.min_by_key(|(child, stripe)| {
            let children = self.nodes.get(child).and_then(|node| node.children.get(usize::from(*stripe)));
            (children.map_or(0, BTreeSet::len), *child, *stripe)
        })
    }

    /// It gives in this stripe, too, from now on.
    pub(super) fn convert(&mut self, id: BoxId, stripe: u8) {
        self.unlist(id);
        if let Some(node) = self.nodes.get_mut(&id) {
            node.gives = node.gives.with(stripe);
        }
        self.list(id);
    }

    /// The child gets a stripe from the parent, which is connected and has a slot.
    pub(super) fn join(&mut self, child: BoxId, stripe: u8, parent: BoxId) {
        let at = usize::from(stripe);
        let depth = self.depth(parent, stripe);
        self.unlist(parent);
        if let Some(node) = self.nodes.get_mut(&parent) {
            node.used += 1;
            if let Some(children) = node.children.get_mut(at) {
                children.insert(child);
            }
        }
        self.list(parent);
        if let Some(slot) = self.nodes.get_mut(&child).and_then(|node| node.parents.get_mut(at)) {
            *slot = Some(parent);
        }
        self.sink(child, stripe, depth.map(|depth| depth.saturating_add(1)));
    }

    /// The child loses its parent, and with all below it its depth. Whether there was one.
    pub(super) fn cut(&mut self, child: BoxId, stripe: u8) -> bool {
        let at = usize::from(stripe);
        let slot = self.nodes.get_mut(&child).and_then(|node| node.parents.get_mut(at));
        let Some(parent) = slot.and_then(Option::take) else { return false };
        self.unlist(parent);
        let origin = self.origin;
        if let Some(node) = self.nodes.get_mut(&parent) {
            node.used = node.used.saturating_sub(1);
            let empty = node.children.get_mut(at).is_some_and(|children| {
                children.remove(&child);
                children.is_empty()
            });
            // It gave here for want of others; that may be over.
            if empty && node.first != Some(stripe) && parent != origin {
                node.gives = node.gives.without(Stripes::one(stripe));
            }
        }
        self.list(parent);
        self.sink(child, stripe, None);
        true
    }

    /// Gives a box and all below it their depths.
    fn sink(&mut self, id: BoxId, stripe: u8, depth: Option<u8>) {
        let at = usize::from(stripe);
        let mut todo = vec![(id, depth)];
        while let Some((id, depth)) = todo.pop() {
            self.unlist(id);
            if let Some(node) = self.nodes.get_mut(&id) {
                if let Some(slot) = node.depths.get_mut(at) {
                    *slot = depth;
                }
                let below = depth.map(|depth| depth.saturating_add(1));
                todo.extend(node.children.get(at).into_iter().flatten().map(|child| (*child, below)));
            }
            self.list(id);
        }
    }

    /// How many edges hang below a box in a stripe, on the longest way down.
    pub(super) fn height(&self, id: BoxId, stripe: u8) -> u8 {
        let below =
            self.children(id, stripe).into_iter().map(|child| self.height(child, stripe).saturating_add(1));
        below.max().unwrap_or(0)
    }

    fn unlist(&mut self, id: BoxId) {
        self.enter(id, false);
    }

    fn list(&mut self, id: BoxId) {
        self.enter(id, true);
    }

    fn enter(&mut self, id: BoxId, on: bool) {
        let Some(node) = self.nodes.get(&id) else { return };
        let strength = Reverse(node.strength());
        put(&mut self.spare, (Reverse(node.easily_free()), id), on && node.free() > 0);
        for (at, stripe) in (0..).zip(self.stripes.all().iter()) {
            let (Some(free), Some(leaves)) = (self.free.get_mut(at), self.leaves.get_mut(at)) else {
                continue;
            };
            let Some(depth) = node.depths.get(at).copied().flatten() else { continue };
            let gives = node.easily_free() > 0 && node.gives.contains(stripe) && depth < DEPTH_MAX;
            put(free, (depth, strength, id), on && gives);
            let leaf = id != self.origin && node.children.get(at).is_some_and(BTreeSet::is_empty);
            put(leaves, (depth, strength, id), on && leaf);
        }
    }
}

fn put<T: Ord>(set: &mut BTreeSet<T>, entry: T, on: bool) {
    if on {
        set.insert(entry);
    } else {
        set.remove(&entry);
    }
}
