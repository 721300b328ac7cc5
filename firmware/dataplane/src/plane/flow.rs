//! How packets and datagrams pass between the device and the sockets, in both directions.
//!
//! Whatever comes is taken whole before anything else happens, and nothing is allocated for it.

use std::net::{IpAddr, SocketAddr};
use std::time::Instant;

use mesh::{Path, SocketId};
use mio::Registry;
use rustix::io::Errno;

use super::boxes::{Boxes, Tools};
use super::{PlaneError, RECEIVES_PER_TURN, Traffic};
use crate::coalesce::Coalescer;
use crate::engine::Boring;
use crate::exchange::{Exchange, Inbound, Source, Way};
use crate::link::{Batches, Hop, Link, Received};
use crate::split::{self, SLACK_BYTES, SplitError};
use crate::tun::{FRAME_BYTES_MAX, Tun};
use crate::{DATAGRAM_BYTES_MAX, SPARE_BYTES, packet, too_long, vnet};

/// Frames read from the device before the sockets have their turn.
const FRAMES_PER_TURN: usize = 64;

/// Packets in a tick of which the host is told that they were too long (RFC 4443, 2.4 (f)).
pub(super) const ANSWERS_MAX: u8 = 32;

/// All that a packet meets.
#[derive(Debug)]
pub(super) struct Flow {
    pub(super) exchange: Exchange<Boring>,
    pub(super) device: Device,
    pub(super) link: Link,
    pub(super) batches: Batches,
    pub(super) traffic: Traffic,
    /// For a box of a mesh.
    pub(super) boxes: Option<Boxes>,
    /// How often the host may still be told, until timers run again, that a packet was too long.
    pub(super) answers_left: u8,
}

/// The device and what lies between it and the exchange.
#[derive(Debug)]
pub(super) struct Device {
    tun: Tun,
    coalescer: Coalescer,
    /// What is read.
    frame: Box<[u8]>,
    /// What was decrypted: room for the device's header, and the packet.
    opened: Box<[u8]>,
    /// What came over the coordinator's line.
    parcel: Box<[u8]>,
}

impl Device {
    pub(super) fn new(tun: Tun) -> Device {
        Device {
            coalescer: Coalescer::new(tun.offload()),
            tun,
            frame: vec![0; FRAME_BYTES_MAX + SLACK_BYTES].into(),
            opened: vec![0; vnet::LEN + DATAGRAM_BYTES_MAX + SPARE_BYTES].into(),
            parcel: vec![0; DATAGRAM_BYTES_MAX + SPARE_BYTES].into(),
        }
    }
}

impl Flow {
    pub(super) fn poll_timeout(&self) -> Instant {
        let own = self.exchange.poll_timeout();
        self.boxes.as_ref().map_or(own, |boxes| boxes.poll_timeout().min(own))
    }

    /// From the device to the sockets; says whether there may be more.
    pub(super) fn take_frames(&mut self) -> Result<bool, PlaneError> {
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
            if let (Ok(destination), Some(boxes)) = (destination, &mut self.boxes) {
                boxes.handle_unreached(destination, now);
            }
            return;
        };
        let destination = destination.ok();
        let Flow { exchange, device, batches, link, traffic, boxes, .. } = self;
        let (frame, mtu) = (&mut device.frame[vnet::LEN..], exchange.mtu(peer));
        let result = split::split(header, frame, len, mtu.into(), |room, len| {
            traffic.packets_out += 1;
            match (exchange.ready(peer), &mut *boxes) {
                (Some(Path::Direct { socket, to }), _) => {
                    let sealed_len = exchange.sealed_len(peer, len);
                    let hop = Hop { socket, to };
                    batches.write(link, hop, sealed_len, |out| exchange.seal(peer, room, len, now, out));
                }
                (Some(path), Some(boxes)) => {
                    let mut tools = Tools { exchange, link, batches, now };
                    boxes.seal(&mut tools, Way { peer, path }, room, len);
                }
                (Some(Path::Box(_) | Path::Tls) | None, boxes) => {
                    // It may be that the other box does not know this one.
                    if let (Some(destination), Some(boxes)) = (destination, boxes) {
                        boxes.handle_unreached(destination, now);
                    }
                    exchange.hold(peer, &room[..len]);
                }
            }
        });
        match result {
            Ok(()) => {}
            Err(SplitError::TooLong) => self.refuse_too_long(len, mtu),
            Err(SplitError::Packet(_) | SplitError::Header) => self.traffic.unroutable += 1,
        }
    }

    /// Tells the host how long a packet may be in place of the one that was read.
    fn refuse_too_long(&mut self, len: usize, mtu: u16) {
        let Device { tun, frame, opened, .. } = &mut self.device;
        self.traffic.too_long += 1;
        let Some(words) = self.answers_left.checked_sub(1) else { return };
        let (head, room) = opened.split_at_mut(vnet::LEN);
        let packet = &frame[vnet::LEN..vnet::LEN + len];
        if let Some(len) = too_long::answer(packet, mtu, room) {
            self.answers_left = words;
            head.copy_from_slice(&vnet::VnetHeader::default().write());
            write_frame(tun, &mut self.traffic, &opened[..vnet::LEN + len]);
        }
    }

    /// What a socket received.
    pub(super) fn take(&mut self, socket: SocketId, received: &Received) {
        let now = Instant::now();
        for (from, datagram) in received.datagrams() {
            self.take_datagram(socket, from, datagram, now);
        }
        self.deliver();
    }

    fn take_datagram(&mut self, socket: SocketId, from: SocketAddr, datagram: &[u8], now: Instant) {
        if let Some(boxes) = &mut self.boxes
            && boxes.takes(from, datagram, now)
        {
            return;
        }
        let hop = Hop { socket, to: from };
        let source = Source { path: Path::Direct { socket, to: from }, ip: from.ip() };
        if let Some(len) = self.open(source, datagram, now) {
            self.link.send(hop, &self.device.opened[vnet::LEN..vnet::LEN + len], len);
        }
    }

    /// What came over the coordinator's line; says whether there may be more.
    pub(super) fn take_parcels(&mut self) -> bool {
        let now = Instant::now();
        let mut parcel = std::mem::take(&mut self.device.parcel);
        let mut more = true;
        for _ in 0..RECEIVES_PER_TURN * 8 {
            let Some(boxes) = &self.boxes else {
                more = false;
                break;
            };
            match boxes.receive_parcel(&mut parcel) {
                Ok(Some((from, datagram))) => {
                    let source = Source { path: Path::Tls, ip: IpAddr::V6(from.into()) };
                    let answer = self.open(source, datagram, now);
                    if let (Some(len), Some(boxes)) = (answer, &mut self.boxes) {
                        boxes.send_parcel(from, &self.device.opened[vnet::LEN..vnet::LEN + len]);
                    }
                }
                Ok(None) => {}
                Err(_) => {
                    more = false;
                    break;
                }
            }
        }
        self.device.parcel = parcel;
        self.deliver();
        more
    }

    /// Opens a datagram; gives the length of an answer, which lies where packets are opened.
    fn open(&mut self, source: Source, datagram: &[u8], now: Instant) -> Option<usize> {
        let Flow { exchange, device, link, batches, traffic, boxes, .. } = self;
        let Device { tun, coalescer, opened, .. } = device;
        let inbound = exchange.handle_datagram(source, datagram, now, &mut opened[vnet::LEN..]);
        let sign = exchange.sign();
        if let Some(boxes) = boxes {
            boxes.note(sign, &inbound, source.path, now);
        }
        let mut write = |frame: &[u8]| write_frame(tun, traffic, frame);
        match (inbound, boxes, sign) {
            (Inbound::Deliver(ip), Some(boxes), Some(sign))
                if !boxes.lets_in(
                    exchange.box_address(sign.peer).is_some(),
                    &opened[vnet::LEN..vnet::LEN + ip.len],
                ) =>
            {
                traffic.filtered += 1;
            }
            (Inbound::Deliver(ip), ..) => {
                coalescer.push(opened, &ip, &mut write);
                traffic.packets_in += 1;
            }
            (Inbound::Reply(len), ..) => return Some(len),
            (Inbound::Mesh(ip), Some(boxes), Some(sign)) => {
                let mut tools = Tools { exchange, link, batches, now };
                let packet = &mut opened[vnet::LEN..];
                if let Some(ip) = boxes.handle_packet(&mut tools, sign.peer, source.path, packet, &ip) {
                    if boxes.lets_in(true, &boxes.inner[vnet::LEN..vnet::LEN + ip.len]) {
                        coalescer.push(&mut boxes.inner, &ip, &mut write);
                        traffic.packets_in += 1;
                    } else {
                        traffic.filtered += 1;
                    }
                }
            }
            (Inbound::Mesh(_) | Inbound::Nothing | Inbound::Dropped(_), ..) => {}
        }
        None
    }

    /// Lets go of what was gathered.
    fn deliver(&mut self) {
        let Device { tun, coalescer, .. } = &mut self.device;
        coalescer.flush(|frame: &[u8]| write_frame(tun, &mut self.traffic, frame));
        self.batches.flush(&self.link);
    }

    /// Does what is due, and sends what falls due besides answers: handshakes, keepalives, what the mesh's agent says,
    /// and packets that waited for them.
    pub(super) fn handle_timeout(&mut self, registry: &Registry) {
        let now = Instant::now();
        if now >= self.exchange.poll_timeout() {
            self.answers_left = ANSWERS_MAX;
        }
        self.exchange.handle_timeout(now);
        if let Some(boxes) = &mut self.boxes {
            let Flow { exchange, link, batches, .. } = self;
            boxes.handle_timeout(&mut Tools { exchange, link, batches, now }, registry);
        }
        let out = &mut self.device.opened;
        while let Some((way, len)) = self.exchange.poll_transmit(now, out) {
            match (way.path, &mut self.boxes) {
                (Path::Direct { socket, to }, _) => self.link.send(Hop { socket, to }, &out[..len], len),
                (Path::Box(_) | Path::Tls, Some(boxes)) => {
                    let (exchange, link, batches) = (&mut self.exchange, &mut self.link, &mut self.batches);
                    boxes.send(&mut Tools { exchange, link, batches, now }, way, &out[..len]);
                }
                (Path::Box(_) | Path::Tls, None) => {}
            }
        }
        self.batches.flush(&self.link);
    }
}

fn write_frame(tun: &Tun, traffic: &mut Traffic, frame: &[u8]) {
    if let Err(error) = tun.write(frame) {
        traffic.unwritten += 1;
        tracing::trace!(%error, len = frame.len(), "the device takes it not");
    }
}
