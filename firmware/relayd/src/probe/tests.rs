//! The readers against media made by hand, byte by byte.

use super::media::{Kind, Media, Stamp};
use super::summary::Summary;
use super::*;

pub(crate) mod fragment;
pub(crate) mod transport;

use fragment::Fragment;

fn starts(media: &Media, kind: Kind) -> Vec<f64> {
    media.track(kind).unwrap().samples.iter().map(|sample| sample.pts.millis()).collect()
}

#[test]
fn fragments_are_read_down_to_the_picture() {
    let bytes = [fragment::init(), Fragment::part(5).bytes()].concat();
    let split = fmp4::init_bytes(&bytes);
    assert_eq!(&bytes[..split], fragment::init());
    assert_eq!(fmp4::damaged_boxes(&bytes), Vec::<String>::new());
    let media = fmp4::Fmp4::parse(&bytes[..split]).unwrap().read(&bytes[split..]).unwrap();
    let video = media.track(Kind::Video).unwrap();
    let keys: Vec<bool> = video.samples.iter().map(|sample| sample.key).collect();
    assert_eq!(keys, [true, false, false, false, false, false]);
    assert_eq!(video.start(), Some(Stamp(1_000_000_000)));
    assert_eq!(video.span(), Some(Stamp(199_999_999)));
    // 47 frames of 1024 samples at 48 kHz.
    assert_eq!(media.track(Kind::Audio).unwrap().start(), Some(Stamp(1_002_666_666)));
    assert_eq!(fmp4::damaged_boxes(&bytes[..split + 20]), ["the box moof is cut off"]);
    assert!(fmp4::Fmp4::parse(&bytes[..split - 1]).is_err());
    // 100 ms.
    let edited =
        fmp4::Fmp4::parse(&fragment::init_edited(Some(9000))).unwrap().read(&bytes[split..]).unwrap();
    assert_eq!(edited.track(Kind::Video).unwrap().start(), Some(Stamp(900_000_000)));
    assert_eq!(edited.track(Kind::Audio).unwrap().start(), Some(Stamp(1_002_666_666)));
}

#[test]
fn transport_streams_unwrap_their_stamps() {
    let part = |number: u64| {
        let part = Fragment::part(number);
        // Half a second before the 33 bits wrap.
        let (video, audio) = ((1_u64 << 33) - 45_000, ((1_u64 << 33) - 45_000) * 48_000 / 90_000);
        Fragment { video_start: part.video_start + video, audio_start: part.audio_start + audio, ..part }
    };
    let media = ts::read(&transport::segment(&[part(0), part(1), part(2), part(3), part(4)])).unwrap();
    let video = media.track(Kind::Video).unwrap();
    assert_eq!((video.codec.as_str(), video.samples.len()), ("h264", 30));
    assert_eq!(video.samples.iter().filter(|sample| sample.key).count(), 1);
    let rising = |kind| starts(&media, kind).windows(2).all(|pair| pair[1] > pair[0]);
    assert!(rising(Kind::Video) && rising(Kind::Audio));
    let span = video.span().unwrap();
    assert!(span.minus(Stamp(1_000_000_000)).abs() < Stamp(1_000_000), "{span:?}");
    let audio = media.track(Kind::Audio).unwrap();
    assert_eq!((audio.codec.as_str(), audio.samples.len()), ("aac", 47));
}

#[test]
fn damaged_transport_streams_are_errors() {
    let good = transport::segment(&[Fragment::part(0)]);
    assert!(ts::read(&good[..good.len() - 1]).is_err());
    assert!(ts::read(&good[188..188 + 188]).is_err());
    assert!(ts::read(&[]).is_err());
    let mut lost = good.clone();
    lost[188] = 0;
    assert!(ts::read(&lost).is_err());
    // Lengths that point behind the packet, wherever they are, are no panic.
    for at in 0..600.min(good.len()) {
        let mut bent = good.clone();
        bent[at] = 0xff;
        let _ = ts::read(&bent);
    }
}

/// A tag, with the size of it behind.
fn tag(kind: u8, stamp_ms: u32, body: &[u8]) -> Vec<u8> {
    let stamp = stamp_ms.to_be_bytes();
    let size = (body.len() as u32).to_be_bytes();
    let head = [kind, size[1], size[2], size[3], stamp[1], stamp[2], stamp[3], stamp[0], 0, 0, 0];
    [&head[..], body, &(11 + body.len() as u32).to_be_bytes()].concat()
}

#[test]
fn flv_tags_are_read_with_signed_composition_times() {
    let head = b"FLV\x01\x05\0\0\0\x09\0\0\0\0".to_vec();
    let bytes = [
        head,
        tag(18, 0, b"\x02\0\x0aonMetaData"),
        tag(9, 0xff_ffff, &[0x17, 0, 0, 0, 0, 1]),
        tag(8, 0xff_ffff, &[0xaf, 0, 0x12, 0x10]),
        tag(9, 0xff_ffff, &[0x17, 1, 0, 0, 66, 0]),
        tag(8, 0x100_0000, &[0xaf, 1, 0]),
        tag(9, 0x100_0020, &[0x27, 1, 0xff, 0xff, 0xde, 0]),
        // Enhanced RTMP: an HEVC frame with, and one without a composition time.
        tag(9, 0x100_0041, b"\x91hvc1\0\0\x21\0"),
        tag(9, 0x100_0062, b"\xa3hvc1\0"),
        vec![9, 0, 0],
    ]
    .concat();
    let media = flv::read(&bytes).unwrap();
    let found: Vec<_> =
        media.tracks.iter().map(|track| (track.codec.as_str(), track.samples.len())).collect();
    assert_eq!(found, [("h264", 2), ("aac", 1), ("hvc1", 2)]);
    let stamps = |track: usize| -> Vec<(f64, f64, bool)> {
        let samples = media.tracks[track].samples.iter();
        samples.map(|sample| (sample.dts.millis(), sample.pts.millis(), sample.key)).collect()
    };
    assert_eq!(stamps(0), [(16_777_215.0, 16_777_281.0, true), (16_777_248.0, 16_777_214.0, false)]);
    assert_eq!(stamps(2), [(16_777_281.0, 16_777_314.0, true), (16_777_314.0, 16_777_314.0, false)]);
    assert!(flv::read(b"FLV\x01").is_err());
}

#[test]
fn a_summary_has_groups_of_pictures_and_skew() {
    let parts: Vec<Fragment> = (0..15).map(Fragment::part).collect();
    let bytes = [fragment::init(), parts.iter().flat_map(Fragment::bytes).collect()].concat();
    let file = std::env::temp_dir().join(format!("relayd-probe-{}.mp4", std::process::id()));
    std::fs::write(&file, &bytes).unwrap();
    let source = source::open(file.to_str().unwrap(), 1);
    std::fs::remove_file(&file).unwrap();
    let expected = format!(
        "\
fragmented MP4, {} bytes, 640x360
video avc1: 90 samples, 3.000 s
  from 0.0 ms (decoded from 0.0 ms), frames of 33.33 ms, longest 33.33 ms
  3 keyframes; groups of pictures of 1.00 to 1.00 s, median 1.00 s
audio mp4a: 141 samples, 3.008 s
  from 0.0 ms (decoded from 0.0 ms), frames of 21.33 ms, longest 21.33 ms
audio begins +0.0 ms after video, and ends +8.0 ms after it
",
        bytes.len()
    );
    assert_eq!(Summary::of(&source.unwrap()).to_string(), expected);
    assert!(source::open("rtmp://x/y", 1).unwrap_err().to_string().contains("supported"));
    assert!(source::open("/nonexistent", 1).is_err());
}
