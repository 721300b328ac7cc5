//! Writing and reading numbers in network order. Refuses to read past the end, and to read a flag but 0 and 1.

use alloc::vec::Vec;

use super::SealError;

pub(super) struct Writer(pub(super) Vec<u8>);

impl Writer {
    pub(super) fn u8(&mut self, value: u8) {
        self.0.push(value);
    }

    pub(super) fn u16(&mut self, value: u16) {
        self.0.extend_from_slice(&value.to_be_bytes());
    }

    pub(super) fn u32(&mut self, value: u32) {
        self.0.extend_from_slice(&value.to_be_bytes());
    }

    pub(super) fn u64(&mut self, value: u64) {
        self.0.extend_from_slice(&value.to_be_bytes());
    }

    pub(super) fn i64(&mut self, value: i64) {
        self.0.extend_from_slice(&value.to_be_bytes());
    }

    pub(super) fn bytes(&mut self, bytes: &[u8]) {
        self.0.extend_from_slice(bytes);
    }

    /// With the length before it; what is longer than 65,535 bytes is cut, and will not be read back.
    pub(super) fn text(&mut self, bytes: &[u8]) {
        let len = u16::try_from(bytes.len()).unwrap_or(u16::MAX);
        self.u16(len);
        self.bytes(&bytes[..usize::from(len)]);
    }
}

pub(super) struct Reader<'a>(pub(super) &'a [u8]);

impl<'a> Reader<'a> {
    pub(super) fn take(&mut self, len: usize) -> Result<&'a [u8], SealError> {
        let (head, rest) = self.0.split_at_checked(len).ok_or(SealError::TooShort)?;
        self.0 = rest;
        Ok(head)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], SealError> {
        let (head, rest) = self.0.split_first_chunk().ok_or(SealError::TooShort)?;
        self.0 = rest;
        Ok(*head)
    }

    pub(super) fn u8(&mut self) -> Result<u8, SealError> {
        self.array::<1>().map(|[byte]| byte)
    }

    pub(super) fn flag(&mut self) -> Result<bool, SealError> {
        match self.u8()? {
            0 => Ok(false),
            1 => Ok(true),
            _ => Err(SealError::Malformed("a flag that is neither 0 nor 1")),
        }
    }

    pub(super) fn u16(&mut self) -> Result<u16, SealError> {
        self.array().map(u16::from_be_bytes)
    }

    pub(super) fn u32(&mut self) -> Result<u32, SealError> {
        self.array().map(u32::from_be_bytes)
    }

    pub(super) fn u64(&mut self) -> Result<u64, SealError> {
        self.array().map(u64::from_be_bytes)
    }

    pub(super) fn i64(&mut self) -> Result<i64, SealError> {
        self.array().map(i64::from_be_bytes)
    }

    pub(super) fn hash(&mut self) -> Result<[u8; 32], SealError> {
        self.array()
    }

    pub(super) fn text(&mut self) -> Result<&'a [u8], SealError> {
        let len = self.u16()?;
        self.take(usize::from(len))
    }
}
