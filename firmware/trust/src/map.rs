//! The peers that a box needs, signed by the coordinator with a number that only rises: whole maps, and changes.
//!
//! ```text
//! map 7 ── delta 7>8 ── delta 8>9 ──>  the map at 9
//!                  delta 7>9: gap     map 8: back
//! ```
//! A map says whom to ask; whether to believe an entry is [`crate::peer`]'s business, entry by entry, so that one bad
//! entry costs one peer. What is kept is what was signed: the last whole map and the changes since, which are verified
//! again when they come from the disk. Refuses maps of another box, another signer, and all that would go back.

mod peers;

use alloc::collections::BTreeMap;
use alloc::vec::Vec;

use serde::{Deserialize, Serialize};

use crate::coordinator::Coordinator;
use crate::digest::{Digest, MeshId};
use crate::key::{BoxKey, role};
use crate::list::List;
use crate::peer::Entry;
use crate::statement::{DecodeError, Kind, Signed, Statement, VerifyError, encode};
use crate::time::UnixSeconds;
pub use peers::{PeerMap, Staleness, Verdicts};

/// The most peers a box holds; others it asks for when it needs them.
pub const PEERS_MAX: usize = 256;

/// The number of a map of one box.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct MapEpoch(pub u64);

impl MapEpoch {
    /// Where a coordinator begins to count at each start: above all it can have given before, also when its database
    /// came back from a backup, as long as it made less than a million maps a second.
    #[must_use]
    pub const fn first(now: UnixSeconds) -> Self {
        Self(now.get() << 20)
    }

    /// Stops at the last number, which no clock reaches.
    #[must_use]
    pub const fn next(self) -> Self {
        Self(self.0.saturating_add(1))
    }
}

/// A whole map.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Map {
    pub mesh: MeshId,
    /// For which box: another one's map is refused.
    pub recipient: BoxKey,
    pub epoch: MapEpoch,
    pub issued: UnixSeconds,
    /// By rising key.
    pub entries: List<Entry, PEERS_MAX>,
}

/// What changes from one map to the next. With nothing changed it says that the map is still current.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Delta {
    pub mesh: MeshId,
    pub recipient: BoxKey,
    pub from: MapEpoch,
    pub to: MapEpoch,
    pub issued: UnixSeconds,
    /// By rising key; each was there.
    pub removed: List<BoxKey, PEERS_MAX>,
    /// By rising key; new ones, and those that take the place of one with the same key.
    pub changed: List<Entry, PEERS_MAX>,
    /// [`digest`] of the entries that come out.
    pub result: Digest,
}

/// Fields of a map or delta beside its lists.
const HEAD_BYTES_MAX: usize = 256;

impl Statement for Map {
    type Signer = role::Coordinator;
    const KIND: Kind = Kind::Map;
    const BYTES_MAX: usize = HEAD_BYTES_MAX + PEERS_MAX * Entry::BYTES_MAX;

    fn mesh(&self) -> &MeshId {
        &self.mesh
    }

    fn check(&self) -> Result<(), DecodeError> {
        rising(self.entries.iter().map(Entry::key))
    }
}

impl Statement for Delta {
    type Signer = role::Coordinator;
    const KIND: Kind = Kind::Delta;
    const BYTES_MAX: usize = HEAD_BYTES_MAX + PEERS_MAX * (Entry::BYTES_MAX + 32);

    fn mesh(&self) -> &MeshId {
        &self.mesh
    }

    fn check(&self) -> Result<(), DecodeError> {
        if self.to <= self.from {
            return Err(DecodeError::OutOfBounds("a delta goes to a later epoch"));
        }
        rising(self.removed.iter())?;
        rising(self.changed.iter().map(Entry::key))
    }
}

fn rising<'a>(keys: impl Iterator<Item = &'a BoxKey>) -> Result<(), DecodeError> {
    if keys.is_sorted_by(|a, b| a < b) {
        Ok(())
    } else {
        Err(DecodeError::OutOfBounds("boxes stand by rising key, each once"))
    }
}

/// Over entries by rising key. Both sides compute it, so a difference is found where it begins.
#[must_use]
pub fn digest<'a>(entries: impl Iterator<Item = &'a Entry>) -> Digest {
    let entries: Vec<u8> = entries.flat_map(|entry| encode(entry).unwrap_or_default()).collect();
    Digest::of(&entries)
}

/// A map or a change is not taken; the one that is there stays.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum MapError {
    #[error("the map is not by this mesh's coordinator")]
    Signer(#[source] VerifyError),
    #[error("the map is for another box")]
    OtherRecipient,
    #[error("epoch {} is offered, and {} is known: the map is stale", offered.0, have.0)]
    Back { have: MapEpoch, offered: MapEpoch },
    #[error("the change begins at epoch {}, and {} is known: ask for a whole map", from.0, have.0)]
    Gap { have: MapEpoch, from: MapEpoch },
    #[error("the change removes a box that is not there: ask for a whole map")]
    NotThere,
    #[error("more than {PEERS_MAX} peers")]
    TooMany,
    #[error("the change does not lead where it says: ask for a whole map")]
    Diverged,
    #[error("too many changes since the last whole map: ask for one")]
    DeltasFull,
    #[error("the same epoch was given to two different maps")]
    Fork,
}

fn by_key(entries: &[Entry]) -> BTreeMap<BoxKey, Entry> {
    entries.iter().map(|entry| (*entry.key(), entry.clone())).collect()
}

fn opened<'a, T: Statement<Signer = role::Coordinator>>(
    signed: &'a Signed<T>,
    recipient: &BoxKey,
    coordinator: &Coordinator,
    whose: impl Fn(&T) -> &BoxKey,
) -> Result<&'a T, MapError> {
    let content = coordinator.open(signed).map_err(MapError::Signer)?;
    if whose(content) == recipient { Ok(content) } else { Err(MapError::OtherRecipient) }
}
