//! FLV (Adobe Flash Video File Format 10.1, annex E; Enhanced RTMP for the newer codecs): times and keyframes of tags.
//!
//! It reads as far as the last whole tag, so that the beginning of a live stream will do.

use anyhow::ensure;

use crate::probe::media::{Kind, Media, Sample, Stamp, Track};

const HEADER: usize = 9;
const TAG_HEADER: usize = 11;
/// Tags read at most.
const TAGS_MAX: usize = 1 << 20;

pub(crate) fn looks_like(bytes: &[u8]) -> bool {
    bytes.starts_with(b"FLV\x01")
}

struct Tag<'a> {
    kind: Kind,
    stamp_ms: i64,
    body: &'a [u8],
}

/// One frame's place in time; none for sequence headers and other tags without a frame.
struct Frame {
    codec: String,
    composition_ms: i64,
    key: bool,
}

pub(crate) fn read(bytes: &[u8]) -> anyhow::Result<Media> {
    ensure!(looks_like(bytes) && bytes.len() >= HEADER, "not an FLV file");
    let mut media = Media::default();
    let mut rest = bytes.get(HEADER + 4..).unwrap_or_default();
    for _ in 0..TAGS_MAX {
        let Some((tag, after)) = next_tag(rest)? else { break };
        rest = after;
        let Some(tag) = tag else { continue };
        let frame = match tag.kind {
            Kind::Video => video(tag.body),
            Kind::Audio => audio(tag.body),
        };
        let Some(Frame { codec, composition_ms, key }) = frame else { continue };
        let (dts, pts) = (millis(tag.stamp_ms), millis(tag.stamp_ms + composition_ms));
        let sample = Sample { dts, pts, duration: Stamp(0), key, sync_flag: None };
        media.append(Media { tracks: vec![Track { kind: tag.kind, codec, samples: vec![sample] }] });
    }
    media.tracks.iter_mut().for_each(set_durations);
    Ok(media)
}

fn millis(ms: i64) -> Stamp {
    Stamp(ms.saturating_mul(1_000_000))
}

/// FLV stores no durations: each frame lasts until the next, and the last one as long as the one before.
fn set_durations(track: &mut Track) {
    let mut last = Stamp(0);
    for nth in 0..track.samples.len() {
        if let Some(next) = track.samples.get(nth + 1) {
            last = next.dts.minus(track.samples[nth].dts).max(Stamp(0));
        }
        track.samples[nth].duration = last;
    }
}

/// A tag, if it is one of sound or pictures, and what follows it; nothing at all if it is cut off.
fn next_tag(bytes: &[u8]) -> anyhow::Result<Option<(Option<Tag<'_>>, &[u8])>> {
    let Some(head) = bytes.get(..TAG_HEADER) else { return Ok(None) };
    let size = usize::from(head[1]) << 16 | usize::from(head[2]) << 8 | usize::from(head[3]);
    let (Some(body), Some(after)) =
        (bytes.get(TAG_HEADER..TAG_HEADER + size), bytes.get(TAG_HEADER + size + 4..))
    else {
        return Ok(None);
    };
    let behind = &bytes[TAG_HEADER + size..TAG_HEADER + size + 4];
    let back = behind.iter().fold(0_usize, |sum, byte| sum << 8 | usize::from(*byte));
    ensure!(back == TAG_HEADER + size, "PreviousTagSize is {back} behind a tag of {}", TAG_HEADER + size);
    // The upper eight bits stand behind the lower 24, and the whole is signed.
    let stamp = i32::from_be_bytes([head[7], head[4], head[5], head[6]]);
    let kind = match head[0] & 0x1f {
        8 => Some(Kind::Audio),
        9 => Some(Kind::Video),
        _ => None,
    };
    Ok(Some((kind.map(|kind| Tag { kind, stamp_ms: i64::from(stamp), body }), after)))
}

fn video(body: &[u8]) -> Option<Frame> {
    let [first, rest @ ..] = body else { return None };
    let key = first >> 4 & 7 == 1;
    if first & 0x80 != 0 {
        // Enhanced: packet types 1 (with a composition time for some codecs) and 3 (without) carry frames.
        let (packet, fourcc) = (first & 0xf, rest.get(..4)?);
        let timed = packet == 1 && matches!(fourcc, b"hvc1" | b"avc1");
        let composition_ms = if timed { signed_24(rest.get(4..7)?) } else { 0 };
        let codec = String::from_utf8_lossy(fourcc).into_owned();
        return matches!(packet, 1 | 3).then_some(Frame { codec, composition_ms, key });
    }
    match first & 0xf {
        7 if rest.first() == Some(&1) => {
            Some(Frame { codec: "h264".to_owned(), composition_ms: signed_24(rest.get(1..4)?), key })
        }
        7 => None,
        other => Some(Frame { codec: format!("flv-video-{other}"), composition_ms: 0, key }),
    }
}

fn audio(body: &[u8]) -> Option<Frame> {
    let [first, rest @ ..] = body else { return None };
    let frame = |codec: String| Some(Frame { codec, composition_ms: 0, key: true });
    match first >> 4 {
        9 if first & 0xf == 1 => frame(String::from_utf8_lossy(rest.get(..4)?).into_owned()),
        9 => None,
        10 if rest.first() == Some(&1) => frame("aac".to_owned()),
        10 => None,
        other => frame(format!("flv-audio-{other}")),
    }
}

fn signed_24(bytes: &[u8]) -> i64 {
    i64::from(i32::from_be_bytes([bytes[0], bytes[1], bytes[2], 0]) >> 8)
}
