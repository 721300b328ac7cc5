//! Who carries which stream: what each box said of it last, and from whom another box may take it.
//!
//! Held in memory alone, since boxes say it again within seconds; who does not is forgotten after
//! [`ParentsRequest::HELD_S`]. Time comes in with each call. Refuses to believe anything about media, and to let a box
//! take a stripe from one that has it from that same box.

#[cfg(test)]
mod tests;

use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use stream::StreamName;
use trust::{BoxKey, List};
use wire::parents::PARENTS_MAX;
use wire::{ParentEntry, ParentsRequest};

/// Into how many stripes each stream is cut.
pub(crate) const STRIPES: u8 = 4;
const ALL_STRIPES: u16 = (1 << STRIPES) - 1;

/// Boxes of one stream.
const BOXES_MAX: usize = 4096;
/// Boxes of all streams together.
const ENTRIES_MAX: usize = 8192;
/// Streams of one box.
pub(crate) const PER_BOX_MAX: usize = 32;
const HELD: Duration = Duration::from_secs(ParentsRequest::HELD_S as u64);

/// For who is silent.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// Seconds between two requests of a box about a stream.
const NEXT_S: u32 = 5;
/// A box's requests are remembered for two minutes, and at most [`wire::ReplayGuard::REQUESTS_MAX`] of them: its
/// streams share 160, and the others are for what else it asks.
const SHARED_BY: u32 = 160;
const SHARED_S: u32 = 120;

/// What a line is taken for while nobody has measured it: a usual one at home.
const UPLINK_ASSUMED_BPS: u64 = 5_000_000;
/// What a way is taken for that nobody told of.
const ROUND_TRIP_ASSUMED_MS: u32 = 50;
/// A round trip of so many milliseconds halves what a box is worth.
const FAR_MS: u64 = 100;

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
}

#[derive(Debug)]
struct Carrier {
    /// How many began before it.
    place: u64,
    heard: Instant,
    said: ParentsRequest,
}

/// From whom, and for whom, parents are looked for.
pub(crate) struct Asking<'a> {
    pub(crate) key: &'a BoxKey,
    pub(crate) owner: &'a BoxKey,
    /// Whether a box may be named at all: a member that nobody took out.
    pub(crate) is_peer: &'a dyn Fn(&BoxKey) -> bool,
    /// Between the asking box and another one, in milliseconds.
    pub(crate) round_trip_ms: &'a dyn Fn(&BoxKey) -> Option<u32>,
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
        let known = self.streams.get_mut(&said.stream).and_then(|carried| carried.boxes.get_mut(key));
        if let Some(carrier) = known.filter(|carrier| now.duration_since(carrier.heard) < HELD) {
            (carrier.heard, carrier.said) = (now, said);
            return Ok(());
        }
        self.forget(now);
        self.has_room(key, &said.stream)?;
        let carried = self.streams.entry(said.stream.clone()).or_default();
        carried.boxes.insert(*key, Carrier { place: carried.begun, heard: now, said });
        carried.begun += 1;
        Ok(())
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

    /// Seconds until a box is to ask again about each of its streams: more for one that carries many.
    pub(crate) fn next_s(&self, key: &BoxKey) -> u32 {
        let streams = u32::try_from(self.carried_by(key)).unwrap_or(u32::MAX);
        NEXT_S.max(streams.saturating_mul(SHARED_S).div_ceil(SHARED_BY))
    }

    /// From whom a box may take a stream, best first. The owner is always among them, and the others are boxes that
    /// began before the asking one, so that no circle is closed; nobody is named who failed it, but the owner.
    pub(crate) fn parents(
        &self,
        stream: &StreamName,
        asking: &Asking<'_>,
        now: Instant,
    ) -> List<ParentEntry, PARENTS_MAX> {
        if asking.key == asking.owner {
            return List::new();
        }
        let none = Carried::default();
        let carried = self.streams.get(stream).unwrap_or(&none);
        let own = carried.boxes.get(asking.key);
        let failed = |key: &BoxKey| own.is_some_and(|own| own.said.failed.iter().any(|failed| failed == key));
        let place = own.map_or(carried.begun, |own| own.place);
        let before = carried.boxes.iter().filter(|(key, carrier)| {
            let fresh = now.duration_since(carrier.heard) < HELD;
            fresh && carrier.place < place && *key != asking.owner && !failed(key)
        });
        let mut before: Vec<_> = before
            .map(|(key, carrier)| (Reverse(carrier.score((asking.round_trip_ms)(key))), carrier.place, key))
            .collect();
        before.sort_unstable();
        let entry = |(score, _, key): &(Reverse<u32>, u64, &BoxKey)| {
            let barred = carried.barred(key, asking.key);
            ParentEntry { key: **key, score: score.0, stripes: 0, barred }
        };
        let usable = before.iter().filter(|(_, _, key)| (asking.is_peer)(key)).map(entry);
        let usable = usable.filter(|entry| entry.barred != ALL_STRIPES);
        let mut parents: Vec<_> = usable.take(PARENTS_MAX - 1).collect();
        let score = match carried.boxes.get(asking.owner) {
            _ if failed(asking.owner) => 0,
            Some(owner) => owner.score((asking.round_trip_ms)(asking.owner)),
            None => score(UPLINK_ASSUMED_BPS, (asking.round_trip_ms)(asking.owner)),
        };
        parents.push(ParentEntry { key: *asking.owner, score, stripes: 0, barred: 0 });
        parents.sort_by_key(|entry| Reverse(entry.score));
        List::try_from(parents).unwrap_or_default()
    }
}

impl Carrier {
    fn score(&self, round_trip_ms: Option<u32>) -> u32 {
        let uplink = self.said.uplink_bps.unwrap_or(UPLINK_ASSUMED_BPS);
        score(uplink.saturating_sub(self.said.sending_bps), round_trip_ms)
    }
}

/// What a box has left, in kbit/s, and less of it for one that is far away.
fn score(spare_bps: u64, round_trip_ms: Option<u32>) -> u32 {
    let far = u64::from(round_trip_ms.unwrap_or(ROUND_TRIP_ASSUMED_MS));
    u32::try_from((spare_bps / 1000).saturating_mul(FAR_MS) / (FAR_MS + far)).unwrap_or(u32::MAX)
}

impl Carried {
    /// Stripes that a candidate takes from the asking box, directly or through others.
    fn barred(&self, candidate: &BoxKey, asking: &BoxKey) -> u16 {
        let mut barred = 0;
        let mut known: BTreeMap<BoxKey, u16> = BTreeMap::new();
        let mut todo = vec![(*candidate, ALL_STRIPES)];
        // A box comes again only with a stripe that it did not come with before.
        while let Some((at, stripes)) = todo.pop() {
            let takes = self.boxes.get(&at).into_iter().flat_map(|carrier| carrier.said.takes.iter());
            for take in takes {
                let known = known.entry(take.parent).or_default();
                let more = stripes & take.stripes & !*known;
                *known |= more;
                if take.parent == *asking {
                    barred |= more;
                } else if more != 0 {
                    todo.push((take.parent, more));
                }
            }
        }
        barred
    }
}
