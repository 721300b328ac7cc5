//! The row of a stream's sealed items, as this box has it: whole parts, and those whose blocks are still coming.
//!
//! ```text
//! origin:  window decides -> Sealer signs -> row
//! relay:   item, blocks (checked by who brings them) -> row -> in the order of serials -> window follows
//! Part:  Coming --last block--> Whole      Coming --given up--> Gap
//! ```
//! Readers walk the row in the order in which items came, so that they can pass on blocks before a part is whole.
//! Refuses to check signatures and hashes: what it is given was checked.

use std::collections::{BTreeMap, VecDeque};
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use stream::seal::{EpochSeal, Mark, MarkSeal, PartSeal, Seal, Stamp};
use stream::{EpochId, ObjectName};
use tokio::time::Instant;

/// Items that are not yet in the window; the oldest are given up when there would be more.
pub(crate) const PENDING_MAX: usize = 512;
/// Items that can be walked; the oldest leave when there would be more.
const ITEMS_MAX: usize = 20_000;

/// Signs for a stream. Called with the stream's lock held.
pub trait Sealer: Send + Sync + fmt::Debug {
    /// The item with its signature behind it.
    fn seal(&self, item: &[u8]) -> Bytes;
}

/// One item.
#[derive(Debug)]
pub struct Item {
    pub seal: Seal,
    /// With its signature, as it goes from box to box.
    pub sealed: Bytes,
    /// The initialization section of an epoch.
    pub init: Option<Bytes>,
    pub(crate) came: Instant,
    body: Mutex<Body>,
}

/// Where the bytes of a part are.
#[derive(Debug)]
enum Body {
    /// Blocks that came, and how many are missing.
    Coming(Vec<Option<Bytes>>, usize),
    /// All came; the window has not taken it yet.
    Whole(Bytes),
    /// The store has it, or had it.
    Kept,
    Gap,
}

/// How far a part is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Progress {
    Coming,
    Whole(Bytes),
    Gap,
    Kept,
}

/// What came of a block.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BlockTaken {
    /// It is new.
    Fresh,
    /// It is new, and the last that was missing.
    Last,
    /// It was there, or its part is over.
    Again,
}

impl Item {
    pub(crate) fn new(seal: Seal, sealed: Bytes, init: Option<Bytes>, kept: bool) -> Self {
        let body = match &seal {
            Seal::Part(part) if !kept => Body::Coming(vec![None; part.blocks.len()], part.blocks.len()),
            Seal::Part(_) | Seal::Epoch(_) | Seal::Mark(_) => Body::Kept,
        };
        Self { seal, sealed, init, came: Instant::now(), body: Mutex::new(body) }
    }

    fn body(&self) -> MutexGuard<'_, Body> {
        self.body.lock().unwrap_or_else(PoisonError::into_inner)
    }

    #[must_use]
    pub fn stamp(&self) -> &Stamp {
        self.seal.stamp()
    }

    #[must_use]
    pub fn part(&self) -> Option<&PartSeal> {
        match &self.seal {
            Seal::Part(part) => Some(part),
            Seal::Epoch(_) | Seal::Mark(_) => None,
        }
    }

    #[must_use]
    pub fn epoch(&self) -> Option<&EpochSeal> {
        match &self.seal {
            Seal::Epoch(epoch) => Some(epoch),
            Seal::Part(_) | Seal::Mark(_) => None,
        }
    }

    /// How the part is named; none for what is no part.
    #[must_use]
    pub fn name(&self) -> Option<ObjectName> {
        let header = &self.part()?.header;
        Some(ObjectName::Part(header.epoch, header.msn, header.part))
    }

    /// A block of a part that is still coming or has just come; none if it is not there, or the store has it.
    pub(crate) fn coming_block(&self, index: usize) -> Option<Bytes> {
        let part = self.part()?;
        match &*self.body() {
            Body::Coming(blocks, _) => blocks.get(index)?.clone(),
            Body::Whole(bytes) => {
                let len = part.block_bytes(index)?;
                let from = index * stream::seal::BLOCK_BYTES;
                Some(bytes.slice(from..from + len))
            }
            Body::Kept | Body::Gap => None,
        }
    }

    /// Whether every block can be had here: false for a gap, true for what is no part.
    #[must_use]
    pub fn is_whole(&self) -> bool {
        matches!(*self.body(), Body::Whole(_) | Body::Kept)
    }

    #[must_use]
    pub fn is_gap(&self) -> bool {
        matches!(*self.body(), Body::Gap)
    }

    pub(crate) fn put(&self, index: usize, bytes: Bytes) -> BlockTaken {
        let mut body = self.body();
        let Body::Coming(blocks, missing) = &mut *body else { return BlockTaken::Again };
        match blocks.get_mut(index) {
            Some(place @ None) => *place = Some(bytes),
            Some(Some(_)) | None => return BlockTaken::Again,
        }
        *missing -= 1;
        if *missing > 0 {
            return BlockTaken::Fresh;
        }
        let whole: Vec<u8> = blocks.iter().flatten().flat_map(|block| block.iter().copied()).collect();
        *body = Body::Whole(whole.into());
        BlockTaken::Last
    }

    /// False if it is whole.
    pub(crate) fn give_up(&self) -> bool {
        let mut body = self.body();
        let coming = matches!(*body, Body::Coming(..));
        if coming {
            *body = Body::Gap;
        }
        coming
    }

    pub(crate) fn progress(&self) -> Progress {
        match &*self.body() {
            Body::Coming(..) => Progress::Coming,
            Body::Whole(bytes) => Progress::Whole(bytes.clone()),
            Body::Kept => Progress::Kept,
            Body::Gap => Progress::Gap,
        }
    }

    pub(crate) fn kept(&self) {
        *self.body() = Body::Kept;
    }

    fn mark(&self) -> Option<&MarkSeal> {
        match &self.seal {
            Seal::Mark(mark) => Some(mark),
            Seal::Part(_) | Seal::Epoch(_) => None,
        }
    }
}

/// A place in the row, for who walks it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Place(u64);

#[derive(Debug, Default)]
pub(crate) struct Row {
    /// In the order in which they came; the first is number `base`.
    came: VecDeque<Arc<Item>>,
    base: u64,
    epochs: BTreeMap<EpochId, Arc<Item>>,
    /// At a relay: what the window has not taken.
    pub(crate) pending: BTreeMap<u64, Arc<Item>>,
    /// The serial that the window took last.
    pub(crate) taken: Option<u64>,
}

impl Row {
    pub(crate) fn push(&mut self, item: Arc<Item>) {
        if let Some(epoch) = item.epoch() {
            self.epochs.insert(epoch.record.id, Arc::clone(&item));
        }
        self.came.push_back(item);
        if self.came.len() > ITEMS_MAX {
            self.came.pop_front();
            self.base += 1;
        }
    }

    pub(crate) fn ends_with(&self, mark: Mark, msn: u64) -> bool {
        self.came.back().and_then(|item| item.mark()).is_some_and(|last| (last.mark, last.msn) == (mark, msn))
    }

    pub(crate) fn epoch(&self, id: EpochId) -> Option<&Arc<Item>> {
        self.epochs.get(&id)
    }

    pub(crate) fn find(&self, name: ObjectName) -> Option<&Arc<Item>> {
        self.came.iter().rev().find(|item| item.name() == Some(name))
    }

    pub(crate) fn newest_part(&self) -> Option<&Arc<Item>> {
        self.came.iter().rev().filter(|item| item.part().is_some()).max_by_key(|item| item.stamp().serial)
    }

    /// What came at `place` and after it, and the place behind.
    pub(crate) fn walk(&self, place: Place) -> (Vec<Arc<Item>>, Place) {
        let skip = usize::try_from(place.0.saturating_sub(self.base)).unwrap_or(usize::MAX);
        let items = self.came.iter().skip(skip).cloned().collect();
        (items, self.end())
    }

    pub(crate) fn end(&self) -> Place {
        Place(self.base + self.came.len() as u64)
    }

    /// The place of the first item that is right.
    pub(crate) fn place(&self, right: impl Fn(&Item) -> bool) -> Option<Place> {
        let at = self.came.iter().position(|item| right(item))?;
        Some(Place(self.base + at as u64))
    }

    /// Parts below `oldest_msn` and what stands before all others leave.
    pub(crate) fn trim(&mut self, oldest_msn: u64) {
        let stays = |item: &Arc<Item>| {
            item.part().map_or_else(
                || item.mark().is_none_or(|mark| mark.msn >= oldest_msn),
                |part| part.header.msn >= oldest_msn,
            )
        };
        let parts_stay = |item: &Arc<Item>| item.part().is_some() && stays(item);
        let Some(first) = self.came.iter().position(parts_stay) else { return };
        self.came.drain(..first);
        self.base += first as u64;
        let newest = self.epochs.values().map(|item| item.stamp().serial).max();
        let used: Vec<EpochId> =
            self.came.iter().filter_map(|item| item.part().map(PartSeal::epoch)).collect();
        self.epochs.retain(|id, item| used.contains(id) || Some(item.stamp().serial) == newest);
    }
}
