//! The RTMP handshake, server side (RTMP 1.0, 5.2).
//!
//! Answers in the simple form with version zero in S1, which also makes clients that offer the signed form of
//! the Flash player fall back to the simple one. C2 is not verified: encoders that mangle it are common and
//! nothing hangs on it. RTMPE (version 6) is refused.

use bytes::BytesMut;

const VERSION: u8 = 3;
const PACKET_BYTES: usize = 1536;

#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum HandshakeError {
    #[error("TLS on the port for plain RTMP: use the rtmps address")]
    Tls,
    #[error("HTTP on the port for RTMP")]
    Http,
    #[error("encrypted RTMP (RTMPE) is not offered: use rtmps")]
    Encrypted,
    #[error("not RTMP: version byte {0:#04x}")]
    Version(u8),
}

#[derive(Debug)]
pub(crate) struct Handshake {
    stage: Stage,
}

#[derive(Debug)]
enum Stage {
    C0,
    /// What came of C1: it is echoed as S2.
    C1(Vec<u8>),
    /// Bytes of C2 that are still to come.
    C2 {
        left: usize,
    },
}

/// What one call took from the input.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Taken {
    pub(crate) bytes: usize,
    pub(crate) done: bool,
}

impl Handshake {
    pub(crate) const fn new() -> Self {
        Self { stage: Stage::C0 }
    }

    /// Takes as much of `input` as belongs to the next packet and appends the answer to `output`.
    pub(crate) fn handle_input(
        &mut self,
        input: &[u8],
        output: &mut BytesMut,
    ) -> Result<Taken, HandshakeError> {
        match &mut self.stage {
            Stage::C0 => {
                let Some(&version) = input.first() else { return Ok(Taken { bytes: 0, done: false }) };
                check_version(version)?;
                self.stage = Stage::C1(Vec::with_capacity(PACKET_BYTES));
                Ok(Taken { bytes: 1, done: false })
            }
            Stage::C1(packet) => {
                let bytes = input.len().min(PACKET_BYTES - packet.len());
                packet.extend_from_slice(&input[..bytes]);
                if packet.len() == PACKET_BYTES {
                    answer(packet, output);
                    self.stage = Stage::C2 { left: PACKET_BYTES };
                }
                Ok(Taken { bytes, done: false })
            }
            Stage::C2 { left } => {
                let bytes = input.len().min(*left);
                *left -= bytes;
                Ok(Taken { bytes, done: *left == 0 })
            }
        }
    }
}

fn check_version(version: u8) -> Result<(), HandshakeError> {
    match version {
        VERSION => Ok(()),
        // A TLS record of type handshake, and the first letters of HTTP methods.
        0x16 => Err(HandshakeError::Tls),
        b'C' | b'D' | b'G' | b'H' | b'O' | b'P' => Err(HandshakeError::Http),
        6 | 8 => Err(HandshakeError::Encrypted),
        other => Err(HandshakeError::Version(other)),
    }
}

/// S0, S1, S2. The "random" bytes of S1 only have to differ from other fields (5.2.3): a ramp does.
fn answer(c1: &[u8], output: &mut BytesMut) {
    output.reserve(1 + 2 * PACKET_BYTES);
    output.extend_from_slice(&[VERSION]);
    output.extend_from_slice(&[0; 8]);
    let ramp: [u8; PACKET_BYTES - 8] = std::array::from_fn(|i| (i % 251) as u8);
    output.extend_from_slice(&ramp);
    output.extend_from_slice(c1);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(chunks: &[&[u8]]) -> (usize, bool, BytesMut) {
        let mut handshake = Handshake::new();
        let (mut output, mut used, mut done) = (BytesMut::new(), 0, false);
        for chunk in chunks {
            let mut rest = *chunk;
            while !rest.is_empty() && !done {
                let taken = handshake.handle_input(rest, &mut output).unwrap();
                rest = &rest[taken.bytes..];
                used += taken.bytes;
                done = taken.done;
            }
        }
        (used, done, output)
    }

    #[test]
    fn it_ends_after_c2_and_leaves_the_rest() {
        let mut bytes = vec![3];
        bytes.extend((0..1536_u32).map(|i| (i * 7) as u8));
        bytes.extend([9; 1536]);
        bytes.extend(b"rest");
        let (used, done, output) = run(&[&bytes]);
        assert_eq!((used, done, output.len()), (3073, true, 3073));
        assert_eq!(output[0], 3);
        assert_eq!(output[1..9], [0; 8], "S1 has time zero and version zero");
        assert_eq!(output[1537..], bytes[1..1537], "S2 echoes C1");

        let single: Vec<&[u8]> = bytes.chunks(1).collect();
        assert_eq!(run(&single), (used, done, output));
    }

    #[test]
    fn other_protocols_are_named() {
        let check = |first: u8| Handshake::new().handle_input(&[first], &mut BytesMut::new()).unwrap_err();
        assert_eq!(check(0x16), HandshakeError::Tls);
        assert_eq!(check(b'G'), HandshakeError::Http);
        assert_eq!(check(6), HandshakeError::Encrypted);
        assert_eq!(check(0x80), HandshakeError::Version(0x80));
    }
}
