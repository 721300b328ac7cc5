//! Decides every cut: where an epoch begins, where a segment, where a part.
//!
//! ```text
//!             both tracks seen, or waited long enough;
//!             the frame rate measured; a keyframe there
//!  Probing ------------------------------------------------> Running
//!     ^                                                         |
//!     |  a track is lost (kept units are played again)          | keyframe after a change of configuration, a jump,
//!     +---------------------------------------------------------+ or a track that came (back): next epoch at once
//! ```
//! A segment begins at the first keyframe at or after the target; a part ends before the frame that would make it
//! longer than the part target. Time is the media's own: the cutter has no clock.

use alloc::collections::VecDeque;

use crate::timeline::TimedUnit;
use crate::track::{Ticks, TrackConfig, TrackKind, Tracks};

mod epoch;
mod pace;
#[cfg(test)]
mod tests;

pub use epoch::{Cut, PartPlan, Placed};
use epoch::{Epoch, Target};
pub use pace::Pace;

/// Every epoch's timeline begins here, so that no time in it is ever negative (the muxer clamps those to zero).
pub const EPOCH_ORIGIN: Ticks = Ticks::from_secs(1);
/// How long a second track is waited for before the first one is published alone.
pub const TRACK_WAIT: Ticks = Ticks::from_secs(1);
/// A track that has stayed behind the other by this is lost.
pub const TRACK_LOST: Ticks = Ticks::from_secs(2);
/// Kept to begin again from the last keyframe; what is longer is begun at the next keyframe instead.
const KEPT_BYTES_MAX: usize = 16 << 20;
const KEPT_UNITS_MAX: usize = 8192;
/// Commands a caller may leave unpolled; it polls after each input, so this is a fault.
const COMMANDS_MAX: usize = 65_536;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Settings {
    /// A segment begins at the first keyframe at or after this.
    pub segment_target: Ticks,
    /// What parts should last about; made whole frames per epoch.
    pub part_about: Ticks,
}

impl Default for Settings {
    fn default() -> Self {
        Self { segment_target: Ticks::from_secs(2), part_about: Ticks::from_millis(200) }
    }
}

/// What the shell does, in this order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Command {
    /// A new epoch: a new job for the packager.
    Begin(Plan),
    Put(Placed),
    Cut(Cut),
    /// The part in front of the cut is complete: the packager's next fragment is this one.
    Part(PartPlan),
    /// The epoch is over, its last part is announced: nothing more comes for it.
    Finish,
}

/// A new epoch, before it has an id.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Plan {
    pub tracks: Tracks,
    pub frame_rate_milli: Option<u32>,
    pub part_target: Ticks,
    /// How far the newest unit seen lies behind the epoch's first one: the shell's wall clock minus this is the
    /// wall-clock time of [`EPOCH_ORIGIN`].
    pub lead: Ticks,
}

/// Cuts one publication.
#[derive(Debug)]
pub struct Cutter {
    settings: Settings,
    tracks: Tracks,
    /// When each track's newest unit was, on the timeline.
    newest: [Option<Ticks>; 2],
    state: State,
    /// Units since the newest keyframe, to begin an epoch with them again.
    kept: Kept,
    /// An epoch must begin at the next keyframe.
    renew: bool,
    /// Tracks whose units are coded for another configuration than the running epoch's: they wait for the next one.
    changed: [bool; 2],
    pace: Pace,
    commands: VecDeque<Command>,
}

#[derive(Debug)]
enum State {
    Probing,
    Running(Epoch),
}

#[derive(Debug, Default)]
struct Kept {
    units: VecDeque<TimedUnit>,
    bytes: usize,
}

impl Cutter {
    #[must_use]
    pub fn new(settings: Settings) -> Self {
        Self {
            settings,
            tracks: Tracks::default(),
            newest: [None; 2],
            state: State::Probing,
            kept: Kept::default(),
            renew: false,
            changed: [false; 2],
            pace: Pace::default(),
            commands: VecDeque::new(),
        }
    }

    /// A track's configuration, at its start or changed: holds from the next keyframe.
    pub fn handle_config(&mut self, config: TrackConfig) {
        let kind = config.codec.kind();
        let track = match kind {
            TrackKind::Video => &mut self.tracks.video,
            TrackKind::Audio => &mut self.tracks.audio,
        };
        if track.as_ref() == Some(&config) {
            return;
        }
        *track = Some(config);
        // What was kept was coded for another configuration.
        self.kept.remove(kind, Ticks(i64::MAX));
        if matches!(self.state, State::Running(_)) {
            self.renew = true;
            self.changed[slot(kind)] = true;
        }
    }

    pub fn handle_unit(&mut self, unit: TimedUnit) {
        self.newest[slot(unit.kind)] = Some(unit.dts);
        if unit.kind == TrackKind::Video {
            self.pace.handle_frame(unit.dts, unit.keyframe);
        }
        self.renew |= unit.jumped || self.track_returned(unit.kind) || self.breaks(&unit);
        match &mut self.state {
            State::Probing => {
                self.kept.push(unit);
                self.try_begin();
            }
            State::Running(epoch) => {
                let opens = is_entry(&unit, epoch.has_video());
                if opens && self.renew {
                    let end = unit.dts;
                    epoch.finish(end, &mut self.commands);
                    self.state = State::Probing;
                    self.kept.restart_with(unit);
                    self.try_begin();
                    return;
                }
                let has_video = epoch.has_video();
                self.kept.push(unit.clone());
                if !self.changed[slot(unit.kind)] {
                    epoch.handle_unit(unit, &mut self.commands);
                }
                if opens {
                    let waiting = epoch.waits_from();
                    self.kept.trim(has_video, waiting);
                }
                if let Some(lost) = self.lost_track() {
                    self.drop_track(lost);
                }
            }
        }
        debug_assert!(self.commands.len() < COMMANDS_MAX);
    }

    /// The packager lost the epoch: begin another one with what was kept since the last keyframe.
    pub fn handle_restart(&mut self) {
        self.state = State::Probing;
        self.commands.clear();
        self.try_begin();
    }

    /// The publisher is gone: whatever is open becomes the last part.
    pub fn handle_end(&mut self) {
        if let State::Running(epoch) = &mut self.state {
            let end = self.newest.iter().flatten().max().copied().unwrap_or_default();
            epoch.finish(end + self.pace.frame(), &mut self.commands);
        }
        self.state = State::Probing;
        self.kept.clear();
    }

    pub fn poll_command(&mut self) -> Option<Command> {
        self.commands.pop_front()
    }

    /// Frame rate and keyframe intervals as measured.
    #[must_use]
    pub fn pace(&self) -> &Pace {
        &self.pace
    }

    /// A unit of a track that the epoch has to do without.
    fn track_returned(&self, kind: TrackKind) -> bool {
        match &self.state {
            State::Probing => false,
            State::Running(epoch) => match kind {
                TrackKind::Video => !epoch.has_video() && self.tracks.video.is_some(),
                TrackKind::Audio => !epoch.has_audio() && self.tracks.audio.is_some(),
            },
        }
    }

    /// A hole in the running epoch.
    fn breaks(&self, unit: &TimedUnit) -> bool {
        matches!(&self.state, State::Running(epoch) if epoch.ends_before(unit))
    }

    /// Begins an epoch as soon as the kept units say what it consists of.
    fn try_begin(&mut self) {
        let Some(tracks) = self.probed() else { return };
        let frame_rate_milli = tracks.video.as_ref().map(|_| self.pace.frame_rate_milli());
        let target = Target::of(&tracks, frame_rate_milli, self.settings);
        let units = core::mem::take(&mut self.kept.units);
        let has_video = tracks.video.is_some();
        let Some(mut first) = units.iter().position(|unit| is_entry(unit, has_video)) else { return };
        let newest = units.iter().map(|unit| unit.dts).max().unwrap_or_default();
        let begun = self.commands.len();
        let epoch = loop {
            let zero = units[first].dts;
            self.commands.push_back(Command::Begin(Plan {
                tracks: tracks.clone(),
                frame_rate_milli,
                part_target: target.part,
                lead: newest - zero,
            }));
            let mut epoch = Epoch::new(&tracks, target, zero);
            let Some(hole) = epoch.handle_units(&units, &mut self.commands) else { break epoch };
            // What lies behind the last hole is what can be published.
            self.commands.truncate(begun);
            first = hole;
        };
        self.kept.units = units;
        self.kept.trim(has_video, epoch.waits_from());
        self.renew = false;
        self.changed = [false; 2];
        self.state = State::Running(epoch);
    }

    /// The tracks of the next epoch, when that can be said.
    fn probed(&self) -> Option<Tracks> {
        let seen = |kind| self.kept.units.iter().any(|unit| unit.kind == kind);
        let (video, audio) = (seen(TrackKind::Video), seen(TrackKind::Audio));
        let spans = self.kept.span() >= TRACK_WAIT;
        if !(video && audio || spans) {
            return None;
        }
        if video && !(self.pace.is_known() || spans) {
            return None;
        }
        let tracks = Tracks {
            video: self.tracks.video.clone().filter(|_| video),
            audio: self.tracks.audio.clone().filter(|_| audio),
        };
        let enters = self.kept.units.iter().any(|unit| is_entry(unit, tracks.video.is_some()));
        (enters && (tracks.video.is_some() || tracks.audio.is_some())).then_some(tracks)
    }

    /// The track of the running epoch that has stayed away too long.
    fn lost_track(&self) -> Option<TrackKind> {
        let State::Running(epoch) = &self.state else { return None };
        if !(epoch.has_video() && epoch.has_audio()) {
            return None;
        }
        if let Some(overdue) = epoch.overdue() {
            return Some(overdue);
        }
        let [video, audio] = self.newest;
        let (video, audio) = (video?, audio?);
        if video - audio > TRACK_LOST {
            Some(TrackKind::Audio)
        } else if audio - video > TRACK_LOST {
            Some(TrackKind::Video)
        } else {
            None
        }
    }

    /// Begins again from the last keyframe without the track that was lost.
    fn drop_track(&mut self, lost: TrackKind) {
        let State::Running(epoch) = &mut self.state else { return };
        epoch.finish_short(&mut self.commands);
        self.state = State::Probing;
        self.newest[slot(lost)] = None;
        self.kept.remove(lost, Ticks(i64::MAX));
        self.try_begin();
    }
}

fn slot(kind: TrackKind) -> usize {
    match kind {
        TrackKind::Video => 0,
        TrackKind::Audio => 1,
    }
}

/// May an epoch, or a segment, begin with this unit?
fn is_entry(unit: &TimedUnit, has_video: bool) -> bool {
    match unit.kind {
        TrackKind::Video => unit.keyframe,
        TrackKind::Audio => !has_video,
    }
}

impl Kept {
    fn push(&mut self, unit: TimedUnit) {
        self.bytes += unit.data.len();
        self.units.push_back(unit);
        while self.bytes > KEPT_BYTES_MAX || self.units.len() > KEPT_UNITS_MAX {
            self.pop();
        }
    }

    fn restart_with(&mut self, unit: TimedUnit) {
        let at = unit.dts;
        self.remove(TrackKind::Video, Ticks(i64::MAX));
        self.remove(TrackKind::Audio, at);
        self.push(unit);
    }

    /// Forgets a track's units before `at`.
    fn remove(&mut self, kind: TrackKind, at: Ticks) {
        self.units.retain(|unit| unit.kind != kind || unit.dts >= at);
        self.bytes = self.units.iter().map(|unit| unit.data.len()).sum();
    }

    /// Keeps what an epoch could begin with again: all since the newest keyframe, or since the newest one before
    /// `waiting`, what was not handed on yet; and the audio beside it.
    fn trim(&mut self, has_video: bool, waiting: Option<Ticks>) {
        let handed = |unit: &&TimedUnit| waiting.is_none_or(|waiting| unit.dts <= waiting);
        let entry = self.units.iter().rev().filter(handed).find(|unit| is_entry(unit, has_video));
        if let Some(at) = entry.map(|unit| unit.dts) {
            self.remove(TrackKind::Video, at);
            self.remove(TrackKind::Audio, at - TRACK_LOST);
        }
    }

    fn clear(&mut self) {
        *self = Self::default();
    }

    fn pop(&mut self) {
        if let Some(unit) = self.units.pop_front() {
            self.bytes -= unit.data.len();
        }
    }

    fn span(&self) -> Ticks {
        let times = || self.units.iter().map(|unit| unit.dts);
        match (times().min(), times().max()) {
            (Some(first), Some(last)) => last - first,
            _ => Ticks::ZERO,
        }
    }
}
