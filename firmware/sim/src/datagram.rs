//! What travels: WireGuard's messages by their meaning, STUN by its bytes.

use std::rc::Rc;

/// A box, by its number in the fleet.
pub(crate) type Name = usize;

/// A number of a handshake: higher ones are later.
pub(crate) type Handshake = u64;

#[derive(Clone, Debug)]
pub(crate) enum Datagram {
    Initiation { from: Name, to: Name, number: Handshake },
    Response { from: Name, to: Name, number: Handshake },
    Sealed { from: Name, to: Name, session: Handshake, inner: Inner },
    Stun(Rc<[u8]>),
    Punch,
}

/// What is inside of a sealed datagram.
#[derive(Clone, Debug)]
pub(crate) enum Inner {
    Keepalive,
    Control(Rc<[u8]>),
    /// For another box, by way of the one that gets it.
    Forward {
        to: Name,
        datagram: Rc<Datagram>,
    },
    Forwarded {
        from: Name,
        datagram: Rc<Datagram>,
    },
    /// The host's own packet, with a number and its length.
    Data(u64, usize),
}

/// Outer headers of IPv4 and UDP, and what WireGuard adds.
const OVERHEAD: usize = 60;

impl Datagram {
    /// Bytes of the packet that crosses a router.
    pub(crate) fn len(&self) -> usize {
        match self {
            Self::Initiation { .. } => 176,
            Self::Response { .. } => 120,
            Self::Sealed { inner, .. } => OVERHEAD + inner.len(),
            Self::Stun(bytes) => 28 + bytes.len(),
            Self::Punch => 29,
        }
    }
}

impl Inner {
    fn len(&self) -> usize {
        match self {
            Self::Keepalive => 0,
            Self::Control(payload) => 48 + payload.len(),
            Self::Forward { datagram, .. } | Self::Forwarded { datagram, .. } => 65 + datagram.len(),
            Self::Data(_, len) => *len,
        }
    }
}
