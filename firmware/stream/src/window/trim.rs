//! What leaves the window, and what is said about it.

use crate::header::ObjectName;
use crate::track::Ticks;
use crate::window::generation::{Life, Promise};
use crate::window::segment::Segment;
use crate::window::{PARTS_MAX, SEGMENTS_MAX, Trouble, Window};

/// A playlist without ENDLIST keeps at least this many target durations (RFC 8216bis 6.2.2).
const KEPT_TARGET_DURATIONS: i64 = 3;

impl Window {
    /// Drops the oldest segments that need not stay, and those that can't. The newest always stays.
    pub(super) fn trim(&mut self) {
        let mut kept: Ticks = closed(&self.segments).fold(Ticks::ZERO, |sum, segment| sum + segment.duration);
        while self.segments.len() > 1 {
            let front = &self.segments[0];
            let full = self.bytes > self.limits.bytes
                || self.parts > PARTS_MAX
                || self.segments.len() > SEGMENTS_MAX;
            kept = kept - front.duration;
            let needed = self.is_needed(front);
            if !full && (kept < self.limits.duration || needed) {
                break;
            }
            self.forced = needed;
            if let Some(front) = self.segments.pop_front() {
                self.evict(&front);
            }
        }
        self.forget_generations();
    }

    /// Whether the current playlist would be too short without its first segment.
    pub(super) fn is_needed(&self, front: &Segment) -> bool {
        let Some(current) = self.generations.back() else { return false };
        let Some(target_duration) = current.target_duration() else { return false };
        if current.life != Life::Live || !current.lists(front.msn) {
            return false;
        }
        let floor = Ticks::from_secs(KEPT_TARGET_DURATIONS * i64::from(target_duration));
        let rest = closed(&self.segments).skip(1).fold(Ticks::ZERO, |sum, segment| sum + segment.duration);
        rest < floor
    }

    /// Queues the names of a segment that has left, and of its initialization section if it was the epoch's last.
    pub(super) fn evict(&mut self, segment: &Segment) {
        self.parts -= segment.parts.len();
        self.bytes -= segment.bytes;
        let present = segment.parts.iter().filter(|part| !part.gap);
        self.evicted.extend(present.map(|part| ObjectName::Part(part.epoch, part.msn, part.part)));
        self.evicted.push_back(segment.name());
        let unused = self.segments.front().is_none_or(|front| front.epoch != segment.epoch);
        if unused && self.epoch != Some(segment.epoch) {
            self.epochs.remove(&segment.epoch);
            self.evicted.push_back(ObjectName::Init(segment.epoch));
        }
    }

    /// A superseded playlist answers until its last segment has left.
    pub(super) fn forget_generations(&mut self) {
        let Some(oldest) = self.segments.front().map(|front| front.msn) else { return };
        while self.generations.len() > 1
            && matches!(self.generations[0].life, Life::Closed { next_msn } if next_msn <= oldest)
        {
            self.generations.pop_front();
        }
    }

    pub(super) fn current_trouble(&self) -> Option<Trouble> {
        let too_long = |promise| match promise {
            Promise::LearningAfterLong => true,
            Promise::Learning | Promise::Frozen(_) => false,
        };
        if self.generations.back().is_some_and(|current| too_long(current.promise)) {
            Some(Trouble::GroupTooLong)
        } else if self.cut_off {
            Some(Trouble::SegmentTooLarge)
        } else if self.forced {
            Some(Trouble::WindowTooShort)
        } else {
            None
        }
    }
}

fn closed<'a>(segments: impl IntoIterator<Item = &'a Segment>) -> impl Iterator<Item = &'a Segment> {
    segments.into_iter().filter(|segment| !segment.is_open())
}
