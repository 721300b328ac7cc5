//! The internet checksum (RFC 1071), and the pseudo header that TCP and UDP put before it.
//!
//! Sums are kept unfolded in 64 bits, so that pieces can be added in any order; every piece but the last one of a
//! message has to be of even length.

use std::net::IpAddr;

/// The sum of the bytes as 16-bit numbers, not folded.
///
/// Four bytes are added at a time: the ones' complement sum doesn't care how wide its words are, as long as the
/// carries come back in at the end. 64 KiB of the largest words are far from 2^64.
pub(crate) fn sum(bytes: &[u8]) -> u64 {
    let mut words = bytes.chunks_exact(4);
    let mut sum: u64 = 0;
    for word in words.by_ref() {
        sum += u64::from(u32::from_ne_bytes(word.try_into().expect("a chunk of 4")));
    }
    let rest = words.remainder();
    let mut last = [0; 4];
    last[..rest.len()].copy_from_slice(rest);
    sum + u64::from(u32::from_ne_bytes(last))
}

/// The sum of the pseudo header (RFC 9293, 3.1; RFC 8200, 8.1).
pub(crate) fn pseudo_header(source: IpAddr, destination: IpAddr, protocol: u8, len: usize) -> u64 {
    let addresses = match (source, destination) {
        (IpAddr::V4(source), IpAddr::V4(destination)) => sum(&source.octets()) + sum(&destination.octets()),
        (source, destination) => sum(&octets(source)) + sum(&octets(destination)),
    };
    let len = u32::try_from(len).expect("a packet's length fits").to_be_bytes();
    addresses + sum(&len) + sum(&[0, protocol])
}

fn octets(address: IpAddr) -> [u8; 16] {
    match address {
        IpAddr::V4(address) => address.to_ipv6_mapped().octets(),
        IpAddr::V6(address) => address.octets(),
    }
}

/// Folds the carries back in: the two bytes as they stand in a packet, not inverted.
pub(crate) fn fold(mut sum: u64) -> [u8; 2] {
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    u16::try_from(sum).expect("folded").to_ne_bytes()
}

/// The checksum as it stands in a packet.
pub(crate) fn finish(sum: u64) -> [u8; 2] {
    fold(sum).map(|byte| !byte)
}

/// Whether a sum that contains its checksum is right.
pub(crate) fn is_right(sum: u64) -> bool {
    fold(sum) == [0xff, 0xff]
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_example_of_rfc_1071() {
        assert_eq!(fold(sum(&[0x00, 0x01, 0xf2, 0x03, 0xf4, 0xf5, 0xf6, 0xf7])), [0xdd, 0xf2]);
    }

    #[test]
    fn a_header_seen_on_a_wire() {
        let header = [
            0x45, 0x00, 0x00, 0x73, 0x00, 0x00, 0x40, 0x00, 0x40, 0x11, 0xb8, 0x61, 0xc0, 0xa8, 0x00, 0x01,
            0xc0, 0xa8, 0x00, 0xc7,
        ];
        assert!(is_right(sum(&header)));
        let mut blank = header;
        blank[10..12].fill(0);
        assert_eq!(finish(sum(&blank)), [0xb8, 0x61]);
    }

    fn slow(bytes: &[u8]) -> [u8; 2] {
        let mut sum = 0_u32;
        for pair in bytes.chunks(2) {
            sum += u32::from(pair[0]) << 8 | u32::from(*pair.get(1).unwrap_or(&0));
            sum = (sum & 0xffff) + (sum >> 16);
        }
        u16::try_from(sum).expect("folded").to_be_bytes()
    }

    proptest! {
        #[test]
        fn agrees_with_16_bits_at_a_time(bytes in proptest::collection::vec(any::<u8>(), 0..300), cut in 0_usize..150) {
            prop_assert_eq!(fold(sum(&bytes)), slow(&bytes));
            let cut = (cut * 2).min(bytes.len() / 2 * 2);
            prop_assert_eq!(fold(sum(&bytes[..cut]) + sum(&bytes[cut..])), slow(&bytes));
        }
    }
}
