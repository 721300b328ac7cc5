//! Puts packets of one flow together again, so that the device takes up to 64 KiB of them in one write.
//!
//! Only what the kernel would cut back into the very same packets is put together: TCP with nothing but ACK and PSH
//! set, or UDP, without IP options or fragments, with right checksums, equal in every field but length, IPv4
//! identification, sequence and checksum. Order within a flow is kept; between flows it may change within a batch.

use crate::checksum;
use crate::packet::Header;
use crate::vnet::{self, Checksum, Gso, VnetHeader};

/// Flows held at once. When another comes, all are written first.
pub const FLOWS: usize = 8;

/// The most datagrams in one write: what older kernels take (`UDP_MAX_SEGMENTS`).
const UDP_PIECES_MAX: u16 = 64;

const PSH: u8 = 0x08;
const ACK: u8 = 0x10;

/// What the device takes in one piece.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Offload {
    pub tcp: bool,
    pub udp: bool,
}

/// Takes packets one by one and gives frames for the device.
#[derive(Debug)]
pub struct Coalescer {
    offload: Offload,
    flows: Box<[Flow]>,
    used: usize,
}

#[derive(Debug)]
struct Flow {
    /// The device's header, and the packet as far as it has come.
    frame: Box<[u8]>,
    len: usize,
    shape: Shape,
    pieces: u16,
    /// Bytes of payload of all pieces but the last.
    piece_len: usize,
    sequence_next: u32,
    open: bool,
}

/// Where things are in a packet that may be put together with others.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Shape {
    protocol: Protocol,
    v6: bool,
    transport: usize,
    header_len: usize,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Protocol {
    Tcp,
    Udp,
}

impl Coalescer {
    pub fn new(offload: Offload) -> Coalescer {
        let blank = Shape { protocol: Protocol::Udp, v6: false, transport: 0, header_len: 0 };
        let flow = || Flow {
            frame: vec![0; vnet::LEN + crate::DATAGRAM_BYTES_MAX].into(),
            len: 0,
            shape: blank,
            pieces: 0,
            piece_len: 0,
            sequence_next: 0,
            open: false,
        };
        Coalescer { offload, flows: (0..FLOWS).map(|_| flow()).collect(), used: 0 }
    }

    /// Takes a packet. `frame` is room for the device's header and then the packet that `ip` was read from; `emit`
    /// gets whole frames, in the order in which they are to be written.
    pub fn push(&mut self, frame: &mut [u8], ip: &Header, mut emit: impl FnMut(&[u8])) {
        let (head, packet) = frame[..vnet::LEN + ip.len].split_at_mut(vnet::LEN);
        let found = self.find(packet, ip);
        if let Some(shape) = Shape::of(packet, ip, self.offload) {
            match found {
                Some(number) if self.flows[number].takes(packet, shape) => {
                    self.flows[number].append(packet);
                    if !self.flows[number].open {
                        self.write(number, &mut emit);
                    }
                    return;
                }
                Some(number) => self.write(number, &mut emit),
                None if self.used == FLOWS => self.flush(&mut emit),
                None => {}
            }
            let number = self.used;
            self.used += 1;
            self.flows[number].begin(packet, shape);
            if !self.flows[number].open {
                self.write(number, &mut emit);
            }
            return;
        }
        if let Some(number) = found {
            self.write(number, &mut emit);
        }
        head.copy_from_slice(&VnetHeader::default().write());
        emit(frame[..vnet::LEN + ip.len].as_ref());
    }

    /// Gives what is held, oldest first.
    pub fn flush(&mut self, mut emit: impl FnMut(&[u8])) {
        for flow in &mut self.flows[..self.used] {
            emit(flow.finish());
        }
        self.used = 0;
    }

    fn write(&mut self, number: usize, emit: &mut impl FnMut(&[u8])) {
        emit(self.flows[number].finish());
        // The others keep their order.
        self.flows[number..self.used].rotate_left(1);
        self.used -= 1;
    }

    /// The flow with the same addresses, protocol and ports.
    fn find(&self, packet: &[u8], ip: &Header) -> Option<usize> {
        let same = |flow: &Flow| {
            let held = &flow.frame[vnet::LEN..];
            let (protocol, addresses) = if flow.shape.v6 { (6, 8..44) } else { (9, 12..24) };
            flow.shape.v6 == ip.source.is_ipv6()
                && held[protocol] == packet[protocol]
                && packet.get(addresses.clone()) == Some(&held[addresses])
        };
        self.flows[..self.used].iter().position(same)
    }
}

impl Shape {
    /// `None` when the packet has to go alone.
    fn of(packet: &[u8], ip: &Header, offload: Offload) -> Option<Shape> {
        let v6 = ip.source.is_ipv6();
        let transport = ip.header_len;
        // Options, and in the third byte more fragments, an offset or the reserved bit.
        if !v6 && (transport != 20 || packet[6] & 0xbf != 0 || packet[7] != 0) {
            return None;
        }
        let inner = &packet[transport..ip.len];
        let (protocol, header_len) = match ip.protocol {
            6 if offload.tcp && inner.len() >= 20 => {
                let is_plain = inner[13] & !PSH == ACK && inner[18..20] == [0, 0] && inner[12] & 15 == 0;
                let own_len = usize::from(inner[12] >> 4) * 4;
                (is_plain && own_len >= 20).then_some((Protocol::Tcp, transport + own_len))?
            }
            17 if offload.udp && inner.len() >= 8 => {
                let own_len = usize::from(u16::from_be_bytes([inner[4], inner[5]]));
                let is_plain = own_len == inner.len() && inner[6..8] != [0, 0];
                is_plain.then_some((Protocol::Udp, transport + 8))?
            }
            _ => return None,
        };
        let pseudo = checksum::pseudo_header(ip.source, ip.destination, ip.protocol, inner.len());
        let is_sound = (v6 || checksum::is_right(checksum::sum(&packet[..20])))
            && checksum::is_right(pseudo + checksum::sum(inner));
        (header_len < ip.len && is_sound).then_some(Shape { protocol, v6, transport, header_len })
    }
}

impl Flow {
    fn begin(&mut self, packet: &[u8], shape: Shape) {
        self.frame[vnet::LEN..vnet::LEN + packet.len()].copy_from_slice(packet);
        self.len = packet.len();
        self.shape = shape;
        self.pieces = 1;
        self.piece_len = packet.len() - shape.header_len;
        self.open = true;
        if shape.protocol == Protocol::Tcp {
            self.sequence_next = sequence(packet, shape).wrapping_add(length(self.piece_len));
            self.open = packet[shape.transport + 13] & PSH == 0;
        }
    }

    /// Whether it is what comes next in this flow. Addresses and ports are known to be the same.
    fn takes(&self, packet: &[u8], shape: Shape) -> bool {
        let held = &self.frame[vnet::LEN..];
        let same = |range: std::ops::Range<usize>| held[range.clone()] == packet[range];
        let payload_len = packet.len() - shape.header_len;
        let transport = shape.transport;
        let outer = if shape.v6 { same(0..4) && same(7..8) } else { same(0..2) && same(6..9) };
        let inner = match shape.protocol {
            Protocol::Udp => self.pieces < UDP_PIECES_MAX,
            Protocol::Tcp => {
                sequence(packet, shape) == self.sequence_next
                    && same(transport + 8..transport + 13)
                    && same(transport + 14..transport + 16)
                    && same(transport + 20..shape.header_len)
            }
        };
        let fits = self.len + payload_len <= crate::DATAGRAM_BYTES_MAX && payload_len <= self.piece_len;
        self.open && self.shape == shape && outer && inner && fits
    }

    fn append(&mut self, packet: &[u8]) {
        let payload = &packet[self.shape.header_len..];
        let end = vnet::LEN + self.len;
        self.frame[end..end + payload.len()].copy_from_slice(payload);
        self.len += payload.len();
        self.pieces += 1;
        self.sequence_next = self.sequence_next.wrapping_add(length(payload.len()));
        // A shorter one can only be the last.
        self.open = payload.len() == self.piece_len;
        let flags = self.shape.transport + 13;
        if self.shape.protocol == Protocol::Tcp && packet[flags] & PSH != 0 {
            self.frame[vnet::LEN + flags] |= PSH;
            self.open = false;
        }
    }

    /// Makes the headers those of all pieces together.
    fn finish(&mut self) -> &[u8] {
        let header = if self.pieces == 1 { VnetHeader::default() } else { self.large() };
        self.frame[..vnet::LEN].copy_from_slice(&header.write());
        &self.frame[..vnet::LEN + self.len]
    }

    fn large(&mut self) -> VnetHeader {
        let Shape { protocol, v6, transport, header_len } = self.shape;
        let packet = &mut self.frame[vnet::LEN..vnet::LEN + self.len];
        if v6 {
            packet[4..6].copy_from_slice(&short(self.len - 40).to_be_bytes());
        } else {
            packet[2..4].copy_from_slice(&short(self.len).to_be_bytes());
            packet[10..12].fill(0);
            let sum = checksum::finish(checksum::sum(&packet[..20]));
            packet[10..12].copy_from_slice(&sum);
        }
        let ip = crate::packet::header(packet).expect("lengths were just set");
        let (gso, number, offset) = match (protocol, v6) {
            (Protocol::Tcp, false) => (Gso::TcpV4, 6, 16),
            (Protocol::Tcp, true) => (Gso::TcpV6, 6, 16),
            (Protocol::Udp, _) => (Gso::Udp, 17, 6),
        };
        if protocol == Protocol::Udp {
            packet[transport + 4..transport + 6].copy_from_slice(&short(self.len - transport).to_be_bytes());
        }
        // The sum of the pseudo header, not inverted; the kernel adds the rest.
        let pseudo = checksum::pseudo_header(ip.source, ip.destination, number, self.len - transport);
        let field = transport + usize::from(offset);
        packet[field..field + 2].copy_from_slice(&checksum::fold(pseudo));
        VnetHeader {
            checksum: Some(Checksum { start: short(transport), offset }),
            gso: Some((gso, short(self.piece_len))),
            header_len: short(header_len),
        }
    }
}

fn sequence(packet: &[u8], shape: Shape) -> u32 {
    let at = shape.transport + 4;
    u32::from_be_bytes(packet[at..at + 4].try_into().expect("4 bytes"))
}

fn length(len: usize) -> u32 {
    short(len).into()
}

fn short(len: usize) -> u16 {
    u16::try_from(len).expect("DATAGRAM_BYTES_MAX fits")
}

#[cfg(test)]
#[path = "coalesce/tests.rs"]
mod tests;
