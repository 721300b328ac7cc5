//! Who carries which block: a box's parents, stripes, pulls and failover, and who is assigned to whom.
//!
//! This crate is a core: it never waits, opens, spawns, sleeps or rolls dice. [`fetch`] is one stream's machine at a
//! child. It refuses to see bytes: what it is told was checked by the shell against the origin's signature, and
//! what failed the check is reported by [`fetch::Fetch::handle_bad`].
#![no_std]

extern crate alloc;
#[cfg(test)]
extern crate std;

pub mod fetch;
pub mod part;

pub use fetch::{Candidate, Command, FeedId, Fetch, ParentId};
pub use part::{BlockIndex, Blocks, PartId, StripeCount, Stripes};
