//! Which box reaches which over which path: candidates, calls, probes, the birthday punch, relays, and the choice.
//!
//! This crate is a core: it never waits, opens, spawns, sleeps or rolls dice. The data plane owns an [`Agent`], tells
//! it what happened and when, and does what [`Agent::poll_command`] says. It refuses to decide who is a peer, and it
//! never takes a path on somebody's word: a path is used because a probe that was sent over it, inside of the
//! WireGuard session, was answered over it.
//!
//! ```text
//!            session over any path              a probe was answered
//! calling ──────────────────────────> probing ──────────────────────> on a path ─┐ better one answered
//!    ^                                   ^                                │  ^────┘
//!    │ session lost                      └────────────────────────────────┘ three probes in a row lost
//!    └───────────────────────────────────────────────────────────────────────────
//! ```
//!
//! # What the data plane has to do
//!
//! - A packet inside of the tunnel to UDP port [`PORT`] of the box's own mesh address is the mesh's. Its first byte
//!   tells what it is ([`message::What`]): control messages go to [`Agent::handle_message`]; the other two are
//!   datagrams for, or by way of, another box ([`Path::Box`]).
//! - Every datagram that was authentic is reported with the path that it came by: [`Agent::handle_authentic`]. The
//!   data plane doesn't follow a peer by itself.
//! - Packets that are longer than [`Command::Use`] says are made shorter, or their sender is told.
//! - Commands are done in their order; one that can't be done is passed over, as if the network had lost it.
//! - STUN answers on the sockets go to [`Agent::handle_stun`].
#![no_std]

extern crate alloc;
#[cfg(test)]
extern crate std;

mod agent;
mod birthday;
mod dice;
pub mod message;
mod nat;
mod own;
mod pair;
mod path;
mod peer;
mod schedule;
mod width;

pub use agent::{Agent, Command, Config, Status};
pub use nat::Nat;
pub use path::{Path, PeerId, SocketId};
pub use peer::{Hints, WhyNot};
// In what is said and asked here.
pub use trust::peer::ENDPOINTS_MAX;
pub use trust::{Endpoint, List, MeshId, MeshPrefix, Ula};
pub use wire::stun;

/// UDP port of the mesh's own packets, inside of the tunnel.
pub const PORT: u16 = 7467;

/// TCP port of a box that other boxes may connect to, inside of the tunnel: where streams are given on. The only one.
pub const RELAY_PORT: u16 = 7468;

/// What goes out to open a router's way for the other side. It is no message of WireGuard or STUN, so whoever gets it
/// drops it at once.
pub const PUNCH: [u8; 1] = [0];

/// Length of a packet inside of the tunnel that every path must carry before it is used: the least that IPv6 allows
/// (RFC 8200, 5).
pub const INNER_MTU: u16 = 1280;

/// The longest packet that is ever tried inside of the tunnel, and the MTU of its device: what a link of 1500 bytes
/// leaves by IPv6, less UDP and WireGuard's own 32 bytes.
pub const INNER_MTU_MAX: u16 = 1420;
