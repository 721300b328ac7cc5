//! What boxes, origin and coordinator do when something happens.

use swarm::assign::BoxId;
use swarm::fetch::{Block, Command, Demand, Fault, FeedId, Header, Loss, PULL_MS_MAX, Pulled, Shape};
use swarm::{Candidate, ParentId, PartId, Stripes};

use super::member::{KEPT, Member, Out, millis};
use super::{
    COORDINATOR_WAITS_US, Crowd, Event, ORIGIN, PART_MS, REPORTS, SEGMENT, TO_COORDINATOR_US, bit, facts,
    homes, near, number, part,
};

/// Beside those that are assigned.
const STAND_BYS: usize = 4;
/// A parent's system notices that nobody acknowledges.
const CLEARED_US: u64 = 1_000_000;
/// From saying so to going.
const POLITE_US: u64 = 1_000_000;
/// Dialling takes a round trip, asking another one.
const DIAL_ROUND_TRIPS: u64 = 2;

impl Crowd {
    pub(super) fn happen(&mut self, event: Event) {
        let now = millis(self.now);
        match event {
            Event::Part => self.make(),
            Event::Come => self.come(),
            Event::Go => self.somebody_goes(),
            Event::Gone { id } => self.gone(id, true),
            Event::Wake { id } => {
                if let Some(member) = self.member_mut(id) {
                    member.wake = u64::MAX;
                    member.fetch.handle_timeout(now);
                }
                self.settle(id);
            }
            Event::Told { id } => self.told(id),
            Event::Silent { id, by } => {
                let reports = self.reports.entry(id).or_default();
                if !reports.contains(&by) {
                    reports.push(by);
                }
                if reports.len() >= REPORTS && self.member(id).is_none() {
                    self.forget(id);
                }
            }
            Event::Unheard { id } => self.forget(id),
            Event::Starved { id } => self.events.plan(self.now + TO_COORDINATOR_US, Event::Told { id }),
            Event::Open { parent, child, feed, stripes, from } => {
                self.opens(parent, child, feed, stripes, from);
            }
            Event::Close { parent, child, feed } => {
                if let Some(member) = self.member_mut(parent) {
                    member.outs.retain(|out| (out.child, out.feed) != (child, feed));
                }
            }
            Event::Pull { parent, child, n, blocks } => self.pulls(parent, child, n, blocks),
            Event::Cleared { parent, child } => {
                if let Some(member) = self.member_mut(parent) {
                    member.outs.retain(|out| out.child != child);
                }
            }
            Event::Opened { child, feed, stripes } => {
                self.tell(child, |member| member.fetch.handle_opened(feed, stripes, now));
            }
            Event::Lost { child, feed, why } => self.tell(child, |member| {
                member.feeds.remove(&feed);
                member.fetch.handle_lost(feed, why, now);
            }),
            Event::Have { child, from, n } => self.tell(child, |member| {
                member.fetch.handle_have(ParentId(from), part(n), Stripes(u16::MAX), now);
            }),
            Event::Header { child, from, feed, n } => self.header(child, from, feed, n),
            Event::Block { child, from, n, block } => self.block(child, from, n, block),
            Event::Pulled { child, from, n, end } => {
                self.tell(child, |member| member.fetch.handle_pulled(ParentId(from), part(n), end, now));
            }
            Event::Leaving { child, from } => {
                self.tell(child, |member| member.fetch.handle_leaving(ParentId(from), now));
            }
        }
    }

    fn tell(&mut self, id: u32, act: impl FnOnce(&mut Member)) {
        if let Some(member) = self.member_mut(id) {
            act(member);
            self.settle(id);
        }
    }

    /// The origin has a part, all at once.
    fn make(&mut self) {
        self.events.plan(self.now + PART_MS * 1000, Event::Part);
        let n = self.newest;
        self.newest += 1;
        if self.measures {
            self.tally.parts_made += 1;
        }
        if let Some(origin) = self.member_mut(ORIGIN) {
            origin.take_header(n);
        }
        self.give_header(ORIGIN, n);
        self.give_have(ORIGIN, n);
        for block in 0..self.plan.blocks {
            if let Some(origin) = self.member_mut(ORIGIN) {
                origin.take(n, block);
            }
            self.give(ORIGIN, n, block);
        }
    }

    fn come(&mut self) {
        let id = self.count();
        let home = homes::uplink(&mut self.dice);
        let uplink = if self.plan.uplink_bps > 0 { self.plan.uplink_bps } else { home };
        let allowed = uplink / 1000 * self.plan.allowed_per_mille;
        let facts = facts(uplink, allowed, 0);
        let place = homes::place(&mut self.dice);
        let slots = facts.slots(self.stripe_bps);
        // A viewer begins with the last segment that is whole, or less.
        let from = self.newest.saturating_sub(SEGMENT / 2);
        let mut member = Member::new(uplink, slots, self.now);
        member.fetch.handle_demand(Demand::Blocks { from: Some(part(from)) }, millis(self.now));
        self.members.push(Some(member));
        self.places.push(place);
        let places = &self.places;
        self.assigner.handle_box(BoxId(id), &facts, &|one, other| near(places, one, other));
        self.pass_on_changes();
    }

    fn somebody_goes(&mut self) {
        let there: Vec<_> = (1..self.count()).filter(|id| self.member(*id).is_some()).collect();
        if there.is_empty() {
            return;
        }
        let at = self.dice.within(0..u64::try_from(there.len()).unwrap_or(1));
        let Some(id) = usize::try_from(at).ok().and_then(|at| there.get(at)).copied() else { return };
        if self.dice.chance(self.plan.polite_per_mille) {
            let outs = self.member(id).map_or_else(Vec::new, |member| member.outs.clone());
            for out in outs {
                let at = self.now + self.round_trip(id, out.child) * 500;
                self.events.plan(at, Event::Leaving { child: out.child, from: id });
            }
            self.events.plan(self.now + TO_COORDINATOR_US, Event::Unheard { id });
            self.events.plan(self.now + POLITE_US, Event::Gone { id });
        } else {
            self.gone(id, false);
        }
    }

    fn gone(&mut self, id: u32, polite: bool) {
        let Some(member) = usize::try_from(id).ok().and_then(|at| self.members.get_mut(at)?.take()) else {
            return;
        };
        self.tally.sent_by_gone += member.sent_bytes;
        for (feed, parent) in &member.feeds {
            let now = self.now;
            let close = Event::Close { parent: parent.0, child: id, feed: *feed };
            if polite {
                self.events.plan(now, close);
            } else {
                self.events.plan(now + CLEARED_US, Event::Cleared { parent: parent.0, child: id });
                let outs = self.member_mut(parent.0).map(|parent| parent.outs.iter_mut());
                outs.into_iter()
                    .flatten()
                    .filter(|out| out.child == id)
                    .for_each(|out| out.gone_at = Some(now));
            }
        }
        for out in member.outs.iter().filter(|_| polite) {
            let at = self.now + self.round_trip(id, out.child) * 500;
            self.events.plan(at, Event::Lost { child: out.child, feed: out.feed, why: Loss::Leaving });
        }
        if !polite {
            self.events.plan(self.now + COORDINATOR_WAITS_US, Event::Unheard { id });
        }
        self.leaves_tally(&member);
    }

    /// The coordinator believes that a box is gone.
    fn forget(&mut self, id: u32) {
        self.reports.remove(&id);
        let places = &self.places;
        self.assigner.handle_gone(BoxId(id), &|one, other| near(places, one, other));
        self.pass_on_changes();
    }

    fn pass_on_changes(&mut self) {
        let mut told = None;
        while let Some(change) = self.assigner.poll_change() {
            if self.measures {
                self.tally.moves += 1;
            }
            // They come by box: once for each is enough.
            if told != Some(change.child) {
                told = Some(change.child);
                self.events.plan(self.now + TO_COORDINATOR_US, Event::Told { id: change.child.0 });
            }
        }
    }

    /// What the coordinator has for a box reaches it.
    fn told(&mut self, id: u32) {
        let parents = self.assigner.parents(BoxId(id));
        if self.member(id).is_none() || parents.is_empty() {
            return;
        }
        let mut candidates: Vec<Candidate> = Vec::new();
        for (stripe, parent) in (0..).zip(parents) {
            let Some(parent) = parent else { continue };
            let found = candidates.iter_mut().find(|candidate| candidate.id.0 == parent.0);
            match found {
                Some(candidate) => candidate.stripes = candidate.stripes.with(stripe),
                None => candidates.push(Candidate {
                    id: ParentId(parent.0),
                    score: 10 + u32::from(self.assigner.free(parent)),
                    round_trip_ms: self.round_trip(id, parent.0),
                    stripes: Stripes::one(stripe),
                    barred: self.assigner.barred(BoxId(id), parent),
                    heir: Stripes::NONE,
                }),
            }
        }
        for other in self.assigner.stand_bys(BoxId(id), STAND_BYS) {
            candidates.push(Candidate {
                id: ParentId(other.id.0),
                score: 10 + u32::from(other.free),
                round_trip_ms: self.round_trip(id, other.id.0),
                stripes: Stripes::NONE,
                barred: other.barred,
                heir: Stripes::NONE,
            });
        }
        let now = millis(self.now);
        self.tell(id, |member| {
            member.met.extend(candidates.iter().map(|candidate| candidate.id.0));
            member.fetch.handle_parents(&candidates, now);
        });
    }

    /// Does what a machine wants, and plans when it wants to be asked again.
    fn settle(&mut self, id: u32) {
        while let Some(command) = self.member_mut(id).and_then(|member| member.fetch.poll_command()) {
            self.act(id, command);
        }
        let Some(member) = self.member_mut(id) else { return };
        let timeout = member.timeout();
        if timeout < member.wake {
            member.wake = timeout;
            let at = timeout.max(self.now + 1);
            self.events.plan(at, Event::Wake { id });
        }
    }

    fn act(&mut self, id: u32, command: Command) {
        match command {
            Command::Open { feed, parent, stripes, from, planned: _, instead: _ } => {
                if let Some(member) = self.member_mut(id) {
                    member.feeds.insert(feed, parent);
                }
                let at = self.now + self.round_trip(id, parent.0) * (DIAL_ROUND_TRIPS * 1000 - 500);
                let from = from.unwrap_or(part(self.newest));
                self.events.plan(at, Event::Open { parent: parent.0, child: id, feed, stripes, from });
            }
            Command::Close { feed } => {
                let Some(parent) = self.member_mut(id).and_then(|member| member.feeds.remove(&feed)) else {
                    return;
                };
                let at = self.now + self.round_trip(id, parent.0) * 500;
                self.events.plan(at, Event::Close { parent: parent.0, child: id, feed });
            }
            Command::Pull { parent, part, blocks } => {
                let bits = blocks.iter().fold(0, |bits, block| bits | bit(block));
                if self.measures {
                    self.tally.pulled_blocks += u64::from(blocks.len());
                }
                let at = self.now + self.round_trip(id, parent.0) * 500;
                let n = number(part);
                self.events.plan(at, Event::Pull { parent: parent.0, child: id, n, blocks: bits });
                if self.member(parent.0).is_none() {
                    let at = self.now + PULL_MS_MAX * 1000;
                    self.events.plan(at, Event::Pulled { child: id, from: parent.0, n, end: Pulled::Failed });
                }
            }
            Command::GiveUp { part } => self.missed(id, number(part)),
            Command::Demote { parent, fault, .. } => {
                if self.measures {
                    *self.tally.faults.entry(format!("{fault:?}")).or_default() += 1;
                }
                if fault == Fault::Silent {
                    let at = self.now + TO_COORDINATOR_US;
                    self.events.plan(at, Event::Silent { id: parent.0, by: id });
                }
            }
            Command::Starved => {
                if self.measures {
                    self.tally.starved += 1;
                }
                self.events.plan(self.now + TO_COORDINATOR_US, Event::Starved { id });
            }
        }
    }

    /// A child's request for a feed reaches the parent. One that is gone doesn't answer.
    fn opens(&mut self, parent: u32, child: u32, feed: FeedId, stripes: Stripes, from: PartId) {
        let back = self.now + self.round_trip(parent, child) * 500;
        let wanted = self.member(child).is_some_and(|member| member.feeds.contains_key(&feed));
        let Some(member) = self.member_mut(parent) else { return };
        if !wanted {
            return;
        }
        let given = member.room(child, stripes);
        if given.is_empty() && !stripes.is_empty() {
            self.tally.refused += u64::from(self.measures);
            return self.events.plan(back, Event::Lost { child, feed, why: Loss::Refused });
        }
        let stripes = given;
        member.outs.push(Out { child, feed, stripes, from, gone_at: None });
        self.events.plan(back, Event::Opened { child, feed, stripes });
        let first = number(from).max(self.newest.saturating_sub(KEPT));
        for n in first..self.newest {
            let Some(member) = self.member(parent) else { return };
            if !member.has_header(n) {
                continue;
            }
            let blocks = member.blocks(n);
            self.send_header(parent, child, feed, n);
            if blocks.count_ones() == u32::from(self.plan.blocks) {
                self.events.plan(back, Event::Have { child, from: parent, n });
            }
            for block in (0..self.plan.blocks).filter(|block| blocks & bit(*block) != 0) {
                if stripes.contains(self.stripes.of(part(n), block)) {
                    self.send_block(parent, child, n, block);
                }
            }
        }
    }

    fn pulls(&mut self, parent: u32, child: u32, n: u64, blocks: u32) {
        let Some(member) = self.member(parent) else { return };
        // Feeds come first: who is behind with them pulls nothing out of its sleeve.
        let there = if member.is_behind(self.now) { 0 } else { member.blocks(n) & blocks };
        for block in (0..self.plan.blocks).filter(|block| there & bit(*block) != 0) {
            self.send_block(parent, child, n, block);
        }
        let end = if there == 0 { Pulled::NotThere } else { Pulled::Whole };
        let half = self.round_trip(parent, child) * 500;
        let now = self.now;
        let sent = self.member_mut(parent).and_then(|member| member.send(60, now)).unwrap_or(now);
        self.events.plan(sent + half, Event::Pulled { child, from: parent, n, end });
    }

    fn send_header(&mut self, from: u32, child: u32, feed: FeedId, n: u64) {
        let (bytes, now, half) = (self.header_bytes(), self.now, self.round_trip(from, child) * 500);
        let Some(member) = self.member_mut(from) else { return };
        let Some(sent) = member.send(bytes, now) else { return };
        self.events.plan(sent + half, Event::Header { child, from, feed, n });
    }

    fn send_block(&mut self, from: u32, child: u32, n: u64, block: u16) {
        let (bytes, now, half) = (self.block_bytes(), self.now, self.round_trip(from, child) * 500);
        let Some(member) = self.member_mut(from) else { return };
        let Some(sent) = member.send(bytes, now) else { return };
        self.events.plan(sent + half, Event::Block { child, from, n, block });
    }

    /// A header goes on to all children.
    fn give_header(&mut self, id: u32, n: u64) {
        let now = self.now;
        let wants = |out: &Out| part(n) >= out.from && out.flows(now);
        let outs = self.member(id).map_or_else(Vec::new, |member| member.outs.clone());
        outs.iter().filter(|out| wants(out)).for_each(|out| self.send_header(id, out.child, out.feed, n));
    }

    /// All children hear that a part is whole here.
    fn give_have(&mut self, id: u32, n: u64) {
        let now = self.now;
        let wants = |out: &Out| part(n) >= out.from && out.flows(now);
        let outs = self.member(id).map_or_else(Vec::new, |member| member.outs.clone());
        for out in outs.iter().filter(|out| wants(out)) {
            let half = self.round_trip(id, out.child) * 500;
            self.events.plan(now + half, Event::Have { child: out.child, from: id, n });
        }
    }

    /// A block goes on to the children who want its stripe.
    fn give(&mut self, id: u32, n: u64, block: u16) {
        let (now, stripe) = (self.now, self.stripes.of(part(n), block));
        let wants = |out: &Out| part(n) >= out.from && out.stripes.contains(stripe) && out.flows(now);
        let outs = self.member(id).map_or_else(Vec::new, |member| member.outs.clone());
        outs.iter().filter(|out| wants(out)).for_each(|out| self.send_block(id, out.child, n, block));
    }

    fn header(&mut self, child: u32, from: u32, feed: FeedId, n: u64) {
        let (now, bytes) = (millis(self.now), self.header_bytes());
        let shape = Shape { blocks: self.plan.blocks, duration_ms: PART_MS };
        let Some(member) = self.member_mut(child).filter(|member| member.feeds.contains_key(&feed)) else {
            return;
        };
        member.header_bytes += bytes;
        if member.fetch.handle_header(ParentId(from), part(n), shape, now) == Header::Fresh {
            member.take_header(n);
            self.give_header(child, n);
        }
        self.settle(child);
    }

    fn block(&mut self, child: u32, from: u32, n: u64, block: u16) {
        let now = millis(self.now);
        let blocks = self.plan.blocks;
        let Some(member) = self.member_mut(child) else { return };
        match member.fetch.handle_block(ParentId(from), part(n), block, now) {
            Block::Fresh => {
                member.take(n, block);
                if member.blocks(n).count_ones() == u32::from(blocks) {
                    self.whole(child, n);
                    self.give_have(child, n);
                }
                self.give(child, n, block);
            }
            Block::Again | Block::Old | Block::NotAsked => {
                self.tally.wasted_blocks += u64::from(self.measures);
            }
        }
        self.settle(child);
    }
}
