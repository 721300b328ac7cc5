//! One segment of the window, whole or still growing: its parts and what they add up to.
//!
//! It does not judge what it is given: `Window::push_part` does.

use alloc::vec::Vec;

use crate::header::{EpochId, ObjectName, PartHeader};
use crate::track::Ticks;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum SegmentState {
    /// More parts may come.
    Open,
    /// Closed by the part that was marked as its last.
    Whole,
    /// Closed before its last part came: the publisher or the packager went away.
    Truncated,
}

#[derive(Clone, Debug)]
pub(crate) struct Segment {
    pub(crate) epoch: EpochId,
    pub(crate) msn: u64,
    pub(crate) state: SegmentState,
    /// Never empty: a segment comes into being with its first part.
    pub(crate) parts: Vec<PartHeader>,
    pub(crate) duration: Ticks,
    pub(crate) bytes: u64,
    /// Does not continue the segment before: another epoch, or a hole in time.
    pub(crate) discontinuity: bool,
    /// Discontinuities of the window up to this segment, itself included.
    pub(crate) discontinuities: u64,
}

impl Segment {
    pub(crate) fn new(first: PartHeader, discontinuity: bool, discontinuities: u64) -> Self {
        Self {
            epoch: first.epoch,
            msn: first.msn,
            state: SegmentState::Open,
            duration: first.duration,
            bytes: u64::from(first.bytes),
            parts: alloc::vec![first],
            discontinuity,
            discontinuities,
        }
    }

    pub(crate) fn push(&mut self, part: PartHeader) {
        self.duration += part.duration;
        self.bytes += u64::from(part.bytes);
        self.parts.push(part);
    }

    pub(crate) fn is_open(&self) -> bool {
        self.state == SegmentState::Open
    }

    pub(crate) fn start(&self) -> Ticks {
        self.parts[0].start
    }

    /// Nothing after a missing keyframe can be decoded, so such a segment is a gap as a whole
    /// (RFC 8216bis 4.4.4.7).
    pub(crate) fn is_gap(&self) -> bool {
        self.parts[0].gap
    }

    pub(crate) fn name(&self) -> ObjectName {
        ObjectName::Segment(self.epoch, self.msn)
    }

    /// Seconds as TARGETDURATION compares them: rounded to the nearest whole one (RFC 8216bis 4.4.3.1).
    pub(crate) fn seconds_nearest(&self) -> i64 {
        (self.duration.0 + Ticks::RATE / 2).div_euclid(Ticks::RATE)
    }

    pub(crate) fn seconds_up(&self) -> i64 {
        (self.duration.0 + Ticks::RATE - 1).div_euclid(Ticks::RATE)
    }
}
