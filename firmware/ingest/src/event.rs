//! What a publication brings, in the order of arrival.

use stream::{AccessUnit, TrackConfig};

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// A track's codec configuration: before the track's first unit, and again whenever it changes.
    Config(TrackConfig),
    Unit(AccessUnit),
    /// `onMetaData`: what the encoder says about itself. Never trusted for anything but display.
    Metadata(Metadata),
}

/// The fields of `onMetaData` that the streamer's page shows. All as declared, none measured.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Metadata {
    /// Name and version of the encoder, at most 128 characters, without control characters.
    pub encoder: Option<String>,
    pub width: Option<u32>,
    pub height: Option<u32>,
    /// Frames per 1000 seconds.
    pub frame_rate_milli: Option<u32>,
    pub video_bitrate_bps: Option<u64>,
    pub audio_bitrate_bps: Option<u64>,
}
