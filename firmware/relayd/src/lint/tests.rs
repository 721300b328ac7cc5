//! The lint against a stream that is right, and against the same stream broken on purpose, one rule at a time.

use super::*;
use crate::lint::rule::Rule;
use crate::probe::tests::fragment::Fragment;

mod broken;
mod server;
mod snapshots;

use server::{Reply, Request, Script, Server};

fn lint_of(script: Script, path: &str) -> Report {
    let server = Server::start(script);
    let args = LintArgs {
        url: format!("http://{}/{path}", server.address()),
        seconds: 20,
        variant: 0,
        strict: true,
        json: false,
        verify_certificate: false,
    };
    lint(&args).unwrap()
}

#[test]
fn a_stream_that_is_right_breaks_no_rule() {
    let report = lint_of(Script::default(), "index.m3u8");
    assert_eq!(report.broken(), [], "{report}");
    let seen = &report.looked_at;
    assert!(seen.segments >= 6 && seen.parts >= 16 && seen.blocking_reloads >= 10, "{seen:?}");
    assert!(report.passes(Severity::Warning));
    let json = report.json("http://x/", Severity::Error).unwrap();
    assert!(json.contains("\"ok\": true"), "{json}");
}

/// Leaves out all that makes a stream a low-latency one.
fn plain(text: String, _: &server::State) -> String {
    let low_latency = ["#EXT-X-PART", "#EXT-X-SERVER-CONTROL", "#EXT-X-PRELOAD-HINT"];
    let kept = text.lines().filter(|line| !low_latency.iter().any(|tag| line.starts_with(tag)));
    kept.map(|line| format!("{line}\n")).collect()
}

/// The same in transport streams, which have no initialization section.
fn plain_ts(text: String, state: &server::State) -> String {
    let text = plain(text, state);
    text.replace("#EXT-X-MAP:URI=\"init.mp4\"\n", "").replace("VERSION:6", "VERSION:3")
}

#[test]
fn a_media_playlist_without_parts_is_followed_by_polling() {
    let report = lint_of(Script { text: plain, ..Script::default() }, "media.m3u8");
    assert_eq!(report.broken(), [], "{report}");
    assert!(report.looked_at.segments >= 6, "{report}");
}

#[test]
fn transport_streams_are_read_as_well() {
    let right = Script { text: plain_ts, transport: true, ..Script::default() };
    let report = lint_of(right, "media.m3u8");
    assert_eq!(report.broken(), [], "{report}");
    assert!(report.looked_at.segments >= 6, "{report}");

    // Audio 74 ms early, and a keyframe a picture late.
    let fragment = |mut fragment: Fragment, part: u64, _: bool| {
        if part.is_multiple_of(5) {
            fragment.video.swap(0, 1);
        }
        Fragment { audio_start: fragment.audio_start - 3552, ..fragment }
    };
    let report = lint_of(Script { fragment, ..right }, "media.m3u8");
    assert_eq!(report.broken(), [Rule::NoKeyframe, Rule::AvOffset], "{report}");
}
