//! Who carries which block: a box's parents, stripes, pulls and failover, and who is assigned to whom.
//!
//! ```text
//! coordinator:  boxes, their uplinks ──> assign ── a parent for each stripe ──┐
//! a box alone:  what others say ───────> choose ── the same ──────────────────┴──> fetch ── feeds, pulls ──> the shell
//! its own line: probes ────────────────> guard ─── what may be sent for others ──> the shell, and as uplink to assign
//! ```
//!
//! This crate is a core: it never waits, opens, spawns, sleeps or rolls dice. It refuses to see bytes: what it is told
//! was checked by the shell against the origin's signature, and what failed is reported by
//! [`fetch::Fetch::handle_bad`].
#![no_std]

extern crate alloc;
#[cfg(test)]
extern crate std;

pub mod assign;
pub mod choose;
pub mod fetch;
pub mod guard;
pub mod part;
pub mod score;

pub use fetch::{Candidate, Command, FeedId, Fetch, ParentId};
pub use part::{BlockIndex, Blocks, PartId, StripeCount, Stripes};
