//! What the audio and video headers of Enhanced RTMP v2 have in common: ModEx prefixes, FourCC, multitrack.
//!
//! Of several tracks the one with id 0 is taken. A nanosecond offset (ModEx) is stepped over: it refines a
//! millisecond stamp that is smoothed later anyway.

use bytes::Bytes;

use super::{Unusable, split};

const CUT_OFF: Unusable = Unusable::Broken("header is cut off");
/// ModEx prefixes of one body; the specification defines one kind.
const MODEX_MAX: usize = 8;
/// Tracks that are looked through for the one with id 0.
const TRACKS_MAX: usize = 16;

/// Packet types that mean the same in both headers.
pub(super) mod packet_type {
    pub(in super::super) const SEQUENCE_START: u8 = 0;
    pub(in super::super) const CODED_FRAMES: u8 = 1;
    pub(in super::super) const SEQUENCE_END: u8 = 2;
    pub(super) const MOD_EX: u8 = 7;
}

#[derive(Debug, PartialEq, Eq)]
pub(super) struct Header {
    pub(super) packet_type: u8,
    pub(super) four_cc: [u8; 4],
    pub(super) body: Bytes,
}

/// Reads on after the first byte, whose low half is `packet_type`. `multitrack` is the packet type that says so,
/// which differs between audio and video.
pub(super) fn parse(packet_type: u8, multitrack: u8, rest: Bytes) -> Result<Header, Unusable> {
    let (packet_type, rest) = skip_modex(packet_type, rest)?;
    if packet_type == multitrack {
        return parse_multitrack(rest);
    }
    let (four_cc, body) = split(rest).ok_or(CUT_OFF)?;
    Ok(Header { packet_type, four_cc, body })
}

/// Each prefix: length less one (8 bits, or 16 behind 255), data, then its own type and the next packet type.
fn skip_modex(mut packet_type: u8, mut rest: Bytes) -> Result<(u8, Bytes), Unusable> {
    for _ in 0..MODEX_MAX {
        if packet_type != packet_type::MOD_EX {
            return Ok((packet_type, rest));
        }
        let ([short], after) = split(rest).ok_or(CUT_OFF)?;
        let (length, after) = if short == 255 {
            let (long, after) = split(after).ok_or(CUT_OFF)?;
            (usize::from(u16::from_be_bytes(long)) + 1, after)
        } else {
            (usize::from(short) + 1, after)
        };
        if after.len() < length {
            return Err(CUT_OFF);
        }
        let ([types], after) = split(after.slice(length..)).ok_or(CUT_OFF)?;
        (packet_type, rest) = (types & 0xF, after);
    }
    Err(Unusable::Broken("has too many ModEx prefixes"))
}

fn parse_multitrack(rest: Bytes) -> Result<Header, Unusable> {
    const ONE_TRACK: u8 = 0;
    const MANY_TRACKS: u8 = 1;
    const MANY_CODECS: u8 = 2;

    let ([types], mut rest) = split(rest).ok_or(CUT_OFF)?;
    let (shape, packet_type) = (types >> 4, types & 0xF);
    if shape > MANY_CODECS {
        return Err(Unusable::Broken("has an unknown kind of multitrack"));
    }
    let mut four_cc = [0; 4];
    if shape != MANY_CODECS {
        (four_cc, rest) = split(rest).ok_or(CUT_OFF)?;
    }
    for _ in 0..TRACKS_MAX {
        if shape == MANY_CODECS {
            (four_cc, rest) = split(rest).ok_or(CUT_OFF)?;
        }
        let ([track], after) = split(rest).ok_or(CUT_OFF)?;
        let (body, next) = if shape == ONE_TRACK {
            (after, Bytes::new())
        } else {
            let ([a, b, c], mut body) = split(after).ok_or(CUT_OFF)?;
            let length = u32::from_be_bytes([0, a, b, c]) as usize;
            if body.len() < length {
                return Err(CUT_OFF);
            }
            let next = body.split_off(length);
            (body, next)
        };
        if track == 0 {
            return Ok(Header { packet_type, four_cc, body });
        }
        if next.is_empty() {
            break;
        }
        debug_assert!(shape == MANY_TRACKS || shape == MANY_CODECS, "one track ends the loop");
        rest = next;
    }
    Err(Unusable::Ignored)
}

/// A FourCC for a message: as text if it is some.
pub(super) fn four_cc_text(four_cc: [u8; 4]) -> String {
    four_cc.escape_ascii().to_string()
}
