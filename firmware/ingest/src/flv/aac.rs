//! AudioSpecificConfig (ISO/IEC 14496-3, 1.6.2.1): rate, channels and frame length of the core.
//!
//! HE-AAC counts by its core: with explicit signalling the outer object type is 5 or 29 and the core follows;
//! with the other signallings the record reads as plain AAC-LC, which is the core.

use stream::AudioFormat;

use super::bits::Bits;

const MAIN: u32 = 1;
const LTP: u32 = 4;
const SBR: u32 = 5;
const PS: u32 = 29;
/// In five bits, it says that six more follow.
const OBJECT_TYPE_ESCAPE: u32 = 31;
/// In four bits, it says that the rate follows in 24.
const RATE_EXPLICIT: u32 = 15;
const RATES: [u32; 13] =
    [96_000, 88_200, 64_000, 48_000, 44_100, 32_000, 24_000, 22_050, 16_000, 12_000, 11_025, 8_000, 7_350];
/// Plausible rates of a core; a muxer would choke on others.
const RATE_RANGE: std::ops::RangeInclusive<u32> = 7_350..=96_000;

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum AacError {
    CutOff,
    Unsupported(String),
}

pub(crate) fn parse(record: &[u8]) -> Result<AudioFormat, AacError> {
    let mut bits = Bits::new(record);
    let mut object_type = object_type(&mut bits).ok_or(AacError::CutOff)?;
    let sample_rate = rate(&mut bits)?;
    let channel_config = bits.take(4).ok_or(AacError::CutOff)?;
    if object_type == SBR || object_type == PS {
        rate(&mut bits)?;
        object_type = self::object_type(&mut bits).ok_or(AacError::CutOff)?;
    }
    if !(MAIN..=LTP).contains(&object_type) {
        return Err(AacError::Unsupported(format!(
            "AAC of object type {object_type}: set the encoder to AAC-LC or HE-AAC"
        )));
    }
    let short = bits.flag().ok_or(AacError::CutOff)?;
    let channels = match channel_config {
        0 => program_channels(&mut bits).ok_or(AacError::CutOff)?,
        1..=6 => channel_config as u8,
        7 | 12 | 14 => 8,
        11 => 7,
        other => return Err(AacError::Unsupported(format!("AAC with channel configuration {other}"))),
    };
    Ok(AudioFormat { sample_rate, channels, frame_samples: if short { 960 } else { 1024 } })
}

fn object_type(bits: &mut Bits<'_>) -> Option<u32> {
    match bits.take(5)? {
        OBJECT_TYPE_ESCAPE => Some(32 + bits.take(6)?),
        short => Some(short),
    }
}

fn rate(bits: &mut Bits<'_>) -> Result<u32, AacError> {
    let rate = match bits.take(4).ok_or(AacError::CutOff)? {
        RATE_EXPLICIT => bits.take(24).ok_or(AacError::CutOff)?,
        index => RATES.get(index as usize).copied().unwrap_or(0),
    };
    if RATE_RANGE.contains(&rate) {
        return Ok(rate);
    }
    Err(AacError::Unsupported(format!("AAC at {rate} Hz")))
}

/// With channel configuration 0 the channels are listed: GASpecificConfig's flags, then program_config_element()
/// (4.4.1.1) up to its LFE channels.
fn program_channels(bits: &mut Bits<'_>) -> Option<u8> {
    let depends_on_core_coder = bits.flag()?;
    bits.skip(if depends_on_core_coder { 14 } else { 0 })?;
    let _extension = bits.flag()?;
    bits.skip(4 + 2 + 4)?;
    let elements = bits.take(4)? + bits.take(4)? + bits.take(4)?;
    let lfe = bits.take(2)?;
    bits.skip(3 + 4)?;
    for mixdown_bits in [4, 4, 3] {
        let present = bits.flag()?;
        bits.skip(if present { mixdown_bits } else { 0 })?;
    }
    let mut channels = lfe;
    for _ in 0..elements {
        let pair = bits.flag()?;
        channels += if pair { 2 } else { 1 };
        bits.skip(4)?;
    }
    u8::try_from(channels).ok().filter(|channels| *channels > 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(record: &[u8], sample_rate: u32, channels: u8, frame_samples: u32) {
        assert_eq!(parse(record), Ok(AudioFormat { sample_rate, channels, frame_samples }), "{record:02x?}");
    }

    #[test]
    fn plain_records_are_read() {
        check(&[0x12, 0x10], 44_100, 2, 1024);
        check(&[0x11, 0x90], 48_000, 2, 1024);
        check(&[0x11, 0x94], 48_000, 2, 960);
        check(&[0x14, 0x08], 16_000, 1, 1024);
        // What ffmpeg writes: AAC-LC and, behind it, "no SBR".
        check(&[0x12, 0x10, 0x56, 0xE5, 0x00], 44_100, 2, 1024);
    }

    #[test]
    fn an_explicit_rate_is_read() {
        // 00010 1111 000000001010110001000100 0010 000: LC, 44100 in 24 bits, stereo.
        check(&[0x17, 0x80, 0x56, 0x22, 0x10], 44_100, 2, 1024);
    }

    #[test]
    fn he_aac_counts_by_its_core() {
        // 00101 0110 0010 0011 00010 000: SBR over a core of 24 kHz, output 48 kHz.
        check(&[0x2B, 0x11, 0x88, 0x00], 24_000, 2, 1024);
        // 11101 0111 0001 0100 00010 000: PS over a mono core of 22.05 kHz.
        check(&[0xEB, 0x8A, 0x08, 0x00], 22_050, 1, 1024);
        // Signalled behind the core: 24 kHz LC, then 0x2b7, SBR, 48 kHz.
        check(&[0x13, 0x10, 0x56, 0xE5, 0x98], 24_000, 2, 1024);
    }

    #[test]
    fn listed_channels_are_counted() {
        // LC, 48 kHz, configuration 0; front: one single, one pair; back: one pair; one LFE = 5.1.
        // 00010 0011 0000 0 0 0 | 0000 01 0011 0010 0000 0001 01 000 0000 0 0 0 | 0 0000 1 0000 1 0001 0 000...
        check(&[0x11, 0x80, 0x04, 0xC8, 0x05, 0x00, 0x01, 0x08, 0x80, 0x00], 48_000, 6, 1024);
    }

    #[test]
    fn what_cant_be_carried_is_said() {
        for record in [&[][..], &[0x12], &[0x17, 0x80, 0x56], &[0x11, 0x80, 0x04]] {
            assert_eq!(parse(record), Err(AacError::CutOff), "{record:02x?}");
        }
        // Object types 23 (AAC-LD) and 42 (xHE-AAC), rate index 13.
        for record in [&[0xBA, 0x10, 0x00][..], &[0xF9, 0x46, 0x40, 0x00], &[0x16, 0x90]] {
            assert!(matches!(parse(record), Err(AacError::Unsupported(_))), "{record:02x?}");
        }
    }
}
