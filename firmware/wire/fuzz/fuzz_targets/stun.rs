//! Any datagram, from anywhere: no answer is longer than what it answers, and each is read again as it was meant.
#![no_main]

use std::net::{IpAddr, SocketAddr};

use arbitrary::Arbitrary;
use libfuzzer_sys::fuzz_target;
use wire::stun::{ANSWER_BYTES_MAX, answer, is_stun, read_answer};

#[derive(Arbitrary, Debug)]
struct Input<'a> {
    from: ([u8; 16], bool, u16),
    /// Whether cookie and length are put right.
    framed: bool,
    datagram: &'a [u8],
}

fuzz_target!(|input: Input<'_>| {
    let (octets, v4, port) = input.from;
    let [a, b, c, d, ..] = octets;
    let ip = if v4 { IpAddr::from([a, b, c, d]) } else { IpAddr::from(octets) };
    let from = SocketAddr::new(ip, port);
    let mut datagram = input.datagram.to_vec();
    if input.framed && datagram.len() >= 20 {
        datagram.truncate(datagram.len() / 4 * 4);
        let length = u16::try_from(datagram.len() - 20).unwrap_or_default();
        datagram[2..4].copy_from_slice(&length.to_be_bytes());
        datagram[4..8].copy_from_slice(&[0x21, 0x12, 0xa4, 0x42]);
    }
    let mut out = [0; ANSWER_BYTES_MAX];
    if let Some(length) = answer(&datagram, from, &mut out) {
        assert!(is_stun(&datagram) && length <= datagram.len());
        let (transaction, seen) = read_answer(&out[..length]).expect("what was answered can be read");
        assert_eq!(transaction.0, datagram[8..20]);
        assert_eq!(seen, SocketAddr::new(ip.to_canonical(), port));
    }
    assert!(read_answer(&datagram).is_none() || is_stun(&datagram));
    if matches!(datagram.get(..4), Some([1..=4, 0, 0, 0])) {
        assert!(!is_stun(&datagram));
    }
});
