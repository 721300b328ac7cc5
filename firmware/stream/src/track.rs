//! What a publisher sends, before any decision: tracks, their configuration, and access units with raw stamps.
//!
//! Also the two units of time of this crate: [`Ticks`] is media time, [`Millis`] is the shell's monotonic clock.
//! There is no conversion between them, because they are different clocks.

use core::fmt;
use core::ops::{Add, AddAssign, Neg, Sub};

use bytes::Bytes;

/// Media time in ticks of 1/90000 s, signed, without wrap for the life of an epoch.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Ticks(pub i64);

impl Ticks {
    /// Ticks per second.
    pub const RATE: i64 = 90_000;
    pub const ZERO: Self = Self(0);

    /// Exact for every whole millisecond.
    #[must_use]
    pub const fn from_millis(ms: i64) -> Self {
        Self(ms * 90)
    }

    #[must_use]
    pub const fn from_secs(s: i64) -> Self {
        Self(s * Self::RATE)
    }

    /// The nearest tick to `samples` at `rate` Hz.
    #[must_use]
    pub const fn from_samples(samples: i64, rate: u32) -> Self {
        let rate = rate as i64;
        Self((samples * Self::RATE + rate / 2).div_euclid(rate))
    }

    /// The nearest sample at `rate` Hz.
    #[must_use]
    pub const fn to_samples(self, rate: u32) -> i64 {
        (self.0 * rate as i64 + Self::RATE / 2).div_euclid(Self::RATE)
    }

    /// Whole milliseconds, rounded to the nearest.
    #[must_use]
    pub const fn millis(self) -> i64 {
        (self.0 + 45).div_euclid(90)
    }

    /// Seconds, for display and for ratios only: never computed with.
    #[must_use]
    pub fn as_secs_f64(self) -> f64 {
        self.0 as f64 / Self::RATE as f64
    }

    #[must_use]
    pub const fn abs(self) -> Self {
        Self(self.0.abs())
    }
}

impl Add for Ticks {
    type Output = Self;
    fn add(self, other: Self) -> Self {
        Self(self.0 + other.0)
    }
}

impl AddAssign for Ticks {
    fn add_assign(&mut self, other: Self) {
        self.0 += other.0;
    }
}

impl Sub for Ticks {
    type Output = Self;
    fn sub(self, other: Self) -> Self {
        Self(self.0 - other.0)
    }
}

impl Neg for Ticks {
    type Output = Self;
    fn neg(self) -> Self {
        Self(-self.0)
    }
}

/// The shell's monotonic clock in milliseconds since an arbitrary start: what a core takes as `now`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Millis(pub u64);

impl Millis {
    /// Milliseconds from `earlier` to `self`, zero if `earlier` is later.
    #[must_use]
    pub const fn since(self, earlier: Self) -> u64 {
        self.0.saturating_sub(earlier.0)
    }

    #[must_use]
    pub const fn plus(self, ms: u64) -> Self {
        Self(self.0 + ms)
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum TrackKind {
    Video,
    Audio,
}

impl fmt::Display for TrackKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Video => "video",
            Self::Audio => "audio",
        })
    }
}

/// What Relaybox carries; nothing is ever transcoded.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Codec {
    H264,
    Hevc,
    Av1,
    Aac,
    Opus,
}

impl Codec {
    #[must_use]
    pub const fn kind(self) -> TrackKind {
        match self {
            Self::H264 | Self::Hevc | Self::Av1 => TrackKind::Video,
            Self::Aac | Self::Opus => TrackKind::Audio,
        }
    }
}

impl fmt::Display for Codec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::H264 => "H.264",
            Self::Hevc => "HEVC",
            Self::Av1 => "AV1",
            Self::Aac => "AAC",
            Self::Opus => "Opus",
        })
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AudioFormat {
    /// Samples per second as the container counts them (HE-AAC: the core rate; Opus: 48000).
    pub sample_rate: u32,
    pub channels: u8,
    /// Samples in one access unit: AAC 1024 or 960; Opus: of the first packet, later ones may differ.
    pub frame_samples: u32,
}

/// A track's codec configuration, as its sequence header carried it.
///
/// `record` is the codec's configuration record: AVCDecoderConfigurationRecord, HEVCDecoderConfigurationRecord
/// (ISO/IEC 14496-15), AV1CodecConfigurationRecord (AV1-ISOBMFF 2.3), AudioSpecificConfig (ISO/IEC 14496-3),
/// or an Ogg `OpusHead` (RFC 7845 5.1).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TrackConfig {
    pub codec: Codec,
    pub record: Bytes,
    /// Present exactly for audio codecs.
    pub audio: Option<AudioFormat>,
}

/// The tracks of one epoch: at least one of the two is present.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tracks {
    pub video: Option<TrackConfig>,
    pub audio: Option<TrackConfig>,
}

/// One access unit as the publisher stamped it: nothing repaired yet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AccessUnit {
    pub kind: TrackKind,
    /// RTMP timestamp in milliseconds: 32 bits that wrap, the decoding time (RTMP 1.0, 5.3.1.1).
    pub stamp_ms: u32,
    /// FLV composition time in milliseconds, signed 24 bits (negative values are met in practice).
    pub composition_ms: i32,
    /// Video: a random access point (IDR, or HEVC/AV1 equivalent). Audio: always true.
    pub keyframe: bool,
    /// Video: length-prefixed NAL units or AV1 OBUs; audio: one raw frame.
    pub data: Bytes,
}
