//! What the origin signs of a stream: epochs, parts with the hashes of their blocks, and marks for what ends.
//!
//! ```text
//! epoch ── part ── part ── ... ── part ── mark(abandoned) ── part ── ... ── mark(ended)
//!   serial 41    42     43                51                 52              60
//! ```
//! Each item carries a [`Stamp`]: its place in that row, and all that a playlist says which can't be read off the parts
//! that a relay happens to have. So a playlist is a pure function of signed things, wherever it is made.
//! Refuses to sign or verify: it says which bytes are signed, and reads them strictly, in their one encoding.
//! The encoding is described in docs/relay-protocol.md.

use alloc::vec::Vec;

use crate::header::{EpochId, EpochRecord, PartHeader};
use crate::playlist::PlaylistName;
use crate::track::Ticks;

mod bytes;
mod code;
#[cfg(test)]
mod tests;

pub use code::SealError;

/// A part is hashed, checked and forwarded in pieces of this many bytes; the last one may be shorter.
pub const BLOCK_BYTES: usize = 16 * 1024;
/// A larger part is not carried to other boxes: 10 s at 13 Mbit/s, where parts last 200 ms.
pub const PART_BYTES_MAX: usize = 16 << 20;
/// Blocks of one part.
pub const BLOCKS_MAX: usize = PART_BYTES_MAX / BLOCK_BYTES;
/// An initialization section that other boxes take.
pub const INIT_BYTES_MAX: usize = 64 << 10;
/// An item with its signature.
pub const SEALED_BYTES_MAX: usize = 40 << 10;

/// The BLAKE3 hash of a block or of an initialization section.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BlockHash(pub [u8; 32]);

impl BlockHash {
    #[must_use]
    pub fn of(block: &[u8]) -> Self {
        Self(*blake3::hash(block).as_bytes())
    }
}

/// What a playlist needs to know besides epochs and parts, as the origin's window had it after the item.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stamp {
    /// The item's place in the row: rises by one with each, and may jump when the origin starts again. Never goes back
    /// for a stream.
    pub serial: u64,
    pub playlist: PlaylistName,
    /// The first segment that the playlist ever listed.
    pub first_msn: u64,
    /// TARGETDURATION in seconds; none while the playlist does not promise one yet.
    pub target_duration_s: Option<u32>,
    /// The item's segment does not continue the one before.
    pub discontinuity: bool,
    /// Discontinuities of the stream so far, this one included.
    pub discontinuities: u64,
    /// BANDWIDTH and AVERAGE-BANDWIDTH in bits per second.
    pub peak_bps: u64,
    pub average_bps: u64,
    /// PART-HOLD-BACK as configured at the origin.
    pub part_hold_back: Ticks,
    /// The number that the next segment gets.
    pub next_msn: u64,
}

/// An epoch begins.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EpochSeal {
    pub stamp: Stamp,
    pub record: EpochRecord,
    /// Of the initialization section.
    pub init_bytes: u32,
    pub init_hash: BlockHash,
}

/// A part is complete.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PartSeal {
    pub stamp: Stamp,
    /// Never a gap: what is missing at a relay is that relay's affair.
    pub header: PartHeader,
    /// One per block, in order.
    pub blocks: Vec<BlockHash>,
}

/// What ended, other than by the last part of a segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Mark {
    /// The segment stays as short as it is.
    Abandoned,
    /// The segment lasts longer than any playlist allows: it is in none.
    Dropped,
    /// Nothing more comes of this publication.
    Ended,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MarkSeal {
    pub stamp: Stamp,
    pub mark: Mark,
    /// The segment meant; for [`Mark::Ended`] the newest.
    pub msn: u64,
}

/// One item of the row.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Seal {
    Epoch(EpochSeal),
    Part(PartSeal),
    Mark(MarkSeal),
}

impl Seal {
    #[must_use]
    pub const fn stamp(&self) -> &Stamp {
        match self {
            Self::Epoch(seal) => &seal.stamp,
            Self::Part(seal) => &seal.stamp,
            Self::Mark(seal) => &seal.stamp,
        }
    }

    /// The bytes to be signed. Their signature follows them.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        code::encode(self)
    }

    /// # Errors
    /// [`SealError`]: the bytes are strictly one item, or nothing.
    pub fn decode(bytes: &[u8]) -> Result<Self, SealError> {
        code::decode(bytes)
    }
}

impl PartSeal {
    /// The seal of a part with these bytes; none if it is too large to be carried.
    #[must_use]
    pub fn of(header: &PartHeader, stamp: Stamp, bytes: &[u8]) -> Option<Self> {
        let fits = !header.gap && !bytes.is_empty() && bytes.len() <= PART_BYTES_MAX;
        let blocks = bytes.chunks(BLOCK_BYTES).map(BlockHash::of);
        fits.then(|| Self { stamp, header: header.clone(), blocks: blocks.collect() })
    }

    #[must_use]
    pub const fn epoch(&self) -> EpochId {
        self.header.epoch
    }

    /// How many bytes the block has; none if there is no such block.
    #[must_use]
    pub fn block_bytes(&self, index: usize) -> Option<usize> {
        let rest = (self.header.bytes as usize).checked_sub(index.checked_mul(BLOCK_BYTES)?)?;
        (rest > 0).then(|| rest.min(BLOCK_BYTES))
    }

    /// Whether these are the bytes of that block.
    #[must_use]
    pub fn is_block(&self, index: usize, bytes: &[u8]) -> bool {
        self.block_bytes(index) == Some(bytes.len())
            && self.blocks.get(index).is_some_and(|hash| *hash == BlockHash::of(bytes))
    }

    /// Wall-clock time of the part's end, in milliseconds since the Unix epoch.
    #[must_use]
    pub fn ends_unix_ms(&self, record: &EpochRecord) -> i64 {
        record.zero_unix_ms.saturating_add((self.header.start + self.header.duration).millis())
    }
}
