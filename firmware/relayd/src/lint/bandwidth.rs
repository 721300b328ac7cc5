//! Bit rates as measured, against what the multivariant playlist declares (RFC 8216bis 4.4.6.2).

use std::collections::BTreeMap;

use crate::lint::m3u8::{Breach, Variant};
use crate::lint::rule::Rule;
use crate::probe::media::Kind;

/// Measured rates may exceed declared ones by this much: a peak is declared before the next segment is made.
const PEAK_FACTOR: f64 = 1.1;
/// How far the declared average may be from the measured one. A lint sees only a piece of the stream.
const AVERAGE_FACTOR: f64 = 1.5;

/// Sizes and declared durations of consecutive segments.
#[derive(Debug, Default)]
pub(crate) struct Rates {
    segments: Vec<(u64, f64)>,
}

/// Segments whose sizes are kept: hours of them.
const SEGMENTS_MAX: usize = 1 << 16;

impl Rates {
    pub(crate) fn add(&mut self, bytes: u64, seconds: f64) {
        if self.segments.len() < SEGMENTS_MAX && seconds > 0.0 {
            self.segments.push((bytes, seconds));
        }
    }

    fn total(segments: &[(u64, f64)]) -> (f64, f64) {
        segments
            .iter()
            .fold((0.0, 0.0), |sum, (bytes, seconds)| (sum.0 + *bytes as f64 * 8.0, sum.1 + seconds))
    }

    /// The largest rate of contiguous segments which together last between 0.5 and 1.5 target durations.
    pub(crate) fn peak_bps(&self, target_duration: f64) -> f64 {
        let mut peak: f64 = 0.0;
        for first in 0..self.segments.len() {
            let (mut bits, mut seconds) = (0.0, 0.0);
            for (bytes, duration) in &self.segments[first..] {
                bits += *bytes as f64 * 8.0;
                seconds += duration;
                if seconds > 1.5 * target_duration {
                    break;
                }
                if seconds >= 0.5 * target_duration {
                    peak = peak.max(bits / seconds);
                }
            }
        }
        peak
    }

    pub(crate) fn check(&self, variant: &Variant, target_duration: f64) -> Vec<Breach> {
        let mut out = Vec::new();
        let (bits, seconds) = Self::total(&self.segments);
        if seconds == 0.0 {
            return out;
        }
        let peak = self.peak_bps(target_duration).max(bits / seconds);
        let declared = variant.bandwidth as f64;
        if peak > declared * PEAK_FACTOR {
            out.push(Breach::new(
                Rule::Bandwidth,
                format!("declared {declared:.0}, measured a peak of {peak:.0}"),
            ));
        }
        let average = bits / seconds;
        let off = |declared: f64| declared > average * AVERAGE_FACTOR || average > declared * AVERAGE_FACTOR;
        if let Some(declared) = variant.average_bandwidth.map(|bps| bps as f64).filter(|bps| off(*bps)) {
            let what = format!("declared {declared:.0}, measured {average:.0}");
            out.push(Breach::new(Rule::AverageBandwidth, what));
        }
        out
    }
}

/// CODECS has a word for each codec that was met.
pub(crate) fn check_codecs(variant: &Variant, met: &BTreeMap<Kind, String>) -> Vec<Breach> {
    let Some(codecs) = variant.codecs.as_deref() else { return Vec::new() };
    let declared: Vec<String> = codecs.split(',').map(|codec| codec.trim().to_ascii_lowercase()).collect();
    let names = |codec: &str| -> &[&str] {
        match codec {
            "avc1" | "avc3" | "h264" => &["avc1", "avc3"],
            "hvc1" | "hev1" | "hevc" => &["hvc1", "hev1"],
            "av01" => &["av01"],
            "mp4a" | "aac" => &["mp4a"],
            "mp3" => &["mp4a", "mp3"],
            "Opus" => &["opus"],
            _ => &[""],
        }
    };
    let missing = met.iter().filter(|(_, codec)| {
        !declared.iter().any(|declared| names(codec).iter().any(|name| declared.starts_with(name)))
    });
    missing
        .map(|(kind, codec)| Breach::new(Rule::Codecs, format!("{codec} ({kind}) is not in {codecs:?}")))
        .collect()
}
