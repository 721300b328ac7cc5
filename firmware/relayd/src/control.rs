//! The box's side of the mesh: its keys, what it keeps of the mesh, and the talk with the coordinator.
//!
//! ```text
//! join ─> keys, chain ─> enrol ─> kept on disk ─> steward: heartbeat, push, renewal, for as long as the box runs
//! ```
//! Refuses to matter to streams: whatever fails here is said, tried again, and never stops anything else.

pub(crate) mod ask;
mod channel;
pub(crate) mod hour;
pub(crate) mod kept;
pub(crate) mod keys;
mod pin;
pub(crate) mod plan;
mod push;
pub(crate) mod relay;
pub(crate) mod report;
pub(crate) mod seek;
pub(crate) mod steward;
pub(crate) mod talk;
pub(crate) mod viewers;
