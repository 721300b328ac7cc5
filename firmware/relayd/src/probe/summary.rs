//! What samples add up to: rates, groups of pictures, and how far the tracks are apart.

use std::fmt;

use serde::Serialize;

use crate::probe::media::{Kind, Stamp, Track};
use crate::probe::source::Source;

#[derive(Debug, Serialize)]
pub(super) struct Summary {
    container: &'static str,
    bytes: usize,
    width: Option<u16>,
    height: Option<u16>,
    tracks: Vec<TrackSummary>,
    /// Where audio begins after video, and where it ends after video.
    av_start_ms: Option<f64>,
    av_end_ms: Option<f64>,
    damage: Vec<String>,
}

#[derive(Debug, Serialize)]
struct TrackSummary {
    kind: &'static str,
    codec: String,
    samples: usize,
    first_dts_ms: f64,
    first_pts_ms: f64,
    duration_s: f64,
    /// Half of all samples last at most this.
    frame_ms: f64,
    frame_ms_max: f64,
    /// Samples that are decoded no later than the one before.
    dts_not_rising: usize,
    composition_ms_min: f64,
    composition_ms_max: f64,
    groups: Option<Groups>,
}

/// Groups of pictures; the last one is still open and not counted.
#[derive(Debug, Serialize)]
struct Groups {
    keyframes: usize,
    /// Pictures before the first keyframe, which can't be decoded.
    before_first: usize,
    seconds_min: f64,
    seconds_median: f64,
    seconds_max: f64,
}

impl Summary {
    pub(super) fn of(source: &Source) -> Self {
        let media = &source.media;
        let both = media.track(Kind::Video).zip(media.track(Kind::Audio));
        let apart = |edge: fn(&Track) -> Option<Stamp>| {
            let (video, audio) = both?;
            Some(edge(audio)?.minus(edge(video)?).millis())
        };
        Self {
            container: source.container,
            bytes: source.bytes,
            width: source.size.map(|(width, _)| width),
            height: source.size.map(|(_, height)| height),
            tracks: media.tracks.iter().filter_map(TrackSummary::of).collect(),
            av_start_ms: apart(Track::start),
            av_end_ms: apart(Track::end),
            damage: source.damage.clone(),
        }
    }
}

impl TrackSummary {
    fn of(track: &Track) -> Option<Self> {
        let first = track.samples.first()?;
        let composition = track.samples.iter().map(|sample| sample.pts.minus(sample.dts));
        let longest = track.samples.iter().map(|sample| sample.duration).max()?;
        let rises = |pair: &[crate::probe::media::Sample]| pair[1].dts > pair[0].dts;
        Some(Self {
            kind: match track.kind {
                Kind::Video => "video",
                Kind::Audio => "audio",
            },
            codec: track.codec.clone(),
            samples: track.samples.len(),
            first_dts_ms: first.dts.millis(),
            first_pts_ms: track.start()?.millis(),
            duration_s: track.span()?.secs(),
            frame_ms: track.frame().millis(),
            frame_ms_max: longest.millis(),
            dts_not_rising: track.samples.windows(2).filter(|pair| !rises(pair)).count(),
            composition_ms_min: composition.clone().min()?.millis(),
            composition_ms_max: composition.max()?.millis(),
            groups: (track.kind == Kind::Video).then(|| Groups::of(track)),
        })
    }
}

impl Groups {
    fn of(track: &Track) -> Self {
        let keys: Vec<Stamp> =
            track.samples.iter().filter(|sample| sample.key).map(|sample| sample.pts).collect();
        let mut lengths: Vec<f64> = keys.windows(2).map(|pair| pair[1].minus(pair[0]).secs()).collect();
        lengths.sort_by(f64::total_cmp);
        let at = |nth: usize| lengths.get(nth).copied().unwrap_or(0.0);
        Self {
            keyframes: keys.len(),
            before_first: track.samples.iter().position(|sample| sample.key).unwrap_or(track.samples.len()),
            seconds_min: at(0),
            seconds_median: at(lengths.len() / 2),
            seconds_max: at(lengths.len().saturating_sub(1)),
        }
    }
}

impl fmt::Display for Summary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}, {} bytes", self.container, self.bytes)?;
        if let Some((width, height)) = self.width.zip(self.height) {
            write!(f, ", {width}x{height}")?;
        }
        writeln!(f)?;
        for track in &self.tracks {
            track.fmt(f)?;
        }
        if let Some((start, end)) = self.av_start_ms.zip(self.av_end_ms) {
            writeln!(f, "audio begins {start:+.1} ms after video, and ends {end:+.1} ms after it")?;
        }
        for damage in &self.damage {
            writeln!(f, "damaged box: {damage}")?;
        }
        Ok(())
    }
}

impl fmt::Display for TrackSummary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{} {}: {} samples, {:.3} s", self.kind, self.codec, self.samples, self.duration_s)?;
        writeln!(
            f,
            "  from {:.1} ms (decoded from {:.1} ms), frames of {:.2} ms, longest {:.2} ms",
            self.first_pts_ms, self.first_dts_ms, self.frame_ms, self.frame_ms_max
        )?;
        if self.composition_ms_min != 0.0 || self.composition_ms_max != 0.0 {
            let (min, max) = (self.composition_ms_min, self.composition_ms_max);
            writeln!(f, "  presented {min:.1} to {max:.1} ms after decoding")?;
        }
        if self.dts_not_rising > 0 {
            writeln!(f, "  {} samples are stamped no later than the one before", self.dts_not_rising)?;
        }
        let Some(groups) = &self.groups else { return Ok(()) };
        write!(f, "  {} keyframes", groups.keyframes)?;
        if groups.seconds_max > 0.0 {
            let Groups { seconds_min, seconds_median, seconds_max, .. } = groups;
            write!(
                f,
                "; groups of pictures of {seconds_min:.2} to {seconds_max:.2} s, median {seconds_median:.2} s"
            )?;
        }
        if groups.before_first > 0 {
            write!(f, "; the first comes after {} pictures", groups.before_first)?;
        }
        writeln!(f)
    }
}
