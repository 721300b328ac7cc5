//! Video tag bodies: H.264 in the old form, H.264, HEVC and AV1 in the enhanced one.

use bytes::Bytes;
use stream::{Codec, TrackConfig};

use super::enhanced::{self, packet_type};
use super::{Content, Tag, Unusable, av1, nal, si24, split, unit};
use crate::Event;

/// Frame type 5: a command for a player, no picture (FLV 10.1, E.4.3.1).
const FRAME_TYPE_COMMAND: u8 = 5;
/// The highest bit of the first byte (Enhanced RTMP, ExVideoTagHeader).
const ENHANCED: u8 = 0x80;

/// Old codec ids.
const CODEC_AVC: u8 = 7;
const CODEC_HEVC_UNOFFICIAL: u8 = 12;

/// Video packet types beyond the shared ones.
const CODED_FRAMES_X: u8 = 3;
const METADATA: u8 = 4;
const MPEG2TS_SEQUENCE_START: u8 = 5;
const MULTITRACK: u8 = 6;

#[derive(Debug, Default)]
pub(super) struct Video {
    current: Option<Current>,
}

#[derive(Debug)]
struct Current {
    config: TrackConfig,
    /// Bytes of a NAL unit's length field; none for AV1.
    nal_length_bytes: Option<usize>,
}

impl Video {
    pub(super) fn handle_body(&mut self, tag: &Tag, events: &mut Vec<Event>) -> Result<(), Unusable> {
        let ([first], rest) = split(tag.body.clone()).ok_or(Unusable::Broken("is empty"))?;
        let (codec, content) = if first & ENHANCED == 0 { old(first, rest)? } else { new(first, rest)? };
        match content {
            Content::Config(config) => self.handle_config(config, events),
            Content::Coded { composition_ms, data } => {
                let keyframe = self.is_keyframe(codec, &data)?;
                events.push(unit(tag, composition_ms, keyframe, data));
                Ok(())
            }
        }
    }

    /// Encoders repeat the sequence header; only a change is an event.
    fn handle_config(&mut self, config: TrackConfig, events: &mut Vec<Event>) -> Result<(), Unusable> {
        if self.current.as_ref().is_some_and(|current| current.config == config) {
            return Ok(());
        }
        let broken = || Unusable::malformed(format!("the {} sequence header can't be read", config.codec));
        let nal_length_bytes = match config.codec {
            Codec::H264 => Some(nal::avc_length_bytes(&config.record).ok_or_else(broken)?),
            Codec::Hevc => Some(nal::hevc_length_bytes(&config.record).ok_or_else(broken)?),
            Codec::Av1 => {
                av1::check_record(&config.record).ok_or_else(broken)?;
                None
            }
            Codec::Aac | Codec::Opus => None,
        };
        events.push(Event::Config(config.clone()));
        self.current = Some(Current { config, nal_length_bytes });
        Ok(())
    }

    fn is_keyframe(&self, codec: Codec, data: &[u8]) -> Result<bool, Unusable> {
        let current = self.current.as_ref().filter(|current| current.config.codec == codec);
        let current = current.ok_or(Unusable::Broken("has no sequence header before it"))?;
        if data.is_empty() {
            return Err(Unusable::Broken("has no data"));
        }
        let keyframe = match current.nal_length_bytes {
            Some(length_bytes) => nal::is_keyframe(codec, length_bytes, data),
            None => av1::is_keyframe(data),
        };
        keyframe.ok_or(Unusable::Broken("is cut off"))
    }
}

/// FLV 10.1, E.4.3: codec id in the low half, frame type in the high one.
fn old(first: u8, rest: Bytes) -> Result<(Codec, Content), Unusable> {
    if first >> 4 == FRAME_TYPE_COMMAND {
        return Err(Unusable::Ignored);
    }
    match first & 0xF {
        CODEC_AVC => {
            let ([kind, a, b, c], data) = split(rest).ok_or(Unusable::Broken("header is cut off"))?;
            let content = match kind {
                0 => config(Codec::H264, data),
                1 => Content::Coded { composition_ms: si24([a, b, c]), data },
                2 => return Err(Unusable::Ignored),
                _ => return Err(Unusable::Broken("has an unknown packet type")),
            };
            Ok((Codec::H264, content))
        }
        CODEC_HEVC_UNOFFICIAL => Err(Unusable::codec(
            "HEVC in the unofficial form (codec id 12): use an encoder with Enhanced RTMP",
        )),
        2 => Err(Unusable::codec("Sorenson H.263 video: set the encoder to H.264")),
        4 | 5 => Err(Unusable::codec("VP6 video: set the encoder to H.264")),
        other => Err(Unusable::codec(format!("video codec id {other}: set the encoder to H.264"))),
    }
}

fn new(first: u8, rest: Bytes) -> Result<(Codec, Content), Unusable> {
    if first >> 4 & 0x7 == FRAME_TYPE_COMMAND || first & 0xF == METADATA {
        return Err(Unusable::Ignored);
    }
    let header = enhanced::parse(first & 0xF, MULTITRACK, rest)?;
    let codec = match &header.four_cc {
        b"avc1" => Codec::H264,
        b"hvc1" => Codec::Hevc,
        b"av01" => Codec::Av1,
        other => {
            let name = enhanced::four_cc_text(*other);
            return Err(Unusable::codec(format!(
                "video of type {name}: set the encoder to H.264, HEVC or AV1"
            )));
        }
    };
    let content = match header.packet_type {
        packet_type::SEQUENCE_START => config(codec, header.body),
        packet_type::CODED_FRAMES => coded_frames(codec, header.body)?,
        CODED_FRAMES_X => Content::Coded { composition_ms: 0, data: header.body },
        packet_type::SEQUENCE_END | METADATA => return Err(Unusable::Ignored),
        MPEG2TS_SEQUENCE_START => {
            return Err(Unusable::codec(
                "AV1 with an MPEG-2 TS descriptor: send the AV1 configuration record",
            ));
        }
        _ => return Err(Unusable::Broken("has an unknown packet type")),
    };
    Ok((codec, content))
}

/// A composition time stands only before codecs that reorder by NAL units.
fn coded_frames(codec: Codec, body: Bytes) -> Result<Content, Unusable> {
    if !matches!(codec, Codec::H264 | Codec::Hevc) {
        return Ok(Content::Coded { composition_ms: 0, data: body });
    }
    let (time, data) = split(body).ok_or(Unusable::Broken("header is cut off"))?;
    Ok(Content::Coded { composition_ms: si24(time), data })
}

const fn config(codec: Codec, record: Bytes) -> Content {
    Content::Config(TrackConfig { codec, record, audio: None })
}
