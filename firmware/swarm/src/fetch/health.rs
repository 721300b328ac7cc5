//! Which parents and feeds are not worth waiting for. Refuses to blame one while nothing comes from the others.

use alloc::vec::Vec;

use stream::Millis;

use super::feed::{Feed, Flow, Phase};
use super::parent::{Fault, Loss};
use super::{Block, FeedId, Fetch, ParentId};
use crate::part::{BlockIndex, PartId, Stripes};

/// A parent that says nothing, not even that it lives (each second), for so long is lost.
const ALIVE_MS: u64 = 3_000;
/// A parent says each second that it lives; nobody did for twice that.
const UNHEARD_MS: u64 = 2_000;
/// A feed that isn't answered so long beyond two round trips is lost.
pub(super) const OPEN_MS: u64 = 600;
/// News of others reach a parent this much later, beyond half a round trip.
const NEWS_MS: u64 = 100;
/// Behind the others by more is of no use.
const STALE_MS: u64 = 2_000;
/// A parent that lives but has no part itself yet, as all have when a fleet begins at once, gets so long.
const WARMING_MS: u64 = 2_000;
/// The same while a child settles.
const PATIENT_MS: u64 = 1_200;
/// Blocks that others had to bring for a stripe until its parent is slow.
const HELPED_MAX: u8 = 12;
/// As many are enough where nothing else came for three bounds.
const HELPED_STARVED: u8 = 3;
/// More parents than usual whose headers are asked for, while all are quiet.
const EXTRA_MAX: u8 = 3;
/// They are let go this long after the last one was taken.
const EXTRA_MS: u64 = 5_000;

impl Fetch {
    /// Two parts and the round trip to the parent: longer silence is no accident.
    pub(super) fn bound(&self, parent: ParentId) -> u64 {
        (2 * self.part_ms + self.round_trip(parent)).clamp(300, 2_000)
    }

    /// The same, for what a parent is blamed for.
    fn patience(&self, parent: ParentId) -> u64 {
        if self.settling { self.bound(parent).max(PATIENT_MS) } else { self.bound(parent) }
    }

    pub(super) fn round_trip(&self, parent: ParentId) -> u64 {
        self.parents.get(&parent).map_or(0, |parent| parent.round_trip_ms)
    }

    pub(super) fn judge(&mut self, now: Millis) {
        self.judge_opening(now);
        for parent in self.fed_parents() {
            self.judge_parent(parent, now);
        }
        self.judge_flows(now);
        self.judge_quiet(now);
    }

    fn judge_opening(&mut self, now: Millis) {
        let opening = |(id, feed): (&FeedId, &Feed)| match feed.phase {
            Phase::Opening { since } => Some((*id, feed.parent, since)),
            Phase::Open { .. } | Phase::Retiring { .. } => None,
        };
        let opening: Vec<_> = self.feeds.iter().filter_map(opening).collect();
        for (id, parent, since) in opening {
            if self.due(since.plus(OPEN_MS + 2 * self.round_trip(parent)), now) {
                self.close(id);
                self.lose(parent, Loss::Failed, now);
            }
        }
    }

    pub(super) fn lose(&mut self, parent: ParentId, why: Loss, now: Millis) {
        let hears = self.hears(now);
        if let Some(parent) = self.parents.get_mut(&parent) {
            parent.handle_loss(why, hears, now);
        }
    }

    /// Whether anything came from anybody: if not, it may be the line of this box.
    fn hears(&self, now: Millis) -> bool {
        let last = self.parents.values().filter_map(|parent| parent.heard).max();
        last.is_some_and(|last| now.since(last) < UNHEARD_MS)
    }

    /// Parents with an open feed that isn't being replaced, and since when they have one.
    fn fed_parents(&self) -> Vec<ParentId> {
        let open = self.feeds.values().filter(|feed| feed.opened_at().is_some());
        let mut parents: Vec<_> = open.map(|feed| feed.parent).collect();
        parents.sort_unstable();
        parents.dedup();
        parents
    }

    fn judge_parent(&mut self, id: ParentId, now: Millis) {
        let mine = self.feeds.values().filter(|feed| feed.parent == id);
        let Some(opened) = mine.filter_map(Feed::opened_at).min() else { return };
        let Some(parent) = self.parents.get(&id) else { return };
        let heard = parent.heard.unwrap_or(opened).max(opened);
        let newest = parent.newest;
        let behind = self.news.iter().rev().find(|(part, _)| Some(*part) > newest).map(|(_, seen)| *seen);
        if self.due(heard.plus(ALIVE_MS), now) {
            self.close_all(id);
            self.lose(id, Loss::Failed, now);
            return;
        }
        if self.warms(id, now) {
            return;
        }
        let Some(behind) = behind.map(|behind| behind.max(opened)) else { return };
        if newest.is_none() {
            return self.demote(id, Fault::Empty, now);
        }
        // A feed begins with what is new, and a parent far from the origin has that later.
        let bounds = if heard > opened { 1 } else { 3 };
        let silent =
            heard.plus(bounds * self.patience(id)).max(behind.plus(NEWS_MS + self.round_trip(id) / 2));
        if self.due(silent, now) {
            self.demote(id, Fault::Silent, now);
        } else if self.due(behind.plus(STALE_MS + self.round_trip(id)), now) {
            self.demote(id, Fault::Stale, now);
        }
    }

    /// A feed of it brings this part, and would say that it is whole there.
    pub(super) fn tells(&self, id: ParentId, part: PartId) -> bool {
        let open = |feed: &Feed| feed.parent == id && feed.opened_at().is_some() && feed.covers(part);
        self.feeds.values().any(open)
    }

    /// Has shown no part since it was first asked, and not for long.
    fn warms(&mut self, id: ParentId, now: Millis) -> bool {
        let opened = self.feeds.values().filter(|feed| feed.parent == id).filter_map(Feed::opened_at).min();
        let has_none = self.parents.get(&id).is_some_and(|parent| parent.newest.is_none());
        has_none && opened.is_some_and(|opened| !self.due(opened.plus(WARMING_MS), now))
    }

    fn judge_flows(&mut self, now: Millis) {
        for index in 0..self.config.stripes.get() {
            let Some((_, feed)) = self.live(index) else { continue };
            let Some(opened) = feed.opened_at() else { continue };
            let (id, Flow { helped, last, .. }) = (feed.parent, feed.flow(index));
            if self.warms(id, now) {
                continue;
            }
            let starved = last.unwrap_or(opened).plus(3 * self.patience(id));
            if helped >= HELPED_STARVED && self.due(starved, now) {
                self.demote(id, Fault::Starved, now);
            } else if helped >= HELPED_MAX {
                let fault = if last.is_none() { Fault::Starved } else { Fault::Slow };
                self.demote(id, fault, now);
            }
        }
    }

    /// Nothing from anybody: perhaps it is the line, perhaps all parents at once. One more is asked, and tells which.
    fn judge_quiet(&mut self, now: Millis) {
        let open = self.feeds.values().filter(|feed| feed.opened_at().is_some());
        let heard = |feed: &Feed| self.parents.get(&feed.parent)?.heard.max(feed.opened_at());
        let Some(last) = open.filter_map(heard).max() else { return };
        let quiet = (4 * self.part_ms).clamp(600, 2_000);
        if self.extra > 0 && last > self.extra_at && self.due(self.extra_at.plus(EXTRA_MS), now) {
            self.extra = 0;
        }
        let last = if self.extra > 0 { last.max(self.extra_at) } else { last };
        if self.extra < EXTRA_MAX && self.due(last.plus(quiet), now) {
            (self.extra, self.extra_at) = (self.extra + 1, now);
        }
    }

    /// The feed that a stripe comes from.
    pub(super) fn live(&self, stripe: u8) -> Option<(FeedId, &Feed)> {
        let id = self.stripes.get(usize::from(stripe))?.live?;
        Some((id, self.feeds.get(&id)?))
    }

    /// Writes down who brought a block.
    pub(super) fn credit(
        &mut self,
        from: ParentId,
        part: PartId,
        block: BlockIndex,
        what: Block,
        now: Millis,
    ) {
        let stripe = self.config.stripes.of(part, block);
        let lag_ms = self.flights.get(&part).map(|flight| now.since(flight.wanted));
        let mut fed = false;
        for feed in self.feeds.values_mut().filter(|feed| feed.parent == from) {
            if feed.asked.contains(stripe) && feed.covers(part) {
                feed.handle_block(stripe, (part, block), lag_ms, now);
                fed = true;
            }
        }
        if fed {
            for flight in self.flights.range_mut(..=part).map(|(_, flight)| flight) {
                flight.handle_passed(stripe, (part, block), now);
            }
            self.next = self.next.min(now.plus(self.part_ms));
        } else if what == Block::Fresh {
            if let Some(flight) = self.flights.get_mut(&part) {
                flight.pulled = flight.pulled.with(stripe);
            }
            let live = self.stripes.get(usize::from(stripe)).and_then(|stripe| stripe.live);
            let owed = live.and_then(|id| self.feeds.get_mut(&id)).filter(|feed| feed.covers(part));
            if let Some(flow) = owed.filter(|feed| feed.parent != from).and_then(|feed| feed.flow_mut(stripe))
            {
                flow.helped = flow.helped.saturating_add(1);
            }
        }
    }

    /// A part is whole: whoever brought its stripe without help is a little less suspect.
    pub(super) fn thank(&mut self, part: PartId) {
        let Some(pulled) = self.flights.get(&part).map(|flight| flight.pulled) else { return };
        for stripe in self.config.stripes.all().without(pulled).iter() {
            let live = self.stripes.get(usize::from(stripe)).and_then(|stripe| stripe.live);
            if let Some(flow) = live.and_then(|id| self.feeds.get_mut(&id)?.flow_mut(stripe)) {
                flow.helped = flow.helped.saturating_sub(1);
            }
        }
    }

    /// A feed need not bring this stripe any more: it is closed once it has brought what is before `after`.
    pub(super) fn release(&mut self, id: FeedId, stripe: u8, after: Option<PartId>, now: Millis) {
        let Some(feed) = self.feeds.get_mut(&id) else { return };
        feed.wanted = feed.wanted.without(Stripes::one(stripe));
        if feed.wanted.is_empty() {
            self.retire(id, after, now);
        }
    }
}
