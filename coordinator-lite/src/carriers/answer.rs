//! What a box hears when it asks: its parents by the plan, those that it has, some that stand by, and the owner.
//!
//! Boxes move one after the other, each when it asks. So a parent of the plan may for a moment still take from the box
//! what it is to give: that stripe stays where it is, and the box asks again soon. Refuses to name a box that is out,
//! and one that failed the asking box, but for the owner.

use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use stream::StreamName;
use swarm::score::Facts;
use trust::{BoxKey, List};
use wire::ParentEntry;
use wire::parents::PARENTS_MAX;

use super::plan::{Near, Plan, owner_uplink_bps};
use super::{ALL_STRIPES, Carried, Carrier, Carriers, LOOK_EVERY, STRIPES};

/// Boxes that stand by, for each that asks.
const STAND_BYS: usize = 6;
/// Seconds between two requests of a box about a stream,
const NEXT_S: u32 = 5;
/// and where few carry it: what one changes is good for nothing until the others have heard of it.
const NEXT_FEW_S: u32 = 1;
const FEW: usize = 32;
/// So long after a box came all ask more often,
pub(super) const BUSTLE: Duration = Duration::from_secs(5);
/// and so long after it came itself one that not all has a giver for: others become givers one after the other.
const YOUNG: Duration = Duration::from_secs(20);
/// Seconds until a box asks again that waits for others to come or to move.
const WAITING_S: u32 = 1;
/// Moves that make a plan better, with each look at it: each costs a box a moment,
const MOVES: usize = 1;
/// but where all begin, nothing much moves yet.
const MOVES_FIRST: usize = 64;
/// What a way through a third box counts as, in milliseconds: more than all hops that there may be.
const RELAYED_MS: u32 = 100_000;
/// A box's requests are remembered for two minutes, and at most [`wire::ReplayGuard::REQUESTS_MAX`] of them: its
/// streams share 160, and the others are for what else it asks.
const SHARED_BY: u32 = 160;
const SHARED_S: u32 = 120;

/// From whom, and for whom, parents are looked for.
pub(crate) struct Asking<'a> {
    pub(crate) key: &'a BoxKey,
    pub(crate) owner: &'a BoxKey,
    /// Of the stream; none while nobody publishes it.
    pub(crate) bitrate_bps: Option<u64>,
    /// Whether a box may be named at all: a member that nobody took out.
    pub(crate) is_peer: &'a dyn Fn(&BoxKey) -> bool,
    /// Between two boxes, in milliseconds.
    pub(crate) round_trip_ms: Near<'a>,
}

/// Best first, and the seconds until the box is to ask again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Answer {
    pub(crate) stripes: u8,
    pub(crate) parents: List<ParentEntry, PARENTS_MAX>,
    pub(crate) next_s: u32,
}

impl Carriers {
    /// From whom a box is to take a stream. The owner is always named, but to itself.
    pub(crate) fn parents(&mut self, stream: &StreamName, asking: &Asking<'_>, now: Instant) -> Answer {
        let answer = self.answer(stream, asking, now);
        let own = self.streams.get_mut(stream).and_then(|carried| carried.boxes.get_mut(asking.key));
        if let Some(own) = own {
            own.due = now + Duration::from_secs(u64::from(answer.next_s));
            let told = answer.parents.iter().filter(|entry| entry.stripes != 0);
            own.told = told.map(|entry| (entry.key, entry.stripes)).collect();
        }
        answer
    }

    fn answer(&mut self, stream: &StreamName, asking: &Asking<'_>, now: Instant) -> Answer {
        let share_s = self.share_s(asking.key);
        let boxes = self.streams.get(stream).map_or(0, |carried| carried.boxes.len());
        let usual_s = share_s.max(if boxes <= FEW { NEXT_FEW_S } else { NEXT_S });
        let answer = |parents: Vec<_>, next_s| Answer {
            stripes: STRIPES,
            parents: List::try_from(parents).unwrap_or_default(),
            next_s,
        };
        let Some(bitrate_bps) = asking.bitrate_bps else {
            if let Some(carried) = self.streams.get_mut(stream) {
                carried.plan = None;
            }
            return answer(alone(asking), usual_s);
        };
        let plan = self.streams.get_mut(stream).and_then(|carried| carried.plan.take());
        let plan = self.planned(stream, plan, bitrate_bps, asking, now);
        let Some(carried) = self.streams.get_mut(stream) else { return answer(alone(asking), usual_s) };
        let (parents, waits) = carried.entries(&plan, asking, now);
        carried.plan = Some(plan);
        answer(parents, if waits { WAITING_S.max(share_s) } else { usual_s })
    }

    /// Seconds that have to be between two requests of a box about each of its streams: more for one that carries many.
    fn share_s(&self, key: &BoxKey) -> u32 {
        let streams = u32::try_from(self.carried_by(key)).unwrap_or(u32::MAX);
        streams.saturating_mul(SHARED_S).div_ceil(SHARED_BY)
    }

    /// The plan with all that is known by now: the asking box at once, the others once a second.
    fn planned(
        &mut self,
        stream: &StreamName,
        plan: Option<Plan>,
        bitrate_bps: u64,
        asking: &Asking<'_>,
        now: Instant,
    ) -> Plan {
        let kept = plan.filter(|plan| plan.owner == *asking.owner);
        let whole = kept.is_none();
        let mut plan = kept.unwrap_or_else(|| {
            let facts = self.owner_facts(stream, asking.owner, bitrate_bps, now);
            Plan::new(asking.owner, facts, bitrate_bps, now)
        });
        let Some(carried) = self.streams.get(stream) else { return plan };
        let near = |one: &BoxKey, other: &BoxKey| carried.near(one, other, asking.round_trip_ms);
        let asking = &Asking { round_trip_ms: &near, ..*asking };
        plan.handle_bitrate(bitrate_bps, asking.round_trip_ms, now);
        let own = carried.boxes.get(asking.key);
        for parent in own.into_iter().flat_map(|own| own.said.failed.iter()) {
            let failed = own.is_some_and(|own| carried.is_failed(own, parent, now));
            if failed && plan.parents(asking.key).contains_key(parent) {
                plan.handle_failed(asking.key, parent, asking.round_trip_ms, now);
            }
        }
        // What came from one that is missed is planned anew at once.
        for parent in own.into_iter().flat_map(|own| own.said.silent.iter()) {
            if carried.boxes.get(parent).is_some_and(|missed| !missed.is_fresh(now)) {
                plan.handle_gone(parent, asking.round_trip_ms);
            }
        }
        let due = carried.reviewed.is_none_or(|at| now.duration_since(at) >= LOOK_EVERY);
        let mut looked = false;
        if whole || due {
            let mut order: Vec<_> = carried.boxes.iter().collect();
            order.sort_by_key(|(_, carrier)| carrier.place);
            for gone in plan.keys().iter().filter(|key| !carried.boxes.contains_key(key)) {
                plan.handle_gone(gone, asking.round_trip_ms);
            }
            for (key, carrier) in order {
                self.review(stream, &mut plan, (key, carrier), bitrate_bps, asking, now);
            }
            let mut friends = carried.boxes.iter().filter(|(key, _)| **key != plan.owner);
            let all_begin = friends.all(|(_, carrier)| now.duration_since(carrier.began) < BUSTLE);
            plan.improve(if all_begin { MOVES_FIRST } else { MOVES }, asking.round_trip_ms);
            looked = true;
        } else if let Some(own) = own {
            self.review(stream, &mut plan, (asking.key, own), bitrate_bps, asking, now);
        }
        if looked && let Some(carried) = self.streams.get_mut(stream) {
            carried.reviewed = Some(now);
        }
        plan
    }

    fn review(
        &self,
        stream: &StreamName,
        plan: &mut Plan,
        (key, carrier): (&BoxKey, &Carrier),
        bitrate_bps: u64,
        asking: &Asking<'_>,
        now: Instant,
    ) {
        if *key == plan.owner {
            let facts = self.owner_facts(stream, key, bitrate_bps, now);
            return plan.handle_box(key, facts, asking.round_trip_ms);
        }
        if !carrier.is_fresh(now) || !(asking.is_peer)(key) {
            return plan.handle_gone(key, asking.round_trip_ms);
        }
        let mut facts = carrier.facts(self.others_bps(stream, key), now);
        // It goes on watching, below all others.
        if plan.is_out(key, carrier.blamed_from(), now) || carrier.is_resting(now) {
            facts.uplink_bps = 0;
        }
        plan.handle_box(key, facts, asking.round_trip_ms);
    }

    fn owner_facts(&self, stream: &StreamName, owner: &BoxKey, bitrate_bps: u64, now: Instant) -> Facts {
        let carrier = self.streams.get(stream).and_then(|carried| carried.boxes.get(owner));
        let others = self.others_bps(stream, owner);
        let assumed = owner_uplink_bps(bitrate_bps);
        let unknown = Facts { uplink_bps: assumed, limit_bps: None, age_s: 0, present_per_mille: 1000 };
        match carrier.filter(|carrier| carrier.asks(now)) {
            Some(carrier) if carrier.said.uplink_bps.is_some() => carrier.facts(others, now),
            Some(_) | None => Facts { uplink_bps: assumed.saturating_sub(others), ..unknown },
        }
    }

    /// What a box gives in other streams, by their plans.
    fn others_bps(&self, stream: &StreamName, key: &BoxKey) -> u64 {
        let others = self.streams.iter().filter(|(name, _)| *name != stream);
        others.filter_map(|(_, carried)| carried.plan.as_ref()).map(|plan| plan.gives_bps(key)).sum()
    }
}

impl Carried {
    /// A pair that reaches each other only through a third box is far: its household would pay for it.
    fn near(&self, one: &BoxKey, other: &BoxKey, measured: Near<'_>) -> Option<u32> {
        let says =
            |by: &BoxKey, of: &BoxKey| self.boxes.get(by).is_some_and(|carrier| carrier.is_relayed(of));
        let known = measured(one, other);
        if says(one, other) || says(other, one) {
            Some(known.unwrap_or(0).saturating_add(RELAYED_MS))
        } else {
            known
        }
    }

    /// Who is named, and whether the box waits for others to move.
    fn entries(&self, plan: &Plan, asking: &Asking<'_>, now: Instant) -> (Vec<ParentEntry>, bool) {
        if asking.key == asking.owner {
            return (Vec::new(), false);
        }
        let own = self.boxes.get(asking.key);
        let mut named: BTreeMap<BoxKey, ParentEntry> = BTreeMap::new();
        let failed = |key: &BoxKey| own.is_some_and(|own| self.is_failed(own, key, now));
        let usable = |key: &BoxKey| {
            let there =
                self.boxes.get(key).is_some_and(|carrier| carrier.is_fresh(now) && (asking.is_peer)(key));
            (there || key == asking.owner) && key != asking.key && !failed(key)
        };
        let entry = |key: &BoxKey, stripes: u16, barred: u16| {
            let score = plan.score(key, (asking.round_trip_ms)(asking.key, key));
            ParentEntry { key: *key, score, stripes, barred, heir: 0 }
        };
        // Whoever comes changes from whom the others are to take.
        let comes = |carrier: &Carrier| now.duration_since(carrier.began) < BUSTLE;
        let mut waits = self.boxes.iter().any(|(key, carrier)| key != asking.owner && comes(carrier));
        let planned = plan.parents(asking.key);
        let lacks = planned.values().fold(0, |all, stripes| all | stripes) != ALL_STRIPES;
        // Perhaps another one says the same soon.
        waits |= own.is_some_and(|own| !own.said.silent.is_empty());
        waits |= lacks && own.is_some_and(|own| now.duration_since(own.began) < YOUNG);
        for (parent, stripes) in planned.iter().filter(|(parent, _)| usable(parent)) {
            let barred = self.barred(parent, asking.key);
            waits |= stripes & barred != 0;
            named.insert(*parent, entry(parent, stripes & !barred, barred));
        }
        let takes = own.into_iter().flat_map(|own| own.said.takes.iter()).map(|take| take.parent);
        for parent in takes.filter(usable) {
            let barred = self.barred(&parent, asking.key);
            named.entry(parent).or_insert_with(|| entry(&parent, 0, barred));
        }
        for other in plan.stand_bys(asking.key, STAND_BYS).iter().filter(|other| usable(&other.key)) {
            let barred = other.barred | self.barred(&other.key, asking.key);
            if barred != ALL_STRIPES {
                named.entry(other.key).or_insert_with(|| entry(&other.key, 0, barred));
            }
        }
        let owner = entry(asking.owner, 0, 0);
        let last = if failed(asking.owner) { ParentEntry { score: 0, ..owner } } else { owner };
        named.entry(*asking.owner).or_insert(last);
        // Whom it can turn to at once, should one of its givers fail.
        for (heir, gives) in plan.heirs(asking.key).into_iter().filter(|(heir, _)| usable(heir)) {
            let barred = self.barred(&heir, asking.key);
            let heir = named.entry(heir).or_insert_with(|| entry(&heir, 0, barred));
            heir.heir |= gives & !heir.barred;
        }
        let Some(last) = named.remove(asking.owner) else { return (Vec::new(), waits) };
        let mut parents: Vec<_> = named.into_values().collect();
        // What is assigned is never left out.
        parents.sort_by_key(|entry| (entry.stripes == 0, entry.heir == 0, Reverse(entry.score)));
        parents.truncate(PARENTS_MAX - 1);
        parents.push(last);
        parents.sort_by_key(|entry| Reverse(entry.score));
        (parents, waits)
    }
}

/// Nobody carries it by a plan: there is the owner.
fn alone(asking: &Asking<'_>) -> Vec<ParentEntry> {
    let owner = ParentEntry { key: *asking.owner, score: 1, stripes: 0, barred: 0, heir: 0 };
    if asking.key == asking.owner { Vec::new() } else { vec![owner] }
}
