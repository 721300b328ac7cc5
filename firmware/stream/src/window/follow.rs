//! A window that decides nothing: it follows the origin's sealed items, so that its playlists are the origin's.
//!
//! ```text
//! origin:  begin_epoch, push_part, ...  --> stamp() --signed, carried--> follow_*() :relay
//! ```
//! What is checked on parts of one's own is checked on these; what the origin decided (playlist generations, promises,
//! discontinuities, rates) is taken from the stamps. A window either decides or follows, for its whole life.

use crate::header::{EpochId, EpochRecord, PartHeader};
use crate::seal::{Mark, Stamp};
use crate::track::Ticks;
use crate::window::generation::{Generation, Life, Promise, Rates};
use crate::window::lifecycle::codecs_of;
use crate::window::segment::{Segment, SegmentState};
use crate::window::{Edge, GENERATIONS_MAX, Window, WindowError, admit};

/// TARGETDURATION may not be more than this, in seconds, whoever says so.
const TARGET_DURATION_S_MAX: u32 = 3600;

impl Window {
    /// What the window decided so far, for the item that was taken last. `serial` is the shell's count.
    ///
    /// None before the first epoch.
    #[must_use]
    pub fn stamp(&self, serial: u64) -> Option<Stamp> {
        let current = self.generations.back()?;
        Some(Stamp {
            serial,
            playlist: current.name,
            first_msn: current.first_msn,
            target_duration_s: current.target_duration(),
            discontinuity: self.segments.back().is_some_and(|newest| newest.discontinuity),
            discontinuities: self.discontinuities,
            peak_bps: current.rates.peak_bps(),
            average_bps: current.rates.average_bps(),
            part_hold_back: self.limits.part_hold_back,
            next_msn: self.next_msn,
        })
    }

    /// The newest segment and how many parts it has.
    #[must_use]
    pub fn newest(&self) -> Option<(u64, u32)> {
        self.segments.back().map(|newest| (newest.msn, newest.parts.len() as u32))
    }

    /// The oldest segment.
    #[must_use]
    pub fn oldest_msn(&self) -> Option<u64> {
        self.segments.front().map(|oldest| oldest.msn)
    }

    /// The epoch that parts come for.
    #[must_use]
    pub fn epoch(&self) -> Option<EpochId> {
        self.epoch
    }

    /// The origin began an epoch.
    ///
    /// # Errors
    /// [`WindowError::BadRecord`], [`WindowError::BadStamp`], [`WindowError::KnownEpoch`]; nothing has changed then.
    pub fn follow_epoch(&mut self, record: EpochRecord, stamp: &Stamp) -> Result<(), WindowError> {
        admit::check_record(&record)?;
        check_stamp(stamp)?;
        if self.epochs.contains_key(&record.id) {
            return Err(WindowError::KnownEpoch);
        }
        self.close_followed(SegmentState::Truncated);
        self.forget_unused_epoch();
        self.epoch = Some(record.id);
        self.cursor = None;
        self.epochs.insert(record.id, record);
        self.adopt_stamp(stamp, stamp.next_msn);
        self.version += 1;
        Ok(())
    }

    /// The next part, which may be a gap here though it was none at the origin. What was there before a segment that is
    /// not the next one leaves: a playlist has no hole.
    ///
    /// # Errors
    /// As [`Window::push_part`], and [`WindowError::BadStamp`].
    pub fn follow_part(&mut self, header: PartHeader, stamp: &Stamp) -> Result<(), WindowError> {
        check_stamp(stamp)?;
        self.admit(&header)?;
        if header.part == 0 && header.msn > self.next_msn {
            while let Some(front) = self.segments.pop_front() {
                self.evict(&front);
            }
        }
        let (msn, last) = (header.msn, header.last);
        self.parts += 1;
        self.bytes += u64::from(header.bytes);
        self.cursor = Some(header.start + header.duration);
        if header.part == 0 {
            self.close_followed(SegmentState::Truncated);
            self.next_msn = msn + 1;
            self.segments.push_back(Segment::new(header, stamp.discontinuity, stamp.discontinuities));
            self.edge = Edge::Open;
        } else if let Some(open) = self.segments.back_mut() {
            open.push(header);
        }
        self.discontinuities = stamp.discontinuities;
        self.adopt_stamp(stamp, msn);
        if last {
            self.close_followed(SegmentState::Whole);
        }
        self.trim();
        self.version += 1;
        Ok(())
    }

    /// Something ended.
    ///
    /// # Errors
    /// [`WindowError::BadStamp`].
    pub fn follow_mark(&mut self, mark: Mark, msn: u64, stamp: &Stamp) -> Result<(), WindowError> {
        check_stamp(stamp)?;
        let newest = self.segments.back().map(|newest| newest.msn);
        match mark {
            Mark::Abandoned if newest == Some(msn) => self.close_followed(SegmentState::Truncated),
            Mark::Dropped if newest == Some(msn) => {
                if let Some(segment) = self.segments.pop_back() {
                    self.evict(&segment);
                }
                self.edge = Edge::Quiet;
            }
            Mark::Abandoned | Mark::Dropped => {}
            Mark::Ended => {
                self.close_followed(SegmentState::Truncated);
                self.forget_unused_epoch();
                self.epoch = None;
            }
        }
        self.adopt_stamp(stamp, stamp.next_msn);
        if mark == Mark::Ended
            && let Some(current) = self.generations.back_mut()
            && current.life == Life::Live
        {
            current.life = Life::Closed { next_msn: self.next_msn };
        }
        self.version += 1;
        Ok(())
    }

    /// As at the origin, but for what the stamp says anyway.
    fn close_followed(&mut self, state: SegmentState) {
        if self.edge == Edge::Open
            && let Some(open) = self.segments.back_mut()
        {
            open.state = state;
            self.edge = if state == SegmentState::Whole { Edge::Between } else { Edge::Quiet };
        } else {
            self.edge = Edge::Quiet;
        }
    }

    /// Takes the origin's word for the playlist; one that was not known begins, and the one before holds what is below
    /// `msn`.
    fn adopt_stamp(&mut self, stamp: &Stamp, msn: u64) {
        self.limits.part_hold_back = stamp.part_hold_back;
        self.next_msn = self.next_msn.max(stamp.next_msn);
        let promise = stamp.target_duration_s.map_or(Promise::Learning, Promise::Frozen);
        let rates = Rates::told(stamp.peak_bps, stamp.average_bps);
        if let Some(current) = self.generations.back_mut().filter(|current| current.name == stamp.playlist) {
            current.first_msn = stamp.first_msn;
            current.promise = promise;
            current.rates = rates;
            return;
        }
        let Some(record) = self.epoch.and_then(|epoch| self.epochs.get(&epoch)) else { return };
        let (part_target, codecs) = (record.part_target, codecs_of(record));
        if let Some(before) = self.generations.back_mut() {
            if before.target_duration().is_none() {
                self.generations.pop_back();
            } else if before.life == Life::Live {
                before.life = Life::Closed { next_msn: msn };
            }
        }
        if self.generations.len() == GENERATIONS_MAX {
            self.generations.pop_front();
        }
        let (name, first_msn, life) = (stamp.playlist, stamp.first_msn, Life::Live);
        self.generations.push_back(Generation { name, first_msn, promise, life, part_target, codecs, rates });
    }
}

fn check_stamp(stamp: &Stamp) -> Result<(), WindowError> {
    let bad = |what| Err(WindowError::BadStamp(what));
    if stamp.target_duration_s.is_some_and(|seconds| seconds > TARGET_DURATION_S_MAX) {
        return bad("target duration");
    }
    if stamp.next_msn > admit::MSN_MAX || stamp.first_msn > admit::MSN_MAX {
        return bad("media sequence number");
    }
    if !(Ticks::ZERO..=Ticks::from_secs(3600)).contains(&stamp.part_hold_back) {
        return bad("hold back");
    }
    Ok(())
}
