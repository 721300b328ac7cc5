//! All peers around their engines: which peer a datagram or packet belongs to, and what is done with it.
//!
//! It does no I/O. Datagrams and packets come in by `handle_*`, and what has to be sent besides the answers comes out
//! of [`Exchange::poll_transmit`]. What comes from outside is checked here before the engine sees it, and after.

mod peers;

use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, Instant};

use heapless::index_map::FnvIndexMap;

use crate::DATAGRAM_BYTES_MAX;
use crate::allowed::AllowedIps;
use crate::bucket::SourceBuckets;
use crate::engine::{Engine, Identity, Initiator, Message, Opened, REJECT_AFTER_MESSAGES};
use crate::packet::{self, Header};
use crate::peer::{PAIRS_MAX, Peer};
use crate::split::SLACK_BYTES;
use crate::waiting::Waiting;

pub use crate::peer::{PeerConfig, PeerStats};
pub use peers::PeerError;

/// Peers at once; a box holds only those it needs.
pub const PEERS_MAX: usize = 256;

/// Places for receiver indices: a power of two, and twice as many as all pairs of keys need.
const INDICES_MAX: usize = 1024;

/// How often timers run.
pub const TICK: Duration = Duration::from_millis(250);

/// A peer's number, as long as it is not removed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PeerNumber(u16);

/// What a datagram was. Lengths are bytes at the start of the output buffer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Inbound {
    /// A packet that its peer may send, for the device.
    Deliver(Header),
    /// An answer for the sender of the datagram.
    Reply(usize),
    /// Taken, and nothing is to be done.
    Nothing,
    Dropped(Drop),
}

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

/// The state of all peers.
#[derive(Debug)]
pub struct Exchange<E: Engine> {
    mtu: u16,
    /// The newest first; the other is kept for peers that still use it.
    identities: heapless::Vec<(u32, E::Identity), PAIRS_MAX>,
    identities_made: u32,
    peers: Vec<Option<Peer<E>>>,
    /// Upper 24 bits of a receiver index -> peer.
    indices: Box<FnvIndexMap<u32, u16, INDICES_MAX>>,
    allowed: AllowedIps<u16>,
    buckets: SourceBuckets,
    waiting: Waiting,
    scratch: Box<[u8]>,
    drops: Drops,
    tick_at: Instant,
    second_at: Instant,
    /// How far the timers of this tick have run: a peer's number times [`STEPS`], and a step.
    timers_at: usize,
    wants_initiation: bool,
}

/// Timers of two pairs of keys, then keepalive.
const STEPS: usize = PAIRS_MAX + 1;

impl<E: Engine> Exchange<E> {
    /// Packets up to the MTU and a little more can wait for a session.
    pub fn new(key: crate::PrivateKey, mtu: u16, now: Instant) -> Exchange<E> {
        let mut identities = heapless::Vec::new();
        let _ = identities.push((0, E::Identity::new(key)));
        Exchange {
            mtu,
            identities,
            identities_made: 1,
            peers: Vec::new(),
            indices: Box::default(),
            allowed: AllowedIps::default(),
            buckets: SourceBuckets::default(),
            waiting: Waiting::new(usize::from(mtu)),
            scratch: vec![0; DATAGRAM_BYTES_MAX + SLACK_BYTES].into(),
            drops: Drops::default(),
            tick_at: now,
            second_at: now,
            timers_at: usize::MAX,
            wants_initiation: true,
        }
    }

    /// Takes what a socket received. `out` has to hold at least [`DATAGRAM_BYTES_MAX`] bytes.
    pub fn handle_datagram(
        &mut self,
        from: SocketAddr,
        datagram: &[u8],
        now: Instant,
        out: &mut [u8],
    ) -> Inbound {
        debug_assert!(out.len() >= DATAGRAM_BYTES_MAX, "any datagram fits");
        let result = match Message::of(datagram) {
            _ if !is_place(from) => Err(Drop::Malformed),
            None => Err(Drop::Malformed),
            Some(Message::Initiation) => self.handle_initiation(from, datagram, now, out),
            Some(Message::Response { receiver } | Message::Cookie { receiver }) => {
                self.handle_answer(from, receiver, datagram, now, out)
            }
            Some(Message::Data { receiver, counter }) => {
                self.handle_data(from, receiver, counter, datagram, now, out)
            }
        };
        result.unwrap_or_else(|drop| {
            tracing::trace!(source = %from, ?drop, "datagram dropped");
            self.drops.count(drop);
            Inbound::Dropped(drop)
        })
    }

    fn handle_initiation(
        &mut self,
        from: SocketAddr,
        datagram: &[u8],
        now: Instant,
        out: &mut [u8],
    ) -> Result<Inbound, Drop> {
        self.limit(from, now)?;
        for (identity, side) in &self.identities {
            let key = match side.initiator(from.ip(), datagram, out) {
                Initiator::ForAnother => continue,
                Initiator::Cookie(len) => return Ok(Inbound::Reply(len)),
                Initiator::Refused => return Err(Drop::NotAuthentic),
                Initiator::Peer(key) => key,
            };
            let pairs = self.peers.iter_mut().flatten().flat_map(|peer| {
                let number =
                    peer.pairs.iter().position(|pair| pair.identity == *identity && pair.peer_key == key);
                number.map(|number| (peer, number))
            });
            let Some((peer, number)) = pairs.into_iter().next() else { return Err(Drop::Unknown) };
            return peer.answer(number, from, datagram, now, out);
        }
        Err(Drop::NotAuthentic)
    }

    fn handle_answer(
        &mut self,
        from: SocketAddr,
        receiver: u32,
        datagram: &[u8],
        now: Instant,
        out: &mut [u8],
    ) -> Result<Inbound, Drop> {
        let index = receiver >> 8;
        let number = *self.indices.get(&index).ok_or(Drop::Unknown)?;
        self.limit(from, now)?;
        let peer = self.peers[usize::from(number)].as_mut().ok_or(Drop::Unknown)?;
        let pair = peer.pairs.iter().position(|pair| pair.index == index).ok_or(Drop::Unknown)?;
        peer.answer(pair, from, datagram, now, out)
    }

    fn handle_data(
        &mut self,
        from: SocketAddr,
        receiver: u32,
        counter: u64,
        datagram: &[u8],
        now: Instant,
        out: &mut [u8],
    ) -> Result<Inbound, Drop> {
        let index = receiver >> 8;
        let number = *self.indices.get(&index).ok_or(Drop::Unknown)?;
        if counter >= REJECT_AFTER_MESSAGES {
            return Err(Drop::NotAuthentic);
        }
        let peer = self.peers[usize::from(number)].as_mut().ok_or(Drop::Unknown)?;
        let pair = peer.pair(index).ok_or(Drop::Unknown)?;
        let opened = pair.engine.open(from.ip(), datagram, out);
        if let Opened::Data(_) | Opened::Keepalive = opened {
            pair.ready_since.get_or_insert(now);
            if pair.unconfirmed.take_if(|unconfirmed| *unconfirmed == receiver).is_some() {
                peer.shaken(now);
            }
            peer.roam(from);
            peer.received_bytes += datagram.len() as u64;
        }
        match opened {
            Opened::Data(len) => {
                let ip = packet::header(&out[..len]).map_err(|_| Drop::BadPacket)?;
                if self.allowed.owner(ip.source) != Some(number) {
                    return Err(Drop::ForeignSource);
                }
                Ok(Inbound::Deliver(ip))
            }
            Opened::Answered { len, .. } | Opened::Established(len) | Opened::Cookie(len) => {
                Ok(Inbound::Reply(len))
            }
            Opened::Keepalive | Opened::Taken => Ok(Inbound::Nothing),
            Opened::Refused => Err(Drop::NotAuthentic),
        }
    }

    /// Handshake messages cost a lot to look at. A peer that is where it was known to be doesn't share its bucket.
    fn limit(&mut self, from: SocketAddr, now: Instant) -> Result<(), Drop> {
        let mut peers = self.peers.iter_mut().flatten();
        let granted = match peers.find(|peer| peer.endpoint == Some(from)) {
            Some(peer) => peer.bucket.take(now),
            None => self.buckets.take(from.ip(), now),
        };
        granted.then_some(()).ok_or(Drop::Limited)
    }

    /// To whom a packet of ours goes.
    pub fn route(&self, destination: IpAddr) -> Option<PeerNumber> {
        self.allowed.owner(destination).map(PeerNumber)
    }

    /// Where a peer is, if something can be sealed for it just now.
    pub fn ready(&self, peer: PeerNumber) -> Option<SocketAddr> {
        endpoint(&self.peers, peer.0)
    }

    /// Bytes of the datagram that a packet of that length becomes.
    pub fn sealed_len(&self, len: usize) -> usize {
        packet::padded_len(len, self.mtu) + crate::OVERHEAD_BYTES
    }

    /// Encrypts `room[..len]`, for a peer that is [`ready`](Exchange::ready); gives the datagram's length, which is
    /// [`sealed_len`](Exchange::sealed_len). `room` needs [`SLACK_BYTES`] behind the packet, which are put back as
    /// they were.
    pub fn seal(
        &mut self,
        peer: PeerNumber,
        room: &mut [u8],
        len: usize,
        now: Instant,
        out: &mut [u8],
    ) -> Option<usize> {
        let padded = packet::padded_len(len, self.mtu);
        let mut behind = [0; SLACK_BYTES];
        behind[..padded - len].copy_from_slice(&room[len..padded]);
        room[len..padded].fill(0);
        let peer = self.peers.get_mut(usize::from(peer.0))?.as_mut()?;
        let sealed = peer.ready().and_then(|pair| pair.engine.seal(&room[..padded], out));
        room[len..padded].copy_from_slice(&behind[..padded - len]);
        peer.sent(sealed?, now);
        sealed
    }

    /// Keeps a packet until its peer is ready, and sees to it that a handshake is begun.
    pub fn hold(&mut self, peer: PeerNumber, packet: &[u8]) {
        let Some(Some(to)) = self.peers.get_mut(usize::from(peer.0)) else { return };
        to.wants_initiation = true;
        self.wants_initiation = true;
        if !self.waiting.push(peer.0, packet) {
            self.drops.waited += 1;
        }
    }

    /// When [`handle_timeout`](Exchange::handle_timeout) is to be called.
    pub fn poll_timeout(&self) -> Instant {
        self.tick_at
    }

    /// Lets the timers run, if it is time; what they send comes from [`poll_transmit`](Exchange::poll_transmit).
    pub fn handle_timeout(&mut self, now: Instant) {
        if now < self.tick_at {
            return;
        }
        self.tick_at = now + TICK;
        self.timers_at = 0;
        if now >= self.second_at {
            self.second_at = now + Duration::from_secs(1);
            self.identities.iter().for_each(|(_, identity)| identity.handle_second());
            self.retire(now);
        }
    }

    /// The next message that has to be sent, and where to. To be called until there is none.
    pub fn poll_transmit(&mut self, now: Instant, out: &mut [u8]) -> Option<(SocketAddr, usize)> {
        while self.timers_at < self.peers.len() * STEPS {
            let (number, step) = (self.timers_at / STEPS, self.timers_at % STEPS);
            self.timers_at += 1;
            let Some(peer) = &mut self.peers[number] else { continue };
            let len = if step < PAIRS_MAX {
                peer.handle_timeout(step, now, out)
            } else {
                peer.poll_keepalive(now, out)
            };
            if let (Some(len), Some(to)) = (len, peer.endpoint) {
                peer.sent(len, now);
                return Some((to, len));
            }
        }
        if self.wants_initiation {
            for peer in self.peers.iter_mut().flatten() {
                if let (Some(len), Some(to)) = (peer.poll_initiation(now, out), peer.endpoint) {
                    peer.sent(len, now);
                    return Some((to, len));
                }
            }
            self.wants_initiation = false;
        }
        self.poll_waiting(now, out)
    }

    fn poll_waiting(&mut self, now: Instant, out: &mut [u8]) -> Option<(SocketAddr, usize)> {
        while !self.waiting.is_empty() {
            let peers = &self.peers;
            let room = self.scratch.len() - SLACK_BYTES;
            let found =
                self.waiting.pop(|number| endpoint(peers, number).is_some(), &mut self.scratch[..room]);
            let (number, len) = found?;
            let to = endpoint(peers, number)?;
            let mut scratch = std::mem::take(&mut self.scratch);
            let sealed = self.seal(PeerNumber(number), &mut scratch, len, now, out);
            self.scratch = scratch;
            if let Some(len) = sealed {
                return Some((to, len));
            }
        }
        None
    }

    /// What was dropped so far.
    pub fn drops(&self) -> Drops {
        self.drops
    }
}

/// Whether something can be sent there. A forged source that can't be answered must not reach a socket: its refusal
/// would look like that of a kernel without GSO.
fn is_place(address: SocketAddr) -> bool {
    address.port() != 0 && !address.ip().is_unspecified() && !address.ip().is_multicast()
}

/// Where a peer is, if it has a session.
fn endpoint<E: Engine>(peers: &[Option<Peer<E>>], number: u16) -> Option<SocketAddr> {
    let peer = peers.get(usize::from(number))?.as_ref()?;
    peer.endpoint.filter(|_| peer.is_ready())
}

impl<E: Engine> Peer<E> {
    /// Gives the engine a handshake message. The answer goes to where the message came from, but the peer is not
    /// followed there yet.
    fn answer(
        &mut self,
        pair: usize,
        from: SocketAddr,
        datagram: &[u8],
        now: Instant,
        out: &mut [u8],
    ) -> Result<Inbound, Drop> {
        let pair = &mut self.pairs[pair];
        let len = match pair.engine.open(from.ip(), datagram, out) {
            Opened::Answered { len, receiver } => {
                pair.unconfirmed = Some(receiver);
                len
            }
            Opened::Established(len) => {
                self.shaken(now);
                len
            }
            Opened::Cookie(len) => return Ok(Inbound::Reply(len)),
            Opened::Taken => return Ok(Inbound::Nothing),
            Opened::Data(_) | Opened::Keepalive | Opened::Refused => return Err(Drop::NotAuthentic),
        };
        self.received_bytes += datagram.len() as u64;
        self.sent(len, now);
        Ok(Inbound::Reply(len))
    }
}

impl Drops {
    fn count(&mut self, drop: Drop) {
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

#[cfg(test)]
mod tests;
