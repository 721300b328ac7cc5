//! Publishers that are turned away: ffmpeg says why, and so do the log and the streamer's page, at once.

use crate::ffmpeg::{H264_AAC, refused};
use crate::laboratory::Laboratory;
use crate::studio::Studio;

fn check(options: &str, path: &str, reason: &str) {
    let lab = Laboratory::start("");
    let said = refused(options, &format!("rtmp://{}{path}", lab.rtmp));
    assert!(said.contains(reason), "{said}");
    // The publisher has just been told: whoever looks now has to find it.
    assert!(lab.log().contains(reason), "{}", lab.log());
    assert_eq!(Studio::enter(&lab).refusals(), [reason]);
}

#[test]
fn a_wrong_key() {
    check(H264_AAC, "/live/wrong", "wrong stream key: copy it again from the streamer's page of the box");
}

#[test]
fn an_unknown_application() {
    let reason = "there is no such application: the server address has to end in /live";
    check(H264_AAC, "/vod/secret", reason);
}

#[test]
fn an_unsupported_codec() {
    let reason = "unsupported codec: Sorenson H.263 video: set the encoder to H.264";
    check("-c:v flv1 -c:a aac", "/live/secret", reason);
}
