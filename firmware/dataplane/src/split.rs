//! Cuts what the kernel hands over in one piece, up to 64 KiB, into packets that fit the device's MTU; and a path that
//! carries less, as far as that can be: TCP's bytes may be cut anywhere (RFC 9293, 3.7.1), so its packets get shorter, and
//! nobody has to be told. Refuses other packets that are too long for the path.
//!
//! Nothing is copied but headers: the header of each piece is written over the end of the piece before it, which has
//! been taken by then. So the pieces come in order, and each is gone when the next one comes.

use std::net::IpAddr;

use crate::checksum;
use crate::packet::{self, BadPacket, Header};
use crate::vnet::{Checksum, Gso, VnetHeader};

/// Bytes that have to be there behind a frame, so that each piece can be padded in place.
pub const SLACK_BYTES: usize = 16;

/// TCP's number (RFC 9293, 3.1).
const TCP: u8 = 6;

/// The longest headers that are cut: 60 of IPv4 or 40 of IPv6, and 60 of TCP, and some extension headers.
const HEADERS_MAX: usize = 160;

const FIN: u8 = 0x01;
const SYN: u8 = 0x02;
const RST: u8 = 0x04;
const PSH: u8 = 0x08;
const URG: u8 = 0x20;
const CWR: u8 = 0x80;

/// Why a frame can't be cut.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SplitError {
    #[error("no IP packet")]
    Packet(#[from] BadPacket),
    #[error("the device's header doesn't fit the packet")]
    Header,
    #[error("too long for the path, and not to be cut")]
    TooLong,
}

/// Where things are in a large packet.
struct Plan {
    ip: Header,
    gso: Gso,
    transport: usize,
    header_len: usize,
    piece_len: usize,
}

/// Hands each packet of the frame to `each`, as a buffer that begins with the packet and has at least
/// [`SLACK_BYTES`] behind it, and the packet's length. Checksums that the kernel left out are filled in.
///
/// `frame[..len]` is what the device gave after its header. No packet of it is longer than `longest`, but those of IPv4
/// that say that they may be cut on their way.
///
/// # Errors
/// When the header and the packet don't fit each other, or the packet is too long; nothing was handed over then.
///
/// # Panics
/// When there are fewer than [`SLACK_BYTES`] behind `len`.
pub fn split(
    header: &VnetHeader,
    frame: &mut [u8],
    len: usize,
    longest: usize,
    mut each: impl FnMut(&mut [u8], usize),
) -> Result<(), SplitError> {
    assert!(len + SLACK_BYTES <= frame.len(), "a frame has slack behind it");
    let plan = match plan(header, &frame[..len])? {
        Some(plan) => Some(plan.within(longest)?),
        None if len > longest => shortened(&frame[..len], longest)?,
        None => None,
    };
    let Some(plan) = plan else {
        if let Some(at) = header.checksum {
            complete(&mut frame[..len], at)?;
        }
        each(frame, len);
        return Ok(());
    };
    let mut template = [0; HEADERS_MAX];
    template[..plan.header_len].copy_from_slice(&frame[..plan.header_len]);
    let payload_len = len - plan.header_len;
    let mut offset = 0;
    let mut number: u16 = 0;
    while offset < payload_len {
        let piece = plan.piece_len.min(payload_len - offset);
        let piece_len = plan.header_len + piece;
        let room = &mut frame[offset..];
        room[..plan.header_len].copy_from_slice(&template[..plan.header_len]);
        let is_last = offset + piece == payload_len;
        plan.finish(&mut room[..piece_len], number, offset, is_last);
        each(room, piece_len);
        offset += piece;
        number = number.wrapping_add(1);
    }
    Ok(())
}

/// `None` when the frame is one packet.
fn plan(header: &VnetHeader, frame: &[u8]) -> Result<Option<Plan>, SplitError> {
    let ip = packet::header(frame)?;
    let Some((gso, piece_len)) = header.gso else { return Ok(None) };
    let transport = usize::from(header.checksum.ok_or(SplitError::Header)?.start);
    let is_family = match gso {
        Gso::TcpV4 => ip.source.is_ipv4(),
        Gso::TcpV6 => ip.source.is_ipv6(),
        Gso::Udp => true,
    };
    let header_len = transport
        + match gso {
            Gso::TcpV4 | Gso::TcpV6 => {
                usize::from(frame.get(transport + 12).ok_or(SplitError::Header)? >> 4) * 4
            }
            Gso::Udp => 8,
        };
    let shortest = transport + if gso == Gso::Udp { 8 } else { 20 };
    let fits = is_family
        && transport >= ip.header_len
        && header_len >= shortest
        && header_len <= HEADERS_MAX
        && header_len < frame.len()
        && ip.len == frame.len()
        && piece_len > 0;
    if !fits {
        return Err(SplitError::Header);
    }
    Ok(Some(Plan { ip, gso, transport, header_len, piece_len: piece_len.into() }))
}

/// How a packet is cut that is too long for its path; `None` when it may go as it is.
fn shortened(packet: &[u8], longest: usize) -> Result<Option<Plan>, SplitError> {
    let ip = packet::header(packet)?;
    // Of IPv4, "don't fragment", and any part of a datagram that was cut already (RFC 791, 3.1).
    let (is_whole, may_be_cut) = match ip.source {
        IpAddr::V4(_) => (packet[6] & 0x3f == 0 && packet[7] == 0, packet[6] & 0x40 == 0),
        IpAddr::V6(_) => (true, false),
    };
    let transport = ip.header_len;
    let fixed = packet.get(transport..).and_then(|rest| rest.first_chunk::<20>());
    let Some(fixed) = fixed.filter(|_| ip.protocol == TCP && is_whole && ip.len == packet.len()) else {
        return if may_be_cut { Ok(None) } else { Err(SplitError::TooLong) };
    };
    let header_len = transport + usize::from(fixed[12] >> 4) * 4;
    let is_plain = fixed[13] & (SYN | RST | URG) == 0;
    let fits = header_len >= transport + 20 && header_len <= HEADERS_MAX && header_len < packet.len();
    if !is_plain || !fits {
        return Err(SplitError::TooLong);
    }
    let gso = if ip.source.is_ipv4() { Gso::TcpV4 } else { Gso::TcpV6 };
    Plan { ip, gso, transport, header_len, piece_len: packet.len() - header_len }.within(longest).map(Some)
}

impl Plan {
    /// The same with shorter pieces, where they have to be.
    fn within(mut self, longest: usize) -> Result<Plan, SplitError> {
        let room =
            longest.checked_sub(self.header_len).filter(|room| *room > 0).ok_or(SplitError::TooLong)?;
        if self.piece_len > room {
            if self.gso == Gso::Udp {
                return Err(SplitError::TooLong);
            }
            self.piece_len = room;
        }
        Ok(self)
    }

    /// Makes the copied header that of this piece.
    fn finish(&self, piece: &mut [u8], number: u16, offset: usize, is_last: bool) {
        let len = piece.len();
        if self.ip.source.is_ipv4() {
            let id = u16::from_be_bytes([piece[4], piece[5]]).wrapping_add(number);
            piece[2..4].copy_from_slice(&length(len));
            piece[4..6].copy_from_slice(&id.to_be_bytes());
            piece[10..12].fill(0);
            let sum = checksum::finish(checksum::sum(&piece[..self.ip.header_len]));
            piece[10..12].copy_from_slice(&sum);
        } else {
            piece[4..6].copy_from_slice(&length(len - 40));
        }
        let transport = &mut piece[self.transport..];
        match self.gso {
            Gso::TcpV4 | Gso::TcpV6 => {
                let sequence = u32::from_be_bytes(transport[4..8].try_into().expect("4 bytes"));
                let offset = u32::try_from(offset).expect("below 64 KiB");
                transport[4..8].copy_from_slice(&sequence.wrapping_add(offset).to_be_bytes());
                if !is_last {
                    transport[13] &= !(FIN | PSH);
                }
                if number > 0 {
                    transport[13] &= !CWR;
                }
                self.check(transport, TCP, 16);
            }
            Gso::Udp => {
                let own_len = length(transport.len());
                transport[4..6].copy_from_slice(&own_len);
                self.check(transport, 17, 6);
            }
        }
    }

    fn check(&self, transport: &mut [u8], protocol: u8, at: usize) {
        transport[at..at + 2].fill(0);
        let pseudo = checksum::pseudo_header(self.ip.source, self.ip.destination, protocol, transport.len());
        let sum = checksum::finish(pseudo + checksum::sum(transport));
        transport[at..at + 2].copy_from_slice(&never_none(sum, protocol));
    }
}

/// The kernel left the sum of the pseudo header where the checksum goes.
fn complete(packet: &mut [u8], at: Checksum) -> Result<(), SplitError> {
    let (start, field) = (usize::from(at.start), usize::from(at.start) + usize::from(at.offset));
    if field + 2 > packet.len() {
        return Err(SplitError::Header);
    }
    let sum = checksum::finish(checksum::sum(&packet[start..]));
    // Offset 6 is UDP's (RFC 768); TCP's is 16.
    let protocol = if at.offset == 6 { 17 } else { TCP };
    packet[field..field + 2].copy_from_slice(&never_none(sum, protocol));
    Ok(())
}

/// In UDP a checksum of 0 says that there is none, so 0xffff stands for it (RFC 768).
fn never_none(sum: [u8; 2], protocol: u8) -> [u8; 2] {
    if sum == [0, 0] && protocol == 17 { [0xff, 0xff] } else { sum }
}

fn length(len: usize) -> [u8; 2] {
    u16::try_from(len).expect("a piece is below 64 KiB").to_be_bytes()
}

#[cfg(test)]
#[path = "split/tests.rs"]
pub(crate) mod tests;
