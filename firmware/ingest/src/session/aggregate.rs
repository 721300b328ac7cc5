//! Aggregate messages: several FLV tags in one message (RTMP 1.0, 7.1.6).

use bytes::{Buf, Bytes};

use super::Message;

/// Tags taken from one message; the rest is dropped as broken.
const TAGS_MAX: usize = 1024;
/// Type 1, length 3, timestamp 3 + 1, stream id 3.
const HEADER_BYTES: usize = 11;
/// The size that follows each tag.
const TRAILER_BYTES: usize = 4;

#[derive(Debug, PartialEq, Eq)]
pub(super) struct Part {
    pub(super) type_id: u8,
    pub(super) stamp_ms: u32,
    pub(super) body: Bytes,
}

/// The tags, and whether something was left that is no tag.
pub(super) fn split(message: &Message) -> (Vec<Part>, bool) {
    let mut rest = message.body.clone();
    let mut parts = Vec::new();
    let mut first_ms = None;
    while rest.len() >= HEADER_BYTES && parts.len() < TAGS_MAX {
        let type_id = rest.get_u8();
        let length = rest.get_uint(3) as usize;
        let low_ms = rest.get_uint(3) as u32;
        let tag_ms = low_ms | u32::from(rest.get_u8()) << 24;
        rest.advance(3);
        if length > rest.len() {
            return (parts, true);
        }
        let body = rest.split_to(length);
        // The last tag's trailer is missing in what some encoders send.
        rest.advance(TRAILER_BYTES.min(rest.len()));
        // The message's own timestamp is that of its first tag; the tags give distances only.
        let since_first_ms = tag_ms.wrapping_sub(*first_ms.get_or_insert(tag_ms));
        parts.push(Part { type_id, stamp_ms: message.stamp_ms.wrapping_add(since_first_ms), body });
    }
    (parts, !rest.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(body: &'static [u8]) -> Message {
        Message { type_id: 22, stream_id: 1, stamp_ms: 0xFFFF_FFF0, body: Bytes::from_static(body) }
    }

    #[test]
    fn stamps_are_the_messages_plus_the_distance_from_the_first_tag() {
        let body = b"\x09\0\0\x02\0\0\x64\0\0\0\0ab\0\0\0\x0d\x08\0\0\x01\0\0\x85\0\0\0\0c\0\0\0\x0c";
        let (parts, broken) = split(&message(body));
        let got: Vec<_> = parts.iter().map(|part| (part.type_id, part.stamp_ms, &part.body[..])).collect();
        // 0x85 - 0x64 = 33, and 0xFFFFFFF0 + 33 wraps to 17.
        assert_eq!(got, [(9, 0xFFFF_FFF0, &b"ab"[..]), (8, 17, &b"c"[..])]);
        assert!(!broken);
    }

    #[test]
    fn a_tag_that_is_cut_off_is_dropped() {
        let (parts, broken) =
            split(&message(b"\x09\0\0\x01\0\0\0\0\0\0\0a\0\0\0\x0c\x08\0\0\x05\0\0\0\0\0\0\0ab"));
        assert_eq!((parts.len(), broken), (1, true));
    }
}
