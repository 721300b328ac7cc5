//! AAC with a header before each frame (ISO/IEC 13818-7, 6.2): headers become an AudioSpecificConfig, frames go bare.

use bytes::Bytes;
use stream::{Codec, TrackConfig};

use crate::Refusal;
use crate::flv::aac;

const HEADER_BYTES: usize = 7;
const HEADER_BYTES_CHECKED: usize = 9;

#[derive(Debug, Default)]
pub(super) struct Adts {
    current: Option<(TrackConfig, i64)>,
}

/// What a packet holds.
#[derive(Debug)]
pub(super) struct Frames {
    /// If it is new.
    pub(super) config: Option<TrackConfig>,
    pub(super) data: Vec<Bytes>,
    /// How long each lasts, in 90 kHz.
    pub(super) frame_ticks: i64,
}

impl Adts {
    /// None if no whole frame is in it. What is cut off at its end is dropped.
    pub(super) fn handle_packet(&mut self, packet: &Bytes) -> Result<Option<Frames>, Refusal> {
        let mut rest = packet.clone();
        let (mut config, mut data) = (None, Vec::new());
        while let Some(header) = Header::parse(&rest) {
            if header.frame_bytes > rest.len() {
                break;
            }
            let frame = rest.split_to(header.frame_bytes);
            config = self.handle_config(&header)?.or(config);
            data.push(frame.slice(header.bytes..));
        }
        let frame_ticks = self.current.as_ref().map_or(0, |(_, ticks)| *ticks);
        Ok((!data.is_empty()).then_some(Frames { config, data, frame_ticks }))
    }

    fn handle_config(&mut self, header: &Header) -> Result<Option<TrackConfig>, Refusal> {
        let record = Bytes::copy_from_slice(&header.record);
        if self.current.as_ref().is_some_and(|(config, _)| config.record == record) {
            return Ok(None);
        }
        let format = aac::parse(&record).map_err(|error| match error {
            aac::AacError::CutOff => Refusal::Malformed("the ADTS header is cut off".to_owned()),
            aac::AacError::Unsupported(why) => Refusal::UnsupportedCodec(why),
        })?;
        let ticks =
            i64::from(format.frame_samples) * stream::Ticks::RATE / i64::from(format.sample_rate.max(1));
        let config = TrackConfig { codec: Codec::Aac, record, audio: Some(format) };
        self.current = Some((config.clone(), ticks));
        Ok(Some(config))
    }
}

#[derive(Debug, PartialEq, Eq)]
struct Header {
    /// With the check sum, where there is one.
    bytes: usize,
    /// Header and frame together.
    frame_bytes: usize,
    record: [u8; 2],
}

impl Header {
    /// None if it is not there, or says what can't be: several blocks in a frame, a frame shorter than its header.
    fn parse(bytes: &[u8]) -> Option<Self> {
        let head: &[u8; HEADER_BYTES] = bytes.first_chunk()?;
        // The sync word, and layer 0.
        if head[0] != 0xFF || head[1] & 0xF6 != 0xF0 || head[6] & 3 != 0 {
            return None;
        }
        let length = if head[1] & 1 == 1 { HEADER_BYTES } else { HEADER_BYTES_CHECKED };
        let frame_bytes =
            usize::from(head[3] & 3) << 11 | usize::from(head[4]) << 3 | usize::from(head[5]) >> 5;
        let (object_type, rate) = ((head[2] >> 6) + 1, head[2] >> 2 & 0xF);
        let channels = (head[2] & 1) << 2 | head[3] >> 6;
        // AudioSpecificConfig (ISO/IEC 14496-3, 1.6.2.1): type in 5 bits, rate in 4, channels in 4.
        let record = [object_type << 3 | rate >> 1, (rate & 1) << 7 | channels << 3];
        (frame_bytes > length).then_some(Self { bytes: length, frame_bytes, record })
    }
}

#[cfg(test)]
mod tests {
    use stream::AudioFormat;

    use super::*;

    /// AAC-LC, 44.1 kHz, stereo, 9 bytes in all.
    const FRAME: &[u8] = &[0xFF, 0xF1, 0x50, 0x80, 0x01, 0x3F, 0xFC, 0xAA, 0xBB];

    #[test]
    fn frames_go_bare_and_the_header_becomes_a_record() {
        let mut audio = Adts::default();
        let packet = Bytes::from([FRAME, FRAME, &FRAME[..8]].concat());
        let frames = audio.handle_packet(&packet).unwrap().unwrap();
        assert_eq!(frames.data, [&[0xAA, 0xBB][..], &[0xAA, 0xBB]]);
        let config = frames.config.unwrap();
        let format = AudioFormat { sample_rate: 44_100, channels: 2, frame_samples: 1024 };
        assert_eq!((&config.record[..], config.audio), (&[0x12, 0x10][..], Some(format)));
        // 1024 samples at 44.1 kHz are 2089.8 ticks.
        assert_eq!(frames.frame_ticks, 2089);
        assert!(audio.handle_packet(&packet).unwrap().unwrap().config.is_none());
    }

    #[test]
    fn what_is_no_frame_is_left() {
        let mut audio = Adts::default();
        let mut blocks = FRAME.to_vec();
        blocks[6] |= 1;
        let mut short = FRAME.to_vec();
        short[5] = 0x1F;
        short[4] = 0;
        for bytes in [&b"no frame"[..], &FRAME[..8], &blocks, &short, &[]] {
            assert!(audio.handle_packet(&Bytes::copy_from_slice(bytes)).unwrap().is_none(), "{bytes:?}");
        }
        // Rate index 13 is reserved.
        let mut reserved = FRAME.to_vec();
        reserved[2] = 0x74;
        assert!(matches!(audio.handle_packet(&reserved.into()), Err(Refusal::UnsupportedCodec(_))));
    }
}
