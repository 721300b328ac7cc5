//! The thread: waits for the device, the sockets, the clock and commands, and moves what is there.
//!
//! It reads a large packet, cuts it, encrypts each piece straight into its place among the datagrams for the same
//! destination, and sends those with one call; and the other way round. Buffers are made at the start and never
//! again. One bad packet ends nothing; only a device that is gone does.

mod boxes;
mod eagerness;
mod flow;
mod handle;
mod sought;

use std::io;
use std::os::fd::AsRawFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, sync_channel};
use std::time::{Duration, Instant, SystemTime};

use mesh::SocketId;
use mio::unix::SourceFd;
use mio::{Events, Interest, Poll, Token, Waker};

use crate::exchange::{Exchange, MeshPeer, PeerConfig, PeerError};
use crate::key::{PrivateKey, PublicKey};
use crate::link::{Batches, Link, LinkError, Received};
use crate::tun::Tun;

use boxes::Boxes;
pub use boxes::{MeshConfig, Told};
use eagerness::Eagerness;
use flow::{Device, Flow};
pub use handle::{Command, Handle, HandleError, Snapshot, Surroundings};

/// Commands that wait; whoever gives more waits too.
const COMMANDS_MAX: usize = 64;

/// Calls to receive from one socket before the device has its turn.
const RECEIVES_PER_TURN: usize = 8;

const DEVICE: Token = Token(0);
const V4: Token = Token(1);
const V6: Token = Token(2);
const WAKER: Token = Token(3);
const LINE: Token = Token(4);

/// 2026-01-01, before this code was written: a clock that shows less is not set.
const CLOCK_FLOOR: Duration = Duration::from_secs(1_767_225_600);

/// Whether the system's clock shows a time at which this code was there: else [`Plane::new`] refuses to start.
pub fn clock_is_set() -> bool {
    SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default() >= CLOCK_FLOOR
}

/// What the thread starts with.
#[derive(Debug)]
pub struct PlaneConfig {
    pub private_key: PrivateKey,
    /// Any port when it is `None` or 0.
    pub listen_port: Option<u16>,
    /// Of the device, bytes.
    pub mtu: u16,
    pub peers: Vec<PeerConfig>,
    /// For a box of a mesh.
    pub mesh: Option<MeshConfig>,
}

/// Why it doesn't run, or doesn't run on.
#[derive(Debug, thiserror::Error)]
pub enum PlaneError {
    #[error("the clock is not set: peers would refuse all later handshakes")]
    Clock,
    #[error(transparent)]
    Link(#[from] LinkError),
    #[error("cannot add a peer")]
    Peer(#[from] PeerError),
    #[error("cannot wait for sockets")]
    Poll(#[source] io::Error),
    #[error("the interface is gone")]
    DeviceGone(#[source] io::Error),
}

/// What went through, and what was lost on this side.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Traffic {
    /// Packets from the device, as they were sent.
    pub packets_out: u64,
    /// Packets for the device, as they were received.
    pub packets_in: u64,
    /// Packets from the device that have no peer, or are none.
    pub unroutable: u64,
    /// Packets of boxes that they may not send here.
    pub filtered: u64,
    /// Packets from the device that are too long for their path, and not to be cut.
    pub too_long: u64,
    /// Frames that the device didn't take.
    pub unwritten: u64,
    /// Datagrams that could not be sent.
    pub unsent: u64,
}

/// The device, the sockets and all state; [`Plane::run`] is the thread.
#[derive(Debug)]
pub struct Plane {
    poll: Poll,
    commands: Receiver<Command>,
    /// Set by whoever wants it to end.
    stop: Arc<AtomicBool>,
    flow: Flow,
    received: Received,
}

/// What may have more to give.
#[derive(Clone, Copy, Debug, Default)]
struct Readable {
    device: bool,
    v4: bool,
    v6: bool,
    /// One of the further sockets.
    extra: bool,
    /// The coordinator's line.
    line: bool,
}

impl Plane {
    /// Opens the sockets and adds the peers.
    ///
    /// # Errors
    /// When the clock is not set, the port is taken, or peers don't fit.
    pub fn new(config: PlaneConfig, tun: Tun) -> Result<(Plane, Handle), PlaneError> {
        if !clock_is_set() {
            return Err(PlaneError::Clock);
        }
        let now = Instant::now();
        let mut exchange = Exchange::new(config.private_key, config.mtu, now);
        let mut link = Link::open(config.listen_port.unwrap_or(0))?;
        let poll = Poll::new().map_err(PlaneError::Poll)?;
        let register = || {
            poll.registry().register(&mut SourceFd(&tun.as_raw_fd()), DEVICE, Interest::READABLE)?;
            link.register(poll.registry(), V4, V6)?;
            Waker::new(poll.registry(), WAKER)
        };
        let waker = { register }().map_err(PlaneError::Poll)?;
        let (sender, commands) = sync_channel(COMMANDS_MAX);
        let stop = Arc::new(AtomicBool::new(false));
        let handle = Handle::new(sender, Arc::new(waker), Arc::clone(&stop), link.port());
        exchange.set_mesh_address(config.mesh.as_ref().map(|mesh| mesh.address));
        let boxes = config.mesh.map(|mesh| Boxes::new(mesh, poll.registry(), LINE));
        let flow = Flow {
            exchange,
            device: Device::new(tun),
            link,
            batches: Batches::default(),
            traffic: Traffic::default(),
            boxes: boxes.transpose().map_err(PlaneError::Poll)?,
            answers_left: flow::ANSWERS_MAX,
        };
        let mut plane = Plane { poll, commands, stop, flow, received: Received::default() };
        for peer in config.peers {
            plane.add_peer(peer, now)?;
        }
        Ok((plane, handle))
    }

    /// Runs until it is told to stop.
    ///
    /// # Errors
    /// When the device is gone.
    pub fn run(mut self) -> Result<(), PlaneError> {
        let mut events = Events::with_capacity(16);
        let mut eagerness = Eagerness::new(Instant::now());
        // Whatever came before the first wait gave its sign already.
        let mut readable = Readable { device: true, v4: true, v6: true, extra: true, line: true };
        loop {
            let wait = if readable.any() {
                Duration::ZERO
            } else {
                self.flow.poll_timeout().saturating_duration_since(Instant::now())
            };
            match self.poll.poll(&mut events, Some(wait)) {
                Err(error) if error.kind() != io::ErrorKind::Interrupted => {
                    return Err(PlaneError::Poll(error));
                }
                _ => {}
            }
            for event in &events {
                match event.token() {
                    DEVICE => readable.device = true,
                    V4 => readable.v4 = true,
                    V6 => readable.v6 = true,
                    LINE => readable.line = true,
                    WAKER => {
                        if self.handle_commands() {
                            return Ok(());
                        }
                    }
                    token => {
                        self.flow.link.extra_readable(token);
                        readable.extra = true;
                    }
                }
                if event.is_error() && event.token() != DEVICE {
                    [self.flow.link.v4(), self.flow.link.v6()]
                        .into_iter()
                        .flatten()
                        .for_each(crate::link::Socket::drain_errors);
                }
            }
            if readable.v4 {
                readable.v4 = self.take_datagrams(V4);
            }
            if readable.v6 {
                readable.v6 = self.take_datagrams(V6);
            }
            if readable.extra {
                readable.extra = self.take_extra();
            }
            if readable.line {
                readable.line = self.flow.take_parcels();
            }
            if readable.device {
                readable.device = self.flow.take_frames()?;
            }
            self.flow.handle_timeout(self.poll.registry());
            if let Some(boxes) = &self.flow.boxes {
                boxes.outgoing.note_sent(self.flow.link.take_sent());
            }
            let Traffic { packets_in, packets_out, .. } = self.flow.traffic;
            eagerness.note(packets_in + packets_out, Instant::now());
        }
    }

    /// From a socket to the device; says whether there may be more.
    fn take_datagrams(&mut self, token: Token) -> bool {
        for _ in 0..RECEIVES_PER_TURN {
            let link = &self.flow.link;
            let Some(socket) = (if token == V4 { link.v4() } else { link.v6() }) else { return false };
            let more = match socket.receive(&mut self.received) {
                Ok(more) => more,
                // An answer of the network to something that was sent; what was received comes next.
                Err(error) => {
                    tracing::trace!(%error, "receiving");
                    socket.drain_errors();
                    true
                }
            };
            self.flow.take(SocketId::MAIN, &self.received);
            if !more {
                return false;
            }
        }
        true
    }

    /// The same for the further sockets.
    fn take_extra(&mut self) -> bool {
        for _ in 0..RECEIVES_PER_TURN {
            let Some(socket) = self.flow.link.receive_extra(&mut self.received) else { return false };
            self.flow.take(socket, &self.received);
        }
        true
    }

    /// `true` when it is told to stop, or nobody is left to tell it so.
    fn handle_commands(&mut self) -> bool {
        use std::sync::mpsc::TryRecvError;
        loop {
            if self.stop.load(Ordering::Acquire) {
                return true;
            }
            let command = match self.commands.try_recv() {
                Ok(command) => command,
                Err(TryRecvError::Empty) => return false,
                Err(TryRecvError::Disconnected) => return true,
            };
            let now = Instant::now();
            let (result, reply) = match command {
                Command::Add(peer, reply) => (self.add_peer(*peer, now), reply),
                Command::Update(peer, reply) => (self.update_peer(*peer, now), reply),
                Command::Remove(key, reply) => (self.remove_peer(key, now), reply),
                Command::SetKey(key, reply) => (self.flow.exchange.set_key(key), reply),
                Command::ReplaceKey { old, new, reply } => (self.flow.exchange.replace_key(old, new), reply),
                Command::Surroundings(news, reply) => {
                    let port = self.flow.link.port();
                    if let Some(boxes) = &mut self.flow.boxes {
                        boxes.handle_surroundings(news, port, now);
                    }
                    (Ok(()), reply)
                }
                Command::Look(reply) => {
                    // Whoever asked may have gone.
                    let _ = reply.send(self.snapshot(now));
                    continue;
                }
            };
            let _ = reply.send(result);
        }
    }

    fn add_peer(&mut self, peer: PeerConfig, now: Instant) -> Result<(), PeerError> {
        self.may_be(&peer)?;
        let (key, mesh) = (peer.public_key, peer.mesh.clone());
        self.flow.exchange.add_peer(peer, now)?;
        self.tell_agent(key, mesh, now);
        Ok(())
    }

    fn update_peer(&mut self, peer: PeerConfig, now: Instant) -> Result<(), PeerError> {
        self.may_be(&peer)?;
        let (key, mesh) = (peer.public_key, peer.mesh.clone());
        self.flow.exchange.update_peer(peer)?;
        self.tell_agent(key, mesh, now);
        Ok(())
    }

    fn remove_peer(&mut self, key: PublicKey, now: Instant) -> Result<(), PeerError> {
        let number = self.flow.exchange.peer(key);
        self.flow.exchange.remove_peer(key)?;
        if let (Some(boxes), Some(number)) = (&mut self.flow.boxes, number) {
            boxes.handle_gone(number, now);
        }
        Ok(())
    }

    fn may_be(&self, peer: &PeerConfig) -> Result<(), PeerError> {
        if peer.mesh.is_some() && self.flow.boxes.is_none() { Err(PeerError::NoMesh) } else { Ok(()) }
    }

    fn tell_agent(&mut self, key: PublicKey, mesh: Option<MeshPeer>, now: Instant) {
        let (Some(boxes), Some(number)) = (&mut self.flow.boxes, self.flow.exchange.peer(key)) else {
            return;
        };
        match mesh {
            Some(mesh) => boxes.handle_peer(number, mesh.hints, now),
            None => boxes.handle_gone(number, now),
        }
    }

    fn snapshot(&self, now: Instant) -> Snapshot {
        let Flow { exchange, link, traffic, boxes, .. } = &self.flow;
        let mut peers = exchange.stats(now);
        for peer in &mut peers {
            let number = exchange.peer(peer.public_key);
            peer.mesh = number.and_then(|number| boxes.as_ref()?.status(number));
        }
        let traffic = Traffic { unsent: link.unsent(), ..*traffic };
        Snapshot { peers, drops: exchange.drops(), traffic }
    }
}

impl Readable {
    fn any(self) -> bool {
        self.device || self.v4 || self.v6 || self.extra || self.line
    }
}
