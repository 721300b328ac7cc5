//! What shell and machine say to each other. Plain values.

use alloc::vec::Vec;

use stream::Millis;

use super::Fault;
use crate::part::{Blocks, PartId, StripeCount, Stripes};

/// A box that may be a parent, by the number that the shell gave it; the same for as long as the machine lives.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ParentId(pub u32);

/// One long response, by the number that the machine gave it; never used again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct FeedId(pub u32);

/// What a machine starts with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Config {
    pub stripes: StripeCount,
    /// From a part's header until it is given up. Parts that come in a burst have more time, as they are watched
    /// later.
    pub depth_ms: u64,
    /// Length of a part, until headers tell.
    pub part_ms: u64,
}

impl Default for Config {
    fn default() -> Self {
        Self { stripes: StripeCount::USUAL, depth_ms: 3_000, part_ms: 200 }
    }
}

/// Somebody who may be asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Candidate {
    pub id: ParentId,
    /// Greater is better; an own choice spreads stripes in proportion.
    pub score: u32,
    pub round_trip_ms: u64,
    /// What the coordinator wants to come from it; none for a stand-by.
    pub stripes: Stripes,
    /// What must not come from it: it takes these from this box, or from one below.
    pub barred: Stripes,
    /// What it gives to those who are to give it here: where one of them fails, it has that one's place.
    pub heir: Stripes,
}

/// How much of the stream is wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Demand {
    /// Nobody watches: headers from two parents.
    Headers,
    /// All, from this part on, or from where the parents begin.
    Blocks { from: Option<PartId> },
}

/// What a header says of its part.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shape {
    /// None for a declared gap.
    pub blocks: u16,
    pub duration_ms: u64,
}

/// What a header is to the child.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Header {
    /// New: to be kept and given on.
    Fresh,
    /// Seen before.
    Known,
    /// Before everything that is remembered.
    Old,
    /// More than [`crate::part::BLOCKS_MAX`] blocks.
    Refused,
}

/// What a block is to the child.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Block {
    /// Missing until then: to be checked, kept and given on.
    Fresh,
    /// Here already; no fault of the giver's.
    Again,
    /// Its part is whole or given up.
    Old,
    NotAsked,
}

/// How a pull ended, after its blocks were told one by one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pulled {
    /// It was answered; what still misses was not there.
    Whole,
    /// The parent has none of it.
    NotThere,
    /// No answer, or a broken one.
    Failed,
}

/// What the shell has to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Command {
    /// A feed with these stripes, or with headers alone, beginning with the first part that is not before `from`.
    /// Ends with [`super::Fetch::handle_lost`].
    Open {
        feed: FeedId,
        parent: ParentId,
        stripes: Stripes,
        /// The coordinator wants them to come from there.
        planned: bool,
        /// Who failed, and is a child of this one: the place of that one is asked for.
        instead: Option<ParentId>,
        from: Option<PartId>,
    },
    Close {
        feed: FeedId,
    },
    /// Ends with [`super::Fetch::handle_pulled`]; one at a time per part and parent.
    Pull {
        parent: ParentId,
        part: PartId,
        blocks: Blocks,
    },
    /// The deadline passed: it becomes a GAP.
    GiveUp {
        part: PartId,
    },
    /// To be told to people and the coordinator; `None` is for good.
    Demote {
        parent: ParentId,
        fault: Fault,
        until: Option<Millis>,
    },
    /// A stripe has nobody to come from: other parents are needed.
    Starved,
}

/// What a person may see.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Status {
    /// Per stripe: from whom it comes just now.
    pub owners: Vec<Option<ParentId>>,
    /// Parents that are out, for a fault or because they leave.
    pub out: Vec<ParentId>,
    pub feeds: usize,
    pub flights: usize,
    pub pulls: usize,
}
