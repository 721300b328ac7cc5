//! The whole of trust from outside: what is signed, who is accepted, and what no thief of one key can do.

#![expect(clippy::unwrap_used, reason = "a test ends at its first surprise")]

mod access;
mod chains;
mod clocks;
mod coordinators;
mod maps;
mod mesh;
mod peers;
mod revocations;
mod statements;
mod viewers;
