//! The failure cases that every relay meets, each published as bytes to a real box; verdicts come from outside code.

#![expect(clippy::unwrap_used, reason = "a test ends at its first surprise")]

mod cases;
mod laboratory;
mod packager;
mod programme;
mod unwatched;
mod verdict;
