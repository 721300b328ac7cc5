//! What the parent and the packaging child say to each other, over the child's standard input and output.
//!
//! ```text
//! u32 LE  length of what follows (header length field, header, payload)
//! u16 LE  length of the header
//! ...     header, postcard
//! ...     payload: media bytes, lengths in the header
//! ```
//! Both sides refuse a frame that is longer than [`FRAME_BYTES_MAX`] before they allocate for it, and treat any
//! frame that does not parse as the end of the other side: there is no resynchronization.

use std::io::{self, Read};

use bytes::{Buf, BufMut, Bytes, BytesMut};
use serde::{Deserialize, Serialize};
use stream::Codec;

/// A batch holds at most the access units of one part and the group's oversized keyframe.
pub const FRAME_BYTES_MAX: usize = 32 << 20;

/// Samples in one batch; more is a fault of the sender.
pub const SAMPLES_MAX: usize = 4096;

/// One epoch of one stream as the child knows it. Never used again after `Finish` or `Drop`.
pub type JobId = u32;

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Command {
    /// Opens a job. Payload: the video record, then the audio record.
    Begin { job: JobId, video: Option<VideoTrack>, audio: Option<AudioTrack> },
    /// Access units and cuts of a job in the order in which they go to their track. Payload: the units' bytes.
    Batch { job: JobId, items: Vec<Item> },
    /// Nothing more comes: close what is open as the last part, answer [`Output::Finished`].
    Finish { job: JobId },
    /// Forget the job without another word.
    Drop { job: JobId },
    /// Answered by [`Output::Pong`] from the thread that reads commands.
    Ping { nonce: u64 },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct VideoTrack {
    pub codec: WireCodec,
    pub record_bytes: u32,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AudioTrack {
    pub codec: WireCodec,
    pub record_bytes: u32,
    pub sample_rate: u32,
    pub channels: u8,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Item {
    Video(Sample),
    Audio(Sample),
    /// All tracks: what went before belongs to the part that ends here, what follows to the next one.
    Cut {
        /// The next part begins a segment.
        segment: bool,
        /// Decoding time of the first video unit behind the cut; without video, of the first audio unit.
        at: u64,
        /// Time of the first audio unit behind the cut, if it is known.
        audio_at: Option<u64>,
    },
}

/// Times are in the track's own unit: 1/90000 s for video, samples for audio. Never negative.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sample {
    pub dts: u64,
    pub pts: u64,
    pub duration: u32,
    pub keyframe: bool,
    pub bytes: u32,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Output {
    /// The job's initialization section (payload) and what the parser measured.
    Init {
        job: JobId,
        width: u32,
        height: u32,
    },
    /// One part (payload), in the order of the cuts.
    Fragment {
        job: JobId,
    },
    Finished {
        job: JobId,
    },
    /// The job's media could not be packaged; the job is gone.
    Failed {
        job: JobId,
        reason: String,
    },
    Pong {
        nonce: u64,
    },
}

/// [`Codec`] as it crosses the pipe.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum WireCodec {
    H264,
    Hevc,
    Av1,
    Aac,
    Opus,
}

impl From<Codec> for WireCodec {
    fn from(codec: Codec) -> Self {
        match codec {
            Codec::H264 => Self::H264,
            Codec::Hevc => Self::Hevc,
            Codec::Av1 => Self::Av1,
            Codec::Aac => Self::Aac,
            Codec::Opus => Self::Opus,
        }
    }
}

impl Item {
    /// Payload bytes that belong to the item.
    #[must_use]
    pub const fn payload_bytes(&self) -> usize {
        match self {
            Self::Video(sample) | Self::Audio(sample) => sample.bytes as usize,
            Self::Cut { .. } => 0,
        }
    }
}

#[derive(Debug, thiserror::Error)]
pub enum MessageError {
    #[error("frame of {0} bytes is over the bound")]
    TooLong(usize),
    #[error("frame is shorter than its header says")]
    Truncated,
    #[error("header does not parse")]
    Header(#[source] postcard::Error),
    #[error("the other side can't be read")]
    Input(#[source] io::Error),
}

/// Appends one frame's prefix and header; the caller writes `payload_bytes` of payload after it.
pub fn put_header<T: Serialize>(
    out: &mut BytesMut,
    header: &T,
    payload_bytes: usize,
) -> Result<(), MessageError> {
    let header = postcard::to_allocvec(header).map_err(MessageError::Header)?;
    let length = 2 + header.len() + payload_bytes;
    let header_length = u16::try_from(header.len());
    let (true, Ok(header_length)) = (length <= FRAME_BYTES_MAX, header_length) else {
        return Err(MessageError::TooLong(length));
    };
    out.put_u32_le(length as u32);
    out.put_u16_le(header_length);
    out.put_slice(&header);
    Ok(())
}

/// Takes one whole frame off the front of `buffer`, if it is there.
///
/// # Errors
/// The frame is over the bound, or its header does not parse: the other side can't be trusted any more.
pub fn take_frame<T: for<'de> Deserialize<'de>>(
    buffer: &mut BytesMut,
) -> Result<Option<(T, Bytes)>, MessageError> {
    let Some(prefix) = buffer.first_chunk::<4>() else { return Ok(None) };
    let length = u32::from_le_bytes(*prefix) as usize;
    if length > FRAME_BYTES_MAX {
        return Err(MessageError::TooLong(length));
    }
    if buffer.len() < 4 + length {
        buffer.reserve(4 + length - buffer.len());
        return Ok(None);
    }
    buffer.advance(4);
    parse(buffer.split_to(length).freeze()).map(Some)
}

/// Waits for the next whole frame; none when the other side has closed between two frames.
///
/// # Errors
/// As [`take_frame`]; and the input can't be read, or ends within a frame.
pub fn read_frame<T: for<'de> Deserialize<'de>>(
    input: &mut impl Read,
) -> Result<Option<(T, Bytes)>, MessageError> {
    let mut prefix = Vec::with_capacity(4);
    match input.take(4).read_to_end(&mut prefix).map_err(MessageError::Input)? {
        0 => return Ok(None),
        4 => {}
        _ => return Err(MessageError::Truncated),
    }
    let length = prefix.as_slice().get_u32_le() as usize;
    if length > FRAME_BYTES_MAX {
        return Err(MessageError::TooLong(length));
    }
    let mut frame = Vec::with_capacity(length);
    if input.take(length as u64).read_to_end(&mut frame).map_err(MessageError::Input)? < length {
        return Err(MessageError::Truncated);
    }
    parse(frame.into()).map(Some)
}

/// What stands behind the length.
fn parse<T: for<'de> Deserialize<'de>>(mut frame: Bytes) -> Result<(T, Bytes), MessageError> {
    if frame.len() < 2 {
        return Err(MessageError::Truncated);
    }
    let header_length = frame.get_u16_le() as usize;
    if frame.len() < header_length {
        return Err(MessageError::Truncated);
    }
    let header = frame.split_to(header_length);
    let header = postcard::from_bytes(&header).map_err(MessageError::Header)?;
    Ok((header, frame))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(command: &Command, payload: &[u8]) -> BytesMut {
        let mut out = BytesMut::new();
        put_header(&mut out, command, payload.len()).unwrap();
        out.put_slice(payload);
        out
    }

    #[test]
    fn a_frame_comes_back_only_when_it_is_whole() {
        let command = Command::Ping { nonce: 7 };
        let whole = frame(&command, b"abc");
        for cut in 0..whole.len() {
            let mut part = BytesMut::from(&whole[..cut]);
            assert!(take_frame::<Command>(&mut part).unwrap().is_none(), "{cut}");
            let read = read_frame::<Command>(&mut &whole[..cut]);
            assert!(if cut == 0 { matches!(read, Ok(None)) } else { read.is_err() }, "{cut}");
        }
        let (read, payload) = read_frame::<Command>(&mut &whole[..]).unwrap().unwrap();
        assert_eq!((&read, &payload[..]), (&command, &b"abc"[..]));
        let mut whole = whole;
        let (read, payload) = take_frame::<Command>(&mut whole).unwrap().unwrap();
        assert_eq!((read, &payload[..]), (command, &b"abc"[..]));
        assert!(whole.is_empty());
    }

    #[test]
    fn hostile_frames_are_refused_before_they_are_buffered() {
        let mut long = BytesMut::from(&u32::MAX.to_le_bytes()[..]);
        assert!(matches!(read_frame::<Command>(&mut &long[..]), Err(MessageError::TooLong(_))));
        assert!(matches!(take_frame::<Command>(&mut long), Err(MessageError::TooLong(_))));
        let mut lying = BytesMut::from(&[2, 0, 0, 0, 9, 0][..]);
        assert!(matches!(read_frame::<Command>(&mut &lying[..]), Err(MessageError::Truncated)));
        assert!(matches!(take_frame::<Command>(&mut lying), Err(MessageError::Truncated)));
        let mut garbage = BytesMut::from(&[4, 0, 0, 0, 2, 0, 0xff, 0xff][..]);
        assert!(matches!(read_frame::<Command>(&mut &garbage[..]), Err(MessageError::Header(_))));
        assert!(matches!(take_frame::<Command>(&mut garbage), Err(MessageError::Header(_))));
    }
}
