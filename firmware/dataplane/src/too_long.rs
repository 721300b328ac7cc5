//! What the host is told when a packet of its own is too long for the path to a peer: "packet too big" (RFC 4443, 3.2;
//! RFC 8201), or of IPv4 "fragmentation needed" (RFC 1191, 4).
//!
//! Refuses to answer what must not be answered: errors, and packets to many (RFC 4443, 2.4 (e)). It seems to come from
//! where the packet was to go, since no router stands between that would have an address of its own.

use std::net::IpAddr;

use crate::checksum;
use crate::packet;

const ICMP_V4: u8 = 1;
const ICMP_V6: u8 = 58;

/// Bytes before the packet that is quoted.
const ICMP_HEADER_BYTES: usize = 8;
/// The longest answer of IPv6, and what a host of IPv4 surely takes (RFC 1812, 4.3.2.3).
const ANSWER_V6_BYTES_MAX: usize = 1280;
const ANSWER_V4_BYTES_MAX: usize = 576;

/// Writes the answer to a packet that is longer than `mtu`, and gives its length; `None` when there is to be none.
pub(crate) fn answer(packet: &[u8], mtu: u16, out: &mut [u8]) -> Option<usize> {
    let ip = packet::header(packet).ok()?;
    if ip.destination.is_multicast() {
        return None;
    }
    let inner = packet.get(ip.header_len..)?;
    match (ip.source, ip.destination) {
        (IpAddr::V6(source), IpAddr::V6(destination)) => {
            // Errors have types below 128.
            if ip.protocol == ICMP_V6 && *inner.first()? < 128 {
                return None;
            }
            let quoted = &packet[..packet.len().min(ANSWER_V6_BYTES_MAX - 40 - ICMP_HEADER_BYTES)];
            let len = ICMP_HEADER_BYTES + quoted.len();
            let (head, message) = out.get_mut(..40 + len)?.split_at_mut(40);
            head[..8].copy_from_slice(&[0x60, 0, 0, 0, 0, 0, ICMP_V6, 64]);
            head[4..6].copy_from_slice(&u16::try_from(len).ok()?.to_be_bytes());
            head[8..24].copy_from_slice(&destination.octets());
            head[24..40].copy_from_slice(&source.octets());
            message[..4].copy_from_slice(&[2, 0, 0, 0]);
            message[4..8].copy_from_slice(&u32::from(mtu).to_be_bytes());
            message[8..].copy_from_slice(quoted);
            let pseudo = checksum::pseudo_header(ip.destination, ip.source, ICMP_V6, len);
            let sum = checksum::finish(pseudo + checksum::sum(message));
            message[2..4].copy_from_slice(&sum);
            Some(40 + len)
        }
        (IpAddr::V4(source), IpAddr::V4(destination)) => {
            let is_first = packet[6] & 0x1f == 0 && packet[7] == 0;
            // Of ICMP only echoes are no errors that matter here.
            if !is_first || (ip.protocol == ICMP_V4 && !matches!(inner.first()?, 0 | 8)) {
                return None;
            }
            let quoted = &packet[..packet.len().min(ANSWER_V4_BYTES_MAX - 20 - ICMP_HEADER_BYTES)];
            let len = 20 + ICMP_HEADER_BYTES + quoted.len();
            let (head, message) = out.get_mut(..len)?.split_at_mut(20);
            head.copy_from_slice(&[0x45, 0, 0, 0, 0, 0, 0x40, 0, 64, ICMP_V4, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
            head[2..4].copy_from_slice(&u16::try_from(len).ok()?.to_be_bytes());
            head[12..16].copy_from_slice(&destination.octets());
            head[16..20].copy_from_slice(&source.octets());
            let sum = checksum::finish(checksum::sum(head));
            head[10..12].copy_from_slice(&sum);
            message[..6].copy_from_slice(&[3, 4, 0, 0, 0, 0]);
            message[6..8].copy_from_slice(&mtu.to_be_bytes());
            message[8..].copy_from_slice(quoted);
            let sum = checksum::finish(checksum::sum(message));
            message[2..4].copy_from_slice(&sum);
            Some(len)
        }
        (IpAddr::V4(_) | IpAddr::V6(_), _) => None,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::split::tests::{tcp, udp};

    fn answered(packet: &[u8]) -> Option<Vec<u8>> {
        let mut out = [0xee; 2000];
        let len = answer(packet, 1280, &mut out)?;
        Some(out[..len].to_vec())
    }

    #[test]
    fn the_sender_hears_of_the_length_from_where_it_sent_to() {
        let packet = udp(true, &[5; 1372]);
        let told = answered(&packet).expect("an answer");
        let ip = packet::header(&told).expect("a packet");
        assert_eq!((ip.source.to_string(), ip.destination.to_string()), ("fd00::2".into(), "fd00::1".into()));
        assert_eq!((ip.len, ip.protocol), (1280, 58));
        assert_eq!(told[40..42], [2, 0]);
        assert_eq!(told[44..48], [0, 0, 5, 0]);
        assert_eq!(told[48..], packet[..1232]);
        let pseudo = checksum::pseudo_header(ip.source, ip.destination, 58, ip.len - 40);
        assert!(checksum::is_right(pseudo + checksum::sum(&told[40..])));

        let packet = udp(false, &[5; 1372]);
        let told = answered(&packet).expect("an answer");
        let ip = packet::header(&told).expect("a packet");
        assert_eq!(
            (ip.source.to_string(), ip.destination.to_string()),
            ("10.0.0.2".into(), "10.0.0.1".into())
        );
        assert_eq!((ip.len, ip.protocol), (576, 1));
        assert_eq!(told[20..22], [3, 4]);
        assert_eq!(told[24..28], [0, 0, 5, 0]);
        assert_eq!(told[28..], packet[..548]);
        assert!(
            checksum::is_right(checksum::sum(&told[..20])) && checksum::is_right(checksum::sum(&told[20..]))
        );
    }

    #[test]
    fn errors_and_packets_to_many_are_not_answered() {
        for v6 in [false, true] {
            let mut error = answered(&tcp(v6, 1, 0x10, &[], &[1; 1400])).expect("an answer");
            assert_eq!(answered(&error), None);
            if v6 {
                error[40] = 128;
                assert!(answered(&error).is_some(), "an echo is no error");
            }
        }
        let mut many = udp(true, &[1; 1400]);
        many[24] = 0xff;
        assert_eq!(answered(&many), None);
        let mut part = udp(false, &[1; 1400]);
        part[7] = 1;
        assert_eq!(answered(&part), None);
    }

    proptest! {
        #[test]
        fn nothing_panics(mut packet in proptest::collection::vec(any::<u8>(), 0..200), v6: bool) {
            if let Some(first) = packet.first_mut() {
                *first = if v6 { 0x60 } else { 0x45 };
            }
            if let Some(told) = answered(&packet) {
                prop_assert!(packet::header(&told).is_ok_and(|ip| ip.len == told.len()));
            }
        }
    }
}
