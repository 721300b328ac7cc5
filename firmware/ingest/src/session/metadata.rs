//! `onMetaData`, bare or wrapped in `@setDataFrame`: what the encoder says about itself.

use super::amf::{AmfError, AmfReader, Value};
use crate::Metadata;

const ENCODER_CHARS_MAX: usize = 128;

/// None for other data messages (cue points, captions).
pub(super) fn parse(reader: &mut AmfReader<'_>) -> Result<Option<Metadata>, AmfError> {
    let mut name = reader.read()?;
    if name.as_ref().and_then(Value::as_str) == Some("@setDataFrame") {
        name = reader.read()?;
    }
    if name.as_ref().and_then(Value::as_str) != Some("onMetaData") {
        return Ok(None);
    }
    Ok(reader.read()?.map(|about| from_object(&about)))
}

fn from_object(about: &Value) -> Metadata {
    let number = |key| about.get(key).and_then(Value::as_number);
    let kilobits = |key| whole(number(key)? * 1000.0);
    Metadata {
        encoder: about.get("encoder").and_then(Value::as_str).map(printable),
        width: number("width").and_then(whole).map(|width| width as u32),
        height: number("height").and_then(whole).map(|height| height as u32),
        frame_rate_milli: number("framerate").and_then(|rate| whole(rate * 1000.0)).map(|rate| rate as u32),
        video_bitrate_bps: kilobits("videodatarate"),
        audio_bitrate_bps: kilobits("audiodatarate"),
    }
}

/// A positive number that fits 32 bits, rounded; encoders write 0 or worse for what they don't know.
fn whole(number: f64) -> Option<u64> {
    let plausible = number >= 0.5 && number < f64::from(u32::MAX);
    plausible.then(|| number.round() as u64)
}

fn printable(text: &str) -> String {
    text.chars().filter(|char| !char.is_control()).take(ENCODER_CHARS_MAX).collect()
}
