//! Headers that a stranger sends: refused by name, and without effect.

use super::*;

fn header() -> PartHeader {
    PartHeader {
        epoch: EpochId(0xa),
        msn: 8,
        part: 1,
        start: Ticks::from_millis(600),
        duration: Ticks::from_millis(200),
        independent: false,
        last: false,
        gap: false,
        bytes: 1,
    }
}

/// Pushes a changed header behind a whole segment 7 and the first part of segment 8.
fn check(change: impl FnOnce(&mut PartHeader), expected: Result<(), WindowError>) {
    let mut script = Script::run("epoch a\n group 200 200\n open 200");
    let before = script.media("");
    let mut header = header();
    change(&mut header);
    assert_eq!(script.window.push_part(header.clone()), expected, "{header:?}");
    assert_eq!(script.media("") == before, expected.is_err(), "{header:?}");
}

#[test]
fn parts_come_in_order() {
    let expected = Err(WindowError::OutOfOrder { msn: 8, part: 1 });
    check(|_| {}, Ok(()));
    check(|h| h.part = 0, expected);
    check(|h| h.part = 2, expected);
    check(|h| h.part = u32::MAX, expected);
    check(|h| h.msn = 7, expected);
    check(|h| h.msn = 9, expected);
    check(|h| (h.msn, h.part) = (u64::MAX, 0), expected);
    check(|h| (h.msn, h.part, h.independent) = (9, 0, true), Ok(()));
    check(|h| (h.msn, h.part) = (9, 0), Err(WindowError::NotIndependent));
    check(|h| h.epoch = EpochId(0xb), Err(WindowError::UnknownEpoch));
}

#[test]
fn times_and_lengths_are_plausible() {
    check(|h| h.duration = Ticks::ZERO, Err(WindowError::BadDuration));
    check(|h| h.duration = Ticks(i64::MIN), Err(WindowError::BadDuration));
    check(|h| h.duration = Ticks(18_001), Err(WindowError::BadDuration));
    check(|h| h.start = Ticks::from_millis(499), Err(WindowError::BadStart));
    check(|h| h.start = Ticks::from_millis(701), Err(WindowError::BadStart));
    check(|h| h.start = Ticks(i64::MAX), Err(WindowError::BadStart));
    check(|h| h.start = Ticks(-i64::MAX), Err(WindowError::BadStart));
    check(|h| h.bytes = 0, Err(WindowError::BadLength));
    check(|h| h.gap = true, Err(WindowError::BadLength));
    check(|h| (h.gap, h.bytes) = (true, 0), Ok(()));
}

#[test]
fn records_are_plausible() {
    let check = |change: &dyn Fn(&mut EpochRecord), expected| {
        let mut record = record(EpochId(1), Ticks::from_millis(200), true, 0);
        change(&mut record);
        assert_eq!(Window::new(WindowLimits::default(), 0).begin_epoch(record), expected);
    };
    let bad = |what| Err(WindowError::BadRecord(what));
    check(&|_| {}, Ok(()));
    check(&|r| r.tracks = Tracks::default(), bad("no track"));
    check(&|r| r.part_target = Ticks(899), bad("part target"));
    check(&|r| r.part_target = Ticks(900_001), bad("part target"));
    check(&|r| r.codecs = "avc1\"\n".into(), bad("codecs"));
    check(&|r| r.codecs = "a".repeat(257), bad("codecs"));
    check(&|r| r.resolution = Some((0, 1)), bad("resolution"));
    check(&|r| r.frame_rate_milli = Some(0), bad("frame rate"));
    check(&|r| r.zero_unix_ms = -1, bad("time of media time zero"));
    let mut script = Script::run("epoch a\n group 200");
    let again = record(EpochId(0xa), Ticks::from_millis(200), true, 0);
    assert_eq!(script.window.begin_epoch(again), Err(WindowError::KnownEpoch));
}

#[test]
fn a_jump_of_the_sequence_number_needs_a_playlist_of_its_own() {
    let mut script = Script::run("epoch a\n group 200 200\n open 200");
    let first = script.current();
    let jump = PartHeader { msn: 1000, part: 0, independent: true, last: true, ..header() };
    script.window.push_part(jump).unwrap();
    assert_ne!(script.current(), first);
    assert!(script.media("").contains("#EXT-X-MEDIA-SEQUENCE:1000\n"));
    assert_eq!(script.window.next_msn(), 1001);
    assert!(text(script.window.media(first, &Reload::default())).ends_with("/8.m4s\n#EXT-X-ENDLIST\n"));
}

#[test]
fn a_segment_can_exceed_neither_bytes_nor_parts() {
    let mut script = Script::new(WindowLimits { bytes: 1000, ..WindowLimits::default() });
    script.play("epoch a\n open 3");
    let big = PartHeader { msn: 7, start: Ticks::from_millis(3), bytes: 251, ..header() };
    assert_eq!(script.window.push_part(big), Err(WindowError::OverBudget));
    assert_eq!(script.window.trouble(), Some(Trouble::SegmentTooLarge));
    assert_eq!(script.window.bytes(), 750);
    // Nothing continues it; the next keyframe does.
    let more = PartHeader { msn: 7, start: Ticks::from_millis(3), ..header() };
    assert_eq!(script.window.push_part(more), Err(WindowError::OutOfOrder { msn: 8, part: 0 }));
    script.play("group 1");
    assert_eq!(script.window.trouble(), None);

    let mut script = Script::run("epoch a\n open 1");
    for part in 1..SEGMENT_PARTS_MAX as i64 {
        let start = Ticks(90 + part);
        script
            .window
            .push_part(PartHeader { msn: 7, part: part as u32, start, duration: Ticks(1), ..header() })
            .unwrap();
    }
    let one_more = PartHeader {
        msn: 7,
        part: SEGMENT_PARTS_MAX as u32,
        start: Ticks(91 + SEGMENT_PARTS_MAX as i64),
        duration: Ticks(1),
        ..header()
    };
    assert_eq!(script.window.push_part(one_more), Err(WindowError::SegmentFull));
}

#[test]
fn an_endless_group_and_a_shell_that_never_drains_cost_bounded_memory() {
    let mut script = Script::run("epoch a");
    script.play("open 200");
    let mut refused = 0;
    for part in 1..200_000_u32 {
        let start = Ticks::from_millis(200 * i64::from(part));
        let part = PartHeader { msn: 7, part, start, ..header() };
        refused += u32::from(script.window.push_part(part) == Err(WindowError::Undrained));
    }
    assert!(refused > 0);
    assert!(script.window.evicted.len() <= EVICTED_MAX + 1);
    assert!(script.window.segments.is_empty());
    assert_eq!((script.window.bytes, script.window.parts), (0, 0));
}
