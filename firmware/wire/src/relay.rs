//! Datagrams between boxes over TLS to the coordinator, for those that no UDP reaches: frames on [`crate::path::RELAY`].
//!
//! ```text
//! length, 2 bytes, big-endian: of what follows
//!   0    Ping
//!   17.. the other box's mesh address, 16 bytes, and a datagram: to whom on the way to the coordinator, from whom on
//!        the way back
//! ```
//! Pure: [`Decoder`] takes bytes as they come, [`Outbox`] is what waits to be written. Both are bounded, and datagrams
//! that find no room are dropped, as UDP may. Refuses to look into a datagram: WireGuard protects what is in it.

use alloc::vec::Vec;
use core::net::Ipv6Addr;

use trust::Ula;

/// Stands in `Upgrade` of the request, and of the answer with status 101 (RFC 9110 section 7.8).
pub const PROTOCOL: &str = "relaybox-relay/1";
/// A WireGuard datagram of an inner MTU of 1500 has 1532 bytes.
pub const DATAGRAM_BYTES_MAX: usize = 1600;
/// Each side says something at least every 20 s, since NATs forget.
pub const PING_EVERY_S: u32 = 20;
/// Who hears nothing for so long closes the connection.
pub const SILENCE_MAX_S: u32 = 60;
/// Of a parcel.
pub const PARCEL_BYTES_MAX: usize = ADDRESS_BYTES + DATAGRAM_BYTES_MAX;
/// Of a frame, its length included.
pub const FRAME_BYTES_MAX: usize = LENGTH_BYTES + PARCEL_BYTES_MAX;

const LENGTH_BYTES: usize = 2;
const ADDRESS_BYTES: usize = 16;

/// A datagram and the other box.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Parcel<'a> {
    pub other: Ula,
    /// From 1 to [`DATAGRAM_BYTES_MAX`] bytes.
    pub datagram: &'a [u8],
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Frame<'a> {
    /// Nothing new.
    Ping,
    Parcel(Parcel<'a>),
}

/// Bytes are no frame: what follows on the connection can't be told apart any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FrameError {
    #[error("no frame has {found} bytes")]
    Length { found: usize },
    #[error("a frame names no address of a mesh")]
    Address,
}

impl<'a> Parcel<'a> {
    /// Reads the address and what is behind it: what a frame has behind its length.
    ///
    /// # Errors
    /// [`FrameError`].
    pub fn parse(bytes: &'a [u8]) -> Result<Self, FrameError> {
        check_length(bytes.len())?;
        let (address, datagram) =
            bytes.split_first_chunk::<ADDRESS_BYTES>().ok_or(FrameError::Length { found: bytes.len() })?;
        let other = Ula::try_from(Ipv6Addr::from(*address)).map_err(|_| FrameError::Address)?;
        Ok(Self { other, datagram })
    }

    /// Puts address and datagram behind what `out` has.
    pub fn write(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&Ipv6Addr::from(self.other).octets());
        out.extend_from_slice(self.datagram);
    }
}

impl Frame<'_> {
    /// Puts the frame behind what `out` has.
    ///
    /// # Errors
    /// [`FrameError::Length`] for a datagram that is empty or too long; `out` is as it was.
    pub fn write(&self, out: &mut Vec<u8>) -> Result<(), FrameError> {
        match self {
            Self::Ping => out.extend_from_slice(&[0, 0]),
            Self::Parcel(parcel) => {
                let length = check_length(ADDRESS_BYTES + parcel.datagram.len())?;
                out.extend_from_slice(&length.to_be_bytes());
                parcel.write(out);
            }
        }
        Ok(())
    }
}

/// Of a parcel, as it stands in front of it.
fn check_length(found: usize) -> Result<u16, FrameError> {
    let length = u16::try_from(found).map_err(|_| FrameError::Length { found })?;
    if found <= ADDRESS_BYTES || found > PARCEL_BYTES_MAX {
        return Err(FrameError::Length { found });
    }
    Ok(length)
}

/// Finds the frames in bytes that come in pieces. Keeps one frame at most: [`FRAME_BYTES_MAX`].
#[derive(Clone, Debug, Default)]
pub struct Decoder {
    frame: Vec<u8>,
    /// The frame was handed out: the next byte begins another one.
    is_whole: bool,
}

impl Decoder {
    #[must_use]
    pub const fn new() -> Self {
        Self { frame: Vec::new(), is_whole: false }
    }

    /// Takes what it needs off the front of `input`; None once all of it is taken and the frame is not whole yet.
    ///
    /// # Errors
    /// [`FrameError`], and then for ever.
    pub fn read(&mut self, input: &mut &[u8]) -> Result<Option<Frame<'_>>, FrameError> {
        if core::mem::take(&mut self.is_whole) {
            self.frame.clear();
        }
        if !self.fill(LENGTH_BYTES, input) {
            return Ok(None);
        }
        let length = usize::from(u16::from_be_bytes([self.frame[0], self.frame[1]]));
        if length == 0 {
            self.is_whole = true;
            return Ok(Some(Frame::Ping));
        }
        check_length(length)?;
        if !self.fill(LENGTH_BYTES + length, input) {
            return Ok(None);
        }
        let parcel = Parcel::parse(&self.frame[LENGTH_BYTES..])?;
        self.is_whole = true;
        Ok(Some(Frame::Parcel(parcel)))
    }

    /// Whether `end` bytes are there by now.
    fn fill(&mut self, end: usize, input: &mut &[u8]) -> bool {
        let missing = end.saturating_sub(self.frame.len()).min(input.len());
        let (taken, rest) = input.split_at(missing);
        self.frame.extend_from_slice(taken);
        *input = rest;
        self.frame.len() >= end
    }
}

/// Frames that wait to be written, in order. Refuses those beyond its bound.
#[derive(Clone, Debug)]
pub struct Outbox {
    waiting: Vec<u8>,
    bytes_max: usize,
}

impl Outbox {
    /// Takes `bytes_max` bytes of frames.
    #[must_use]
    pub const fn new(bytes_max: usize) -> Self {
        Self { waiting: Vec::new(), bytes_max }
    }

    /// False when it found no room, or is no datagram that a frame can have; it is dropped.
    pub fn push(&mut self, parcel: Parcel<'_>) -> bool {
        let bytes = LENGTH_BYTES + ADDRESS_BYTES + parcel.datagram.len();
        let fits = self.waiting.len().saturating_add(bytes) <= self.bytes_max;
        fits && Frame::Parcel(parcel).write(&mut self.waiting).is_ok()
    }

    /// Puts all that waits in place of what `into` had, whose memory is used again.
    pub fn take(&mut self, into: &mut Vec<u8>) {
        into.clear();
        core::mem::swap(&mut self.waiting, into);
    }
}
