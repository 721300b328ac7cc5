//! The window against golden playlists, by scripts, and against its promises, by random ones.

use alloc::string::{String, ToString};
use alloc::vec::Vec;

use bytes::Bytes;

use super::*;
use crate::track::{Codec, TrackConfig, Tracks};

mod answers;
mod follow;
mod golden;
mod hostile;
mod properties;

/// A window that is driven by a script. Its commands, one a line:
///
/// ```text
/// epoch ID [TARGET_MS [va|v]]   begins an epoch
/// group MS...                   a whole segment of these parts
/// open MS...                    a segment of these parts that stays open
/// more MS... [.]                further parts of it; a full stop marks the last as the last
/// gap MS...                     a whole segment of which every part is missing
/// abandon | end
/// ```
/// A part has 250 bytes per millisecond (2 Mbit/s) and each epoch begins a minute after the one before.
pub(super) struct Script {
    pub(super) window: Window,
    epoch: EpochId,
    epochs: i64,
    at: Ticks,
}

impl Script {
    pub(super) fn new(limits: WindowLimits) -> Self {
        Self { window: Window::new(limits, 7), epoch: EpochId(0), epochs: 0, at: Ticks::ZERO }
    }

    pub(super) fn run(text: &str) -> Self {
        let mut script = Self::new(WindowLimits::default());
        script.play(text);
        script
    }

    pub(super) fn play(&mut self, text: &str) {
        for line in text.lines().map(str::trim).filter(|line| !line.is_empty()) {
            let mut words = line.split_whitespace();
            let command = words.next().unwrap();
            let words: Vec<&str> = words.collect();
            match command {
                "epoch" => self.epoch(&words),
                "group" => self.parts(&words, true, true, false),
                "open" => self.parts(&words, true, false, false),
                "more" => match words.split_last() {
                    Some((&".", words)) => self.parts(words, false, true, false),
                    _ => self.parts(&words, false, false, false),
                },
                "gap" => self.parts(&words, true, true, true),
                "abandon" => self.window.abandon_segment(),
                "end" => self.window.end(),
                other => panic!("unknown command {other}"),
            }
        }
    }

    fn epoch(&mut self, words: &[&str]) {
        let target_ms = words.get(1).map_or(200, |ms| ms.parse().unwrap());
        let audio = words.get(2).is_none_or(|kinds| *kinds == "va");
        self.epoch = EpochId(u64::from_str_radix(words[0], 16).unwrap());
        self.at = Ticks::ZERO;
        let record = record(self.epoch, Ticks::from_millis(target_ms), audio, self.epochs * 60_000);
        self.epochs += 1;
        self.window.begin_epoch(record).unwrap();
    }

    fn parts(&mut self, words: &[&str], opens: bool, closes: bool, gap: bool) {
        for (nth, ms) in words.iter().enumerate() {
            let ms: i64 = ms.parse().unwrap();
            let opens_segment = opens && nth == 0;
            let last = closes && nth + 1 == words.len();
            let duration = Ticks::from_millis(ms);
            let (epoch, start) = (self.epoch, self.at);
            let cut = CutPart { epoch, start, duration, independent: opens_segment, opens_segment, last };
            let bytes = if gap { 0 } else { ms as u32 * 250 };
            let header = PartHeader { gap, ..self.window.number(&cut, bytes) };
            self.window.push_part(header).unwrap();
            self.at += duration;
        }
    }

    pub(super) fn current(&self) -> PlaylistName {
        self.window.current().unwrap()
    }

    /// The text of the current media playlist, or the answer if it is none.
    pub(super) fn media(&self, query: &str) -> String {
        text(self.window.media(self.current(), &Reload::parse(query).unwrap()))
    }
}

pub(super) fn record(id: EpochId, part_target: Ticks, audio: bool, zero_unix_ms: i64) -> EpochRecord {
    let track = |codec| TrackConfig { codec, record: Bytes::new(), audio: None };
    let tracks = Tracks { video: Some(track(Codec::H264)), audio: audio.then(|| track(Codec::Aac)) };
    EpochRecord {
        id,
        tracks,
        codecs: if audio { "avc1.64001f,mp4a.40.2" } else { "avc1.64001f" }.to_string(),
        resolution: Some((1280, 720)),
        frame_rate_milli: Some(29_970),
        part_target,
        zero_unix_ms,
    }
}

pub(super) fn text(answer: Answer) -> String {
    match answer {
        Answer::Ready(text) => text,
        other => alloc::format!("{other:?}"),
    }
}
