//! The CODECS string of AV1 (AV1-ISOBMFF 5): `av01.P.LLT.DD`, and the colour fields where they are not the default.
//!
//! Colour is in the sequence header OBU that the record carries (AV1 5.5); without one the default is assumed.

use alloc::format;
use alloc::string::String;

use crate::codec::CodecError;
use crate::codec::bits::Bits;
use crate::track::Codec;

const TRUNCATED: CodecError = CodecError::Truncated(Codec::Av1);
const MALFORMED: CodecError = CodecError::Malformed(Codec::Av1);
/// OBUs looked at for the sequence header.
const OBUS_MAX: usize = 8;

/// The colour fields of the string; the default is what they mean when left out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Colour {
    monochrome: bool,
    subsampling_x: bool,
    subsampling_y: bool,
    sample_position: u32,
    primaries: u32,
    transfer: u32,
    matrix: u32,
    full_range: bool,
}

impl Default for Colour {
    fn default() -> Self {
        Self {
            monochrome: false,
            subsampling_x: true,
            subsampling_y: true,
            sample_position: 0,
            primaries: 1,
            transfer: 1,
            matrix: 1,
            full_range: false,
        }
    }
}

pub(super) fn string(record: &[u8]) -> Result<String, CodecError> {
    let [first, second, third, _, obus @ ..] = record else { return Err(TRUNCATED) };
    if *first != 0x81 {
        return Err(CodecError::Version(Codec::Av1));
    }
    let (profile, level) = (second >> 5, second & 0x1f);
    let tier = if third & 0x80 == 0 { 'M' } else { 'H' };
    let depth = match (third & 0x40 != 0, third & 0x20 != 0) {
        (false, false) => 8,
        (true, false) => 10,
        (true, true) => 12,
        (false, true) => return Err(MALFORMED),
    };
    let short = format!("av01.{profile}.{level:02}{tier}.{depth:02}");
    let Some(header) = sequence_header(obus)? else { return Ok(short) };
    let colour = colour_of(&mut Bits::new(header)).ok_or(TRUNCATED)?;
    // Streams that don't say leave players with the default as well.
    if colour == Colour::default() || colour.is_unspecified() {
        return Ok(short);
    }
    Ok(format!("{short}.{}", colour.fields()))
}

impl Colour {
    fn is_unspecified(self) -> bool {
        Self { primaries: 1, transfer: 1, matrix: 1, ..self } == Self::default()
            && (self.primaries, self.transfer, self.matrix) == (2, 2, 2)
    }

    /// `M.CCC.cp.tc.mc.F`
    fn fields(self) -> String {
        let both = self.subsampling_x && self.subsampling_y;
        format!(
            "{}.{}{}{}.{:02}.{:02}.{:02}.{}",
            u8::from(self.monochrome),
            u8::from(self.subsampling_x),
            u8::from(self.subsampling_y),
            if both { self.sample_position } else { 0 },
            self.primaries,
            self.transfer,
            self.matrix,
            u8::from(self.full_range)
        )
    }
}

/// The payload of the first sequence header OBU (AV1 5.3), if there is one.
fn sequence_header(mut obus: &[u8]) -> Result<Option<&[u8]>, CodecError> {
    const SEQUENCE_HEADER: u8 = 1;
    for _ in 0..OBUS_MAX {
        let [header, rest @ ..] = obus else { return Ok(None) };
        let (kind, extended, sized) = (header >> 3 & 0xf, header & 4 != 0, header & 2 != 0);
        let rest = if extended { rest.get(1..).ok_or(TRUNCATED)? } else { rest };
        let (size, rest) = if sized { leb128(rest).ok_or(TRUNCATED)? } else { (rest.len(), rest) };
        let (payload, rest) = rest.split_at_checked(size).ok_or(TRUNCATED)?;
        if kind == SEQUENCE_HEADER {
            return Ok(Some(payload));
        }
        obus = rest;
    }
    Ok(None)
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

/// Reads a sequence header up to the end of its colour configuration (AV1 5.5.1).
fn colour_of(bits: &mut Bits<'_>) -> Option<Colour> {
    let profile = bits.take(3)?;
    let _still_picture = bits.flag()?;
    let reduced = bits.flag()?;
    if reduced {
        let _level = bits.take(5)?;
    } else {
        skip_operating_points(bits)?;
    }
    let (width_bits, height_bits) = (bits.take(4)? + 1, bits.take(4)? + 1);
    bits.take(width_bits as usize)?;
    bits.take(height_bits as usize)?;
    if !reduced && bits.flag()? {
        bits.take(7)?; // frame id lengths
    }
    bits.take(3)?; // superblock size, filter intra, intra edge filter
    if !reduced {
        skip_tools(bits)?;
    }
    bits.take(3)?; // superres, cdef, restoration
    colour_config(bits, profile)
}

fn skip_operating_points(bits: &mut Bits<'_>) -> Option<()> {
    let mut decoder_model_bits = None;
    if bits.flag()? {
        bits.take(32)?; // units in a display tick
        bits.take(32)?; // time scale
        if bits.flag()? {
            bits.uvlc()?; // ticks per picture
        }
        if bits.flag()? {
            decoder_model_bits = Some(bits.take(5)? as usize + 1);
            bits.take(32)?; // units in a decoding tick
            bits.take(10)?; // removal time lengths
        }
    }
    let initial_display_delay = bits.flag()?;
    for _ in 0..=bits.take(5)? {
        bits.take(12)?; // operating point idc
        if bits.take(5)? > 7 {
            bits.take(1)?; // tier
        }
        if let Some(count) = decoder_model_bits
            && bits.flag()?
        {
            bits.take(count)?; // decoder buffer delay
            bits.take(count)?; // encoder buffer delay
            bits.take(1)?; // low delay mode
        }
        if initial_display_delay && bits.flag()? {
            bits.take(4)?;
        }
    }
    Some(())
}

fn skip_tools(bits: &mut Bits<'_>) -> Option<()> {
    bits.take(4)?; // interintra, masked compound, warped motion, dual filter
    let order_hint = bits.flag()?;
    if order_hint {
        bits.take(2)?; // joint compound, reference frame motion vectors
    }
    let choose_screen_content = bits.flag()?;
    let screen_content = choose_screen_content || bits.flag()?;
    if screen_content && !bits.flag()? {
        bits.take(1)?; // integer motion vectors
    }
    if order_hint {
        bits.take(3)?;
    }
    Some(())
}

/// AV1 5.5.2.
fn colour_config(bits: &mut Bits<'_>, profile: u32) -> Option<Colour> {
    let high_bit_depth = bits.flag()?;
    let twelve_bit = profile == 2 && high_bit_depth && bits.flag()?;
    let monochrome = profile != 1 && bits.flag()?;
    let (primaries, transfer, matrix) =
        if bits.flag()? { (bits.take(8)?, bits.take(8)?, bits.take(8)?) } else { (2, 2, 2) };
    let mut colour = Colour { monochrome, primaries, transfer, matrix, ..Colour::default() };
    // sRGB: full range 4:4:4, without a bit that says so.
    if (primaries, transfer, matrix) == (1, 13, 0) && !monochrome {
        return Some(Colour { subsampling_x: false, subsampling_y: false, full_range: true, ..colour });
    }
    colour.full_range = bits.flag()?;
    if monochrome {
        return Some(colour);
    }
    (colour.subsampling_x, colour.subsampling_y) = match profile {
        0 => (true, true),
        1 => (false, false),
        _ if twelve_bit => {
            let x = bits.flag()?;
            (x, x && bits.flag()?)
        }
        _ => (true, false),
    };
    if colour.subsampling_x && colour.subsampling_y {
        colour.sample_position = bits.take(2)?;
    }
    Some(colour)
}

#[cfg(test)]
mod tests {
    use alloc::string::ToString;
    use alloc::vec::Vec;

    use super::*;

    /// A record around a sequence header that is written as text of 0 and 1; spaces are for the reader.
    fn record(head: [u8; 2], sequence_header: &str) -> Vec<u8> {
        let mut digits: Vec<u8> =
            sequence_header.bytes().filter(|b| *b != b' ').map(|digit| digit - b'0').collect();
        digits.resize(digits.len().next_multiple_of(8), 0);
        let payload: Vec<u8> =
            digits.chunks(8).map(|byte| byte.iter().fold(0, |sum, bit| sum << 1 | bit)).collect();
        let mut out = alloc::vec![0x81, head[0], head[1], 0, 0x0a, payload.len() as u8];
        out.extend(payload);
        out
    }

    fn check(record: &[u8], expected: Result<&str, CodecError>) {
        assert_eq!(string(record), expected.map(ToString::to_string));
    }

    /// Main profile, one operating point at level index 8 (4.0), 16 x 16 pixels, common tools.
    const MAIN: &str =
        "000 0 0  0 0 00000 000000000000 01000 0  0011 0011 1111 1111  0 000  0000 1 00 1 1 000  000";

    #[test]
    fn without_a_sequence_header_the_short_form_is_given() {
        check(&[0x81, 0x08, 0x0c, 0], Ok("av01.0.08M.08"));
        check(&[0x81, 0x2d, 0xc0, 0], Ok("av01.1.13H.10"));
        check(&[0x81, 0x5f, 0x60, 0], Ok("av01.2.31M.12"));
    }

    #[test]
    fn colour_is_told_where_it_is_not_the_default() {
        let with = |colour: &str| record([0x08, 0x0c], &[MAIN, colour].concat());
        // 8 bits, colour, BT.709 throughout, limited range, unknown sample position.
        check(&with("0 0 1 00000001 00000001 00000001 0 00"), Ok("av01.0.08M.08"));
        // No description at all.
        check(&with("0 0 0 0 00"), Ok("av01.0.08M.08"));
        // BT.2020, PQ, non-constant luminance, collocated: HDR10.
        let hdr = record([0x08, 0x4c], &[MAIN, "1 0 1 00001001 00010000 00001001 0 10"].concat());
        check(&hdr, Ok("av01.0.08M.10.0.112.09.16.09.0"));
        // Full range.
        check(&with("0 0 1 00000001 00000001 00000001 1 00"), Ok("av01.0.08M.08.0.110.01.01.01.1"));
        // Monochrome, undescribed.
        check(&with("0 1 0 0"), Ok("av01.0.08M.08.1.110.02.02.02.0"));
    }

    #[test]
    fn damage_is_an_error() {
        check(&[0x81, 0x08, 0x0c], Err(TRUNCATED));
        check(&[0x01, 0x08, 0x0c, 0], Err(CodecError::Version(Codec::Av1)));
        check(&[0x81, 0x08, 0x20, 0], Err(MALFORMED));
        check(&[0x81, 0x08, 0x0c, 0, 0x0a, 5, 0], Err(TRUNCATED));
        check(&[0x81, 0x08, 0x0c, 0, 0x0a, 1, 0], Err(TRUNCATED));
        check(&[0x81, 0x08, 0x0c, 0, 0x0a, 0xff, 0xff, 0xff, 0xff], Err(TRUNCATED));
    }
}
