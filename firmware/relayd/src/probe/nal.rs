//! Whether a coded picture is a keyframe, by its NAL units or OBUs alone.
//!
//! Only random access points count that need nothing before them: an H.264 recovery point does not.

/// Units looked at in one picture.
const UNITS_MAX: usize = 4096;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Syntax {
    /// Lengths of `length_bytes` before each NAL unit (ISO/IEC 14496-15).
    H264 {
        length_bytes: usize,
    },
    Hevc {
        length_bytes: usize,
    },
    Av1,
}

/// Whether the sample begins with a keyframe; none if it has no picture.
pub(crate) fn is_key(syntax: Syntax, sample: &[u8]) -> Option<bool> {
    match syntax {
        Syntax::H264 { length_bytes } => prefixed(sample, length_bytes).find_map(h264_key),
        Syntax::Hevc { length_bytes } => prefixed(sample, length_bytes).find_map(hevc_key),
        Syntax::Av1 => av1_key(sample),
    }
}

/// H.264 7.4.1: 5 is an IDR slice, 1 to 4 are slices of other pictures.
pub(crate) fn h264_key(unit: &[u8]) -> Option<bool> {
    match unit.first()? & 0x1f {
        5 => Some(true),
        1..=4 => Some(false),
        _ => None,
    }
}

/// H.265 7.4.2.2: 16 to 21 are random access pictures (BLA, IDR, CRA), up to 9 are the others in use.
pub(crate) fn hevc_key(unit: &[u8]) -> Option<bool> {
    match unit.first()? >> 1 & 0x3f {
        16..=21 => Some(true),
        0..=9 => Some(false),
        _ => None,
    }
}

/// The NAL units of a sample with lengths before them.
fn prefixed(mut sample: &[u8], length_bytes: usize) -> impl Iterator<Item = &[u8]> {
    std::iter::from_fn(move || {
        let (length, rest) = sample.split_at_checked(length_bytes)?;
        let length = length.iter().fold(0_usize, |sum, byte| sum << 8 | usize::from(*byte));
        let (unit, rest) = rest.split_at_checked(length)?;
        sample = rest;
        Some(unit)
    })
    .take(UNITS_MAX)
}

/// The NAL units of a byte stream with start codes (H.264 annex B).
pub(crate) fn annex_b(stream: &[u8]) -> impl Iterator<Item = &[u8]> {
    let mut rest = after_start_code(stream);
    std::iter::from_fn(move || {
        let unit = rest?;
        let end = unit.windows(3).position(|w| w == [0, 0, 1]).unwrap_or(unit.len());
        rest = after_start_code(&unit[end..]);
        Some(&unit[..end])
    })
    .take(UNITS_MAX)
}

fn after_start_code(stream: &[u8]) -> Option<&[u8]> {
    let at = stream.windows(3).position(|w| w == [0, 0, 1])?;
    Some(&stream[at + 3..])
}

/// AV1 5.3, 5.9.2: the first frame header's `show_existing_frame` and `frame_type`.
fn av1_key(mut sample: &[u8]) -> Option<bool> {
    for _ in 0..UNITS_MAX {
        let [header, rest @ ..] = sample else { return None };
        let (kind, extended, sized) = (header >> 3 & 0xf, header & 4 != 0, header & 2 != 0);
        let rest = if extended { rest.get(1..)? } else { rest };
        let (size, rest) = if sized { leb128(rest)? } else { (rest.len(), rest) };
        let (payload, rest) = rest.split_at_checked(size)?;
        // 3 is a frame header, 6 a whole frame.
        if kind == 3 || kind == 6 {
            let first = payload.first()?;
            return Some(first & 0x80 == 0 && first >> 5 & 3 == 0);
        }
        sample = rest;
    }
    None
}

fn leb128(bytes: &[u8]) -> Option<(usize, &[u8])> {
    let mut value = 0_usize;
    for (nth, byte) in bytes.iter().take(4).enumerate() {
        value |= usize::from(byte & 0x7f) << (7 * nth);
        if byte & 0x80 == 0 {
            return Some((value, &bytes[nth + 1..]));
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keyframes_are_known_by_their_units() {
        let h264 = Syntax::H264 { length_bytes: 4 };
        // Access unit delimiter, then an IDR slice; a plain slice; parameter sets alone; a length that lies.
        assert_eq!(is_key(h264, &[0, 0, 0, 2, 9, 0x10, 0, 0, 0, 1, 0x65]), Some(true));
        assert_eq!(is_key(h264, &[0, 0, 0, 1, 0x41]), Some(false));
        assert_eq!(is_key(h264, &[0, 0, 0, 1, 0x67]), None);
        assert_eq!(is_key(h264, &[0, 0, 0, 9, 0x65]), None);
        let hevc = Syntax::Hevc { length_bytes: 2 };
        assert_eq!(is_key(hevc, &[0, 2, 0x40, 1, 0, 2, 0x2a, 1]), Some(true));
        assert_eq!(is_key(hevc, &[0, 2, 0x02, 1]), Some(false));
        // Temporal delimiter, then a frame: shown key frame, then an inter frame.
        assert_eq!(is_key(Syntax::Av1, &[0x12, 0, 0x32, 1, 0b0001_0000]), Some(true));
        assert_eq!(is_key(Syntax::Av1, &[0x12, 0, 0x32, 1, 0b0011_0000]), Some(false));
        assert_eq!(is_key(Syntax::Av1, &[0x12, 0]), None);
    }

    #[test]
    fn start_codes_of_both_lengths_separate_units() {
        let units: Vec<&[u8]> = annex_b(&[0, 0, 0, 1, 9, 0xf0, 0, 0, 1, 0x65, 7]).collect();
        assert_eq!(units, [&[9, 0xf0][..], &[0x65, 7]]);
        assert_eq!(annex_b(&[1, 2, 3]).count(), 0);
    }
}
