//! A real box that takes a stream from a real server: nginx with its RTMP module, to which ffmpeg publishes.
//!
//! It needs nginx and libnginx-mod-rtmp from Debian, as the bench does.

#![expect(clippy::unwrap_used, reason = "a test ends at its first surprise")]

mod hls;
mod nginx;
mod rtmp;

#[allow(dead_code, reason = "tests of publishers need more of it")]
#[path = "../publishers/ffmpeg.rs"]
mod ffmpeg;
#[allow(dead_code, reason = "the hostile cases need more of it")]
#[path = "../hostile/laboratory.rs"]
mod laboratory;
#[allow(dead_code, reason = "the hostile cases need more of it")]
#[path = "../hostile/verdict.rs"]
mod verdict;

use std::process::Command;

use serde_json::Value;

use crate::laboratory::{Laboratory, until};
use crate::verdict::{Playlist, read};

/// The state of the pulled stream, as the API tells it.
fn source(lab: &Laboratory) -> Value {
    let streams: Value = serde_json::from_slice(&lab.fetch("/api/v1/streams")).unwrap();
    streams[0]["source"].clone()
}

fn await_state(lab: &Laboratory, state: &str) -> Value {
    until(&format!("the source is {state}\n{}", lab.log()), || {
        Some(source(lab)).filter(|source| source["state"] == state)
    })
}

/// The media playlist of the moment: a stream that comes anew may get another.
fn newest(lab: &Laboratory) -> Option<Playlist> {
    let answer = lab.get("/live/demo/index.m3u8");
    let text = answer.text();
    (answer.status == 200).then(|| read(lab, text.lines().last().unwrap()))
}

/// Waits until its newest epoch has so many segments.
fn segments(lab: &Laboratory, count: usize) -> Playlist {
    until("the segments are listed", || {
        newest(lab).filter(|playlist| {
            let map = playlist.segments.last().map(|segment| &segment.map);
            playlist.segments.iter().filter(|segment| Some(&segment.map) == map).count() >= count
        })
    })
}

/// The init segments that it lists: one for each epoch.
fn epochs(lab: &Laboratory) -> Vec<String> {
    let listed = newest(lab).map(|playlist| playlist.segments).unwrap_or_default();
    let mut maps: Vec<String> = listed.into_iter().map(|segment| segment.map).collect();
    maps.dedup();
    maps
}

/// What the box's own lint finds wrong with what it serves: nothing.
fn lint(lab: &Laboratory) {
    let url = format!("http://{}/live/demo/index.m3u8", lab.http);
    let output =
        Command::new(env!("CARGO_BIN_EXE_relayd")).args(["lint", &url, "--seconds", "10"]).output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    let log = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}{log}\n{}", lab.log());
}

/// Nothing that the box shows or logs has the key in it.
fn check_secrecy(lab: &Laboratory, key: &str) {
    for path in ["/api/v1/streams", "/metrics", "/healthz", "/live/demo/status.json", "/live/index.json"] {
        let said = lab.get(path).text();
        assert!(!said.contains(key), "{path}: {said}");
    }
    let log = lab.log();
    assert!(!log.contains(key), "{log}");
    assert!(!lab.get("/live/demo/status.json").text().contains("pulled from"));
}
