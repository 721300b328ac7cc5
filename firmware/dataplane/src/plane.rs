//! The thread: waits for the device, the sockets, the clock and commands, and moves what is there.
//!
//! It reads a large packet, cuts it, encrypts each piece straight into its place among the datagrams for the same
//! destination, and sends those with one call; and the other way round. Buffers are made at the start and never
//! again. One bad packet ends nothing; only a device that is gone does.

mod handle;

use std::io;
use std::os::fd::AsRawFd;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, sync_channel};
use std::time::{Duration, Instant, SystemTime};

use mio::unix::SourceFd;
use mio::{Events, Interest, Poll, Token, Waker};
use rustix::io::Errno;

use crate::coalesce::Coalescer;
use crate::engine::Boring;
use crate::exchange::{Exchange, Inbound, PeerConfig, PeerError};
use crate::key::PrivateKey;
use crate::link::{Batches, Link, LinkError, Received};
use crate::split::{self, SLACK_BYTES};
use crate::tun::{FRAME_BYTES_MAX, Tun};
use crate::{DATAGRAM_BYTES_MAX, SPARE_BYTES, packet, vnet};

pub use handle::{Command, Handle, HandleError, Snapshot};

/// Commands that wait; whoever gives more waits too.
const COMMANDS_MAX: usize = 64;

/// Frames read from the device before the sockets have their turn.
const FRAMES_PER_TURN: usize = 64;

/// Calls to receive from one socket before the device has its turn.
const RECEIVES_PER_TURN: usize = 8;

const DEVICE: Token = Token(0);
const V4: Token = Token(1);
const V6: Token = Token(2);
const WAKER: Token = Token(3);

/// 2026-01-01, before this code was written: a clock that shows less is not set.
const CLOCK_FLOOR: Duration = Duration::from_secs(1_767_225_600);

/// What the thread starts with.
#[derive(Debug)]
pub struct PlaneConfig {
    pub private_key: PrivateKey,
    /// Any port when it is `None` or 0.
    pub listen_port: Option<u16>,
    /// Of the device, bytes.
    pub mtu: u16,
    pub peers: Vec<PeerConfig>,
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
    exchange: Exchange<Boring>,
    device: Device,
    link: Link,
    batches: Batches,
    received: Received,
    traffic: Traffic,
}

/// The device and what lies between it and the exchange.
#[derive(Debug)]
struct Device {
    tun: Tun,
    coalescer: Coalescer,
    /// What is read.
    frame: Box<[u8]>,
    /// What was decrypted: room for the device's header, and the packet.
    opened: Box<[u8]>,
}

/// What may have more to give.
#[derive(Clone, Copy, Debug, Default)]
struct Readable {
    device: bool,
    v4: bool,
    v6: bool,
}

impl Plane {
    /// Opens the sockets and adds the peers.
    ///
    /// # Errors
    /// When the clock is not set, the port is taken, or peers don't fit.
    pub fn new(config: PlaneConfig, tun: Tun) -> Result<(Plane, Handle), PlaneError> {
        let unix = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        if unix < CLOCK_FLOOR {
            return Err(PlaneError::Clock);
        }
        let now = Instant::now();
        let mut exchange = Exchange::new(config.private_key, config.mtu, now);
        for peer in config.peers {
            exchange.add_peer(peer, now)?;
        }
        let mut link = Link::open(config.listen_port.unwrap_or(0))?;
        let poll = Poll::new().map_err(PlaneError::Poll)?;
        let register = || {
            poll.registry().register(&mut SourceFd(&tun.as_raw_fd()), DEVICE, Interest::READABLE)?;
            link.register(poll.registry(), V4, V6)?;
            Waker::new(poll.registry(), WAKER)
        };
        let waker = { register }().map_err(PlaneError::Poll)?;
        let (sender, commands) = sync_channel(COMMANDS_MAX);
        let handle = Handle::new(sender, Arc::new(waker), link.port());
        let device = Device {
            coalescer: Coalescer::new(tun.offload()),
            tun,
            frame: vec![0; FRAME_BYTES_MAX + SLACK_BYTES].into(),
            opened: vec![0; vnet::LEN + DATAGRAM_BYTES_MAX + SPARE_BYTES].into(),
        };
        let (batches, received, traffic) = (Batches::default(), Received::default(), Traffic::default());
        Ok((Plane { poll, commands, exchange, device, link, batches, received, traffic }, handle))
    }

    /// Runs until it is told to stop.
    ///
    /// # Errors
    /// When the device is gone.
    pub fn run(mut self) -> Result<(), PlaneError> {
        let mut events = Events::with_capacity(16);
        // Whatever came before the first wait gave its sign already.
        let mut readable = Readable { device: true, v4: true, v6: true };
        loop {
            let wait = if readable.any() {
                Duration::ZERO
            } else {
                self.exchange.poll_timeout().saturating_duration_since(Instant::now())
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
                    _ => {
                        if self.handle_commands() {
                            return Ok(());
                        }
                    }
                }
                if event.is_error() && event.token() != DEVICE {
                    [self.link.v4(), self.link.v6()]
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
            if readable.device {
                readable.device = self.take_frames()?;
            }
            let now = Instant::now();
            self.exchange.handle_timeout(now);
            self.transmit(now);
        }
    }

    /// From the device to the sockets; says whether there may be more.
    fn take_frames(&mut self) -> Result<bool, PlaneError> {
        let now = Instant::now();
        let mut more = true;
        for _ in 0..FRAMES_PER_TURN {
            match self.device.tun.read(&mut self.device.frame) {
                Ok((header, len)) => self.take_frame(&header, len, now),
                Err(error) => match Errno::from_io_error(&error) {
                    Some(Errno::AGAIN) => {
                        more = false;
                        break;
                    }
                    Some(Errno::INTR) => {}
                    // Down for now: reading goes on when it is up again.
                    Some(Errno::IO) => {
                        more = false;
                        break;
                    }
                    Some(_) => return Err(PlaneError::DeviceGone(error)),
                    None => self.traffic.unroutable += 1,
                },
            }
        }
        self.batches.flush(&self.link);
        Ok(more)
    }

    fn take_frame(&mut self, header: &vnet::VnetHeader, len: usize, now: Instant) {
        let frame = &mut self.device.frame[vnet::LEN..];
        let destination = packet::header(&frame[..len]).map(|ip| ip.destination);
        let Some(peer) = destination.ok().and_then(|destination| self.exchange.route(destination)) else {
            // Every host talks to its neighbours by multicast, and nobody misses that here.
            self.traffic.unroutable +=
                u64::from(!destination.is_ok_and(|destination| destination.is_multicast()));
            return;
        };
        let (exchange, batches, link, traffic) =
            (&mut self.exchange, &mut self.batches, &self.link, &mut self.traffic);
        let result = split::split(header, frame, len, |room, len| {
            traffic.packets_out += 1;
            match exchange.ready(peer) {
                Some(to) => {
                    let sealed_len = exchange.sealed_len(len);
                    batches.write(link, to, sealed_len, |out| exchange.seal(peer, room, len, now, out));
                }
                None => exchange.hold(peer, &room[..len]),
            }
        });
        if result.is_err() {
            self.traffic.unroutable += 1;
        }
    }

    /// From a socket to the device; says whether there may be more.
    fn take_datagrams(&mut self, token: Token) -> bool {
        for _ in 0..RECEIVES_PER_TURN {
            let socket = if token == V4 { self.link.v4() } else { self.link.v6() };
            let Some(socket) = socket else { return false };
            let more = match socket.receive(&mut self.received) {
                Ok(more) => more,
                // An answer of the network to something that was sent; what was received comes next.
                Err(error) => {
                    tracing::trace!(%error, "receiving");
                    socket.drain_errors();
                    true
                }
            };
            self.open_received();
            if !more {
                return false;
            }
        }
        true
    }

    fn open_received(&mut self) {
        let now = Instant::now();
        let Device { tun, coalescer, opened, .. } = &mut self.device;
        let traffic = &mut self.traffic;
        let mut unwritten = 0;
        let mut write = |frame: &[u8]| {
            if let Err(error) = tun.write(frame) {
                unwritten += 1;
                tracing::trace!(%error, len = frame.len(), "the device takes it not");
            }
        };
        for (from, datagram) in self.received.datagrams() {
            match self.exchange.handle_datagram(from, datagram, now, &mut opened[vnet::LEN..]) {
                Inbound::Deliver(ip) => {
                    traffic.packets_in += 1;
                    coalescer.push(opened, &ip, &mut write);
                }
                Inbound::Reply(len) => self.link.send(from, &opened[vnet::LEN..vnet::LEN + len], len),
                Inbound::Nothing | Inbound::Dropped(_) => {}
            }
        }
        coalescer.flush(&mut write);
        traffic.unwritten += unwritten;
    }

    /// Sends what falls due besides answers: handshakes, keepalives, and packets that waited for them.
    fn transmit(&mut self, now: Instant) {
        let out = &mut self.device.opened;
        while let Some((to, len)) = self.exchange.poll_transmit(now, out) {
            self.link.send(to, &out[..len], len);
        }
    }

    /// `true` when it is told to stop, or nobody is left to tell it so.
    fn handle_commands(&mut self) -> bool {
        use std::sync::mpsc::TryRecvError;
        loop {
            let command = match self.commands.try_recv() {
                Ok(command) => command,
                Err(TryRecvError::Empty) => return false,
                Err(TryRecvError::Disconnected) => return true,
            };
            let now = Instant::now();
            let (result, reply) = match command {
                Command::Stop => return true,
                Command::Add(peer, reply) => (self.exchange.add_peer(*peer, now), reply),
                Command::Update(peer, reply) => (self.exchange.update_peer(*peer), reply),
                Command::Remove(key, reply) => (self.exchange.remove_peer(key), reply),
                Command::SetKey(key, reply) => (self.exchange.set_key(key), reply),
                Command::ReplaceKey { old, new, reply } => (self.exchange.replace_key(old, new), reply),
                Command::Look(reply) => {
                    // Whoever asked may have gone.
                    let _ = reply.try_send(self.snapshot(now));
                    continue;
                }
            };
            let _ = reply.try_send(result);
        }
    }

    fn snapshot(&self, now: Instant) -> Snapshot {
        Snapshot {
            peers: self.exchange.stats(now),
            drops: self.exchange.drops(),
            traffic: Traffic { unsent: self.link.unsent(), ..self.traffic },
        }
    }
}

impl Readable {
    fn any(self) -> bool {
        self.device || self.v4 || self.v6
    }
}
