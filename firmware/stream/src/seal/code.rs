//! The one encoding of sealed items: numbers in network order, no alternatives. docs/relay-protocol.md has the table.

use alloc::string::String;
use alloc::vec::Vec;

use bytes::Bytes;

use super::bytes::{Reader, Writer};
use super::{
    BLOCK_BYTES, BLOCKS_MAX, BlockHash, EpochSeal, INIT_BYTES_MAX, Mark, MarkSeal, PartSeal, Seal, Stamp,
};
use crate::header::{EpochId, EpochRecord, PartHeader};
use crate::playlist::PlaylistName;
use crate::track::{AudioFormat, Codec, Ticks, TrackConfig, Tracks};

/// "Relaybox seal", version 1.
const MAGIC: &[u8; 4] = b"RBs\x01";
const EPOCH: u8 = 1;
const PART: u8 = 2;
const MARK: u8 = 3;
/// For values that may be absent.
const NONE: u32 = 0;

/// The bytes are no sealed item.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SealError {
    #[error("it ends too early")]
    TooShort,
    #[error("it is of a version or a kind that this software does not know")]
    Unknown,
    #[error("{0}")]
    Malformed(&'static str),
    #[error("there are bytes behind its content")]
    Trailing,
}

pub(super) fn encode(seal: &Seal) -> Vec<u8> {
    let mut out = Writer(Vec::with_capacity(512));
    out.bytes(MAGIC);
    match seal {
        Seal::Epoch(epoch) => {
            out.u8(EPOCH);
            stamp(&mut out, &epoch.stamp);
            out.u32(epoch.init_bytes);
            out.bytes(&epoch.init_hash.0);
            record(&mut out, &epoch.record);
        }
        Seal::Part(part) => {
            out.u8(PART);
            stamp(&mut out, &part.stamp);
            header(&mut out, &part.header);
            part.blocks.iter().for_each(|hash| out.bytes(&hash.0));
        }
        Seal::Mark(mark) => {
            out.u8(MARK);
            stamp(&mut out, &mark.stamp);
            out.u8(match mark.mark {
                Mark::Abandoned => 1,
                Mark::Dropped => 2,
                Mark::Ended => 3,
            });
            out.u64(mark.msn);
        }
    }
    out.0
}

fn stamp(out: &mut Writer, stamp: &Stamp) {
    out.u64(stamp.serial);
    out.u64(stamp.playlist.epoch.0);
    out.u32(stamp.playlist.n);
    out.u64(stamp.first_msn);
    out.u32(stamp.target_duration_s.unwrap_or(NONE));
    out.u8(u8::from(stamp.discontinuity));
    out.u64(stamp.discontinuities);
    out.u64(stamp.peak_bps);
    out.u64(stamp.average_bps);
    out.i64(stamp.part_hold_back.0);
    out.u64(stamp.next_msn);
}

fn header(out: &mut Writer, header: &PartHeader) {
    out.u64(header.epoch.0);
    out.u64(header.msn);
    out.u32(header.part);
    out.i64(header.start.0);
    out.i64(header.duration.0);
    out.u8(u8::from(header.independent));
    out.u8(u8::from(header.last));
    out.u32(header.bytes);
}

fn record(out: &mut Writer, record: &EpochRecord) {
    out.u64(record.id.0);
    out.i64(record.part_target.0);
    out.i64(record.zero_unix_ms);
    let (width, height) = record.resolution.unwrap_or((NONE, NONE));
    out.u32(width);
    out.u32(height);
    out.u32(record.frame_rate_milli.unwrap_or(NONE));
    out.text(record.codecs.as_bytes());
    for track in [&record.tracks.video, &record.tracks.audio] {
        out.u8(track.as_ref().map_or(0, |track| code_of(track.codec)));
        let Some(track) = track else { continue };
        out.text(&track.record);
        if let Some(audio) = track.audio {
            out.u32(audio.sample_rate);
            out.u8(audio.channels);
            out.u32(audio.frame_samples);
        }
    }
}

const fn code_of(codec: Codec) -> u8 {
    match codec {
        Codec::H264 => 1,
        Codec::Hevc => 2,
        Codec::Av1 => 3,
        Codec::Aac => 4,
        Codec::Opus => 5,
    }
}

pub(super) fn decode(bytes: &[u8]) -> Result<Seal, SealError> {
    let mut from = Reader(bytes);
    if from.take(MAGIC.len())? != MAGIC {
        return Err(SealError::Unknown);
    }
    let kind = from.u8()?;
    let stamp = read_stamp(&mut from)?;
    let seal = match kind {
        EPOCH => Seal::Epoch(read_epoch(&mut from, stamp)?),
        PART => Seal::Part(read_part(&mut from, stamp)?),
        MARK => Seal::Mark(read_mark(&mut from, stamp)?),
        _ => return Err(SealError::Unknown),
    };
    if from.0.is_empty() { Ok(seal) } else { Err(SealError::Trailing) }
}

fn read_stamp(from: &mut Reader<'_>) -> Result<Stamp, SealError> {
    Ok(Stamp {
        serial: from.u64()?,
        playlist: PlaylistName { epoch: EpochId(from.u64()?), n: from.u32()? },
        first_msn: from.u64()?,
        target_duration_s: Some(from.u32()?).filter(|seconds| *seconds != NONE),
        discontinuity: from.flag()?,
        discontinuities: from.u64()?,
        peak_bps: from.u64()?,
        average_bps: from.u64()?,
        part_hold_back: Ticks(from.i64()?),
        next_msn: from.u64()?,
    })
}

fn read_epoch(from: &mut Reader<'_>, stamp: Stamp) -> Result<EpochSeal, SealError> {
    let init_bytes = from.u32()?;
    if init_bytes == 0 || init_bytes as usize > INIT_BYTES_MAX {
        return Err(SealError::Malformed("an initialization section of no bytes, or of too many"));
    }
    let init_hash = BlockHash(from.hash()?);
    Ok(EpochSeal { stamp, record: read_record(from)?, init_bytes, init_hash })
}

fn read_record(from: &mut Reader<'_>) -> Result<EpochRecord, SealError> {
    let id = EpochId(from.u64()?);
    let part_target = Ticks(from.i64()?);
    let zero_unix_ms = from.i64()?;
    let size = (from.u32()?, from.u32()?);
    let rate = from.u32()?;
    let codecs = core::str::from_utf8(from.text()?).map_err(|_| SealError::Malformed("codecs"))?;
    let tracks = Tracks { video: read_track(from)?, audio: read_track(from)? };
    Ok(EpochRecord {
        id,
        tracks,
        codecs: String::from(codecs),
        resolution: Some(size).filter(|size| *size != (NONE, NONE)),
        frame_rate_milli: Some(rate).filter(|rate| *rate != NONE),
        part_target,
        zero_unix_ms,
    })
}

fn read_track(from: &mut Reader<'_>) -> Result<Option<TrackConfig>, SealError> {
    let codec = match from.u8()? {
        0 => return Ok(None),
        1 => Codec::H264,
        2 => Codec::Hevc,
        3 => Codec::Av1,
        4 => Codec::Aac,
        5 => Codec::Opus,
        _ => return Err(SealError::Unknown),
    };
    let record = Bytes::copy_from_slice(from.text()?);
    let audio = match codec {
        Codec::Aac | Codec::Opus => {
            Some(AudioFormat { sample_rate: from.u32()?, channels: from.u8()?, frame_samples: from.u32()? })
        }
        Codec::H264 | Codec::Hevc | Codec::Av1 => None,
    };
    Ok(Some(TrackConfig { codec, record, audio }))
}

fn read_part(from: &mut Reader<'_>, stamp: Stamp) -> Result<PartSeal, SealError> {
    let header = PartHeader {
        epoch: EpochId(from.u64()?),
        msn: from.u64()?,
        part: from.u32()?,
        start: Ticks(from.i64()?),
        duration: Ticks(from.i64()?),
        independent: from.flag()?,
        last: from.flag()?,
        gap: false,
        bytes: from.u32()?,
    };
    let count = (header.bytes as usize).div_ceil(BLOCK_BYTES);
    if !(1..=BLOCKS_MAX).contains(&count) {
        return Err(SealError::Malformed("a part of no bytes, or of too many"));
    }
    let blocks = (0..count).map(|_| from.hash().map(BlockHash)).collect::<Result<_, _>>()?;
    Ok(PartSeal { stamp, header, blocks })
}

fn read_mark(from: &mut Reader<'_>, stamp: Stamp) -> Result<MarkSeal, SealError> {
    let mark = match from.u8()? {
        1 => Mark::Abandoned,
        2 => Mark::Dropped,
        3 => Mark::Ended,
        _ => return Err(SealError::Unknown),
    };
    Ok(MarkSeal { stamp, mark, msn: from.u64()? })
}
