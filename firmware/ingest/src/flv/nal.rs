//! NAL units with length prefixes (ISO/IEC 14496-15): only as far as to see what kind of picture they hold.
//!
//! Keyframes are, for H.264, IDR pictures (type 5), and for HEVC the random access pictures: IDR, BLA and CRA
//! (types 16 to 21). A recovery point or an I slice is none. CRA is taken although pictures that are shown before
//! it may be undecodable for who starts there: decoders drop those (H.265, 8.1.3), and common encoders write
//! nothing but CRA after the first picture, so that a stream would else be one endless group of pictures.

use stream::Codec;

const H264_IDR: u8 = 5;
const HEVC_RANDOM_ACCESS: std::ops::RangeInclusive<u8> = 16..=21;

/// AVCDecoderConfigurationRecord (5.3.3.1): version 1, at least one SPS and what comes before them.
pub(super) fn avc_length_bytes(record: &[u8]) -> Option<usize> {
    let &[1, _profile, _compatibility, _level, lengths, sps_count, ref sets @ ..] = record else {
        return None;
    };
    let size = usize::from(u16::from_be_bytes(*sets.first_chunk()?));
    let has_sps = sps_count & 0x1F > 0 && size > 0 && sets.len() >= 2 + size;
    has_sps.then(|| length_bytes(lengths))?
}

/// HEVCDecoderConfigurationRecord (8.3.3.1): 22 bytes before the arrays of parameter sets. The version is 0 in
/// what some encoders send.
pub(super) fn hevc_length_bytes(record: &[u8]) -> Option<usize> {
    let (head, rest) = record.split_first_chunk::<22>()?;
    let arrays = *rest.first()?;
    (head[0] <= 1 && arrays > 0).then(|| length_bytes(head[21]))?
}

/// Length of the length field; 3 is not allowed.
fn length_bytes(lengths: u8) -> Option<usize> {
    let bytes = usize::from(lengths & 3) + 1;
    (bytes != 3).then_some(bytes)
}

/// None if a length points beyond the data.
pub(super) fn is_keyframe(codec: Codec, length_bytes: usize, data: &[u8]) -> Option<bool> {
    let mut rest = data;
    let mut keyframe = false;
    while !rest.is_empty() {
        let (length, after) = rest.split_at_checked(length_bytes)?;
        let length = length.iter().fold(0_usize, |length, byte| length << 8 | usize::from(*byte));
        let (nal, after) = after.split_at_checked(length)?;
        keyframe |= nal.first().is_some_and(|header| is_random_access(codec, *header));
        rest = after;
    }
    Some(keyframe)
}

fn is_random_access(codec: Codec, header: u8) -> bool {
    match codec {
        Codec::H264 => header & 0x1F == H264_IDR,
        Codec::Hevc => HEVC_RANDOM_ACCESS.contains(&(header >> 1 & 0x3F)),
        Codec::Av1 | Codec::Aac | Codec::Opus => false,
    }
}
