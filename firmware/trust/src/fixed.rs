//! Bytes of a fixed length in both encodings: as they are in signed statements, base64url text (RFC 4648 section 5,
//! no padding) in JSON. Refuses any other length, and any other spelling.

use core::fmt;

use data_encoding::BASE64URL_NOPAD;
use serde::de::{Error, SeqAccess, Visitor};
use serde::ser::SerializeTuple as _;
use serde::{Deserializer, Serializer};

pub(crate) fn serialize<S: Serializer, const N: usize>(bytes: &[u8; N], to: S) -> Result<S::Ok, S::Error> {
    if to.is_human_readable() {
        return to.serialize_str(&BASE64URL_NOPAD.encode(bytes));
    }
    let mut tuple = to.serialize_tuple(N)?;
    for byte in bytes {
        tuple.serialize_element(byte)?;
    }
    tuple.end()
}

pub(crate) fn deserialize<'de, D: Deserializer<'de>, const N: usize>(from: D) -> Result<[u8; N], D::Error> {
    if from.is_human_readable() {
        from.deserialize_str(Bytes::<N>)
    } else {
        from.deserialize_tuple(N, Bytes::<N>)
    }
}

struct Bytes<const N: usize>;

impl<'de, const N: usize> Visitor<'de> for Bytes<N> {
    type Value = [u8; N];

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{N} bytes, as base64url without padding")
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<[u8; N], E> {
        let wrong = || E::invalid_value(serde::de::Unexpected::Str(text), &self);
        if BASE64URL_NOPAD.encode_len(N) != text.len() {
            return Err(E::invalid_length(text.len(), &self));
        }
        let bytes = BASE64URL_NOPAD.decode(text.as_bytes()).map_err(|_| wrong())?;
        bytes.try_into().map_err(|_| wrong())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<[u8; N], A::Error> {
        let mut bytes = [0; N];
        for (at, byte) in bytes.iter_mut().enumerate() {
            *byte = seq.next_element()?.ok_or_else(|| A::Error::invalid_length(at, &self))?;
        }
        Ok(bytes)
    }
}
