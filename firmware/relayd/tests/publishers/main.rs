//! Real publishers and real players on a real box: ffmpeg, a newer ffmpeg, OBS, VLC, GStreamer, curl.
//!
//! What a machine may not have is asked for by name: the newer ffmpeg in RELAYBOX_FFMPEG (a test without it says so
//! and passes); OBS, VLC and GStreamer's players are behind `--ignored`. docs/clients.md has what was seen.

#![expect(clippy::unwrap_used, reason = "a test ends at its first surprise")]

mod encrypted;
mod enhanced;
mod ffmpeg;
mod obs;
mod players;
mod reconnect;
mod refused;
mod studio;

#[allow(dead_code, reason = "the hostile cases need more of it")]
#[path = "../hostile/laboratory.rs"]
mod laboratory;
#[allow(dead_code, reason = "the hostile cases need more of it")]
#[path = "../hostile/programme.rs"]
mod programme;
#[allow(dead_code, reason = "the hostile cases need more of it")]
#[path = "../hostile/verdict.rs"]
mod verdict;
