//! Golden bytes of each kind of tag, written by hand from the two specifications.

use alloc::vec;
use alloc::vec::Vec;

use super::*;
use crate::track::AudioFormat;

fn config(codec: Codec, record: &'static [u8]) -> TrackConfig {
    let audio = (codec.kind() == TrackKind::Audio).then_some(AudioFormat {
        sample_rate: 48_000,
        channels: 2,
        frame_samples: 1024,
    });
    TrackConfig { codec, record: Bytes::from_static(record), audio }
}

fn unit(stamp_ms: u32, composition_ms: i32, keyframe: bool) -> FlvUnit<'static> {
    FlvUnit { stamp_ms, composition_ms, keyframe, data: b"DATA" }
}

/// A tag of `kind` at `time` (its seven bytes from the timestamp to the stream id) around `body`.
fn golden(kind: u8, time: &[u8; 7], body: &[u8]) -> Vec<u8> {
    let mut tag = vec![kind, 0, 0, body.len() as u8];
    tag.extend(time);
    tag.extend(body);
    tag.extend([0, 0, 0, body.len() as u8 + 11]);
    tag
}

#[test]
fn the_file_header_says_which_tracks_there_are() {
    let video = Some(config(Codec::H264, b"r"));
    let audio = Some(config(Codec::Aac, b"r"));
    let both = Tracks { video: video.clone(), audio: audio.clone() };
    assert_eq!(file_header(&both)[..], *b"FLV\x01\x05\0\0\0\x09\0\0\0\0");
    assert_eq!(file_header(&Tracks { video, audio: None })[..], *b"FLV\x01\x01\0\0\0\x09\0\0\0\0");
    assert_eq!(file_header(&Tracks { video: None, audio })[..], *b"FLV\x01\x04\0\0\0\x09\0\0\0\0");
}

#[test]
fn sequence_headers_take_each_codecs_form() {
    let at = b"\x02\x03\x04\x01\0\0\0";
    let check = |codec, kind, body: &[u8]| {
        assert_eq!(sequence_header(&config(codec, b"REC"), 0x0102_0304), golden(kind, at, body), "{codec}");
    };
    check(Codec::H264, 9, b"\x17\0\0\0\0REC");
    check(Codec::Hevc, 9, b"\x90hvc1REC");
    check(Codec::Av1, 9, b"\x90av01REC");
    check(Codec::Aac, 8, b"\xaf\0REC");
    check(Codec::Opus, 8, b"\x90OpusREC");
}

#[test]
fn media_tags_take_each_codecs_form() {
    let at = b"\xff\xff\xfe\xff\0\0\0";
    let check = |codec, composition_ms, keyframe, kind, body: &[u8]| {
        let unit = unit(0xFFFF_FFFE, composition_ms, keyframe);
        assert_eq!(media_tag(codec, &unit), golden(kind, at, body), "{codec} {composition_ms} {keyframe}");
    };
    check(Codec::H264, 66, true, 9, b"\x17\x01\0\0\x42DATA");
    check(Codec::H264, -34, false, 9, b"\x27\x01\xff\xff\xdeDATA");
    check(Codec::Hevc, 0, true, 9, b"\x93hvc1DATA");
    check(Codec::Hevc, 33, false, 9, b"\xa1hvc1\0\0\x21DATA");
    check(Codec::Av1, 0, false, 9, b"\xa1av01DATA");
    check(Codec::Aac, 0, true, 8, b"\xaf\x01DATA");
    check(Codec::Opus, 0, true, 8, b"\x91OpusDATA");
}

#[test]
fn a_unit_that_no_tag_can_hold_gives_nothing() {
    let data = vec![0; 0x100_0000];
    let unit = FlvUnit { stamp_ms: 0, composition_ms: 0, keyframe: true, data: &data };
    assert!(media_tag(Codec::H264, &unit).is_empty());
}

#[test]
fn metadata_lists_what_is_known() {
    let tracks = Tracks { video: Some(config(Codec::H264, b"r")), audio: Some(config(Codec::Aac, b"r")) };
    let mut body = b"\x02\0\x0aonMetaData\x08\0\0\0\x08".to_vec();
    body.extend(b"\0\x05width\0\x40\x94\0\0\0\0\0\0"); // 1280
    body.extend(b"\0\x06height\0\x40\x86\x80\0\0\0\0\0"); // 720
    body.extend(b"\0\x09framerate\0\x40\x3d\xf8\x51\xeb\x85\x1e\xb8"); // 29.97
    body.extend(b"\0\x0cvideocodecid\0\x40\x1c\0\0\0\0\0\0"); // 7
    body.extend(b"\0\x0faudiosamplerate\0\x40\xe7\x70\0\0\0\0\0"); // 48000
    body.extend(b"\0\x0daudiochannels\0\x40\0\0\0\0\0\0\0"); // 2
    body.extend(b"\0\x06stereo\x01\x01");
    body.extend(b"\0\x0caudiocodecid\0\x40\x24\0\0\0\0\0\0"); // 10
    body.extend(b"\0\0\x09");
    assert_eq!(metadata(&tracks, Some((1280, 720)), Some(29_970)), golden(18, &[0; 7], &body));
}

#[test]
fn metadata_names_newer_codecs_by_their_four_cc() {
    let tracks = Tracks { video: Some(config(Codec::Hevc, b"r")), audio: None };
    let mut body = b"\x02\0\x0aonMetaData\x08\0\0\0\x01\0\x0cvideocodecid\0".to_vec();
    body.extend(1_752_589_105.0_f64.to_be_bytes()); // "hvc1"
    body.extend(b"\0\0\x09");
    assert_eq!(metadata(&tracks, None, None), golden(18, &[0; 7], &body));
}
