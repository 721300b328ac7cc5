//! The same stream as a transport stream: packets of 188 bytes, one PES packet for each picture and for each part's
//! audio.

use super::fragment::{AUDIO_FRAME, Fragment};

const PMT: u16 = 0x1000;
const VIDEO: u16 = 0x100;
const AUDIO: u16 = 0x101;

/// One segment of these parts.
pub(crate) fn segment(parts: &[Fragment]) -> Vec<u8> {
    let mut out = Vec::new();
    // Table, length, programme 1 at its map, CRC.
    packets(
        &mut out,
        0,
        &[0, 0, 0xb0, 13, 0, 1, 0xc1, 0, 0, 0, 1, 0xe0 | (PMT >> 8) as u8, PMT as u8, 0, 0, 0, 0],
    );
    let entry = |kind: u8, pid: u16| [kind, 0xe0 | (pid >> 8) as u8, pid as u8, 0xf0, 0];
    let head = [0, 2, 0xb0, 23, 0, 1, 0xc1, 0, 0, 0xe1, 0, 0xf0, 0];
    packets(&mut out, PMT, &[&head[..], &entry(0x1b, VIDEO), &entry(0x0f, AUDIO), &[0; 4]].concat());
    for part in parts {
        for (nth, (key, _)) in part.video.iter().enumerate() {
            let stamp = part.video_start + nth as u64 * u64::from(part.frame_ticks);
            let slice = if *key { 0x65 } else { 0x41 };
            let unit = [&[0, 0, 0, 1, 9, 0xf0, 0, 0, 1, slice][..], &[0x80; 300]].concat();
            packets(&mut out, VIDEO, &pes(0xe0, stamp, &unit));
        }
        let stamp = part.audio_start * 90_000 / 48_000;
        // 27 bytes: a header without CRC, AAC-LC, 48 kHz, stereo, and 20 bytes of it.
        let frame = [&[0xff, 0xf1, 0x4c, 0x80, 0x03, 0x7f, 0xfc][..], &[0x21; 20]].concat();
        packets(&mut out, AUDIO, &pes(0xc0, stamp, &frame.repeat(part.audio_frames as usize)));
    }
    const { assert!(AUDIO_FRAME == 1024) };
    out
}

fn pes(stream: u8, stamp: u64, payload: &[u8]) -> Vec<u8> {
    let stamp = stamp % (1 << 33);
    let marked = |shift: u64, bits: u64| (((stamp >> shift) & ((1 << bits) - 1)) << 1 | 1) as u8;
    let pts = [0x20 | marked(30, 3), (stamp >> 22) as u8, marked(15, 7), (stamp >> 7) as u8, marked(0, 7)];
    [&[0, 0, 1, stream, 0, 0, 0x80, 0x80, 5][..], &pts, payload].concat()
}

/// Cuts a payload into packets; the last is filled up by an adaptation field.
fn packets(out: &mut Vec<u8>, pid: u16, payload: &[u8]) {
    for (nth, chunk) in payload.chunks(184).enumerate() {
        let start = if nth == 0 { 0x40 } else { 0 };
        let stuffing = 184 - chunk.len();
        out.extend([0x47, start | (pid >> 8) as u8, pid as u8, if stuffing > 0 { 0x30 } else { 0x10 }]);
        match stuffing {
            0 => {}
            1 => out.push(0),
            more => {
                out.extend([more as u8 - 1, 0]);
                out.extend(std::iter::repeat_n(0xff, more - 2));
            }
        }
        out.extend(chunk);
    }
}
