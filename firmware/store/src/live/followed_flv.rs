//! HTTP-FLV of a stream of another box: made from its parts once they were checked, a part at a time.
//!
//! Media time starts anew with each epoch and FLV's does not: an epoch goes on where the one before ended. Refuses to
//! hold a stream up: a part that can't be read as FLV is left out there.

use bytes::Bytes;
use stream::flv::{file_header, metadata, sequence_header};
use stream::fragment::{Layout, flv_tags};
use stream::{EpochRecord, Tracks};

/// What a frame takes at most: the next epoch begins behind it.
const FRAME_US: i64 = 40_000;

/// What is to be done to the ring, in order.
#[derive(Debug)]
pub(super) enum FlvStep {
    Begin { head: Bytes, inline: Bytes },
    Tags(Vec<(Bytes, bool)>),
    End,
}

#[derive(Debug, Default)]
pub(super) struct FollowedFlv {
    layout: Option<Layout>,
    tracks: Tracks,
    record: Option<EpochRecord>,
    /// Media time at which FLV time is zero, in this epoch; none until its first unit.
    zero_us: Option<i64>,
    /// FLV time behind the newest unit.
    end_us: i64,
    pub(super) steps: Vec<FlvStep>,
}

impl FollowedFlv {
    pub(super) fn handle_epoch(&mut self, record: &EpochRecord, init: &[u8]) {
        self.layout =
            Layout::of(init).inspect_err(|error| tracing::debug!(%error, "no FLV of this epoch")).ok();
        self.tracks = record.tracks.clone();
        self.record = Some(record.clone());
        self.zero_us = None;
    }

    pub(super) fn handle_part(&mut self, bytes: &Bytes) {
        let Some(layout) = &self.layout else { return };
        let units = match layout.units(bytes) {
            Ok(units) => units,
            Err(error) => return tracing::debug!(%error, "a part is left out of FLV"),
        };
        let (Some(first), Some(last)) = (units.first(), units.last()) else { return };
        let end_us = self.end_us;
        let zero_us = *self.zero_us.get_or_insert_with(|| first.dts_us - end_us);
        self.end_us = last.dts_us - zero_us + FRAME_US;
        if let Some(record) = self.record.take() {
            let stamp_ms = u32::try_from(end_us.div_euclid(1000) & 0xffff_ffff).unwrap_or(0);
            let headers = |stamp_ms| {
                let tracks = [&self.tracks.video, &self.tracks.audio];
                tracks
                    .into_iter()
                    .flatten()
                    .map(|track| sequence_header(track, stamp_ms))
                    .collect::<Vec<_>>()
                    .concat()
            };
            let head = [
                file_header(&self.tracks),
                metadata(&self.tracks, record.resolution, record.frame_rate_milli),
                headers(0).into(),
            ];
            self.steps.push(FlvStep::Begin { head: head.concat().into(), inline: headers(stamp_ms).into() });
        }
        self.steps.push(FlvStep::Tags(flv_tags(&units, &self.tracks, zero_us)));
    }
}
