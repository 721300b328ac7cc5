//! MPEG transport streams (ISO/IEC 13818-1), as far as an HLS segment needs them: one programme, its PES packets'
//! stamps, keyframes, and how much audio there is.
//!
//! It does not check the stream's own rules (continuity counters, PCR): a lint of HLS only needs times.

use std::collections::BTreeMap;

use anyhow::{bail, ensure};

use crate::probe::media::{Kind, Media, Sample, Stamp, Track};

mod pes;

use pes::Pes;

const PACKET: usize = 188;
const SYNC: u8 = 0x47;
/// PES packets kept at most.
const PES_MAX: usize = 1 << 18;
/// Stamps wrap after this many ticks of 90 kHz.
pub(crate) const WRAP: i64 = 1 << 33;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum StreamType {
    H264,
    Hevc,
    Aac,
    Mp3,
    Other(Kind),
}

impl StreamType {
    /// ISO/IEC 13818-1 table 2-34.
    fn new(value: u8) -> Option<Self> {
        match value {
            0x1b => Some(Self::H264),
            0x24 => Some(Self::Hevc),
            0x0f => Some(Self::Aac),
            0x03 | 0x04 => Some(Self::Mp3),
            0x01 | 0x02 | 0x10 => Some(Self::Other(Kind::Video)),
            0x11 | 0x81 | 0x87 => Some(Self::Other(Kind::Audio)),
            _ => None,
        }
    }

    fn kind(self) -> Kind {
        match self {
            Self::H264 | Self::Hevc => Kind::Video,
            Self::Aac | Self::Mp3 => Kind::Audio,
            Self::Other(kind) => kind,
        }
    }

    fn name(self) -> &'static str {
        match self {
            Self::H264 => "h264",
            Self::Hevc => "hevc",
            Self::Aac => "aac",
            Self::Mp3 => "mp3",
            Self::Other(_) => "unknown",
        }
    }
}

pub(crate) fn looks_like(bytes: &[u8]) -> bool {
    bytes.first() == Some(&SYNC) && bytes.get(PACKET).is_none_or(|byte| *byte == SYNC)
}

/// Reads a whole segment or file.
pub(crate) fn read(bytes: &[u8]) -> anyhow::Result<Media> {
    ensure!(bytes.len() >= PACKET, "shorter than one transport packet");
    let mut streams = Streams::default();
    for (nth, packet) in bytes.chunks(PACKET).enumerate() {
        ensure!(packet.len() == PACKET, "the last transport packet is cut off");
        ensure!(packet[0] == SYNC, "transport packet {nth} has no sync byte");
        streams.packet(packet);
    }
    if streams.types.is_empty() {
        bail!("no programme map");
    }
    Ok(streams.into_media())
}

#[derive(Default)]
struct Streams {
    pmt: Option<u16>,
    types: BTreeMap<u16, StreamType>,
    open: BTreeMap<u16, Vec<u8>>,
    done: BTreeMap<u16, Vec<Pes>>,
}

impl Streams {
    fn packet(&mut self, packet: &[u8]) {
        let starts = packet[1] & 0x40 != 0;
        let pid = u16::from(packet[1] & 0x1f) << 8 | u16::from(packet[2]);
        let payload = match packet[3] >> 4 & 3 {
            1 => &packet[4..],
            3 => packet.get(5 + usize::from(packet[4])..).unwrap_or_default(),
            _ => return,
        };
        if pid == 0 {
            self.pmt = self.pmt.or_else(|| programme(section(payload, starts)?));
        } else if Some(pid) == self.pmt {
            if let Some(section) = section(payload, starts) {
                self.types.extend(elementary_streams(section));
            }
        } else if self.types.contains_key(&pid) {
            if starts {
                self.close(pid);
                self.open.insert(pid, Vec::new());
            }
            if let Some(bytes) = self.open.get_mut(&pid) {
                bytes.extend_from_slice(payload);
            }
        }
    }

    fn close(&mut self, pid: u16) {
        let done = self.done.entry(pid).or_default();
        if let (Some(bytes), Some(stream)) = (self.open.remove(&pid), self.types.get(&pid))
            && done.len() < PES_MAX
        {
            done.extend(Pes::parse(&bytes, *stream));
        }
    }

    fn into_media(mut self) -> Media {
        for pid in self.open.keys().copied().collect::<Vec<_>>() {
            self.close(pid);
        }
        // One origin for all streams, so that they unwrap to the same turn of the 33 bits.
        let origin = self.done.values().flatten().map(|pes| pes.dts).next().unwrap_or(0);
        let mut media = Media::default();
        for (pid, packets) in &self.done {
            let stream = self.types[pid];
            let samples = samples(packets, origin);
            media.tracks.push(Track { kind: stream.kind(), codec: stream.name().to_owned(), samples });
        }
        media
    }
}

fn samples(packets: &[Pes], origin: i64) -> Vec<Sample> {
    let unwrap = |stamp: i64| origin + (stamp - origin + WRAP / 2).rem_euclid(WRAP) - WRAP / 2;
    let stamps: Vec<(i64, i64)> = packets.iter().map(|pes| (unwrap(pes.dts), unwrap(pes.pts))).collect();
    let mut gaps: Vec<i64> = stamps.windows(2).map(|pair| pair[1].0 - pair[0].0).collect();
    gaps.sort_unstable();
    let usual = gaps.get(gaps.len() / 2).copied().unwrap_or(0).max(0);
    let ticks = |value: i64| Stamp::from_units(i128::from(value), 90_000);
    let mut out = Vec::new();
    for (nth, (pes, (dts, pts))) in packets.iter().zip(&stamps).enumerate() {
        let sample = |behind: i64, lasts: i64| Sample {
            dts: ticks(dts + behind),
            pts: ticks(pts + behind),
            duration: ticks(lasts),
            key: pes.key,
            sync_flag: None,
        };
        match pes.frames {
            Some(frames) => {
                let edges = (0..frames.count).map(|nth| (frames.ticks(nth), frames.ticks(nth + 1)));
                out.extend(edges.map(|(begin, end)| sample(begin, end - begin)));
            }
            None => {
                let until_next = stamps.get(nth + 1).map_or(usual, |next| next.0 - dts);
                out.push(sample(0, until_next.max(0)));
            }
        }
    }
    out
}

/// The section that a packet begins with (ISO/IEC 13818-1 2.4.4.1), from its table id on.
fn section(payload: &[u8], starts: bool) -> Option<&[u8]> {
    if !starts {
        return None;
    }
    let section = payload.get(1 + usize::from(*payload.first()?)..)?;
    let length = usize::from(*section.get(1)? & 0x0f) << 8 | usize::from(*section.get(2)?);
    // What a section has behind its entries: four bytes of CRC.
    section.get(..(3 + length).checked_sub(4)?)
}

/// The PID of the first programme's map.
fn programme(section: &[u8]) -> Option<u16> {
    let entries = section.get(8..)?.chunks_exact(4);
    let entry =
        entries.filter(|entry| entry[..2] != [0, 0]).map(|e| u16::from(e[2] & 0x1f) << 8 | u16::from(e[3]));
    entry.into_iter().next()
}

fn elementary_streams(section: &[u8]) -> Vec<(u16, StreamType)> {
    let mut out = Vec::new();
    let length = |bytes: &[u8]| usize::from(bytes[0] & 0x0f) << 8 | usize::from(bytes[1]);
    let Some(head) = section.get(10..12) else { return out };
    let mut rest = section.get(12 + length(head)..).unwrap_or_default();
    while let [kind, pid0, pid1, info0, info1, tail @ ..] = rest {
        let pid = u16::from(pid0 & 0x1f) << 8 | u16::from(*pid1);
        out.extend(StreamType::new(*kind).map(|kind| (pid, kind)));
        rest = tail.get(length(&[*info0, *info1])..).unwrap_or_default();
    }
    out
}
