//! Who may what: root, invites, certificates, membership, revocations, the signed map and the signed time.
//!
//! This crate is a core: it never waits, opens, spawns, sleeps or rolls dice. Seeds, nonces and `now` come from the
//! shell. It refuses to decide anything on an unsigned word, and to read a statement in any but its one encoding.
//!
//! ```text
//! root ──> invite ──> box ──> WireGuard key        long-lived, made without the coordinator
//!   │                  └────> stream ──> its media, its links
//!   ├────> viewer                                  the same, for one box to take in
//!   └────> coordinator ──> membership, map, time   short-lived, made by it alone
//! ```
//! A peer accepts a box on both lines (`docs/adr/0003-trust-chain.md`).
#![no_std]

extern crate alloc;
#[cfg(test)]
extern crate std;

pub mod access;
pub mod chain;
pub mod clock;
pub mod coordinator;
mod crockford;
pub mod digest;
pub mod endpoint;
mod fixed;
pub mod invite;
pub mod key;
pub mod list;
pub mod map;
pub mod membership;
pub mod name;
pub mod peer;
pub mod revocation;
pub mod roster;
pub mod statement;
pub mod stream;
pub mod ticket;
pub mod time;
pub mod ula;
pub mod viewer;
pub mod wireguard;

pub use access::{Access, AccessError, AccessToken, LinkId};
pub use chain::{BoxCertificate, Chain, ChainError, Identity};
pub use coordinator::{Coordinator, CoordinatorCertificate, CoordinatorError};
pub use digest::{Digest, InviteId, MeshId};
pub use endpoint::Endpoint;
pub use invite::{Invite, InviteKind, Limits};
pub use key::{BoxKey, CoordinatorKey, InviteKey, RootKey, StreamKey, WireGuardKey};
pub use key::{BoxSecret, CoordinatorSecret, InviteSecret, RootSecret, StreamSecret};
pub use list::List;
pub use membership::{Membership, MembershipState};
pub use name::Name;
pub use peer::{Authority, Peer, PeerError};
pub use revocation::{Revocation, Revocations, Revoked};
pub use roster::{DoubleUse, Roster};
pub use statement::{DecodeError, Kind, Signed, Statement, VerifyError};
pub use stream::{Forged, StreamCertificate};
pub use ticket::{Ticket, TicketError};
pub use time::UnixSeconds;
pub use ula::{MeshPrefix, Ula};
pub use viewer::{Viewer, Viewers};
pub use wireguard::{WireGuardBinding, WireGuardKeys};
