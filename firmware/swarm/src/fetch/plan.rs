//! From whom each stripe is to come, and the feeds that this takes. Refuses to move what is well where it is.

use alloc::collections::{BTreeMap, BTreeSet};
use alloc::vec;
use alloc::vec::Vec;
use core::cmp::Reverse;

use stream::{EpochId, Millis};

use super::feed::{Feed, Phase, RETIRE_MS};
use super::flight::Flight;
use super::health::OPEN_MS;
use super::parent::Parent;
use super::{Command, Demand, FeedId, Fetch, ParentId, STARVED_MS};
use crate::part::{PartId, Stripes};

/// Parents with a feed, where there are so many.
const PARENTS_MIN: usize = 2;
/// A feed for headers alone that is not needed stays this long.
const WATCHER_MS: u64 = 5_000;

impl Fetch {
    /// Opens and closes feeds until they are what is wished, or will be.
    pub(super) fn arrange(&mut self, now: Millis) {
        self.retire_done(now);
        let wishes = match self.demand {
            Demand::Headers => vec![None; self.stripes.len()],
            Demand::Blocks { .. } => self.wishes(now),
        };
        if self.demand == Demand::Headers {
            self.let_go(now);
        } else {
            self.follow(&wishes, now);
        }
        let mut fed: BTreeSet<_> = wishes.iter().flatten().copied().collect();
        self.watch(&mut fed, now);
        let wanting = self.demand != Demand::Headers && wishes.contains(&None);
        if wanting || fed.is_empty() {
            self.starve(now);
        }
        let back: Vec<_> = self.parents.values().filter_map(|parent| parent.back_at(now)).collect();
        for at in back {
            self.due(at, now);
        }
    }

    fn starve(&mut self, now: Millis) {
        if self.starved_at.is_none_or(|at| self.due(at.plus(STARVED_MS), now)) {
            self.starved_at = Some(now);
            self.commands.push_back(Command::Starved);
        }
    }

    /// Whose feed brings the stripe, or will once it is opened.
    fn holder(&self, stripe: u8) -> Option<ParentId> {
        let stripe = self.stripes.get(usize::from(stripe))?;
        let feed = stripe.coming.or(stripe.live)?;
        Some(self.feeds.get(&feed)?.parent)
    }

    /// A parent for each stripe. Assigned ones first, then who has it; what is left goes to the best that have little.
    fn wishes(&self, now: Millis) -> Vec<Option<ParentId>> {
        let mut planned: BTreeMap<ParentId, u32> = BTreeMap::new();
        let settled = |stripe| self.assigned(stripe, now).or_else(|| self.kept(stripe, now));
        let mut wishes: Vec<_> = (0..self.config.stripes.get()).map(settled).collect();
        for id in wishes.iter().flatten() {
            *planned.entry(*id).or_default() += 1;
        }
        for (stripe, wish) in (0..).zip(&mut wishes) {
            if wish.is_none() {
                let heir = self.heir(stripe, now);
                *wish =
                    heir.or_else(|| self.best(stripe, &planned, now)).or_else(|| self.in_need(stripe, now));
                wish.iter().for_each(|id| *planned.entry(*id).or_default() += 1);
            }
        }
        if let (1, true, Some(only)) = (planned.len(), wishes.len() > 1, planned.keys().next().copied()) {
            self.spread(&mut wishes, only, now);
        }
        wishes
    }

    /// Whom the coordinator wants for a stripe, if that one can be had. Where a dial failed, another one is tried
    /// while the stripe comes from elsewhere.
    fn assigned(&self, stripe: u8, now: Millis) -> Option<ParentId> {
        let holder = self.holder(stripe);
        let waits = self.live(stripe).is_none();
        let can = |(id, parent): &(&ParentId, &Parent)| {
            let open = Some(**id) == holder || parent.opens(now) && !(waits && parent.is_missed());
            parent.assigned.contains(stripe) && parent.keeps(stripe, now) && open
        };
        let able = self.parents.iter().filter(can);
        able.max_by_key(|(id, parent)| (parent.score, Reverse(**id))).map(|(id, _)| *id)
    }

    fn kept(&self, stripe: u8, now: Millis) -> Option<ParentId> {
        self.holder(stripe).filter(|id| self.parents.get(id).is_some_and(|parent| parent.keeps(stripe, now)))
    }

    /// Who gave the stripe to the one that failed, and has that one's place left.
    fn heir(&self, stripe: u8, now: Millis) -> Option<ParentId> {
        self.lost(stripe, now)?;
        let able = |(_, parent): &(&ParentId, &Parent)| {
            parent.heir.contains(stripe) && parent.opens(now) && parent.keeps(stripe, now)
        };
        self.parents.iter().find(able).map(|(id, _)| *id)
    }

    /// Who gave a stripe that comes from nobody, and may be gone. One that only took its place back is still there, and
    /// needs what it gets.
    fn lost(&self, stripe: u8, now: Millis) -> Option<ParentId> {
        let stripe = self.stripes.get(usize::from(stripe))?;
        let lost = |id: &ParentId| self.parents.get(id).is_some_and(|parent| parent.is_lost(now));
        stripe.fed_by.filter(|_| stripe.live.is_none()).filter(lost)
    }

    fn best(&self, stripe: u8, planned: &BTreeMap<ParentId, u32>, now: Millis) -> Option<ParentId> {
        let able = self.parents.iter().filter(|(_, parent)| parent.opens(now) && parent.keeps(stripe, now));
        let share = |(id, parent): &(&ParentId, &Parent)| {
            let share = parent.worth() / u64::from(planned.get(id).copied().unwrap_or(0) + 1);
            (share, Reverse(parent.round_trip_ms), Reverse(**id))
        };
        able.max_by_key(share).map(|(id, _)| *id)
    }

    /// Nobody is free of blame: whoever was to come back first; or where it is, leaving or not.
    fn in_need(&self, stripe: u8, now: Millis) -> Option<ParentId> {
        let able =
            |(_, parent): &(&ParentId, &Parent)| parent.opens_in_need(now) && !parent.barred.contains(stripe);
        let holder = self.holder(stripe);
        let holds = |id: &ParentId| self.parents.get(id).is_some_and(|parent| !parent.is_banned());
        let back = self.parents.iter().filter(able).min_by_key(|(id, parent)| (parent.back_at(now), **id));
        holder.filter(holds).or_else(|| back.map(|(id, _)| *id))
    }

    /// All would come from one: where another can be had, it gets the last stripe that nobody assigned.
    fn spread(&self, wishes: &mut [Option<ParentId>], only: ParentId, now: Millis) {
        let Some(sole) = self.parents.get(&only) else { return };
        for stripe in (0..self.config.stripes.get()).rev() {
            let other = |(id, parent): &(&ParentId, &Parent)| {
                **id != only && parent.opens(now) && parent.keeps(stripe, now)
            };
            let best =
                self.parents.iter().filter(other).max_by_key(|(id, other)| (other.worth(), Reverse(**id)));
            let wish = wishes.get_mut(usize::from(stripe));
            if let (false, Some((id, _)), Some(wish)) = (sole.assigned.contains(stripe), best, wish) {
                *wish = Some(*id);
                return;
            }
        }
    }

    /// Opens what is wished and not there.
    fn follow(&mut self, wishes: &[Option<ParentId>], now: Millis) {
        let mut opens: BTreeMap<(ParentId, bool, Option<ParentId>), Stripes> = BTreeMap::new();
        for (index, wish) in (0..).zip(wishes) {
            let Some(wish) = *wish else { continue };
            let Some(stripe) = self.stripes.get_mut(usize::from(index)) else { continue };
            if let Some(coming) = stripe.coming {
                if self.feeds.get(&coming).is_some_and(|feed| feed.parent == wish) {
                    continue;
                }
                stripe.coming = None;
                self.release(coming, index, None, now);
            }
            let able = self.parents.get(&wish).is_some_and(|parent| parent.opens_in_need(now));
            let there = self.live(index).filter(|(_, feed)| feed.parent == wish);
            let fits = there.is_some_and(|(_, feed)| feed.asked == feed.wanted || !able);
            if !fits && able {
                let has = |stripes: fn(&Parent) -> Stripes| {
                    self.parents.get(&wish).is_some_and(|parent| stripes(parent).contains(index))
                };
                let planned = has(|parent| parent.assigned);
                let instead = self.lost(index, now).filter(|_| !planned && has(|parent| parent.heir));
                let stripes = opens.entry((wish, planned, instead)).or_default();
                *stripes = stripes.with(index);
            }
        }
        for ((parent, planned, instead), stripes) in opens {
            let feed = self.open(parent, stripes, (planned, instead), now);
            for index in stripes.iter() {
                if let Some(stripe) = self.stripes.get_mut(usize::from(index)) {
                    stripe.coming = Some(feed);
                }
            }
        }
    }

    /// No stripe is wanted.
    fn let_go(&mut self, now: Millis) {
        for stripe in &mut self.stripes {
            *stripe = super::Stripe::default();
        }
        let feeds: Vec<_> =
            self.feeds.iter().filter(|(_, feed)| !feed.is_watcher()).map(|(id, _)| *id).collect();
        for id in feeds {
            self.retire(id, None, now);
        }
    }

    /// Headers come from two parents at least, from more while all are quiet.
    fn watch(&mut self, fed: &mut BTreeSet<ParentId>, now: Millis) {
        let mut needed = PARENTS_MIN.saturating_sub(fed.len()) + usize::from(self.extra);
        let watchers = self.feeds.iter().filter(|(_, feed)| feed.is_watcher() && !feed.is_retiring());
        let watchers: Vec<_> = watchers.map(|(id, feed)| (*id, feed.parent)).collect();
        for (id, parent) in watchers {
            let keeps = self.parents.get(&parent).is_some_and(|parent| parent.listed && !parent.is_out(now));
            let needs = needed > 0 && keeps && !fed.contains(&parent);
            if needs {
                needed -= 1;
                fed.insert(parent);
            }
            let Some(feed) = self.feeds.get_mut(&id) else { continue };
            feed.idle_since = if needs { None } else { feed.idle_since.or(Some(now)) };
            if let Some(since) = feed.idle_since
                && self.due(since.plus(WATCHER_MS), now)
            {
                self.close(id);
            }
        }
        while needed > 0 {
            let able = |(id, parent): &(&ParentId, &Parent)| !fed.contains(id) && parent.opens(now);
            let best =
                self.parents.iter().filter(able).max_by_key(|(id, parent)| (parent.worth(), Reverse(**id)));
            let Some((id, _)) = best else { return };
            let id = *id;
            fed.insert(id);
            needed -= 1;
            self.open(id, Stripes::NONE, (false, None), now);
        }
    }

    /// Where a feed that opens now has to begin: after what is known, since that comes by another feed or is pulled by
    /// name; with the first part that lacks one of these stripes, where none of them comes from anybody; and where watching
    /// can begin, if all that is known is long over.
    fn opens_from(&self, stripes: Stripes, now: Millis) -> Option<PartId> {
        let name = |msn, part| Some(PartId { msn, part, epoch: EpochId(0) });
        let is_over = self.news.front().is_some_and(|(_, at)| now.since(*at) > self.config.depth_ms);
        match (self.newest, self.demand) {
            (_, Demand::Headers) => None,
            (None, Demand::Blocks { from }) => from,
            (Some(_), Demand::Blocks { .. }) if is_over => None,
            (Some(newest), Demand::Blocks { .. }) => {
                let orphaned =
                    !stripes.is_empty() && stripes.iter().all(|stripe| self.live(stripe).is_none());
                let lacks = |flight: &&Flight| stripes.iter().any(|stripe| flight.misses(stripe));
                match self.flights.values().find(lacks).filter(|_| orphaned) {
                    Some(flight) => name(flight.id.msn, flight.id.part),
                    None => name(newest.msn, newest.part.saturating_add(1)),
                }
            }
        }
    }

    fn open(
        &mut self,
        parent: ParentId,
        stripes: Stripes,
        (planned, instead): (bool, Option<ParentId>),
        now: Millis,
    ) -> FeedId {
        self.feeds_made += 1;
        let feed = FeedId(self.feeds_made);
        let from = self.opens_from(stripes, now);
        self.feeds.insert(feed, Feed::new(parent, stripes, from, now));
        self.commands.push_back(Command::Open { feed, parent, stripes, planned, instead, from });
        // Until it must have been answered.
        self.next = self.next.min(now.plus(OPEN_MS + 2 * self.round_trip(parent)));
        feed
    }

    pub(super) fn close(&mut self, feed: FeedId) {
        self.commands.push_back(Command::Close { feed });
        self.drop_feed(feed);
    }

    pub(super) fn close_all(&mut self, parent: ParentId) {
        let feeds: Vec<_> =
            self.feeds.iter().filter(|(_, feed)| feed.parent == parent).map(|(id, _)| *id).collect();
        for id in feeds {
            self.close(id);
        }
    }

    /// It is no more.
    pub(super) fn drop_feed(&mut self, id: FeedId) {
        self.feeds.remove(&id);
        for stripe in &mut self.stripes {
            stripe.live = stripe.live.filter(|live| *live != id);
            stripe.coming = stripe.coming.filter(|coming| *coming != id);
        }
    }

    pub(super) fn retire(&mut self, id: FeedId, after: Option<PartId>, now: Millis) {
        let Some(feed) = self.feeds.get_mut(&id) else { return };
        match feed.phase {
            Phase::Opening { .. } => self.close(id),
            Phase::Open { .. } => {
                let until = now.plus(RETIRE_MS);
                feed.phase = Phase::Retiring { after, until };
                self.due(until, now);
            }
            Phase::Retiring { .. } => {}
        }
    }

    fn retire_done(&mut self, now: Millis) {
        let retiring = |(id, feed): (&FeedId, &Feed)| match feed.phase {
            Phase::Retiring { after, until } => Some((*id, feed.asked, after, until)),
            Phase::Opening { .. } | Phase::Open { .. } => None,
        };
        let retiring: Vec<_> = self.feeds.iter().filter_map(retiring).collect();
        for (id, asked, after, until) in retiring {
            let before = |part: &PartId| after.is_some_and(|after| *part < after);
            let mut begun = self.flights.iter().filter(|(part, _)| before(part));
            let open = begun.any(|(_, flight)| asked.iter().any(|stripe| flight.misses(stripe)));
            if !open || self.due(until, now) {
                self.close(id);
            }
        }
    }
}
