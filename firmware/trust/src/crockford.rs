//! Crockford's base 32: what people read aloud and type. Upper case out, either case in; `O` is read as `0`, `I` and
//! `L` as `1`, and there is no `U`.
//!
//! Refuses bits that are left over and not zero, so that bytes have one spelling.

use alloc::string::String;
use alloc::vec::Vec;

/// The 32 digits in order of their values. All are in the alphanumeric mode of QR codes (ISO/IEC 18004 7.4.4).
const DIGITS: &[u8; 32] = b"0123456789ABCDEFGHJKMNPQRSTVWXYZ";

/// The value of a typed character, 0 to 31.
pub(crate) fn value(c: char) -> Option<u8> {
    let c = match c.to_ascii_uppercase() {
        'O' => '0',
        'I' | 'L' => '1',
        c => c,
    };
    let at = DIGITS.iter().position(|&digit| char::from(digit) == c)?;
    u8::try_from(at).ok()
}

/// The digit of a value; only the low five bits count.
pub(crate) fn digit(value: u8) -> char {
    char::from(DIGITS[usize::from(value & 31)])
}

/// The values for bytes, the last one filled up with zero bits.
pub(crate) fn values(bytes: &[u8]) -> Vec<u8> {
    let mut values = Vec::with_capacity((bytes.len() * 8).div_ceil(5));
    let (mut pending, mut bits) = (0u16, 0);
    for &byte in bytes {
        pending = (pending << 8) | u16::from(byte);
        bits += 8;
        while bits >= 5 {
            bits -= 5;
            values.push(low_five(pending >> bits));
        }
        pending &= (1 << bits) - 1;
    }
    if bits > 0 {
        values.push(low_five(pending << (5 - bits)));
    }
    values
}

fn low_five(value: u16) -> u8 {
    value.to_le_bytes()[0] & 31
}

/// The bytes of values; `None` when the count can't come from bytes, or left-over bits are not zero.
pub(crate) fn bytes(values: &[u8]) -> Option<Vec<u8>> {
    let mut bytes = Vec::with_capacity(values.len() * 5 / 8);
    let (mut pending, mut bits) = (0u16, 0);
    for &value in values {
        pending = (pending << 5) | u16::from(value & 31);
        bits += 5;
        if bits >= 8 {
            bits -= 8;
            bytes.push((pending >> bits).to_le_bytes()[0]);
            pending &= (1 << bits) - 1;
        }
    }
    (bits < 5 && pending == 0).then_some(bytes)
}

pub(crate) fn text(values: &[u8]) -> String {
    values.iter().map(|&value| digit(value)).collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn known_texts() {
        // The bits of the bytes in groups of five, by hand: 11111 11100 00000 00001 -> Z W 0 1 and so on.
        assert_eq!(text(&values(&[0xff])), "ZW");
        assert_eq!(text(&values(&[0x00, 0x44, 0x32, 0x14, 0xc7])), "01234567");
        assert_eq!(bytes(&[31, 28]), Some(alloc::vec![0xff]));
        assert_eq!(bytes(&[31, 29]), None, "left-over bits");
        assert_eq!(bytes(&[31]), None, "no byte");
        assert_eq!(value('u'), None);
        assert_eq!([value('o'), value('l'), value('I'), value('z')], [Some(0), Some(1), Some(1), Some(31)]);
    }

    proptest! {
        #[test]
        fn bytes_come_back(original: Vec<u8>) {
            prop_assert_eq!(bytes(&values(&original)), Some(original));
        }
    }
}
