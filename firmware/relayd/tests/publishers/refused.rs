//! Publishers that are turned away: ffmpeg says why, and so do the log and the streamer's page, at once.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use ingest::script::Script;

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

/// OBS takes the end of a running publication for a fault of the line and tries again and again; what it is told when
/// it asks to publish ends that, and it shows the reason.
#[test]
fn obs_is_told_once_more_when_it_comes_back_with_a_codec_that_was_refused() {
    let lab = Laboratory::start("");
    let publish = || {
        let mut socket = TcpStream::connect(lab.rtmp).unwrap();
        socket.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
        let mut script = Script::publisher("live", "secret");
        let sorenson_keyframe = [0x12, 0, 0, 0, 0];
        script.metadata("obs-output module (libobs version 29.0.2)", 1280.0, 720.0, 30.0);
        socket.write_all(script.video(0, &sorenson_keyframe).bytes()).unwrap();
        let mut said = Vec::new();
        socket.read_to_end(&mut said).unwrap();
        String::from_utf8_lossy(&said).into_owned()
    };
    let reason = "unsupported codec: Sorenson H.263 video: set the encoder to H.264";
    for began in [true, false, true] {
        let said = publish();
        assert_eq!(said.contains("Stream is published."), began, "{said:?}");
        assert!(said.contains("NetStream.Publish.BadName") && said.contains(reason), "{said:?}");
    }
}
