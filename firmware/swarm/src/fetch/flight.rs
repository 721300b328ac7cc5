//! A part in flight: its header is known, not all of its blocks are. Refuses to decide whom to ask.

use alloc::collections::BTreeMap;
use alloc::vec;
use alloc::vec::Vec;

use stream::Millis;

use super::ParentId;
use crate::part::{BlockIndex, Blocks, PartId, STRIPES_MAX, StripeCount, Stripes};

#[derive(Clone, Debug)]
pub(crate) struct Asked {
    pub(crate) blocks: Blocks,
    pub(crate) since: Millis,
    /// Stripes of which it had said by then that it holds them.
    pub(crate) claimed: Stripes,
    /// Nothing is expected of it any more, but its end was not told yet.
    pub(crate) forsaken: bool,
}

#[derive(Clone, Copy, Debug)]
pub(crate) struct Tried {
    pub(crate) times: u8,
    pub(crate) last: Millis,
}

#[derive(Clone, Debug)]
pub(crate) struct Flight {
    pub(crate) id: PartId,
    count: StripeCount,
    pub(crate) blocks: u16,
    have: Blocks,
    /// When its header was first seen.
    pub(crate) seen: Millis,
    /// When it could be wanted: then, or later where many parts came at once.
    pub(crate) wanted: Millis,
    /// After this it is given up.
    pub(crate) deadline: Millis,
    /// Pulls under way; at most one per parent.
    pub(crate) asked: BTreeMap<ParentId, Asked>,
    /// Pulls that didn't bring what was asked; at most one entry per parent.
    pub(crate) tried: BTreeMap<ParentId, Tried>,
    /// Stripes of this part that a parent says it holds whole.
    pub(crate) claims: BTreeMap<ParentId, Stripes>,
    /// Per stripe: since when its feed is beyond a block that misses.
    skipped: Vec<Option<Millis>>,
    /// Stripes of which a block was pulled.
    pub(crate) pulled: Stripes,
}

impl Flight {
    pub(crate) fn new(
        id: PartId,
        count: StripeCount,
        blocks: u16,
        seen: Millis,
        (wanted, deadline): (Millis, Millis),
    ) -> Self {
        Self {
            id,
            count,
            blocks,
            have: Blocks::room(blocks),
            seen,
            wanted,
            deadline,
            asked: BTreeMap::new(),
            tried: BTreeMap::new(),
            claims: BTreeMap::new(),
            skipped: vec![None; usize::from(STRIPES_MAX)],
            pulled: Stripes::NONE,
        }
    }

    pub(crate) fn is_whole(&self) -> bool {
        self.have.len() == self.blocks
    }

    pub(crate) fn has(&self, block: BlockIndex) -> bool {
        self.have.contains(block)
    }

    /// Whether it was not there before.
    pub(crate) fn take(&mut self, block: BlockIndex) -> bool {
        block < self.blocks && self.have.insert(block)
    }

    pub(crate) fn missing(&self) -> impl Iterator<Item = BlockIndex> {
        (0..self.blocks).filter(|block| !self.has(*block))
    }

    pub(crate) fn misses(&self, stripe: u8) -> bool {
        self.missing().any(|block| self.count.of(self.id, block) == stripe)
    }

    pub(crate) fn missing_stripes(&self) -> Stripes {
        self.missing().fold(Stripes::NONE, |stripes, block| stripes.with(self.count.of(self.id, block)))
    }

    /// A feed brought a block of this stripe that comes after what misses here.
    pub(crate) fn handle_passed(&mut self, stripe: u8, at: (PartId, BlockIndex), now: Millis) {
        let (id, count) = (self.id, self.count);
        let passed = self.missing().any(|block| count.of(id, block) == stripe && (id, block) < at);
        if let (true, Some(skipped)) = (passed, self.skipped.get_mut(usize::from(stripe))) {
            skipped.get_or_insert(now);
        }
    }

    pub(crate) fn skipped(&self, stripe: u8) -> Option<Millis> {
        self.skipped.get(usize::from(stripe)).copied().flatten()
    }

    /// Who is asked for a block by name, and since when the last of them is.
    pub(crate) fn askers(&self, block: BlockIndex) -> (usize, Option<Millis>) {
        let asked = self.asked.values().filter(|asked| !asked.forsaken && asked.blocks.contains(block));
        asked.fold((0, None), |(count, last), asked| (count + 1, last.max(Some(asked.since))))
    }
}
