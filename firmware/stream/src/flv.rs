//! FLV tags for HTTP-FLV: what has arrived is wrapped again, for players such as VLC and mpegts.js.
//!
//! H.264 and AAC take the old form of Adobe's FLV 10.1, which every player knows; HEVC, AV1 and Opus take the
//! FourCC form of Enhanced RTMP v2. Every function gives whole tags, each with its PreviousTagSize behind it, so
//! that a stream is the plain concatenation. Nothing is parsed or repaired here.

use alloc::vec::Vec;

use bytes::{BufMut, Bytes, BytesMut};

use crate::track::{Codec, TrackConfig, TrackKind, Tracks};

/// One access unit on the stream's timeline, to be wrapped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FlvUnit<'a> {
    /// Decoding time in milliseconds; wraps at 32 bits.
    pub stamp_ms: u32,
    /// Presentation time less decoding time; FLV holds 24 bits with sign.
    pub composition_ms: i32,
    pub keyframe: bool,
    /// Video: length-prefixed NAL units or AV1 OBUs; audio: one raw frame.
    pub data: &'a [u8],
}

/// Tag types (FLV 10.1, E.4.1).
const TAG_AUDIO: u8 = 8;
const TAG_VIDEO: u8 = 9;
const TAG_SCRIPT: u8 = 18;
/// The length field of a tag has 24 bits.
const BODY_BYTES_MAX: usize = 0xFF_FFFF;
const HEADER_BYTES: usize = 11;

/// First bytes of bodies: frame type 1 (key) or 2 (inter) in the high half.
const FRAME_KEY: u8 = 1 << 4;
const FRAME_INTER: u8 = 2 << 4;
const VIDEO_AVC: u8 = 7;
const VIDEO_ENHANCED: u8 = 0x80;
/// AAC; the other bits, 44 kHz 16 bit stereo, are fixed for it (E.4.2.1).
const AUDIO_AAC: u8 = 0xAF;
const AUDIO_ENHANCED: u8 = 9 << 4;

/// Packet types. Sequence start and coded frames are 0 and 1 in every form.
const SEQUENCE_START: u8 = 0;
const CODED_FRAMES: u8 = 1;
/// HEVC without a composition time.
const CODED_FRAMES_X: u8 = 3;

/// The file's header with its flags for audio and video, and PreviousTagSize0.
#[must_use]
pub fn file_header(tracks: &Tracks) -> Bytes {
    let audio = if tracks.audio.is_some() { 0x04 } else { 0 };
    let video = if tracks.video.is_some() { 0x01 } else { 0 };
    Bytes::copy_from_slice(&[b'F', b'L', b'V', 1, audio | video, 0, 0, 0, 9, 0, 0, 0, 0])
}

/// The tag that carries a track's configuration record.
#[must_use]
pub fn sequence_header(config: &TrackConfig, stamp_ms: u32) -> Bytes {
    let mut head = Head::new();
    match config.codec {
        Codec::H264 => head.put(&[FRAME_KEY | VIDEO_AVC, SEQUENCE_START, 0, 0, 0]),
        Codec::Aac => head.put(&[AUDIO_AAC, SEQUENCE_START]),
        Codec::Hevc | Codec::Av1 => {
            head.put(&[VIDEO_ENHANCED | FRAME_KEY | SEQUENCE_START]);
            head.put(&four_cc(config.codec));
        }
        Codec::Opus => {
            head.put(&[AUDIO_ENHANCED | SEQUENCE_START]);
            head.put(&four_cc(config.codec));
        }
    }
    tag(tag_type(config.codec), stamp_ms, head.bytes(), &config.record)
}

/// The tag of one access unit. One of 16 MB or more, which no tag can hold, gives no bytes.
#[must_use]
pub fn media_tag(codec: Codec, unit: &FlvUnit<'_>) -> Bytes {
    let frame = if unit.keyframe { FRAME_KEY } else { FRAME_INTER };
    let [_, composition @ ..] = unit.composition_ms.to_be_bytes();
    let mut head = Head::new();
    match codec {
        Codec::H264 => {
            head.put(&[frame | VIDEO_AVC, CODED_FRAMES]);
            head.put(&composition);
        }
        Codec::Aac => head.put(&[AUDIO_AAC, CODED_FRAMES]),
        Codec::Hevc if unit.composition_ms == 0 => {
            head.put(&[VIDEO_ENHANCED | frame | CODED_FRAMES_X]);
            head.put(&four_cc(codec));
        }
        Codec::Hevc => {
            head.put(&[VIDEO_ENHANCED | frame | CODED_FRAMES]);
            head.put(&four_cc(codec));
            head.put(&composition);
        }
        Codec::Av1 => {
            head.put(&[VIDEO_ENHANCED | frame | CODED_FRAMES]);
            head.put(&four_cc(codec));
        }
        Codec::Opus => {
            head.put(&[AUDIO_ENHANCED | CODED_FRAMES]);
            head.put(&four_cc(codec));
        }
    }
    tag(tag_type(codec), unit.stamp_ms, head.bytes(), unit.data)
}

/// The `onMetaData` tag: what players want to know before the first picture.
#[must_use]
pub fn metadata(tracks: &Tracks, resolution: Option<(u32, u32)>, frame_rate_milli: Option<u32>) -> Bytes {
    let mut fields: Vec<(&str, Field)> = Vec::new();
    if let Some(video) = &tracks.video {
        if let Some((width, height)) = resolution {
            fields.push(("width", Field::Number(f64::from(width))));
            fields.push(("height", Field::Number(f64::from(height))));
        }
        if let Some(milli) = frame_rate_milli {
            fields.push(("framerate", Field::Number(f64::from(milli) / 1000.0)));
        }
        fields.push(("videocodecid", Field::Number(codec_id(video.codec))));
    }
    if let Some(audio) = &tracks.audio {
        if let Some(format) = audio.audio {
            fields.push(("audiosamplerate", Field::Number(f64::from(format.sample_rate))));
            fields.push(("audiochannels", Field::Number(f64::from(format.channels))));
            fields.push(("stereo", Field::Boolean(format.channels >= 2)));
        }
        fields.push(("audiocodecid", Field::Number(codec_id(audio.codec))));
    }
    script_tag(&fields)
}

/// A value of the script tag.
enum Field {
    Number(f64),
    Boolean(bool),
}

/// A script tag is two AMF0 values: the name and an ECMA array (FLV 10.1, E.4.4).
fn script_tag(fields: &[(&str, Field)]) -> Bytes {
    let mut body = BytesMut::new();
    body.put_u8(2);
    put_text(&mut body, "onMetaData");
    body.put_u8(8);
    body.put_u32(fields.len() as u32);
    for (name, field) in fields {
        put_text(&mut body, name);
        match field {
            Field::Number(number) => {
                body.put_u8(0);
                body.put_f64(*number);
            }
            Field::Boolean(boolean) => body.put_slice(&[1, u8::from(*boolean)]),
        }
    }
    body.put_slice(&[0, 0, 9]);
    tag(TAG_SCRIPT, 0, &[], &body)
}

fn put_text(body: &mut BytesMut, text: &str) {
    body.put_u16(text.len() as u16);
    body.put_slice(text.as_bytes());
}

/// The old number, or the FourCC read as one (Enhanced RTMP v2, "Enhancing onMetaData").
fn codec_id(codec: Codec) -> f64 {
    match codec {
        Codec::H264 => 7.0,
        Codec::Aac => 10.0,
        Codec::Hevc | Codec::Av1 | Codec::Opus => f64::from(u32::from_be_bytes(four_cc(codec))),
    }
}

const fn four_cc(codec: Codec) -> [u8; 4] {
    match codec {
        Codec::H264 => *b"avc1",
        Codec::Hevc => *b"hvc1",
        Codec::Av1 => *b"av01",
        Codec::Aac => *b"mp4a",
        Codec::Opus => *b"Opus",
    }
}

const fn tag_type(codec: Codec) -> u8 {
    match codec.kind() {
        TrackKind::Video => TAG_VIDEO,
        TrackKind::Audio => TAG_AUDIO,
    }
}

/// The few bytes before the payload, without an allocation.
struct Head {
    bytes: [u8; 8],
    len: usize,
}

impl Head {
    const fn new() -> Self {
        Self { bytes: [0; 8], len: 0 }
    }

    /// The longest head is first byte, FourCC and composition time: 8 bytes.
    fn put(&mut self, bytes: &[u8]) {
        self.bytes[self.len..self.len + bytes.len()].copy_from_slice(bytes);
        self.len += bytes.len();
    }

    fn bytes(&self) -> &[u8] {
        &self.bytes[..self.len]
    }
}

fn tag(kind: u8, stamp_ms: u32, head: &[u8], payload: &[u8]) -> Bytes {
    let body_bytes = head.len() + payload.len();
    if body_bytes > BODY_BYTES_MAX {
        return Bytes::new();
    }
    let mut tag = BytesMut::with_capacity(HEADER_BYTES + body_bytes + 4);
    tag.put_u8(kind);
    tag.put_uint(body_bytes as u64, 3);
    // The low 24 bits, then the high 8 (E.4.1: TimestampExtended).
    tag.put_uint(u64::from(stamp_ms & 0xFF_FFFF), 3);
    tag.put_u8((stamp_ms >> 24) as u8);
    tag.put_uint(0, 3);
    tag.put_slice(head);
    tag.put_slice(payload);
    tag.put_u32((HEADER_BYTES + body_bytes) as u32);
    tag.freeze()
}

#[cfg(test)]
mod tests;
