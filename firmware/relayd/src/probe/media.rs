//! What was found in a piece of media: tracks of samples on one time axis, whatever the container.
//!
//! Nothing here is taken from the packaging code of Relaybox: these readers are its witnesses.

use std::fmt;

/// A time or a duration in nanoseconds. Fine enough for all containers, and wide enough for 290 years.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Stamp(pub(crate) i64);

impl Stamp {
    pub(crate) const MAX: Self = Self(i64::MAX / 4);

    /// `value` units of `1/timescale` seconds, saturated far outside of what media has.
    pub(crate) fn from_units(value: i128, timescale: u32) -> Self {
        let nanos = value.saturating_mul(1_000_000_000).div_euclid(i128::from(timescale.max(1)));
        let bound = i128::from(Self::MAX.0);
        Self(i64::try_from(nanos.clamp(-bound, bound)).unwrap_or(0))
    }

    pub(crate) fn from_secs(seconds: f64) -> Self {
        Self((seconds * 1e9) as i64)
    }

    pub(crate) fn secs(self) -> f64 {
        self.0 as f64 / 1e9
    }

    pub(crate) fn millis(self) -> f64 {
        self.0 as f64 / 1e6
    }

    pub(crate) fn minus(self, other: Self) -> Self {
        Self(self.0.saturating_sub(other.0))
    }

    pub(crate) fn plus(self, other: Self) -> Self {
        Self(self.0.saturating_add(other.0))
    }

    pub(crate) fn abs(self) -> Self {
        Self(self.0.saturating_abs())
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Kind {
    Video,
    Audio,
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Video => "video",
            Self::Audio => "audio",
        })
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Sample {
    pub(crate) dts: Stamp,
    pub(crate) pts: Stamp,
    pub(crate) duration: Stamp,
    /// By the coded picture itself where the codec is known, else by the container's flag.
    pub(crate) key: bool,
    /// What the container's flag says, if it has one.
    pub(crate) sync_flag: Option<bool>,
}

#[derive(Clone, Debug)]
pub(crate) struct Track {
    pub(crate) kind: Kind,
    /// As the container names it, for instance `avc1` or `aac`.
    pub(crate) codec: String,
    /// In decoding order.
    pub(crate) samples: Vec<Sample>,
}

impl Track {
    /// The earliest presentation time.
    pub(crate) fn start(&self) -> Option<Stamp> {
        self.samples.iter().map(|sample| sample.pts).min()
    }

    /// Where the last presented sample ends.
    pub(crate) fn end(&self) -> Option<Stamp> {
        self.samples.iter().map(|sample| sample.pts.plus(sample.duration)).max()
    }

    pub(crate) fn span(&self) -> Option<Stamp> {
        Some(self.end()?.minus(self.start()?))
    }

    /// The duration that most samples have, roughly: the median.
    pub(crate) fn frame(&self) -> Stamp {
        let mut durations: Vec<Stamp> = self.samples.iter().map(|sample| sample.duration).collect();
        durations.sort_unstable();
        durations.get(durations.len() / 2).copied().unwrap_or_default()
    }
}

#[derive(Clone, Debug, Default)]
pub(crate) struct Media {
    pub(crate) tracks: Vec<Track>,
}

impl Media {
    pub(crate) fn track(&self, kind: Kind) -> Option<&Track> {
        self.tracks.iter().find(|track| track.kind == kind && !track.samples.is_empty())
    }

    /// What a playlist's durations are held against: video if there is some.
    pub(crate) fn leader(&self) -> Option<&Track> {
        self.track(Kind::Video).or_else(|| self.track(Kind::Audio))
    }

    /// The samples of a later piece of the same stream, behind these.
    pub(crate) fn append(&mut self, later: Self) {
        for track in later.tracks {
            match self.tracks.iter_mut().find(|known| known.kind == track.kind && known.codec == track.codec)
            {
                Some(known) => known.samples.extend(track.samples),
                None => self.tracks.push(track),
            }
        }
    }
}
