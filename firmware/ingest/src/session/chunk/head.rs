//! The header of one chunk (RTMP 1.0, 5.3.1): basic header, message header, extended timestamp.
//!
//! Says what stands there; what it means for the chunk stream is the reader's.

use super::{ChunkError, EXTENDED};

/// Basic header 3, message header 11, extended timestamp 4.
pub(super) const HEAD_BYTES_MAX: usize = 18;

#[derive(Debug)]
pub(super) struct Head {
    pub(super) id: u32,
    pub(super) form: Form,
    /// The 32-bit field of a Type 0, 1 or 2 chunk, if the 24-bit one points to it. Already in `form`.
    pub(super) extended: Option<u32>,
}

/// Types 0 to 3 (5.3.1.2).
#[derive(Clone, Copy, Debug)]
pub(super) enum Form {
    Full { stamp_ms: u32, length: u32, type_id: u8, stream_id: u32 },
    SameStream { delta_ms: u32, length: u32, type_id: u8 },
    SameLength { delta_ms: u32 },
    Same,
}

/// What has to be known of the chunk stream to find the end of a header.
pub(super) struct Previous {
    pub(super) extended: Option<u32>,
}

/// The header and its length; none if more bytes are needed, which is never so from [`HEAD_BYTES_MAX`] on.
pub(super) fn parse(
    bytes: &[u8],
    previous: impl FnOnce(u32) -> Option<Previous>,
) -> Result<Option<(usize, Head)>, ChunkError> {
    let Some((id, rest)) = basic(bytes) else { return Ok(None) };
    let previous = previous(id);
    let form = bytes[0] >> 6;
    if form >= 2 && previous.is_none() {
        return Err(ChunkError::NoHeader(id));
    }
    let parsed = if form == 3 {
        repeated_extended(previous.and_then(|previous| previous.extended), rest)
            .map(|rest| (rest, Head { id, form: Form::Same, extended: None }))
    } else {
        message(form, rest).map(|(rest, form, extended)| (rest, Head { id, form, extended }))
    };
    Ok(parsed.map(|(rest, head)| (bytes.len() - rest.len(), head)))
}

/// The chunk stream id in its three lengths, and what follows.
fn basic(bytes: &[u8]) -> Option<(u32, &[u8])> {
    let (&first, rest) = bytes.split_first()?;
    match first & 0x3F {
        0 => {
            let (&low, rest) = rest.split_first()?;
            Some((64 + u32::from(low), rest))
        }
        1 => {
            let (&[low, high], rest) = rest.split_first_chunk()?;
            Some((64 + u32::from(low) + 256 * u32::from(high), rest))
        }
        id => Some((u32::from(id), rest)),
    }
}

fn message(form: u8, bytes: &[u8]) -> Option<(&[u8], Form, Option<u32>)> {
    let (time, rest) = u24(bytes)?;
    let (about, rest) = match form {
        0 | 1 => {
            let (length, rest) = u24(rest)?;
            let (&type_id, rest) = rest.split_first()?;
            (Some((length, type_id)), rest)
        }
        _ => (None, rest),
    };
    let (stream_id, rest) = if form == 0 {
        let (id, rest) = rest.split_first_chunk()?;
        (u32::from_le_bytes(*id), rest)
    } else {
        (0, rest)
    };
    let (extended, rest) = if time == EXTENDED {
        let (field, rest) = rest.split_first_chunk()?;
        (Some(u32::from_be_bytes(*field)), rest)
    } else {
        (None, rest)
    };
    let time_ms = extended.unwrap_or(time);
    let form = match (about, form) {
        (Some((length, type_id)), 0) => Form::Full { stamp_ms: time_ms, length, type_id, stream_id },
        (Some((length, type_id)), _) => Form::SameStream { delta_ms: time_ms, length, type_id },
        (None, _) => Form::SameLength { delta_ms: time_ms },
    };
    Some((rest, form, extended))
}

/// Steps over the repeated field of a Type 3 chunk if it is there: exactly if the bytes equal it. None as long
/// as what is there equals its beginning.
fn repeated_extended(extended: Option<u32>, bytes: &[u8]) -> Option<&[u8]> {
    let Some(field) = extended.map(u32::to_be_bytes) else { return Some(bytes) };
    let there = bytes.len().min(field.len());
    if bytes[..there] != field[..there] {
        return Some(bytes);
    }
    bytes.get(field.len()..)
}

fn u24(bytes: &[u8]) -> Option<(u32, &[u8])> {
    let (&[a, b, c], rest) = bytes.split_first_chunk()?;
    Some((u32::from_be_bytes([0, a, b, c]), rest))
}
