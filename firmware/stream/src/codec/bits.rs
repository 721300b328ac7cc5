//! Bits of a byte string, the most significant first.
//!
//! It gives none where the string ends; it never invents padding.

#[derive(Clone, Debug)]
pub(crate) struct Bits<'a> {
    bytes: &'a [u8],
    /// Position in bits.
    at: usize,
}

impl<'a> Bits<'a> {
    pub(crate) fn new(bytes: &'a [u8]) -> Self {
        Self { bytes, at: 0 }
    }

    /// The next `count` bits, at most 32; none, and nothing taken, if there are not so many left.
    pub(crate) fn take(&mut self, count: usize) -> Option<u32> {
        debug_assert!(count <= 32, "a field has at most 32 bits");
        let end = self.at.checked_add(count).filter(|end| *end <= self.bytes.len() * 8)?;
        let mut value = 0_u32;
        for at in self.at..end {
            let bit = self.bytes[at / 8] >> (7 - at % 8) & 1;
            value = value << 1 | u32::from(bit);
        }
        self.at = end;
        Some(value)
    }

    pub(crate) fn flag(&mut self) -> Option<bool> {
        self.take(1).map(|bit| bit == 1)
    }

    /// An unsigned variable-length code of leading zeros (AV1 4.10.3).
    pub(crate) fn uvlc(&mut self) -> Option<u32> {
        let mut zeros = 0;
        while !self.flag()? {
            zeros += 1;
            if zeros >= 32 {
                return Some(u32::MAX);
            }
        }
        self.take(zeros).map(|value| value + ((1_u32 << zeros) - 1))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bits_come_in_order_and_end() {
        let mut bits = Bits::new(&[0b1010_0000, 0xff]);
        assert_eq!(bits.take(3), Some(0b101));
        assert_eq!(bits.take(0), Some(0));
        assert_eq!(bits.take(8), Some(0b0000_0111));
        assert_eq!(bits.take(6), None);
        assert_eq!(bits.take(5), Some(31));
        assert_eq!(bits.flag(), None);
    }

    #[test]
    fn variable_length_codes() {
        // 1 | 010 | 00110 | 0...
        let mut bits = Bits::new(&[0b1010_0011, 0b0000_0000]);
        assert_eq!((bits.uvlc(), bits.uvlc(), bits.uvlc()), (Some(0), Some(1), Some(5)));
        assert_eq!(bits.uvlc(), None);
        assert_eq!(Bits::new(&[0; 5]).uvlc(), Some(u32::MAX));
    }
}
