//! MPEG-TS segments of HLS to codec configurations and access units, the same that an RTMP publisher's tags become.
//!
//! ```text
//! segment -> pes (packets of one programme) -> h264: Annex B to length prefixes, avcC -> units in order of decoding
//!                                           -> adts: frames, AudioSpecificConfig
//! ```
//! Taken is what HLS asks of a segment (RFC 8216 3.2): one programme that begins with its tables, whole frames, at most
//! one picture in each packet. Stamps are given in milliseconds as RTMP has them; the timeline smooths them anyway. It
//! fetches nothing and repairs nothing.

use std::fmt;

use stream::{AccessUnit, TrackKind};

use crate::{Event, Refusal};

mod adts;
mod h264;
mod pes;
#[cfg(test)]
mod tests;

use adts::Adts;
use h264::H264;
use pes::{Packet, StreamKind};

/// Stamps have 33 bits and wrap (ISO/IEC 13818-1, 2.4.3.7).
const WRAP_TICKS: i64 = 1 << 33;
/// Segments in a row that may hold nothing that can be used.
const USELESS_IN_A_ROW_MAX: u32 = 5;

/// Something with the time at which it is decoded, on the server's clock: milliseconds that don't wrap.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TimedEvent {
    pub at_ms: i64,
    pub event: Event,
}

/// Demultiplexes the segments of one playlist, one after the other.
#[derive(Default)]
pub struct Segments {
    video: H264,
    audio: Adts,
    /// The newest stamp, unwrapped, of either stream.
    newest: Option<i64>,
    useless_in_a_row: u32,
    skipped: u64,
}

impl fmt::Debug for Segments {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Segments").field("newest", &self.newest).finish_non_exhaustive()
    }
}

impl Segments {
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// What one whole segment brings, in the order of decoding. A refusal means that the stream can't be carried.
    pub fn handle_segment(&mut self, bytes: &[u8]) -> Result<Vec<TimedEvent>, Refusal> {
        let found = pes::read(bytes);
        if let Some(what) = found.unsupported {
            return Err(Refusal::UnsupportedCodec(what.to_owned()));
        }
        let (mut units, mut sounds) = (Vec::new(), Vec::new());
        for packet in &found.packets {
            let used = match packet.kind {
                StreamKind::H264 => self.handle_picture(packet, &mut units),
                StreamKind::Adts => self.handle_sound(packet, &mut sounds)?,
            };
            self.skipped += u64::from(!used);
        }
        for stream in [&mut units, &mut sounds] {
            keep_order(stream);
        }
        units.append(&mut sounds);
        units.sort_by_key(|unit: &TimedEvent| unit.at_ms);
        if units.is_empty() {
            self.useless_in_a_row += 1;
            if self.useless_in_a_row > USELESS_IN_A_ROW_MAX {
                return Err(Refusal::Malformed(format!(
                    "{USELESS_IN_A_ROW_MAX} segments in a row without a picture or a sound"
                )));
            }
        } else {
            self.useless_in_a_row = 0;
        }
        Ok(units)
    }

    /// Packets that were broken or could not be used where they came.
    #[must_use]
    pub const fn skipped(&self) -> u64 {
        self.skipped
    }

    fn handle_picture(&mut self, packet: &Packet, units: &mut Vec<TimedEvent>) -> bool {
        let Some(picture) = self.video.handle_packet(&packet.data) else { return false };
        let dts = self.unwrap(packet.dts);
        let pts = dts + wrapped(packet.pts - packet.dts);
        let at_ms = millis(dts);
        units.extend(picture.config.map(|config| TimedEvent { at_ms, event: Event::Config(config) }));
        let Some(data) = picture.data else { return true };
        let unit = AccessUnit {
            kind: TrackKind::Video,
            stamp_ms: stamp(at_ms),
            composition_ms: i32::try_from(millis(pts) - at_ms).unwrap_or(0),
            keyframe: picture.keyframe,
            data,
        };
        units.push(TimedEvent { at_ms, event: Event::Unit(unit) });
        true
    }

    fn handle_sound(&mut self, packet: &Packet, units: &mut Vec<TimedEvent>) -> Result<bool, Refusal> {
        let Some(frames) = self.audio.handle_packet(&packet.data)? else { return Ok(false) };
        let begin = self.unwrap(packet.pts);
        let config =
            frames.config.map(|config| TimedEvent { at_ms: millis(begin), event: Event::Config(config) });
        units.extend(config);
        for (index, data) in (0..).zip(frames.data) {
            let at_ms = millis(begin + index * frames.frame_ticks);
            let unit = AccessUnit {
                kind: TrackKind::Audio,
                stamp_ms: stamp(at_ms),
                composition_ms: 0,
                keyframe: true,
                data,
            };
            units.push(TimedEvent { at_ms, event: Event::Unit(unit) });
        }
        Ok(true)
    }

    /// The nearest to the newest stamp that this one can mean.
    fn unwrap(&mut self, stamp: i64) -> i64 {
        let unwrapped = self.newest.map_or(stamp, |newest| newest + wrapped(stamp - newest));
        self.newest = Some(unwrapped);
        unwrapped
    }
}

/// Within a stream what came first stays first, whatever its stamps say: a configuration comes before its units.
fn keep_order(stream: &mut [TimedEvent]) {
    let mut newest = i64::MIN;
    for unit in stream {
        newest = newest.max(unit.at_ms);
        unit.at_ms = newest;
    }
}

/// A distance of stamps, from half a turn back to half a turn ahead.
const fn wrapped(distance: i64) -> i64 {
    (distance + WRAP_TICKS / 2).rem_euclid(WRAP_TICKS) - WRAP_TICKS / 2
}

const fn millis(ticks: i64) -> i64 {
    stream::Ticks(ticks).millis()
}

/// As RTMP has it: 32 bits that wrap.
const fn stamp(at_ms: i64) -> u32 {
    at_ms as u32
}
