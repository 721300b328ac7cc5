//! One line about a stream, from what the box tells every viewer.

use std::fmt;
use std::time::Duration;

use serde::Deserialize;

use crate::viewer::{Reader, Tally};

const LIMIT: Duration = Duration::from_secs(2);

/// The fields of `/live/NAME/status.json` that fit on a line.
#[derive(Clone, Debug, Deserialize)]
struct Stream {
    state: String,
    video: Option<Video>,
    audio: Option<Audio>,
    bitrate_bps: Option<f64>,
    viewers: Option<u64>,
    keyframe_interval_ms: Option<f64>,
    skew_ms: Option<f64>,
}

#[derive(Clone, Debug, Deserialize)]
struct Video {
    codec: String,
    width: Option<u32>,
    height: Option<u32>,
    frame_rate: Option<f64>,
}

#[derive(Clone, Debug, Deserialize)]
struct Audio {
    codec: String,
}

#[derive(Clone, Debug)]
pub(super) enum Status {
    Known(StreamLine),
    Unknown(String),
}

#[derive(Clone, Debug)]
pub(super) struct StreamLine(Stream);

impl Status {
    pub(super) fn read(http_url: &str, stream: &str) -> Status {
        match Reader::new(LIMIT).fetch(&format!("{http_url}/live/{stream}/status.json")) {
            Ok(body) => Status::parse(&body),
            Err(error) => Status::Unknown(format!("no status: {error:#}")),
        }
    }

    fn parse(body: &[u8]) -> Status {
        match serde_json::from_slice(body) {
            Ok(stream) => Status::Known(StreamLine(stream)),
            Err(error) => Status::Unknown(format!("odd status: {error}")),
        }
    }

    pub(super) fn is_live(&self) -> bool {
        match self {
            Status::Known(StreamLine(stream)) => stream.state == "live",
            Status::Unknown(_) => false,
        }
    }
}

impl fmt::Display for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Status::Known(StreamLine(stream)) => stream.fmt(f),
            Status::Unknown(why) => f.write_str(why),
        }
    }
}

impl fmt::Display for Stream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.state)?;
        if let Some(Video { codec, width, height, frame_rate }) = &self.video {
            write!(f, "  {codec}")?;
            if let (Some(width), Some(height)) = (width, height) {
                write!(f, " {width}x{height}")?;
            }
            if let Some(frame_rate) = frame_rate {
                write!(f, " {frame_rate:.0} fps")?;
            }
        }
        if let Some(Audio { codec }) = &self.audio {
            write!(f, " + {codec}")?;
        }
        if let Some(bitrate_bps) = self.bitrate_bps {
            write!(f, "  {:.1} Mbit/s", bitrate_bps / 1e6)?;
        }
        if let Some(interval_ms) = self.keyframe_interval_ms {
            write!(f, "  keyframe {:.1} s", interval_ms / 1e3)?;
        }
        if let Some(skew_ms) = self.skew_ms {
            write!(f, "  skew {skew_ms:.0} ms")?;
        }
        match self.viewers {
            Some(1) => write!(f, "  1 viewer"),
            Some(viewers) => write!(f, "  {viewers} viewers"),
            None => Ok(()),
        }
    }
}

pub(super) fn read_back(tally: &Tally) -> String {
    let megabytes = tally.bytes as f64 / 1e6;
    let mut text = format!("{} parts, {:.1} s, {megabytes:.1} MB", tally.parts, tally.media_s);
    if tally.epochs > 1 {
        text.push_str(&format!(", {} epochs", tally.epochs));
    }
    if tally.parts > 0 && tally.faults > 0 {
        text.push_str(&format!(", faults: {}", tally.faults));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_live_stream_is_one_line() {
        let body = br#"{"name":"demo","state":"live","since_unix_ms":1,
            "video":{"codec":"h264","width":1280,"height":720,"frame_rate":29.97},
            "audio":{"codec":"aac","sample_rate":48000,"channels":2},"codecs":"avc1.4d401f,mp4a.40.2",
            "bitrate_bps":2480000,"viewers":2,"keyframe_interval_ms":2000,"keyframe_interval_ms_max":2000,
            "skew_ms":-3,"drift_ppm":1.5,"target_duration_s":2,"part_target_ms":200,"encoder":null}"#;
        let status = Status::parse(body);
        assert!(status.is_live());
        assert_eq!(
            status.to_string(),
            "live  h264 1280x720 30 fps + aac  2.5 Mbit/s  keyframe 2.0 s  skew -3 ms  2 viewers"
        );
    }

    #[test]
    fn a_waiting_stream_has_little_to_say() {
        let status =
            Status::parse(br#"{"state":"waiting","video":null,"audio":null,"bitrate_bps":0,"viewers":1}"#);
        assert!(!status.is_live());
        assert_eq!(status.to_string(), "waiting  0.0 Mbit/s  1 viewer");
    }
}
