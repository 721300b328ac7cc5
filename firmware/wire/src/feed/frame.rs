//! Frames of a feed, written and read: one at a time, bounded before anything is kept.

use alloc::vec::Vec;
use core::fmt;
use core::str::FromStr;

use bytes::{Buf as _, Bytes, BytesMut};
use serde::{Deserialize, Serialize};
use stream::EpochId;
use stream::seal::{BLOCK_BYTES, INIT_BYTES_MAX, SEALED_BYTES_MAX};
use trust::{Chain, Signed, StreamCertificate};

const HEAD_BYTES: usize = 5;
/// Content of the largest frame, an initialization section with its epoch.
const CONTENT_BYTES_MAX: usize = 8 + INIT_BYTES_MAX;
/// Of a frame with its head.
pub const FRAME_BYTES_MAX: usize = HEAD_BYTES + CONTENT_BYTES_MAX;
const HELLO_BYTES_MAX: usize = 2048;

const HELLO: u8 = 1;
const SEAL: u8 = 2;
const INIT: u8 = 3;
const BLOCK: u8 = 4;
const HAVE: u8 = 5;
const ALIVE: u8 = 6;
const LEAVING: u8 = 7;

const _: () = assert!(SEALED_BYTES_MAX <= CONTENT_BYTES_MAX && BLOCK_BYTES + 22 <= CONTENT_BYTES_MAX);

/// Which part: ordered as parts follow each other.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PartName {
    pub msn: u64,
    pub part: u32,
    pub epoch: EpochId,
}

impl fmt::Display for PartName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}.{}", self.epoch, self.msn, self.part)
    }
}

impl FromStr for PartName {
    type Err = FrameError;
    fn from_str(text: &str) -> Result<Self, FrameError> {
        let mut words = text.splitn(3, '.');
        let mut word = || words.next().ok_or(FrameError::Malformed);
        let (epoch, msn, part) = (word()?, word()?, word()?);
        let name = Self {
            epoch: epoch.parse().map_err(|_| FrameError::Malformed)?,
            msn: msn.parse().map_err(|_| FrameError::Malformed)?,
            part: part.parse().map_err(|_| FrameError::Malformed)?,
        };
        // One spelling: no sign, no leading zero.
        if alloc::string::ToString::to_string(&name) == text { Ok(name) } else { Err(FrameError::Malformed) }
    }
}

/// Who signs the stream, and why to believe it: the first frame of every feed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hello {
    pub chain: Chain,
    pub certificate: Signed<StreamCertificate>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BlockFrame {
    pub part: PartName,
    pub index: u16,
    /// From 1 to [`BLOCK_BYTES`] bytes, not yet checked.
    pub bytes: Bytes,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Frame {
    /// [`Hello`] in postcard, as the shells write and read it.
    Hello(Bytes),
    /// An item with the stream's signature, not yet checked.
    Seal(Bytes),
    /// The initialization section, behind its epoch's item.
    Init {
        epoch: EpochId,
        bytes: Bytes,
    },
    Block(BlockFrame),
    /// All blocks of these stripes of the part are here, and can be asked for.
    Have {
        part: PartName,
        stripes: u16,
    },
    /// Nothing new, or this is the newest part whose item is known.
    Alive {
        newest: Option<PartName>,
    },
    /// This box stops carrying the stream in a moment: look for another parent.
    Leaving,
    /// Of a kind that this software does not know: passed over.
    Unknown,
}

/// Bytes are no frame: what follows can't be told apart any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FrameError {
    #[error("a frame with {found} bytes")]
    TooLong { found: usize },
    #[error("a frame that can't be read")]
    Malformed,
}

impl Frame {
    /// Puts the frame's head and all of its content but the media bytes behind what `out` has; gives those bytes, which
    /// are to follow.
    pub fn write(&self, out: &mut Vec<u8>) -> Bytes {
        let none = Bytes::new();
        match self {
            Self::Hello(bytes) => head(out, HELLO, 0, bytes),
            Self::Seal(bytes) => head(out, SEAL, 0, bytes),
            Self::Init { epoch, bytes } => {
                let rest = head(out, INIT, 8, bytes);
                out.extend_from_slice(&epoch.0.to_be_bytes());
                rest
            }
            Self::Block(block) => {
                let rest = head(out, BLOCK, 22, &block.bytes);
                part_name(out, block.part);
                out.extend_from_slice(&block.index.to_be_bytes());
                rest
            }
            Self::Have { part, stripes } => {
                head(out, HAVE, 22, &none);
                part_name(out, *part);
                out.extend_from_slice(&stripes.to_be_bytes());
                none
            }
            Self::Alive { newest: None } => head(out, ALIVE, 0, &none),
            Self::Alive { newest: Some(newest) } => {
                head(out, ALIVE, 20, &none);
                part_name(out, *newest);
                none
            }
            Self::Leaving => head(out, LEAVING, 0, &none),
            Self::Unknown => none,
        }
    }

    /// Head and content in one.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut out = Vec::new();
        let rest = self.write(&mut out);
        out.extend_from_slice(&rest);
        out
    }

    fn read(kind: u8, mut content: Bytes) -> Result<Self, FrameError> {
        let bounded = |bytes: Bytes, max: usize| {
            if (1..=max).contains(&bytes.len()) { Ok(bytes) } else { Err(FrameError::Malformed) }
        };
        match kind {
            HELLO => bounded(content, HELLO_BYTES_MAX).map(Self::Hello),
            SEAL => bounded(content, SEALED_BYTES_MAX).map(Self::Seal),
            INIT if content.len() >= 8 => {
                let epoch = EpochId(content.get_u64());
                Ok(Self::Init { epoch, bytes: bounded(content, INIT_BYTES_MAX)? })
            }
            BLOCK if content.len() >= 22 => {
                let (part, index) = (read_name(&mut content), content.get_u16());
                Ok(Self::Block(BlockFrame { part, index, bytes: bounded(content, BLOCK_BYTES)? }))
            }
            HAVE if content.len() == 22 => {
                Ok(Self::Have { part: read_name(&mut content), stripes: content.get_u16() })
            }
            ALIVE if content.is_empty() => Ok(Self::Alive { newest: None }),
            ALIVE if content.len() == 20 => Ok(Self::Alive { newest: Some(read_name(&mut content)) }),
            LEAVING if content.is_empty() => Ok(Self::Leaving),
            INIT | BLOCK | HAVE | ALIVE | LEAVING => Err(FrameError::Malformed),
            _ => Ok(Self::Unknown),
        }
    }
}

fn head(out: &mut Vec<u8>, kind: u8, more: usize, rest: &Bytes) -> Bytes {
    out.push(kind);
    let len = u32::try_from(more + rest.len()).unwrap_or(u32::MAX);
    out.extend_from_slice(&len.to_be_bytes());
    rest.clone()
}

fn part_name(out: &mut Vec<u8>, part: PartName) {
    out.extend_from_slice(&part.epoch.0.to_be_bytes());
    out.extend_from_slice(&part.msn.to_be_bytes());
    out.extend_from_slice(&part.part.to_be_bytes());
}

/// Of content that was seen to be long enough.
fn read_name(content: &mut Bytes) -> PartName {
    let epoch = EpochId(content.get_u64());
    PartName { epoch, msn: content.get_u64(), part: content.get_u32() }
}

/// Takes bytes as they come, gives frames. Holds at most one frame that is not whole yet.
#[derive(Debug, Default)]
pub struct Decoder {
    waiting: BytesMut,
}

impl Decoder {
    pub fn handle_bytes(&mut self, bytes: &[u8]) {
        self.waiting.extend_from_slice(bytes);
    }

    /// The next whole frame; none until more bytes come. To be drained before more bytes are given.
    ///
    /// # Errors
    /// [`FrameError`]; the connection is of no more use.
    pub fn poll_frame(&mut self) -> Result<Option<Frame>, FrameError> {
        let Some((&[kind, a, b, c, d], _)) = self.waiting.split_first_chunk::<HEAD_BYTES>() else {
            return Ok(None);
        };
        let len = u32::from_be_bytes([a, b, c, d]) as usize;
        if len > CONTENT_BYTES_MAX {
            return Err(FrameError::TooLong { found: len });
        }
        if self.waiting.len() < HEAD_BYTES + len {
            return Ok(None);
        }
        self.waiting.advance(HEAD_BYTES);
        // A copy of its own, so that a kept block does not keep the whole read buffer.
        let content = Bytes::copy_from_slice(&self.waiting[..len]);
        self.waiting.advance(len);
        Frame::read(kind, content).map(Some)
    }
}

#[cfg(test)]
mod tests {
    use alloc::vec;

    use proptest::prelude::*;

    use super::*;

    fn frames() -> Vec<Frame> {
        let part = PartName { epoch: EpochId(0xfeed), msn: 7, part: 3 };
        vec![
            Frame::Hello(Bytes::from_static(b"hello")),
            Frame::Seal(Bytes::from(vec![1; SEALED_BYTES_MAX])),
            Frame::Init { epoch: EpochId(u64::MAX), bytes: Bytes::from(vec![2; INIT_BYTES_MAX]) },
            Frame::Block(BlockFrame { part, index: 1023, bytes: Bytes::from(vec![3; BLOCK_BYTES]) }),
            Frame::Have { part, stripes: 0b1010 },
            Frame::Alive { newest: None },
            Frame::Alive { newest: Some(part) },
            Frame::Leaving,
        ]
    }

    proptest! {
        #[test]
        fn frames_are_read_back_however_they_are_cut(step in 1_usize..70_000) {
            let written: Vec<u8> = frames().iter().flat_map(Frame::to_bytes).collect();
            let mut decoder = Decoder::default();
            let mut read = Vec::new();
            for piece in written.chunks(step) {
                decoder.handle_bytes(piece);
                while let Some(frame) = decoder.poll_frame().unwrap() {
                    read.push(frame);
                }
            }
            prop_assert_eq!(read, frames());
        }

        #[test]
        fn any_bytes_are_frames_or_an_error(bytes: Vec<u8>) {
            let mut decoder = Decoder::default();
            decoder.handle_bytes(&bytes);
            while let Ok(Some(frame)) = decoder.poll_frame() {
                if frame != Frame::Unknown {
                    let again = frame.to_bytes();
                    let mut decoder = Decoder::default();
                    decoder.handle_bytes(&again);
                    prop_assert_eq!(decoder.poll_frame(), Ok(Some(frame)));
                }
            }
        }
    }

    #[test]
    fn what_is_too_long_or_too_short_is_refused() {
        let read = |bytes: &[u8]| {
            let mut decoder = Decoder::default();
            decoder.handle_bytes(bytes);
            decoder.poll_frame()
        };
        assert_eq!(read(&[4, 0, 2, 0, 0]), Err(FrameError::TooLong { found: 0x2_0000 }));
        assert_eq!(read(&[4, 0, 0, 0, 1, 9]), Err(FrameError::Malformed));
        assert_eq!(read(&[2, 0, 0, 0, 0]), Err(FrameError::Malformed));
        assert_eq!(read(&[6, 0, 0, 0, 1, 9]), Err(FrameError::Malformed));
        assert_eq!(read(&[99, 0, 0, 0, 1, 9]), Ok(Some(Frame::Unknown)));
        assert_eq!(read(&[99, 0, 0]), Ok(None));
    }
}
