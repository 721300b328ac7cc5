//! Players as they are installed, without screen or loudspeaker: VLC and GStreamer's own HLS client.

use std::process::Command;

use crate::ffmpeg::{H264_AAC, Publishing};
use crate::laboratory::{Laboratory, until};
use crate::verdict::{playlist, read};

fn stage() -> (Laboratory, Publishing) {
    let lab = Laboratory::start("");
    let publishing =
        Publishing::start("ffmpeg".as_ref(), H264_AAC, &format!("rtmp://{}/live/secret", lab.rtmp));
    let name = playlist(&lab).name;
    // Players that keep three segments ahead have something to begin with.
    until("four segments are listed", || (read(&lab, &name).segments.len() >= 4).then_some(()));
    (lab, publishing)
}

/// Fifteen seconds of VLC; what it logs.
fn vlc(url: &str) -> String {
    let mut command = match std::env::var("USER").as_deref() {
        // VLC refuses to run as root.
        Ok("root") | Err(_) => {
            let mut command = Command::new("runuser");
            command.args(["-u", "nobody", "--", "env", "HOME=/nonexistent", "vlc"]);
            command
        }
        Ok(_) => Command::new("vlc"),
    };
    let output = command
        .args([
            "-I",
            "dummy",
            "--vout",
            "dummy",
            "--aout",
            "dummy",
            "--run-time",
            "15",
            "-vvv",
            url,
            "vlc://quit",
        ])
        .output()
        .unwrap();
    String::from_utf8_lossy(&output.stderr).into_owned()
}

fn check_vlc(path: &str) {
    let (lab, _publishing) = stage();
    let log = vlc(&format!("http://{}{path}", lab.http));
    // What follows the end of playback is VLC taking its decoders down.
    let (playing, _) = log.split_once("stopping current input").unwrap_or((&log, ""));
    for wanted in ["Received first picture", "using audio decoder module"] {
        assert!(playing.contains(wanted), "no {wanted:?} in {log}");
    }
    // The first fragment that VLC reads has no other before it; pictures are late when the machine is busy.
    for (bad, most) in
        [("Fragment sequence discontinuity", 1), ("decode_slice_header", 0), ("picture is too late", 20)]
    {
        assert!(playing.matches(bad).count() <= most, "{bad:?} in {log}");
    }
}

#[test]
#[ignore = "needs VLC"]
fn vlc_plays_hls() {
    check_vlc("/live/demo/index.m3u8");
}

#[test]
#[ignore = "needs VLC"]
fn vlc_plays_http_flv() {
    check_vlc("/live/demo.flv");
}

#[test]
#[ignore = "needs GStreamer's plugins good, bad and libav"]
fn gstreamer_plays_hls() {
    let (lab, _publishing) = stage();
    // The sinks take each frame at its time, and `-v` tells of each.
    let pipeline = format!(
        "-v uridecodebin uri=http://{}/live/demo/index.m3u8 name=d \
         d. ! queue ! videoconvert ! fakesink name=picture sync=true silent=false \
         d. ! queue ! audioconvert ! fakesink name=sound sync=true silent=false",
        lab.http
    );
    let output = Command::new("timeout")
        .args(["-s", "INT", "20", "gst-launch-1.0"])
        .args(pipeline.split_whitespace())
        .output()
        .unwrap();
    let said = [output.stdout, output.stderr].concat();
    let said = String::from_utf8_lossy(&said);
    assert!(!said.contains("ERROR"), "{said}");
    for (sink, least) in [("picture", 200), ("sound", 300)] {
        let frames = said.matches(&format!("({sink}:sink) (")).count();
        assert!(frames >= least, "{frames} frames reached {sink}: {said}");
    }
}
