//! Names and headers of what a viewer fetches: epochs, parts, segments.
//!
//! Object names carry the epoch's random id, so that a name never means two things, not even after a restart.

use alloc::string::String;
use core::fmt;
use core::str::FromStr;

use crate::track::{Ticks, Tracks};

/// The random id of an epoch: one unbroken timeline of a stream. Written as 16 lower-case hexadecimal digits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct EpochId(pub u64);

impl fmt::Display for EpochId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

impl FromStr for EpochId {
    type Err = NameError;
    fn from_str(s: &str) -> Result<Self, NameError> {
        if s.len() != 16 || !s.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f')) {
            return Err(NameError);
        }
        u64::from_str_radix(s, 16).map(Self).map_err(|_| NameError)
    }
}

/// What holds for a whole epoch. Signed together with its parts by the origin.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EpochRecord {
    pub id: EpochId,
    pub tracks: Tracks,
    /// RFC 6381 codec strings for CODECS, video first.
    pub codecs: String,
    /// Width and height in pixels, as the parser measured them; none for audio-only.
    pub resolution: Option<(u32, u32)>,
    /// Frames per 1000 seconds, measured; none for audio-only.
    pub frame_rate_milli: Option<u32>,
    /// Length of a part: whole frames nearest to 200 ms.
    pub part_target: Ticks,
    /// Wall-clock time of media time zero, in milliseconds since the Unix epoch: for PROGRAM-DATE-TIME.
    pub zero_unix_ms: i64,
}

/// One part: an fMP4 fragment with audio and video. The bytes are in the store under [`ObjectName::Part`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PartHeader {
    pub epoch: EpochId,
    /// Media sequence number of the segment the part belongs to; never goes back for a stream.
    pub msn: u64,
    /// Index of the part in its segment, from 0.
    pub part: u32,
    /// Start on the epoch's timeline.
    pub start: Ticks,
    pub duration: Ticks,
    /// Begins with a keyframe (or is audio-only media): may be played without any part before it.
    pub independent: bool,
    /// The last part of its segment.
    pub last: bool,
    /// The media is missing: declared with GAP=YES, has no bytes.
    pub gap: bool,
    pub bytes: u32,
}

/// A part as the cutter closed it, before the window gives it its numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CutPart {
    pub epoch: EpochId,
    /// Start on the epoch's timeline.
    pub start: Ticks,
    pub duration: Ticks,
    /// Begins with a keyframe (or is audio-only media).
    pub independent: bool,
    /// The first part of a segment.
    pub opens_segment: bool,
    /// The last part of its segment.
    pub last: bool,
}

/// The immutable objects of a stream, as named in URIs relative to `/live/NAME/`.
///
/// ```text
/// <epoch>/init.mp4       initialization section
/// <epoch>/<msn>.m4s      segment: the concatenation of its parts
/// <epoch>/<msn>.<part>.m4s
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ObjectName {
    Init(EpochId),
    Segment(EpochId, u64),
    Part(EpochId, u64, u32),
}

/// The text is not an object's name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not the name of a media object")]
pub struct NameError;

impl fmt::Display for ObjectName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Init(epoch) => write!(f, "{epoch}/init.mp4"),
            Self::Segment(epoch, msn) => write!(f, "{epoch}/{msn}.m4s"),
            Self::Part(epoch, msn, part) => write!(f, "{epoch}/{msn}.{part}.m4s"),
        }
    }
}

impl FromStr for ObjectName {
    type Err = NameError;
    fn from_str(s: &str) -> Result<Self, NameError> {
        let (epoch, file) = s.split_once('/').ok_or(NameError)?;
        let epoch = epoch.parse()?;
        if file == "init.mp4" {
            return Ok(Self::Init(epoch));
        }
        let stem = file.strip_suffix(".m4s").ok_or(NameError)?;
        match stem.split_once('.') {
            None => Ok(Self::Segment(epoch, number(stem)?)),
            Some((msn, part)) => {
                let part = u32::try_from(number(part)?).map_err(|_| NameError)?;
                Ok(Self::Part(epoch, number(msn)?, part))
            }
        }
    }
}

/// A decimal number in its one canonical spelling: no sign, no leading zero.
fn number(s: &str) -> Result<u64, NameError> {
    let canonical = s == "0" || !s.starts_with('0');
    if !canonical || !s.bytes().all(|b| b.is_ascii_digit()) {
        return Err(NameError);
    }
    s.parse().map_err(|_| NameError)
}

#[cfg(test)]
mod tests {
    use alloc::string::ToString;

    use super::*;

    #[test]
    fn names_read_back_as_written() {
        let epoch = EpochId(0x0123_4567_89ab_cdef);
        for name in [
            ObjectName::Init(epoch),
            ObjectName::Segment(epoch, 0),
            ObjectName::Part(epoch, u64::MAX, u32::MAX),
        ] {
            assert_eq!(name.to_string().parse(), Ok(name));
        }
    }

    #[test]
    fn only_the_canonical_spelling_is_a_name() {
        for bad in [
            "",
            "0123456789abcdef",
            "0123456789abcdef/",
            "0123456789ABCDEF/1.m4s",
            "123/1.m4s",
            "0123456789abcdef/01.m4s",
            "0123456789abcdef/+1.m4s",
            "0123456789abcdef/1.2.3.m4s",
            "0123456789abcdef/1.4294967296.m4s",
            "0123456789abcdef/../1.m4s",
        ] {
            assert_eq!(bad.parse::<ObjectName>(), Err(NameError), "{bad}");
        }
    }
}
