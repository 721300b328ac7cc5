//! Segments written packet by packet.

use bytes::Bytes;
use proptest::prelude::*;
use stream::Codec;

use super::*;

const PMT_PID: u16 = 0x1000;
const VIDEO_PID: u16 = 0x100;
const AUDIO_PID: u16 = 0x101;
const H264_TYPE: u8 = 0x1B;
const ADTS_TYPE: u8 = 0x0F;

const SETS: &[u8] = &[0, 0, 0, 1, 0x67, 66, 0, 30, 0xAC, 0, 0, 0, 1, 0x68, 0xEB];
const IDR: &[u8] = &[0, 0, 1, 0x65, 7, 7];
const ADTS: &[u8] = &[0xFF, 0xF1, 0x4C, 0x80, 0x01, 0x3F, 0xFC, 0xAA, 0xBB];

#[derive(Default)]
struct Writer {
    bytes: Vec<u8>,
    counters: std::collections::BTreeMap<u16, u8>,
}

impl Writer {
    /// A segment's tables, with these streams.
    fn new(streams: &[(u8, u16)]) -> Self {
        let mut writer = Self::default();
        let pmt_pid = [0xE0 | (PMT_PID >> 8) as u8, PMT_PID as u8];
        writer.section(0, 0x00, &[&[0, 1][..], &pmt_pid].concat());
        let mut map = vec![0xE0 | (VIDEO_PID >> 8) as u8, VIDEO_PID as u8, 0xF0, 0];
        for (kind, pid) in streams {
            map.extend([*kind, 0xE0 | (pid >> 8) as u8, *pid as u8, 0xF0, 0]);
        }
        writer.section(PMT_PID, 0x02, &map);
        writer
    }

    fn section(&mut self, pid: u16, table: u8, entries: &[u8]) {
        let length = entries.len() + 9;
        let mut section = vec![table, 0xB0 | (length >> 8) as u8, length as u8, 0, 1, 0xC1, 0, 0];
        section.extend(entries);
        section.extend(crc(&section).to_be_bytes());
        self.packets(pid, &[&[0], &section[..]].concat());
    }

    fn pes(&mut self, pid: u16, pts: i64, dts: Option<i64>, data: &[u8]) -> &mut Self {
        let flags = if dts.is_some() { 0xC0 } else { 0x80 };
        let stamps: Vec<u8> = [Some((2 | u8::from(dts.is_some()), pts)), dts.map(|dts| (1, dts))]
            .into_iter()
            .flatten()
            .flat_map(|(mark, at)| {
                let (top, middle, low) = (at >> 30 & 7, at >> 15 & 0x7FFF, at & 0x7FFF);
                let [a, b] = ((middle << 1 | 1) as u16).to_be_bytes();
                let [c, d] = ((low << 1 | 1) as u16).to_be_bytes();
                [mark << 4 | (top as u8) << 1 | 1, a, b, c, d]
            })
            .collect();
        let stream = if pid == VIDEO_PID { 0xE0 } else { 0xC0 };
        let head = [0, 0, 1, stream, 0, 0, 0x80, flags, stamps.len() as u8];
        self.packets(pid, &[&head[..], &stamps, data].concat());
        self
    }

    fn packets(&mut self, pid: u16, payload: &[u8]) {
        for (index, piece) in payload.chunks(184).enumerate() {
            let counter = self.counters.entry(pid).or_default();
            let begins = u8::from(index == 0) << 6;
            let stuffing = 184 - piece.len();
            let control = if stuffing > 0 { 0x30 } else { 0x10 };
            self.bytes.extend([0x47, begins | (pid >> 8) as u8, pid as u8, control | *counter]);
            *counter = (*counter + 1) & 0xF;
            if stuffing > 0 {
                self.bytes.push(stuffing as u8 - 1);
                self.bytes.extend(std::iter::once(0).chain(std::iter::repeat(0xFF)).take(stuffing - 1));
            }
            self.bytes.extend(piece);
        }
    }
}

/// ISO/IEC 13818-1, annex A.
fn crc(bytes: &[u8]) -> u32 {
    bytes.iter().fold(0xFFFF_FFFF, |crc, byte| {
        (0..8).fold(crc ^ u32::from(*byte) << 24, |crc, _| {
            crc << 1 ^ if crc >> 31 == 1 { 0x04C1_1DB7 } else { 0 }
        })
    })
}

fn both() -> Writer {
    Writer::new(&[(H264_TYPE, VIDEO_PID), (ADTS_TYPE, AUDIO_PID)])
}

fn units(events: &[TimedEvent]) -> Vec<(TrackKind, i64, u32, i32, bool)> {
    let units = events.iter().filter_map(|timed| match &timed.event {
        Event::Unit(unit) => {
            Some((unit.kind, timed.at_ms, unit.stamp_ms, unit.composition_ms, unit.keyframe))
        }
        Event::Config(_) | Event::Metadata(_) => None,
    });
    units.collect()
}

#[test]
fn a_segment_becomes_configurations_and_units_in_order() {
    let mut writer = both();
    writer.pes(VIDEO_PID, 97_200, Some(90_000), &[SETS, IDR].concat());
    let big = [&[0, 0, 1, 0x41][..], &[9; 400]].concat();
    writer.pes(VIDEO_PID, 104_400, Some(93_600), &big);
    // Sounds come together, and later than what they belong to.
    writer.pes(AUDIO_PID, 91_800, None, &[ADTS, ADTS].concat());
    let events = Segments::new().handle_segment(&writer.bytes).unwrap();
    let configs: Vec<Codec> = events
        .iter()
        .filter_map(|timed| match &timed.event {
            Event::Config(config) => Some(config.codec),
            Event::Unit(_) | Event::Metadata(_) => None,
        })
        .collect();
    assert_eq!(configs, [Codec::H264, Codec::Aac]);
    assert!(matches!(&events[0].event, Event::Config(config) if config.codec == Codec::H264));
    // 48 kHz: 1024 samples are 1920 ticks, 21.3 ms.
    assert_eq!(
        units(&events),
        [
            (TrackKind::Video, 1000, 1000, 80, true),
            (TrackKind::Audio, 1020, 1020, 0, true),
            (TrackKind::Video, 1040, 1040, 120, false),
            (TrackKind::Audio, 1041, 1041, 0, true),
        ]
    );
    let Event::Unit(unit) = &events[4].event else { panic!("{events:?}") };
    assert_eq!((unit.data.len(), &unit.data[..5]), (405, &[0, 0, 1, 145, 0x41][..]));
}

#[test]
fn stamps_go_on_where_33_bits_wrap() {
    let mut segments = Segments::new();
    let wrap = 1 << 33;
    let at = |segments: &mut Segments, dts: i64, sets: bool| {
        let mut writer = both();
        let data = if sets { [SETS, IDR].concat() } else { IDR.to_vec() };
        writer.pes(VIDEO_PID, dts % wrap, None, &data);
        units(&segments.handle_segment(&writer.bytes).unwrap())[0].1
    };
    // 2^33 ticks are 95443717.69 ms.
    assert_eq!(at(&mut segments, wrap - 90_000, true), 95_442_718);
    assert_eq!(at(&mut segments, wrap + 90_000, false), 95_444_718);
    assert_eq!(at(&mut segments, wrap - 90_000, false), 95_442_718);
}

#[test]
fn what_is_not_carried_is_said() {
    let refused =
        |kind| Segments::new().handle_segment(&Writer::new(&[(kind, VIDEO_PID)]).bytes).unwrap_err();
    assert!(refused(0x24).to_string().contains("HEVC in an MPEG-TS segment"));
    assert!(refused(0x03).to_string().contains("MP3"));
    // Timed metadata is left out.
    let mut writer = Writer::new(&[(0x15, 0x102), (H264_TYPE, VIDEO_PID), (H264_TYPE, 0x103)]);
    writer.pes(0x102, 90_000, None, b"ID3").pes(0x103, 90_000, None, &[SETS, IDR].concat());
    writer.pes(VIDEO_PID, 180_000, None, &[SETS, IDR].concat());
    let events = Segments::new().handle_segment(&writer.bytes).unwrap();
    assert_eq!(units(&events), [(TrackKind::Video, 2000, 2000, 0, true)]);
}

#[test]
fn a_packet_with_a_hole_in_it_is_left_out() {
    let mut writer = both();
    let big = [SETS, IDR, &[9; 400]].concat();
    writer.pes(VIDEO_PID, 90_000, None, &big);
    let begin = writer.bytes.len() - 3 * 188;
    writer.bytes.drain(begin + 188..begin + 2 * 188);
    writer.pes(VIDEO_PID, 180_000, None, &[SETS, IDR].concat());
    let events = Segments::new().handle_segment(&writer.bytes).unwrap();
    assert_eq!(units(&events), [(TrackKind::Video, 2000, 2000, 0, true)]);
}

#[test]
fn useless_segments_are_taken_for_a_while() {
    let mut segments = Segments::new();
    for _ in 0..USELESS_IN_A_ROW_MAX {
        assert_eq!(segments.handle_segment(b"no segment"), Ok(Vec::new()));
    }
    assert!(matches!(segments.handle_segment(&[]), Err(Refusal::Malformed(_))));
}

proptest! {
    /// Whatever a server sends is units, a refusal, or nothing: never a panic.
    #[test]
    fn any_bytes_are_taken(
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..40),
        cut in any::<prop::sample::Index>(),
        noise in prop::collection::vec(any::<u8>(), 0..600),
    ) {
        let mut writer = both();
        writer.pes(VIDEO_PID, 97_200, Some(90_000), &[SETS, IDR, &noise].concat());
        writer.pes(AUDIO_PID, 91_800, None, &[ADTS, &noise, ADTS].concat());
        let mut bytes = writer.bytes;
        for (at, value) in changes {
            *at.get_mut(&mut bytes) = value;
        }
        bytes.truncate(cut.index(bytes.len()) + 1);
        let _ = Segments::new().handle_segment(&bytes);
        let _ = Segments::new().handle_segment(&noise);
        let mut video = H264::default();
        let _ = video.handle_packet(&Bytes::from(noise));
    }
}
