//! Enhanced RTMP from end to end: HEVC, AV1 and Opus in, HLS and HTTP-FLV out, read by ffmpeg and ffprobe.

use std::ffi::OsStr;
use std::path::Path;
use std::process::Command;

use crate::ffmpeg::{Publishing, newer};
use crate::laboratory::{Laboratory, until};
use crate::verdict::{check_media, check_sync, playlist, probe, read};

const HEVC: &str = "-c:v libx265 -preset ultrafast -x265-params log-level=none:bframes=2:scenecut=0 -g 50";
const AV1: &str = "-c:v libsvtav1 -preset 11 -svtav1-params pred-struct=1 -g 50";
const H264: &str = "-c:v libx264 -preset ultrafast -sc_threshold 0 -bf 2 -g 50";
const AAC: &str = "-c:a aac -b:a 64k -ac 2";
const OPUS: &str = "-c:a libopus -b:a 64k -ac 2";

/// What is published; how the playlist calls it; how ffprobe does.
fn check(options: [&str; 2], codecs: [&str; 2], names: [&str; 2]) {
    let Some(ffmpeg) = newer() else { return };
    let lab = Laboratory::start("");
    let url = format!("rtmp://{}/live/secret", lab.rtmp);
    let _publishing = Publishing::start(&ffmpeg, &options.join(" "), &url);

    let name = playlist(&lab).name;
    let playlist = until("three segments are listed", || {
        Some(read(&lab, &name)).filter(|playlist| playlist.segments.len() >= 3)
    });
    let multivariant = lab.get("/live/demo/index.m3u8").text();
    let [video, audio] = codecs;
    assert!(
        multivariant.contains(&format!("CODECS=\"{video}")) && multivariant.contains(&format!(",{audio}\"")),
        "{multivariant}"
    );
    assert!(multivariant.contains("RESOLUTION=320x180,FRAME-RATE=25.000"), "{multivariant}");
    let files = check_media(&lab, &playlist);
    assert_eq!(files.len(), 1, "one epoch");
    check_sync(&files[0], 4);

    let hls = format!("http://{}/live/demo/index.m3u8", lab.http);
    let seen = probe(Path::new(&hls), &["-show_entries", "stream=codec_name", "-of", "csv=p=0"]);
    for name in names {
        assert!(seen.lines().any(|line| line == name), "{seen}");
    }
    check_flv(&ffmpeg, &lab, names);
}

/// Three seconds of HTTP-FLV decode without a word.
fn check_flv(ffmpeg: &OsStr, lab: &Laboratory, names: [&str; 2]) {
    let url = format!("http://{}/live/demo.flv", lab.http);
    let output = Command::new(ffmpeg)
        .args(["-nostdin", "-v", "error", "-i", &url, "-t", "3"])
        .args(["-f", "null", "-", "-t", "3", "-c", "copy", "-f", "framecrc", "-"])
        .output()
        .unwrap();
    let words = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && words.is_empty(), "{words}");
    let listed = String::from_utf8(output.stdout).unwrap();
    for (track, name) in names.iter().enumerate() {
        assert!(listed.contains(&format!("#codec_id {track}: {name}\n")), "{listed}");
        let frames = listed.lines().filter(|line| line.starts_with(&format!("{track},"))).count();
        assert!(frames > 60, "{frames} frames of {name}");
    }
}

#[test]
fn hevc_and_opus() {
    check([HEVC, OPUS], ["hvc1.1.6.L", "opus"], ["hevc", "opus"]);
}

#[test]
fn av1_and_aac() {
    check([AV1, AAC], ["av01.0.00M.08", "mp4a.40.2"], ["av1", "aac"]);
}

#[test]
fn h264_and_opus() {
    check([H264, OPUS], ["avc1.", "opus"], ["h264", "opus"]);
}

#[test]
fn hevc_and_aac() {
    check([HEVC, AAC], ["hvc1.1.6.L", "mp4a.40.2"], ["hevc", "aac"]);
}
