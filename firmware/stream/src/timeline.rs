//! One timeline from a publisher's stamps: unwraps, repairs and joins them, and says what it did.
//!
//! Video keeps the decoding time of its stamps in 90 kHz ticks. Audio runs on its own count of samples, slewed to the
//! stamps, because a stamp in milliseconds can't say where a 44.1 kHz frame begins (23.22 ms). Both tracks of a
//! publisher share one clock, so one offset maps both; it changes only when three units agree that the publisher's
//! clock jumped, and then for both tracks at once: audio and video never come apart.
//!
//! It drops nothing but audio that lies before what was placed already, and never waits.

use bytes::Bytes;

use crate::track::{AccessUnit, Ticks, TrackConfig, TrackKind};

/// A forward step of a track's stamps beyond this is not believed until three units agree.
pub const JUMP_FORWARD: Ticks = Ticks::from_secs(5);
/// The same for a backward step; a smaller one is a disorder that is repaired.
pub const JUMP_BACKWARD: Ticks = Ticks::from_millis(200);
/// Units that must agree on a new timeline before it is believed.
pub const AGREEMENT: u32 = 3;
/// Two jumped stamps agree when they lie this close together.
const AGREE_WITHIN: Ticks = Ticks::from_secs(1);
/// Audio this far off its stamps lost or gained samples: it is placed anew instead of slewed.
const AUDIO_STEP: Ticks = Ticks::from_millis(80);
/// Slewing starts beyond this and ends when a quarter of it is left.
const SLEW_FROM: Ticks = Ticks::from_millis(4);
/// A frame is stretched or shrunk by at most its length over this: 0.5 %, inaudible, and faster than any crystal.
const SLEW_SHARE: i64 = 200;
/// Frames over which the deviation of audio from its stamps is averaged.
const SMOOTHING: i64 = 32;

/// An access unit with its place on the timeline.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TimedUnit {
    pub kind: TrackKind,
    /// Decoding time.
    pub dts: Ticks,
    /// Presentation time; for audio the same as `dts`.
    pub pts: Ticks,
    /// Audio: the decoding time again, in samples, exact. Video: zero.
    pub samples: i64,
    /// Audio: samples in this frame, after slewing. Video: zero.
    pub frame_samples: u32,
    pub keyframe: bool,
    /// The publisher's clock jumped in front of this unit.
    pub jumped: bool,
    pub data: Bytes,
}

/// What the timeline had to do, for the streamer's page and the metrics.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Repairs {
    /// Stamps that went back a little and were moved forward.
    pub reordered: u64,
    /// Stamps that were not believed and were interpolated.
    pub quarantined: u64,
    /// Times the publisher's clock jumped.
    pub jumps: u64,
    /// Audio frames that lay before what was placed already.
    pub audio_dropped: u64,
    /// Holes in the audio that were left where they were.
    pub audio_gaps: u64,
    /// Samples by which audio was stretched (positive) or shrunk.
    pub slewed_samples: i64,
}

#[derive(Clone, Debug, Default)]
pub struct Timeline {
    /// The newest stamp of either track, unwrapped.
    newest_ms: Option<i64>,
    /// Added to a stamp to get its time.
    offset: Ticks,
    video: Track,
    audio: Track,
    clock: AudioClock,
    suspect: Option<Suspect>,
    jump_pending: bool,
    repairs: Repairs,
}

#[derive(Clone, Debug, Default)]
struct Track {
    /// The newest believed stamp, as time.
    stamp: Option<Ticks>,
    /// The newest placed time.
    placed: Option<Ticks>,
    /// The newest distance between two stamps: what an unbelievable one is replaced by.
    step: Ticks,
    /// Stamps in a row that were not believed and lie where the other track is.
    astray: u32,
}

#[derive(Clone, Debug, Default)]
struct AudioClock {
    rate: u32,
    frame_samples: u32,
    /// Where the next frame begins, in samples; none before the first.
    next: Option<i64>,
    /// Stamps minus count, in samples, times [`SMOOTHING`].
    deviation: i64,
    slewing: bool,
    off: u32,
    /// Samples placed and slewed in all: the drift between the two clocks.
    counted: i64,
}

/// Stamps that jumped and are not believed yet.
#[derive(Clone, Copy, Debug)]
struct Suspect {
    stamp: Ticks,
    /// Where the first of them was placed.
    placed: Ticks,
    agreed: u32,
}

impl Timeline {
    /// A track's configuration; audio needs its sample rate before its first unit.
    pub fn handle_config(&mut self, config: &TrackConfig) {
        if let Some(format) = config.audio {
            if self.clock.rate != format.sample_rate {
                let resume = self.clock.next.map(|next| Ticks::from_samples(next, self.clock.rate));
                self.clock = AudioClock { rate: format.sample_rate, ..AudioClock::default() };
                self.clock.next = resume.map(|at| at.to_samples(format.sample_rate));
            }
            self.clock.frame_samples = format.frame_samples;
        }
    }

    /// Gives the unit its place. `frame_samples`: samples in an audio frame where it says so itself (Opus).
    ///
    /// None: an audio unit before its configuration, or one that lies before what was placed already.
    pub fn handle_unit(&mut self, unit: AccessUnit, frame_samples: Option<u32>) -> Option<TimedUnit> {
        let stamp = Ticks::from_millis(self.unwrap(unit.stamp_ms));
        let at = self.believe(unit.kind, stamp);
        match unit.kind {
            TrackKind::Video => Some(self.place_video(at, unit)),
            TrackKind::Audio => self.place_audio(at, unit, frame_samples),
        }
    }

    #[must_use]
    pub fn repairs(&self) -> Repairs {
        self.repairs
    }

    /// How far audio stands behind (positive: ahead of) the publisher's stamps, averaged.
    #[must_use]
    pub fn skew(&self) -> Ticks {
        match self.clock.rate {
            0 => Ticks::ZERO,
            rate => -Ticks::from_samples(self.clock.deviation / SMOOTHING, rate),
        }
    }

    /// How much faster the publisher's stamps run than its sample clock, in parts per million, over its whole time.
    #[must_use]
    pub fn drift_ppm(&self) -> i64 {
        match self.clock.counted {
            0 => 0,
            counted => self.repairs.slewed_samples * 1_000_000 / counted,
        }
    }

    /// 32 bits of milliseconds wrap each 49.7 days: the reading nearest to the newest stamp is meant.
    fn unwrap(&mut self, stamp_ms: u32) -> i64 {
        let newest = self.newest_ms.unwrap_or(i64::from(stamp_ms));
        let step = stamp_ms.wrapping_sub(newest as u32) as i32;
        let unwrapped = newest + i64::from(step);
        self.newest_ms = Some(unwrapped);
        unwrapped
    }

    /// The time a stamp stands for, or the time in its stead while it is not believed.
    fn believe(&mut self, kind: TrackKind, stamp: Ticks) -> Ticks {
        let time = stamp + self.offset;
        let other = self.other(kind);
        let track = self.track(kind);
        let Some(last) = track.stamp else {
            return self.first_stamp(kind, stamp);
        };
        let step = time - last;
        let believed = step <= JUMP_FORWARD && step >= -JUMP_BACKWARD;
        if believed && step > Ticks::ZERO && step < Ticks::from_secs(1) {
            track.step = step;
        }
        // A track that was away, or astray, comes back to where the other one is: the clock did not jump.
        let within = if step > Ticks::ZERO { AGREE_WITHIN } else { JUMP_BACKWARD };
        let beside = !believed && other.is_some_and(|other| (time - other).abs() <= within);
        track.astray = if beside { track.astray + 1 } else { 0 };
        if believed || track.astray == AGREEMENT {
            track.astray = 0;
            track.stamp = Some(time);
            self.suspect = None;
            return time;
        }
        self.quarantine(kind, stamp, last)
    }

    /// A track that comes in late must fit the other one, or be the first sign of a jump.
    fn first_stamp(&mut self, kind: TrackKind, stamp: Ticks) -> Ticks {
        let time = stamp + self.offset;
        let Some(other) = self.other(kind).filter(|other| (time - *other).abs() > JUMP_FORWARD) else {
            self.track(kind).stamp = Some(time);
            return time;
        };
        self.quarantine(kind, stamp, other)
    }

    fn quarantine(&mut self, kind: TrackKind, stamp: Ticks, last: Ticks) -> Ticks {
        self.repairs.quarantined += 1;
        // A track that was away goes on where the other one is.
        let last = self.other(kind).filter(|other| *other - last > AGREE_WITHIN).unwrap_or(last);
        let placed = last + self.track(kind).step;
        let suspect = match self.suspect {
            Some(suspect) if (stamp - suspect.stamp).abs() <= AGREE_WITHIN => {
                Suspect { agreed: suspect.agreed + 1, ..suspect }
            }
            _ => Suspect { stamp, placed, agreed: 1 },
        };
        if suspect.agreed < AGREEMENT {
            self.suspect = Some(suspect);
            self.track(kind).stamp = Some(placed);
            return placed;
        }
        self.suspect = None;
        self.jump_pending = true;
        self.repairs.jumps += 1;
        self.offset = suspect.placed - suspect.stamp;
        let time = stamp + self.offset;
        // The other track's stamps jumped too, or will: both go on from here.
        for track in [&mut self.video, &mut self.audio] {
            track.stamp = track.stamp.map(|_| time);
        }
        self.track(kind).stamp = Some(time);
        time
    }

    /// The newest believed stamp of the other track.
    fn other(&self, kind: TrackKind) -> Option<Ticks> {
        match kind {
            TrackKind::Video => self.audio.stamp,
            TrackKind::Audio => self.video.stamp,
        }
    }

    fn track(&mut self, kind: TrackKind) -> &mut Track {
        match kind {
            TrackKind::Video => &mut self.video,
            TrackKind::Audio => &mut self.audio,
        }
    }

    fn place_video(&mut self, at: Ticks, unit: AccessUnit) -> TimedUnit {
        let dts = match self.video.placed {
            Some(placed) if at <= placed => {
                self.repairs.reordered += 1;
                placed + Ticks(1)
            }
            _ => at,
        };
        self.video.placed = Some(dts);
        // Where a decoding time was repaired, the presentation time stays: that is what is seen.
        let pts = at + Ticks::from_millis(i64::from(unit.composition_ms));
        TimedUnit {
            kind: TrackKind::Video,
            dts,
            pts,
            samples: 0,
            frame_samples: 0,
            keyframe: unit.keyframe,
            jumped: core::mem::take(&mut self.jump_pending),
            data: unit.data,
        }
    }

    fn place_audio(&mut self, at: Ticks, unit: AccessUnit, frame_samples: Option<u32>) -> Option<TimedUnit> {
        let rate = self.clock.rate;
        let length = frame_samples.unwrap_or(self.clock.frame_samples);
        if rate == 0 || length == 0 {
            return None;
        }
        let meant = at.to_samples(rate);
        let next = *self.clock.next.get_or_insert(meant);
        let Some(begin) = self.step_audio(next, meant) else {
            self.repairs.audio_dropped += 1;
            return None;
        };
        let slew = self.clock.slew(meant - begin, length);
        self.repairs.slewed_samples += slew;
        let length = (i64::from(length) + slew).max(1);
        self.clock.counted += length;
        self.clock.next = Some(begin + length);
        let dts = Ticks::from_samples(begin, rate);
        self.audio.placed = Some(dts);
        Some(TimedUnit {
            kind: TrackKind::Audio,
            dts,
            pts: dts,
            samples: begin,
            frame_samples: u32::try_from(length).unwrap_or(1),
            keyframe: true,
            jumped: core::mem::take(&mut self.jump_pending),
            data: unit.data,
        })
    }

    /// Where the frame begins: as counted, or, when three frames agree that samples were lost, where it is meant.
    /// None while samples that were sent twice are skipped.
    fn step_audio(&mut self, next: i64, meant: i64) -> Option<i64> {
        let step = AUDIO_STEP.to_samples(self.clock.rate);
        if (meant - next).abs() <= step {
            self.clock.off = 0;
            return Some(next);
        }
        self.clock.off += 1;
        if self.clock.off < AGREEMENT {
            return Some(next);
        }
        if meant < next {
            return None;
        }
        self.clock.off = 0;
        self.clock.deviation = 0;
        self.repairs.audio_gaps += 1;
        Some(meant)
    }
}

impl AudioClock {
    /// Samples by which this frame is stretched so that the count follows the stamps.
    fn slew(&mut self, deviation: i64, length: u32) -> i64 {
        self.deviation += deviation - self.deviation / SMOOTHING;
        let mean = self.deviation / SMOOTHING;
        let from = SLEW_FROM.to_samples(self.rate);
        let enough = if self.slewing { from / 4 } else { from };
        self.slewing = mean.abs() > enough;
        if !self.slewing {
            return 0;
        }
        let most = (i64::from(length) / SLEW_SHARE).max(1);
        mean.clamp(-most, most)
    }
}

#[cfg(test)]
mod tests;
