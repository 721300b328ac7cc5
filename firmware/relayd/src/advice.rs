//! Plain words for the streamer: what the box measured, what it means, what to set where.

use serve::{Advice, Severity};
use stream::window::Trouble;

use crate::status::Facts;

/// A keyframe interval above this makes viewers wait, and is worth a word.
const KEYFRAME_MS: u32 = 4_000;
/// Audio this far off its stamps is heard as out of step soon.
const SKEW_MS: f64 = 40.0;
/// Drift above this is no crystal: the encoder loses samples.
const DRIFT_PPM: f64 = 1_000.0;

pub(crate) fn advise(facts: &Facts, trouble: Option<Trouble>) -> Vec<Advice> {
    let mut advice = Vec::new();
    if !facts.publishing {
        return advice;
    }
    let encoder =
        if facts.encoder.as_deref().is_some_and(|name| name.contains("obs")) { "OBS" } else { "The encoder" };
    let seconds = |ms: u32| f64::from(ms) / 1000.0;
    let mut say = |code: &str, severity, text| advice.push(Advice { code: code.to_owned(), severity, text });
    if trouble == Some(Trouble::GroupTooLong) {
        say(
            "keyframe_missing",
            Severity::Error,
            format!(
                "{encoder} has sent no keyframe for {:.0} s: HLS viewers see nothing. Set Keyframe Interval to 2 s: Settings, Output.",
                seconds(facts.since_keyframe_ms.unwrap_or(0))
            ),
        );
    } else if let Some(interval) = facts.keyframe_interval_ms_max.filter(|interval| *interval > KEYFRAME_MS) {
        say(
            "keyframe_interval",
            Severity::Warn,
            format!(
                "{encoder} sends a keyframe every {:.1} s. Set Keyframe Interval to 2 s: Settings, Output. Viewers then start sooner.",
                seconds(interval)
            ),
        );
    }
    if let Some(skew) = facts.skew_ms.filter(|skew| skew.abs() > SKEW_MS) {
        say(
            "skew",
            Severity::Warn,
            format!(
                "Sound is {:.0} ms off its time stamps and is being brought back. If this stays, restart the stream.",
                skew.abs()
            ),
        );
    }
    if let Some(drift) = facts.drift_ppm.filter(|drift| drift.abs() > DRIFT_PPM) {
        say(
            "drift",
            Severity::Warn,
            format!(
                "The sound device runs {:.1} % off the picture's clock; the box corrects it. A device set to another sample rate than {encoder} causes this.",
                drift.abs() / 10_000.0
            ),
        );
    }
    if facts.repairs.jumps > 0 {
        say(
            "jump",
            Severity::Info,
            format!(
                "The encoder's clock jumped {} time(s); viewers saw a short break each time.",
                facts.repairs.jumps
            ),
        );
    }
    if facts.tracks.audio.is_none() && facts.tracks.video.is_some() {
        say(
            "no_audio",
            Severity::Info,
            "The stream has no sound. If it should: check the audio mixer and the selected tracks."
                .to_owned(),
        );
    }
    if facts.tracks.video.is_none() && facts.tracks.audio.is_some() {
        say("no_video", Severity::Info, "The stream has sound only.".to_owned());
    }
    if facts.packager_losses > 0 {
        say(
            "packager",
            Severity::Info,
            format!("The packager was lost {} time(s) and started again.", facts.packager_losses),
        );
    }
    advice
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(facts: &Facts, expected: &[&str]) {
        let advice = advise(facts, None);
        let texts: Vec<&str> = advice.iter().map(|advice| advice.text.as_str()).collect();
        assert_eq!(texts, expected);
    }

    fn publishing() -> Facts {
        let video =
            stream::TrackConfig { codec: stream::Codec::H264, record: bytes::Bytes::new(), audio: None };
        let audio = stream::TrackConfig { codec: stream::Codec::Aac, ..video.clone() };
        let tracks = stream::Tracks { video: Some(video), audio: Some(audio) };
        Facts { publishing: true, tracks, encoder: Some("obs-output module".to_owned()), ..Facts::default() }
    }

    #[test]
    fn a_good_stream_needs_no_words() {
        check(&Facts { keyframe_interval_ms_max: Some(2000), skew_ms: Some(3.0), ..publishing() }, &[]);
        check(&Facts { publishing: false, keyframe_interval_ms_max: Some(9000), ..publishing() }, &[]);
    }

    #[test]
    fn a_long_keyframe_interval_is_named_with_its_setting() {
        check(
            &Facts { keyframe_interval_ms_max: Some(8333), ..publishing() },
            &[
                "OBS sends a keyframe every 8.3 s. Set Keyframe Interval to 2 s: Settings, Output. Viewers then start sooner.",
            ],
        );
    }
}
