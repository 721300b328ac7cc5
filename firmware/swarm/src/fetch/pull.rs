//! What is pulled by name, and from whom. Refuses to ask more than two for a block at a time.

use alloc::collections::BTreeMap;
use alloc::vec::Vec;
use core::cmp::Reverse;

use stream::Millis;

use super::feed::Phase;
use super::flight::{Asked, Flight, Tried};
use super::{Command, Fault, Fetch, PULL_BLOCKS_MAX, PULLS_PER_PARENT, ParentId, Pulled};
use crate::part::{Blocks, PartId};

/// Pulls of one part from one parent, over its life.
const TRIES_MAX: u8 = 8;
/// Who was heard so recently can be expected to answer.
const LIVELY_MS: u64 = 1_500;
/// An answer that takes longer, beyond two round trips, is not waited for, and another one may be asked.
const ANSWER_MS: u64 = 600;
/// Who has a feed and does not say that a part is whole there may have some of it, and is asked this late.
const DOUBTED_MS: u64 = 1_000;
/// Of one block at a time.
const ASKED_MAX: usize = 2;
/// A second one is not asked sooner.
const HEDGE_MS_MIN: u64 = 50;

impl Fetch {
    /// A pull ended; its blocks were told before.
    pub fn handle_pulled(&mut self, from: ParentId, part: PartId, end: Pulled, now: Millis) {
        let Some(flight) = self.flights.get_mut(&part) else { return self.step(now) };
        let Some(asked) = flight.asked.remove(&from) else { return };
        let missing: Vec<_> = asked.blocks.iter().filter(|block| !flight.has(*block)).collect();
        if !missing.is_empty() {
            let tried = flight.tried.entry(from).or_insert(Tried { times: 0, last: now });
            *tried = Tried { times: tried.times.saturating_add(1), last: now };
        }
        if !asked.forsaken {
            // What was not sent took nobody's line.
            self.credit += 4 * u32::try_from(missing.len()).unwrap_or(0);
        }
        if let Some(parent) = self.parents.get_mut(&from) {
            parent.pulls = parent.pulls.saturating_sub(1);
        }
        let count = self.config.stripes;
        let lied = end != Pulled::Failed
            && missing.iter().any(|block| asked.claimed.contains(count.of(part, *block)));
        if lied {
            self.demote(from, Fault::Lied, now);
        }
        self.step(now);
    }

    /// Asks for all that is late.
    pub(super) fn pull(&mut self, now: Millis) {
        let parts: Vec<_> = self.flights.keys().copied().collect();
        for part in parts {
            self.pull_part(part, now);
        }
    }

    /// Who doesn't answer is not waited for any longer.
    fn forsake(&mut self, part: PartId, now: Millis) {
        let Some(flight) = self.flights.get(&part) else { return };
        let asked = flight.asked.iter().filter(|(_, asked)| !asked.forsaken);
        let ends: Vec<_> =
            asked.map(|(id, asked)| (*id, asked.since.plus(ANSWER_MS + 2 * self.round_trip(*id)))).collect();
        for (id, end) in ends {
            if self.due(end, now)
                && let Some(asked) = self.flights.get_mut(&part).and_then(|flight| flight.asked.get_mut(&id))
            {
                asked.forsaken = true;
                // One that says nothing at all is not slow, and its line not full.
                if self.parents.get(&id).is_some_and(|parent| parent.heard <= Some(asked.since)) {
                    self.credit += 4 * u32::from(asked.blocks.len());
                }
            }
        }
    }

    fn pull_part(&mut self, part: PartId, now: Millis) {
        self.forsake(part, now);
        let Some(flight) = self.flights.get(&part) else { return };
        let missing: Vec<_> = flight.missing().collect();
        let late: Vec<_> =
            flight.missing_stripes().iter().map(|stripe| (stripe, self.late_at(flight, stripe))).collect();
        let mut pulls: BTreeMap<ParentId, Blocks> = BTreeMap::new();
        for block in missing {
            let stripe = self.config.stripes.of(part, block);
            let Some((_, at)) = late.iter().find(|(late, _)| *late == stripe) else { continue };
            let Some(flight) = self.flights.get(&part) else { return };
            let at = match flight.askers(block) {
                (0, _) => *at,
                (asked, Some(last)) if asked < ASKED_MAX => self.hedge_at(flight, last),
                _ => continue,
            };
            if !self.due(at, now) {
                continue;
            }
            let Some(flight) = self.flights.get(&part) else { return };
            match self.giver(flight, stripe, &pulls, now).filter(|_| self.credit >= 4) {
                Some(giver) => {
                    let room = flight.blocks;
                    self.credit -= 4;

                    pulls.entry(giver).or_insert_with(|| Blocks::room(room)).insert(block);
                }
                None => {
                    self.due(now.plus(self.part_ms / 2), now);
                }
            }
        }
        for (parent, blocks) in pulls {
            self.ask(parent, part, blocks, now);
        }
    }

    fn ask(&mut self, id: ParentId, part: PartId, blocks: Blocks, now: Millis) {
        let Some(flight) = self.flights.get_mut(&part) else { return };
        let claimed = flight.claims.get(&id).copied().unwrap_or_default();
        flight.asked.insert(id, Asked { blocks: blocks.clone(), since: now, claimed, forsaken: false });
        if let Some(parent) = self.parents.get_mut(&id) {
            parent.pulls += 1;
        }
        self.commands.push_back(Command::Pull { parent: id, part, blocks });
        let Some(flight) = self.flights.get(&part) else { return };
        let at = self.hedge_at(flight, now);
        self.due(at, now);
    }

    /// When the blocks of a stripe that miss in a part are late.
    fn late_at(&self, flight: &Flight, stripe: u8) -> Millis {
        let bring = |feed: &&super::Feed| feed.asked.contains(stripe) && feed.covers(flight.id);
        let from = |feed: &super::Feed| {
            let bound = self.bound(feed.parent);
            let flow = feed.flow(stripe);
            let lag = flow.lag_ms.min(self.config.depth_ms / 3);
            let usual = flight.seen.plus(lag);
            let begun = feed.opened_at().max(flow.last).map_or(usual, |begun| begun.max(usual));
            let last = flight.wanted.plus((2 * bound).max(lag + bound));
            let late = begun.plus(bound).min(last);
            match (feed.phase, flight.skipped(stripe)) {
                // One after the other may be opened in vain.
                (Phase::Opening { since }, _) => since.plus(bound).min(last.max(flight.seen.plus(bound))),
                (Phase::Open { .. } | Phase::Retiring { .. }, Some(skipped)) => {
                    late.min(skipped.plus(self.part_ms))
                }
                (Phase::Open { .. } | Phase::Retiring { .. }, None) => late,
            }
        };
        let fed = self.feeds.values().filter(bring).map(from).max();
        fed.unwrap_or(flight.seen.plus(self.part_ms / 2))
    }

    /// When a second one is asked, after one that was asked at `since`.
    fn hedge_at(&self, flight: &Flight, since: Millis) -> Millis {
        let asked = flight.asked.iter().filter(|(_, asked)| !asked.forsaken);
        let slowest = asked.map(|(id, _)| self.round_trip(*id)).max().unwrap_or(0);
        let near = Millis(flight.deadline.0.saturating_sub(self.config.depth_ms / 4));
        since.plus(self.part_ms + 2 * slowest).min(near.max(since.plus(HEDGE_MS_MIN)))
    }

    /// Who is to give a block: one that has it rather than one that may, and the parent whose feed owes it last.
    fn giver(
        &self,
        flight: &Flight,
        stripe: u8,
        pulls: &BTreeMap<ParentId, Blocks>,
        now: Millis,
    ) -> Option<ParentId> {
        // What a feed brings late comes no sooner if it's asked for twice; what it passed over does.
        let owes = self.live(stripe).map(|(_, feed)| feed.parent);
        let passed = flight.skipped(stripe).is_some();
        let rank = |id: ParentId| {
            let parent = self.parents.get(&id)?;
            let planned = pulls.get(&id);
            let full =
                planned.map_or(parent.pulls >= PULLS_PER_PARENT, |blocks| blocks.len() >= PULL_BLOCKS_MAX);
            let tried = flight.tried.get(&id);
            let again = tried.is_none_or(|tried| {
                tried.times < TRIES_MAX && now >= tried.last.plus(self.part_ms * u64::from(tried.times))
            });
            let asked = flight.asked.contains_key(&id);
            let lively = parent.heard.is_some_and(|heard| now.since(heard) < LIVELY_MS);
            // What it has newest is known of one with a feed alone: answers to pulls do not tell.
            let fed = || self.feeds.values().any(|feed| feed.parent == id && feed.opened_at().is_some());
            let soon = lively && parent.newest < Some(flight.id) && fed();
            // Whoever has a feed says at once when a part is whole there. Where many begin at once, asking all of them
            // for what none of them has takes the line from what they wait for.
            let doubted = self.settling || now < flight.seen.plus(DOUBTED_MS);
            let lacks = doubted && self.tells(id, flight.id) && !flight.claims.contains_key(&id);
            let comes = owes == Some(id) && !passed || lacks;
            let gone = parent.is_lost(now);
            if comes || gone || !parent.listed || parent.is_banned() || full || !again || asked || soon {
                return None;
            }
            let claims = flight.claims.get(&id).is_some_and(|stripes| stripes.contains(stripe));
            Some((
                parent.is_out(now),
                parent.is_missed(),
                owes == Some(id),
                tried.map_or(0, |tried| tried.times),
                !lively,
                !claims,
                planned.is_none(),
                parent.pulls,
                Reverse(parent.score),
                id,
            ))
        };
        self.parents.keys().filter_map(|id| rank(*id)).min().map(|rank| rank.9)
    }
}
