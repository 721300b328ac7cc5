//! What is not let through, and why.

/// Why a datagram was dropped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Drop {
    /// It is no message.
    Malformed,
    /// No session or peer has that index or key.
    Unknown,
    /// Its source sends too many handshake messages.
    Limited,
    /// It is not the peer's, or not fresh.
    NotAuthentic,
    /// It holds no packet.
    BadPacket,
    /// It holds a packet from an address that is not this peer's.
    ForeignSource,
}

/// How many datagrams were dropped, and why.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Drops {
    pub malformed: u64,
    pub unknown: u64,
    pub limited: u64,
    pub not_authentic: u64,
    pub bad_packet: u64,
    pub foreign_source: u64,
    /// Packets of ours, to a peer that could not be reached in time.
    pub waited: u64,
}

impl Drops {
    pub(super) fn count(&mut self, drop: Drop) {
        *match drop {
            Drop::Malformed => &mut self.malformed,
            Drop::Unknown => &mut self.unknown,
            Drop::Limited => &mut self.limited,
            Drop::NotAuthentic => &mut self.not_authentic,
            Drop::BadPacket => &mut self.bad_packet,
            Drop::ForeignSource => &mut self.foreign_source,
        } += 1;
    }
}
