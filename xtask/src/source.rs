//! The test picture: one ffmpeg that publishes what a test can read back from the screen and the loudspeaker.
//!
//! ```text
//!   0            384                                   w
//!   +-------------+------------------------------------+  row 1 (y 0..16): frame number, 24 cells of 16x16, bit k at
//!   | row 1       |  moving picture                    |      x = 16k, white = 1
//!   | row 2       |                                    |  row 2 (y 16..32): floor(unix time in s * 50) mod 65536 when
//!   |                                                  |      the frame was drawn, as Gray code, 16 cells
//!   |                        +-------------------------+
//!   |                        | flash: white in the     |  flash and beep begin together at each whole second; the beep
//!   |  HH:MM:SS              | first 2 frames of each  |      is 1 kHz for 50 ms
//!   |                        | second, else black      |
//!   +------------------------+-------------------------+
//! ```
//! Gray code, since each cell reads the clock by itself: between two values only one cell differs, so a frame drawn
//! over the change still reads as one of the two. Everything is drawn after the input was paced, so the clock shows
//! when a frame went into the encoder.

use std::process::Command;

use crate::command;

const CELL: u32 = 16;
const NUMBER_BITS: u32 = 24;
const CLOCK_BITS: u32 = 16;
const CLOCK_HZ: u32 = 50;

/// Frames between keyframes, in seconds: what OBS is asked for as well.
const KEYFRAME_INTERVAL_S: u32 = 2;
const VIDEO_KBPS: u32 = 2400;
pub(crate) const AUDIO_KBPS: u32 = 128;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Source {
    pub(crate) width: u32,
    pub(crate) height: u32,
    pub(crate) frame_rate: u32,
    pub(crate) seconds: Option<u32>,
    /// At a constant rate, whatever is in the picture.
    pub(crate) video_kbps: u32,
}

impl Default for Source {
    fn default() -> Source {
        Source { width: 1280, height: 720, frame_rate: 30, seconds: None, video_kbps: VIDEO_KBPS }
    }
}

impl Source {
    /// The whole command line that publishes to this RTMP address.
    pub(crate) fn publisher(&self, rtmp_url: &str) -> Command {
        let mut ffmpeg = command::program("ffmpeg");
        ffmpeg.args(self.arguments(rtmp_url));
        ffmpeg
    }

    pub(crate) fn arguments(&self, rtmp_url: &str) -> Vec<String> {
        let Source { width, height, frame_rate, video_kbps, .. } = *self;
        let group = frame_rate * KEYFRAME_INTERVAL_S;
        let mut words: Vec<String> = Vec::new();
        let mut say = |line: &str| words.extend(line.split(' ').map(str::to_owned));
        say("-hide_banner -nostdin -nostats -loglevel warning");
        say(&format!("-re -f lavfi -i testsrc2=size={width}x{height}:rate={frame_rate}"));
        say("-re -f lavfi -i aevalsrc=0.5*sin(2*PI*1000*t)*lt(mod(t\\,1)\\,0.05):sample_rate=48000");
        if let Some(seconds) = self.seconds {
            say(&format!("-t {seconds}"));
        }
        words.extend(["-vf".to_owned(), self.drawing()]);
        let mut say = |line: &str| words.extend(line.split(' ').map(str::to_owned));
        say("-c:v libx264 -preset ultrafast -tune zerolatency -profile:v main -pix_fmt yuv420p");
        say(&format!("-g {group} -keyint_min {group} -sc_threshold 0 -x264-params nal-hrd=cbr:force-cfr=1"));
        say(&format!("-b:v {video_kbps}k -maxrate {video_kbps}k -bufsize {video_kbps}k"));
        say(&format!("-c:a aac -b:a {AUDIO_KBPS}k -ac 2"));
        say("-flvflags no_duration_filesize -f flv");
        words.push(rtmp_url.to_owned());
        words
    }

    fn drawing(&self) -> String {
        let frame_rate = self.frame_rate;
        let mut boxes = vec![filled(0, 0, CELL * NUMBER_BITS, CELL * 2, "black", None)];
        for bit in 0..NUMBER_BITS {
            boxes.push(cell(bit, 0, &format!("mod(floor(n/{}),2)", 1_u64 << bit)));
        }
        for bit in 0..CLOCK_BITS {
            let clock = format!("mod(time(0)*{CLOCK_HZ},{})", 1_u64 << CLOCK_BITS);
            let (low, high) = (1_u64 << bit, 2_u64 << bit);
            boxes.push(cell(bit, CELL, &format!("mod(floor({clock}/{low})+floor({clock}/{high}),2)")));
        }
        let (x, y, w, h) = (self.width / 2, self.height / 2, self.width / 2, self.height / 2);
        boxes.push(filled(x, y, w, h, "black", None));
        boxes.push(filled(x, y, w, h, "white", Some(&format!("lt(mod(n,{frame_rate}),2)"))));
        let (size, left, down) = (self.height / 11, self.width / 32, self.height / 6);
        boxes.push(format!(
            "drawtext=font=monospace:fontsize={size}:fontcolor=white:box=1:boxcolor=black:x={left}:y=h-{down}:text='%{{localtime\\:%T}}'"
        ));
        boxes.join(",")
    }
}

fn cell(bit: u32, y: u32, when: &str) -> String {
    filled(CELL * bit, y, CELL, CELL, "white", Some(when))
}

fn filled(x: u32, y: u32, w: u32, h: u32, color: &str, when: Option<&str>) -> String {
    let when = when.map(|when| format!(":enable='{when}'")).unwrap_or_default();
    format!("drawbox=x={x}:y={y}:w={w}:h={h}:color={color}:t=fill{when}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cells_lie_where_a_reader_looks_for_them() {
        let drawing = Source::default().drawing();
        assert!(
            drawing
                .contains("drawbox=x=368:y=0:w=16:h=16:color=white:t=fill:enable='mod(floor(n/8388608),2)'")
        );
        assert!(drawing.contains(
            "drawbox=x=240:y=16:w=16:h=16:color=white:t=fill:enable='mod(floor(mod(time(0)*50,65536)/32768)+floor(mod(time(0)*50,65536)/65536),2)'"
        ));
        assert!(
            drawing.contains("drawbox=x=640:y=360:w=640:h=360:color=white:t=fill:enable='lt(mod(n,30),2)'")
        );
    }

    #[test]
    fn a_keyframe_comes_every_two_seconds() {
        let words = Source { frame_rate: 25, ..Source::default() }.arguments("rtmp://127.0.0.1/live/key");
        let group = words.iter().position(|word| word == "-g").unwrap();
        assert_eq!(words[group + 1], "50");
        assert_eq!(words.last().unwrap(), "rtmp://127.0.0.1/live/key");
    }
}
