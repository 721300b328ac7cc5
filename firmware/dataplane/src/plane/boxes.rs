//! The mesh's agent, and what it wants done: it decides by which path a box is reached, here it is done.
//!
//! A datagram for a box goes straight, inside of the tunnel to another box, or to whoever keeps the coordinator's line.
//! This box passes datagrams on between two others that it reaches straight, within their budgets; never further, so
//! that nothing can go round in circles.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::os::unix::net::UnixDatagram as StdDatagram;
use std::time::{Duration, Instant};

use mesh::message::What;
use mesh::{Agent, Command, ENDPOINTS_MAX, Endpoint, Hints, List, Nat, Path, PeerId, Ula, stun};
use mio::net::UnixDatagram;
use mio::{Interest, Registry, Token};
use tokio::sync::{mpsc, watch};

use super::handle::Surroundings;
use super::sought::Sought;
use crate::engine::Boring;
use crate::exchange::{Exchange, Inbound, PeerNumber, Sign, Source, Way};
use crate::filter::{self, Filter};
use crate::link::{Batches, Hop, Link};
use crate::outgoing::Outgoing;
use crate::packet::Header;
use crate::relayed::{self, Budgets, HEADERS_BYTES, RELAYED_AT};
use crate::{DATAGRAM_BYTES_MAX, SPARE_BYTES, vnet};

/// Before each datagram on the pair of sockets: the mesh address of the box that it is for, or from.
const PARCEL_HEAD_BYTES: usize = 16;
/// Around it on the line: its head, a record of TLS 1.3 (RFC 8446, 5.2), TCP with timestamps and IPv6.
const PARCEL_LINE_BYTES: usize = PARCEL_HEAD_BYTES + 22 + 32 + 40;

/// What makes a box one of the mesh.
#[derive(Debug)]
pub struct MeshConfig {
    pub agent: mesh::Config,
    /// This box's own.
    pub address: Ula,
    /// One half of a pair of datagram sockets, whose other half keeps the coordinator's line. Each datagram begins with
    /// 16 bytes of mesh address: of the box it is for, or from.
    pub tls: StdDatagram,
    /// What other boxes may send to the host.
    pub filter: Filter,
    /// Gets where this box can be reached, whenever that changes.
    pub told: watch::Sender<Option<Told>>,
    /// Gets addresses of the mesh that packets are for, and that no peer has or one without a session; each now and then.
    pub sought: mpsc::Sender<Ula>,
    /// Gets what this box sends, and what of it is passed on between others.
    pub outgoing: Outgoing,
}

/// Where this box can be reached, for the coordinator.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Told {
    pub endpoints: List<Endpoint, ENDPOINTS_MAX>,
    pub nat: Nat,
}

/// What is done with, for one turn of the thread.
#[derive(Debug)]
pub(super) struct Tools<'a> {
    pub(super) exchange: &'a mut Exchange<Boring>,
    pub(super) link: &'a mut Link,
    pub(super) batches: &'a mut Batches,
    pub(super) now: Instant,
}

#[derive(Debug)]
pub(super) struct Boxes {
    agent: Agent,
    /// The agent counts time from here.
    started: Instant,
    address: Ula,
    tls: UnixDatagram,
    told: watch::Sender<Option<Told>>,
    sought: Sought,
    filter: Filter,
    pub(super) outgoing: Outgoing,
    budgets: Budgets,
    /// Packets of the agent's before they are sealed.
    packet: Box<[u8]>,
    /// A sealed datagram on its way through another, with room before it.
    frame: Box<[u8]>,
    /// What was in a datagram that came inside of another, with room for the device's header.
    pub(super) inner: Box<[u8]>,
}

impl Boxes {
    pub(super) fn new(config: MeshConfig, registry: &Registry, token: Token) -> io::Result<Boxes> {
        config.tls.set_nonblocking(true)?;
        let mut tls = UnixDatagram::from_std(config.tls);
        registry.register(&mut tls, token, Interest::READABLE)?;
        let sought = Sought::new(config.agent.inside, config.sought);
        let room = || vec![0; RELAYED_AT + DATAGRAM_BYTES_MAX + SPARE_BYTES].into();
        Ok(Boxes {
            agent: Agent::new(config.agent),
            started: Instant::now(),
            address: config.address,
            tls,
            told: config.told,
            sought,
            filter: config.filter,
            outgoing: config.outgoing.clone(),
            budgets: Budgets::new(config.outgoing),
            packet: room(),
            frame: room(),
            inner: vec![0; vnet::LEN + DATAGRAM_BYTES_MAX + SPARE_BYTES].into(),
        })
    }

    /// Whether a peer may send that packet to the host.
    pub(super) fn lets_in(&self, is_box: bool, packet: &[u8]) -> bool {
        let from = if is_box { filter::From::Box } else { filter::From::Viewer };
        self.filter.lets_in(from, packet)
    }

    /// A packet of the host's has no peer, or one without a session.
    pub(super) fn handle_unreached(&mut self, destination: IpAddr, now: Instant) {
        self.sought.note(destination, now);
    }

    pub(super) fn poll_timeout(&self) -> Instant {
        self.started + self.agent.poll_timeout()
    }

    pub(super) fn handle_surroundings(&mut self, news: Surroundings, port: u16, now: Instant) {
        let now = self.at(now);
        match news {
            Surroundings::Locals(addresses) => self.agent.handle_locals(&addresses, port, now),
            Surroundings::Router(mapped) => self.agent.handle_router(mapped, now),
            Surroundings::Servers(servers) => self.agent.handle_servers(&servers, now),
            Surroundings::Tls(connected) => self.agent.handle_tls(connected, now),
        }
    }

    pub(super) fn handle_peer(&mut self, peer: PeerNumber, hints: Hints, now: Instant) {
        let now = self.at(now);
        self.agent.handle_peer(peer.into(), hints, now);
    }

    pub(super) fn handle_gone(&mut self, peer: PeerNumber, now: Instant) {
        let now = self.at(now);
        self.agent.handle_gone(peer.into(), now);
    }

    pub(super) fn status(&self, peer: PeerNumber) -> Option<mesh::Status> {
        self.agent.status(peer.into())
    }

    /// Whether a datagram was for the agent: an answer of a server to where we are.
    pub(super) fn takes(&mut self, from: SocketAddr, datagram: &[u8], now: Instant) -> bool {
        // A success response; no message of WireGuard's begins so.
        let is_stun = datagram.starts_with(&[1, 1]) && stun::is_stun(datagram);
        if is_stun {
            let now = self.at(now);
            self.agent.handle_stun(from, datagram, now);
        }
        is_stun
    }

    /// Tells the agent of a peer's sign of life.
    pub(super) fn note(&mut self, sign: Option<Sign>, inbound: &Inbound, path: Path, now: Instant) {
        let Some(Sign { peer, is_new }) = sign else { return };
        let now = self.at(now);
        if is_new {
            self.agent.handle_session(peer.into(), path, now);
        }
        self.agent.handle_authentic(peer.into(), path, matches!(inbound, Inbound::Deliver(_)), now);
    }

    /// Takes a packet for the mesh itself, which came by `path`. Says whether there is a packet for the device in
    /// [`Boxes::inner`] then.
    pub(super) fn handle_packet(
        &mut self,
        tools: &mut Tools<'_>,
        from: PeerNumber,
        path: Path,
        packet: &mut [u8],
        ip: &Header,
    ) -> Option<Header> {
        let (what, payload) = relayed::read(packet, ip)?;
        match what {
            What::Control => {
                let now = self.at(tools.now);
                self.agent.handle_message(from.into(), path, payload, now);
                None
            }
            // What was relayed itself is not relayed further.
            What::Forward | What::Forwarded if !path.is_direct() => None,
            What::Forward => {
                let (named, datagram) = relayed::relayed(payload)?;
                let len = datagram.len();
                self.pass_on(tools, from, named, packet, len);
                None
            }
            What::Forwarded => {
                let (named, datagram) = relayed::relayed(payload)?;
                self.open_relayed(tools, from, named, datagram)
            }
        }
    }

    /// From one box that is reached straight to another: the packet is made anew where it lies.
    fn pass_on(
        &mut self,
        tools: &mut Tools<'_>,
        from: PeerNumber,
        named: Ula,
        packet: &mut [u8],
        len: usize,
    ) {
        let (Some(source), Some(to)) = (tools.exchange.box_address(from), tools.exchange.box_at(named))
        else {
            return;
        };
        let Some(hop) = straight(tools.exchange, to).filter(|_| to != from) else { return };
        if !self.budgets.take(from, to, len, tools.now) {
            tracing::trace!(bytes = len, "over a budget");
            return;
        }
        let written = relayed::write_relayed(packet, self.address, named, What::Forwarded, source, len);
        if written.is_some() {
            seal_to(tools, to, hop, packet, RELAYED_AT + len);
        }
    }

    /// A datagram of the box `named`, as the relay says; whose it is shows in its keys.
    fn open_relayed(
        &mut self,
        tools: &mut Tools<'_>,
        relay: PeerNumber,
        named: Ula,
        datagram: &[u8],
    ) -> Option<Header> {
        let source = Source { path: Path::Box(relay.into()), ip: IpAddr::V6(named.into()) };
        let out = &mut self.inner[vnet::LEN..];
        let inbound = tools.exchange.handle_datagram(source, datagram, tools.now, out);
        let sign = tools.exchange.sign();
        self.note(sign, &inbound, source.path, tools.now);
        match inbound {
            Inbound::Deliver(ip) => return Some(ip),
            Inbound::Reply(len) => {
                let answer = &self.inner[vnet::LEN..vnet::LEN + len];
                self.frame[RELAYED_AT..RELAYED_AT + len].copy_from_slice(answer);
                self.send_frame(tools, relay, named, len);
            }
            Inbound::Mesh(ip) => {
                let packet = &self.inner[vnet::LEN..];
                if let (Some((What::Control, payload)), Some(sign)) = (relayed::read(packet, &ip), sign) {
                    let now = tools.now.duration_since(self.started);
                    self.agent.handle_message(sign.peer.into(), source.path, payload, now);
                }
            }
            Inbound::Nothing | Inbound::Dropped(_) => {}
        }
        None
    }

    /// Takes a datagram off the coordinator's line; gives the box that it says to come from.
    pub(super) fn receive_parcel<'a>(&self, room: &'a mut [u8]) -> io::Result<Option<(Ula, &'a [u8])>> {
        let len = self.tls.recv(room)?;
        let (head, datagram) = room[..len].split_at_checked(PARCEL_HEAD_BYTES).unwrap_or((&[], &[]));
        let from = head.try_into().ok().and_then(relayed::address);
        Ok(from.map(|from| (from, datagram)))
    }

    /// Puts a datagram on the coordinator's line. One that doesn't fit is lost, as on any line.
    pub(super) fn send_parcel(&mut self, to: Ula, datagram: &[u8]) {
        self.frame[RELAYED_AT..RELAYED_AT + datagram.len()].copy_from_slice(datagram);
        self.send_framed_parcel(to, datagram.len());
    }

    fn send_framed_parcel(&mut self, to: Ula, len: usize) {
        let at = RELAYED_AT - PARCEL_HEAD_BYTES;
        self.frame[at..RELAYED_AT].copy_from_slice(&relayed::octets(to));
        match self.tls.send(&self.frame[at..RELAYED_AT + len]) {
            Ok(_) => self.outgoing.note_sent((len + PARCEL_LINE_BYTES) as u64),
            Err(error) => tracing::trace!(%error, "the line takes it not"),
        }
    }

    /// Seals a packet of the host's for a box that is not reached straight, and sends it. `room` is as
    /// [`Exchange::seal`] wants it.
    pub(super) fn seal(&mut self, tools: &mut Tools<'_>, way: Way, room: &mut [u8], len: usize) {
        let Some(to) = tools.exchange.box_address(way.peer) else { return };
        let out = &mut self.frame[RELAYED_AT..];
        let Some(len) = tools.exchange.seal(way.peer, room, len, tools.now, out) else { return };
        match way.path {
            Path::Direct { socket, to } => {
                tools.link.send(Hop { socket, to }, &self.frame[RELAYED_AT..RELAYED_AT + len], len);
            }
            Path::Box(relay) => self.send_frame(tools, relay.into(), to, len),
            Path::Tls => self.send_framed_parcel(to, len),
        }
    }

    /// Sends a sealed message.
    pub(super) fn send(&mut self, tools: &mut Tools<'_>, way: Way, message: &[u8]) {
        let Some(to) = tools.exchange.box_address(way.peer) else { return };
        let len = message.len();
        match way.path {
            Path::Direct { socket, to } => tools.link.send(Hop { socket, to }, message, len),
            Path::Box(relay) => {
                self.frame[RELAYED_AT..RELAYED_AT + len].copy_from_slice(message);
                self.send_frame(tools, relay.into(), to, len);
            }
            Path::Tls => self.send_parcel(to, message),
        }
    }

    /// Sends the datagram in [`Boxes::frame`] to `to`, through another box.
    fn send_frame(&mut self, tools: &mut Tools<'_>, relay: PeerNumber, to: Ula, len: usize) {
        let (Some(hop), Some(address)) = (straight(tools.exchange, relay), tools.exchange.box_address(relay))
        else {
            return;
        };
        let frame = &mut self.frame;
        if relayed::write_relayed(frame, self.address, address, What::Forward, to, len).is_some() {
            seal_to(tools, relay, hop, frame, RELAYED_AT + len);
        }
    }

    /// Lets the agent do what is due, and does what it says.
    pub(super) fn handle_timeout(&mut self, tools: &mut Tools<'_>, registry: &Registry) {
        let now = self.at(tools.now);
        while let Some(lost) = tools.exchange.poll_lost() {
            self.agent.handle_session_lost(lost.into(), now);
        }
        self.agent.handle_timeout(now);
        while let Some(command) = self.agent.poll_command() {
            self.obey(command, tools, registry);
        }
    }

    fn obey(&mut self, command: Command, tools: &mut Tools<'_>, registry: &Registry) {
        match command {
            Command::Initiate { peer, paths } => self.initiate(tools, peer, &paths),
            Command::Punch { to } => tools.link.send(to, &mesh::PUNCH, mesh::PUNCH.len()),
            Command::Message { peer, path: Path::Direct { socket, to }, payload, whole: true } => {
                let hop = Hop { socket, to };
                self.probe(tools, peer.into(), hop, &payload);
            }
            Command::Message { peer, path, payload, .. } => self.say(tools, peer.into(), path, &payload),
            Command::Stun { to, transaction } => {
                let request = stun::request(transaction);
                tools.link.send(to, &request, request.len());
            }
            Command::OpenSockets { first, count } => tools.link.open_extra(registry, first, count),
            Command::CloseSockets { first, count, keep } => {
                // What waits in a batch shall leave by its own socket.
                tools.batches.flush(tools.link);
                tools.link.close_extra(registry, first, count, keep);
            }
            Command::Use { peer, path, mtu } => {
                tracing::debug!(peer = peer.0, path = %Shown(path), mtu, "another path");
                tools.exchange.set_path(peer.into(), path, mtu);
            }
            Command::Tell { endpoints, nat } => drop(self.told.send_replace(Some(Told { endpoints, nat }))),
        }
    }

    fn initiate(&mut self, tools: &mut Tools<'_>, peer: PeerId, paths: &[Path]) {
        let mut message = [0; crate::engine::INITIATION_BYTES];
        let Some(len) = tools.exchange.initiate(peer.into(), tools.now, &mut message) else { return };
        for path in paths {
            self.send(tools, Way { peer: peer.into(), path: *path }, &message[..len]);
            tools.exchange.sent(peer.into(), len, tools.now);
        }
    }

    /// Puts a message of the agent's where packets wait to be sealed; gives the packet's length.
    fn write(&mut self, tools: &Tools<'_>, peer: PeerNumber, payload: &[u8]) -> Option<usize> {
        let to = tools.exchange.box_address(peer)?;
        let len = HEADERS_BYTES + payload.len();
        relayed::write_headers(&mut self.packet, self.address, to, payload.len())?;
        self.packet[HEADERS_BYTES..len].copy_from_slice(payload);
        Some(len)
    }

    /// Sends a message of the agent's that must arrive in one piece, or not at all.
    fn probe(&mut self, tools: &mut Tools<'_>, peer: PeerNumber, hop: Hop, payload: &[u8]) {
        let Some(len) = self.write(tools, peer, payload) else { return };
        let out = &mut self.frame[RELAYED_AT..];
        if let Some(len) = tools.exchange.seal(peer, &mut self.packet, len, tools.now, out) {
            tools.link.send_whole(hop, &self.frame[RELAYED_AT..RELAYED_AT + len]);
        }
    }

    /// Seals a message of the agent's and sends it by a path that need not be the one in use.
    fn say(&mut self, tools: &mut Tools<'_>, peer: PeerNumber, path: Path, payload: &[u8]) {
        let Some(len) = self.write(tools, peer, payload) else { return };
        let mut packet = std::mem::take(&mut self.packet);
        self.seal(tools, Way { peer, path }, &mut packet, len);
        self.packet = packet;
    }

    fn at(&self, now: Instant) -> Duration {
        now.duration_since(self.started)
    }
}

/// The way to a peer that needs no other box.
fn straight(exchange: &Exchange<Boring>, peer: PeerNumber) -> Option<Hop> {
    match exchange.ready(peer)? {
        Path::Direct { socket, to } => Some(Hop { socket, to }),
        Path::Box(_) | Path::Tls => None,
    }
}

fn seal_to(tools: &mut Tools<'_>, peer: PeerNumber, hop: Hop, packet: &mut [u8], len: usize) {
    let Tools { exchange, link, batches, now } = tools;
    let sealed_len = exchange.sealed_len(peer, len);
    batches.write(link, hop, sealed_len, |out| exchange.seal(peer, packet, len, *now, out));
}

struct Shown(Option<Path>);

impl std::fmt::Display for Shown {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match &self.0 {
            Some(path) => path.fmt(f),
            None => f.write_str("none"),
        }
    }
}
