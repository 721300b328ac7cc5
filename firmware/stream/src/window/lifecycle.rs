//! How epochs, segments and playlist generations begin and end.
//!
//! All input is checked before it comes here.

use crate::header::{EpochRecord, ObjectName, PartHeader};
use crate::playlist::PlaylistName;
use crate::track::Ticks;
use crate::window::admit::start_slack;
use crate::window::generation::{Codecs, Generation, Life, Promise, Rates};
use crate::window::segment::{Segment, SegmentState};
use crate::window::{Edge, GENERATIONS_MAX, Window};

impl Window {
    pub(super) fn start_epoch(&mut self, record: EpochRecord) {
        self.close(SegmentState::Truncated);
        self.forget_unused_epoch();
        self.epoch = Some(record.id);
        self.cursor = None;
        self.generations_begun = 0;
        let codecs = codecs_of(&record);
        let same = self.generations.back().is_some_and(|current| {
            current.life == Life::Live
                && current.part_target == record.part_target
                && current.codecs == codecs
                && self.lists_any(current)
        });
        let part_target = record.part_target;
        self.epochs.insert(record.id, record);
        if !same {
            self.open_generation(self.next_msn, self.next_msn, Promise::Learning, part_target, codecs);
        }
        self.version += 1;
    }

    pub(super) fn append(&mut self, header: PartHeader) {
        let last = header.last;
        self.parts += 1;
        self.bytes += u64::from(header.bytes);
        let end = header.start + header.duration;
        if header.part == 0 {
            self.open_segment(header);
        } else if let Edge::Overlong { parts, .. } = &mut self.edge {
            *parts = parts.saturating_add(1);
            self.parts -= 1;
            self.bytes -= u64::from(header.bytes);
            self.evicted.push_back(ObjectName::Part(header.epoch, header.msn, header.part));
        } else if let Some(open) = self.segments.back_mut() {
            open.push(header);
        }
        self.cursor = Some(end);
        self.keep_promise();
        if last {
            self.close(SegmentState::Whole);
        }
        self.trim();
        self.version += 1;
    }

    fn open_segment(&mut self, header: PartHeader) {
        self.close(SegmentState::Truncated);
        if header.msn > self.next_msn {
            self.skip_numbers(header.msn);
        }
        self.next_msn = header.msn + 1;
        let discontinuity = self.segments.back().is_some_and(|before| before.epoch != header.epoch)
            || self.cursor.is_some_and(|cursor| header.start > cursor + self.slack());
        self.discontinuities += u64::from(discontinuity);
        self.segments.push_back(Segment::new(header, discontinuity, self.discontinuities));
        self.edge = Edge::Open;
    }

    fn slack(&self) -> Ticks {
        self.generations.back().map_or(Ticks::ZERO, |current| start_slack(current.part_target))
    }

    /// A playlist numbers its segments without a hole, so that a jump needs a playlist of its own.
    fn skip_numbers(&mut self, msn: u64) {
        let Some(current) = self.generations.back_mut() else { return };
        let (promise, part_target, codecs, rates) =
            (current.promise, current.part_target, current.codecs, current.rates);
        if self.segments.back().is_some() {
            self.open_generation(self.next_msn, msn, promise, part_target, codecs);
        }
        if let Some(opened) = self.generations.back_mut() {
            opened.first_msn = msn;
            opened.rates = rates;
        }
    }

    /// Sees to it that the open segment does not exceed what its playlist declares (RFC 8216bis 4.4.3.1).
    fn keep_promise(&mut self) {
        let (Edge::Open, Some(open), Some(current)) =
            (self.edge, self.segments.back(), self.generations.back())
        else {
            return;
        };
        let (msn, seconds) = (open.msn, open.seconds_nearest());
        let ceiling = self.limits.target_duration_s_max;
        let (part_target, codecs, rates) = (current.part_target, current.codecs, current.rates);
        if seconds > i64::from(ceiling) {
            self.drop_overlong();
            self.open_generation(msn, msn + 1, Promise::LearningAfterLong, part_target, codecs);
        } else if let Promise::Frozen(declared) = current.promise
            && seconds > i64::from(declared)
        {
            // The segments before fit the new promise too: a player that comes to the new URI has a past to start in.
            let first_msn = current.first_msn;
            self.open_generation(msn, first_msn, Promise::Frozen(ceiling), part_target, codecs);
            if let Some(opened) = self.generations.back_mut() {
                opened.rates = rates;
            }
        }
    }

    fn drop_overlong(&mut self) {
        if let Some(segment) = self.segments.pop_back() {
            self.edge = Edge::Overlong { msn: segment.msn, parts: segment.parts.len() as u32 };
            self.evict(&segment);
        }
    }

    /// Closes the current generation below `next_msn` and begins one at `first_msn`. A generation that is still
    /// learning was never answered, and so leaves no trace.
    fn open_generation(
        &mut self,
        next_msn: u64,
        first_msn: u64,
        promise: Promise,
        part_target: Ticks,
        codecs: Codecs,
    ) {
        let Some(epoch) = self.epoch else { return };
        if let Some(current) = self.generations.back_mut() {
            if current.target_duration().is_none() {
                self.generations.pop_back();
            } else if current.life == Life::Live {
                current.life = Life::Closed { next_msn };
            }
        }
        if self.generations.len() == GENERATIONS_MAX {
            self.generations.pop_front();
        }
        let name = PlaylistName { epoch, n: self.generations_begun };
        self.generations_begun += 1;
        let (life, rates) = (Life::Live, Rates::default());
        self.generations.push_back(Generation { name, first_msn, promise, life, part_target, codecs, rates });
    }

    /// Closes the open segment, if there is one.
    pub(super) fn close(&mut self, state: SegmentState) {
        let whole = state == SegmentState::Whole;
        if self.edge == Edge::Open {
            if let Some(open) = self.segments.back_mut() {
                open.state = state;
            }
            self.settle(whole);
            self.edge = if whole { Edge::Between } else { Edge::Quiet };
            self.cut_off &= !whole;
        } else {
            self.edge = Edge::Quiet;
        }
    }

    /// Freezes a generation that learns, if it may be, and counts the rates of what has just closed.
    fn settle(&mut self, freeze: bool) {
        let ceiling = self.limits.target_duration_s_max;
        let Some(current) = self.generations.back_mut() else { return };
        let listed = self.segments.iter().rev().take_while(|segment| segment.msn >= current.first_msn);
        match current.promise {
            Promise::Frozen(seconds) => current.rates.count(seconds, listed),
            Promise::Learning | Promise::LearningAfterLong if !freeze => {}
            Promise::Learning | Promise::LearningAfterLong => {
                let longest = listed.clone().map(Segment::seconds_up).max().unwrap_or(1);
                let measured = u32::try_from(longest).unwrap_or(ceiling).clamp(1, ceiling);
                let after_long = current.promise == Promise::LearningAfterLong;
                let seconds = if after_long { ceiling } else { measured };
                current.promise = Promise::Frozen(seconds);
                let count = listed.clone().count();
                for nth in (0..count).rev() {
                    current.rates.count(seconds, listed.clone().skip(nth));
                }
            }
        }
    }

    pub(super) fn finish(&mut self) {
        self.close(SegmentState::Truncated);
        self.forget_unused_epoch();
        self.epoch = None;
        if self.generations.back().is_some_and(|current| self.lists_any(current)) {
            self.settle_at_end();
        }
        if let Some(current) = self.generations.back_mut()
            && current.life == Life::Live
        {
            current.life = Life::Closed { next_msn: self.next_msn };
        }
        self.version += 1;
    }

    /// What never had a whole group is still a recording of what there was.
    fn settle_at_end(&mut self) {
        if self.target_duration().is_none() {
            self.settle(true);
        }
    }

    fn lists_any(&self, generation: &Generation) -> bool {
        self.segments.back().is_some_and(|newest| generation.lists(newest.msn))
    }

    pub(super) fn forget_unused_epoch(&mut self) {
        let Some(epoch) = self.epoch else { return };
        if self.segments.back().is_none_or(|newest| newest.epoch != epoch) {
            self.epochs.remove(&epoch);
            self.evicted.push_back(ObjectName::Init(epoch));
        }
    }
}

pub(super) fn codecs_of(record: &EpochRecord) -> Codecs {
    let codec = |track: &Option<crate::track::TrackConfig>| track.as_ref().map(|config| config.codec);
    (codec(&record.tracks.video), codec(&record.tracks.audio))
}
