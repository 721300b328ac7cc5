//! Any bytes as segments in a row: no panic, units in order of decoding, and none before its configuration.
#![no_main]

use ingest::Event;
use ingest::ts::Segments;
use libfuzzer_sys::fuzz_target;
use stream::TrackKind;

fuzz_target!(|segments: Vec<&[u8]>| {
    let mut reader = Segments::new();
    let mut configured = [false; 2];
    for segment in segments {
        let Ok(events) = reader.handle_segment(segment) else { return };
        assert!(events.windows(2).all(|pair| pair[0].at_ms <= pair[1].at_ms));
        for timed in events {
            match timed.event {
                Event::Config(config) => configured[usize::from(config.codec.kind() == TrackKind::Audio)] = true,
                Event::Unit(unit) => {
                    assert!(configured[usize::from(unit.kind == TrackKind::Audio)], "a unit without a configuration");
                    assert!(!unit.data.is_empty() && unit.data.len() <= 2 * segment.len());
                }
                Event::Metadata(_) => panic!("segments say nothing of themselves"),
            }
        }
    }
});
