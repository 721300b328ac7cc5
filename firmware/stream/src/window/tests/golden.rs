//! Playlists as text.

use super::*;

/// Runs a script and compares the current media playlist, with the epoch ids of sixteen digits cut to their last two
/// so that lines stay readable, and without the lines that are the same in all of them.
fn check(script: &str, query: &str, expected: &str) {
    assert_eq!(short(&Script::run(script).media(query)), trimmed(expected), "{script}");
}

fn short(playlist: &str) -> String {
    let common = ["#EXTM3U", "#EXT-X-INDEPENDENT-SEGMENTS"];
    let lines = playlist.lines().filter(|line| !common.contains(line));
    trimmed(&lines.collect::<Vec<_>>().join("\n").replace("00000000000000", "~"))
}

fn trimmed(text: &str) -> String {
    text.lines().map(str::trim).filter(|line| !line.is_empty()).collect::<Vec<_>>().join("\n")
}

#[test]
fn whole_text_of_a_plain_playlist() {
    let script = Script::run("epoch a\n group 200 200 160\n open 200");
    let expected = "\
#EXTM3U
#EXT-X-VERSION:6
#EXT-X-TARGETDURATION:1
#EXT-X-SERVER-CONTROL:CAN-BLOCK-RELOAD=YES,PART-HOLD-BACK=0.60000,HOLD-BACK=3,CAN-SKIP-UNTIL=6
#EXT-X-PART-INF:PART-TARGET=0.20000
#EXT-X-MEDIA-SEQUENCE:7
#EXT-X-DISCONTINUITY-SEQUENCE:0
#EXT-X-INDEPENDENT-SEGMENTS
#EXT-X-MAP:URI=\"000000000000000a/init.mp4\"
#EXT-X-PROGRAM-DATE-TIME:1970-01-01T00:00:00.000Z
#EXT-X-PART:DURATION=0.20000,URI=\"000000000000000a/7.0.m4s\",INDEPENDENT=YES
#EXT-X-PART:DURATION=0.20000,URI=\"000000000000000a/7.1.m4s\"
#EXT-X-PART:DURATION=0.16000,URI=\"000000000000000a/7.2.m4s\"
#EXTINF:0.56000,
000000000000000a/7.m4s
#EXT-X-PROGRAM-DATE-TIME:1970-01-01T00:00:00.560Z
#EXT-X-PART:DURATION=0.20000,URI=\"000000000000000a/8.0.m4s\",INDEPENDENT=YES
#EXT-X-PRELOAD-HINT:TYPE=PART,URI=\"000000000000000a/8.1.m4s\"
";
    assert_eq!(script.media(""), expected);
}

#[test]
fn between_segments_the_next_ones_first_part_is_hinted() {
    check(
        "epoch a\n group 200 200",
        "",
        "#EXT-X-VERSION:6
        #EXT-X-TARGETDURATION:1
        #EXT-X-SERVER-CONTROL:CAN-BLOCK-RELOAD=YES,PART-HOLD-BACK=0.60000,HOLD-BACK=3,CAN-SKIP-UNTIL=6
        #EXT-X-PART-INF:PART-TARGET=0.20000
        #EXT-X-MEDIA-SEQUENCE:7
        #EXT-X-DISCONTINUITY-SEQUENCE:0
        #EXT-X-MAP:URI=\"~0a/init.mp4\"
        #EXT-X-PROGRAM-DATE-TIME:1970-01-01T00:00:00.000Z
        #EXT-X-PART:DURATION=0.20000,URI=\"~0a/7.0.m4s\",INDEPENDENT=YES
        #EXT-X-PART:DURATION=0.20000,URI=\"~0a/7.1.m4s\"
        #EXTINF:0.40000,
        ~0a/7.m4s
        #EXT-X-PRELOAD-HINT:TYPE=PART,URI=\"~0a/8.0.m4s\"",
    );
}

#[test]
fn another_epoch_is_a_discontinuity_and_a_missing_segment_a_gap() {
    check(
        "epoch a\n group 200\n open 200\n abandon\n epoch b\n gap 200 200\n group 100",
        "",
        "#EXT-X-VERSION:6
        #EXT-X-TARGETDURATION:1
        #EXT-X-SERVER-CONTROL:CAN-BLOCK-RELOAD=YES,PART-HOLD-BACK=0.60000,HOLD-BACK=3,CAN-SKIP-UNTIL=6
        #EXT-X-PART-INF:PART-TARGET=0.20000
        #EXT-X-MEDIA-SEQUENCE:7
        #EXT-X-DISCONTINUITY-SEQUENCE:0
        #EXT-X-MAP:URI=\"~0a/init.mp4\"
        #EXT-X-PROGRAM-DATE-TIME:1970-01-01T00:00:00.000Z
        #EXT-X-PART:DURATION=0.20000,URI=\"~0a/7.0.m4s\",INDEPENDENT=YES
        #EXTINF:0.20000,
        ~0a/7.m4s
        #EXT-X-PROGRAM-DATE-TIME:1970-01-01T00:00:00.200Z
        #EXT-X-PART:DURATION=0.20000,URI=\"~0a/8.0.m4s\",INDEPENDENT=YES
        #EXTINF:0.20000,
        ~0a/8.m4s
        #EXT-X-DISCONTINUITY
        #EXT-X-MAP:URI=\"~0b/init.mp4\"
        #EXT-X-PROGRAM-DATE-TIME:1970-01-01T00:01:00.000Z
        #EXT-X-PART:DURATION=0.20000,URI=\"~0b/9.0.m4s\",GAP=YES
        #EXT-X-PART:DURATION=0.20000,URI=\"~0b/9.1.m4s\",GAP=YES
        #EXT-X-GAP
        #EXTINF:0.40000,
        ~0b/9.m4s
        #EXT-X-PROGRAM-DATE-TIME:1970-01-01T00:01:00.400Z
        #EXT-X-PART:DURATION=0.10000,URI=\"~0b/10.0.m4s\",INDEPENDENT=YES
        #EXTINF:0.10000,
        ~0b/10.m4s
        #EXT-X-PRELOAD-HINT:TYPE=PART,URI=\"~0b/11.0.m4s\"",
    );
}

/// Sixteen segments of one second, of which each playlist below shows the last.
fn long() -> String {
    alloc::format!("epoch a\n{}open 500", "group 500 500\n".repeat(16))
}

#[test]
fn parts_reach_back_three_target_durations_and_a_delta_skips_what_is_older_than_six() {
    check(
        &alloc::format!("epoch a 500\n{}open 500", "group 500 500\n".repeat(9)),
        "_HLS_skip=YES",
        "#EXT-X-VERSION:9
        #EXT-X-TARGETDURATION:1
        #EXT-X-SERVER-CONTROL:CAN-BLOCK-RELOAD=YES,PART-HOLD-BACK=1.50000,HOLD-BACK=3,CAN-SKIP-UNTIL=6
        #EXT-X-PART-INF:PART-TARGET=0.50000
        #EXT-X-MEDIA-SEQUENCE:7
        #EXT-X-DISCONTINUITY-SEQUENCE:0
        #EXT-X-SKIP:SKIPPED-SEGMENTS=3
        #EXT-X-PROGRAM-DATE-TIME:1970-01-01T00:00:03.000Z
        #EXTINF:1.00000,
        ~0a/10.m4s
        #EXT-X-PROGRAM-DATE-TIME:1970-01-01T00:00:04.000Z
        #EXTINF:1.00000,
        ~0a/11.m4s
        #EXT-X-PROGRAM-DATE-TIME:1970-01-01T00:00:05.000Z
        #EXTINF:1.00000,
        ~0a/12.m4s
        #EXT-X-PROGRAM-DATE-TIME:1970-01-01T00:00:06.000Z
        #EXT-X-PART:DURATION=0.50000,URI=\"~0a/13.0.m4s\",INDEPENDENT=YES
        #EXT-X-PART:DURATION=0.50000,URI=\"~0a/13.1.m4s\"
        #EXTINF:1.00000,
        ~0a/13.m4s
        #EXT-X-PROGRAM-DATE-TIME:1970-01-01T00:00:07.000Z
        #EXT-X-PART:DURATION=0.50000,URI=\"~0a/14.0.m4s\",INDEPENDENT=YES
        #EXT-X-PART:DURATION=0.50000,URI=\"~0a/14.1.m4s\"
        #EXTINF:1.00000,
        ~0a/14.m4s
        #EXT-X-PROGRAM-DATE-TIME:1970-01-01T00:00:08.000Z
        #EXT-X-PART:DURATION=0.50000,URI=\"~0a/15.0.m4s\",INDEPENDENT=YES
        #EXT-X-PART:DURATION=0.50000,URI=\"~0a/15.1.m4s\"
        #EXTINF:1.00000,
        ~0a/15.m4s
        #EXT-X-PROGRAM-DATE-TIME:1970-01-01T00:00:09.000Z
        #EXT-X-PART:DURATION=0.50000,URI=\"~0a/16.0.m4s\",INDEPENDENT=YES
        #EXT-X-PRELOAD-HINT:TYPE=PART,URI=\"~0a/16.1.m4s\"",
    );
}

#[test]
fn a_short_playlist_has_no_delta() {
    let script = Script::run("epoch a\n group 200\n group 200");
    assert_eq!(script.media("_HLS_skip=v2"), script.media(""));
}

#[test]
fn a_longer_group_supersedes_the_playlist_while_it_is_still_open() {
    let mut script = Script::run("epoch a 500\n group 500 500\n open 500 500");
    let first = script.current();
    script.play("more 500");
    assert_ne!(script.current(), first);
    let ended = text(script.window.media(first, &Reload { msn: Some(90), ..Reload::default() }));
    assert_eq!(
        short(&ended),
        trimmed(
            "#EXT-X-VERSION:6
            #EXT-X-TARGETDURATION:1
            #EXT-X-SERVER-CONTROL:CAN-BLOCK-RELOAD=YES,PART-HOLD-BACK=1.50000,HOLD-BACK=3,CAN-SKIP-UNTIL=6
            #EXT-X-PART-INF:PART-TARGET=0.50000
            #EXT-X-MEDIA-SEQUENCE:7
            #EXT-X-DISCONTINUITY-SEQUENCE:0
            #EXT-X-MAP:URI=\"~0a/init.mp4\"
            #EXT-X-PROGRAM-DATE-TIME:1970-01-01T00:00:00.000Z
            #EXT-X-PART:DURATION=0.50000,URI=\"~0a/7.0.m4s\",INDEPENDENT=YES
            #EXT-X-PART:DURATION=0.50000,URI=\"~0a/7.1.m4s\"
            #EXTINF:1.00000,
            ~0a/7.m4s
            #EXT-X-ENDLIST"
        )
    );
    assert_eq!(
        short(&script.media("")),
        trimmed(
            "#EXT-X-VERSION:6
            #EXT-X-TARGETDURATION:20
            #EXT-X-SERVER-CONTROL:CAN-BLOCK-RELOAD=YES,PART-HOLD-BACK=1.50000,HOLD-BACK=60,CAN-SKIP-UNTIL=120
            #EXT-X-PART-INF:PART-TARGET=0.50000
            #EXT-X-MEDIA-SEQUENCE:7
            #EXT-X-DISCONTINUITY-SEQUENCE:0
            #EXT-X-MAP:URI=\"~0a/init.mp4\"
            #EXT-X-PROGRAM-DATE-TIME:1970-01-01T00:00:00.000Z
            #EXT-X-PART:DURATION=0.50000,URI=\"~0a/7.0.m4s\",INDEPENDENT=YES
            #EXT-X-PART:DURATION=0.50000,URI=\"~0a/7.1.m4s\"
            #EXTINF:1.00000,
            ~0a/7.m4s
            #EXT-X-PROGRAM-DATE-TIME:1970-01-01T00:00:01.000Z
            #EXT-X-PART:DURATION=0.50000,URI=\"~0a/8.0.m4s\",INDEPENDENT=YES
            #EXT-X-PART:DURATION=0.50000,URI=\"~0a/8.1.m4s\"
            #EXT-X-PART:DURATION=0.50000,URI=\"~0a/8.2.m4s\"
            #EXT-X-PRELOAD-HINT:TYPE=PART,URI=\"~0a/8.3.m4s\""
        )
    );
}

#[test]
fn a_group_beyond_the_ceiling_holds_the_stream_until_one_fits() {
    let limits = WindowLimits { target_duration_s_max: 2, ..WindowLimits::default() };
    let mut script = Script::new(limits);
    script.play("epoch a 500\n group 500 500");
    let first = script.current();
    script.play("open 500 500 500 500");
    assert_eq!(script.window.trouble(), None);
    script.play("more 500");
    assert_eq!(script.window.trouble(), Some(Trouble::GroupTooLong));
    assert!(text(script.window.media(first, &Reload::default())).ends_with("/7.m4s\n#EXT-X-ENDLIST\n"));
    assert_eq!(script.media(""), "Held");
    assert_eq!(script.window.multivariant(), Err(NotReady::Held));
    script.play("more 500 500 .\n open 500 500");
    assert_eq!(script.media(""), "Held");
    script.play("more 500 .");
    assert_eq!(script.window.trouble(), None);
    assert!(script.media("").contains("#EXT-X-TARGETDURATION:2\n"));
    assert!(script.media("").contains("#EXT-X-MEDIA-SEQUENCE:9\n"));
    assert!(!script.media("").contains("DISCONTINUITY\n"));
}

#[test]
fn an_end_is_final_and_the_next_epoch_has_a_playlist_of_its_own() {
    let mut script = Script::run("epoch a\n group 200\n open 100\n end");
    let first = script.current();
    assert!(script.media("").ends_with("#EXTINF:0.10000,\n000000000000000a/8.m4s\n#EXT-X-ENDLIST\n"));
    script.play("epoch b\n");
    assert_eq!(script.media(""), "Held");
    script.play("group 200");
    assert_ne!(script.current(), first);
    assert!(script.media("").contains("#EXT-X-MEDIA-SEQUENCE:9\n"));
    assert!(!script.media("").contains("ENDLIST"));
    assert!(text(script.window.media(first, &Reload::default())).ends_with("#EXT-X-ENDLIST\n"));
}

#[test]
fn only_what_must_begins_another_playlist() {
    let same = |after: &str| {
        let mut script = Script::run("epoch a\n group 200");
        let first = script.current();
        script.play(after);
        script.current() == first
    };
    assert!(same("epoch b\n group 200"));
    assert!(same("abandon\n epoch b 200 va"));
    assert!(!same("epoch b 240"));
    assert!(!same("epoch b 200 v"));
    assert!(!same("end\n epoch b"));
}

#[test]
fn the_variant_says_what_was_measured() {
    // 500 ms at 250 bytes per ms, and the same again: 2 Mbit/s; then one of half the parts missing.
    let mut script = Script::run("epoch a\n group 200 200 100\n group 200 200 100");
    let expected = "\
#EXTM3U
#EXT-X-INDEPENDENT-SEGMENTS
#EXT-X-STREAM-INF:BANDWIDTH=2000000,AVERAGE-BANDWIDTH=2000000,CODECS=\"avc1.64001f,mp4a.40.2\",RESOLUTION=1280x720,FRAME-RATE=29.970
000000000000000a.0.m3u8
";
    assert_eq!(script.window.multivariant().as_deref(), Ok(expected));
    script.play("gap 200 200 100");
    let text = script.window.multivariant().unwrap();
    assert!(text.contains("BANDWIDTH=2000000,AVERAGE-BANDWIDTH=1333334,"), "{text}");
}

#[test]
fn discontinuities_are_counted_when_they_leave() {
    let limits = WindowLimits { duration: Ticks::from_secs(3), ..WindowLimits::default() };
    let mut script = Script::new(limits);
    script.play("epoch a 500\n group 500 500\n epoch b 500\n group 500 500\n group 500 500\n group 500 500");
    let sequence = |script: &Script| {
        let text = script.media("");
        let lines = text.lines().filter(|line| line.contains("SEQUENCE") || line.ends_with("DISCONTINUITY"));
        lines.map(|line| line.replace("#EXT-X-", "")).collect::<Vec<_>>().join(" ")
    };
    assert_eq!(sequence(&script), "MEDIA-SEQUENCE:8 DISCONTINUITY-SEQUENCE:0 DISCONTINUITY");
    assert_eq!(
        core::iter::from_fn(|| script.window.poll_evicted()).map(|name| name.to_string()).collect::<Vec<_>>(),
        [
            "000000000000000a/7.0.m4s",
            "000000000000000a/7.1.m4s",
            "000000000000000a/7.m4s",
            "000000000000000a/init.mp4"
        ]
    );
    script.play("group 500 500");
    assert_eq!(sequence(&script), "MEDIA-SEQUENCE:9 DISCONTINUITY-SEQUENCE:1");
}

#[test]
fn a_window_keeps_three_target_durations_unless_bytes_forbid_it() {
    let mut script = Script::new(WindowLimits { duration: Ticks::from_secs(1), ..WindowLimits::default() });
    script.play(&long().replace("epoch a", "epoch a 500"));
    assert!(script.media("").contains("#EXT-X-MEDIA-SEQUENCE:20\n"), "{}", script.media(""));
    assert_eq!(script.window.trouble(), None);

    // 250 kB a second.
    let mut script = Script::new(WindowLimits { bytes: 600_000, ..WindowLimits::default() });
    script.play(&long().replace("epoch a", "epoch a 500"));
    assert!(script.media("").contains("#EXT-X-MEDIA-SEQUENCE:22\n"), "{}", script.media(""));
    assert_eq!(script.window.bytes(), 375_000);
    assert_eq!(script.window.trouble(), Some(Trouble::WindowTooShort));
}
