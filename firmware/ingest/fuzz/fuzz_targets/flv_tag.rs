//! Any tag bodies in a row: no panic, and units only of what was configured.
#![no_main]

use arbitrary::Arbitrary;
use bytes::Bytes;
use ingest::Event;
use ingest::flv::{Demux, Tag};
use libfuzzer_sys::fuzz_target;
use stream::TrackKind;

#[derive(Arbitrary, Debug)]
struct Body<'a> {
    video: bool,
    stamp_ms: u32,
    bytes: &'a [u8],
}

fuzz_target!(|bodies: Vec<Body<'_>>| {
    let (mut demux, mut events) = (Demux::new(), Vec::new());
    for body in &bodies {
        let kind = if body.video { TrackKind::Video } else { TrackKind::Audio };
        let tag = Tag { kind, stamp_ms: body.stamp_ms, body: Bytes::copy_from_slice(body.bytes) };
        if demux.handle_tag(&tag, &mut events).is_err() {
            break;
        }
    }
    let mut configured = Vec::new();
    for event in &events {
        match event {
            Event::Config(config) => {
                assert_eq!(config.audio.is_some(), config.codec.kind() == TrackKind::Audio);
                assert!(config.audio.is_none_or(|audio| audio.channels > 0 && audio.frame_samples > 0));
                configured.push(config.codec.kind());
            }
            Event::Unit(unit) => {
                assert!(configured.contains(&unit.kind) && !unit.data.is_empty());
                assert!((-0x80_0000..=0x7F_FFFF).contains(&unit.composition_ms));
            }
            Event::Metadata(_) => unreachable!("no tag of audio or video holds metadata"),
        }
    }
});
