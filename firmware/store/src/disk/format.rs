//! How headers, epoch records and memos are written, each with a checksum: postcard behind four bytes of what it is.
//!
//! A part's file is its bytes, then a trailer of fixed length, so that the bytes can be served from the file's start.
//! It refuses everything that does not check out; then the file counts as not there.

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use stream::playlist::PlaylistName;
use stream::window::Memo;
use stream::{AudioFormat, Codec, EpochId, EpochRecord, PartHeader, Ticks, TrackConfig, Tracks};

const TRAILER_MAGIC: [u8; 4] = *b"RBp1";
const RECORD_MAGIC: [u8; 4] = *b"RBe1";
const MEMO_MAGIC: [u8; 4] = *b"RBm1";

/// start, duration, flags, magic, checksum.
pub(crate) const TRAILER_BYTES: usize = 8 + 8 + 1 + 4 + 4;
const INDEPENDENT: u8 = 1;
const LAST: u8 = 2;

pub(crate) fn trailer(header: &PartHeader, content: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(TRAILER_BYTES);
    out.extend_from_slice(&header.start.0.to_le_bytes());
    out.extend_from_slice(&header.duration.0.to_le_bytes());
    out.push(u8::from(header.independent) * INDEPENDENT + u8::from(header.last) * LAST);
    out.extend_from_slice(&TRAILER_MAGIC);
    let sum = checksum(&[content, &out]);
    out.extend_from_slice(&sum);
    out
}

/// The header of the part that a whole file holds, for the numbers that its name says.
pub(crate) fn part(file: &[u8], epoch: EpochId, msn: u64, part: u32) -> Option<PartHeader> {
    let (content, trailer) = file.split_at_checked(file.len().checked_sub(TRAILER_BYTES)?)?;
    let (fields, sum) = trailer.split_at(TRAILER_BYTES - 4);
    if content.is_empty() || fields[17..] != TRAILER_MAGIC || *sum != checksum(&[content, fields]) {
        return None;
    }
    let ticks = |at: usize| fields[at..at + 8].try_into().map(i64::from_le_bytes).map(Ticks).ok();
    Some(PartHeader {
        epoch,
        msn,
        part,
        start: ticks(0)?,
        duration: ticks(8)?,
        independent: fields[16] & INDEPENDENT != 0,
        last: fields[16] & LAST != 0,
        gap: false,
        bytes: u32::try_from(content.len()).ok()?,
    })
}

#[derive(Serialize, Deserialize)]
struct RecordFile {
    id: u64,
    video: Option<TrackFile>,
    audio: Option<TrackFile>,
    codecs: String,
    resolution: Option<(u32, u32)>,
    frame_rate_milli: Option<u32>,
    part_target: i64,
    zero_unix_ms: i64,
}

#[derive(Serialize, Deserialize)]
struct TrackFile {
    codec: CodecFile,
    record: Vec<u8>,
    /// Sample rate, channels, samples of a frame.
    audio: Option<(u32, u8, u32)>,
}

#[derive(Clone, Copy, Serialize, Deserialize)]
enum CodecFile {
    H264,
    Hevc,
    Av1,
    Aac,
    Opus,
}

impl From<&TrackConfig> for TrackFile {
    fn from(track: &TrackConfig) -> Self {
        let codec = match track.codec {
            Codec::H264 => CodecFile::H264,
            Codec::Hevc => CodecFile::Hevc,
            Codec::Av1 => CodecFile::Av1,
            Codec::Aac => CodecFile::Aac,
            Codec::Opus => CodecFile::Opus,
        };
        let audio = track.audio.map(|audio| (audio.sample_rate, audio.channels, audio.frame_samples));
        Self { codec, record: track.record.to_vec(), audio }
    }
}

impl From<TrackFile> for TrackConfig {
    fn from(track: TrackFile) -> Self {
        let codec = match track.codec {
            CodecFile::H264 => Codec::H264,
            CodecFile::Hevc => Codec::Hevc,
            CodecFile::Av1 => Codec::Av1,
            CodecFile::Aac => Codec::Aac,
            CodecFile::Opus => Codec::Opus,
        };
        let audio = track.audio.map(|(sample_rate, channels, frame_samples)| AudioFormat {
            sample_rate,
            channels,
            frame_samples,
        });
        Self { codec, record: Bytes::from(track.record), audio }
    }
}

/// What follows the initialization section in its file: the record, its length, and a checksum of all.
pub(crate) fn record(record: &EpochRecord, init: &[u8]) -> Vec<u8> {
    let mut out = seal(
        RECORD_MAGIC,
        &RecordFile {
            id: record.id.0,
            video: record.tracks.video.as_ref().map(TrackFile::from),
            audio: record.tracks.audio.as_ref().map(TrackFile::from),
            codecs: record.codecs.clone(),
            resolution: record.resolution,
            frame_rate_milli: record.frame_rate_milli,
            part_target: record.part_target.0,
            zero_unix_ms: record.zero_unix_ms,
        },
    );
    // A record is far below 4 GiB.
    out.extend_from_slice(&(out.len() as u32).to_le_bytes());
    let sum = checksum(&[init, &out]);
    out.extend_from_slice(&sum);
    out
}

/// The record, and the length of the initialization section before it.
pub(crate) fn read_record(file: &[u8]) -> Option<(EpochRecord, u64)> {
    let (content, sum) = file.split_at_checked(file.len().checked_sub(4)?)?;
    if *sum != checksum(&[content]) {
        return None;
    }
    let (content, len) = content.split_last_chunk()?;
    let len = usize::try_from(u32::from_le_bytes(*len)).ok()?;
    let (init, sealed) = content.split_at_checked(content.len().checked_sub(len)?)?;
    let record: RecordFile = open(RECORD_MAGIC, sealed)?;
    let tracks =
        Tracks { video: record.video.map(TrackConfig::from), audio: record.audio.map(TrackConfig::from) };
    let record = EpochRecord {
        id: EpochId(record.id),
        tracks,
        codecs: record.codecs,
        resolution: record.resolution,
        frame_rate_milli: record.frame_rate_milli,
        part_target: Ticks(record.part_target),
        zero_unix_ms: record.zero_unix_ms,
    };
    Some((record, init.len() as u64))
}

#[derive(Serialize, Deserialize)]
struct MemoFile {
    boot: String,
    clean: bool,
    epoch: u64,
    n: u32,
    first_msn: u64,
    target_duration_s: u32,
    discontinuities: u64,
    next_msn: u64,
    ended: bool,
}

pub(crate) fn memo(memo: &Memo, boot: &str, clean: bool) -> Vec<u8> {
    seal(
        MEMO_MAGIC,
        &MemoFile {
            boot: boot.to_owned(),
            clean,
            epoch: memo.playlist.epoch.0,
            n: memo.playlist.n,
            first_msn: memo.first_msn,
            target_duration_s: memo.target_duration_s,
            discontinuities: memo.discontinuities,
            next_msn: memo.next_msn,
            ended: memo.ended,
        },
    )
}

/// The memo, and whether nothing can have been lost since: the machine is still up, or the store was closed.
pub(crate) fn read_memo(file: &[u8], boot: &str) -> Option<(Memo, bool)> {
    let memo: MemoFile = open(MEMO_MAGIC, file)?;
    let trusted = memo.clean || (!boot.is_empty() && memo.boot == boot);
    let playlist = PlaylistName { epoch: EpochId(memo.epoch), n: memo.n };
    let memo = Memo {
        playlist,
        first_msn: memo.first_msn,
        target_duration_s: memo.target_duration_s,
        discontinuities: memo.discontinuities,
        next_msn: memo.next_msn,
        ended: memo.ended,
    };
    Some((memo, trusted))
}

fn seal(magic: [u8; 4], value: &impl Serialize) -> Vec<u8> {
    let mut out = magic.to_vec();
    // Our types have no map or sequence of unknown length, which is all that postcard refuses.
    out.extend(postcard::to_allocvec(value).unwrap_or_default());
    let sum = checksum(&[&out]);
    out.extend_from_slice(&sum);
    out
}

fn open<T: serde::de::DeserializeOwned>(magic: [u8; 4], file: &[u8]) -> Option<T> {
    let (content, sum) = file.split_at_checked(file.len().checked_sub(4)?)?;
    if *sum != checksum(&[content]) {
        return None;
    }
    postcard::from_bytes(content.strip_prefix(&magic)?).ok()
}

fn checksum(pieces: &[&[u8]]) -> [u8; 4] {
    let mut hasher = crc32fast::Hasher::new();
    for piece in pieces {
        hasher.update(piece);
    }
    hasher.finalize().to_le_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn header() -> PartHeader {
        PartHeader {
            epoch: EpochId(7),
            msn: 3,
            part: 2,
            start: Ticks(-5),
            duration: Ticks(18_000),
            independent: true,
            last: false,
            gap: false,
            bytes: 5,
        }
    }

    #[test]
    fn a_part_reads_back_and_any_flipped_bit_shows() {
        let mut file = b"media".to_vec();
        file.extend(trailer(&header(), b"media"));
        assert_eq!(part(&file, EpochId(7), 3, 2), Some(header()));
        for at in 0..file.len() {
            let mut bad = file.clone();
            bad[at] ^= 1;
            assert_eq!(part(&bad, EpochId(7), 3, 2), None, "byte {at}");
        }
        for len in 0..file.len() {
            assert_eq!(part(&file[..len], EpochId(7), 3, 2), None);
        }
    }

    #[test]
    fn a_record_and_a_memo_read_back() {
        let video = TrackConfig { codec: Codec::Hevc, record: Bytes::from_static(&[1, 2]), audio: None };
        let format = AudioFormat { sample_rate: 44_100, channels: 2, frame_samples: 1024 };
        let audio = TrackConfig { codec: Codec::Aac, record: Bytes::from_static(&[3]), audio: Some(format) };
        let epoch = EpochRecord {
            id: EpochId(9),
            tracks: Tracks { video: Some(video), audio: Some(audio) },
            codecs: "hvc1.1.6.L93.B0,mp4a.40.2".into(),
            resolution: Some((1280, 720)),
            frame_rate_milli: Some(29_970),
            part_target: Ticks(18_000),
            zero_unix_ms: 1_700_000_000_000,
        };
        let mut file = b"init".to_vec();
        file.extend(record(&epoch, b"init"));
        assert_eq!(read_record(&file), Some((epoch, 4)));
        for at in 0..file.len() {
            let mut bad = file.clone();
            bad[at] ^= 1;
            assert_eq!(read_record(&bad), None, "byte {at}");
            assert_eq!(read_record(&file[..at]), None);
        }

        let written = Memo {
            playlist: PlaylistName { epoch: EpochId(9), n: 1 },
            first_msn: 4,
            target_duration_s: 2,
            discontinuities: 3,
            next_msn: 40,
            ended: false,
        };
        assert_eq!(read_memo(&memo(&written, "boot-1", false), "boot-1"), Some((written, true)));
        assert_eq!(read_memo(&memo(&written, "boot-1", false), "boot-2"), Some((written, false)));
        assert_eq!(read_memo(&memo(&written, "boot-1", true), "boot-2"), Some((written, true)));
        assert_eq!(read_memo(&memo(&written, "", false), ""), Some((written, false)));
        assert_eq!(read_memo(&file, "boot-1"), None, "a record is no memo");
    }
}
