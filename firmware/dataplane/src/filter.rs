//! What a box of the mesh may send to this one: default deny, judged packet by packet, at the receiver.
//!
//! | packet | |
//! |---|---|
//! | TCP that begins a connection (SYN without ACK) | only to the open ports |
//! | other TCP | passes: it belongs to a connection that was let in, or that this host began; if to none, the host refuses it |
//! | ICMPv6 errors, echo request and reply (RFC 4890, 4.3.1) | pass |
//! | ICMP errors, echo request and reply, from viewers | pass |
//! | UDP, fragments, other protocols, extension headers; IPv4 from boxes | dropped |
//!
//! It keeps no state, so there is nothing that a flood could fill.

/// Protocol numbers (IANA).
const TCP: u8 = 6;
const ICMP_V4: u8 = 1;
const ICMP_V6: u8 = 58;
const V4_HEADER_BYTES: usize = 20;
const V6_HEADER_BYTES: usize = 40;
/// Where a TCP header has its flags, and the least that it is long (RFC 9293, 3.1).
const TCP_FLAGS_AT: usize = 13;
const TCP_HEADER_BYTES: usize = 20;
const SYN: u8 = 0x02;
const ACK: u8 = 0x10;

/// Ports that others may connect to, at most.
pub const PORTS_MAX: usize = 8;

/// Whose packet it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum From {
    /// Another box, which speaks IPv6 alone.
    Box,
    /// A viewer with the ordinary WireGuard app, of which this box is the gateway.
    Viewer,
}

type Ports = heapless::Vec<u16, PORTS_MAX>;

/// The open ports.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Filter {
    boxes: Ports,
    viewers: Ports,
}

impl Filter {
    /// For boxes, and for viewers. Ports beyond [`PORTS_MAX`] stay shut.
    pub fn new(boxes: impl IntoIterator<Item = u16>, viewers: impl IntoIterator<Item = u16>) -> Filter {
        Filter {
            boxes: boxes.into_iter().take(PORTS_MAX).collect(),
            viewers: viewers.into_iter().take(PORTS_MAX).collect(),
        }
    }

    /// Whether a packet, whose IP header was checked, may go to the host.
    pub fn lets_in(&self, from: From, packet: &[u8]) -> bool {
        let open = match from {
            From::Box => &self.boxes,
            From::Viewer => &self.viewers,
        };
        match packet.first().map(|first| first >> 4) {
            Some(6) => lets_v6_in(open, packet),
            Some(4) => from == From::Viewer && lets_v4_in(open, packet),
            _ => false,
        }
    }
}

fn lets_v6_in(open: &Ports, packet: &[u8]) -> bool {
    let Some((header, rest)) = packet.split_at_checked(V6_HEADER_BYTES) else { return false };
    match header[6] {
        TCP => lets_tcp_in(open, rest),
        ICMP_V6 => matches!(rest.first(), Some(1..=4 | 128 | 129)),
        _ => false,
    }
}

fn lets_v4_in(open: &Ports, packet: &[u8]) -> bool {
    let header_len = usize::from(packet[0] & 0x0f) * 4;
    let Some((header, rest)) = packet.split_at_checked(header_len.max(V4_HEADER_BYTES)) else { return false };
    // More fragments, or not the first one.
    if header[6] & 0x3f != 0 || header[7] != 0 {
        return false;
    }
    match header[9] {
        TCP => lets_tcp_in(open, rest),
        ICMP_V4 => matches!(rest.first(), Some(0 | 3 | 8 | 11 | 12)),
        _ => false,
    }
}

fn lets_tcp_in(open: &Ports, segment: &[u8]) -> bool {
    let Some(header) = segment.get(..TCP_HEADER_BYTES) else { return false };
    let begins = header[TCP_FLAGS_AT] & (SYN | ACK) == SYN;
    let port = u16::from_be_bytes([header[2], header[3]]);
    !begins || open.contains(&port)
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
        let filter = Filter::new([OPEN], [8080]);
        let check = |packet: &[u8], expected: bool| {
            assert_eq!(filter.lets_in(From::Box, packet), expected, "{packet:?}");
        };
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
        assert!(!Filter::default().lets_in(From::Box, &tcp(OPEN, SYN)));
    }

    #[test]
    fn a_viewer_may_watch_by_both_families() {
        let filter = Filter::new([OPEN], [8080]);
        let check = |packet: &[u8], expected: bool| {
            assert_eq!(filter.lets_in(From::Viewer, packet), expected, "{packet:?}");
        };
        let v4 = |protocol: u8, fragment: u8, payload: &[u8]| {
            let mut packet = vec![0; V4_HEADER_BYTES];
            (packet[0], packet[6], packet[9]) = (0x45, fragment, protocol);
            packet.extend_from_slice(payload);
            packet
        };
        let segment = |port: u16, flags: u8| tcp(port, flags)[V6_HEADER_BYTES..].to_vec();
        check(&tcp(8080, SYN), true);
        check(&tcp(OPEN, SYN), false);
        check(&v4(TCP, 0, &segment(8080, SYN)), true);
        check(&v4(TCP, 0x40, &segment(8080, SYN)), true);
        check(&v4(TCP, 0x20, &segment(8080, SYN)), false);
        check(&v4(TCP, 0, &segment(22, SYN)), false);
        check(&v4(ICMP_V4, 0, &[8, 0, 0, 0]), true);
        check(&v4(17, 0, &[0; 8]), false);
        check(&[0x4f; 30], false);
    }
}
