//! What an IP packet has to look like before anything here trusts its fields.
//!
//! The engine takes an IPv4 packet whose total length is below 20; this does not. It looks at lengths and addresses,
//! never at what is inside.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// The smallest MTU of an interface that carries IPv6, bytes (RFC 8200, 5).
pub const MTU_MIN: u16 = 1280;

/// UDP's number (RFC 768).
pub const UDP: u8 = 17;

pub const UDP_HEADER_BYTES: usize = 8;

/// What the outer fields of a packet say; all of them fit each other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header {
    pub source: IpAddr,
    pub destination: IpAddr,
    /// Bytes of the packet, by its own word: at most what was given, and less if it was padded.
    pub len: usize,
    /// Bytes before what the packet carries.
    pub header_len: usize,
    /// The protocol after the fixed header (and, in IPv4, its options).
    pub protocol: u8,
}

/// Why bytes are no IP packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadPacket {
    #[error("neither IPv4 nor IPv6")]
    Version,
    #[error("shorter than its header")]
    Short,
    #[error("its length field and its bytes differ")]
    Length,
}

/// Reads the outer header (RFC 791, 3.1; RFC 8200, 3). Bytes after the packet are padding and may be there.
///
/// # Errors
/// When the version is unknown, or lengths don't fit.
pub fn header(packet: &[u8]) -> Result<Header, BadPacket> {
    match packet.first().map(|byte| byte >> 4) {
        Some(4) => header_v4(packet),
        Some(6) => header_v6(packet),
        _ => Err(BadPacket::Version),
    }
}

fn header_v4(packet: &[u8]) -> Result<Header, BadPacket> {
    let fixed = packet.first_chunk::<20>().ok_or(BadPacket::Short)?;
    let header_len = usize::from(fixed[0] & 15) * 4;
    let len = usize::from(u16::from_be_bytes([fixed[2], fixed[3]]));
    if header_len < 20 || len < header_len || len > packet.len() {
        return Err(BadPacket::Length);
    }
    Ok(Header {
        source: IpAddr::V4(Ipv4Addr::new(fixed[12], fixed[13], fixed[14], fixed[15])),
        destination: IpAddr::V4(Ipv4Addr::new(fixed[16], fixed[17], fixed[18], fixed[19])),
        len,
        header_len,
        protocol: fixed[9],
    })
}

fn header_v6(packet: &[u8]) -> Result<Header, BadPacket> {
    let (fixed, _) = packet.split_at_checked(40).ok_or(BadPacket::Short)?;
    // A payload length of 0 with a jumbo option doesn't fit a datagram, so 0 means none.
    let len = 40 + usize::from(u16::from_be_bytes([fixed[4], fixed[5]]));
    if len > packet.len() {
        return Err(BadPacket::Length);
    }
    let address = |at: usize| {
        let bytes: [u8; 16] = fixed[at..at + 16].try_into().expect("16 bytes of 40");
        IpAddr::V6(Ipv6Addr::from(bytes))
    };
    Ok(Header { source: address(8), destination: address(24), len, header_len: 40, protocol: fixed[6] })
}

/// How long the plaintext of a packet gets: zeros up to a multiple of 16, but never beyond the interface's MTU
/// (WireGuard paper, 5.4.6). A packet longer than the MTU stays as it is.
pub fn padded_len(len: usize, mtu: u16) -> usize {
    len.next_multiple_of(16).min(usize::from(mtu).max(len))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn v4(total: u16, first: u8) -> Vec<u8> {
        let mut packet = vec![0; 64];
        packet[0] = first;
        packet[2..4].copy_from_slice(&total.to_be_bytes());
        packet[9] = 17;
        packet[12..20].copy_from_slice(&[10, 0, 0, 1, 10, 0, 0, 2]);
        packet
    }

    #[test]
    fn lengths_of_ipv4_have_to_fit() {
        let good = header(&v4(40, 0x45)).expect("a packet");
        assert_eq!((good.len, good.header_len, good.protocol), (40, 20, 17));
        assert_eq!(
            (good.source.to_string(), good.destination.to_string()),
            ("10.0.0.1".into(), "10.0.0.2".into())
        );
        for (total, first) in [(19, 0x45), (0, 0x45), (65, 0x45), (40, 0x44), (40, 0x40), (59, 0x4f)] {
            assert_eq!(header(&v4(total, first)), Err(BadPacket::Length), "{total} {first:#x}");
        }
        assert_eq!(header(&v4(40, 0x45)[..19]), Err(BadPacket::Short));
    }

    #[test]
    fn lengths_of_ipv6_have_to_fit() {
        let mut packet = vec![0; 60];
        packet[0] = 0x60;
        packet[5] = 20;
        packet[6] = 6;
        assert_eq!(header(&packet).map(|header| (header.len, header.protocol)), Ok((60, 6)));
        packet[5] = 21;
        assert_eq!(header(&packet), Err(BadPacket::Length));
        assert_eq!(header(&packet[..39]), Err(BadPacket::Short));
        assert_eq!(header(&[0x50; 60]), Err(BadPacket::Version));
        assert_eq!(header(&[]), Err(BadPacket::Version));
    }

    #[test]
    fn padding_stops_at_the_mtu() {
        for (len, mtu, padded) in
            [(0, 1420, 0), (1, 1420, 16), (16, 1420, 16), (1409, 1420, 1420), (1420, 1420, 1420)]
        {
            assert_eq!(padded_len(len, mtu), padded);
        }
        assert_eq!(padded_len(1500, 1420), 1500);
    }

    proptest! {
        #[test]
        fn never_longer_than_the_bytes(packet in proptest::collection::vec(any::<u8>(), 0..128)) {
            if let Ok(header) = header(&packet) {
                prop_assert!(header.header_len <= header.len && header.len <= packet.len());
            }
        }
    }
}
