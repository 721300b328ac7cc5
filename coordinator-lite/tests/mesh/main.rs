//! The real coordinator and real boxes on loopback: coming in, being put out, and everything that breaks.
//!
//! `relayd` has to be built beside this test's own binaries; `cargo xtask test` does so.

#![expect(clippy::unwrap_used, reason = "a test ends at its first surprise")]

mod accusing;
mod breaking;
mod carrying;
mod client;
mod described;
mod enrolling;
mod forging;
mod hand;
mod house;
mod leading;
mod lines;
mod looking;
mod operating;
mod pushing;
mod relaying;
mod revoking;
mod seeing;
mod setting_up;
mod stealing;
mod watching;
