//! One packetized elementary stream packet (ISO/IEC 13818-1 2.4.3.6): its stamps, and what they stamp.

use crate::probe::nal;
use crate::probe::ts::StreamType;

#[derive(Clone, Debug)]
pub(super) struct Pes {
    /// In ticks of 90 kHz, 33 bits.
    pub(super) dts: i64,
    pub(super) pts: i64,
    pub(super) key: bool,
    /// The audio frames in it, if they could be counted.
    pub(super) frames: Option<Frames>,
}

/// Audio frames of one packet: only the first is stamped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Frames {
    pub(super) count: i64,
    /// Samples per second.
    pub(super) rate: i64,
}

impl Frames {
    /// Where frame `nth` begins, in ticks of 90 kHz behind the first.
    pub(super) fn ticks(self, nth: i64) -> i64 {
        (nth * 1024 * 90_000 + self.rate / 2) / self.rate
    }
}

impl Pes {
    /// None without stamps: nothing can be said about such a packet.
    pub(super) fn parse(bytes: &[u8], stream: StreamType) -> Option<Self> {
        let head = bytes.strip_prefix(&[0, 0, 1])?;
        let flags = *head.get(4)?;
        let header_bytes = usize::from(*head.get(5)?);
        let pts = if flags & 0x80 != 0 { stamp(head.get(6..11)?) } else { return None };
        let dts = if flags & 0x40 != 0 { stamp(head.get(11..16)?) } else { pts };
        let payload = head.get(6 + header_bytes..)?;
        let (key, frames) = match stream {
            StreamType::H264 => (nal::annex_b(payload).find_map(nal::h264_key).unwrap_or(false), None),
            StreamType::Hevc => (nal::annex_b(payload).find_map(nal::hevc_key).unwrap_or(false), None),
            StreamType::Aac => (true, adts_frames(payload)),
            StreamType::Mp3 | StreamType::Other(_) => (true, None),
        };
        Some(Self { dts, pts, key, frames })
    }
}

fn stamp(b: &[u8]) -> i64 {
    let b = |nth: usize| i64::from(b[nth]);
    (b(0) >> 1 & 7) << 30 | b(1) << 22 | (b(2) >> 1) << 15 | b(3) << 7 | b(4) >> 1
}

/// The ADTS frames in a packet (ISO/IEC 14496-3 1.A.2.2).
fn adts_frames(mut payload: &[u8]) -> Option<Frames> {
    const RATES: [i64; 13] = [
        96_000, 88_200, 64_000, 48_000, 44_100, 32_000, 24_000, 22_050, 16_000, 12_000, 11_025, 8_000, 7_350,
    ];
    let (mut count, mut rate) = (0, None);
    while let [0xff, second, third, fourth, fifth, sixth, ..] = *payload {
        if second & 0xf6 != 0xf0 {
            break;
        }
        rate = RATES.get(usize::from(third >> 2 & 0xf)).copied();
        let bytes = usize::from(fourth & 3) << 11 | usize::from(fifth) << 3 | usize::from(sixth >> 5);
        if bytes < 7 {
            break;
        }
        count += 1;
        payload = payload.get(bytes..).unwrap_or_default();
    }
    Some(Frames { count, rate: rate? })
}
