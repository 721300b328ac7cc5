//! Packets of the mesh itself, as they lie inside of the tunnel: how they begin, and how much of them is passed on.
//!
//! Their UDP checksum is zero, as RFC 6935 lets tunnels do: each lies inside of a sealed message. Plain functions, and
//! budgets for those who let others relay for them; a relay has no queue, so what is over its budget is dropped.

use std::time::{Duration, Instant};

use mesh::Ula;
use mesh::message::{RELAY_HEAD_BYTES, What};

use crate::exchange::PeerNumber;
use crate::outgoing::Outgoing;
use crate::packet::{Header, UDP, UDP_HEADER_BYTES};

/// Headers of IPv6 and UDP.
pub(crate) const HEADERS_BYTES: usize = 40 + UDP_HEADER_BYTES;

/// What lies before a relayed datagram.
pub(crate) const RELAYED_AT: usize = HEADERS_BYTES + RELAY_HEAD_BYTES;

/// Pairs of boxes for which datagrams are passed on at once.
const PAIRS_MAX: usize = 64;

/// From one box to one other: 10 Mbit/s, a live stream.
const PAIR_BYTES_PER_S: u64 = 1_250_000;

/// From one box to all others: 20 Mbit/s.
const BOX_BYTES_PER_S: u64 = 2_500_000;

/// Around a datagram that is passed on, on the line: our own headers within the tunnel, WireGuard's 32 bytes, UDP and IPv6.
const LINE_BYTES: usize = RELAYED_AT + 32 + HEADERS_BYTES;

/// How far ahead of what is left of the line it may be, as time: a packet passes even where little is left.
const LINE_BURST: Duration = Duration::from_millis(100);

/// What may come at once, as time at the rate: a keyframe.
const BURST: Duration = Duration::from_millis(250);

/// Writes the headers of a packet whose payload of `payload_len` bytes lies behind them. `None` when that is longer than
/// a length field can say.
pub(crate) fn write_headers(packet: &mut [u8], from: Ula, to: Ula, payload_len: usize) -> Option<()> {
    let len = u16::try_from(payload_len + UDP_HEADER_BYTES).ok()?;
    packet[..8].copy_from_slice(&[0x60, 0, 0, 0, 0, 0, UDP, 64]);
    packet[4..6].copy_from_slice(&len.to_be_bytes());
    packet[8..24].copy_from_slice(&octets(from));
    packet[24..40].copy_from_slice(&octets(to));
    packet[40..42].copy_from_slice(&mesh::PORT.to_be_bytes());
    packet[42..44].copy_from_slice(&mesh::PORT.to_be_bytes());
    packet[44..46].copy_from_slice(&len.to_be_bytes());
    packet[46..48].fill(0);
    Some(())
}

/// Writes all that lies before a relayed datagram of `len` bytes; see [`write_headers`].
pub(crate) fn write_relayed(
    packet: &mut [u8],
    from: Ula,
    to: Ula,
    what: What,
    named: Ula,
    len: usize,
) -> Option<()> {
    write_headers(packet, from, to, RELAY_HEAD_BYTES + len)?;
    packet[HEADERS_BYTES] = what.byte();
    packet[HEADERS_BYTES + 1..RELAYED_AT].copy_from_slice(&octets(named));
    Some(())
}

/// The payload of a packet, and what it is. `None` for what this version does not know.
pub(crate) fn read<'a>(packet: &'a [u8], ip: &Header) -> Option<(What, &'a [u8])> {
    let payload = packet.get(ip.header_len + UDP_HEADER_BYTES..ip.len)?;
    Some((What::of(*payload.first()?)?, payload))
}

/// The box that a relayed datagram names, and the datagram.
pub(crate) fn relayed(payload: &[u8]) -> Option<(Ula, &[u8])> {
    let (head, datagram) = payload.split_at_checked(RELAY_HEAD_BYTES)?;
    Some((address(head[1..].try_into().ok()?)?, datagram))
}

/// 16 bytes as an address of a mesh.
pub(crate) fn address(octets: [u8; 16]) -> Option<Ula> {
    std::net::Ipv6Addr::from(octets).try_into().ok()
}

pub(crate) fn octets(address: Ula) -> [u8; 16] {
    std::net::Ipv6Addr::from(address).octets()
}

/// How much is passed on, for each pair of boxes, for each box, and for all of them.
#[derive(Debug)]
pub(crate) struct Budgets {
    pairs: heapless::Vec<Pair, PAIRS_MAX>,
    outgoing: Outgoing,
    /// When the budget for all of them is full again.
    full_at: Option<Instant>,
}

/// Kept as the time at which it is full again; one that is full by now need not be kept.
#[derive(Debug)]
struct Pair {
    from: PeerNumber,
    to: PeerNumber,
    full_at: Instant,
    /// Of the box that sends, the same in all its pairs.
    box_full_at: Instant,
}

impl Budgets {
    pub(crate) const fn new(outgoing: Outgoing) -> Self {
        Self { pairs: heapless::Vec::new(), outgoing, full_at: None }
    }

    /// Whether so many bytes may be passed on from one box to another.
    pub(crate) fn take(&mut self, from: PeerNumber, to: PeerNumber, bytes: usize, now: Instant) -> bool {
        let at = match self.pairs.iter().position(|pair| (pair.from, pair.to) == (from, to)) {
            Some(at) => at,
            None => match self.add(from, to, now) {
                Some(at) => at,
                None => return false,
            },
        };
        let after = |full_at: Instant, per_s: u64| {
            full_at.max(now) + Duration::from_nanos(bytes as u64 * 1_000_000_000 / per_s)
        };
        let full_at = after(self.pairs[at].full_at, PAIR_BYTES_PER_S);
        let box_full_at = after(self.pairs[at].box_full_at, BOX_BYTES_PER_S);
        if full_at.duration_since(now) > BURST || box_full_at.duration_since(now) > BURST {
            return false;
        }
        let line_bytes = bytes + LINE_BYTES;
        match self.outgoing.allowed() {
            0 => return false,
            u64::MAX => {}
            per_s => {
                let lasts = Duration::from_nanos(line_bytes as u64 * 1_000_000_000 / per_s);
                let before = self.full_at.map_or(now, |full_at| full_at.max(now));
                if before.duration_since(now) > LINE_BURST {
                    return false;
                }
                self.full_at = Some(before + lasts);
            }
        }
        self.outgoing.note_passed(line_bytes as u64);
        self.pairs[at].full_at = full_at;
        self.pairs
            .iter_mut()
            .filter(|pair| pair.from == from)
            .for_each(|pair| pair.box_full_at = box_full_at);
        true
    }

    fn add(&mut self, from: PeerNumber, to: PeerNumber, now: Instant) -> Option<usize> {
        if self.pairs.is_full() {
            self.pairs.retain(|pair| pair.full_at > now || pair.box_full_at > now);
        }
        let of_box = self.pairs.iter().find(|pair| pair.from == from).map(|pair| pair.box_full_at);
        let pair = Pair { from, to, full_at: now, box_full_at: of_box.unwrap_or(now) };
        self.pairs.push(pair).ok()?;
        Some(self.pairs.len() - 1)
    }
}

#[cfg(test)]
mod tests {
    use mesh::PeerId;

    use super::*;
    use crate::packet;

    fn number(number: u16) -> PeerNumber {
        PeerId(number).into()
    }

    fn ula(text: &str) -> Ula {
        text.parse::<std::net::Ipv6Addr>().expect("an address").try_into().expect("a local one")
    }

    #[test]
    fn what_is_passed_on_keeps_the_limit_of_the_line_and_is_counted() {
        let outgoing = Outgoing::default();
        let mut budgets = Budgets::new(outgoing.clone());
        let start = Instant::now();
        let mut passed = |from: u64, millis: u64| {
            let took = (from..from + millis).map(|at| {
                let now = start + Duration::from_millis(at);
                u64::from(budgets.take(number(1), number(2), 1000, now))
                    + u64::from(budgets.take(number(3), number(2), 1000, now))
            });
            took.sum::<u64>() * (1000 + LINE_BYTES as u64)
        };
        outgoing.allow(Some(100_000));
        let first = passed(0, 2_000);
        assert!((190_000..=212_000).contains(&first), "{first}");
        outgoing.allow(Some(0));
        assert_eq!(passed(2_000, 100), 0);
        // A line of 100 kbit/s, and a twentieth of it: one packet now and then, and not none.
        outgoing.allow(Some(625));
        let few = passed(10_000, 10_000);
        assert!((5_000..=8_000).contains(&few), "{few}");
        outgoing.allow(None);
        let more = passed(30_000, 100);
        assert!(more > 100_000, "{more}");
        assert_eq!(outgoing.passed_bytes(), first + few + more);
    }

    #[test]
    fn what_is_written_is_read() {
        let (from, to, named) = (ula("fd00::1"), ula("fd00::2"), ula("fd00::3"));
        let mut bytes = vec![9; RELAYED_AT + 5];
        write_relayed(&mut bytes, from, to, What::Forward, named, 5).expect("it is short");
        assert_eq!(write_relayed(&mut [0; 99], from, to, What::Forward, named, 65_535 - 24), None);
        let ip = packet::header(&bytes).expect("a packet");
        assert_eq!((ip.source.to_string(), ip.destination.to_string()), ("fd00::1".into(), "fd00::2".into()));
        assert_eq!((ip.len, ip.protocol), (70, 17));
        let (what, payload) = read(&bytes, &ip).expect("what is known");
        assert_eq!(what, What::Forward);
        assert_eq!(relayed(payload), Some((named, &[9; 5][..])));
        bytes[HEADERS_BYTES + 1] = 0x20;
        assert_eq!(relayed(&bytes[HEADERS_BYTES..]), None, "no address of a mesh");
        assert_eq!(relayed(&bytes[HEADERS_BYTES..HEADERS_BYTES + 16]), None);
    }

    #[test]
    fn a_pair_gets_its_rate_and_a_box_twice_that() {
        let start = Instant::now();
        let mut budgets = Budgets::new(Outgoing::default());
        let mut second = |pairs: &[(u16, u16)], from_ms: u64| {
            let mut passed = vec![0; pairs.len()];
            for ms in from_ms..from_ms + 1000 {
                let now = start + Duration::from_millis(ms);
                for (at, (from, to)) in pairs.iter().enumerate() {
                    for _ in 0..3 {
                        passed[at] += 1000 * usize::from(budgets.take(number(*from), number(*to), 1000, now));
                    }
                }
            }
            passed
        };
        // The burst of a quarter of a second, then a second.
        let passed = second(&[(1, 2)], 0);
        assert!((1_550_000..=1_565_000).contains(&passed[0]), "{passed:?}");
        // Four from one box: twice a pair's rate together, and another box has its own.
        let passed = second(&[(1, 2), (1, 3), (1, 4), (1, 5), (6, 2)], 60_000);
        let of_box = passed[..4].iter().sum::<usize>();
        assert!((3_100_000..=3_130_000).contains(&of_box), "{passed:?}");
        assert!((1_550_000..=1_565_000).contains(&passed[4]), "{passed:?}");
    }

    #[test]
    fn pairs_are_bounded_and_idle_ones_make_room() {
        let start = Instant::now();
        let mut budgets = Budgets::new(Outgoing::default());
        let taken = |budgets: &mut Budgets, from: u16, now| {
            (0..100).filter(|to| budgets.take(number(from), number(*to), 100, now)).count()
        };
        assert_eq!(taken(&mut budgets, 1, start), PAIRS_MAX);
        assert_eq!(taken(&mut budgets, 2, start), 0);
        assert_eq!(taken(&mut budgets, 2, start + Duration::from_secs(1)), PAIRS_MAX);
    }
}
