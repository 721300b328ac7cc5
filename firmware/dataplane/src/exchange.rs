//! All peers around their engines: which peer a datagram or packet belongs to, and what is done with it.
//!
//! It does no I/O. Datagrams and packets come in by `handle_*`, and what has to be sent besides the answers comes out
//! of [`Exchange::poll_transmit`]. What comes from outside is checked here before the engine sees it, and after.

mod boxes;
mod drops;
mod peers;

use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, Instant};

use heapless::index_map::FnvIndexMap;
use mesh::{Path, PeerId, Ula};

use crate::DATAGRAM_BYTES_MAX;
use crate::allowed::AllowedIps;
use crate::bucket::SourceBuckets;
use crate::engine::{Engine, Identity, Initiator, Message, Opened, REJECT_AFTER_MESSAGES};
use crate::packet::{self, Header};
use crate::peer::{PAIRS_MAX, Peer};
use crate::split::SLACK_BYTES;
use crate::waiting::Waiting;

pub use crate::peer::{MeshPeer, PeerConfig, PeerStats};
pub use drops::{Drop, Drops};
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

impl From<PeerNumber> for PeerId {
    fn from(number: PeerNumber) -> PeerId {
        PeerId(number.0)
    }
}

impl From<PeerId> for PeerNumber {
    fn from(id: PeerId) -> PeerNumber {
        PeerNumber(id.0)
    }
}

/// By which way a datagram came, and whose handshake messages are counted for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Source {
    pub path: Path,
    pub ip: IpAddr,
}

impl From<SocketAddr> for Source {
    fn from(address: SocketAddr) -> Source {
        Source { path: Path::direct(address), ip: address.ip() }
    }
}

/// Who authenticated a datagram.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sign {
    pub peer: PeerNumber,
    /// A handshake was done with it.
    pub is_new: bool,
}

/// To whom a message is sent, and how.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Way {
    pub peer: PeerNumber,
    pub path: Path,
}

/// What a datagram was. Lengths are bytes at the start of the output buffer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Inbound {
    /// A packet that its peer may send, for the device.
    Deliver(Header),
    /// One for the mesh itself, from a box of it.
    Mesh(Header),
    /// An answer for the sender of the datagram.
    Reply(usize),
    /// Taken, and nothing is to be done.
    Nothing,
    Dropped(Drop),
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
    /// The mesh's own packets come to this address.
    mesh_address: Option<Ula>,
    sign: Option<Sign>,
}

/// Timers of two pairs of keys, then keepalive.
const STEPS: usize = PAIRS_MAX + 1;

impl<E: Engine> Exchange<E> {
    /// `mtu` is the device's: packets up to that can wait for a session.
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
            mesh_address: None,
            sign: None,
        }
    }

    /// Takes what a socket received. `out` has to hold at least [`DATAGRAM_BYTES_MAX`] bytes.
    pub fn handle_datagram(
        &mut self,
        from: impl Into<Source>,
        datagram: &[u8],
        now: Instant,
        out: &mut [u8],
    ) -> Inbound {
        debug_assert!(out.len() >= DATAGRAM_BYTES_MAX, "any datagram fits");
        let from = from.into();
        self.sign = None;
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
            tracing::trace!(path = %from.path, ?drop, "datagram dropped");
            self.drops.count(drop);
            Inbound::Dropped(drop)
        })
    }

    /// Whose the last datagram was, if it was authentic.
    pub fn sign(&self) -> Option<Sign> {
        self.sign
    }

    fn handle_initiation(
        &mut self,
        from: Source,
        datagram: &[u8],
        now: Instant,
        out: &mut [u8],
    ) -> Result<Inbound, Drop> {
        self.limit(from, now)?;
        for (identity, side) in &self.identities {
            let key = match side.initiator(from.ip, datagram, out) {
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
            return peer.answer(number, from, datagram, now, out).map(|(inbound, _)| inbound);
        }
        Err(Drop::NotAuthentic)
    }

    fn handle_answer(
        &mut self,
        from: Source,
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
        let (inbound, is_new) = peer.answer(pair, from, datagram, now, out)?;
        if is_new {
            self.sign = Some(Sign { peer: PeerNumber(number), is_new });
        }
        Ok(inbound)
    }

    fn handle_data(
        &mut self,
        from: Source,
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
        let opened = pair.engine.open(from.ip, datagram, out);
        if let Opened::Data(_) | Opened::Keepalive = opened {
            pair.ready_since.get_or_insert(now);
            let is_new = pair.unconfirmed.take_if(|unconfirmed| *unconfirmed == receiver).is_some();
            if is_new {
                peer.shaken(now);
            }
            self.sign = Some(Sign { peer: PeerNumber(number), is_new });
            peer.roam(from.path);
            peer.received_bytes += datagram.len() as u64;
        }
        match opened {
            Opened::Data(len) => {
                let ip = packet::header(&out[..len]).map_err(|_| Drop::BadPacket)?;
                if self.allowed.owner(ip.source) != Some(number) {
                    return Err(Drop::ForeignSource);
                }
                let is_box = peer.config.mesh.is_some();
                if is_box && self.mesh_address.is_some_and(|own| is_for_mesh(own, &ip, out)) {
                    return Ok(Inbound::Mesh(ip));
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
    fn limit(&mut self, from: Source, now: Instant) -> Result<(), Drop> {
        let mut peers = self.peers.iter_mut().flatten();
        let is_there = |peer: &Peer<E>| match from.path {
            Path::Direct { .. } => peer.path == Some(from.path),
            // Many come by the same relay.
            Path::Box(_) | Path::Tls => {
                peer.config.mesh.as_ref().is_some_and(|mesh| from.ip == ip(mesh.address))
            }
        };
        let granted = match peers.find(|peer| is_there(peer)) {
            Some(peer) => peer.bucket.take(now),
            None => self.buckets.take(from.ip, now),
        };
        granted.then_some(()).ok_or(Drop::Limited)
    }

    /// To whom a packet of ours goes.
    pub fn route(&self, destination: IpAddr) -> Option<PeerNumber> {
        self.allowed.owner(destination).map(PeerNumber)
    }

    /// By which way a peer is reached, if something can be sealed for it just now.
    pub fn ready(&self, peer: PeerNumber) -> Option<Path> {
        path(&self.peers, peer.0)
    }

    /// The longest packet that may be sealed for a peer, bytes.
    pub fn mtu(&self, peer: PeerNumber) -> u16 {
        let peer = self.peers.get(usize::from(peer.0)).and_then(Option::as_ref);
        peer.map_or(self.mtu, |peer| peer.mtu)
    }

    /// Bytes of the datagram that a packet of that length becomes.
    pub fn sealed_len(&self, peer: PeerNumber, len: usize) -> usize {
        packet::padded_len(len, self.mtu(peer)) + crate::OVERHEAD_BYTES
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
        let padded = packet::padded_len(len, self.mtu(peer));
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
    pub fn poll_transmit(&mut self, now: Instant, out: &mut [u8]) -> Option<(Way, usize)> {
        while self.timers_at < self.peers.len() * STEPS {
            let (number, step) = (self.timers_at / STEPS, self.timers_at % STEPS);
            self.timers_at += 1;
            let Some(peer) = &mut self.peers[number] else { continue };
            let len = if step < PAIRS_MAX {
                peer.handle_timeout(step, now, out)
            } else {
                peer.poll_keepalive(now, out)
            };
            if let (Some(len), Some(path)) = (len, peer.path) {
                peer.sent(len, now);
                return Some((Way { peer: peer_number(number), path }, len));
            }
        }
        if self.wants_initiation {
            for (number, peer) in self.peers.iter_mut().enumerate() {
                let Some(peer) = peer else { continue };
                if let (Some(len), Some(path)) = (peer.poll_initiation(now, out), peer.path) {
                    peer.sent(len, now);
                    return Some((Way { peer: peer_number(number), path }, len));
                }
            }
            self.wants_initiation = false;
        }
        self.poll_waiting(now, out)
    }

    fn poll_waiting(&mut self, now: Instant, out: &mut [u8]) -> Option<(Way, usize)> {
        while !self.waiting.is_empty() {
            let peers = &self.peers;
            let room = self.scratch.len() - SLACK_BYTES;
            let found = self.waiting.pop(|number| path(peers, number).is_some(), &mut self.scratch[..room]);
            let (number, len) = found?;
            let path = path(peers, number)?;
            let mut scratch = std::mem::take(&mut self.scratch);
            let sealed = self.seal(PeerNumber(number), &mut scratch, len, now, out);
            self.scratch = scratch;
            if let Some(len) = sealed {
                return Some((Way { peer: PeerNumber(number), path }, len));
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
fn is_place(source: Source) -> bool {
    source.path.endpoint().is_none_or(|address| {
        address.port() != 0 && !address.ip().is_unspecified() && !address.ip().is_multicast()
    })
}

/// By which way a peer is reached, if it has a session.
fn path<E: Engine>(peers: &[Option<Peer<E>>], number: u16) -> Option<Path> {
    let peer = peers.get(usize::from(number))?.as_ref()?;
    peer.path.filter(|_| peer.is_ready())
}

fn peer_number(number: usize) -> PeerNumber {
    PeerNumber(u16::try_from(number).expect("PEERS_MAX fits"))
}

fn ip(address: Ula) -> IpAddr {
    IpAddr::V6(address.into())
}

/// A packet to the mesh's own port at our own address.
fn is_for_mesh(own: Ula, header: &Header, packet: &[u8]) -> bool {
    let port = packet.get(header.header_len + 2..header.header_len + 4);
    header.destination == ip(own)
        && header.protocol == packet::UDP
        && header.len >= header.header_len + packet::UDP_HEADER_BYTES
        && port == Some(&mesh::PORT.to_be_bytes())
}

impl<E: Engine> Peer<E> {
    /// Gives the engine a handshake message; says whether a handshake is done by it. The answer goes to where the
    /// message came from, but the peer is not followed there yet.
    fn answer(
        &mut self,
        pair: usize,
        from: Source,
        datagram: &[u8],
        now: Instant,
        out: &mut [u8],
    ) -> Result<(Inbound, bool), Drop> {
        let pair = &mut self.pairs[pair];
        let (len, is_done) = match pair.engine.open(from.ip, datagram, out) {
            Opened::Answered { len, receiver } => {
                pair.unconfirmed = Some(receiver);
                (len, false)
            }
            Opened::Established(len) => {
                self.shaken(now);
                (len, true)
            }
            Opened::Cookie(len) => return Ok((Inbound::Reply(len), false)),
            Opened::Taken => return Ok((Inbound::Nothing, false)),
            Opened::Data(_) | Opened::Keepalive | Opened::Refused => return Err(Drop::NotAuthentic),
        };
        self.received_bytes += datagram.len() as u64;
        self.sent(len, now);
        Ok((Inbound::Reply(len), is_done))
    }
}

#[cfg(test)]
mod tests;
