//! Audio tag bodies: AAC in the old form, AAC and Opus in the enhanced one.

use bytes::Bytes;
use stream::{AudioFormat, Codec, TrackConfig};

use super::enhanced::{self, packet_type};
use super::{Content, Tag, Unusable, aac, opus, split, unit};
use crate::Event;

/// Old sound formats (FLV 10.1, E.4.2.1); 9 says that an Enhanced RTMP header follows.
const FORMAT_ENHANCED: u8 = 9;
const FORMAT_AAC: u8 = 10;

/// Audio packet types beyond the shared ones.
const MULTICHANNEL_CONFIG: u8 = 4;
const MULTITRACK: u8 = 5;

#[derive(Debug, Default)]
pub(super) struct Audio {
    current: Option<Current>,
}

#[derive(Debug)]
struct Current {
    config: TrackConfig,
    /// Opus: told with its first packet, which says how long packets are.
    told: bool,
}

impl Audio {
    pub(super) fn handle_body(&mut self, tag: &Tag, events: &mut Vec<Event>) -> Result<(), Unusable> {
        let ([first], rest) = split(tag.body.clone()).ok_or(Unusable::Broken("is empty"))?;
        let (codec, content) = match first >> 4 {
            FORMAT_AAC => old_aac(rest)?,
            FORMAT_ENHANCED => new(first & 0xF, rest)?,
            other => return Err(unsupported(other)),
        };
        match content {
            Content::Config(config) => self.handle_config(config, events),
            Content::Coded { data, .. } => self.handle_coded(codec, tag, data, events)?,
        }
        Ok(())
    }

    /// Encoders repeat the sequence header; only a change is an event.
    fn handle_config(&mut self, config: TrackConfig, events: &mut Vec<Event>) {
        if self.current.as_ref().is_some_and(|current| current.config.record == config.record) {
            return;
        }
        let told = config.codec != Codec::Opus;
        if told {
            events.push(Event::Config(config.clone()));
        }
        self.current = Some(Current { config, told });
    }

    fn handle_coded(
        &mut self,
        codec: Codec,
        tag: &Tag,
        data: Bytes,
        events: &mut Vec<Event>,
    ) -> Result<(), Unusable> {
        let current = self.current.as_mut().filter(|current| current.config.codec == codec);
        let current = current.ok_or(Unusable::Broken("has no sequence header before it"))?;
        if data.is_empty() {
            return Err(Unusable::Broken("has no data"));
        }
        if !current.told {
            let samples = opus::packet_samples(&data).ok_or(Unusable::Broken("is no Opus packet"))?;
            if let Some(format) = &mut current.config.audio {
                format.frame_samples = samples;
            }
            current.told = true;
            events.push(Event::Config(current.config.clone()));
        }
        events.push(unit(tag, 0, true, data));
        Ok(())
    }
}

fn old_aac(rest: Bytes) -> Result<(Codec, Content), Unusable> {
    let ([kind], data) = split(rest).ok_or(Unusable::Broken("header is cut off"))?;
    let content = match kind {
        0 => Content::Config(aac_config(data)?),
        1 => Content::Coded { composition_ms: 0, data },
        _ => return Err(Unusable::Broken("has an unknown packet type")),
    };
    Ok((Codec::Aac, content))
}

fn new(packet: u8, rest: Bytes) -> Result<(Codec, Content), Unusable> {
    let header = enhanced::parse(packet, MULTITRACK, rest)?;
    let codec = match &header.four_cc {
        b"mp4a" => Codec::Aac,
        b"Opus" => Codec::Opus,
        b"ac-3" | b"ec-3" => return Err(Unusable::codec("Dolby audio: set the encoder to AAC or Opus")),
        b"fLaC" => return Err(Unusable::codec("FLAC audio: set the encoder to AAC or Opus")),
        b".mp3" => return Err(Unusable::codec("MP3 audio: set the encoder to AAC or Opus")),
        other => {
            let name = enhanced::four_cc_text(*other);
            return Err(Unusable::codec(format!("audio of type {name}: set the encoder to AAC or Opus")));
        }
    };
    let content = match (header.packet_type, codec) {
        (packet_type::SEQUENCE_START, Codec::Opus) => Content::Config(opus_config(header.body)?),
        (packet_type::SEQUENCE_START, _) => Content::Config(aac_config(header.body)?),
        (packet_type::CODED_FRAMES, _) => Content::Coded { composition_ms: 0, data: header.body },
        (packet_type::SEQUENCE_END | MULTICHANNEL_CONFIG, _) => return Err(Unusable::Ignored),
        _ => return Err(Unusable::Broken("has an unknown packet type")),
    };
    Ok((codec, content))
}

fn aac_config(record: Bytes) -> Result<TrackConfig, Unusable> {
    let format = aac::parse(&record).map_err(|error| match error {
        aac::AacError::CutOff => Unusable::malformed("the AAC sequence header is cut off"),
        aac::AacError::Unsupported(why) => Unusable::codec(why),
    })?;
    Ok(TrackConfig { codec: Codec::Aac, record, audio: Some(format) })
}

fn opus_config(record: Bytes) -> Result<TrackConfig, Unusable> {
    let channels =
        opus::head_channels(&record).ok_or_else(|| Unusable::malformed("the Opus header can't be read"))?;
    let format = AudioFormat { sample_rate: opus::SAMPLE_RATE, channels, frame_samples: 0 };
    Ok(TrackConfig { codec: Codec::Opus, record, audio: Some(format) })
}

fn unsupported(format: u8) -> Unusable {
    let name = match format {
        0 | 3 => "uncompressed",
        1 => "ADPCM",
        2 | 14 => "MP3",
        4..=6 => "Nellymoser",
        7 | 8 => "G.711",
        11 => "Speex",
        _ => return Unusable::codec(format!("audio of sound format {format}: set the encoder to AAC")),
    };
    Unusable::codec(format!("{name} audio: set the encoder to AAC"))
}
