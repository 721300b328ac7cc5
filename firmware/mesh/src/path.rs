//! A path to a peer, and the names of its parts.

use core::fmt;
use core::net::SocketAddr;

use wire::heartbeat::PathKind;

/// A peer, by the number that the data plane gave it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PeerId(pub u16);

/// One of the box's own sockets. [`SocketId::MAIN`] is the pair of sockets, IPv4 and IPv6, whose port others know.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SocketId(pub u16);

impl SocketId {
    pub const MAIN: Self = Self(0);
}

/// By which way datagrams go to a peer, and come from it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Path {
    /// With nobody between but routers.
    Direct { socket: SocketId, to: SocketAddr },
    /// Inside of the tunnel to another peer, which passes it on.
    Box(PeerId),
    /// Through the coordinator, over TLS.
    Tls,
}

impl Path {
    /// From the main sockets.
    #[must_use]
    pub const fn direct(to: SocketAddr) -> Self {
        Self::Direct { socket: SocketId::MAIN, to }
    }

    #[must_use]
    pub const fn is_direct(&self) -> bool {
        matches!(self, Self::Direct { .. })
    }

    #[must_use]
    pub const fn kind(&self) -> PathKind {
        match self {
            Self::Direct { .. } => PathKind::Direct,
            Self::Box(_) => PathKind::RelayedUdp,
            Self::Tls => PathKind::RelayedTls,
        }
    }

    /// Where the other end is, for a direct path.
    #[must_use]
    pub const fn endpoint(&self) -> Option<SocketAddr> {
        match self {
            Self::Direct { to, .. } => Some(*to),
            Self::Box(_) | Self::Tls => None,
        }
    }
}

impl fmt::Display for Path {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Direct { to, socket: SocketId::MAIN } => write!(f, "direct to {to}"),
            Self::Direct { to, socket } => write!(f, "direct to {to} from socket {}", socket.0),
            Self::Box(peer) => write!(f, "through peer {}", peer.0),
            Self::Tls => write!(f, "through the coordinator"),
        }
    }
}
