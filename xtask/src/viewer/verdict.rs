//! Outside code's judgement of a sample: ffprobe counts the frames that decode, ffmpeg finds flash and beep.

use std::path::Path;

use anyhow::{Context as _, Result, bail, ensure};
use serde::Deserialize;

use crate::command;

/// Flash and beep may leave this far from each other.
const SKEW_MS_MAX: f64 = 40.0;

/// A flash and a beep nearer than this belong together.
const PAIR_S: f64 = 0.4;

/// The end of a sample looks like the end of darkness and of silence.
const END_S: f64 = 0.3;

#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Verdict {
    pub(crate) media_s: f64,
    pub(crate) video_frames: u64,
    pub(crate) audio_frames: u64,
    /// The widest distance of a flash and its beep, if the picture has them.
    pub(crate) skew_ms: Option<f64>,
}

impl Verdict {
    /// Fails unless audio and video both decode, and come together when the test picture was sent.
    pub(crate) fn demand(&self, is_test_picture: bool) -> Result<()> {
        ensure!(self.video_frames > 0, "no frame of video decodes");
        ensure!(self.audio_frames > 0, "no frame of audio decodes");
        if is_test_picture {
            let Some(skew_ms) = self.skew_ms else { bail!("no flash with a beep was seen") };
            ensure!(
                skew_ms <= SKEW_MS_MAX,
                "flash and beep are {skew_ms:.0} ms apart, more than {SKEW_MS_MAX} ms"
            );
        }
        Ok(())
    }
}

impl std::fmt::Display for Verdict {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Verdict { media_s, video_frames, audio_frames, skew_ms } = self;
        write!(f, "{media_s:.1} s decode to {video_frames} frames of video and {audio_frames} of audio")?;
        match skew_ms {
            Some(skew_ms) => write!(f, ", flash and beep within {skew_ms:.1} ms"),
            None => Ok(()),
        }
    }
}

#[derive(Deserialize)]
struct Probe {
    streams: Vec<ProbeStream>,
}

#[derive(Deserialize)]
struct ProbeStream {
    codec_type: String,
    nb_read_frames: Option<String>,
}

pub(crate) fn judge(sample: &Path, media_s: f64) -> Result<Verdict> {
    let text = command::output(
        command::program("ffprobe")
            .args([
                "-v",
                "error",
                "-count_frames",
                "-show_entries",
                "stream=codec_type,nb_read_frames",
                "-of",
                "json",
            ])
            .arg(sample),
    )?;
    let probe: Probe = serde_json::from_str(&text).context("ffprobe printed what is not JSON")?;
    let frames = |kind: &str| {
        let stream = probe.streams.iter().find(|stream| stream.codec_type == kind);
        stream.and_then(|stream| stream.nb_read_frames.as_ref()?.parse().ok()).unwrap_or(0)
    };
    let (video_frames, audio_frames) = (frames("video"), frames("audio"));
    let skew_ms = if video_frames > 0 && audio_frames > 0 {
        skew_ms(&flashes_and_beeps(sample)?, media_s)
    } else {
        None
    };
    Ok(Verdict { media_s, video_frames, audio_frames, skew_ms })
}

/// What ffmpeg's detectors of darkness and silence say about the sample.
fn flashes_and_beeps(sample: &Path) -> Result<String> {
    let mut ffmpeg = command::program("ffmpeg");
    ffmpeg.args(["-hide_banner", "-nostdin", "-nostats", "-i"]).arg(sample);
    ffmpeg.args(["-vf", "crop=iw/4:ih/4:iw*5/8:ih*5/8,blackdetect=d=0.1:pix_th=0.2"]);
    ffmpeg.args(["-af", "silencedetect=noise=-30dB:d=0.2", "-f", "null", "-"]);
    let out = ffmpeg.output().context("could not start ffmpeg")?;
    let log = String::from_utf8_lossy(&out.stderr).into_owned();
    ensure!(out.status.success(), "ffmpeg can't decode {}: {log}", sample.display());
    Ok(log)
}

fn skew_ms(log: &str, media_s: f64) -> Option<f64> {
    let ends = |name: &str| -> Vec<f64> {
        let found =
            log.lines().filter_map(|line| line.split_once(name)?.1.split_whitespace().next()?.parse().ok());
        found.filter(|at: &f64| *at < media_s - END_S).collect()
    };
    let (flashes, beeps) = (ends("black_end:"), ends("silence_end: "));
    let distance = |flash: &f64| {
        let nearest = beeps.iter().map(|beep| (beep - flash).abs()).min_by(f64::total_cmp);
        nearest.filter(|distance| *distance < PAIR_S)
    };
    // A flash whose beep is missing is as bad as one whose beep is far.
    flashes.iter().map(|flash| distance(flash).unwrap_or(f64::INFINITY) * 1000.0).max_by(f64::total_cmp)
}

#[cfg(test)]
mod tests {
    use super::*;

    const LOG: &str = "\
[silencedetect @ 0x1] silence_start: 0.07
[silencedetect @ 0x1] silence_end: 1.025 | silence_duration: 0.948
[blackdetect @ 0x2] black_start:0.088 black_end:1.021 black_duration:0.933
[blackdetect @ 0x2] black_start:1.088 black_end:2.021 black_duration:0.933
[silencedetect @ 0x1] silence_end: 2.031 | silence_duration: 0.948
[blackdetect @ 0x2] black_start:2.088 black_end:2.988 black_duration:0.9
[silencedetect @ 0x1] silence_end: 3.09 | silence_duration: 0.95
";

    #[test]
    fn the_widest_pair_counts_and_the_end_does_not() {
        let skew = skew_ms(LOG, 3.0).unwrap();
        assert!((skew - 10.0).abs() < 0.001, "{skew}");
    }

    #[test]
    fn a_flash_without_a_beep_fails() {
        let mute = LOG.replace("silence_end", "silence");
        let verdict =
            Verdict { media_s: 3.0, video_frames: 90, audio_frames: 140, skew_ms: skew_ms(&mute, 3.0) };
        assert!(verdict.demand(true).is_err());
        assert!(verdict.demand(false).is_ok());
    }

    #[test]
    fn a_shift_of_a_tenth_of_a_second_fails() {
        let verdict = Verdict { media_s: 6.0, video_frames: 180, audio_frames: 280, skew_ms: Some(100.0) };
        assert_eq!(
            verdict.demand(true).unwrap_err().to_string(),
            "flash and beep are 100 ms apart, more than 40 ms"
        );
    }
}
