//! A publisher with any stamps and configurations into timeline and cutter: no panic, times only grow, the orders to
//! the packager hold together, what is kept is bounded, and whoever behaves again is published again, in sync.
#![no_main]

use std::sync::Arc;

use arbitrary::Arbitrary;
use libfuzzer_sys::fuzz_target;
use stream::cutter::{Cutter, Settings};
use stream::timeline::Timeline;
use stream::{AccessUnit, AudioFormat, Codec, Ticks, TrackConfig, TrackKind};

#[path = "timeline_cutter/orders.rs"]
mod orders;
#[path = "timeline_cutter/payload.rs"]
mod payload;

use orders::Orders;
use payload::Alive;

const STEPS_MAX: usize = 48;
const UNITS_MAX: usize = 20_000;
/// A clean programme of this length heals whatever went before it.
const HEALING_MS: i64 = 30_000;
/// From then on everything is as it should be.
const HEALED_MS: i64 = 20_000;

#[derive(Arbitrary, Debug)]
struct Input {
    start_ms: u32,
    segment_target_ms: u16,
    part_about_ms: u8,
    video: Option<u8>,
    audio: Option<u8>,
    steps: Vec<Step>,
    heal: bool,
}

#[derive(Arbitrary, Debug)]
enum Step {
    Stretch { frames: u8, frame_ms: u8, group: u8, has_video: bool, has_audio: bool },
    Video { step_ms: i16, composition_ms: i32, keyframe: bool, bytes: u16 },
    Audio { step_ms: i16, frame: u8 },
    Burst { frames: u8, bytes: u16 },
    Jump(i32),
    Pause(u16),
    Config(u8),
    Restart,
}

/// What was sent, by number.
#[derive(Clone, Copy)]
struct Sent {
    stamp: Ticks,
    composition: Ticks,
}

struct Publisher {
    clock_ms: i64,
    timeline: Timeline,
    cutter: Cutter,
    orders: Orders,
    alive: Arc<Alive>,
    sent: Vec<Sent>,
    format: Option<AudioFormat>,
    opus: bool,
    has_video: bool,
    /// Newest decoding time of video; of audio in samples.
    newest: [Option<i64>; 2],
}

fn config(which: u8) -> TrackConfig {
    let video = |codec, record| TrackConfig { codec, record: bytes::Bytes::from_static(record), audio: None };
    let audio = |codec, sample_rate, frame_samples| TrackConfig {
        codec,
        record: bytes::Bytes::new(),
        audio: Some(AudioFormat { sample_rate, channels: 2, frame_samples }),
    };
    match which % 8 {
        0 => video(Codec::H264, b"one"),
        1 => video(Codec::H264, b"two"),
        2 => video(Codec::Hevc, b"one"),
        3 => audio(Codec::Aac, 48_000, 1024),
        4 => audio(Codec::Aac, 44_100, 1024),
        5 => audio(Codec::Aac, 7350, 960),
        6 => audio(Codec::Aac, 96_000, 1024),
        _ => audio(Codec::Opus, 48_000, 960),
    }
}

impl Publisher {
    fn new(input: &Input) -> Self {
        let settings = Settings {
            segment_target: Ticks::from_millis(i64::from(input.segment_target_ms % 8000) + 500),
            part_about: Ticks::from_millis(200 + i64::from(input.part_about_ms)),
        };
        Self {
            clock_ms: i64::from(input.start_ms),
            timeline: Timeline::default(),
            cutter: Cutter::new(settings),
            orders: Orders::default(),
            alive: Arc::default(),
            sent: Vec::new(),
            format: None,
            opus: false,
            has_video: false,
            newest: [None; 2],
        }
    }

    fn step(&mut self, step: &Step) {
        match *step {
            Step::Stretch { frames, frame_ms, group, has_video, has_audio } => {
                let ms = i64::from(frames % 64) * i64::from(frame_ms);
                self.programme(ms, i64::from(frame_ms), u32::from(group), [has_video, has_audio]);
            }
            Step::Video { step_ms, composition_ms, keyframe, bytes } => {
                self.clock_ms += i64::from(step_ms);
                self.video(composition_ms % (1 << 23), keyframe, usize::from(bytes) * 16);
            }
            Step::Audio { step_ms, frame } => {
                self.clock_ms += i64::from(step_ms);
                self.audio(frame);
            }
            Step::Burst { frames, bytes } => {
                (0..u32::from(frames) * 4).for_each(|_| self.video(0, false, usize::from(bytes)));
            }
            Step::Jump(ms) => self.clock_ms += i64::from(ms),
            Step::Pause(ms) => self.clock_ms += i64::from(ms),
            Step::Config(which) => self.config(config(which)),
            Step::Restart => {
                self.cutter.handle_restart();
                self.orders.forget();
                self.obey();
            }
        }
    }

    fn config(&mut self, config: TrackConfig) {
        if let Some(format) = config.audio {
            if self.format.is_none_or(|before| before.sample_rate != format.sample_rate) {
                self.newest[1] = None;
            }
            self.format = Some(format);
            self.opus = config.codec == Codec::Opus;
        } else {
            self.has_video = true;
        }
        self.timeline.handle_config(&config);
        self.cutter.handle_config(config);
        self.obey();
    }

    /// As an encoder sends it, for `ms`.
    fn programme(&mut self, ms: i64, frame_ms: i64, group: u32, [has_video, has_audio]: [bool; 2]) {
        let start = self.clock_ms;
        let (mut frame, mut samples) = (0, 0);
        let (length, rate) =
            self.format.map_or((1024, 48_000), |format| (format.frame_samples, format.sample_rate));
        while frame * frame_ms < ms {
            self.clock_ms = start + frame * frame_ms;
            if has_video {
                self.video(0, frame as u32 % (group + 1) == 0, 100);
            }
            frame += 1;
            while has_audio && samples * 1000 / i64::from(rate) < frame * frame_ms {
                self.clock_ms = start + samples * 1000 / i64::from(rate);
                self.audio(0);
                samples += i64::from(length);
            }
        }
        self.clock_ms = start + ms;
    }

    fn video(&mut self, composition_ms: i32, keyframe: bool, bytes: usize) {
        if self.has_video {
            self.unit(TrackKind::Video, composition_ms, keyframe, bytes, None);
        }
    }

    fn audio(&mut self, frame: u8) {
        if self.format.is_some() {
            let samples = self.opus.then(|| [960, 120, 480, 2880, 5760][usize::from(frame) % 5]);
            self.unit(TrackKind::Audio, 0, true, 40, samples);
        }
    }

    fn unit(
        &mut self,
        kind: TrackKind,
        composition_ms: i32,
        keyframe: bool,
        bytes: usize,
        samples: Option<u32>,
    ) {
        if self.sent.len() >= payload::NUMBERS {
            return;
        }
        let data = payload::payload(self.sent.len(), bytes, &self.alive);
        let composition = Ticks::from_millis(i64::from(composition_ms));
        self.sent.push(Sent { stamp: Ticks::from_millis(self.clock_ms), composition });
        let stamp_ms = self.clock_ms as u32;
        let unit = AccessUnit { kind, stamp_ms, composition_ms, keyframe, data };
        let Some(unit) = self.timeline.handle_unit(unit, samples) else {
            assert_eq!(kind, TrackKind::Audio, "video is never dropped");
            return;
        };
        let (slot, at) = match kind {
            TrackKind::Video => (0, unit.dts.0),
            TrackKind::Audio => (1, unit.samples),
        };
        assert!(self.newest[slot].replace(at).is_none_or(|newest| newest < at), "{kind} went back");
        self.cutter.handle_unit(unit);
        self.obey();
    }

    fn obey(&mut self) {
        while let Some(command) = self.cutter.poll_command() {
            self.orders.handle(command);
        }
        self.alive.check();
    }

    /// After a clean programme everything is published, and sound comes with its picture.
    fn heal(&mut self) {
        if !self.has_video {
            self.config(config(0));
        }
        if self.format.is_none() {
            self.config(config(3));
        }
        self.programme(HEALED_MS, 50, 19, [true, true]);
        self.orders.watch();
        self.programme(HEALING_MS - HEALED_MS, 50, 19, [true, true]);
        let offset = |(number, at): (usize, Ticks)| {
            let sent = self.sent[number];
            at - sent.stamp - sent.composition
        };
        let [Some(picture), Some(sound)] = self.orders.newest.map(|newest| newest.map(offset)) else {
            panic!("a track is missing");
        };
        let apart = (picture - sound).abs();
        assert!(apart <= Ticks::from_millis(40), "picture and sound are {} ms apart", apart.millis());
        let published = self.orders.published;
        assert!(published >= Ticks::from_secs(5), "{} ms published of 10 s", published.millis());
    }
}

fuzz_target!(|input: Input| {
    let mut publisher = Publisher::new(&input);
    for which in [input.video.map(|which| which % 3), input.audio.map(|which| 3 + which % 5)] {
        which.into_iter().for_each(|which| publisher.config(config(which)));
    }
    for step in input.steps.iter().take(STEPS_MAX) {
        if publisher.sent.len() < UNITS_MAX {
            publisher.step(step);
        }
    }
    if input.heal {
        publisher.heal();
    }
    publisher.cutter.handle_end();
    publisher.obey();
    publisher.orders.end();
});
