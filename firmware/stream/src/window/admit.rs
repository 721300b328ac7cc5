//! Who may come in: the checks on epoch records and part headers, which a relay gets from strangers.
//!
//! Nothing is repaired here; what breaks a rule is refused with the rule's name.

use crate::header::{EpochRecord, PartHeader};
use crate::playlist::text::UNIX_MS_MAX;
use crate::track::Ticks;
use crate::window::segment::SegmentState;
use crate::window::{EVICTED_MAX, Edge, SEGMENT_PARTS_MAX, Window};

/// Media sequence numbers stay where a browser's numbers are exact.
pub(super) const MSN_MAX: u64 = (1 << 53) - 1;
/// Media times stay within 390 years, so that sums of them stay within 64 bits.
const TICKS_MAX: i64 = 1 << 50;
/// The shortest and longest part target.
const PART_TARGET_MIN: Ticks = Ticks::from_millis(10);
const PART_TARGET_MAX: Ticks = Ticks::from_secs(10);
/// Longer than any list of RFC 6381 codec strings of two tracks.
const CODECS_BYTES_MAX: usize = 256;

/// Why an epoch or a part was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum WindowError {
    #[error("the epoch record is malformed: {0}")]
    BadRecord(&'static str),
    #[error("what the origin said of the playlist is out of bounds: {0}")]
    BadStamp(&'static str),
    #[error("the epoch is already in the window")]
    KnownEpoch,
    #[error("the part belongs to another epoch than the current one")]
    UnknownEpoch,
    #[error("the part is not the next one: segment {msn}, part {part} or the next segment's first is")]
    OutOfOrder { msn: u64, part: u32 },
    #[error("a segment can't begin with a part that does not begin with a keyframe")]
    NotIndependent,
    #[error("the part's duration is not above zero, or above the part target")]
    BadDuration,
    #[error("the part does not begin where the one before it ended")]
    BadStart,
    #[error("a part has bytes exactly if it is no gap")]
    BadLength,
    #[error("the segment has as many parts as a segment may have")]
    SegmentFull,
    #[error("the segment alone exceeds the window's byte limit")]
    OverBudget,
    #[error("too many evicted objects wait to be dropped")]
    Undrained,
}

pub(super) fn check_record(record: &EpochRecord) -> Result<(), WindowError> {
    let bad = |what| Err(WindowError::BadRecord(what));
    if record.tracks.video.is_none() && record.tracks.audio.is_none() {
        return bad("no track");
    }
    if !(PART_TARGET_MIN..=PART_TARGET_MAX).contains(&record.part_target) {
        return bad("part target");
    }
    // The text goes into a quoted string (RFC 8216bis 4.2).
    let printable = |b: u8| b.is_ascii_graphic() && b != b'"';
    if record.codecs.len() > CODECS_BYTES_MAX || !record.codecs.bytes().all(printable) {
        return bad("codecs");
    }
    if record.resolution.is_some_and(|(width, height)| width == 0 || height == 0) {
        return bad("resolution");
    }
    if record.frame_rate_milli == Some(0) {
        return bad("frame rate");
    }
    if !(0..=UNIX_MS_MAX).contains(&record.zero_unix_ms) {
        return bad("time of media time zero");
    }
    Ok(())
}

impl Window {
    /// The number of the part that continues the open segment, or opens the next one if there is none.
    pub(super) fn next_number(&self) -> (u64, u32) {
        match (self.edge, self.segments.back()) {
            // SEGMENT_PARTS_MAX keeps the length in range.
            (Edge::Open, Some(open)) => (open.msn, open.parts.len() as u32),
            (Edge::Overlong { msn, parts }, _) => (msn, parts),
            (Edge::Quiet | Edge::Between | Edge::Open, _) => (self.next_msn, 0),
        }
    }

    pub(super) fn admit(&mut self, header: &PartHeader) -> Result<(), WindowError> {
        let record = self.epoch.filter(|id| *id == header.epoch).and_then(|id| self.epochs.get(&id));
        let part_target = record.ok_or(WindowError::UnknownEpoch)?.part_target;
        if self.evicted.len() > EVICTED_MAX {
            return Err(WindowError::Undrained);
        }
        let (msn, part) = self.next_number();
        let opens = header.part == 0 && header.msn >= self.next_msn && header.msn <= MSN_MAX;
        if !opens && (header.msn, header.part) != (msn, part) {
            return Err(WindowError::OutOfOrder { msn, part });
        }
        if opens && !header.independent {
            return Err(WindowError::NotIndependent);
        }
        if header.duration <= Ticks::ZERO || header.duration > part_target {
            return Err(WindowError::BadDuration);
        }
        if header.gap != (header.bytes == 0) {
            return Err(WindowError::BadLength);
        }
        self.check_start(header, opens, part_target)?;
        if opens { self.check_budget(0, header.bytes) } else { self.check_growth(header) }
    }

    /// A segment may begin after a hole, which then shows as a discontinuity; a part within one may not.
    fn check_start(&self, header: &PartHeader, opens: bool, part_target: Ticks) -> Result<(), WindowError> {
        if header.start.abs().0 > TICKS_MAX {
            return Err(WindowError::BadStart);
        }
        let Some(cursor) = self.cursor else { return Ok(()) };
        let slack = start_slack(part_target);
        let early = header.start < cursor - slack;
        let late = header.start > cursor + slack;
        if early || (late && !opens) { Err(WindowError::BadStart) } else { Ok(()) }
    }

    fn check_growth(&mut self, header: &PartHeader) -> Result<(), WindowError> {
        let (parts, bytes) = match (self.edge, self.segments.back()) {
            (Edge::Open, Some(open)) => (open.parts.len(), open.bytes),
            (Edge::Open | Edge::Quiet | Edge::Between | Edge::Overlong { .. }, _) => return Ok(()),
        };
        if parts >= SEGMENT_PARTS_MAX {
            self.cut_off(SegmentState::Truncated);
            return Err(WindowError::SegmentFull);
        }
        self.check_budget(bytes, header.bytes).inspect_err(|_| self.cut_off(SegmentState::Truncated))
    }

    fn check_budget(&self, bytes: u64, more: u32) -> Result<(), WindowError> {
        if bytes + u64::from(more) > self.limits.bytes { Err(WindowError::OverBudget) } else { Ok(()) }
    }

    fn cut_off(&mut self, state: SegmentState) {
        self.close(state);
        self.cut_off = true;
        self.version += 1;
    }
}

/// Stamps in milliseconds and sample counts don't meet exactly; a hole starts at half a part.
pub(super) fn start_slack(part_target: Ticks) -> Ticks {
    Ticks(part_target.0 / 2)
}
