//! The media playlist of one generation (RFC 8216bis 4.4.3 to 4.4.5), whole or as a delta update.

use alloc::collections::BTreeMap;
use alloc::string::String;
use alloc::vec::Vec;
use core::fmt::{self, Write};

use crate::header::{EpochId, EpochRecord, ObjectName, PartHeader};
use crate::playlist::text::{DateTime, Decimal};
use crate::track::Ticks;
use crate::window::segment::Segment;

/// What a media playlist says.
#[derive(Debug)]
pub(crate) struct Media<'a> {
    pub(crate) target_duration: u32,
    pub(crate) part_target: Ticks,
    /// Asked for by configuration; three part targets are the least.
    pub(crate) part_hold_back: Ticks,
    /// In order, without a hole; the last one may be open.
    pub(crate) segments: Vec<&'a Segment>,
    /// EXT-X-MEDIA-SEQUENCE if there is no segment.
    pub(crate) next_msn: u64,
    /// The first segment that this URI ever listed: nothing comes before it that it could be discontinuous with.
    pub(crate) first_msn: u64,
    pub(crate) discontinuities: u64,
    pub(crate) epochs: &'a BTreeMap<EpochId, EpochRecord>,
    pub(crate) hint: Option<ObjectName>,
    pub(crate) ended: bool,
}

/// Parts are listed this many target durations back from the end (RFC 8216bis 6.2.2).
const PARTS_LISTED_TARGET_DURATIONS: i64 = 3;
/// The least that CAN-SKIP-UNTIL may be, in target durations (RFC 8216bis 4.4.3.8).
const SKIP_UNTIL_TARGET_DURATIONS: u32 = 6;
/// EXT-X-MAP in a playlist of whole segments (RFC 8216bis 8).
const VERSION: u32 = 6;
/// EXT-X-SKIP (RFC 8216bis 8).
const VERSION_DELTA: u32 = 9;
/// What a rendered line takes with its URI, roughly: for the string's first capacity.
const LINE_BYTES: usize = 80;

impl Media<'_> {
    pub(crate) fn render(&self, delta: bool) -> String {
        let skipped = if delta { self.skippable() } else { 0 };
        let (whole, with_parts) = self.segments.split_at(self.first_with_parts());
        let lines = 16 + 3 * whole.len() + with_parts.iter().map(|s| s.parts.len() + 4).sum::<usize>();
        let mut out = String::with_capacity(lines * LINE_BYTES);
        // A String takes all that is written to it.
        let _ = self.write(&mut out, skipped);
        out
    }

    fn write(&self, out: &mut String, skipped: usize) -> fmt::Result {
        self.write_head(out, skipped)?;
        let parts_from = self.first_with_parts();
        let mut epoch = skipped.checked_sub(1).map(|last| self.segments[last].epoch);
        for (nth, segment) in self.segments.iter().enumerate().skip(skipped) {
            self.write_segment(out, segment, epoch != Some(segment.epoch), nth >= parts_from)?;
            epoch = Some(segment.epoch);
        }
        match self.hint {
            _ if self.ended => writeln!(out, "#EXT-X-ENDLIST"),
            Some(name) => writeln!(out, "#EXT-X-PRELOAD-HINT:TYPE=PART,URI=\"{name}\""),
            // A comment. hls.js 1.7.4 takes a segment on the last line for its own successor, counts its discontinuity
            // sequence twice after a delta update, and refuses the next epoch.
            None => writeln!(out, "#"),
        }
    }

    fn write_head(&self, out: &mut String, skipped: usize) -> fmt::Result {
        let part_target = Decimal::up(self.part_target);
        let part_hold_back = part_target.times(3).max(Decimal::up(self.part_hold_back));
        let target_duration = self.target_duration;
        writeln!(out, "#EXTM3U")?;
        writeln!(out, "#EXT-X-VERSION:{}", if skipped > 0 { VERSION_DELTA } else { VERSION })?;
        writeln!(out, "#EXT-X-TARGETDURATION:{target_duration}")?;
        writeln!(
            out,
            "#EXT-X-SERVER-CONTROL:CAN-BLOCK-RELOAD=YES,PART-HOLD-BACK={part_hold_back},HOLD-BACK={},CAN-SKIP-UNTIL={}",
            3 * target_duration,
            SKIP_UNTIL_TARGET_DURATIONS * target_duration
        )?;
        writeln!(out, "#EXT-X-PART-INF:PART-TARGET={part_target}")?;
        let first = self.segments.first();
        writeln!(out, "#EXT-X-MEDIA-SEQUENCE:{}", first.map_or(self.next_msn, |s| s.msn))?;
        writeln!(out, "#EXT-X-DISCONTINUITY-SEQUENCE:{}", self.discontinuity_sequence())?;
        writeln!(out, "#EXT-X-INDEPENDENT-SEGMENTS")?;
        if skipped > 0 {
            writeln!(out, "#EXT-X-SKIP:SKIPPED-SEGMENTS={skipped}")?;
        }
        Ok(())
    }

    fn write_segment(&self, out: &mut String, segment: &Segment, map: bool, parts: bool) -> fmt::Result {
        if self.shows_discontinuity(segment) {
            writeln!(out, "#EXT-X-DISCONTINUITY")?;
        }
        if map {
            writeln!(out, "#EXT-X-MAP:URI=\"{}\"", ObjectName::Init(segment.epoch))?;
        }
        if let Some(record) = self.epochs.get(&segment.epoch) {
            let unix_ms = record.zero_unix_ms.saturating_add(segment.start().millis());
            writeln!(out, "#EXT-X-PROGRAM-DATE-TIME:{}", DateTime { unix_ms })?;
        }
        if parts {
            for part in &segment.parts {
                write_part(out, part)?;
            }
        }
        if segment.is_open() {
            return Ok(());
        }
        if segment.is_gap() {
            writeln!(out, "#EXT-X-GAP")?;
        }
        writeln!(out, "#EXTINF:{},", Decimal::nearest(segment.duration))?;
        writeln!(out, "{}", segment.name())
    }

    fn shows_discontinuity(&self, segment: &Segment) -> bool {
        segment.discontinuity && segment.msn != self.first_msn
    }

    /// The discontinuities before the playlist's first line: the first segment's own tag, if shown, counts on top
    /// (RFC 8216bis 6.2.1).
    fn discontinuity_sequence(&self) -> u64 {
        self.segments.first().map_or(self.discontinuities, |first| {
            first.discontinuities - u64::from(self.shows_discontinuity(first))
        })
    }

    fn first_with_parts(&self) -> usize {
        let reach = Ticks::from_secs(PARTS_LISTED_TARGET_DURATIONS * i64::from(self.target_duration));
        self.first_within(reach, Ticks::ZERO)
    }

    /// How many segments a delta update may leave out: those further than the skip boundary from the end of the
    /// last segment, which the playlist lists as a whole (RFC 8216bis 6.2.5.1).
    fn skippable(&self) -> usize {
        let boundary = Ticks::from_secs(i64::from(SKIP_UNTIL_TARGET_DURATIONS * self.target_duration));
        let open =
            self.segments.last().filter(|last| last.is_open()).map_or(Ticks::ZERO, |open| open.duration);
        self.first_within(boundary, -open)
    }

    /// The index of the first segment of which some is within `reach` of the playlist's end, which is `end` off.
    fn first_within(&self, reach: Ticks, end: Ticks) -> usize {
        let mut distance = end;
        for (nth, segment) in self.segments.iter().enumerate().rev() {
            if distance >= reach {
                return nth + 1;
            }
            distance += segment.duration;
        }
        0
    }
}

fn write_part(out: &mut String, part: &PartHeader) -> fmt::Result {
    let name = ObjectName::Part(part.epoch, part.msn, part.part);
    let flags = match (part.gap, part.independent) {
        (true, _) => ",GAP=YES",
        (false, true) => ",INDEPENDENT=YES",
        (false, false) => "",
    };
    writeln!(out, "#EXT-X-PART:DURATION={},URI=\"{name}\"{flags}", Decimal::nearest(part.duration))
}
