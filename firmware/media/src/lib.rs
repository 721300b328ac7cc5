//! Packaging by GStreamer, in a child process of its own.
//!
//! This library is the parent's side: the [`message`] protocol and the [`Packager`], which starts the child,
//! watches it and starts it again. It does not link GStreamer: only the binary `relaybox-media` does, so a box
//! that ingests nothing loads none of it, and what comes from outside is parsed in C only there.

pub mod message;
mod packager;

pub use packager::{Job, JobEvent, Packager, PackagerConfig, PackagerError};
