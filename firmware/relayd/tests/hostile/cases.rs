//! The cases, numbered as in docs/cases.md.

use crate::laboratory::{Laboratory, until};
use crate::programme::{Coding, Publisher, Tag, code};
use crate::verdict::{Playlist, check_media, check_sync, playlist, read};

/// Publishes the whole, waits until all of it is out, and has it judged: decodes, in order, in sync.
fn judged(tags: &[(i64, Tag)], least_s: f64) -> (Laboratory, Playlist) {
    let lab = Laboratory::start("");
    let mut publisher = Publisher::connect(lab.rtmp, "secret");
    publisher.send_paced(tags);
    publisher.finish();
    let playlist = complete(&lab, least_s);
    (lab, playlist)
}

/// The playlist once it holds so many seconds.
fn complete(lab: &Laboratory, least_s: f64) -> Playlist {
    until("everything that was published is listed", || {
        let playlist = playlist(lab);
        let listed: f64 = playlist.segments.iter().map(|segment| segment.duration_s).sum();
        println!("{listed} s are listed");
        (listed >= least_s).then_some(playlist)
    })
}

fn in_sync(lab: &Laboratory, playlist: &Playlist, least: usize) {
    let files = check_media(lab, playlist);
    for file in &files {
        check_sync(file, if files.len() == 1 { least } else { 1 });
    }
}

fn paced(tags: &[Tag]) -> Vec<(i64, Tag)> {
    tags.iter().map(|tag| (tag.stamp_ms, tag.clone())).collect()
}

/// The same programme with other stamps, sent when it would have been.
fn stamped(tags: &[Tag], stamp: impl Fn(&Tag) -> i64) -> Vec<(i64, Tag)> {
    tags.iter().map(|tag| (tag.stamp_ms, Tag { stamp_ms: stamp(tag), ..tag.clone() })).collect()
}

#[test]
fn case_01_a_keyframe_each_eight_seconds() {
    let tags = code(Coding { seconds: 19, group: 250, ..Coding::default() });
    let (lab, playlist) = judged(&paced(&tags), 18.0);
    let durations: Vec<String> =
        playlist.segments.iter().map(|segment| format!("{:.2}", segment.duration_s)).collect();
    assert_eq!(durations[..2], ["8.33", "8.33"]);
    assert_eq!(playlist.target_duration_s, 9);
    in_sync(&lab, &playlist, 15);
}

#[test]
fn case_02_every_segment_begins_with_a_keyframe() {
    let keyframes_s = "0,1.1,1.9,4.3,4.4,7.0,9.2";
    let tags = code(Coding { seconds: 11, group: 1000, keyframes_s, b_frames: 2, ..Coding::default() });
    let (lab, playlist) = judged(&paced(&tags), 10.0);
    in_sync(&lab, &playlist, 8);
}

#[test]
fn case_03_a_longer_group_later_opens_another_playlist() {
    let keyframes_s = "0,2,4,6,12";
    let tags = code(Coding { seconds: 14, group: 1000, keyframes_s, ..Coding::default() });
    let lab = Laboratory::start("");
    let mut publisher = Publisher::connect(lab.rtmp, "secret");
    let middle = tags.iter().position(|tag| tag.stamp_ms > 5000).unwrap();
    publisher.send(&tags[..middle]);
    let first = playlist(&lab);
    publisher.send(&tags[middle..]);
    publisher.finish();
    let second = until("the other playlist is current", || {
        let current = playlist(&lab);
        (current.name != first.name && current.segments.len() >= 2).then_some(current)
    });
    let superseded = read(&lab, &first.name);
    assert_eq!((first.target_duration_s, superseded.target_duration_s, superseded.ended), (2, 2, true));
    let longest = second.segments.iter().map(|segment| segment.duration_s).fold(0.0, f64::max);
    assert!(
        second.target_duration_s >= 6 && (longest - 6.0).abs() < 0.05,
        "{longest} of {}",
        second.target_duration_s
    );
    check_media(&lab, &superseded);
    in_sync(&lab, &second, 5);
}

#[test]
fn case_04_parts_at_24_frames_a_second_and_with_dropped_frames() {
    let mut tags = code(Coding { frame_rate: 24, group: 48, ..Coding::default() });
    let (lab, playlist) = judged(&paced(&tags), 9.5);
    assert!((0.208..0.2086).contains(&playlist.part_target_s), "{}", playlist.part_target_s);
    in_sync(&lab, &playlist, 8);
    // Frames that nothing refers to can be dropped by the encoder at any time.
    let mut frame = 0;
    tags.retain(|tag| {
        frame += u32::from(tag.video && !tag.is_header());
        !tag.video || tag.is_header() || tag.is_keyframe() || frame < 20 || frame % 7 < 5
    });
    let (lab, playlist) = judged(&paced(&tags), 9.0);
    crate::verdict::check_rules(&playlist);
    drop(lab);
}

#[test]
fn case_05_what_can_not_come_is_said_at_once() {
    let tags = code(Coding { seconds: 6, ..Coding::default() });
    let lab = Laboratory::start("");
    let mut publisher = Publisher::connect(lab.rtmp, "secret");
    publisher.send(&tags[..tags.len() - 20]);
    let current = playlist(&lab);
    let path = format!("/live/demo/{}", current.name);
    assert_eq!(lab.get(&format!("{path}?_HLS_msn=100000")).status, 400);
    assert_eq!(lab.get(&format!("{path}?_HLS_part=1")).status, 400);
    // The publisher has stopped without a word: the next part is waited for, but not for ever. Until the last part
    // is out a request for the one behind it is still answered.
    let (stalled, next) = until("the stall is said", || {
        let current = playlist(&lab);
        let hint = current.text.lines().last()?.strip_prefix("#EXT-X-PRELOAD-HINT")?;
        let next = hint.split('"').nth(1)?.to_owned();
        let mut numbers = next.split('/').next_back()?.split('.');
        let (msn, part) = (numbers.next()?.parse::<u64>().ok()?, numbers.next()?.parse::<u32>().ok()?);
        let answer = lab.get(&format!("{path}?_HLS_msn={msn}&_HLS_part={}", part + 1));
        (answer.status == 503).then_some((answer, next))
    });
    assert!(stalled.head.to_ascii_lowercase().contains("retry-after"), "{}", stalled.head);
    publisher.send(&tags[tags.len() - 20..]);
    publisher.finish();
    until("the hinted part is known never to come", || {
        (lab.get(&format!("/live/demo/{}/999.9.m4s", next.split('/').next().unwrap())).status == 404)
            .then_some(())
    });
}

#[test]
fn case_07_negative_composition_times() {
    let mut tags = code(Coding { b_frames: 2, ..Coding::default() });
    for tag in tags.iter_mut().filter(|tag| tag.video && !tag.is_header()) {
        // As encoders do that stamp decoding times two frames late.
        let earlier = tag.composition_ms() - 67;
        tag.set_composition_ms(earlier);
        tag.stamp_ms += 67;
    }
    tags.sort_by_key(|tag| tag.stamp_ms);
    let (lab, playlist) = judged(&paced(&tags), 9.5);
    in_sync(&lab, &playlist, 8);
}

#[test]
fn case_08_disordered_decoding_times() {
    let tags = code(Coding::default());
    let mut frame = 0;
    let bent: Vec<(i64, Tag)> = tags
        .iter()
        .map(|tag| {
            frame += i64::from(tag.video);
            let mut bent = tag.clone();
            if tag.video && !tag.is_header() && frame % 10 == 5 {
                // Decoded before its predecessor, if the stamp were true; shown when it should be.
                bent.stamp_ms -= 40;
                bent.set_composition_ms(40);
            }
            (tag.stamp_ms, bent)
        })
        .collect();
    let (lab, playlist) = judged(&bent, 9.5);
    in_sync(&lab, &playlist, 8);
}

#[test]
fn case_09_stamps_cross_24_and_32_bits() {
    let tags = code(Coding::default());
    for start in [0xff_ffff - 4000, 0xffff_ffff - 4000] {
        let (lab, playlist) = judged(&stamped(&tags, |tag| tag.stamp_ms + start), 9.5);
        assert!(playlist.segments.iter().all(|segment| !segment.discontinuity), "{}", playlist.text);
        in_sync(&lab, &playlist, 8);
    }
}

#[test]
fn case_10_the_clock_jumps() {
    let tags = code(Coding::default());
    for jump in [3_600_000, -4_900] {
        let moved = stamped(&tags, |tag| 10_000 + tag.stamp_ms + if tag.stamp_ms < 5_000 { 0 } else { jump });
        let (lab, playlist) = judged(&moved, 9.5);
        let breaks = playlist.segments.iter().filter(|segment| segment.discontinuity).count();
        assert_eq!(breaks, 1, "{jump}: {}", playlist.text);
        in_sync(&lab, &playlist, 8);
    }
    let lone =
        stamped(&tags, |tag| if tag.stamp_ms == 5_000 && tag.video { 99_000_000 } else { tag.stamp_ms });
    let (lab, playlist) = judged(&lone, 9.5);
    assert!(playlist.segments.iter().all(|segment| !segment.discontinuity), "{}", playlist.text);
    in_sync(&lab, &playlist, 8);
}

#[test]
fn case_11_the_same_key_takes_over_a_half_open_connection() {
    let tags = code(Coding { seconds: 6, ..Coding::default() });
    let lab = Laboratory::start("");
    let mut first = Publisher::connect(lab.rtmp, "secret");
    first.send(&tags);
    let before = playlist(&lab);
    // `first` stays open and says nothing more.
    let mut second = Publisher::connect(lab.rtmp, "secret");
    second.send(&tags);
    second.finish();
    let after = complete(&lab, 11.0);
    assert_eq!(after.name, before.name, "viewers stay on their playlist");
    assert_eq!(after.segments.iter().filter(|segment| segment.discontinuity).count(), 1, "{}", after.text);
    in_sync(&lab, &after, 4);
    drop(first);
}

#[test]
fn case_12_the_configuration_changes_and_the_box_restarts() {
    let before = code(Coding { seconds: 5, ..Coding::default() });
    let after: Vec<Tag> = code(Coding { seconds: 5, size: "320x180", ..Coding::default() })
        .into_iter()
        .map(|tag| Tag { stamp_ms: tag.stamp_ms + 5_000, ..tag })
        .collect();
    let (mut lab, playlist) = judged(&paced(&[before.clone(), after].concat()), 9.5);
    let maps: Vec<&str> = playlist.segments.iter().map(|segment| segment.map.as_str()).collect();
    assert!(maps.first() != maps.last(), "{}", playlist.text);
    in_sync(&lab, &playlist, 4);
    let highest = playlist.first_msn + playlist.segments.len() as u64;
    lab.restart();
    let mut publisher = Publisher::connect(lab.rtmp, "secret");
    publisher.send(&before);
    publisher.finish();
    let restarted = complete(&lab, 4.5);
    assert!(restarted.first_msn >= highest, "{} after {highest}", restarted.first_msn);
}

#[test]
fn case_13_audio_in_rounded_milliseconds_that_drifts() {
    let tags = code(Coding { seconds: 20, sample_rate: 44_100, ..Coding::default() });
    // 1000 ppm: by the end the count alone would be 20 ms off.
    let drifting = stamped(&tags, |tag| if tag.video { tag.stamp_ms } else { tag.stamp_ms * 1001 / 1000 });
    let (lab, playlist) = judged(&drifting, 19.0);
    in_sync(&lab, &playlist, 17);
}

#[test]
fn case_14_one_offset_between_audio_and_video_all_along() {
    let (lab, playlist) = judged(&paced(&code(Coding::default())), 9.5);
    let files = check_media(&lab, &playlist);
    let starts = crate::verdict::probe(&files[0], &["-show_entries", "stream=start_time", "-of", "csv=p=0"]);
    let starts: Vec<f64> = starts.lines().map(|line| line.trim_end_matches(',').parse().unwrap()).collect();
    assert!((starts[0] - starts[1]).abs() < 0.05, "{starts:?}");
    check_sync(&files[0], 8);
}

#[test]
fn case_15_a_track_that_comes_late_or_never() {
    let tags = code(Coding::default());
    let late: Vec<(i64, Tag)> =
        paced(&tags).into_iter().filter(|(at, tag)| tag.video || tag.is_header() || *at > 3_000).collect();
    // Other codecs are another playlist: it holds what came from the next keyframe on.
    let (lab, playlist) = judged(&late, 5.9);
    assert!(lab.get("/live/demo/index.m3u8").text().contains("avc1.42c00b,mp4a.40.2"));
    in_sync(&lab, &playlist, 5);

    for video in [true, false] {
        let alone: Vec<(i64, Tag)> = paced(&tags).into_iter().filter(|(_, tag)| tag.video == video).collect();
        let (lab, playlist) = judged(&alone, 9.0);
        check_media(&lab, &playlist);
    }

    let lost: Vec<(i64, Tag)> =
        paced(&tags).into_iter().filter(|(at, tag)| tag.video || *at < 4_000).collect();
    let (lab, playlist) = judged(&lost, 5.9);
    assert!(!lab.get("/live/demo/index.m3u8").text().contains("mp4a"));
    check_media(&lab, &playlist);
}

#[test]
fn case_16_memory_stays_within_its_budget() {
    let lab = Laboratory::start("[cache]\nstream_mib_max = 4\nbox_mib_max = 16\n");
    let mut tags = code(Coding { seconds: 40, size: "320x180", ..Coding::default() });
    // Filler NAL units (type 12) make a real stream as heavy as a 12 Mbit/s one.
    for tag in tags.iter_mut().filter(|tag| tag.video && !tag.is_header()) {
        let filler = [&[0x0c][..], &[0xff; 50_000], &[0x80]].concat();
        tag.body.extend_from_slice(&(filler.len() as u32).to_be_bytes());
        tag.body.extend_from_slice(&filler);
    }
    let mut publisher = Publisher::connect(lab.rtmp, "secret");
    publisher.send(&tags);
    publisher.finish();
    let playlist = playlist(&lab);
    assert!(playlist.first_msn > 0, "{}", playlist.text);
    let listed: usize =
        playlist.segments.iter().map(|segment| lab.fetch(&format!("/live/demo/{}", segment.uri)).len()).sum();
    assert!(listed <= 4 << 20, "{listed} bytes are listed");
}

/// The judges themselves: each promise broken on purpose must turn a check red.
mod planted {
    use std::panic::{AssertUnwindSafe, catch_unwind};

    use super::*;
    use crate::verdict::check_rules;

    fn red(check: impl FnOnce()) {
        assert!(catch_unwind(AssertUnwindSafe(check)).is_err(), "the planted fault was not found");
    }

    #[test]
    fn a_shift_of_100_ms_is_found() {
        let tags = code(Coding::default());
        let shifted = stamped(&tags, |tag| if tag.video { tag.stamp_ms } else { tag.stamp_ms + 100 });
        let (lab, playlist) = judged(&shifted, 9.0);
        let files = check_media(&lab, &playlist);
        red(|| check_sync(&files[0], 8));
    }

    #[test]
    fn a_cut_inside_a_group_and_false_declarations_are_found() {
        let (lab, playlist) = judged(&paced(&code(Coding::default())), 9.5);
        check_media(&lab, &playlist);
        let mut cut = playlist.clone();
        let newest = cut.segments.iter_mut().rfind(|segment| segment.parts.len() > 4).unwrap();
        (newest.uri, newest.parts) = (newest.parts[3].1.clone(), Vec::new());
        red(|| drop(check_media(&lab, &cut)));
        red(|| check_rules(&Playlist { target_duration_s: 1, ..playlist.clone() }));
        red(|| check_rules(&Playlist { part_target_s: 0.15, ..playlist.clone() }));
        red(|| check_rules(&Playlist { part_target_s: 0.3, ..playlist.clone() }));
    }
}
