//! What is known of each stream right now: written by its pipeline, read by pages and metrics.

use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{SystemTime, UNIX_EPOCH};

use serve::HistoryPoint;
use stream::cutter::Pace;
use stream::timeline::{Repairs, Timeline};
use stream::{EpochId, Tracks};

/// Five minutes of one point a second.
const HISTORY_MAX: usize = 300;

#[derive(Clone, Debug, Default)]
pub(crate) struct Facts {
    pub(crate) publishing: bool,
    pub(crate) since_unix_ms: Option<i64>,
    pub(crate) tracks: Tracks,
    pub(crate) codecs: Option<String>,
    pub(crate) resolution: Option<(u32, u32)>,
    pub(crate) frame_rate_milli: Option<u32>,
    pub(crate) part_target_ms: Option<u32>,
    pub(crate) epoch: Option<EpochId>,
    pub(crate) epochs: u64,
    pub(crate) parts: u64,
    pub(crate) packager_losses: u64,
    pub(crate) encoder: Option<String>,
    pub(crate) bitrate_bps: u64,
    pub(crate) keyframe_interval_ms: Option<u32>,
    pub(crate) keyframe_interval_ms_max: Option<u32>,
    pub(crate) since_keyframe_ms: Option<u32>,
    pub(crate) skew_ms: Option<f64>,
    pub(crate) drift_ppm: Option<f64>,
    pub(crate) repairs: Repairs,
    pub(crate) ingested_bytes: u64,
    pub(crate) history: VecDeque<HistoryPoint>,
}

#[derive(Debug, Default)]
pub(crate) struct Status(Mutex<Facts>);

impl Status {
    pub(crate) fn facts(&self) -> MutexGuard<'_, Facts> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn begin(&self) {
        let mut facts = self.facts();
        let (ingested_bytes, epochs, parts) = (facts.ingested_bytes, facts.epochs, facts.parts);
        let packager_losses = facts.packager_losses;
        let history = std::mem::take(&mut facts.history);
        *facts = Facts {
            publishing: true,
            since_unix_ms: Some(unix_ms()),
            ingested_bytes,
            epochs,
            parts,
            packager_losses,
            history,
            ..Facts::default()
        };
    }

    pub(crate) fn end(&self) {
        let mut facts = self.facts();
        facts.publishing = false;
        facts.bitrate_bps = 0;
    }

    /// A second has passed.
    pub(crate) fn measure(&self, pace: &Pace, timeline: &Timeline, bitrate_bps: u64, frames: u32) {
        let mut facts = self.facts();
        let ms = |ticks: stream::Ticks| u32::try_from(ticks.millis()).unwrap_or(u32::MAX);
        facts.bitrate_bps = bitrate_bps;
        facts.keyframe_interval_ms = pace.keyframe_interval().map(ms);
        facts.keyframe_interval_ms_max = pace.keyframe_interval_max().map(ms);
        facts.since_keyframe_ms = pace.since_keyframe().map(ms);
        facts.repairs = timeline.repairs();
        if facts.tracks.video.is_some() && facts.tracks.audio.is_some() {
            facts.skew_ms = Some(timeline.skew().as_secs_f64() * 1000.0);
            facts.drift_ppm = Some(timeline.drift_ppm() as f64);
        }
        let point = HistoryPoint {
            at_unix_ms: unix_ms(),
            bitrate_bps,
            frame_rate: f64::from(frames),
            skew_ms: facts.skew_ms,
        };
        if facts.history.len() == HISTORY_MAX {
            facts.history.pop_front();
        }
        facts.history.push_back(point);
    }
}

/// Wall-clock time in milliseconds since the Unix epoch; zero on a box whose clock stands before it.
pub(crate) fn unix_ms() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
}
