//! A clock in every frame: an SEI message "user data unregistered" (H.264, D.1.7) that says when the frame was sent, so
//! that latency is read without decoding. The time is written as hexadecimal digits, which need no emulation prevention.

use std::time::{SystemTime, UNIX_EPOCH};

/// Names our message; no byte is 0, so no start code can arise in it.
const UUID: [u8; 16] = *b"relaybox-clock-1";
const DIGITS: usize = 16;
const WHOLE: usize = UUID.len() + DIGITS;

pub(crate) fn now_ns() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_nanos()).unwrap_or(u64::MAX)
}

/// The NAL unit with its length before it, as FLV carries it.
pub(crate) fn nal_unit(sent_ns: u64) -> Vec<u8> {
    let mut payload = vec![0x06, 0x05, WHOLE as u8];
    payload.extend(UUID);
    payload.extend(format!("{sent_ns:016x}").bytes());
    payload.push(0x80);
    let mut unit = (payload.len() as u32).to_be_bytes().to_vec();
    unit.append(&mut payload);
    unit
}

/// Finds stamps in bytes that arrive in pieces.
#[derive(Debug, Default)]
pub(crate) struct Finder {
    tail: Vec<u8>,
}

impl Finder {
    pub(crate) fn feed(&mut self, bytes: &[u8], mut found: impl FnMut(u64)) {
        self.tail.extend_from_slice(bytes);
        let mut at = 0;
        while at + WHOLE <= self.tail.len() {
            if self.tail[at] == UUID[0] && self.tail[at..].starts_with(&UUID) {
                let digits = std::str::from_utf8(&self.tail[at + UUID.len()..at + WHOLE]);
                if let Some(stamp) = digits.ok().and_then(|digits| u64::from_str_radix(digits, 16).ok()) {
                    found(stamp);
                    at += WHOLE;
                    continue;
                }
            }
            at += 1;
        }
        self.tail.drain(..at);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stamp_is_found_however_it_is_cut() {
        let mut stream = vec![b'r'; 40];
        stream.extend(nal_unit(0x0123_4567_89ab_cdef));
        stream.extend([0, 0, 1]);
        stream.extend(nal_unit(7));
        for piece in 1..stream.len() {
            let mut finder = Finder::default();
            let mut found = Vec::new();
            for bytes in stream.chunks(piece) {
                finder.feed(bytes, |stamp| found.push(stamp));
            }
            assert_eq!(found, [0x0123_4567_89ab_cdef, 7], "in pieces of {piece}");
        }
    }
}
