//! The publication as FLV: each unit becomes a tag as soon as it has its place on the timeline.
//!
//! FLV begins with the first epoch, because only then it is known which tracks there are; what came before is kept
//! and sent along. A changed configuration is sent in front of the next unit that is coded for it; readers that are
//! connected are sent away if it is another codec, since no player changes its decoder within an FLV stream.
//!
//! Stamps go on where the publication before left them, so that readers stay over a reconnect.

use std::time::Instant;

use bytes::Bytes;
use store::Live;
use stream::cutter::Plan;
use stream::flv::{FlvUnit, file_header, media_tag, metadata, sequence_header};
use stream::timeline::TimedUnit;
use stream::{AccessUnit, Codec, Ticks, TrackConfig, TrackKind, Tracks};

/// Units kept before the first epoch: its wait is one second.
const EARLY_MAX: usize = 1024;

#[derive(Debug, Default)]
pub(super) struct Tags {
    tracks: Tracks,
    frame_rate_milli: Option<u32>,
    /// Time of the first stamp; none before FLV begins.
    zero: Option<Ticks>,
    first_ms: u32,
    newest_ms: u32,
    /// What readers that are connected decode.
    told: Tracks,
    early: Vec<TimedUnit>,
    /// The configuration was not sent yet.
    pending: bool,
    out: Vec<Out>,
}

/// Where a publication left the FLV stream, for the one that comes next.
#[derive(Debug)]
pub(crate) struct Left {
    stamp_ms: u32,
    at: Instant,
    tracks: Tracks,
}

#[derive(Debug)]
enum Out {
    Head { head: Bytes, inline: Bytes, dismiss: bool },
    Tag(Bytes, bool),
}

impl Tags {
    pub(super) fn resume(&mut self, left: Left, now: Instant) {
        let away = now.saturating_duration_since(left.at).as_millis().max(1);
        self.first_ms = left.stamp_ms.wrapping_add(away as u32);
        self.newest_ms = self.first_ms;
        self.told = left.tracks;
    }

    /// None if FLV never began.
    pub(super) fn leave(&mut self, now: Instant) -> Option<Left> {
        let tracks = std::mem::take(&mut self.told);
        (tracks != Tracks::default()).then_some(Left { stamp_ms: self.newest_ms, at: now, tracks })
    }

    pub(super) fn handle_config(&mut self, config: &TrackConfig) {
        let slot = match config.codec.kind() {
            TrackKind::Video => &mut self.tracks.video,
            TrackKind::Audio => &mut self.tracks.audio,
        };
        self.pending |= slot.as_ref() != Some(config);
        *slot = Some(config.clone());
    }

    /// Samples in a unit that says so itself: an Opus packet.
    pub(super) fn frame_samples(&self, unit: &AccessUnit) -> Option<u32> {
        let codec = self.tracks.audio.as_ref()?.codec;
        (unit.kind == TrackKind::Audio && codec == Codec::Opus)
            .then(|| stream::opus::packet_samples(&unit.data))?
    }

    /// An epoch begins: FLV does too, if it has not.
    pub(super) fn begin(&mut self, plan: &Plan) {
        if self.zero.is_some() {
            return;
        }
        self.frame_rate_milli = plan.frame_rate_milli;
        let early = std::mem::take(&mut self.early);
        self.zero = early.iter().map(|unit| unit.dts).min();
        self.pending = true;
        early.iter().for_each(|unit| self.tag(unit));
    }

    pub(super) fn handle_unit(&mut self, unit: &TimedUnit) {
        if self.zero.is_some() {
            self.tag(unit);
            return;
        }
        if self.early.len() == EARLY_MAX {
            self.early.remove(0);
        }
        self.early.push(unit.clone());
    }

    /// Hands on what came since the last time, with one wake-up.
    pub(super) fn flush(&mut self, live: &Live) {
        let mut tags = Vec::new();
        for out in self.out.drain(..) {
            match out {
                Out::Tag(tag, start) => tags.push((tag, start)),
                Out::Head { head, inline, dismiss } => {
                    live.push_flv_batch(std::mem::take(&mut tags));
                    if dismiss {
                        live.dismiss_flv();
                    }
                    live.begin_flv(head, inline);
                }
            }
        }
        if !tags.is_empty() {
            live.push_flv_batch(tags);
        }
    }

    fn tag(&mut self, unit: &TimedUnit) {
        let stamp_ms = self.stamp(unit.dts);
        self.newest_ms = stamp_ms;
        let entry = match unit.kind {
            TrackKind::Video => unit.keyframe,
            TrackKind::Audio => self.tracks.video.is_none(),
        };
        if entry && self.pending {
            self.pending = false;
            let dismiss = other_codec(&self.told, &self.tracks);
            self.told = self.tracks.clone();
            let inline = self.headers(stamp_ms);
            let head = [
                file_header(&self.tracks),
                metadata(&self.tracks, None, self.frame_rate_milli),
                self.headers(0),
            ];
            self.out.push(Out::Head { head: head.concat().into(), inline, dismiss });
        }
        let config = match unit.kind {
            TrackKind::Video => &self.tracks.video,
            TrackKind::Audio => &self.tracks.audio,
        };
        let Some(config) = config else { return };
        let composition_ms = i32::try_from((unit.pts - unit.dts).millis()).unwrap_or(0);
        let flv = FlvUnit { stamp_ms, composition_ms, keyframe: unit.keyframe, data: &unit.data };
        self.out.push(Out::Tag(media_tag(config.codec, &flv), entry));
    }

    fn headers(&self, stamp_ms: u32) -> Bytes {
        let tracks = [&self.tracks.video, &self.tracks.audio];
        let headers: Vec<Bytes> =
            tracks.into_iter().flatten().map(|config| sequence_header(config, stamp_ms)).collect();
        headers.concat().into()
    }

    /// Wraps after 49.7 days, as FLV's stamps do.
    fn stamp(&self, dts: Ticks) -> u32 {
        let since = dts - self.zero.unwrap_or(dts);
        self.first_ms.wrapping_add(since.millis().max(0) as u32)
    }
}

/// A track that was there is coded otherwise. One that comes or goes is no reason: players take it up or miss it.
fn other_codec(told: &Tracks, tracks: &Tracks) -> bool {
    let differs = |told: &Option<TrackConfig>, config: &Option<TrackConfig>| {
        told.as_ref().zip(config.as_ref()).is_some_and(|(told, config)| told.codec != config.codec)
    };
    differs(&told.video, &tracks.video) || differs(&told.audio, &tracks.audio)
}
