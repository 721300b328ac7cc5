//! The plan of one stream: from whom each box is to take which stripe, by [`swarm::assign`], under the boxes' keys.
//! Refuses to be followed blindly: what boxes take in truth is looked at by who reads it.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use swarm::StripeCount;
use swarm::assign::{Assigner, BoxId, Load};
use swarm::score::{Facts, stripe_bps};
use trust::BoxKey;

/// A bitrate below this was measured on nothing yet; then a usual stream is assumed.
const BITRATE_MIN_BPS: u64 = 100_000;
const BITRATE_ASSUMED_BPS: u64 = 6_000_000;
/// Between two changes of a plan for the stream's bitrate.
const FIT_EVERY: Duration = Duration::from_secs(5);
/// A stream that became larger by less has room in what every line keeps.
const GROWN_PERCENT: u64 = 110;
/// What others said of a box counts for so long.
const BLAMED_FOR: Duration = Duration::from_secs(15);
/// So long a box that failed others gives nothing; twice as long each time again. Lines are tight: to do without one that
/// only stood still for a moment costs all of them.
const OUT_FOR: Duration = Duration::from_secs(15);
const OUT_FOR_MAX: Duration = Duration::from_secs(600);
/// Doing well for so long makes it forgotten.
const FORGOTTEN: Duration = Duration::from_secs(600);
/// So many have to say so, since one may have a bad way to it, or lie.
const BLAMES_MIN: usize = 2;
/// What a way is taken for that nobody told of.
const ROUND_TRIP_ASSUMED_MS: u64 = 50;

/// The round trip between two boxes in milliseconds, where it is known.
pub(super) type Near<'a> = &'a dyn Fn(&BoxKey, &BoxKey) -> Option<u32>;

#[derive(Debug)]
pub(super) struct Plan {
    pub(super) owner: BoxKey,
    assigner: Assigner,
    load: Load,
    /// When it was made to fit the bitrate.
    fitted: Instant,
    boxes: BTreeMap<BoxKey, Planned>,
    /// By number, the owner first; none for one that is free again.
    keys: Vec<Option<BoxKey>>,
    free: BTreeSet<u32>,
}

#[derive(Debug)]
struct Planned {
    id: BoxId,
    facts: Facts,
    /// Who said that it failed it, and when.
    blamed: BTreeMap<BoxKey, Instant>,
    /// Until when it gives nothing, and how often it came to that.
    out: Option<(Instant, u32)>,
}

impl Planned {
    const fn new(id: BoxId, facts: Facts) -> Self {
        Self { id, facts, blamed: BTreeMap::new(), out: None }
    }
}

/// Who could give something, as the plan sees it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Other {
    pub(super) key: BoxKey,
    pub(super) barred: u16,
}

impl Plan {
    pub(super) fn new(owner: &BoxKey, facts: Facts, bitrate_bps: u64, now: Instant) -> Self {
        let load = Load { stripes: StripeCount::USUAL, bitrate_bps: usable(bitrate_bps) };
        let id = BoxId(0);
        Self {
            owner: *owner,
            assigner: Assigner::new(load, id, &facts),
            load,
            fitted: now,
            boxes: BTreeMap::from([(*owner, Planned::new(id, facts))]),
            keys: vec![Some(*owner)],
            free: BTreeSet::new(),
        }
    }

    /// The stream became so much larger or smaller that it is worth some moves, which happens in the first seconds of
    /// each.
    pub(super) fn handle_bitrate(&mut self, bitrate_bps: u64, near: Near<'_>, now: Instant) {
        let (planned, bitrate) = (self.load.bitrate_bps, usable(bitrate_bps));
        let fits = bitrate <= planned / 100 * GROWN_PERCENT && bitrate >= planned / 2;
        if fits || now.duration_since(self.fitted) < FIT_EVERY {
            return;
        }
        (self.load.bitrate_bps, self.fitted) = (bitrate, now);
        let boxes: Vec<_> = self.boxes.values().map(|planned| (planned.id, planned.facts)).collect();
        self.assign(near, |assigner, near| assigner.handle_bitrate(bitrate, &boxes, near));
    }

    pub(super) fn keys(&self) -> Vec<BoxKey> {
        self.boxes.keys().copied().collect()
    }

    pub(super) fn has(&self, key: &BoxKey) -> bool {
        self.boxes.contains_key(key)
    }

    /// What it is to give, in bits per second.
    pub(super) fn gives_bps(&self, key: &BoxKey) -> u64 {
        let Some(planned) = self.boxes.get(key) else { return 0 };
        let stripes = self.load.stripes.all().iter();
        let edges: usize = stripes.map(|stripe| self.assigner.children(planned.id, stripe).len()).sum();
        stripe_bps(self.load.bitrate_bps, self.load.stripes).saturating_mul(edges as u64)
    }

    /// A box came, or something about it changed.
    pub(super) fn handle_box(&mut self, key: &BoxKey, facts: Facts, near: Near<'_>) {
        let id = match self.boxes.get_mut(key) {
            Some(planned) if planned.facts == facts => return,
            Some(planned) => {
                planned.facts = facts;
                planned.id
            }
            None => {
                let id = self.number(key);
                self.boxes.insert(*key, Planned::new(id, facts));
                id
            }
        };
        self.assign(near, |assigner, near| assigner.handle_box(id, &facts, near));
    }

    fn number(&mut self, key: &BoxKey) -> BoxId {
        let number = self.free.pop_first().unwrap_or_else(|| {
            self.keys.push(None);
            u32::try_from(self.keys.len() - 1).unwrap_or(u32::MAX)
        });
        if let Some(slot) = self.keys.get_mut(number as usize) {
            *slot = Some(*key);
        }
        BoxId(number)
    }

    pub(super) fn handle_gone(&mut self, key: &BoxKey, near: Near<'_>) {
        if *key == self.owner {
            return;
        }
        let Some(planned) = self.boxes.remove(key) else { return };
        self.assign(near, |assigner, near| assigner.handle_gone(planned.id, near));
        if let Some(slot) = self.keys.get_mut(planned.id.0 as usize) {
            *slot = None;
        }
        self.free.insert(planned.id.0);
    }

    /// Boxes reach each other in another way than before.
    pub(super) fn handle_ways_changed(&mut self) {
        self.assigner.handle_ways_changed();
    }

    /// Makes it better by at most so many moves.
    pub(super) fn improve(&mut self, moves: usize, near: Near<'_>) {
        self.assign(near, |assigner, near| _ = (0..moves).take_while(|_| assigner.improve(near)).count());
    }

    /// A box got nothing from a parent: it is moved, and the parent is blamed.
    pub(super) fn handle_failed(&mut self, child: &BoxKey, parent: &BoxKey, near: Near<'_>, now: Instant) {
        let Some(id) = self.boxes.get(child).map(|planned| planned.id) else { return };
        let Some(failed) = self.boxes.get_mut(parent) else { return };
        failed.blamed.insert(*child, now);
        let failed = failed.id;
        self.assign(near, |assigner, near| assigner.handle_failed(id, failed, near));
    }

    /// Whether a box is to give nothing: as many of its children as are left blamed it since then, or not long ago.
    pub(super) fn is_out(&mut self, key: &BoxKey, since: Instant, now: Instant) -> bool {
        let Some(planned) = self.boxes.get_mut(key) else { return false };
        if planned.out.is_some_and(|(until, _)| now < until) {
            return true;
        }
        let counts = |at: &Instant| *at >= since && now.duration_since(*at) < BLAMED_FOR;
        planned.blamed.retain(|_, at| counts(at));
        let stripes = self.load.stripes.all().iter();
        let children: BTreeSet<_> =
            stripes.flat_map(|stripe| self.assigner.children(planned.id, stripe)).collect();
        if planned.blamed.len() < BLAMES_MIN.max(children.len()) {
            return false;
        }
        let before = planned.out.filter(|(until, _)| now.duration_since(*until) < FORGOTTEN);
        let times = before.map_or(0, |(_, times)| times);
        let lasts = OUT_FOR.saturating_mul(1 << times.min(10)).min(OUT_FOR_MAX);
        planned.out = Some((now + lasts, times + 1));
        planned.blamed.clear();
        true
    }

    fn assign(&mut self, near: Near<'_>, change: impl FnOnce(&mut Assigner, swarm::assign::Near<'_>)) {
        let key = |id: BoxId| self.keys.get(id.0 as usize).and_then(Option::as_ref);
        let near = |one: BoxId, other: BoxId| {
            let known = key(one).zip(key(other)).and_then(|(one, other)| near(one, other));
            known.map_or(ROUND_TRIP_ASSUMED_MS, u64::from)
        };
        change(&mut self.assigner, &near);
        // Boxes ask for what is theirs; nobody is told of changes.
        while self.assigner.poll_change().is_some() {}
    }

    fn key(&self, id: BoxId) -> Option<BoxKey> {
        self.keys.get(id.0 as usize).copied().flatten()
    }

    /// From whom a box is to take what.
    pub(super) fn parents(&self, key: &BoxKey) -> BTreeMap<BoxKey, u16> {
        let parents =
            self.boxes.get(key).map(|planned| self.assigner.parents(planned.id)).unwrap_or_default();
        self.by_key(parents)
    }

    /// Who has a place for what it takes, should the one fail from which it comes.
    pub(super) fn heirs(&self, key: &BoxKey) -> BTreeMap<BoxKey, u16> {
        let heirs = self.boxes.get(key).map(|planned| self.assigner.heirs(planned.id)).unwrap_or_default();
        self.by_key(heirs)
    }

    /// The stripes of each, by its key.
    fn by_key(&self, ids: Vec<Option<BoxId>>) -> BTreeMap<BoxKey, u16> {
        let mut keys = BTreeMap::new();
        for (stripe, id) in ids.into_iter().enumerate() {
            if let Some(key) = id.and_then(|id| self.key(id)) {
                *keys.entry(key).or_default() |= 1 << stripe;
            }
        }
        keys
    }

    /// Boxes with room that are to stand by.
    pub(super) fn stand_bys(&self, key: &BoxKey, count: usize) -> Vec<Other> {
        let Some(planned) = self.boxes.get(key) else { return Vec::new() };
        let stand_bys = self.assigner.stand_bys(planned.id, count).into_iter();
        stand_bys
            .filter_map(|other| Some(Other { key: self.key(other.id)?, barred: other.barred.0 }))
            .collect()
    }

    /// What a box is worth to another one.
    pub(super) fn score(&self, key: &BoxKey, round_trip_ms: Option<u32>) -> u32 {
        let Some(planned) = self.boxes.get(key) else { return 0 };
        let far = round_trip_ms.map_or(ROUND_TRIP_ASSUMED_MS, u64::from);
        planned.facts.worth(self.assigner.free(planned.id), far)
    }
}

fn usable(bitrate_bps: u64) -> u64 {
    if bitrate_bps < BITRATE_MIN_BPS { BITRATE_ASSUMED_BPS } else { bitrate_bps }
}

/// What a line that nobody measured is taken for at the box that publishes: three times the stream, with its overhead
/// and what the origin keeps for pulls.
pub(super) fn owner_uplink_bps(bitrate_bps: u64) -> u64 {
    usable(bitrate_bps).saturating_mul(36) / 10
}
