//! The RTMP handshake, client side (RTMP 1.0, 5.2), in the simple form.
//!
//! S2 is not verified: servers that answer the signed form of the Flash player put other bytes there, and nothing
//! hangs on it.

use bytes::BytesMut;

use crate::session::handshake::{HandshakeError, Taken};

const VERSION: u8 = 3;
const PACKET_BYTES: usize = 1536;

#[derive(Debug)]
pub(super) struct Handshake {
    stage: Stage,
}

#[derive(Debug)]
enum Stage {
    S0,
    /// What came of S1: it is echoed as C2.
    S1(Vec<u8>),
    /// Bytes of S2 that are still to come.
    S2 {
        left: usize,
    },
}

impl Handshake {
    /// Writes C0 and C1. The "random" bytes of C1 only have to differ from other fields (5.2.3): a ramp does.
    pub(super) fn begin(output: &mut BytesMut) -> Self {
        output.extend_from_slice(&[VERSION]);
        output.extend_from_slice(&[0; 8]);
        let ramp: [u8; PACKET_BYTES - 8] = std::array::from_fn(|i| (i % 253) as u8);
        output.extend_from_slice(&ramp);
        Self { stage: Stage::S0 }
    }

    /// Takes as much of `input` as belongs to the next packet and appends the answer to `output`.
    pub(super) fn handle_input(
        &mut self,
        input: &[u8],
        output: &mut BytesMut,
    ) -> Result<Taken, HandshakeError> {
        match &mut self.stage {
            Stage::S0 => match input.first() {
                None => Ok(Taken { bytes: 0, done: false }),
                Some(&VERSION) => {
                    self.stage = Stage::S1(Vec::with_capacity(PACKET_BYTES));
                    Ok(Taken { bytes: 1, done: false })
                }
                Some(&other) => Err(HandshakeError::Version(other)),
            },
            Stage::S1(packet) => {
                let bytes = input.len().min(PACKET_BYTES - packet.len());
                packet.extend_from_slice(&input[..bytes]);
                if packet.len() == PACKET_BYTES {
                    output.extend_from_slice(packet);
                    self.stage = Stage::S2 { left: PACKET_BYTES };
                }
                Ok(Taken { bytes, done: false })
            }
            Stage::S2 { left } => {
                let bytes = input.len().min(*left);
                *left -= bytes;
                Ok(Taken { bytes, done: *left == 0 })
            }
        }
    }
}
