//! The stamps of real publishers that went wrong elsewhere, and what the timeline makes of them.

use std::vec::Vec;

use proptest::prelude::*;

use super::*;
use crate::track::{AudioFormat, Codec};

fn timeline(rate: u32) -> Timeline {
    let mut timeline = Timeline::default();
    let format = AudioFormat { sample_rate: rate, channels: 2, frame_samples: 1024 };
    timeline.handle_config(&TrackConfig { codec: Codec::Aac, record: Bytes::new(), audio: Some(format) });
    timeline
}

fn video(timeline: &mut Timeline, stamp_ms: u32, composition_ms: i32) -> TimedUnit {
    let unit =
        AccessUnit { kind: TrackKind::Video, stamp_ms, composition_ms, keyframe: false, data: Bytes::new() };
    timeline.handle_unit(unit, None).unwrap()
}

fn audio(timeline: &mut Timeline, stamp_ms: u32) -> Option<TimedUnit> {
    let unit = AccessUnit {
        kind: TrackKind::Audio,
        stamp_ms,
        composition_ms: 0,
        keyframe: true,
        data: Bytes::new(),
    };
    timeline.handle_unit(unit, None)
}

/// Decoding times in milliseconds.
fn check(stamps: &[u32], expected: &[i64]) {
    let mut timeline = timeline(48_000);
    let times: Vec<i64> = stamps.iter().map(|stamp| video(&mut timeline, *stamp, 0).dts.millis()).collect();
    assert_eq!(times, expected);
}

#[test]
fn stamps_cross_24_and_32_bits() {
    check(&[0x00ff_fff0, 0x0100_0010], &[16_777_200, 16_777_232]);
    check(&[0xffff_fff0, 0x0000_0010], &[4_294_967_280, 4_294_967_312]);
}

#[test]
fn a_lone_wild_stamp_is_interpolated() {
    check(&[0, 33, 66, 90_000_000, 132, 165], &[0, 33, 66, 99, 132, 165]);
}

#[test]
fn three_stamps_that_agree_are_a_new_timeline_which_goes_on_where_the_old_one_was() {
    check(&[0, 33, 66, 500_000, 500_033, 500_066, 500_099], &[0, 33, 66, 99, 132, 165, 198]);
    check(&[60_000, 60_033, 0, 33, 66, 99], &[60_000, 60_033, 60_066, 60_099, 60_132, 60_165]);
}

#[test]
fn the_jump_is_marked_once_on_the_unit_that_settled_it() {
    let mut timeline = timeline(48_000);
    let jumped: Vec<bool> = [0, 33, 500_000, 500_033, 500_066, 500_099]
        .iter()
        .map(|stamp| video(&mut timeline, *stamp, 0).jumped)
        .collect();
    assert_eq!(jumped, [false, false, false, false, true, false]);
    assert_eq!(timeline.repairs().jumps, 1);
}

#[test]
fn both_tracks_follow_one_jump() {
    let mut timeline = timeline(48_000);
    for n in 0..30 {
        video(&mut timeline, n * 33, 0);
        audio(&mut timeline, n * 33);
    }
    let mut last = (Ticks::ZERO, Ticks::ZERO);
    for n in 30..60 {
        last.0 = video(&mut timeline, 700_000 + n * 33, 0).dts;
        if let Some(unit) = audio(&mut timeline, 700_000 + n * 33) {
            last.1 = unit.dts;
        }
    }
    assert_eq!(timeline.repairs().jumps, 1);
    assert!((last.0 - last.1).abs() < Ticks::from_millis(80), "{last:?}");
}

#[test]
fn a_track_that_was_away_comes_back_beside_the_other_one() {
    let mut timeline = timeline(48_000);
    for n in 0..750u32 {
        if !(30..300).contains(&n) {
            video(&mut timeline, n * 33, 0);
        }
        audio(&mut timeline, n * 33);
    }
    // The pause is nine seconds.
    let last = video(&mut timeline, 750 * 33, 0);
    assert_eq!((last.dts.millis(), timeline.repairs().jumps), (750 * 33, 0));
}

#[test]
fn a_jump_goes_on_from_the_track_that_is_ahead() {
    let mut timeline = timeline(48_000);
    video(&mut timeline, 0, 0);
    for n in 0..600u32 {
        audio(&mut timeline, n * 64 / 3);
    }
    // The newest audio is at 12 778 ms; then both come from an encoder that began anew.
    let times: Vec<i64> = (0..4u32).map(|n| video(&mut timeline, 700_000 + n * 33, 0).dts.millis()).collect();
    assert_eq!(times[2..], [12_844, 12_877]);
    assert_eq!(audio(&mut timeline, 700_132).map(|unit| unit.dts.millis()), Some(12_800));
}

#[test]
fn a_track_that_goes_back_to_the_other_one_is_followed() {
    let mut timeline = timeline(48_000);
    for n in 0..750u32 {
        let ahead = if (30..60).contains(&n) { 3000 } else { 0 };
        video(&mut timeline, n * 33 + ahead, 0);
        audio(&mut timeline, n * 33);
    }
    assert_eq!(video(&mut timeline, 750 * 33, 0).pts.millis(), 750 * 33);
}

#[test]
fn small_disorder_moves_forward_and_keeps_what_is_shown() {
    let mut timeline = timeline(48_000);
    video(&mut timeline, 100, 0);
    let late = video(&mut timeline, 90, 40);
    assert_eq!((late.dts, late.pts), (Ticks(9001), Ticks::from_millis(130)));
}

#[test]
fn negative_composition_is_kept() {
    let mut timeline = timeline(48_000);
    assert_eq!(video(&mut timeline, 1000, -34).pts, Ticks::from_millis(966));
}

#[test]
fn audio_counts_samples_whatever_the_milliseconds_say() {
    let mut timeline = timeline(44_100);
    // 1024 samples at 44.1 kHz are 23.22 ms: the stamps are 0 23 46 70 93 116 139 163 186 209.
    let stamps = [0, 23, 46, 70, 93, 116, 139, 163, 186, 209];
    let samples: Vec<i64> =
        stamps.iter().map(|stamp| audio(&mut timeline, *stamp).unwrap().samples).collect();
    assert_eq!(samples, [0, 1024, 2048, 3072, 4096, 5120, 6144, 7168, 8192, 9216]);
}

#[test]
fn audio_follows_a_publisher_whose_clock_drifts() {
    let mut timeline = timeline(48_000);
    // 200 ppm fast: after ten minutes the count alone would be 120 ms off.
    let mut worst = 0;
    for n in 0..28_125u64 {
        let stamp = n * 1024 * 1_000_200 / 48_000_000;
        let unit = audio(&mut timeline, stamp as u32).unwrap();
        worst = worst.max((unit.dts - Ticks::from_millis(stamp as i64)).abs().millis());
    }
    assert!(worst <= 8, "{worst} ms");
    assert!((150..=250).contains(&timeline.drift_ppm()), "{} ppm", timeline.drift_ppm());
}

#[test]
fn lost_audio_leaves_a_hole_and_doubled_audio_is_skipped() {
    let mut timeline = timeline(48_000);
    for n in 0..10u32 {
        audio(&mut timeline, n * 64 / 3);
    }
    let lost: Vec<Option<i64>> =
        (10..14u32).map(|n| audio(&mut timeline, 1000 + n * 64 / 3).map(|unit| unit.dts.millis())).collect();
    assert_eq!(lost, [Some(213), Some(235), Some(1256), Some(1277)]);
    let doubled: Vec<bool> = (0..6u32).map(|n| audio(&mut timeline, 1130 + n * 64 / 3).is_some()).collect();
    assert_eq!(doubled, [true, true, false, false, false, false]);
    assert_eq!((timeline.repairs().audio_gaps, timeline.repairs().audio_dropped), (1, 4));
}

#[test]
fn audio_before_its_configuration_is_not_placed() {
    assert_eq!(audio(&mut Timeline::default(), 0), None);
}

proptest! {
    /// Whatever is sent, each track's times only grow and nothing panics.
    #[test]
    fn times_only_grow(units in prop::collection::vec((any::<bool>(), any::<u32>(), -1000i32..1000), 1..300)) {
        let mut timeline = timeline(44_100);
        let (mut last_video, mut last_audio) = (Ticks(i64::MIN), i64::MIN);
        for (is_video, stamp, composition) in units {
            if is_video {
                let unit = video(&mut timeline, stamp, composition);
                prop_assert!(unit.dts > last_video);
                last_video = unit.dts;
            } else if let Some(unit) = audio(&mut timeline, stamp) {
                prop_assert!(unit.samples > last_audio);
                last_audio = unit.samples;
            }
        }
    }

    /// A clean publisher is passed through to the tick, wherever its clock starts and however it interleaves.
    #[test]
    fn clean_stamps_are_kept(start in any::<u32>(), ahead in 0u32..300) {
        let mut timeline = timeline(48_000);
        let first = i64::from(start);
        for n in 0..100u32 {
            let stamp = start.wrapping_add(n * 40);
            let unit = video(&mut timeline, stamp, 0);
            prop_assert_eq!(unit.dts, Ticks::from_millis(first + i64::from(n) * 40));
            if n >= ahead / 40 {
                audio(&mut timeline, stamp);
            }
        }
        prop_assert_eq!(timeline.repairs().jumps, 0);
        prop_assert_eq!(timeline.repairs().reordered, 0);
    }
}
