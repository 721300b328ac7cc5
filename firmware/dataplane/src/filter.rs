//! What a box of the mesh may send to this one: default deny, judged packet by packet, at the receiver.
//!
//! | packet | |
//! |---|---|
//! | TCP that begins a connection (SYN without ACK) | only to the open ports |
//! | other TCP | passes: it belongs to a connection that was let in, or that this host began; if to none, the host refuses it |
//! | ICMPv6 errors, echo request and reply (RFC 4890, 4.3.1) | pass |
//! | UDP, fragments, other protocols, extension headers, IPv4 | dropped |
//!
//! It keeps no state, so there is nothing that a flood could fill.

/// Next headers (IANA protocol numbers).
const TCP: u8 = 6;
const ICMP_V6: u8 = 58;
const V6_HEADER_BYTES: usize = 40;
/// Where a TCP header has its flags, and the least that it is long (RFC 9293, 3.1).
const TCP_FLAGS_AT: usize = 13;
const TCP_HEADER_BYTES: usize = 20;
const SYN: u8 = 0x02;
const ACK: u8 = 0x10;

/// Ports that others may connect to, at most.
pub const PORTS_MAX: usize = 8;

/// The open ports.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Filter {
    open: heapless::Vec<u16, PORTS_MAX>,
}

impl Filter {
    /// Ports beyond [`PORTS_MAX`] stay shut.
    pub fn new(open: impl IntoIterator<Item = u16>) -> Filter {
        let mut filter = Filter::default();
        for port in open {
            let _ = filter.open.push(port);
        }
        filter
    }

    /// Whether a packet, whose IP header was checked, may go to the host.
    pub fn lets_in(&self, packet: &[u8]) -> bool {
        if packet.first().is_none_or(|first| first >> 4 != 6) {
            return false;
        }
        let Some((header, rest)) = packet.split_at_checked(V6_HEADER_BYTES) else { return false };
        match header[6] {
            TCP => self.lets_tcp_in(rest),
            ICMP_V6 => matches!(rest.first(), Some(1..=4 | 128 | 129)),
            _ => false,
        }
    }

    fn lets_tcp_in(&self, segment: &[u8]) -> bool {
        let Some(header) = segment.get(..TCP_HEADER_BYTES) else { return false };
        let begins = header[TCP_FLAGS_AT] & (SYN | ACK) == SYN;
        let port = u16::from_be_bytes([header[2], header[3]]);
        !begins || self.open.contains(&port)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const OPEN: u16 = 7468;

    fn packet(next: u8, payload: &[u8]) -> Vec<u8> {
        let mut packet = vec![0; V6_HEADER_BYTES];
        packet[0] = 0x60;
        packet[6] = next;
        packet.extend_from_slice(payload);
        packet
    }

    fn tcp(port: u16, flags: u8) -> Vec<u8> {
        let mut segment = vec![0; TCP_HEADER_BYTES];
        segment[2..4].copy_from_slice(&port.to_be_bytes());
        segment[TCP_FLAGS_AT] = flags;
        packet(TCP, &segment)
    }

    #[test]
    fn only_what_is_named_comes_in() {
        let filter = Filter::new([OPEN]);
        let check =
            |packet: &[u8], expected: bool| assert_eq!(filter.lets_in(packet), expected, "{packet:?}");
        check(&tcp(OPEN, SYN), true);
        check(&tcp(22, SYN), false);
        check(&tcp(8080, SYN), false);
        // Explicit congestion notification rides on a SYN (RFC 3168, 6.1.1).
        check(&tcp(22, SYN | 0xc0), false);
        check(&tcp(40_000, SYN | ACK), true);
        check(&tcp(22, ACK), true);
        check(&packet(TCP, &[0; 19]), false);
        check(&packet(ICMP_V6, &[128, 0, 0, 0]), true);
        check(&packet(ICMP_V6, &[134, 0, 0, 0]), false);
        check(&packet(ICMP_V6, &[]), false);
        check(&packet(17, &[0; 8]), false);
        check(&packet(44, &tcp(OPEN, SYN)), false);
        check(&[0x45; 60], false);
        check(&[], false);
    }

    #[test]
    fn without_ports_nobody_comes_in() {
        assert!(!Filter::default().lets_in(&tcp(OPEN, SYN)));
    }
}
