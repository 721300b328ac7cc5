//! One epoch: gives units their place on its timeline and cuts it into parts and segments.
//!
//! A cut falls between two units of each track: all audio before the cut's time goes out in front of it, so a cut waits
//! until audio at or after its time is there.

use alloc::collections::VecDeque;

use bytes::Bytes;

use super::{Command, EPOCH_ORIGIN, Settings};
use crate::timeline::TimedUnit;
use crate::track::{Ticks, TrackKind, Tracks};

/// A keyframe this little before the segment target opens a segment all the same: stamps are rounded.
const SEGMENT_SLACK: Ticks = Ticks::from_millis(50);
/// A part ends with this many of the units that decide cuts, be it full or not: only stamps that stand still get there.
const PART_UNITS_MAX: u32 = 1000;
/// What may wait for the other track; that one is lost then.
const WAITING_BYTES_MAX: usize = 16 << 20;
const WAITING_UNITS_MAX: usize = 8192;
/// Added to the part target per frame-rate family: 30 fps and 29.97 fps then have the same whole frames in a part.
const NTSC: (i64, i64) = (1001, 1000);
/// The same where audio is alone: the timeline stretches frames by up to one sample in 120.
const SLEWED: (i64, i64) = (101, 100);

/// An access unit on the epoch's timeline, in its track's own unit: 1/90000 s for video, samples for audio.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Placed {
    pub kind: TrackKind,
    pub dts: i64,
    pub pts: i64,
    pub duration: u32,
    pub keyframe: bool,
    pub data: Bytes,
}

/// All tracks: what went before belongs to the part that ends here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cut {
    /// The next part begins a segment.
    pub segment: bool,
    /// Decoding time of the first video unit behind the cut; without video, of the first audio unit: in its own unit.
    pub at: i64,
    /// Samples: the first audio unit behind the cut, if it is there.
    pub audio_at: Option<i64>,
}

/// A part that is complete.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PartPlan {
    /// On the epoch's timeline.
    pub start: Ticks,
    pub duration: Ticks,
    pub independent: bool,
    pub opens_segment: bool,
    pub last: bool,
}

/// How long parts and segments become.
#[derive(Clone, Copy, Debug)]
pub(super) struct Target {
    pub(super) part: Ticks,
    /// A cut may come this much before the part is full.
    early: Ticks,
    segment: Ticks,
    frame: Ticks,
}

impl Target {
    /// Whole frames nearest to what parts should last, at least one.
    pub(super) fn of(tracks: &Tracks, frame_rate_milli: Option<u32>, settings: Settings) -> Self {
        let frame = match (frame_rate_milli, tracks.audio.as_ref().and_then(|audio| audio.audio)) {
            (Some(rate), _) => Ticks((Ticks::RATE * 1000 / i64::from(rate.max(1))).max(1)),
            (None, Some(format)) => {
                Ticks::from_samples(i64::from(format.frame_samples), format.sample_rate.max(1))
            }
            (None, None) => settings.part_about,
        };
        let frames = ((settings.part_about.0 + frame.0 / 2) / frame.0.max(1)).max(1);
        let exact = frames * frame.0;
        let (more, of) = if frame_rate_milli.is_some() { NTSC } else { SLEWED };
        let part = (exact * more + of - 1) / of;
        Self {
            part: Ticks(part),
            early: Ticks((part * 14 / 100).min(frame.0 / 2)),
            segment: settings.segment_target,
            frame,
        }
    }
}

#[derive(Debug)]
pub(super) struct Epoch {
    target: Target,
    /// The timeline's time of [`EPOCH_ORIGIN`].
    zero: Ticks,
    /// Audio rate; none if the epoch has no audio.
    rate: Option<u32>,
    has_video: bool,
    /// Units that wait for the other track.
    video: VecDeque<(Placed, Option<Close>)>,
    audio: VecDeque<(Placed, Ticks)>,
    waiting_bytes: usize,
    /// Newest decoding time given to video.
    last_dts: Option<Ticks>,
    open: Open,
}

/// The part and segment that the newest unit belongs to.
#[derive(Clone, Copy, Debug)]
struct Open {
    segment: Ticks,
    part: Ticks,
    independent: bool,
    opens_segment: bool,
    /// Units in the part, of the track that decides cuts; none before the epoch's first one.
    units: u32,
    /// Where the newest of them ends; of video, where it begins.
    until: Ticks,
}

/// A decided cut.
#[derive(Clone, Copy, Debug)]
struct Close {
    segment: bool,
    /// The part in front of it.
    part: PartPlan,
}

impl Epoch {
    pub(super) fn new(tracks: &Tracks, target: Target, zero: Ticks) -> Self {
        Self {
            target,
            zero,
            rate: tracks.audio.as_ref().and_then(|config| config.audio).map(|format| format.sample_rate),
            has_video: tracks.video.is_some(),
            video: VecDeque::new(),
            audio: VecDeque::new(),
            waiting_bytes: 0,
            last_dts: None,
            open: Open {
                segment: EPOCH_ORIGIN,
                part: EPOCH_ORIGIN,
                independent: true,
                opens_segment: true,
                units: 0,
                until: EPOCH_ORIGIN,
            },
        }
    }

    pub(super) fn has_video(&self) -> bool {
        self.has_video
    }

    pub(super) fn has_audio(&self) -> bool {
        self.rate.is_some()
    }

    /// The timeline's time of the first video unit that waits for audio.
    pub(super) fn waits_from(&self) -> Option<Ticks> {
        let (placed, _) = self.video.front()?;
        Some(Ticks(placed.dts) - EPOCH_ORIGIN + self.zero)
    }

    /// The track that is behind so far that nothing more can wait for it.
    pub(super) fn overdue(&self) -> Option<TrackKind> {
        let units = self.video.len() + self.audio.len();
        let full = units >= WAITING_UNITS_MAX || self.waiting_bytes >= WAITING_BYTES_MAX;
        full.then_some(if self.video.is_empty() { TrackKind::Video } else { TrackKind::Audio })
    }

    /// Audio alone comes after a hole that no part can span. A late frame of video is moved instead.
    pub(super) fn ends_before(&self, unit: &TimedUnit) -> bool {
        let at = unit.dts - self.zero + EPOCH_ORIGIN;
        let alone = unit.kind == TrackKind::Audio && !self.has_video;
        alone && self.open.units > 0 && at - self.open.part > self.target.part
    }

    /// All of them, or up to the first one in front of which the epoch ends: its index.
    pub(super) fn handle_units(
        &mut self,
        units: &VecDeque<TimedUnit>,
        commands: &mut VecDeque<Command>,
    ) -> Option<usize> {
        for (index, unit) in units.iter().enumerate() {
            if self.ends_before(unit) {
                return Some(index);
            }
            self.handle_unit(unit.clone(), commands);
        }
        None
    }

    /// Units in front of the epoch's beginning are left out.
    pub(super) fn handle_unit(&mut self, unit: TimedUnit, commands: &mut VecDeque<Command>) {
        let at = unit.dts - self.zero + EPOCH_ORIGIN;
        match (unit.kind, self.rate) {
            (TrackKind::Video, _) if self.has_video => self.handle_video(at, unit),
            (TrackKind::Audio, Some(rate)) => self.handle_audio(at, rate, unit, commands),
            (TrackKind::Video | TrackKind::Audio, _) => return,
        }
        self.merge(commands);
    }

    fn handle_video(&mut self, at: Ticks, unit: TimedUnit) {
        if at < EPOCH_ORIGIN || self.open.units == 0 && !unit.keyframe {
            return;
        }
        // A frame that comes after a pause is decoded where its part ends, and shown when it says.
        let limit = self.open.part + self.target.part;
        let floor = self.last_dts.map_or(EPOCH_ORIGIN, |last| last + Ticks(1));
        let dts = if self.open.units == 0 { at } else { at.min(limit).max(floor) };
        let cut = self.decide(dts, dts, unit.keyframe);
        let pts = unit.pts - self.zero + EPOCH_ORIGIN;
        self.last_dts = Some(dts);
        let placed = Placed {
            kind: TrackKind::Video,
            dts: dts.0,
            pts: pts.0.max(0),
            duration: u32::try_from(self.target.frame.0).unwrap_or(u32::MAX),
            keyframe: unit.keyframe,
            data: unit.data,
        };
        self.waiting_bytes += placed.data.len();
        self.video.push_back((placed, cut));
    }

    fn handle_audio(&mut self, at: Ticks, rate: u32, unit: TimedUnit, commands: &mut VecDeque<Command>) {
        let zero = (self.zero - EPOCH_ORIGIN).to_samples(rate);
        let samples = unit.samples - zero;
        if at < EPOCH_ORIGIN || samples < 0 {
            return;
        }
        let placed = Placed {
            kind: TrackKind::Audio,
            dts: samples,
            pts: samples,
            duration: unit.frame_samples,
            keyframe: true,
            data: unit.data,
        };
        if self.has_video {
            self.waiting_bytes += placed.data.len();
            self.audio.push_back((placed, at));
            return;
        }
        let until = at + Ticks::from_samples(i64::from(placed.duration), rate);
        if let Some(Close { segment, part }) = self.decide(at, until, true) {
            commands.push_back(Command::Cut(Cut { segment, at: samples, audio_at: Some(samples) }));
            commands.push_back(Command::Put(placed));
            commands.push_back(Command::Part(part));
            return;
        }
        commands.push_back(Command::Put(placed));
    }

    /// The cut in front of a unit at `at`, if there is one; the unit's end must not lie beyond its part's.
    fn decide(&mut self, at: Ticks, until: Ticks, keyframe: bool) -> Option<Close> {
        self.open.units += 1;
        self.open.until = until;
        if self.open.units == 1 {
            self.open.part = at;
            self.open.segment = at;
            return None;
        }
        let segment = keyframe && at - self.open.segment + SEGMENT_SLACK >= self.target.segment;
        let full = at - self.open.part >= self.target.part - self.target.early
            || until - self.open.part > self.target.part;
        if !segment && !full && self.open.units <= PART_UNITS_MAX {
            return None;
        }
        let part = self.close(at, segment);
        self.open = Open {
            segment: if segment { at } else { self.open.segment },
            part: at,
            independent: keyframe,
            opens_segment: segment,
            units: 1,
            until,
        };
        Some(Close { segment, part })
    }

    fn close(&self, at: Ticks, last: bool) -> PartPlan {
        PartPlan {
            start: self.open.part,
            duration: at - self.open.part,
            independent: self.open.independent,
            opens_segment: self.open.opens_segment,
            last,
        }
    }

    /// Hands on video as far as audio has come.
    fn merge(&mut self, commands: &mut VecDeque<Command>) {
        while let Some((placed, _)) = self.video.front() {
            let at = Ticks(placed.dts);
            if self.rate.is_some() && self.audio.back().is_none_or(|(_, time)| *time < at) {
                return;
            }
            self.put_video(at, commands);
        }
    }

    /// Hands on the first video unit that waits, and the audio before it.
    fn put_video(&mut self, at: Ticks, commands: &mut VecDeque<Command>) {
        while let Some((placed, _)) = self.audio.pop_front_if(|(_, time)| *time < at) {
            self.waiting_bytes -= placed.data.len();
            commands.push_back(Command::Put(placed));
        }
        let Some((placed, cut)) = self.video.pop_front() else { return };
        self.waiting_bytes -= placed.data.len();
        if let Some(Close { segment, part }) = cut {
            let audio_at = self.audio.front().map(|(placed, _)| placed.dts);
            commands.push_back(Command::Cut(Cut { segment, at: placed.dts, audio_at }));
            commands.push_back(Command::Put(placed));
            // The muxer finishes the part only when each track has a unit behind the cut. One that is further off than
            // the next cut may be is not taken: behind a hole in the audio a part comes out late.
            let reach = at + self.target.part;
            if let Some((behind, _)) = self.audio.pop_front_if(|(_, time)| *time < reach) {
                self.waiting_bytes -= behind.data.len();
                commands.push_back(Command::Put(behind));
            }
            commands.push_back(Command::Part(part));
            return;
        }
        commands.push_back(Command::Put(placed));
    }

    /// Ends the epoch at `end` (the timeline's time): what waits goes out, and what is open is the last part.
    pub(super) fn finish(&mut self, end: Ticks, commands: &mut VecDeque<Command>) {
        let end = end - self.zero + EPOCH_ORIGIN;
        while let Some((placed, _)) = self.video.front() {
            self.put_video(Ticks(placed.dts), commands);
        }
        for (placed, time) in self.audio.drain(..) {
            if time < end {
                commands.push_back(Command::Put(placed));
            }
        }
        if self.open.units > 0 {
            let end = if self.has_video { end } else { self.open.until };
            let end = end.min(self.open.part + self.target.part);
            commands.push_back(Command::Part(self.close(end.max(self.open.part + Ticks(1)), true)));
        }
        commands.push_back(Command::Finish);
    }

    /// Ends the epoch where its newest unit was handed on: a track is lost, and what waits for it is played again.
    pub(super) fn finish_short(&mut self, commands: &mut VecDeque<Command>) {
        // The part in which the first waiting unit lies ends there.
        let handed = self.video.front().map(|(placed, _)| Ticks(placed.dts));
        let first_cut = self.video.iter().find_map(|(_, cut)| cut.as_ref()).map(|cut| cut.part);
        let open = first_cut.unwrap_or_else(|| self.close(self.open.part + self.target.part, true));
        let shown = self.last_dts.map_or(open.start, |last| last + self.target.frame);
        let end = handed.unwrap_or(shown.min(open.start + open.duration));
        if end > open.start {
            let duration = end - open.start;
            commands.push_back(Command::Part(PartPlan { duration, last: true, ..open }));
        }
        commands.push_back(Command::Finish);
    }
}
