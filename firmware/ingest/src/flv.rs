//! FLV tag bodies to codec configurations and access units, by Adobe's FLV 10.1 and Enhanced RTMP v2.
//!
//! Whether a video unit is a keyframe is read from the coded picture itself, not from FLV's frame type: encoders
//! flag pictures that one can't start at (an I frame that is no IDR, an intra refresh), and a segment that began
//! there would show garbage to whoever joins. The modules `nal` and `av1` say what counts.
//!
//! Bodies that are empty, cut off or come before their codec's configuration are counted and skipped, up to a
//! bound in a row; then, and for every codec that isn't carried, the publisher is refused. Timestamps are passed
//! on as they came.

use std::fmt;

use bytes::Bytes;
use stream::{AccessUnit, TrackConfig, TrackKind};

use crate::{Event, Refusal};

pub(crate) mod aac;
mod audio;
mod av1;
pub(crate) mod bits;
mod enhanced;
mod nal;
mod opus;
#[cfg(test)]
mod tests;
mod video;

/// Bodies that may be skipped without a good one in between. Five seconds of 50 frames and as many audio frames.
const SKIPPED_IN_A_ROW_MAX: u32 = 500;

/// The body of one FLV audio or video tag, as an RTMP message carries it.
#[derive(Clone, PartialEq, Eq)]
pub struct Tag {
    pub kind: TrackKind,
    pub stamp_ms: u32,
    pub body: Bytes,
}

impl fmt::Debug for Tag {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Tag({} at {} ms, {} bytes)", self.kind, self.stamp_ms, self.body.len())
    }
}

/// Why a body gives no event.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Unusable {
    /// Well formed, but nothing that is carried: end of sequence, metadata, another track.
    Ignored,
    /// Broken, or without the configuration it needs. The text completes "the last one: ...".
    Broken(&'static str),
    Refused(Refusal),
}

impl Unusable {
    fn codec(text: impl Into<String>) -> Self {
        Self::Refused(Refusal::UnsupportedCodec(text.into()))
    }

    fn malformed(text: impl Into<String>) -> Self {
        Self::Refused(Refusal::Malformed(text.into()))
    }
}

/// What a body holds, once its header is read.
#[derive(Debug, PartialEq, Eq)]
enum Content {
    Config(TrackConfig),
    Coded { composition_ms: i32, data: Bytes },
}

/// Demultiplexes one publication.
#[derive(Debug, Default)]
pub struct Demux {
    video: video::Video,
    audio: audio::Audio,
    skipped: u64,
    skipped_in_a_row: u32,
}

impl Demux {
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Appends what the tag brings to `events`: mostly one unit, sometimes nothing, sometimes a configuration
    /// before the unit.
    pub fn handle_tag(&mut self, tag: &Tag, events: &mut Vec<Event>) -> Result<(), Refusal> {
        let result = match tag.kind {
            TrackKind::Video => self.video.handle_body(tag, events),
            TrackKind::Audio => self.audio.handle_body(tag, events),
        };
        match result {
            Ok(()) => self.skipped_in_a_row = 0,
            Err(Unusable::Ignored) => {}
            Err(Unusable::Broken(why)) => self.skip(tag.kind, why)?,
            Err(Unusable::Refused(refusal)) => return Err(refusal),
        }
        Ok(())
    }

    /// Bodies that were broken or could not be used where they came.
    #[must_use]
    pub const fn skipped(&self) -> u64 {
        self.skipped
    }

    fn skip(&mut self, kind: TrackKind, why: &str) -> Result<(), Refusal> {
        self.skipped += 1;
        self.skipped_in_a_row += 1;
        if self.skipped_in_a_row <= SKIPPED_IN_A_ROW_MAX {
            return Ok(());
        }
        Err(Refusal::Malformed(format!(
            "{SKIPPED_IN_A_ROW_MAX} unusable frames in a row, the last one: {kind} {why}"
        )))
    }
}

/// A unit event.
fn unit(tag: &Tag, composition_ms: i32, keyframe: bool, data: Bytes) -> Event {
    Event::Unit(AccessUnit { kind: tag.kind, stamp_ms: tag.stamp_ms, composition_ms, keyframe, data })
}

/// A signed 24-bit number, big-endian (FLV 10.1, E.4.3.1: CompositionTime is SI24).
fn si24([a, b, c]: [u8; 3]) -> i32 {
    i32::from_be_bytes([a, b, c, 0]) >> 8
}

/// The first `N` bytes and the rest; none if there are not that many.
fn split<const N: usize>(mut bytes: Bytes) -> Option<([u8; N], Bytes)> {
    let head = *bytes.first_chunk()?;
    let rest = bytes.split_off(N);
    Some((head, rest))
}
