//! What depends on when a playlist was seen: versions of it, with their times.

use super::*;
use crate::lint::history::History;

/// The rules that are tested here.
pub(super) const RULES: [Rule; 4] = [Rule::StaleAnswer, Rule::SegmentLate, Rule::PartLate, Rule::EndUndone];

/// A playlist of `segments` whole segments from number 3, `parts` parts, and perhaps an end.
fn playlist(segments: usize, parts: usize, ended: bool) -> MediaPlaylist {
    let mut text =
        "#EXTM3U\n#EXT-X-TARGETDURATION:4\n#EXT-X-PART-INF:PART-TARGET=1\n#EXT-X-MEDIA-SEQUENCE:3\n"
            .to_owned();
    for segment in 0..segments {
        text.push_str(&format!("#EXTINF:4,\n{segment}.ts\n"));
    }
    for part in 0..parts {
        text.push_str(&format!("#EXT-X-PART:DURATION=1,URI=\"{segments}.{part}.ts\"\n"));
    }
    text.push_str(if ended { "#EXT-X-ENDLIST\n" } else { "" });
    match parse(&text) {
        (Some(Playlist::Media(media)), breaches) if breaches.is_empty() => media,
        other => panic!("{other:?}"),
    }
}

/// Versions as (time, segments, parts, ended), and the rules which they break.
fn check(versions: &[(f64, usize, usize, bool)], expected: &[Rule]) {
    let [(at, segments, parts, ended), rest @ ..] = versions else { panic!("no version") };
    let mut history = History::new(&playlist(*segments, *parts, *ended), *at);
    let broken: Vec<Rule> = rest
        .iter()
        .flat_map(|(at, segments, parts, ended)| history.update(&playlist(*segments, *parts, *ended), *at))
        .map(|breach| breach.rule)
        .collect();
    assert_eq!(broken, expected, "{versions:?}");
}

#[test]
fn a_playlist_keeps_pace() {
    check(&[(0.0, 3, 0, false), (4.0, 4, 0, false), (10.0, 5, 0, false)], &[]);
    // 1.5 times 4 s, and half a second for the watcher; once for one stall.
    check(
        &[(0.0, 3, 0, false), (6.4, 3, 0, false), (6.6, 3, 0, false), (9.0, 3, 0, false), (9.1, 4, 0, false)],
        &[Rule::SegmentLate],
    );
    check(&[(0.0, 3, 0, false), (9.0, 3, 0, true)], &[]);
    check(&[(0.0, 3, 1, false), (1.2, 3, 2, false), (2.4, 3, 3, false)], &[]);
    check(&[(0.0, 3, 1, false), (1.6, 3, 2, false)], &[Rule::PartLate]);
}

#[test]
fn a_playlist_does_not_go_back() {
    check(&[(0.0, 3, 2, false), (0.1, 3, 1, false)], &[Rule::StaleAnswer]);
    check(&[(0.0, 3, 2, false), (0.1, 2, 0, false)], &[Rule::StaleAnswer]);
    check(&[(0.0, 3, 2, false), (0.1, 4, 0, false)], &[]);
    check(&[(0.0, 3, 0, true), (0.1, 3, 0, false)], &[Rule::EndUndone]);
    check(&[(0.0, 3, 0, true), (0.1, 4, 0, true)], &[Rule::EndUndone]);
}
