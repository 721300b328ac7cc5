//! One stream for each rule, which breaks it on purpose.

use super::*;
use crate::probe::tests::fragment::{FRAME_TICKS, Fragment};

/// A case breaks its rule, and may break those that follow from it.
struct Case {
    rule: Rule,
    also: &'static [Rule],
    script: Script,
}

fn text(rule: Rule, also: &'static [Rule], text: fn(String, &server::State) -> String) -> Case {
    Case { rule, also, script: Script { text, ..Script::default() } }
}

fn media(rule: Rule, also: &'static [Rule], fragment: fn(Fragment, u64, bool) -> Fragment) -> Case {
    Case { rule, also, script: Script { fragment, ..Script::default() } }
}

fn http(rule: Rule, also: &'static [Rule], reply: fn(Reply, &Request) -> Reply) -> Case {
    Case { rule, also, script: Script { reply, ..Script::default() } }
}

fn multivariant(rule: Rule, multivariant: fn(String) -> String) -> Case {
    Case { rule, also: &[], script: Script { multivariant, ..Script::default() } }
}

/// A query that a server should refuse is answered with the playlist.
fn tolerate(reply: Reply, request: &Request, refused: fn(&str) -> bool) -> Reply {
    if reply.status == 400 && refused(&request.query) { Reply { status: 200, ..reply } } else { reply }
}

fn playlist_cases() -> Vec<Case> {
    vec![
        text(Rule::Syntax, &[], |t, _| t.replace("#EXTINF:1.0,", "#EXTINF:1.0")),
        text(Rule::Version, &[], |t, _| t.replace("VERSION:6", "VERSION:3")),
        text(Rule::TargetMissing, &[Rule::SegmentTooLong, Rule::PartsOld], |t, _| {
            t.replace("#EXT-X-TARGETDURATION:1\n", "")
        }),
        text(Rule::SegmentTooLong, &[Rule::Duration, Rule::PartsSum, Rule::PartsOld], |t, _| {
            t.replace("#EXTINF:1.0,\n15.m4s", "#EXTINF:1.5,\n15.m4s")
        }),
        text(Rule::TargetChanged, &[Rule::HoldBack, Rule::SkipUntil], |t, s| {
            if s.age() > 5 { t.replace("TARGETDURATION:1", "TARGETDURATION:2") } else { t }
        }),
        text(Rule::PartInfoMissing, &[], |t, _| t.replace("#EXT-X-PART-INF:PART-TARGET=0.2\n", "")),
        text(Rule::PartTargetChanged, &[Rule::PartHoldBackShort], |t, s| {
            if s.age() > 5 { t.replace("PART-TARGET=0.2", "PART-TARGET=0.21") } else { t }
        }),
        text(Rule::PartTooLong, &[], |t, _| {
            t.replace("DURATION=0.2,URI=\"17.2.", "DURATION=0.205,URI=\"17.2.")
        }),
        text(Rule::PartTooShort, &[Rule::PartsSum, Rule::PartDuration], |t, _| {
            t.replace("DURATION=0.2,URI=\"17.2.", "DURATION=0.13,URI=\"17.2.")
        }),
        text(Rule::PartsSum, &[], |t, _| t.replace("DURATION=0.2,URI=\"17.2.", "DURATION=0.18,URI=\"17.2.")),
        text(Rule::PartsOld, &[], |t, _| {
            let parts = "#EXT-X-PART:DURATION=0.2,URI=\"x\",GAP=YES\n".repeat(5);
            t.replace("#EXTINF:1.0,\n12.m4s", &format!("{parts}#EXTINF:1.0,\n12.m4s"))
        }),
        text(Rule::PartHoldBack, &[], |t, _| t.replace("PART-HOLD-BACK=0.6,", "")),
        text(Rule::PartHoldBackShort, &[], |t, _| t.replace("PART-HOLD-BACK=0.6", "PART-HOLD-BACK=0.5")),
        text(Rule::HoldBack, &[], |t, _| t.replace(",HOLD-BACK=3", ",HOLD-BACK=2.9")),
        text(Rule::SkipUntil, &[], |t, _| t.replace("SKIP-UNTIL=6", "SKIP-UNTIL=5")),
        text(Rule::MapMissing, &[], |t, _| t.replace("#EXT-X-MAP:URI=\"init.mp4\"\n", "")),
        text(Rule::WindowShort, &[Rule::Delta], only_two_segments),
        text(Rule::DiscontinuitySequence, &[], |t, s| {
            if s.age() > 5 { t.replace("DISCONTINUITY-SEQUENCE:0", "DISCONTINUITY-SEQUENCE:1") } else { t }
        }),
        text(Rule::SegmentChanged, &[], |t, s| {
            if s.age() > 5 { t.replace("#EXTINF:1.0,\n12.m4s", "#EXTINF:0.9,\n12.m4s") } else { t }
        }),
        text(Rule::DateTime, &[], |t, _| t.replace("00:00:10.000Z", "00:00:19.000Z")),
        text(Rule::Hint, &[], |t, _| t.replace("TYPE=PART,URI=\"17.1.", "TYPE=PART,URI=\"17.9.")),
        text(Rule::Delta, &[], |t, _| t.replace("SKIPPED-SEGMENTS=4", "SKIPPED-SEGMENTS=3")),
    ]
}

/// Cuts a playlist down to its last two closed segments.
fn only_two_segments(text: String, state: &server::State) -> String {
    let drop = 8;
    let first = 7 + state.parts / 5 - 10;
    let mut out = String::new();
    let mut dropped = 0;
    for line in text.lines().filter(|line| !line.starts_with("#EXT-X-SKIP")) {
        let head = line.starts_with("#EXT-X-MEDIA-SEQ") || line.starts_with("#EXT-X-MAP");
        let segment =
            line.starts_with("#EXTINF") || line.starts_with("#EXT-X-PROGRAM") || line.ends_with(".m4s");
        let part = line.starts_with("#EXT-X-PART:");
        if head && line.starts_with("#EXT-X-MEDIA-SEQ") {
            out.push_str(&format!("#EXT-X-MEDIA-SEQUENCE:{}\n", first + drop));
        } else if (segment || part) && dropped < drop {
            dropped += u64::from(line.ends_with(".m4s"));
        } else {
            out.push_str(line);
            out.push('\n');
        }
    }
    out
}

fn media_cases() -> Vec<Case> {
    vec![
        http(Rule::Media, &[Rule::PartsDiffer], |mut r, q| {
            if q.path == "18.m4s" {
                r.body.truncate(5000);
            }
            r
        }),
        media(Rule::Duration, &[Rule::PartDuration, Rule::Continuity], |f, _, _| Fragment {
            frame_ticks: FRAME_TICKS * 3 / 2,
            ..f
        }),
        media(Rule::PartDuration, &[Rule::Continuity], |mut f, part, _| {
            // One part has three pictures more, and the next three less: the segment is right.
            match part % 5 {
                1 => f.video.extend([(false, false); 3]),
                2 => {
                    f.video.truncate(3);
                    f.video_start += 3 * u64::from(FRAME_TICKS);
                }
                _ => {}
            }
            f
        }),
        media(Rule::PartsDiffer, &[], |f, part, alone| Fragment {
            frame_bytes: if alone && part % 5 == 3 { 201 } else { 200 },
            ..f
        }),
        media(Rule::NoKeyframe, &[Rule::FalseIndependent], |mut f, part, _| {
            // The keyframe comes one picture late.
            if part.is_multiple_of(5) {
                f.video.swap(0, 1);
            }
            f
        }),
        media(Rule::SyncFlag, &[], |mut f, part, _| {
            if part % 5 == 2 {
                f.video[1].1 = true;
            }
            f
        }),
        // 100 ms.
        media(Rule::AvOffset, &[], |f, _, _| Fragment { audio_start: f.audio_start + 4800, ..f }),
        media(Rule::Continuity, &[], |f, part, _| {
            let late = if part >= 55 { 22_500 } else { 0 };
            Fragment {
                video_start: f.video_start + late,
                audio_start: f.audio_start + late * 48_000 / 90_000,
                ..f
            }
        }),
        text(Rule::FalseIndependent, &[], |t, _| t.replace("17.3.m4s\"\n", "17.3.m4s\",INDEPENDENT=YES\n")),
    ]
}

fn http_cases() -> Vec<Case> {
    vec![
        http(Rule::Http, &[], |r, q| if q.path == "16.m4s" { Reply { status: 404, ..r } } else { r }),
        http(Rule::ContentType, &[], |r, q| {
            if q.path == "media.m3u8" { Reply { content_type: "text/plain", ..r } } else { r }
        }),
        http(Rule::StaleCache, &[], |r, q| {
            if q.path == "media.m3u8" { Reply { cache_control: "max-age=9", ..r } } else { r }
        }),
        http(Rule::MediaCache, &[], |r, q| {
            if q.path.ends_with("m4s") { Reply { cache_control: "no-store", ..r } } else { r }
        }),
        http(Rule::Immutable, &[], |mut r, q| {
            if q.path == "init.mp4" && q.before > 0 {
                r.body.push(0);
            }
            r
        }),
        http(
            Rule::SequenceBack,
            &[Rule::SegmentChanged, Rule::StaleAnswer, Rule::BlockingEarly],
            |mut r, q| {
                if q.before == 15 {
                    let text = String::from_utf8(r.body).unwrap();
                    r.body = text.replace("#EXT-X-MEDIA-SEQUENCE:8", "#EXT-X-MEDIA-SEQUENCE:7").into_bytes();
                }
                r
            },
        ),
        http(Rule::BlockingFailed, &[Rule::PartLate], |r, q| {
            if q.query.starts_with("_HLS_msn") && q.before == 15 { Reply { status: 503, ..r } } else { r }
        }),
        http(Rule::PartWithoutMsn, &[], |r, q| tolerate(r, q, |query| query.starts_with("_HLS_part"))),
        http(Rule::FarMsn, &[], |r, q| tolerate(r, q, |query| !query.contains("_HLS_part"))),
        http(Rule::FarPart, &[], |r, q| tolerate(r, q, |query| query.contains("&_HLS_part"))),
        Case {
            rule: Rule::BlockingEarly,
            also: &[],
            script: Script {
                blocks: false,
                // The third answer ends the stream, as nothing else would.
                reply: |mut r, q| {
                    if q.path == "media.m3u8" && q.before > 12 {
                        r.body.extend(b"#EXT-X-ENDLIST\n");
                    }
                    r
                },
                ..Script::default()
            },
        },
        multivariant(Rule::Bandwidth, |t| t.replace(":BANDWIDTH=90000,", ":BANDWIDTH=1,")),
        multivariant(Rule::AverageBandwidth, |t| {
            t.replace("AVERAGE-BANDWIDTH=85000", "AVERAGE-BANDWIDTH=40000")
        }),
        multivariant(Rule::Codecs, |t| t.replace(",mp4a.40.2", "")),
    ]
}

fn check(cases: Vec<Case>) {
    let mut wrong = String::new();
    for Case { rule, also, script } in cases {
        let report = lint_of(script, "index.m3u8");
        let broken = report.broken();
        let others: Vec<_> = broken.iter().filter(|found| **found != rule && !also.contains(found)).collect();
        if !broken.contains(&rule) || !others.is_empty() {
            wrong.push_str(&format!("== {rule}\n{report}"));
        }
        assert_eq!(
            report.passes(Severity::Error),
            broken.iter().all(|rule| rule.severity() < Severity::Error)
        );
    }
    assert!(wrong.is_empty(), "{wrong}");
}

#[test]
fn broken_playlists_are_found() {
    check(playlist_cases());
}

#[test]
fn broken_media_are_found() {
    check(media_cases());
}

#[test]
fn broken_servers_are_found() {
    check(http_cases());
}

#[test]
fn each_rule_is_broken_by_some_test() {
    let cases = [playlist_cases(), media_cases(), http_cases()].into_iter().flatten().map(|case| case.rule);
    let covered: Vec<Rule> = cases.chain(snapshots::RULES).collect();
    let missing: Vec<_> = Rule::ALL.iter().filter(|rule| !covered.contains(rule)).collect();
    assert!(missing.is_empty(), "{missing:?}");
}
