//! "From where do you see me?": the Binding method of STUN (RFC 8489) over UDP, both sides, without authentication.
//!
//! A box asks from the socket that carries its WireGuard datagrams; [`is_stun`] tells the answers apart from those. An
//! answer is never larger than its request, so that nobody can be flooded through whoever answers.
//! Refuses to know retransmission, sockets and errors: what can't be answered with success is not answered, and of an
//! answer only the transaction is believed, which whoever asked has to compare.

use core::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use trust::List;

/// RFC 8489 section 5.
const COOKIE: [u8; 4] = 0x2112_a442_u32.to_be_bytes();
const HEAD_BYTES: usize = 20;
/// An attribute's type and length (section 14).
const ATTRIBUTE_HEAD_BYTES: usize = 4;

/// Binding, of the class request and of the class success response (section 5).
const REQUEST: u16 = 0x0001;
const SUCCESS: u16 = 0x0101;
/// The bits of a message's type that name its method, and the two above them that are always zero.
const METHOD_MASK: u16 = 0xfeef;

const XOR_MAPPED_ADDRESS: u16 = 0x0020;
const SOFTWARE: u16 = 0x8022;
/// Attributes from here on may be passed over by who does not know them (section 14).
const OPTIONAL: u16 = 0x8000;
/// MAPPED-ADDRESS, USERNAME, MESSAGE-INTEGRITY, REALM, NONCE, MESSAGE-INTEGRITY-SHA256, PASSWORD-ALGORITHM, USERHASH:
/// known, and of no use here.
const PASSED_OVER: [u16; 8] = [0x0001, 0x0006, 0x0008, 0x0014, 0x0015, 0x001c, 0x001d, 0x001e];

/// Fills a request up to the size of the largest answer, in the one attribute that holds any text.
const FILLER: [u8; 20] = *b"relaybox path finder";

/// Of what [`request`] makes.
pub const REQUEST_BYTES: usize = HEAD_BYTES + ATTRIBUTE_HEAD_BYTES + FILLER.len();
/// Of the answer to somebody with an IPv6 address; one with an IPv4 address gets 12 bytes less.
pub const ANSWER_BYTES_MAX: usize = HEAD_BYTES + ATTRIBUTE_HEAD_BYTES + 20;
/// Nobody has to read longer requests: what fits into 576 bytes of IPv4 (RFC 8489 section 6.1).
pub const DATAGRAM_BYTES_MAX: usize = 548;

/// UDP ports at the host of the coordinator's URL where this is answered; two tell a router that gives each destination
/// another port from one that does not.
pub type Ports = List<u16, 2>;

/// 96 bits of the shell's randomness, another one for each request: who can't see the request can't answer it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Transaction(pub [u8; 12]);

/// The question.
#[must_use]
pub fn request(transaction: Transaction) -> [u8; REQUEST_BYTES] {
    let mut out = [0; REQUEST_BYTES];
    write_head(&mut out, REQUEST, transaction);
    let (head, text) = out[HEAD_BYTES..].split_at_mut(ATTRIBUTE_HEAD_BYTES);
    write_attribute_head(head, SOFTWARE, FILLER.len());
    text.copy_from_slice(&FILLER);
    out
}

/// Writes the answer to a request that came from `from`, and says how long it is.
///
/// None for what is no well-formed Binding request, for one with an attribute that may not be passed over, and for one
/// that is shorter than its answer.
pub fn answer(request: &[u8], from: SocketAddr, out: &mut [u8; ANSWER_BYTES_MAX]) -> Option<usize> {
    let (transaction, attributes) = open(request, REQUEST)?;
    for attribute in attributes {
        attribute?;
    }
    let ip = from.ip().to_canonical();
    let address_bytes = if ip.is_ipv4() { 4 } else { 16 };
    let value_bytes = 4 + address_bytes;
    let bytes = HEAD_BYTES + ATTRIBUTE_HEAD_BYTES + value_bytes;
    if request.len() < bytes {
        return None;
    }
    write_head(&mut out[..bytes], SUCCESS, transaction);
    let (head, value) = out[HEAD_BYTES..bytes].split_at_mut(ATTRIBUTE_HEAD_BYTES);
    write_attribute_head(head, XOR_MAPPED_ADDRESS, value_bytes);
    value[..2].copy_from_slice(&[0, if ip.is_ipv4() { 1 } else { 2 }]);
    value[2..4].copy_from_slice(&from.port().to_be_bytes());
    match ip {
        IpAddr::V4(ip) => value[4..].copy_from_slice(&ip.octets()),
        IpAddr::V6(ip) => value[4..].copy_from_slice(&ip.octets()),
    }
    veil(&mut value[2..4], &COOKIE);
    veil(&mut value[4..], &mask(transaction));
    Some(bytes)
}

/// Whose question it answers, and the address that was seen. None for what is no well-formed success response, or has
/// an attribute that may not be passed over. Of two addresses the first counts (section 14).
#[must_use]
pub fn read_answer(datagram: &[u8]) -> Option<(Transaction, SocketAddr)> {
    let (transaction, attributes) = open(datagram, SUCCESS)?;
    let mut seen = None;
    for attribute in attributes {
        let (kind, value) = attribute?;
        if kind == XOR_MAPPED_ADDRESS && seen.is_none() {
            seen = Some(read_address(value, transaction)?);
        }
    }
    Some((transaction, seen?))
}

/// Whether a datagram is of this protocol: a Binding message with the magic cookie and its own length.
///
/// Never true for a message of WireGuard, which begins with a byte from 1 to 4 and three zeros: that would be another
/// method than Binding.
#[must_use]
pub fn is_stun(datagram: &[u8]) -> bool {
    head(datagram).is_some_and(|(kind, _)| kind & METHOD_MASK == REQUEST)
}

/// Type and transaction of a message whose cookie and length are right (section 5).
fn head(datagram: &[u8]) -> Option<(u16, Transaction)> {
    let (kind, rest) = datagram.split_first_chunk()?;
    let (length, rest) = rest.split_first_chunk()?;
    let (cookie, rest) = rest.split_first_chunk()?;
    let (transaction, rest) = rest.split_first_chunk()?;
    let length = usize::from(u16::from_be_bytes(*length));
    let whole = *cookie == COOKIE && length == rest.len() && length % 4 == 0;
    whole.then(|| (u16::from_be_bytes(*kind), Transaction(*transaction)))
}

fn open(datagram: &[u8], expected: u16) -> Option<(Transaction, Attributes<'_>)> {
    let (kind, transaction) = head(datagram)?;
    (kind == expected).then(|| (transaction, Attributes { rest: &datagram[HEAD_BYTES..] }))
}

/// The attributes of a message; None where one is cut off, or may not be passed over. Then it ends.
struct Attributes<'a> {
    rest: &'a [u8],
}

impl<'a> Iterator for Attributes<'a> {
    type Item = Option<(u16, &'a [u8])>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.rest.is_empty() {
            return None;
        }
        let read = attribute(self.rest);
        self.rest = read.map_or(&[], |(_, _, rest)| rest);
        Some(read.map(|(kind, value, _)| (kind, value)))
    }
}

/// The first attribute, and what follows behind its padding.
fn attribute(rest: &[u8]) -> Option<(u16, &[u8], &[u8])> {
    let (kind, rest) = rest.split_first_chunk()?;
    let (length, rest) = rest.split_first_chunk()?;
    let kind = u16::from_be_bytes(*kind);
    let length = usize::from(u16::from_be_bytes(*length));
    let (value, rest) = rest.split_at_checked(length.next_multiple_of(4))?;
    let known = kind >= OPTIONAL || kind == XOR_MAPPED_ADDRESS || PASSED_OVER.contains(&kind);
    known.then(|| (kind, &value[..length], rest))
}

/// Section 14.2.
fn read_address(value: &[u8], transaction: Transaction) -> Option<SocketAddr> {
    let ([_, family, port @ ..], veiled) = value.split_first_chunk::<4>()?;
    let mut port = *port;
    veil(&mut port, &COOKIE);
    let mask = mask(transaction);
    let ip = match family {
        1 => {
            let mut octets: [u8; 4] = veiled.try_into().ok()?;
            veil(&mut octets, &mask);
            IpAddr::V4(Ipv4Addr::from(octets))
        }
        2 => {
            let mut octets: [u8; 16] = veiled.try_into().ok()?;
            veil(&mut octets, &mask);
            IpAddr::V6(Ipv6Addr::from(octets))
        }
        _ => return None,
    };
    Some(SocketAddr::new(ip, u16::from_be_bytes(port)))
}

/// Routers that replace addresses wherever they find them don't find this one.
fn veil(bytes: &mut [u8], mask: &[u8]) {
    for (byte, mask) in bytes.iter_mut().zip(mask) {
        *byte ^= mask;
    }
}

fn mask(Transaction(transaction): Transaction) -> [u8; 16] {
    let mut mask = [0; 16];
    mask[..4].copy_from_slice(&COOKIE);
    mask[4..].copy_from_slice(&transaction);
    mask
}

/// `message` has its final length.
fn write_head(message: &mut [u8], kind: u16, Transaction(transaction): Transaction) {
    let length = bytes_of(message.len() - HEAD_BYTES);
    message[..2].copy_from_slice(&kind.to_be_bytes());
    message[2..4].copy_from_slice(&length);
    message[4..8].copy_from_slice(&COOKIE);
    message[8..HEAD_BYTES].copy_from_slice(&transaction);
}

fn write_attribute_head(head: &mut [u8], kind: u16, length: usize) {
    head[..2].copy_from_slice(&kind.to_be_bytes());
    head[2..].copy_from_slice(&bytes_of(length));
}

/// All lengths written here are below 64.
fn bytes_of(length: usize) -> [u8; 2] {
    u16::try_from(length).unwrap_or(u16::MAX).to_be_bytes()
}
