//! What the tests publish: a flash and a beep each second, coded by a real encoder, as FLV tags with their stamps;
//! and the publisher that sends them, stamps bent as the case wants.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::process::Command;
use std::time::{Duration, Instant};

use ingest::script::Script;

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Tag {
    pub(crate) video: bool,
    pub(crate) stamp_ms: i64,
    pub(crate) body: Vec<u8>,
}

impl Tag {
    pub(crate) fn is_header(&self) -> bool {
        self.body.get(1) == Some(&0)
            && (self.video && self.body[0] & 0xf == 7 || !self.video && self.body[0] >> 4 == 10)
    }

    pub(crate) fn is_keyframe(&self) -> bool {
        self.video && !self.is_header() && self.body[0] >> 4 == 1
    }

    pub(crate) fn composition_ms(&self) -> i32 {
        i32::from_be_bytes([self.body[2], self.body[3], self.body[4], 0]) >> 8
    }

    pub(crate) fn set_composition_ms(&mut self, value: i32) {
        self.body[2..5].copy_from_slice(&value.to_be_bytes()[1..]);
    }
}

/// How the picture and the sound are coded.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Coding {
    pub(crate) seconds: u32,
    pub(crate) frame_rate: u32,
    pub(crate) group: u32,
    /// Frame numbers of the keyframes, instead of a constant group.
    pub(crate) keyframes_s: &'static str,
    pub(crate) b_frames: u32,
    pub(crate) sample_rate: u32,
    pub(crate) size: &'static str,
}

impl Default for Coding {
    fn default() -> Self {
        Self {
            seconds: 10,
            frame_rate: 30,
            group: 60,
            keyframes_s: "",
            b_frames: 0,
            sample_rate: 48_000,
            size: "160x90",
        }
    }
}

/// The tags of the programme, headers first.
pub(crate) fn code(coding: Coding) -> Vec<Tag> {
    let Coding { seconds, frame_rate, group, b_frames, sample_rate, size, .. } = coding;
    let picture = format!(
        "color=black:s={size}:r={frame_rate},drawbox=t=fill:c=white:enable='lt(mod(t,1),0.06)',noise=alls=6:allf=t"
    );
    let sound = format!("aevalsrc='0.8*sin(2*PI*1000*t)*lt(mod(t,1),0.05)':s={sample_rate}");
    let (seconds, group, b_frames) = (seconds.to_string(), group.to_string(), b_frames.to_string());
    let mut command = Command::new("ffmpeg");
    command
        .args(["-v", "error", "-f", "lavfi", "-i", &picture, "-f", "lavfi", "-i", &sound, "-t", &seconds])
        .args([
            "-pix_fmt",
            "yuv420p",
            "-c:v",
            "libx264",
            "-preset",
            "ultrafast",
            "-g",
            &group,
            "-bf",
            &b_frames,
        ])
        .args(["-sc_threshold", "0", "-c:a", "aac", "-b:a", "64k", "-ac", "1"]);
    if !coding.keyframes_s.is_empty() {
        command.args(["-force_key_frames", coding.keyframes_s]);
    }
    let flv = command.args(["-flvflags", "no_duration_filesize", "-f", "flv", "-"]).output().unwrap();
    assert!(flv.status.success(), "{}", String::from_utf8_lossy(&flv.stderr));
    tags(&flv.stdout)
}

/// Reads an FLV file's audio and video tags.
pub(crate) fn tags(flv: &[u8]) -> Vec<Tag> {
    let mut tags = Vec::new();
    let mut rest = &flv[13..];
    while rest.len() > 11 {
        let length = u32::from_be_bytes([0, rest[1], rest[2], rest[3]]) as usize;
        let stamp = u32::from_be_bytes([rest[7], rest[4], rest[5], rest[6]]);
        if rest[0] != 18 {
            let body = rest[11..11 + length].to_vec();
            tags.push(Tag { video: rest[0] == 9, stamp_ms: i64::from(stamp), body });
        }
        rest = &rest[11 + length + 4..];
    }
    // Empty bodies end a sequence; no publisher needs them.
    tags.retain(|tag| tag.body.len() > 2 && (tag.body[1] != 2 || !tag.video));
    tags
}

/// A connection that publishes, as far as the test lets it.
pub(crate) struct Publisher {
    socket: TcpStream,
    script: Script,
    begun: Instant,
    first_ms: Option<i64>,
    /// Media seconds a second.
    speed: u32,
}

/// The box is as quick as that, and the tests need not wait.
const SPEED: u32 = 6;

impl Publisher {
    pub(crate) fn connect(rtmp: SocketAddr, key: &str) -> Self {
        Self::at_speed(rtmp, key, SPEED)
    }

    pub(crate) fn at_speed(rtmp: SocketAddr, key: &str, speed: u32) -> Self {
        let mut socket = TcpStream::connect(rtmp).unwrap();
        let mut answers = socket.try_clone().unwrap();
        // Answers are read and dropped, so that the box never waits for us.
        std::thread::spawn(move || while matches!(answers.read(&mut [0; 4096]), Ok(1..)) {});
        let mut script = Script::publisher("live", key);
        script.set_chunk_size(4096).metadata("obs-output module (test)", 160.0, 90.0, 30.0);
        socket.write_all(&script.take()).unwrap();
        Self { socket, script, begun: Instant::now(), first_ms: None, speed }
    }

    /// Sends the tags paced by `at_ms`; their stamps are what the case made of them.
    pub(crate) fn send(&mut self, tags: &[Tag]) {
        let paced: Vec<(i64, Tag)> = tags.iter().map(|tag| (tag.stamp_ms, tag.clone())).collect();
        self.send_paced(&paced);
    }

    /// Sends each tag when its media time has come, whatever its stamp says.
    pub(crate) fn send_paced(&mut self, tags: &[(i64, Tag)]) {
        for (at_ms, tag) in tags {
            let first = *self.first_ms.get_or_insert(*at_ms);
            let due = Duration::from_millis(u64::try_from(at_ms - first).unwrap_or(0)) / self.speed;
            if let Some(wait) = due.checked_sub(self.begun.elapsed()) {
                std::thread::sleep(wait);
            }
            let stamp = tag.stamp_ms as u32;
            match tag.video {
                true => self.script.video(stamp, &tag.body),
                false => self.script.audio(stamp, &tag.body),
            };
            let bytes = self.script.take();
            self.socket.write_all(&bytes).unwrap();
        }
    }

    /// Says good-bye, so that the box closes what is open at once.
    pub(crate) fn finish(mut self) {
        self.script.call("FCUnpublish", 6.0).call("deleteStream", 7.0);
        let bytes = self.script.take();
        let _ = self.socket.write_all(&bytes);
        let _ = self.socket.shutdown(std::net::Shutdown::Write);
    }
}
