//! STUN against the vectors of RFC 5769, and against anything else.

use std::net::SocketAddr;

use proptest::prelude::*;
use wire::stun::{ANSWER_BYTES_MAX, REQUEST_BYTES, Transaction, answer, is_stun, read_answer, request};

const TRANSACTION: Transaction =
    Transaction([0xb7, 0xe7, 0xa7, 0x01, 0xbc, 0x34, 0xd6, 0x86, 0xfa, 0x87, 0xdf, 0xae]);

/// RFC 5769 section 2.1: a request with PRIORITY, which may not be passed over.
const ICE_REQUEST: &str = "000100582112a442b7e7a701bc34d686fa87dfae802200105354554e207465737420636c69656e74\
    002400046e0001ff80290008932ff9b151263b36000600096576746a3a68367659202020\
    000800149aeaa70cbfd8cb56781ef2b5b2d3f249c1b571a280280004e57a3bcf";
/// Section 2.2.
const ANSWER_V4: &str = "0101003c2112a442b7e7a701bc34d686fa87dfae8022000b7465737420766563746f7220\
    002000080001a147e112a643000800142b91f599fd9e90c38c7489f92af9ba53f06be7d780280004c07d4c96";
/// Section 2.3.
const ANSWER_V6: &str = "010100482112a442b7e7a701bc34d686fa87dfae8022000b7465737420766563746f7220\
    002000140002a1470113a9faa5d3f179bc25f4b5bed2b9d9\
    00080014a382954e4be67bf11784c97c8292c275bfe3ed4180280004c8fb0b4c";

fn hex(text: &str) -> Vec<u8> {
    let digits: Vec<char> = text.chars().collect();
    let byte = |pair: &[char]| u8::from_str_radix(&pair.iter().collect::<String>(), 16).unwrap();
    digits.chunks(2).map(byte).collect()
}

fn at(text: &str) -> SocketAddr {
    text.parse().unwrap()
}

fn answered(asked: &[u8], from: SocketAddr) -> Option<Vec<u8>> {
    let mut out = [0xee; ANSWER_BYTES_MAX];
    answer(asked, from, &mut out).map(|length| out[..length].to_vec())
}

#[test]
fn the_vectors_of_rfc_5769_are_read() {
    let check = |vector: &str, expected: &str| {
        assert!(is_stun(&hex(vector)));
        assert_eq!(read_answer(&hex(vector)), Some((TRANSACTION, at(expected))));
    };
    check(ANSWER_V4, "192.0.2.1:32853");
    check(ANSWER_V6, "[2001:db8:1234:5678:11:2233:4455:6677]:32853");
    assert!(is_stun(&hex(ICE_REQUEST)));
    assert_eq!(read_answer(&hex(ICE_REQUEST)), None);
    assert_eq!(answered(&hex(ICE_REQUEST), at("192.0.2.1:32853")), None, "PRIORITY is not known");
}

#[test]
fn answers_are_written_as_the_vectors_have_them() {
    let check = |from: &str, expected: &str| {
        assert_eq!(answered(&request(TRANSACTION), at(from)), Some(hex(expected)), "{from}");
    };
    let v4 = "0101000c2112a442b7e7a701bc34d686fa87dfae002000080001a147e112a643";
    check("192.0.2.1:32853", v4);
    check("[::ffff:192.0.2.1]:32853", v4);
    let v6 = "010100182112a442b7e7a701bc34d686fa87dfae002000140002a1470113a9faa5d3f179bc25f4b5bed2b9d9";
    check("[2001:db8:1234:5678:11:2233:4455:6677]:32853", v6);
}

#[test]
fn a_request_is_as_long_as_the_longest_answer() {
    let asked = request(TRANSACTION);
    let written =
        hex("000100182112a442b7e7a701bc34d686fa87dfae8022001472656c6179626f7820706174682066696e646572");
    assert_eq!(asked.to_vec(), written);
    const { assert!(REQUEST_BYTES >= ANSWER_BYTES_MAX) }
}

#[test]
fn a_request_without_padding_is_answered_where_the_answer_is_no_longer() {
    let bare = hex("000100002112a442b7e7a701bc34d686fa87dfae");
    assert_eq!(answered(&bare, at("192.0.2.1:1")), None);
    let mut padded = hex("0001000c2112a442b7e7a701bc34d686fa87dfae80220008");
    padded.extend([b'x'; 8]);
    assert_eq!(answered(&padded, at("192.0.2.1:1")).map(|answer| answer.len()), Some(32));
    assert_eq!(answered(&padded, at("[2001:db8::1]:1")), None);
}

#[test]
fn what_is_bent_is_not_taken() {
    let check = |bend: &dyn Fn(&mut Vec<u8>)| {
        let mut asked = request(TRANSACTION).to_vec();
        bend(&mut asked);
        assert_eq!(answered(&asked, at("192.0.2.1:1")), None, "{asked:02x?}");
        let mut told = hex(ANSWER_V4);
        bend(&mut told);
        assert_eq!(read_answer(&told), None, "{told:02x?}");
    };
    check(&|message| message[4] ^= 1);
    check(&|message| message[1] ^= 0x10);
    check(&|message| message[0] |= 0x40);
    check(&|message| message[3] += 4);
    check(&|message| message.truncate(message.len() - 1));
    check(&|message| message.extend([0; 4]));
    check(&|message| message[22] = 1);
    // An attribute that may not be passed over.
    check(&|message| message[20] = 0);
    // A family that is none.
    let mut told = hex(ANSWER_V4);
    told[41] = 3;
    assert_eq!(read_answer(&told), None);
}

fn addresses() -> impl Strategy<Value = SocketAddr> {
    any::<(bool, u128, u16)>().prop_map(|(v4, bits, port)| {
        let ip =
            if v4 { std::net::IpAddr::from((bits as u32).to_be_bytes()) } else { bits.to_be_bytes().into() };
        SocketAddr::new(ip, port)
    })
}

proptest! {
    #[test]
    fn who_asks_learns_its_address(transaction: [u8; 12], from in addresses()) {
        let asked = request(Transaction(transaction));
        let told = answered(&asked, from).unwrap();
        prop_assert!(is_stun(&asked) && is_stun(&told) && told.len() <= asked.len());
        let seen = SocketAddr::new(from.ip().to_canonical(), from.port());
        prop_assert_eq!(read_answer(&told), Some((Transaction(transaction), seen)));
    }

    #[test]
    fn wireguard_is_never_stun(kind in 1u8..=4, rest in proptest::collection::vec(any::<u8>(), 0..200), cookie: bool) {
        let mut message = vec![kind, 0, 0, 0];
        if cookie {
            message.extend([0x21, 0x12, 0xa4, 0x42]);
        }
        message.extend(rest);
        prop_assert!(!is_stun(&message));
    }

    /// Nothing panics, and nobody gets more than they gave.
    #[test]
    fn any_bytes_are_survived(
        mut bytes in proptest::collection::vec(any::<u8>(), 0..100), framed: bool, from in addresses(),
    ) {
        if framed && bytes.len() >= 20 {
            bytes.truncate(bytes.len() / 4 * 4);
            let length = (bytes.len() - 20) as u8;
            let kind = bytes[0] & 1;
            bytes[..8].copy_from_slice(&[kind, 1, 0, length, 0x21, 0x12, 0xa4, 0x42]);
        }
        let told = answered(&bytes, from);
        prop_assert!(told.is_none_or(|told| told.len() <= bytes.len() && is_stun(&bytes)));
        prop_assert!(read_answer(&bytes).is_none() || is_stun(&bytes));
    }
}
