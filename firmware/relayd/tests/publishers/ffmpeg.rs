//! ffmpeg as a publisher: a flash and a beep each second, 320x180 at 25 frames a second, in real time.

use std::ffi::{OsStr, OsString};
use std::process::{Child, Command, Stdio};

const PICTURE: &str =
    "color=black:s=320x180:r=25,drawbox=t=fill:c=white:enable='lt(mod(t,1),0.06)',noise=alls=6:allf=t";
const SOUND: &str = "aevalsrc='0.8*sin(2*PI*1000*t)*lt(mod(t,1),0.05)':s=48000";
/// What Debian's ffmpeg can send in RTMP as it was.
pub(crate) const H264_AAC: &str =
    "-c:v libx264 -preset ultrafast -sc_threshold 0 -g 50 -bf 2 -c:a aac -b:a 64k";

/// A publication under way; ended with the test.
pub(crate) struct Publishing(Child);

impl Publishing {
    pub(crate) fn start(ffmpeg: &OsStr, options: &str, url: &str) -> Self {
        let mut command = command(ffmpeg, "120", options, url);
        Self(command.stderr(Stdio::null()).spawn().unwrap())
    }
}

impl Drop for Publishing {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Tries to publish two seconds; what ffmpeg said.
pub(crate) fn refused(options: &str, url: &str) -> String {
    let output = command("ffmpeg".as_ref(), "2", options, url).output().unwrap();
    assert!(!output.status.success(), "published to {url}");
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// The ffmpeg with Enhanced RTMP. Without one the test has nothing to say.
pub(crate) fn newer() -> Option<OsString> {
    let ffmpeg = std::env::var_os("RELAYBOX_FFMPEG");
    if ffmpeg.is_none() {
        eprintln!("skipped: RELAYBOX_FFMPEG names no ffmpeg of version 7.1 or later");
    }
    ffmpeg
}

fn command(ffmpeg: &OsStr, seconds: &str, options: &str, url: &str) -> Command {
    let mut command = Command::new(ffmpeg);
    command
        .args([
            "-nostdin", "-v", "error", "-re", "-f", "lavfi", "-i", PICTURE, "-re", "-f", "lavfi", "-i", SOUND,
        ])
        .args(["-t", seconds, "-pix_fmt", "yuv420p"])
        .args(options.split_whitespace())
        .args(["-f", "flv", url])
        .stdin(Stdio::null())
        .stdout(Stdio::null());
    command
}
