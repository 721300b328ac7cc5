//! A playlist generation: one media playlist URI, and what it promised for its whole life.
//!
//! ```text
//! Learning --first whole group--> Frozen(target duration)
//! Live --longer group | other part target or codecs | end--> Closed (ENDLIST)
//! ```
//! Nothing is answered while a generation is learning, so that it can't promise what it does not know.

use crate::playlist::PlaylistName;
use crate::track::{Codec, Ticks};
use crate::window::segment::Segment;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Promise {
    /// TARGETDURATION is not known yet; it comes from the first whole segment.
    Learning,
    /// The same after a group longer than the ceiling: the first that fits gives the ceiling, as the next may be long.
    LearningAfterLong,
    /// TARGETDURATION in seconds, for the life of the URI.
    Frozen(u32),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Life {
    Live,
    /// ENDLIST: holds segments below this media sequence number, and never another.
    Closed {
        next_msn: u64,
    },
}

/// The kinds of codecs; a player that has set up its decoders may not survive a change of them.
pub(crate) type Codecs = (Option<Codec>, Option<Codec>);

#[derive(Clone, Debug)]
pub(crate) struct Generation {
    pub(crate) name: PlaylistName,
    pub(crate) first_msn: u64,
    pub(crate) promise: Promise,
    pub(crate) life: Life,
    pub(crate) part_target: Ticks,
    pub(crate) codecs: Codecs,
    pub(crate) rates: Rates,
}

impl Generation {
    pub(crate) fn target_duration(&self) -> Option<u32> {
        match self.promise {
            Promise::Learning | Promise::LearningAfterLong => None,
            Promise::Frozen(seconds) => Some(seconds),
        }
    }

    pub(crate) fn lists(&self, msn: u64) -> bool {
        msn >= self.first_msn
            && match self.life {
                Life::Live => true,
                Life::Closed { next_msn } => msn < next_msn,
            }
    }
}

/// Bit rates as measured on closed segments (RFC 8216bis 4.4.6.2).
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Rates {
    bytes: u64,
    duration: i64,
    peak_bps: u64,
    single_bps: u64,
    /// Peak and average as the origin measured them.
    told: Option<(u64, u64)>,
}

impl Rates {
    /// Measured elsewhere.
    pub(crate) fn told(peak_bps: u64, average_bps: u64) -> Self {
        Self { told: Some((peak_bps, average_bps)), ..Self::default() }
    }

    /// Counts a segment that has just closed, `newest_first` beginning with it.
    ///
    /// The peak is the largest rate of any contiguous set of segments that lasts between 0.5 and 1.5 target
    /// durations; the sets that end with the newest segment are the ones not looked at before.
    pub(crate) fn count<'a>(
        &mut self,
        target_duration: u32,
        newest_first: impl Iterator<Item = &'a Segment>,
    ) {
        let target = i64::from(target_duration) * Ticks::RATE;
        let (mut bytes, mut duration) = (0_u64, 0_i64);
        for (nth, segment) in newest_first.enumerate() {
            bytes += segment.bytes;
            duration += segment.duration.0;
            if nth == 0 {
                self.bytes += bytes;
                self.duration += duration;
                self.single_bps = self.single_bps.max(bits_per_second(bytes, duration));
            }
            if duration * 2 > target * 3 {
                break;
            }
            if duration * 2 >= target {
                self.peak_bps = self.peak_bps.max(bits_per_second(bytes, duration));
            }
        }
    }

    /// BANDWIDTH; at least 1 even if nothing was measured.
    pub(crate) fn peak_bps(&self) -> u64 {
        if let Some((peak_bps, _)) = self.told {
            return peak_bps;
        }
        let measured = if self.peak_bps == 0 { self.single_bps } else { self.peak_bps };
        measured.max(self.average_bps())
    }

    pub(crate) fn average_bps(&self) -> u64 {
        if let Some((_, average_bps)) = self.told {
            return average_bps;
        }
        bits_per_second(self.bytes, self.duration).max(1)
    }
}

/// Rounded up; the caller's bounds (64-bit byte counts far below 2^40, durations below 2^50) keep it in range.
fn bits_per_second(bytes: u64, duration: i64) -> u64 {
    let Ok(ticks @ 1..) = u128::try_from(duration) else { return 0 };
    let bits = u128::from(bytes) * 8 * Ticks::RATE.unsigned_abs() as u128;
    u64::try_from(bits.div_ceil(ticks)).unwrap_or(u64::MAX)
}
