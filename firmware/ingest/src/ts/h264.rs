//! Pictures of H.264 in Annex B's form: parameter sets become an AVCDecoderConfigurationRecord, the rest gets length
//! prefixes (ISO/IEC 14496-15, 5.3).
//!
//! Access unit delimiters, fillers and parameter sets are left out of the picture: the record has the sets, and the
//! packager writes its own. A change of the sets is a change of configuration.

use bytes::{BufMut, Bytes, BytesMut};
use stream::{Codec, TrackConfig};

use crate::flv::bits::Bits;

const IDR: u8 = 5;
const SPS: u8 = 7;
const PPS: u8 = 8;
const ACCESS_UNIT_DELIMITER: u8 = 9;
const FILLER: u8 = 12;
/// Slices with pictures in them (H.264, table 7-1).
const SLICES: std::ops::RangeInclusive<u8> = 1..=5;
/// Parameter sets of one stream: what the record's fields can count.
const SPS_MAX: usize = 31;
const PPS_MAX: usize = 255;
/// Profiles whose record says more of the picture (ISO/IEC 14496-15, 5.3.3.1.2).
const HIGH_PROFILES: [u8; 4] = [100, 110, 122, 144];

#[derive(Debug, Default)]
pub(super) struct H264 {
    sps: Vec<Bytes>,
    pps: Vec<Bytes>,
    record: Option<Bytes>,
}

/// What a packet holds.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Picture {
    /// If it is new.
    pub(super) config: Option<TrackConfig>,
    /// None if there are parameter sets alone.
    pub(super) data: Option<Bytes>,
    pub(super) keyframe: bool,
}

impl H264 {
    /// None if there is nothing to use, or nothing to decode it with.
    pub(super) fn handle_packet(&mut self, packet: &Bytes) -> Option<Picture> {
        let (mut sps, mut pps) = (Vec::new(), Vec::new());
        let mut data = BytesMut::with_capacity(packet.len() + 16);
        let (mut keyframe, mut sliced) = (false, false);
        for nal in nals(packet) {
            let kind = nal[0] & 0x1F;
            match kind {
                SPS if nal.len() >= 4 && nal.len() <= usize::from(u16::MAX) => add(&mut sps, nal, SPS_MAX),
                PPS if nal.len() <= usize::from(u16::MAX) => add(&mut pps, nal, PPS_MAX),
                SPS | PPS | ACCESS_UNIT_DELIMITER | FILLER => {}
                _ => {
                    sliced |= SLICES.contains(&kind);
                    keyframe |= kind == IDR;
                    data.put_u32(nal.len() as u32);
                    data.put_slice(nal);
                }
            }
        }
        let config = self.handle_sets(sps, pps);
        let data = (sliced && self.record.is_some()).then(|| data.freeze());
        (config.is_some() || data.is_some()).then_some(Picture { config, data, keyframe })
    }

    /// Encoders repeat the sets before each keyframe; only a change is a configuration.
    fn handle_sets(&mut self, sps: Vec<Bytes>, pps: Vec<Bytes>) -> Option<TrackConfig> {
        if !sps.is_empty() {
            self.sps = sps;
        }
        if !pps.is_empty() {
            self.pps = pps;
        }
        let record = record(&self.sps, &self.pps)?;
        if self.record.as_ref() == Some(&record) {
            return None;
        }
        self.record = Some(record.clone());
        Some(TrackConfig { codec: Codec::H264, record, audio: None })
    }
}

fn add(sets: &mut Vec<Bytes>, nal: &[u8], max: usize) {
    if sets.len() < max && sets.iter().all(|set| **set != *nal) {
        sets.push(Bytes::copy_from_slice(nal));
    }
}

/// The units between start codes, without the zeros that may follow one (H.264, B.1).
fn nals(bytes: &[u8]) -> impl Iterator<Item = &[u8]> {
    let mut rest = start(bytes).map(|(_, behind)| behind);
    std::iter::from_fn(move || {
        let here = rest?;
        let (nal, behind) = start(here).map_or((here, None), |(before, behind)| (before, Some(behind)));
        rest = behind;
        Some(nal)
    })
    .map(|nal| &nal[..nal.iter().rposition(|byte| *byte != 0).map_or(0, |last| last + 1)])
    .filter(|nal| !nal.is_empty())
}

/// What is before the next start code, and what is behind it.
fn start(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let at = bytes.windows(3).position(|three| three == [0, 0, 1])?;
    Some((&bytes[..at], &bytes[at + 3..]))
}

fn record(sps: &[Bytes], pps: &[Bytes]) -> Option<Bytes> {
    let first = sps.first()?;
    pps.first()?;
    let mut record = BytesMut::new();
    record.put_u8(1);
    record.put_slice(&first[1..4]);
    // Lengths have four bytes.
    record.put_u8(0xFC | 3);
    record.put_u8(0xE0 | sps.len() as u8);
    for set in sps {
        record.put_u16(set.len() as u16);
        record.put_slice(set);
    }
    record.put_u8(pps.len() as u8);
    for set in pps {
        record.put_u16(set.len() as u16);
        record.put_slice(set);
    }
    if HIGH_PROFILES.contains(&first[1])
        && let Some((chroma_format, luma_depth, chroma_depth)) = formats(first)
    {
        record.put_slice(&[0xFC | chroma_format, 0xF8 | luma_depth, 0xF8 | chroma_depth, 0]);
    }
    Some(record.freeze())
}

/// Chroma format and the bits of a sample less 8, from the beginning of an SPS of a high profile (H.264, 7.3.2.1.1).
fn formats(sps: &[u8]) -> Option<(u8, u8, u8)> {
    // Emulation prevention can't stand before what is read: no three bytes of it are that small.
    let mut bits = Bits::new(sps.get(4..)?);
    let _id = golomb(&mut bits)?;
    let chroma_format = golomb(&mut bits)?;
    if chroma_format == 3 {
        bits.skip(1)?;
    }
    let (luma, chroma) = (golomb(&mut bits)?, golomb(&mut bits)?);
    (chroma_format <= 3 && luma <= 6 && chroma <= 6).then_some((
        chroma_format as u8,
        luma as u8,
        chroma as u8,
    ))
}

/// ue(v) (H.264, 9.1), as far as 16 bits.
fn golomb(bits: &mut Bits<'_>) -> Option<u32> {
    let mut zeros = 0;
    while !bits.flag()? {
        zeros += 1;
        if zeros > 16 {
            return None;
        }
    }
    Some((1 << zeros) - 1 + bits.take(zeros)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    const HIGH_SPS: &[u8] = &[0x67, 100, 0, 30, 0xAC, 0xD9];
    const PPS_SET: &[u8] = &[0x68, 0xEB, 0xE3];

    fn packet(nals: &[&[u8]]) -> Bytes {
        nals.iter().flat_map(|nal| [&[0, 0, 0, 1], *nal].concat()).collect::<Vec<_>>().into()
    }

    #[test]
    fn start_codes_of_both_lengths_split_and_zeros_behind_are_dropped() {
        let bytes = [0, 0, 0, 1, 9, 0xF0, 0, 0, 1, 0x65, 1, 0, 2, 0, 0, 0, 0, 1, 0x41, 7];
        let found: Vec<&[u8]> = nals(&bytes).collect();
        assert_eq!(found, [&[9, 0xF0][..], &[0x65, 1, 0, 2], &[0x41, 7]]);
        assert_eq!(nals(b"none").count(), 0);
        assert_eq!(nals(&[0, 0, 1, 0, 0, 1]).count(), 0);
    }

    #[test]
    fn sets_become_a_record_and_pictures_get_lengths() {
        let mut video = H264::default();
        let delimiter = &[9, 0xF0][..];
        let picture = video.handle_packet(&packet(&[delimiter, HIGH_SPS, PPS_SET, &[0x65, 1, 2]])).unwrap();
        // 4:2:0, 8 bits: 0xAC is 1 010 1 1 00: id 0, chroma format 1, luma 0, chroma 0.
        let record =
            b"\x01\x64\x00\x1e\xff\xe1\0\x06\x67\x64\0\x1e\xac\xd9\x01\0\x03\x68\xeb\xe3\xfd\xf8\xf8\0";
        let config = picture.config.unwrap();
        assert_eq!((config.codec, &config.record[..]), (Codec::H264, &record[..]));
        assert_eq!(picture.data.as_deref(), Some(&[0, 0, 0, 3, 0x65, 1, 2][..]));
        assert!(picture.keyframe);

        let again = video.handle_packet(&packet(&[HIGH_SPS, PPS_SET, &[0x41, 3]])).unwrap();
        assert_eq!((again.config, again.keyframe), (None, false));
        let other = video.handle_packet(&packet(&[&[0x67, 66, 0, 30, 1], PPS_SET])).unwrap();
        assert!(other.config.is_some_and(|config| config.record[1] == 66) && other.data.is_none());
    }

    #[test]
    fn pictures_without_sets_are_of_no_use() {
        let mut video = H264::default();
        assert_eq!(video.handle_packet(&packet(&[&[0x65, 1, 2]])), None);
        assert_eq!(video.handle_packet(&packet(&[&[0x67, 66], PPS_SET])), None);
        assert_eq!(video.handle_packet(&packet(&[&[9, 0xF0]])), None);
    }
}
