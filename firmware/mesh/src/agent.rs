//! The agent: all peers, the box's own places, and the commands that come out.

use alloc::boxed::Box;
use alloc::vec::Vec;
use core::net::{IpAddr, SocketAddr};
use core::time::Duration;

use trust::map::PEERS_MAX;
use trust::peer::ENDPOINTS_MAX;
use trust::{Endpoint, List, MeshPrefix};
use wire::stun::{self, Transaction};

use crate::birthday::{self, Punch, Step};
use crate::dice::Dice;
use crate::message::Message;
use crate::nat::Nat;
use crate::own::{Ask, Own};
use crate::path::{Path, PeerId, SocketId};
use crate::peer::{Around, Commands, Hints, Peer, WhyNot};

/// Before a punch, ordinary probes get this long.
const PUNCH_AFTER: Duration = Duration::from_secs(3);
/// While nothing else is due.
const IDLE: Duration = Duration::from_secs(60);

/// What an agent starts with.
#[derive(Clone, Debug)]
pub struct Config {
    /// From the system's source of randomness; never the same twice.
    pub seed: [u8; 32],
    /// The mesh's own addresses, by which no path may lead.
    pub inside: MeshPrefix,
    /// Whether loopback addresses count as places: for tests on one host.
    pub loopback: bool,
}

/// What the data plane has to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Command {
    /// One handshake initiation, the same bytes, by each of these paths. While the last one is younger than
    /// WireGuard's REKEY_TIMEOUT of 5 s, its bytes are sent again.
    Initiate { peer: PeerId, paths: Vec<Path> },
    /// [`crate::PUNCH`] from the main sockets.
    Punch { to: SocketAddr },
    /// A packet to the peer's mesh address, port [`crate::PORT`] from the same port of the box's own, sealed in the
    /// peer's session and sent by this path: `whole`, if it must not be cut into fragments on its way.
    Message { peer: PeerId, path: Path, payload: Vec<u8>, whole: bool },
    /// [`stun::request`] from the main sockets.
    Stun { to: SocketAddr, transaction: Transaction },
    /// As many more IPv4 sockets, with ids from `first` on.
    OpenSockets { first: SocketId, count: u16 },
    /// Sockets from `first` on are closed, but for the one to keep.
    CloseSockets { first: SocketId, count: u16, keep: Option<SocketId> },
    /// Sealed packets go by this path from now on; with `None` to nowhere. Before they are sealed they have at most
    /// `mtu` bytes.
    Use { peer: PeerId, path: Option<Path>, mtu: u16 },
    /// The coordinator is to be told where this box can be reached.
    Tell { endpoints: List<Endpoint, ENDPOINTS_MAX>, nat: Nat },
}

/// How a peer is reached.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Status {
    pub path: Option<Path>,
    /// The longest packet that goes by it.
    pub mtu: u16,
    /// Of the path, smoothed.
    pub round_trip: Option<Duration>,
    /// `None` when it is reached straight.
    pub why_not: Option<WhyNot>,
    /// What the peer says of its router.
    pub nat: Nat,
}

/// See the crate's page. Times are since a start that the caller chose.
#[derive(Debug)]
pub struct Agent {
    dice: Dice,
    inside: MeshPrefix,
    loopback: bool,
    own: Own,
    tls: bool,
    peers: Vec<Option<Box<Peer>>>,
    relays: Vec<PeerId>,
    punch: Option<Punch>,
    /// A number for the next group of sockets, and those that are kept for a path.
    next_socket: u16,
    kept: Vec<SocketId>,
    commands: Commands,
    next: Duration,
}

macro_rules! around {
    ($agent:expr, $now:expr) => {
        Around {
            own: &$agent.own,
            tls: $agent.tls,
            relays: &$agent.relays,
            inside: $agent.inside,
            loopback: $agent.loopback,
            now: $now,
        }
    };
}

impl Agent {
    #[must_use]
    pub fn new(config: Config) -> Self {
        Self {
            dice: Dice::new(config.seed),
            inside: config.inside,
            loopback: config.loopback,
            own: Own::default(),
            tls: false,
            peers: Vec::new(),
            relays: Vec::new(),
            punch: None,
            next_socket: 1,
            kept: Vec::new(),
            commands: Commands::new(),
            next: Duration::ZERO,
        }
    }

    /// The host's addresses, and the port of the main sockets. Addresses of the mesh itself are passed over.
    pub fn handle_locals(&mut self, addresses: &[IpAddr], port: u16, now: Duration) {
        let outside = |ip: &IpAddr| match ip {
            IpAddr::V6(ip) => !trust::Ula::try_from(*ip).is_ok_and(|ip| self.inside.contains(&ip)),
            IpAddr::V4(_) => true,
        };
        let loopback = self.loopback;
        let addresses: Vec<_> =
            addresses.iter().copied().filter(outside).filter(|ip| loopback || !ip.is_loopback()).collect();
        self.own.handle_locals(&addresses, port, now);
        self.concluded(now);
    }

    /// What the box's router mapped to its port, by PCP, NAT-PMP or UPnP.
    pub fn handle_router(&mut self, mapped: Option<SocketAddr>, now: Duration) {
        self.own.handle_router(mapped);
        self.concluded(now);
    }

    /// The coordinator's STUN servers, at most four.
    pub fn handle_servers(&mut self, servers: &[SocketAddr], now: Duration) {
        self.own.handle_servers(servers, now);
        self.next = now;
    }

    /// Whether the coordinator's relay is connected.
    pub fn handle_tls(&mut self, connected: bool, now: Duration) {
        if connected == self.tls {
            return;
        }
        self.tls = connected;
        let around = around!(self, now);
        self.peers.iter_mut().flatten().for_each(|peer| peer.handle_tls(&around));
        self.next = now;
    }

    /// A peer, new or with other hints. One over [`PEERS_MAX`] is not taken.
    pub fn handle_peer(&mut self, id: PeerId, hints: Hints, now: Duration) {
        let at = usize::from(id.0);
        if at >= PEERS_MAX {
            return;
        }
        if self.peers.len() <= at {
            self.peers.resize_with(at + 1, || None);
        }
        let around = around!(self, now);
        match &mut self.peers[at] {
            Some(peer) => peer.handle_hints(hints, &around),
            slot @ None => *slot = Some(Box::new(Peer::new(id, hints, now))),
        }
        self.next = now;
    }

    /// It is no peer any more.
    pub fn handle_gone(&mut self, id: PeerId, now: Duration) {
        if let Some(slot) = self.peers.get_mut(usize::from(id.0)) {
            *slot = None;
        }
        self.own.forget(id);
        self.peers.iter_mut().flatten().for_each(|peer| peer.forget_relay(id));
        self.next = now;
    }

    /// A handshake with the peer was finished, or its first data came, by that path.
    pub fn handle_session(&mut self, id: PeerId, path: Path, now: Duration) {
        self.with(id, now, |peer, around| peer.handle_session(path, around));
    }

    /// There is no session with the peer any more.
    pub fn handle_session_lost(&mut self, id: PeerId, now: Duration) {
        self.with(id, now, |peer, around| peer.handle_session_lost(around.now));
    }

    /// An authentic datagram came by that path: `is_data` when there was a packet for the host in it. Cheap when
    /// nothing changes by it.
    pub fn handle_authentic(&mut self, id: PeerId, path: Path, is_data: bool, now: Duration) {
        let known = self.path(id) == Some(path);
        if known {
            let around = around!(self, now);
            if let Some(Some(peer)) = self.peers.get_mut(usize::from(id.0))
                && peer.handle_authentic(path, is_data, &around)
            {
                self.next = now;
            }
        } else {
            self.with(id, now, |peer, around| {
                peer.handle_authentic(path, is_data, around);
            });
        }
    }

    /// A control message of the peer's: the payload of its packet.
    pub fn handle_message(&mut self, id: PeerId, path: Path, payload: &[u8], now: Duration) {
        let Some(message) = Message::decode(payload) else { return };
        let mut seen = None;
        let around = around!(self, now);
        if let Some(Some(peer)) = self.peers.get_mut(usize::from(id.0)) {
            peer.handle_message(path, message, payload.len(), &around, &mut seen, &mut self.commands);
        }
        if let Some(seen) = seen {
            self.own.handle_seen(id, seen, now);
        }
        self.next = now;
    }

    /// A datagram that [`stun::is_stun`] says is one.
    pub fn handle_stun(&mut self, from: SocketAddr, datagram: &[u8], now: Duration) {
        if let Some((transaction, mapped)) = stun::read_answer(datagram) {
            self.own.handle_answer(from, transaction, mapped, now);
            self.concluded(now);
        }
    }

    /// When [`Self::handle_timeout`] is to be called.
    #[must_use]
    pub const fn poll_timeout(&self) -> Duration {
        self.next
    }

    /// Does what is due.
    pub fn handle_timeout(&mut self, now: Duration) {
        if now < self.next {
            return;
        }
        while let Some(Ask { to, transaction }) = self.own.poll_ask(&mut self.dice, now) {
            self.commands.push_back(Command::Stun { to, transaction });
        }
        self.concluded(now);
        self.find_relays();
        for at in 0..self.peers.len() {
            let around = around!(self, now);
            let open =
                self.punch.as_ref().is_some_and(|punch| usize::from(punch.peer.0) == at && punch.is_open());
            let Some(peer) = &mut self.peers[at] else { continue };
            peer.handle_timeout(&around, &mut self.dice, open, &mut self.commands);
        }
        self.punch(now);
        self.let_go();
        for peer in self.peers.iter_mut().flatten() {
            self.commands.extend(peer.poll_use());
        }
        self.next = self.soonest(now);
    }

    /// The next thing that has to be done. To be called until there is none.
    pub fn poll_command(&mut self) -> Option<Command> {
        self.commands.pop_front()
    }

    /// By which way packets go to the peer.
    #[must_use]
    pub fn path(&self, id: PeerId) -> Option<Path> {
        self.peers.get(usize::from(id.0))?.as_ref()?.current()
    }

    #[must_use]
    pub fn status(&self, id: PeerId) -> Option<Status> {
        let peer = self.peers.get(usize::from(id.0))?.as_ref()?;
        Some(Status {
            path: peer.current(),
            mtu: peer.mtu(),
            round_trip: peer.round_trip(),
            why_not: peer.why_not(&around!(self, Duration::ZERO)),
            nat: peer.nat(),
        })
    }

    /// Where this box can be reached, as it believes, and what its router does.
    #[must_use]
    pub fn own(&self) -> (&[SocketAddr], Nat) {
        (self.own.endpoints(), self.own.nat())
    }

    fn with(&mut self, id: PeerId, now: Duration, act: impl FnOnce(&mut Peer, &Around<'_>)) {
        let around = around!(self, now);
        let at = usize::from(id.0);
        let Some(Some(peer)) = self.peers.get_mut(at) else { return };
        act(peer, &around);
        self.next = now;
    }

    fn concluded(&mut self, now: Duration) {
        if self.own.conclude(now) {
            let around = around!(self, now);
            self.peers.iter_mut().flatten().for_each(|peer| peer.handle_moved(&around));
            let (endpoints, nat) = (self.own.list(), self.own.nat());
            self.commands.push_back(Command::Tell { endpoints, nat });
            self.next = now;
        }
    }

    fn find_relays(&mut self) {
        let straight = self.peers.iter().enumerate().filter_map(|(at, peer)| {
            let peer = peer.as_ref().filter(|peer| peer.is_well())?;
            Some((peer.round_trip()?, PeerId(u16::try_from(at).ok()?)))
        });
        let mut straight: Vec<_> = straight.collect();
        straight.sort_unstable();
        self.relays = straight.into_iter().map(|(_, id)| id).collect();
    }

    /// Begins a punch where it is due, and takes the one that runs a step on.
    fn punch(&mut self, now: Duration) {
        if self.punch.is_none() {
            self.begin_punch(now);
        }
        let Some(punch) = &mut self.punch else { return };
        let at = usize::from(punch.peer.0);
        let done = self.peers.get(at).is_none_or(|peer| peer.as_ref().is_none_or(|peer| peer.is_direct()));
        match punch.handle_timeout(done, &mut self.dice, now, &mut self.commands) {
            Step::Running => {}
            Step::Opened => {
                if let Some(Some(peer)) = self.peers.get_mut(at) {
                    peer.tell_open(now);
                }
            }
            Step::Ended(first) => {
                let keep = self.peers.get(at).and_then(|peer| peer.as_ref()?.socket());
                self.punch = None;
                if let Some(first) = first {
                    self.close(first, birthday::SOCKETS, keep);
                    self.kept.extend(keep);
                }
            }
        }
    }

    fn begin_punch(&mut self, now: Duration) {
        let own = self.own.nat();
        for at in 0..self.peers.len() {
            let Some(peer) = &mut self.peers[at] else { continue };
            let rested = peer.punched.is_none_or(|(last, tries)| now >= last + birthday::rest(tries));
            let punched = Some((now, peer.punched.map_or(0, |(_, tries)| tries).saturating_add(1)));
            let waited = peer.talking_for(now).is_some_and(|waited| waited >= PUNCH_AFTER);
            let wanted = waited && !peer.is_direct() && Nat::birthday(own, peer.nat());
            let Some(outside) = peer.outside().filter(|_| wanted) else { continue };
            let id = PeerId(u16::try_from(at).unwrap_or(u16::MAX));
            if own == Nat::Hard && rested {
                peer.punched = punched;
                let first = SocketId(self.next_socket);
                // Far from wrapping into a socket that is kept: 250 punches.
                self.next_socket = self
                    .next_socket
                    .checked_add(birthday::SOCKETS)
                    .filter(|next| *next < u16::MAX - birthday::SOCKETS)
                    .unwrap_or(1);
                self.commands.push_back(Command::OpenSockets { first, count: birthday::SOCKETS });
                self.punch = Some(Punch::hard(id, outside, first, now));
                return;
            }
            if own == Nat::Easy && rested && peer.take_sockets_open() {
                peer.punched = punched;
                self.punch = Some(Punch::easy(id, outside.ip(), now));
                return;
            }
        }
    }

    /// Closes sockets that no path needs any more.
    fn let_go(&mut self) {
        let used: Vec<_> = self.peers.iter().flatten().filter_map(|peer| peer.socket()).collect();
        let (kept, gone): (Vec<_>, Vec<_>) =
            self.kept.iter().copied().partition(|socket| used.contains(socket));
        self.kept = kept;
        for socket in gone {
            self.close(socket, 1, None);
        }
    }

    fn close(&mut self, first: SocketId, count: u16, keep: Option<SocketId>) {
        let range = first.0..first.0.saturating_add(count);
        self.commands.push_back(Command::CloseSockets { first, count, keep });
        for peer in self.peers.iter_mut().flatten() {
            peer.forget_sockets(|socket| range.contains(&socket.0) && Some(socket) != keep);
        }
    }

    fn soonest(&self, now: Duration) -> Duration {
        let peers = self.peers.iter().flatten().map(|peer| peer.next());
        let punch = self.punch.iter().map(Punch::next);
        // Whether a punch is due depends on time alone once probes have ended.
        let waits =
            self.peers.iter().flatten().any(|peer| {
                peer.is_talking() && !peer.is_direct() && Nat::birthday(self.own.nat(), peer.nat())
            });
        let soon = waits.then_some(now + Duration::from_secs(1));
        let all = peers.chain(punch).chain(self.own.next()).chain(soon);
        all.min().unwrap_or(now + IDLE).min(now + IDLE).max(now)
    }
}
