//! The window: what of a live stream can be watched, as headers; and the decisions which playlists rest on.
//!
//! It takes epochs and parts in order, and gives their numbers, playlists, and the names of what may be dropped. It
//! holds no media bytes and no clock: how long an object stays available after it left is the shell's business.
//!
//! ```text
//! edge:  Quiet --first part--> Open --last part--> Between --first part--> Open
//!        Open --abandoned, refused for its size--> Quiet
//!        Open --longer than the ceiling--> Overlong --last part--> Quiet
//! ```

use alloc::collections::{BTreeMap, VecDeque};
use alloc::string::String;

use crate::header::{CutPart, EpochId, EpochRecord, ObjectName, PartHeader};
use crate::playlist::{Answer, NotReady, PlaylistName, Reload, Verdict};
use crate::track::Ticks;

mod admit;
mod answer;
mod follow;
pub(crate) mod generation;
mod lifecycle;
mod restore;
pub(crate) mod segment;
mod shed;
mod trim;

#[cfg(test)]
mod tests;

pub use admit::WindowError;
use generation::Generation;
pub use restore::Memo;
use segment::{Segment, SegmentState};

/// Segments in a window; the oldest leaves when there would be more.
pub const SEGMENTS_MAX: usize = 2048;
/// Parts in a window; the oldest segment leaves when there would be more.
pub const PARTS_MAX: usize = 16_384;
/// Parts in one segment; one more is refused, and the segment is closed as it is.
pub const SEGMENT_PARTS_MAX: usize = 4096;
/// Playlist generations that still answer; the oldest is forgotten when there would be more.
pub const GENERATIONS_MAX: usize = 8;
/// Names waiting for [`Window::poll_evicted`]; parts are refused while there are more.
pub const EVICTED_MAX: usize = 4 * PARTS_MAX;

/// How much of a stream is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WindowLimits {
    /// Closed segments are kept at least this long, and at least three target durations (RFC 8216bis 6.2.2).
    pub duration: Ticks,
    /// A bound that nothing exceeds, not even the three target durations.
    pub bytes: u64,
    /// The ceiling of TARGETDURATION in seconds, 1 to 3600. A longer group of pictures can't be served as HLS.
    pub target_duration_s_max: u32,
    /// PART-HOLD-BACK, if more than the three part targets that it is at least.
    pub part_hold_back: Ticks,
}

impl Default for WindowLimits {
    fn default() -> Self {
        Self {
            duration: Ticks::from_secs(60),
            bytes: 64 << 20,
            target_duration_s_max: 20,
            part_hold_back: Ticks::ZERO,
        }
    }
}

/// Why viewers get less than they should; to be shown to a person.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Trouble {
    /// A group of pictures lasts longer than the ceiling; HLS is held until a whole one fits.
    GroupTooLong,
    /// A segment alone exceeds the byte limit; it was cut off.
    SegmentTooLarge,
    /// The byte limit leaves less than three target durations in the window (RFC 8216bis 6.2.2).
    WindowTooShort,
}

/// Whether an object can be had, as far as the window knows. Evicted objects are unknown to it, though the shell
/// keeps their bytes for a grace.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ObjectState {
    Ready,
    /// Growing, or hinted and not begun: its bytes may still come.
    Pending,
    /// Will never have bytes: a gap, or a part past the end of its segment. 404 at once.
    Never,
    Unknown,
}

/// Where the next part goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Edge {
    /// No segment is open, and nobody says that one will be.
    Quiet,
    /// The last segment is whole, so that the next part opens a segment.
    Between,
    /// The newest segment of the window takes it.
    Open,
    /// The newest segment lasts longer than the ceiling: its parts are dropped.
    Overlong { msn: u64, parts: u32 },
}

/// See the module's documentation.
#[derive(Debug)]
pub struct Window {
    limits: WindowLimits,
    next_msn: u64,
    version: u64,
    epochs: BTreeMap<EpochId, EpochRecord>,
    /// The epoch that parts come for; none before the first and after an end.
    epoch: Option<EpochId>,
    /// Where the epoch's last part ended.
    cursor: Option<Ticks>,
    /// Generations that began in the current epoch.
    generations_begun: u32,
    edge: Edge,
    segments: VecDeque<Segment>,
    /// The last is the current one; older ones are closed.
    generations: VecDeque<Generation>,
    /// Discontinuities so far.
    discontinuities: u64,
    parts: usize,
    bytes: u64,
    evicted: VecDeque<ObjectName>,
    /// A segment was cut off for its size, and no whole one came since.
    cut_off: bool,
    /// The last eviction broke the rule of three target durations.
    forced: bool,
}

impl Window {
    /// An empty window whose first segment gets the media sequence number `next_msn`.
    #[must_use]
    pub fn new(limits: WindowLimits, next_msn: u64) -> Self {
        let target_duration_s_max = limits.target_duration_s_max.clamp(1, 3600);
        Self {
            limits: WindowLimits { target_duration_s_max, ..limits },
            next_msn,
            version: 0,
            epochs: BTreeMap::new(),
            epoch: None,
            cursor: None,
            generations_begun: 0,
            edge: Edge::Quiet,
            segments: VecDeque::new(),
            generations: VecDeque::new(),
            discontinuities: 0,
            parts: 0,
            bytes: 0,
            evicted: VecDeque::new(),
            cut_off: false,
            forced: false,
        }
    }

    /// Begins an epoch. The segment that is open is closed as it is.
    ///
    /// Within the same playlist it shows as a discontinuity with a new EXT-X-MAP; another part target or other kinds
    /// of codecs begin a new playlist generation, as does an end before.
    pub fn begin_epoch(&mut self, record: EpochRecord) -> Result<(), WindowError> {
        admit::check_record(&record)?;
        if self.epochs.contains_key(&record.id) {
            return Err(WindowError::KnownEpoch);
        }
        self.start_epoch(record);
        Ok(())
    }

    /// The header that a freshly cut part of `bytes` has. Changes nothing: [`Self::push_part`] takes it in.
    #[must_use]
    pub fn number(&self, cut: &CutPart, bytes: u32) -> PartHeader {
        let (msn, part) = if cut.opens_segment { (self.next_msn, 0) } else { self.next_number() };
        PartHeader {
            epoch: cut.epoch,
            msn,
            part,
            start: cut.start,
            duration: cut.duration,
            independent: cut.independent,
            last: cut.last,
            gap: false,
            bytes,
        }
    }

    /// Takes the next part's header, which may come from anywhere: what breaks a rule is refused, and changes nothing
    /// but for [`WindowError::SegmentFull`] and [`WindowError::OverBudget`], which close the open segment as it is.
    pub fn push_part(&mut self, header: PartHeader) -> Result<(), WindowError> {
        self.admit(&header)?;
        self.append(header);
        Ok(())
    }

    /// No more parts will come for the open segment: closes it as it is.
    pub fn abandon_segment(&mut self) {
        if self.edge != Edge::Quiet {
            self.close(SegmentState::Truncated);
            self.version += 1;
        }
    }

    /// Nothing more comes: the current playlist gets its ENDLIST, and a later epoch a new playlist.
    pub fn end(&mut self) {
        self.finish();
    }

    /// The next object that left the window, to be dropped by the shell after the grace that RFC 8216bis 6.2.2 asks
    /// for: its own duration and that of the longest playlist which listed it. Drain this after each change.
    pub fn poll_evicted(&mut self) -> Option<ObjectName> {
        self.evicted.pop_front()
    }

    /// Grows with each change of what could be answered.
    #[must_use]
    pub fn version(&self) -> u64 {
        self.version
    }

    /// The media sequence number of the next segment; never goes back.
    #[must_use]
    pub fn next_msn(&self) -> u64 {
        self.next_msn
    }

    /// The current media playlist, also while it is held.
    #[must_use]
    pub fn current(&self) -> Option<PlaylistName> {
        self.generations.back().map(|generation| generation.name)
    }

    /// TARGETDURATION of the current playlist in seconds, once it is known.
    #[must_use]
    pub fn target_duration(&self) -> Option<u32> {
        self.generations.back().and_then(Generation::target_duration)
    }

    /// What the window's byte limit counts.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    #[must_use]
    pub fn trouble(&self) -> Option<Trouble> {
        self.current_trouble()
    }

    /// The multivariant playlist: the same bytes for all viewers.
    pub fn multivariant(&self) -> Result<String, NotReady> {
        self.render_multivariant()
    }

    /// What a request for a media playlist gets, without making the text.
    #[must_use]
    pub fn verdict(&self, name: PlaylistName, reload: &Reload) -> Verdict {
        self.judge(name, reload)
    }

    /// The text of a media playlist that can be answered, the same bytes for one version; none if it can't.
    #[must_use]
    pub fn render(&self, name: PlaylistName, delta: bool) -> Option<String> {
        self.render_media(name, delta)
    }

    /// [`Self::verdict`] and [`Self::render`] in one.
    #[must_use]
    pub fn media(&self, name: PlaylistName, reload: &Reload) -> Answer {
        match self.verdict(name, reload) {
            Verdict::Ready { delta } => self.render(name, delta).map_or(Answer::NotFound, Answer::Ready),
            Verdict::Wait => Answer::Wait,
            Verdict::BadRequest(why) => Answer::BadRequest(why),
            Verdict::NotFound => Answer::NotFound,
            Verdict::Held => Answer::Held,
        }
    }

    /// Whether a media object can be had.
    #[must_use]
    pub fn object(&self, name: ObjectName) -> ObjectState {
        self.state_of(name)
    }
}
