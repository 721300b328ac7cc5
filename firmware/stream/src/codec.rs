//! CODECS strings (RFC 6381) from the configuration records that publishers send.
//!
//! A record is read only as far as its string needs; whether it describes a playable stream is the parsers' business.

use alloc::format;
use alloc::string::{String, ToString};

use crate::track::{Codec, TrackConfig, Tracks};

mod av1;
mod bits;

use bits::Bits;

/// Why there is no string for a track.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CodecError {
    #[error("there is no track")]
    NoTrack,
    #[error("the {0} configuration record ends too early")]
    Truncated(Codec),
    #[error("the {0} configuration record has an unknown version")]
    Version(Codec),
    #[error("the {0} configuration record contradicts itself")]
    Malformed(Codec),
}

/// The value of CODECS for these tracks: video first, separated by a comma.
pub fn codecs_string(tracks: &Tracks) -> Result<String, CodecError> {
    match (&tracks.video, &tracks.audio) {
        (None, None) => Err(CodecError::NoTrack),
        (Some(track), None) | (None, Some(track)) => codec_string(track),
        (Some(video), Some(audio)) => Ok(format!("{},{}", codec_string(video)?, codec_string(audio)?)),
    }
}

/// The string of one track.
pub fn codec_string(track: &TrackConfig) -> Result<String, CodecError> {
    let record = &track.record[..];
    match track.codec {
        Codec::H264 => h264(record),
        Codec::Hevc => hevc(record),
        Codec::Av1 => av1::string(record),
        Codec::Aac => aac(record).ok_or(CodecError::Truncated(Codec::Aac)),
        Codec::Opus => opus(record),
    }
}

/// `avc1.PPCCLL`: profile, constraint flags, level (RFC 6381 3.3), from ISO/IEC 14496-15 5.3.3.1.
fn h264(record: &[u8]) -> Result<String, CodecError> {
    match record {
        [1, profile, compatibility, level, ..] => {
            Ok(format!("avc1.{profile:02x}{compatibility:02x}{level:02x}"))
        }
        [] | [1, ..] => Err(CodecError::Truncated(Codec::H264)),
        [_, ..] => Err(CodecError::Version(Codec::H264)),
    }
}

/// `hvc1.` profile `.` compatibility flags, bit-reversed `.` tier and level, then the constraint bytes without
/// trailing zero bytes (ISO/IEC 14496-15 E.3).
fn hevc(record: &[u8]) -> Result<String, CodecError> {
    let [version, head @ ..] = record else { return Err(CodecError::Truncated(Codec::Hevc)) };
    if *version != 1 {
        return Err(CodecError::Version(Codec::Hevc));
    }
    let [profile, c0, c1, c2, c3, constraints @ ..] = head else {
        return Err(CodecError::Truncated(Codec::Hevc));
    };
    let ([constraints @ .., level], ..) =
        constraints.split_first_chunk::<7>().ok_or(CodecError::Truncated(Codec::Hevc))?;
    let space = ["", "A", "B", "C"][usize::from(profile >> 6)];
    let tier = if profile & 0x20 == 0 { 'L' } else { 'H' };
    let compatibility = u32::from_be_bytes([*c0, *c1, *c2, *c3]).reverse_bits();
    let mut out = format!("hvc1.{space}{}.{compatibility:x}.{tier}{level}", profile & 0x1f);
    let used = constraints.iter().rposition(|byte| *byte != 0).map_or(0, |last| last + 1);
    for byte in &constraints[..used] {
        out.push_str(&format!(".{byte:x}"));
    }
    Ok(out)
}

/// `mp4a.40.` and the audio object type (RFC 6381 3.3): 2 AAC-LC, 5 HE-AAC, 29 HE-AAC v2 if the record says so,
/// be it in front or as an extension that old decoders don't see (ISO/IEC 14496-3 1.6.2.1, 1.6.6.1).
fn aac(record: &[u8]) -> Option<String> {
    let mut bits = Bits::new(record);
    let object = object_type(&mut bits)?;
    sampling_frequency(&mut bits)?;
    let channels = bits.take(4)?;
    let object = match object {
        2 if channels != 0 => extension(&mut bits).unwrap_or(2),
        other => other,
    };
    Some(format!("mp4a.40.{object}"))
}

fn object_type(bits: &mut Bits<'_>) -> Option<u32> {
    match bits.take(5)? {
        31 => Some(32 + bits.take(6)?),
        object => Some(object),
    }
}

fn sampling_frequency(bits: &mut Bits<'_>) -> Option<u32> {
    match bits.take(4)? {
        15 => bits.take(24),
        index => Some(index),
    }
}

/// The object type of a sync extension behind the GASpecificConfig of AAC-LC, if there is one.
fn extension(bits: &mut Bits<'_>) -> Option<u32> {
    const SBR: u32 = 0x2b7;
    const PS: u32 = 0x548;
    let _frame_length_flag = bits.take(1)?;
    if bits.take(1)? == 1 {
        let _core_coder_delay = bits.take(14)?;
    }
    let _extension_flag = bits.take(1)?;
    let sbr = bits.take(11)? == SBR && object_type(bits)? == 5 && bits.take(1)? == 1;
    if !sbr {
        return None;
    }
    let ps = sampling_frequency(bits).and_then(|_| bits.take(11)) == Some(PS) && bits.take(1) == Some(1);
    Some(if ps { 29 } else { 5 })
}

/// `opus`, for what begins as an OpusHead of a version that is read the same (RFC 7845 5.1).
fn opus(record: &[u8]) -> Result<String, CodecError> {
    match record.strip_prefix(b"OpusHead") {
        Some([version, ..]) if version & 0xf0 == 0 => Ok("opus".to_string()),
        Some([_, ..]) => Err(CodecError::Version(Codec::Opus)),
        Some([]) => Err(CodecError::Truncated(Codec::Opus)),
        None => Err(CodecError::Malformed(Codec::Opus)),
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;
    use crate::track::AudioFormat;

    fn track(codec: Codec, record: &[u8]) -> TrackConfig {
        let audio = AudioFormat { sample_rate: 48_000, channels: 2, frame_samples: 1024 };
        let audio = (codec.kind() == crate::track::TrackKind::Audio).then_some(audio);
        TrackConfig { codec, record: Bytes::copy_from_slice(record), audio }
    }

    fn check(codec: Codec, record: &[u8], expected: Result<&str, CodecError>) {
        assert_eq!(codec_string(&track(codec, record)), expected.map(ToString::to_string), "{record:02x?}");
    }

    #[test]
    fn h264_names_profile_constraints_and_level() {
        check(Codec::H264, &[1, 0x64, 0x00, 0x1f, 0xff], Ok("avc1.64001f"));
        check(Codec::H264, &[1, 0x42, 0xc0, 0x0a], Ok("avc1.42c00a"));
        check(Codec::H264, &[1, 0x42, 0xc0], Err(CodecError::Truncated(Codec::H264)));
        check(Codec::H264, &[0, 0x42, 0xc0, 0x0a], Err(CodecError::Version(Codec::H264)));
        check(Codec::H264, &[], Err(CodecError::Truncated(Codec::H264)));
    }

    #[test]
    fn hevc_reverses_its_flags_and_drops_trailing_zero_bytes() {
        // Main profile, flags 1 and 2 set, main tier, level 3.1 (93), progressive and frame-only.
        let main = [1, 0x01, 0x60, 0, 0, 0, 0x90, 0, 0, 0, 0, 0, 93, 0xf0];
        check(Codec::Hevc, &main, Ok("hvc1.1.6.L93.90"));
        // Main 10: flag 2 only; high tier, level 5.1 (153); a zero byte between two that are not.
        let main10 = [1, 0x22, 0x20, 0, 0, 0, 0xb0, 0, 0x08, 0, 0, 0, 153];
        check(Codec::Hevc, &main10, Ok("hvc1.2.4.H153.b0.0.8"));
        // Profile space 1, no flag, no constraint.
        let space = [1, 0x44, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 30];
        check(Codec::Hevc, &space, Ok("hvc1.A4.0.L30"));
        check(Codec::Hevc, &main[..12], Err(CodecError::Truncated(Codec::Hevc)));
        check(Codec::Hevc, &[2], Err(CodecError::Version(Codec::Hevc)));
    }

    #[test]
    fn aac_names_the_object_type_that_is_signalled() {
        // 00010 0100 0010 000: AAC-LC, 44.1 kHz, stereo.
        check(Codec::Aac, &[0x12, 0x10], Ok("mp4a.40.2"));
        // 00101 0111 0010 0100 00010 000: SBR in front, core 22.05 kHz, extended to 44.1 kHz.
        check(Codec::Aac, &[0x2b, 0x92, 0x08, 0x00], Ok("mp4a.40.5"));
        // 11101 0111 0001 0100 00010 000: parametric stereo in front.
        check(Codec::Aac, &[0xeb, 0x8a, 0x08, 0x00], Ok("mp4a.40.29"));
        // 00010 0111 0010 000 | 01010110111 00101 1 0100: the same SBR as an extension behind.
        check(Codec::Aac, &[0x13, 0x90, 0x56, 0xe5, 0xa0], Ok("mp4a.40.5"));
        // ... 0100 10101001000 1: and parametric stereo behind that.
        check(Codec::Aac, &[0x13, 0x88, 0x56, 0xe5, 0xa5, 0x48, 0x80], Ok("mp4a.40.29"));
        // The extension is there and says that there is no SBR.
        check(Codec::Aac, &[0x13, 0x90, 0x56, 0xe5, 0x00], Ok("mp4a.40.2"));
        // 11111 001010 0100 0010: escaped object type 42 (xHE-AAC).
        check(Codec::Aac, &[0xf9, 0x48, 0x40], Ok("mp4a.40.42"));
        check(Codec::Aac, &[0x12], Err(CodecError::Truncated(Codec::Aac)));
        check(Codec::Aac, &[], Err(CodecError::Truncated(Codec::Aac)));
    }

    #[test]
    fn opus_has_one_name() {
        check(Codec::Opus, b"OpusHead\x01\x02\x38\x01\x80\xbb\0\0\0\0\0", Ok("opus"));
        check(Codec::Opus, b"OpusHead\x10", Err(CodecError::Version(Codec::Opus)));
        check(Codec::Opus, b"OpusHead", Err(CodecError::Truncated(Codec::Opus)));
        check(Codec::Opus, b"OpusTags", Err(CodecError::Malformed(Codec::Opus)));
    }

    #[test]
    fn video_comes_first() {
        let tracks = Tracks {
            video: Some(track(Codec::H264, &[1, 0x4d, 0x40, 0x29])),
            audio: Some(track(Codec::Aac, &[0x11, 0x90])),
        };
        assert_eq!(codecs_string(&tracks).as_deref(), Ok("avc1.4d4029,mp4a.40.2"));
        assert_eq!(codecs_string(&Tracks { video: None, ..tracks }).as_deref(), Ok("mp4a.40.2"));
        assert_eq!(codecs_string(&Tracks::default()), Err(CodecError::NoTrack));
    }
}
