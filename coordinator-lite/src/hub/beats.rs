//! What boxes told in their last heartbeats, as far as carrying streams goes by it: who publishes what, and how far two
//! boxes are from each other. Refuses to say whose a stream's name is: that is the database's.

use std::collections::BTreeMap;
use std::time::Duration;

use stream::StreamName;
use trust::{BoxKey, UnixSeconds};
use wire::Heartbeat;

/// Of members only, so that there are never more than boxes that came in.
#[derive(Debug, Default)]
pub(crate) struct Beats {
    boxes: BTreeMap<BoxKey, Beat>,
}

/// One heartbeat.
#[derive(Debug)]
pub(crate) struct Beat {
    at: UnixSeconds,
    /// With their bitrates, in bits per second.
    publishes: BTreeMap<StreamName, u64>,
    round_trips_ms: BTreeMap<BoxKey, u32>,
}

impl Beat {
    pub(crate) fn new(key: &BoxKey, heartbeat: &Heartbeat, at: UnixSeconds) -> Self {
        let own = heartbeat.streams.iter().filter(|report| report.owner == *key);
        let paths = heartbeat.paths.iter();
        Self {
            at,
            publishes: own.map(|report| (report.name.clone(), report.bitrate_bps)).collect(),
            round_trips_ms: paths.filter_map(|path| Some((path.peer, path.round_trip_ms?))).collect(),
        }
    }
}

impl Beats {
    pub(crate) fn note(&mut self, key: &BoxKey, beat: Beat) {
        self.boxes.insert(*key, beat);
    }

    /// The bitrate at which a box publishes a stream, if it said so `within` this time and nothing else since.
    pub(crate) fn bitrate_bps(
        &self,
        owner: &BoxKey,
        stream: &StreamName,
        now: UnixSeconds,
        within: Duration,
    ) -> Option<u64> {
        let beat = self.boxes.get(owner).filter(|beat| now.since(beat.at) <= within)?;
        beat.publishes.get(stream).copied()
    }

    /// Between two boxes, as either of them measured it: the less.
    pub(crate) fn round_trip_ms(&self, one: &BoxKey, other: &BoxKey) -> Option<u32> {
        let told = |from: &BoxKey, to: &BoxKey| self.boxes.get(from)?.round_trips_ms.get(to).copied();
        told(one, other).into_iter().chain(told(other, one)).min()
    }
}
