//! A live stream as data: timeline, cuts, parts, window, playlists, and what of it is signed.
//!
//! This crate is a core: it never waits, opens, spawns, sleeps or rolls dice. What has state takes input and
//! `now`, and returns commands; what has none is plain functions.
//!
//! ```text
//! access units -> timeline -> cutter -> (media child) -> part headers -> window -> playlists
//! ```
#![no_std]

extern crate alloc;
#[cfg(test)]
extern crate std;

pub mod codec;
pub mod cutter;
pub mod flv;
pub mod fragment;
pub mod header;
pub mod name;
pub mod opus;
pub mod playlist;
pub mod seal;
pub mod timeline;
pub mod track;
pub mod window;

pub use header::{CutPart, EpochId, EpochRecord, ObjectName, PartHeader};
pub use name::{BadStreamName, StreamName};
pub use track::{AccessUnit, AudioFormat, Codec, Millis, Ticks, TrackConfig, TrackKind, Tracks};
