//! Who carries which stream: what each box said of it last, and from whom another box may take it.
//!
//! ```text
//! a box's request ──> table ──> plan (swarm::assign), moved along with it ──> parents of that box
//! ```
//! Held in memory alone, since boxes say it again within seconds; who does not is no giver and no taker any more, and
//! forgotten after [`ParentsRequest::HELD_S`]. Time comes in with each call. Refuses to believe anything about media, and to let a box
//! take a stripe from one that has it from that same box.

mod answer;
mod look;
mod plan;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use stream::StreamName;
use swarm::StripeCount;
use swarm::score::Facts;
use trust::BoxKey;
use wire::ParentsRequest;

pub(crate) use answer::{Answer, Asking};
pub(crate) use look::Look;
use plan::Plan;

/// Into how many stripes each stream is cut.
pub(crate) const STRIPES: u8 = StripeCount::USUAL.get();
const ALL_STRIPES: u16 = StripeCount::USUAL.all().0;

/// Boxes of one stream.
const BOXES_MAX: usize = 4096;
/// Boxes of all streams together.
const ENTRIES_MAX: usize = 8192;
/// Streams of one box.
const PER_BOX_MAX: usize = 32;
const HELD: Duration = Duration::from_secs(ParentsRequest::HELD_S as u64);
/// Who should have asked again so long ago is taken for gone: its places go to others until it asks.
const LATE: Duration = Duration::from_secs(4);
/// Called silent by so many since it asked last, a box is taken for gone until it asks: one alone may have a bad way to it,
/// or lie.
const MISSED_BY_MIN: usize = 2;
/// So many are remembered.
const MISSED_BY_MAX: usize = 8;
/// For so long a box that lacks something is not blamed for what others did not get from it.
const LACKS_MAX: Duration = Duration::from_secs(20);
/// What boxes said of one before it was gone, and go on saying, counts for nothing for so long after it is back: they
/// say for fifteen seconds what they saw once.
const PARDONED: Duration = Duration::from_secs(20);
/// A box that the plan had given up gives nothing until it has had most stripes for so long: it fetches what it missed, and
/// who takes from it would wait with it,
const RESTS: Duration = Duration::from_secs(3);
/// but for no longer than this.
const RESTS_MAX: Duration = Duration::from_secs(10);
/// Most stripes: where lines are full the last ones come only once it gives itself.
const MOST_STRIPES: u32 = ALL_STRIPES.count_ones() * 3 / 4;
/// For who is silent, and for what changed about the others.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// A box's age counts in such steps, so that a plan does not change with each look.
const AGE_STEP_S: u64 = 60;
/// What a friend's line is taken for while nobody has measured it.
const UPLINK_ASSUMED_BPS: u64 = 5_000_000;

/// All streams that are carried.
#[derive(Debug, Default)]
pub(crate) struct Carriers {
    streams: BTreeMap<StreamName, Carried>,
    /// When the silent ones were last looked for.
    looked: Option<Instant>,
}

/// There is no room for another box; the text says where.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Full {
    #[error("this box carries {PER_BOX_MAX} streams already")]
    Box,
    #[error("too many boxes carry this stream")]
    Stream,
    #[error("too many boxes carry streams")]
    All,
}

/// One stream.
#[derive(Debug, Default)]
struct Carried {
    boxes: BTreeMap<BoxKey, Carrier>,
    /// How many ever began.
    begun: u64,
    /// What viewers got since the first one began.
    watched_bytes: u64,
    /// None while nobody publishes it.
    plan: Option<Plan>,
    /// When all boxes of the plan were last looked at.
    reviewed: Option<Instant>,
}

#[derive(Debug)]
struct Carrier {
    /// How many began before it.
    place: u64,
    began: Instant,
    heard: Instant,
    /// When it is to ask again.
    due: Instant,
    /// Since when it asks in time.
    back: Instant,
    /// Since when it has had most stripes, once the plan had given it up and it came back.
    recovers: Option<Instant>,
    /// Since when it has all, or lacks something.
    turned: Instant,
    said: ParentsRequest,
    /// Since when it says of these that they failed it.
    failed_since: BTreeMap<BoxKey, Instant>,
    /// From whom it was told to take what, since it said what it takes.
    told: Vec<(BoxKey, u16)>,
    /// Who called it silent since it asked last.
    missed_by: BTreeSet<BoxKey>,
}

impl Carriers {
    /// Keeps what a box says, or forgets the box if it leaves.
    ///
    /// # Errors
    /// [`Full`]; nothing is kept.
    pub(crate) fn handle_request(
        &mut self,
        key: &BoxKey,
        said: ParentsRequest,
        now: Instant,
    ) -> Result<(), Full> {
        if said.leaving {
            if let Some(carried) = self.streams.get_mut(&said.stream) {
                carried.boxes.remove(key);
            }
            return Ok(());
        }
        let stream = said.stream.clone();
        let carried = self.streams.get_mut(&stream);
        let given_up =
            carried.as_ref().and_then(|carried| carried.plan.as_ref()).is_some_and(|plan| !plan.has(key));
        let known = carried.and_then(|carried| carried.boxes.get_mut(key));
        if let Some(carrier) = known.filter(|carrier| now.duration_since(carrier.heard) < HELD) {
            let lacked = carrier.lacks();
            let silent = said.silent.clone();
            let ways_changed = carrier.said.relayed != said.relayed;
            if !carrier.is_fresh(now) {
                // If nobody missed it, only this coordinator was away.
                let was_gone = !carrier.missed_by.is_empty() || taken(&said).count_ones() < MOST_STRIPES;
                carrier.back = now;
                carrier.recovers = Some(now).filter(|_| given_up && was_gone);
            }
            let since = |key: &BoxKey| carrier.failed_since.get(key).copied().unwrap_or(now);
            carrier.failed_since = said.failed.iter().map(|key| (*key, since(key))).collect();
            // Less than before: it began anew in the meantime.
            let watched = said.watched_bytes.saturating_sub(carrier.said.watched_bytes);
            (carrier.heard, carrier.due, carrier.said) = (now, now, said);
            carrier.missed_by.clear();
            if taken(&carrier.said).count_ones() < MOST_STRIPES {
                carrier.recovers = carrier.recovers.map(|_| now);
            }
            if carrier.lacks() != lacked {
                carrier.turned = now;
            }
            self.note(key, &stream, &silent, watched);
            let carried = self.streams.get_mut(&stream).filter(|_| ways_changed);
            if let Some(plan) = carried.and_then(|carried| carried.plan.as_mut()) {
                plan.handle_ways_changed();
            }
            return Ok(());
        }
        self.forget(now);
        self.has_room(key, &said.stream)?;
        let carried = self.streams.entry(said.stream.clone()).or_default();
        let missed_by = BTreeSet::new();
        let told = Vec::new();
        let carrier = Carrier {
            place: carried.begun,
            began: now,
            heard: now,
            due: now,
            back: now,
            recovers: None,
            turned: now,
            failed_since: said.failed.iter().map(|key| (*key, now)).collect(),
            said,
            told,
            missed_by,
        };
        carried.boxes.insert(*key, carrier);
        carried.begun += 1;
        Ok(())
    }

    /// What viewers of all boxes got.
    pub(crate) fn watched_bytes(&self, stream: &StreamName) -> u64 {
        self.streams.get(stream).map_or(0, |carried| carried.watched_bytes)
    }

    /// Remembers by whom these boxes are missed, and how much more was watched there.
    fn note(&mut self, by: &BoxKey, stream: &StreamName, silent: &[BoxKey], watched: u64) {
        let Some(carried) = self.streams.get_mut(stream) else { return };
        carried.watched_bytes = carried.watched_bytes.saturating_add(watched);
        for key in silent.iter().filter(|key| *key != by) {
            if let Some(missed) = carried.boxes.get_mut(key)
                && missed.missed_by.len() < MISSED_BY_MAX
            {
                missed.missed_by.insert(*by);
            }
        }
    }

    fn has_room(&self, key: &BoxKey, stream: &StreamName) -> Result<(), Full> {
        if self.carried_by(key) >= PER_BOX_MAX {
            return Err(Full::Box);
        }
        if self.streams.get(stream).is_some_and(|carried| carried.boxes.len() >= BOXES_MAX) {
            return Err(Full::Stream);
        }
        let entries: usize = self.streams.values().map(|carried| carried.boxes.len()).sum();
        if entries >= ENTRIES_MAX { Err(Full::All) } else { Ok(()) }
    }

    /// Forgets whoever has not been heard of for too long, and streams that nobody carries.
    fn forget(&mut self, now: Instant) {
        if self.looked.is_some_and(|looked| now.duration_since(looked) < LOOK_EVERY) {
            return;
        }
        self.looked = Some(now);
        self.streams.retain(|_, carried| {
            carried.boxes.retain(|_, carrier| now.duration_since(carrier.heard) < HELD);
            !carried.boxes.is_empty()
        });
    }

    fn carried_by(&self, key: &BoxKey) -> usize {
        self.streams.values().filter(|carried| carried.boxes.contains_key(key)).count()
    }
}

/// What a box takes from anybody, by its word.
fn taken(said: &ParentsRequest) -> u16 {
    said.takes.iter().fold(0, |all, take| all | take.stripes)
}

impl Carrier {
    /// When it is due.
    fn asks(&self, now: Instant) -> bool {
        now.saturating_duration_since(self.due) < LATE
    }

    /// Asks, and is not missed by several.
    fn is_fresh(&self, now: Instant) -> bool {
        self.asks(now) && self.missed_by.len() < MISSED_BY_MIN
    }

    /// What it takes, by its word, and what it may take by now.
    fn takes(&self) -> impl Iterator<Item = (BoxKey, u16)> {
        let said = self.said.takes.iter().map(|take| (take.parent, take.stripes));
        said.chain(self.told.iter().copied())
    }

    fn lacks(&self) -> bool {
        taken(&self.said) != ALL_STRIPES || !self.said.failed.is_empty()
    }

    /// It came back a moment ago, and has enough to do with itself.
    fn is_resting(&self, now: Instant) -> bool {
        let since = self.recovers.filter(|_| now.duration_since(self.back) < RESTS_MAX);
        since.is_some_and(|since| now.duration_since(since) < RESTS)
    }

    /// What it did not give before this was not its fault, since it lacked something itself. For long nobody is believed
    /// that.
    fn blamed_from(&self) -> Instant {
        if self.lacks() { self.turned + LACKS_MAX } else { self.turned }
    }

    fn is_relayed(&self, key: &BoxKey) -> bool {
        self.said.relayed.iter().any(|relayed| relayed == key)
    }

    /// What is known of it, with what other streams leave of its line.
    fn facts(&self, others_bps: u64, now: Instant) -> Facts {
        let uplink = self.said.uplink_bps.unwrap_or(UPLINK_ASSUMED_BPS);
        let age = now.duration_since(self.began).as_secs();
        Facts {
            uplink_bps: uplink.saturating_sub(others_bps),
            limit_bps: None,
            age_s: age / AGE_STEP_S * AGE_STEP_S,
            present_per_mille: 1000,
        }
    }
}

impl Carried {
    /// Whether a box says of another one that it failed it, and did not begin to say so before that one was gone and
    /// came back.
    fn is_failed(&self, by: &Carrier, of: &BoxKey, now: Instant) -> bool {
        let Some(since) = by.failed_since.get(of) else { return false };
        let back = self.boxes.get(of).map(|carrier| carrier.back);
        back.is_none_or(|back| *since >= back || now.duration_since(back) >= PARDONED)
    }

    /// Stripes that a candidate takes from the asking box, directly or through others.
    fn barred(&self, candidate: &BoxKey, asking: &BoxKey) -> u16 {
        let mut barred = 0;
        let mut known: BTreeMap<BoxKey, u16> = BTreeMap::new();
        let mut todo = vec![(*candidate, ALL_STRIPES)];
        // A box comes again only with a stripe that it did not come with before.
        while let Some((at, stripes)) = todo.pop() {
            let takes = self.boxes.get(&at).into_iter().flat_map(Carrier::takes);
            for (parent, taken) in takes {
                let known = known.entry(parent).or_default();
                let more = stripes & taken & !*known;
                *known |= more;
                if parent == *asking {
                    barred |= more;
                } else if more != 0 {
                    todo.push((parent, more));
                }
            }
        }
        barred
    }
}
