//! Tag bodies of each codec and form, and what is skipped or refused.

use proptest::prelude::*;
use stream::flv::FlvUnit;
use stream::{AudioFormat, Codec};

use super::*;
use crate::script::body;

const HEVC_RECORD: &[u8] =
    b"\x01\x01\x60\0\0\0\x90\0\0\0\0\0\x5d\xf0\0\xfc\xfd\xf8\xf8\0\0\x0f\x01\xa0\0\x01\0\x01\x42";
const AV1_RECORD: &[u8] = &[0x81, 0x05, 0x0C, 0x00];
const OPUS_HEAD: &[u8] = b"OpusHead\x01\x02\x38\x01\x80\xbb\0\0\0\0\0";

fn tag(kind: TrackKind, stamp_ms: u32, body: &[u8]) -> Tag {
    Tag { kind, stamp_ms, body: Bytes::copy_from_slice(body) }
}

/// Feeds video bodies 40 ms apart.
fn video(bodies: &[&[u8]]) -> Result<Vec<Event>, Refusal> {
    feed(TrackKind::Video, bodies)
}

fn audio(bodies: &[&[u8]]) -> Result<Vec<Event>, Refusal> {
    feed(TrackKind::Audio, bodies)
}

fn feed(kind: TrackKind, bodies: &[&[u8]]) -> Result<Vec<Event>, Refusal> {
    let (mut demux, mut events) = (Demux::new(), Vec::new());
    for (index, body) in bodies.iter().enumerate() {
        demux.handle_tag(&tag(kind, index as u32 * 40, body), &mut events)?;
    }
    Ok(events)
}

fn config(codec: Codec, record: &[u8], audio: Option<AudioFormat>) -> Event {
    Event::Config(TrackConfig { codec, record: Bytes::copy_from_slice(record), audio })
}

fn picture(stamp_ms: u32, composition_ms: i32, keyframe: bool, data: &[u8]) -> Event {
    let data = Bytes::copy_from_slice(data);
    Event::Unit(AccessUnit { kind: TrackKind::Video, stamp_ms, composition_ms, keyframe, data })
}

fn sound(stamp_ms: u32, data: &[u8]) -> Event {
    let data = Bytes::copy_from_slice(data);
    Event::Unit(AccessUnit { kind: TrackKind::Audio, stamp_ms, composition_ms: 0, keyframe: true, data })
}

#[test]
fn h264_units_carry_their_composition_time() {
    let events = video(&[
        &body::avc_config(),
        b"\x17\x01\0\0\x50\0\0\0\x02\x65a",
        b"\x27\x01\xff\xff\xde\0\0\0\x02\x41b",
        b"\x17\x02\0\0\0",
        b"\x27\x01\x7f\xff\xff\0\0\0\x02\x41b",
        b"\x27\x01\x80\0\0\0\0\0\x02\x41b",
    ]);
    let expected = vec![
        config(Codec::H264, body::AVC_RECORD, None),
        picture(40, 80, true, b"\0\0\0\x02\x65a"),
        picture(80, -34, false, b"\0\0\0\x02\x41b"),
        picture(160, 8_388_607, false, b"\0\0\0\x02\x41b"),
        picture(200, -8_388_608, false, b"\0\0\0\x02\x41b"),
    ];
    assert_eq!(events, Ok(expected));
}

#[test]
fn a_keyframe_is_an_idr_picture_whatever_the_flag_says() {
    let events = video(&[
        &body::avc_config(),
        b"\x17\x01\0\0\0\0\0\0\x02\x09\xf0\0\0\0\x02\x41b", // access unit delimiter and an I slice, flagged
        b"\x27\x01\0\0\0\0\0\0\x02\x67s\0\0\0\x02\x68p\0\0\0\x02\x65a", // parameter sets and IDR, not flagged
        b"\x17\x01\0\0\0\0\0\0\x02\x06\x06\0\0\0\x02\x41b", // recovery point, flagged
    ])
    .unwrap();
    let keyframes: Vec<bool> = events
        .iter()
        .filter_map(|event| if let Event::Unit(unit) = event { Some(unit.keyframe) } else { None })
        .collect();
    assert_eq!(keyframes, [false, true, false]);
}

#[test]
fn hevc_comes_with_and_without_a_composition_time() {
    let start = [b"\x90hvc1", HEVC_RECORD].concat();
    let events = video(&[
        &start,
        b"\x91hvc1\0\0\x21\0\0\0\x03\x26\x01a",     // IDR_W_RADL
        b"\xa3hvc1\0\0\0\x03\x02\x01b",             // TRAIL_R
        b"\xa1hvc1\xff\xff\xff\0\0\0\x03\x2a\x01c", // CRA, flagged as inter
        b"\x94hvc1\x02\0\x09colorInfo",
        b"\x92hvc1",
    ]);
    let expected = vec![
        config(Codec::Hevc, HEVC_RECORD, None),
        picture(40, 33, true, b"\0\0\0\x03\x26\x01a"),
        picture(80, 0, false, b"\0\0\0\x03\x02\x01b"),
        picture(120, -1, true, b"\0\0\0\x03\x2a\x01c"),
    ];
    assert_eq!(events, Ok(expected));
}

#[test]
fn av1_keyframes_are_read_from_the_frame_header() {
    let start = [b"\x90av01", AV1_RECORD].concat();
    let events = video(&[
        &start,
        b"\x91av01\x12\0\x0a\x01\x00\x32\x02\x10\xaa", // delimiter, sequence header, key frame that is shown
        b"\xa1av01\x12\0\x32\x02\x30\xaa",             // inter frame
        b"\x91av01\x32\x02\x00\xaa",                   // key frame that is not shown yet
        b"\x91av01\x32\x02\x90\xaa",                   // shown again
        b"\xa3av01\x30\x10\xaa",                       // key frame without a size, to the end
    ]);
    let expected = vec![
        config(Codec::Av1, AV1_RECORD, None),
        picture(40, 0, true, b"\x12\0\x0a\x01\x00\x32\x02\x10\xaa"),
        picture(80, 0, false, b"\x12\0\x32\x02\x30\xaa"),
        picture(120, 0, false, b"\x32\x02\x00\xaa"),
        picture(160, 0, false, b"\x32\x02\x90\xaa"),
        picture(200, 0, true, b"\x30\x10\xaa"),
    ];
    assert_eq!(events, Ok(expected));
}

#[test]
fn h264_may_come_in_the_enhanced_form() {
    let start = [b"\x90avc1", body::AVC_RECORD].concat();
    let events = video(&[&start, b"\x91avc1\0\0\x05\0\0\0\x01\x65", b"\xa3avc1\0\0\0\x01\x41"]);
    let expected = vec![
        config(Codec::H264, body::AVC_RECORD, None),
        picture(40, 5, true, b"\0\0\0\x01\x65"),
        picture(80, 0, false, b"\0\0\0\x01\x41"),
    ];
    assert_eq!(events, Ok(expected));
}

#[test]
fn modex_is_stepped_over_and_track_0_is_taken() {
    let start = [b"\x90hvc1", HEVC_RECORD].concat();
    let unit = b"\0\0\0\x02\x26\x01";
    let long = [&b"\x97\xff\x01\x00"[..], &[0; 257], b"\x03hvc1", unit].concat();
    let events = video(&[
        &start,
        &[b"\x97\x02\0\0\x01\x03hvc1", &unit[..]].concat(), // three bytes of nanoseconds
        &[b"\x97\0\xaa\x07\0\xbb\x03hvc1", &unit[..]].concat(), // two prefixes
        &long,
        &[b"\x96\x03hvc1\0", &unit[..]].concat(),   // one track, id 0
        &[b"\x96\x03hvc1\x01", &unit[..]].concat(), // one track, id 1
        &[b"\x96\x13hvc1\x01\0\0\x02ab\0\0\0\x06", &unit[..]].concat(), // many tracks, 1 and 0
        &[b"\x96\x23av01\x01\0\0\x02abhvc1\0\0\0\x06", &unit[..]].concat(), // many codecs
    ]);
    let mut expected = vec![config(Codec::Hevc, HEVC_RECORD, None)];
    expected.extend([40, 80, 120, 160, 240, 280].map(|stamp| picture(stamp, 0, true, unit)));
    assert_eq!(events, Ok(expected));
}

#[test]
fn aac_and_opus_come_in_their_forms() {
    let aac = Some(AudioFormat { sample_rate: 44_100, channels: 2, frame_samples: 1024 });
    let expected = vec![config(Codec::Aac, body::AAC_RECORD, aac), sound(40, b"abc")];
    assert_eq!(audio(&[&body::aac_config(), b"\xaf\x01abc"]), Ok(expected.clone()));
    assert_eq!(audio(&[b"\x90mp4a\x12\x10", b"\x91mp4aabc"]), Ok(expected));

    let opus = Some(AudioFormat { sample_rate: 48_000, channels: 2, frame_samples: 960 });
    let start = [b"\x90Opus", OPUS_HEAD].concat();
    let expected = vec![config(Codec::Opus, OPUS_HEAD, opus), sound(40, b"\xfcx"), sound(80, b"\xfcy")];
    assert_eq!(audio(&[&start, b"\x91Opus\xfcx", b"\x91Opus\xfcy"]), Ok(expected));
}

#[test]
fn only_a_changed_configuration_is_an_event() {
    let other = b"\x17\0\0\0\0\x01\x64\0\x28\xff\xe1\0\x04\x67\x64\0\x28\x01\0\x02\x68\xee";
    let events = video(&[&body::avc_config(), &body::avc_config(), other, &body::avc_config()]).unwrap();
    assert_eq!(events.len(), 3);
    let start = [b"\x90Opus", OPUS_HEAD].concat();
    let events =
        audio(&[&body::aac_config(), &body::aac_config(), &start, b"\x91Opus\xfcx", &body::aac_config()]);
    assert_eq!(events.unwrap().len(), 4);
}

#[test]
fn codecs_that_are_not_carried_are_refused_in_plain_words() {
    let check = |result: Result<Vec<Event>, Refusal>, words: &str| {
        let Err(Refusal::UnsupportedCodec(text)) = result else { panic!("{result:?}") };
        assert!(text.contains(words), "{text}");
    };
    check(audio(&[b"\x2f\xff\xfb"]), "MP3 audio: set the encoder to AAC");
    check(audio(&[b"\xbf\0"]), "Speex");
    check(audio(&[b"\x90fLaC\0"]), "FLAC");
    check(audio(&[b"\x91ac-3\0"]), "Dolby");
    check(audio(&[b"\x91\x00\xffzz\0"]), "audio of type \\x00\\xffzz");
    check(audio(&[b"\xaf\0\xba\x10\0"]), "AAC of object type 23");
    check(video(&[b"\x12\0"]), "H.263");
    check(video(&[b"\x1c\0\0\0\0"]), "HEVC in the unofficial form");
    check(video(&[b"\x90vp09\0"]), "video of type vp09");
    check(video(&[b"\x95av01\0"]), "MPEG-2 TS");
}

#[test]
fn broken_bodies_are_skipped_and_counted() {
    let bodies: &[&[u8]] = &[
        b"",
        b"\x17",
        b"\x17\x01\0\0",
        b"\x17\x01\0\0\0",
        b"\x17\x01\0\0\0\0\0\0\x09\x65a",
        b"\x17\x01\0\0\0\0\0",
        b"\x17\x07\0\0\0",
        b"\x90",
        b"\x91hvc",
        b"\x97",
        b"\x97\x05\0",
        b"\x96",
        b"\x96\x33hvc1\0",
        b"\x96\x13hvc1\0\0\0\x09a",
        b"\x91hvc1\0\0\0\0\0\0\x01\x26", // another codec than the configured one
    ];
    let (mut demux, mut events) = (Demux::new(), Vec::new());
    demux.handle_tag(&tag(TrackKind::Video, 0, &body::avc_config()), &mut events).unwrap();
    for body in bodies {
        demux.handle_tag(&tag(TrackKind::Video, 0, body), &mut events).unwrap();
    }
    assert_eq!((events.len(), demux.skipped()), (1, bodies.len() as u64));
}

#[test]
fn nothing_but_broken_bodies_is_refused() {
    let (mut demux, mut events) = (Demux::new(), Vec::new());
    let broken = tag(TrackKind::Video, 0, b"\x27\x01\0\0\0\0\0\0\x02\x41b");
    for _ in 0..500 {
        assert_eq!(demux.handle_tag(&broken, &mut events), Ok(()));
    }
    let Err(Refusal::Malformed(text)) = demux.handle_tag(&broken, &mut events) else { panic!("refused") };
    assert_eq!(text, "500 unusable frames in a row, the last one: video has no sequence header before it");
}

#[test]
fn configurations_that_cant_be_read_are_refused() {
    for body in [
        &b"\x17\0\0\0\0"[..],
        b"\x17\0\0\0\0\x01\x42\xc0\x1e\xff\xe1\0\x04\x67", // SPS is cut off
        b"\x17\0\0\0\0\x01\x42\xc0\x1e\xff\xe0\0\x04\x67abc", // no SPS
        b"\x17\0\0\0\0\x01\x42\xc0\x1e\xfe\xe1\0\x01\x67\x01\0\0", // three length bytes
        b"\x90hvc1\x01",
        b"\x90av01\x01\0\0\0",
    ] {
        assert!(matches!(video(&[body]), Err(Refusal::Malformed(_))), "{body:x?}");
    }
    for body in [&b"\xaf\0"[..], b"\xaf\0\x12", b"\x90OpusOpusTags"] {
        assert!(matches!(audio(&[body]), Err(Refusal::Malformed(_))), "{body:x?}");
    }
}

/// The body of a tag that `stream::flv` wrote, and its timestamp.
fn unwrap_tag(bytes: &Bytes, kind: TrackKind) -> Tag {
    let stamp_ms = u32::from_be_bytes([bytes[7], bytes[4], bytes[5], bytes[6]]);
    let expected_type = if kind == TrackKind::Video { 9 } else { 8 };
    assert_eq!(bytes[0], expected_type);
    Tag { kind, stamp_ms, body: bytes.slice(11..bytes.len() - 4) }
}

proptest! {
    #[test]
    fn what_the_flv_writer_wraps_comes_back(
        codec in prop::sample::select(vec![Codec::H264, Codec::Hevc, Codec::Av1, Codec::Aac, Codec::Opus]),
        stamp_ms: u32,
        composition_ms in -0x80_0000..0x7F_FFFF_i32,
        keyframe: bool,
        payload in prop::collection::vec(any::<u8>(), 1..40),
    ) {
        let kind = codec.kind();
        let record = match codec {
            Codec::H264 => body::AVC_RECORD,
            Codec::Hevc => HEVC_RECORD,
            Codec::Av1 => AV1_RECORD,
            Codec::Aac => body::AAC_RECORD,
            Codec::Opus => OPUS_HEAD,
        };
        let nal = |header: &[u8]| {
            let length = (header.len() + payload.len()) as u32;
            [&length.to_be_bytes()[..], header, &payload].concat()
        };
        let data = match (codec, keyframe) {
            (Codec::H264, true) => nal(&[0x65]),
            (Codec::H264, false) => nal(&[0x41]),
            (Codec::Hevc, true) => nal(&[0x26, 1]),
            (Codec::Hevc, false) => nal(&[0x02, 1]),
            (Codec::Av1, true) => [&[0x30, 0x10], &payload[..]].concat(),
            (Codec::Av1, false) => [&[0x30, 0x30], &payload[..]].concat(),
            (Codec::Aac, _) => payload.clone(),
            (Codec::Opus, _) => [&[0xFC], &payload[..]].concat(),
        };
        let audio = (kind == TrackKind::Audio).then_some(AudioFormat { sample_rate: 0, channels: 0, frame_samples: 0 });
        let config = TrackConfig { codec, record: Bytes::from_static(record), audio };
        let written = FlvUnit { stamp_ms, composition_ms, keyframe, data: &data };
        let (mut demux, mut events) = (Demux::new(), Vec::new());
        for bytes in [stream::flv::sequence_header(&config, stamp_ms), stream::flv::media_tag(codec, &written)] {
            prop_assert_eq!(demux.handle_tag(&unwrap_tag(&bytes, kind), &mut events), Ok(()));
        }
        let [Event::Config(read), Event::Unit(unit)] = &events[..] else { panic!("{events:?}") };
        prop_assert_eq!((read.codec, &read.record[..]), (codec, record));
        let reordered = matches!(codec, Codec::H264 | Codec::Hevc);
        let expected = AccessUnit {
            kind,
            stamp_ms,
            composition_ms: if reordered { composition_ms } else { 0 },
            keyframe: keyframe || kind == TrackKind::Audio,
            data: Bytes::from(data),
        };
        prop_assert_eq!(unit, &expected);
    }

    #[test]
    fn no_bytes_make_it_panic(bodies in prop::collection::vec((any::<bool>(), prop::collection::vec(any::<u8>(), 0..60)), 1..20)) {
        let (mut demux, mut events) = (Demux::new(), Vec::new());
        for (video, body) in bodies {
            let kind = if video { TrackKind::Video } else { TrackKind::Audio };
            let _ = demux.handle_tag(&tag(kind, 0, &body), &mut events);
        }
    }
}
