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
/// Added to the part target per frame-rate family: 30 fps and 29.97 fps then have the same whole frames in a part.
const NTSC: (i64, i64) = (1001, 1000);

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
        let part =
            if frame_rate_milli.is_some() { (exact * NTSC.0 + NTSC.1 - 1) / NTSC.1 } else { exact + 1 };
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
    /// Nothing was placed yet.
    empty: bool,
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
            last_dts: None,
            open: Open {
                segment: EPOCH_ORIGIN,
                part: EPOCH_ORIGIN,
                independent: true,
                opens_segment: true,
                empty: true,
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
        if at < EPOCH_ORIGIN || self.open.empty && !unit.keyframe {
            return;
        }
        // A frame that comes after a pause is decoded where its part ends, and shown when it says.
        let limit = self.open.part + self.target.part;
        let floor = self.last_dts.map_or(EPOCH_ORIGIN, |last| last + Ticks(1));
        let dts = if self.open.empty { at } else { at.min(limit).max(floor) };
        let cut = self.decide(dts, unit.keyframe);
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
            self.audio.push_back((placed, at));
            return;
        }
        if let Some(Close { segment, part }) = self.decide(at, true) {
            commands.push_back(Command::Cut(Cut { segment, at: samples, audio_at: Some(samples) }));
            commands.push_back(Command::Part(part));
        }
        commands.push_back(Command::Put(placed));
    }

    /// The cut in front of a unit at `at`, if there is one.
    fn decide(&mut self, at: Ticks, keyframe: bool) -> Option<Close> {
        if self.open.empty {
            self.open.empty = false;
            self.open.part = at;
            self.open.segment = at;
            return None;
        }
        let segment = keyframe && at - self.open.segment + SEGMENT_SLACK >= self.target.segment;
        if !segment && at - self.open.part < self.target.part - self.target.early {
            return None;
        }
        let part = self.close(at, segment);
        self.open = Open {
            segment: if segment { at } else { self.open.segment },
            part: at,
            independent: keyframe,
            opens_segment: segment,
            empty: false,
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
            commands.push_back(Command::Put(placed));
        }
        let Some((placed, cut)) = self.video.pop_front() else { return };
        if let Some(Close { segment, part }) = cut {
            let audio_at = self.audio.front().map(|(placed, _)| placed.dts);
            commands.push_back(Command::Cut(Cut { segment, at: placed.dts, audio_at }));
            commands.push_back(Command::Part(part));
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
        if !self.open.empty {
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
        let end = handed.unwrap_or(open.start + open.duration);
        if end > open.start {
            let duration = end - open.start;
            commands.push_back(Command::Part(PartPlan { duration, last: true, ..open }));
        }
        commands.push_back(Command::Finish);
    }
}
