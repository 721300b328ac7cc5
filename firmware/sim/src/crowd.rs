//! A crowd that carries one stream: boxes with their real [`swarm::Fetch`], a coordinator with its real
//! [`swarm::assign::Assigner`], lines that take time for each byte, and people who pull the plug.
//!
//! ```text
//! origin ── a part each 200 ms ──> lines (rate, queue) ──> boxes ──> lines ──> boxes …
//! coordinator ── parents, stand-bys ──> boxes ── "it is silent" ──> coordinator
//! ```
//! Modelled: headers and blocks with their bytes on the sender's uplink, in order; dials, refusals and pulls; deaths
//! without a word; the time until the coordinator hears of anything. Not modelled: loss and congestion on the way,
//! downlinks, verification. Refuses to read a clock.

mod act;
mod events;
mod homes;
mod member;
mod report;

use std::collections::BTreeMap;

use stream::EpochId;
use swarm::assign::{Assigner, BoxId, Load};
use swarm::score::{self, Facts};
use swarm::{BlockIndex, PartId, StripeCount};

use crate::Dice;
use events::{Event, Events};
use member::Member;
pub use report::{Report, Tally};

const PART_MS: u64 = 200;
const SEGMENT: u64 = 10;
/// From a box to the coordinator, or back.
const TO_COORDINATOR_US: u64 = 30_000;
/// Before a box of which nothing is heard counts as gone.
const COORDINATOR_WAITS_US: u64 = 6_000_000;
/// From somebody's going to another one's coming.
const RETURN_US: u64 = 4_000_000;
/// So many children who say that a box is silent are believed.
const REPORTS: usize = 2;
const ORIGIN: u32 = 0;

/// How a run goes.
#[derive(Clone, Copy, Debug)]
pub struct Plan {
    pub seed: u64,
    pub boxes: u32,
    pub origin_bps: u64,
    pub bitrate_bps: u64,
    /// Blocks of a part. The real ones have 16 KiB; fewer and larger ones make a run shorter and later.
    pub blocks: u16,
    /// Of each box; 0 for those of homes.
    pub uplink_bps: u64,
    /// Of its uplink, what a friend allows.
    pub allowed_per_mille: u64,
    /// Of all boxes, how many go each minute without a word; as many come.
    pub churn_per_mille: u64,
    /// Of those that go, how many say so before.
    pub polite_per_mille: u32,
    pub settle_s: u64,
    pub seconds: u64,
}

impl Default for Plan {
    fn default() -> Self {
        Self {
            seed: 1,
            boxes: 300,
            origin_bps: 20_000_000,
            bitrate_bps: 6_000_000,
            blocks: 8,
            uplink_bps: 0,
            allowed_per_mille: 1000,
            churn_per_mille: 100,
            polite_per_mille: 0,
            settle_s: 20,
            seconds: 60,
        }
    }
}

/// See the module's page.
#[derive(Debug)]
pub struct Crowd {
    plan: Plan,
    stripes: StripeCount,
    stripe_bps: u64,
    now: u64,
    dice: Dice,
    events: Events,
    /// By the number of the box; those that are gone leave a hole.
    members: Vec<Option<Member>>,
    places: Vec<(i32, i32)>,
    assigner: Assigner,
    /// Who said that a box is silent.
    reports: BTreeMap<u32, Vec<u32>>,
    newest: u64,
    measures: bool,
    tally: Tally,
}

impl Crowd {
    #[must_use]
    pub fn new(plan: Plan) -> Self {
        let mut dice = Dice::new(plan.seed);
        let stripes = StripeCount::USUAL;
        let stripe_bps = score::stripe_bps(plan.bitrate_bps, stripes);
        let load = Load { stripes, bitrate_bps: plan.bitrate_bps };
        let facts = facts(plan.origin_bps, plan.origin_bps, 86_400);
        let assigner = Assigner::new(load, BoxId(ORIGIN), &facts);
        let place = homes::place(&mut dice);
        let slots = facts.slots(stripe_bps);
        let origin = Member::new(plan.origin_bps, slots, 0);
        let mut crowd = Self {
            plan,
            stripes,
            stripe_bps,
            now: 10_000_000,
            dice,
            events: Events::default(),
            members: vec![Some(origin)],
            places: vec![place],
            assigner,
            reports: BTreeMap::new(),
            newest: 0,
            measures: false,
            tally: Tally::default(),
        };
        crowd.newest = crowd.now / 1000 / PART_MS;
        crowd.events.plan(crowd.now, Event::Part);
        for _ in 0..plan.boxes {
            // All come in the first half of the time to settle.
            let after = crowd.dice.within(0..(plan.settle_s * 500_000).max(1));
            crowd.events.plan(crowd.now + after, Event::Come);
        }
        crowd
    }

    /// Plays it all.
    #[must_use]
    pub fn run(mut self) -> Report {
        let from = self.now + self.plan.settle_s * 1_000_000;
        self.until(from);
        self.measures = true;
        let origin = self.sent(ORIGIN);
        let all: u64 = (0..self.count()).map(|id| self.sent(id)).sum();
        for member in self.members.iter_mut().flatten() {
            member.header_bytes = 0;
        }
        self.plan_churn();
        self.until(from + self.plan.seconds * 1_000_000);
        let origin = self.sent(ORIGIN) - origin;
        let all = (0..self.count()).map(|id| self.sent(id)).sum::<u64>() - all + self.tally.sent_by_gone;
        self.report(origin, all)
    }

    fn until(&mut self, end: u64) {
        while let Some((at, event)) = self.events.pop(end) {
            self.now = at;
            self.happen(event);
        }
        self.now = end;
    }

    fn count(&self) -> u32 {
        u32::try_from(self.members.len()).unwrap_or(u32::MAX)
    }

    fn sent(&self, id: u32) -> u64 {
        self.member(id).map_or(0, |member| member.sent_bytes)
    }

    fn plan_churn(&mut self) {
        let count = u64::from(self.plan.boxes) * self.plan.churn_per_mille * self.plan.seconds / 60 / 1000;
        for _ in 0..count {
            let span = (self.plan.seconds * 1_000_000).max(1);
            let at = self.now + self.dice.within(0..span);
            self.events.plan(at, Event::Go);
            self.events.plan(at + RETURN_US, Event::Come);
        }
    }

    fn member(&self, id: u32) -> Option<&Member> {
        self.members.get(usize::try_from(id).ok()?)?.as_ref()
    }

    fn member_mut(&mut self, id: u32) -> Option<&mut Member> {
        self.members.get_mut(usize::try_from(id).ok()?)?.as_mut()
    }

    fn round_trip(&self, one: u32, other: u32) -> u64 {
        near(&self.places, BoxId(one), BoxId(other))
    }

    /// What one block has on the line.
    fn block_bytes(&self) -> u64 {
        self.plan.bitrate_bps * PART_MS / 8 / 1000 / u64::from(self.plan.blocks)
            * (1000 + score::OVERHEAD_PER_MILLE)
            / 1000
    }

    /// A part's item has some fields, a signature and 32 bytes for each block of 16 KiB.
    fn header_bytes(&self) -> u64 {
        220 + 32 * (self.plan.bitrate_bps * PART_MS / 8000).div_ceil(16_384)
    }
}

fn near(places: &[(i32, i32)], one: BoxId, other: BoxId) -> u64 {
    let place = |id: BoxId| places.get(usize::try_from(id.0).unwrap_or(0)).copied().unwrap_or_default();
    homes::round_trip(place(one), place(other))
}

fn facts(uplink_bps: u64, allowed_bps: u64, age_s: u64) -> Facts {
    Facts { uplink_bps, limit_bps: Some(allowed_bps), age_s, present_per_mille: 900 }
}

fn part(n: u64) -> PartId {
    PartId { msn: n / SEGMENT, part: u32::try_from(n % SEGMENT).unwrap_or(0), epoch: EpochId(1) }
}

fn number(part: PartId) -> u64 {
    part.msn * SEGMENT + u64::from(part.part)
}

fn bit(block: BlockIndex) -> u32 {
    1 << block
}
