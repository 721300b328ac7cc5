//! Hostile headers into a window and hostile requests to it: no panic, and no promise is broken.
#![no_main]

use std::collections::BTreeMap;

use arbitrary::Arbitrary;
use bytes::Bytes;
use libfuzzer_sys::fuzz_target;
use stream::playlist::{PlaylistName, Reload, Verdict};
use stream::window::{Window, WindowLimits};
use stream::{Codec, CutPart, EpochId, EpochRecord, ObjectName, PartHeader, Ticks, TrackConfig, Tracks};

const BYTES_MAX: u64 = 100_000;

#[derive(Arbitrary, Debug)]
enum Step<'a> {
    Epoch {
        id: u8,
        part_target_ms: u16,
        hevc: bool,
        zero_unix_ms: i64,
    },
    /// A part as the cutter makes it, which goes on where the one before ended.
    Cut {
        ms: u16,
        independent: bool,
        opens_segment: bool,
        last: bool,
        bytes: u16,
    },
    /// A header as a stranger makes it.
    Header {
        epoch: u8,
        msn: u64,
        part: u32,
        start: i64,
        duration: i64,
        flags: u8,
        bytes: u32,
    },
    Abandon,
    End,
    Shed,
    Restart {
        jump: u16,
    },
    Query(&'a str),
    Reload {
        ahead: i8,
        part: u8,
        skip: bool,
    },
    Object(&'a str),
    Playlist(&'a str),
}

struct Watched {
    window: Window,
    epoch: EpochId,
    at: Ticks,
    records: BTreeMap<EpochId, EpochRecord>,
    parts: Vec<PartHeader>,
    /// What each playlist declared.
    declared: BTreeMap<PlaylistName, String>,
    next_msn: u64,
}

fn limits() -> WindowLimits {
    WindowLimits {
        duration: Ticks::from_secs(5),
        bytes: BYTES_MAX,
        target_duration_s_max: 4,
        part_hold_back: Ticks::ZERO,
    }
}

impl Watched {
    fn new() -> Self {
        Self {
            window: Window::new(limits(), 0),
            epoch: EpochId(0),
            at: Ticks::ZERO,
            records: BTreeMap::new(),
            parts: Vec::new(),
            declared: BTreeMap::new(),
            next_msn: 0,
        }
    }

    fn step(&mut self, step: &Step<'_>) {
        match *step {
            // An id is random and never used again.
            Step::Epoch { id, .. } if self.records.contains_key(&EpochId(u64::from(id))) => {}
            Step::Epoch { id, part_target_ms, hevc, zero_unix_ms } => {
                let codec = if hevc { Codec::Hevc } else { Codec::H264 };
                let video = TrackConfig { codec, record: Bytes::new(), audio: None };
                let record = EpochRecord {
                    id: EpochId(u64::from(id)),
                    tracks: Tracks { video: Some(video), audio: None },
                    codecs: "avc1.42c01e".into(),
                    resolution: Some((640, 360)),
                    frame_rate_milli: Some(30_000),
                    part_target: Ticks::from_millis(i64::from(part_target_ms)),
                    zero_unix_ms,
                };
                if self.window.begin_epoch(record.clone()).is_ok() {
                    self.epoch = record.id;
                    self.at = Ticks::ZERO;
                    self.records.insert(record.id, record);
                }
            }
            Step::Cut { ms, independent, opens_segment, last, bytes } => {
                let duration = Ticks::from_millis(i64::from(ms));
                let cut =
                    CutPart { epoch: self.epoch, start: self.at, duration, independent, opens_segment, last };
                let header = self.window.number(&cut, u32::from(bytes));
                self.push(header);
            }
            Step::Header { epoch, msn, part, start, duration, flags, bytes } => self.push(PartHeader {
                epoch: EpochId(u64::from(epoch)),
                msn,
                part,
                start: Ticks(start),
                duration: Ticks(duration),
                independent: flags & 1 != 0,
                last: flags & 2 != 0,
                gap: flags & 4 != 0,
                bytes,
            }),
            Step::Abandon => self.window.abandon_segment(),
            Step::End => self.window.end(),
            Step::Shed => drop(self.window.shed_oldest()),
            Step::Restart { jump } => self.restart(u64::from(jump)),
            Step::Query(query) => {
                if let Ok(reload) = Reload::parse(query) {
                    assert!(reload.part.is_none() || reload.msn.is_some());
                    self.ask(&reload);
                }
            }
            Step::Reload { ahead, part, skip } => {
                let msn = self.window.next_msn().saturating_add_signed(i64::from(ahead));
                let skip = if skip { "&_HLS_skip=YES" } else { "" };
                let query = format!("_HLS_msn={msn}&_HLS_part={part}{skip}");
                self.ask(&Reload::parse(&query).expect("a well-formed query"));
            }
            Step::Object(name) => {
                if let Ok(name) = name.parse::<ObjectName>() {
                    let _ = self.window.object(name);
                }
            }
            Step::Playlist(name) => {
                if let Ok(name) = name.parse::<PlaylistName>() {
                    let _ = self.window.media(name, &Reload::default());
                }
            }
        }
    }

    fn push(&mut self, header: PartHeader) {
        if self.window.push_part(header.clone()).is_ok() {
            self.at = header.start + header.duration;
            self.parts.push(header);
        }
    }

    /// What the window still has, as a shell would have kept it.
    fn restart(&mut self, jump: u64) {
        let Some(memo) = self.window.memo() else { return };
        let ready = |part: &&PartHeader| {
            let name = ObjectName::Part(part.epoch, part.msn, part.part);
            part.gap || self.window.object(name) == stream::window::ObjectState::Ready
        };
        let mut kept: Vec<(EpochRecord, Vec<PartHeader>)> = Vec::new();
        for part in self.parts.iter().filter(ready) {
            let Some(record) = self.records.get(&part.epoch) else { continue };
            if kept.last().is_none_or(|(last, _)| last.id != part.epoch) {
                kept.push((record.clone(), Vec::new()));
            }
            kept.last_mut().expect("just pushed").1.push(part.clone());
        }
        let next_msn = self.window.next_msn().saturating_add(jump);
        if let Ok(window) = Window::restore(limits(), &memo, next_msn, kept) {
            assert_eq!(window.next_msn(), next_msn);
            self.window = window;
        }
    }

    fn ask(&mut self, reload: &Reload) {
        let Some(name) = self.window.current() else { return };
        for name in self.declared.keys().copied().chain([name]).collect::<Vec<_>>() {
            if let Verdict::Ready { delta } = self.window.verdict(name, reload) {
                let text = self.window.render(name, delta).expect("what is ready can be rendered");
                self.check(name, &text);
            }
        }
    }

    fn check(&mut self, name: PlaylistName, text: &str) {
        let (td, rest) = text
            .strip_prefix("#EXTM3U\n")
            .and_then(|text| text.split_once("#EXT-X-TARGETDURATION:"))
            .and_then(|(_, text)| text.split_once('\n'))
            .expect("a playlist declares its target duration");
        let declared = self.declared.entry(name).or_insert_with(|| td.to_owned());
        assert_eq!(declared, td, "{name} promised something else");
        let target: f64 = td.parse().expect("a number");
        for line in rest.lines().filter_map(|line| line.strip_prefix("#EXTINF:")) {
            let duration: f64 = line.trim_end_matches(',').parse().expect("a number");
            assert!(duration.round() <= target, "{line} in a playlist of {target} s");
        }
    }

    fn drain(&mut self) {
        while self.window.poll_evicted().is_some() {}
        assert!(self.window.bytes() <= BYTES_MAX);
        assert!(self.window.next_msn() >= self.next_msn);
        self.next_msn = self.window.next_msn();
        let _ = (self.window.multivariant(), self.window.trouble());
    }
}

fuzz_target!(|steps: Vec<Step<'_>>| {
    let mut watched = Watched::new();
    for step in &steps {
        watched.step(step);
        watched.drain();
    }
    watched.ask(&Reload::default());
});
