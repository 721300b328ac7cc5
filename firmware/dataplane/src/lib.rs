//! WireGuard in user space: a TUN device, two UDP sockets and the sessions of all peers on one thread.
//!
//! The pure parts stand apart from the I/O, and are tested without it: which peer owns an address ([`allowed`]), how
//! many handshakes a source may ask for ([`bucket`]), what an IP packet has to look like ([`packet`]), how the
//! kernel's large packets are cut ([`split`]) and made ([`coalesce`]), and how a wg-quick file reads ([`conf`]).
//! [`Exchange`] puts them around an [`Engine`], which owns the cryptography, and [`Plane`] is the thread that moves
//! bytes between the device and the sockets.
//!
//! Among boxes of a mesh the thread also owns the mesh's agent, which says by which path each is reached.
//!
//! It refuses to decide who is a peer: that comes in by commands. It does not allocate for a packet.

pub mod allowed;
pub mod bucket;
mod checksum;
pub mod coalesce;
pub mod conf;
pub mod engine;
pub mod exchange;
pub mod filter;
pub mod key;
mod link;
mod network;
mod outgoing;
pub mod packet;
mod peer;
pub mod plane;
mod relayed;
pub mod split;
mod too_long;
mod tun;
pub mod vnet;
mod waiting;

pub use allowed::Prefix;
pub use engine::Engine;
pub use exchange::{Exchange, Inbound, MeshPeer, PeerConfig, PeerStats};
pub use filter::Filter;
pub use key::{PresharedKey, PrivateKey, PublicKey};
pub use network::{Network, NetworkError};
pub use outgoing::Outgoing;
pub use plane::{
    Handle, HandleError, MeshConfig, Plane, PlaneConfig, PlaneError, Surroundings, Told, clock_is_set,
};
pub use tun::{Tun, TunError};

/// The largest datagram or packet that any buffer here has to hold, bytes: what a 16-bit length field can say.
pub const DATAGRAM_BYTES_MAX: usize = 65_535;

/// What a data message adds to the packet in it, bytes: type, receiver, counter and the tag (WireGuard paper, 5.4.6).
pub const OVERHEAD_BYTES: usize = 32;

/// Spare bytes at the end of a buffer for outgoing messages, so that a handshake message fits where a packet does.
pub const SPARE_BYTES: usize = 256;
