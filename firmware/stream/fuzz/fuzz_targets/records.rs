//! Configuration records and units of any bytes into CODECS strings, Opus lengths and FLV tags: no panic, nothing that
//! would end an attribute of a playlist, and only whole tags.
#![no_main]

use arbitrary::Arbitrary;
use bytes::Bytes;
use libfuzzer_sys::fuzz_target;
use stream::codec::{codec_string, codecs_string};
use stream::flv::{FlvUnit, file_header, media_tag, metadata, sequence_header};
use stream::{AudioFormat, Codec, TrackConfig, Tracks, opus};

#[derive(Arbitrary, Debug)]
struct Input<'a> {
    video: Option<(u8, &'a [u8])>,
    audio: Option<(bool, u32, u8, &'a [u8])>,
    resolution: Option<(u32, u32)>,
    frame_rate_milli: Option<u32>,
    units: Vec<(u32, i32, bool, &'a [u8])>,
}

impl Input<'_> {
    fn tracks(&self) -> Tracks {
        let video = self.video.map(|(codec, record)| TrackConfig {
            codec: [Codec::H264, Codec::Hevc, Codec::Av1][usize::from(codec % 3)],
            record: Bytes::copy_from_slice(record),
            audio: None,
        });
        let audio = self.audio.map(|(aac, sample_rate, channels, record)| TrackConfig {
            codec: if aac { Codec::Aac } else { Codec::Opus },
            record: Bytes::copy_from_slice(record),
            audio: Some(AudioFormat { sample_rate, channels, frame_samples: 1024 }),
        });
        Tracks { video, audio }
    }
}

/// Walks the tags of an FLV file behind its header.
fn check_tags(mut tags: &[u8]) -> usize {
    let mut count = 0;
    while !tags.is_empty() {
        let (head, rest) = tags.split_first_chunk::<11>().expect("a tag's header");
        assert!([8, 9, 18].contains(&head[0]), "{head:?}");
        assert_eq!(head[8..], [0, 0, 0]);
        let length = u32::from_be_bytes([0, head[1], head[2], head[3]]) as usize;
        let (size, rest) = rest[length..].split_first_chunk().expect("PreviousTagSize");
        assert_eq!(u32::from_be_bytes(*size) as usize, 11 + length);
        tags = rest;
        count += 1;
    }
    count
}

fuzz_target!(|input: Input<'_>| {
    let tracks = input.tracks();
    assert_eq!(file_header(&tracks).len(), 13);
    assert_eq!(check_tags(&metadata(&tracks, input.resolution, input.frame_rate_milli)), 1);
    if let Ok(codecs) = codecs_string(&tracks) {
        let harmless = |byte: u8| byte.is_ascii_alphanumeric() || b".,".contains(&byte);
        assert!(codecs.bytes().all(harmless) && codecs.len() < 100, "{codecs}");
    }
    for track in [&tracks.video, &tracks.audio].into_iter().flatten() {
        assert!(codec_string(track).is_ok() || codecs_string(&tracks).is_err());
        assert_eq!(check_tags(&sequence_header(track, 0)), 1);
        for (stamp_ms, composition_ms, keyframe, data) in &input.units {
            let unit =
                FlvUnit { stamp_ms: *stamp_ms, composition_ms: *composition_ms, keyframe: *keyframe, data };
            assert_eq!(check_tags(&media_tag(track.codec, &unit)), 1);
            assert!(opus::packet_samples(data).is_none_or(|samples| (1..=5760).contains(&samples)));
        }
    }
});
