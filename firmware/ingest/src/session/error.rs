//! Why a session can't go on. The peer reads it as a [`crate::Refusal`].

use super::{AmfError, ChunkError, HandshakeError};

/// The connection can't go on.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SessionError {
    #[error("handshake failed")]
    Handshake(#[source] HandshakeError),
    #[error("chunks can't be read")]
    Chunk(#[source] ChunkError),
    #[error("command can't be read")]
    Command(#[source] AmfError),
    #[error("control message of type {0} is cut off")]
    Control(u8),
    #[error("{0} is out of place")]
    OutOfPlace(&'static str),
    #[error("more than {0} commands")]
    TooManyCommands(u32),
    #[error("more than {0} bytes before publishing")]
    PreambleTooLong(u64),
    #[error("not publishing {0} ms after connecting")]
    PreambleTooSlow(u64),
    #[error("faster than {bits_per_second} bit/s")]
    TooFast { bits_per_second: u64 },
    #[error("playing is not offered")]
    Play,
    #[error("nothing came for {0} ms")]
    Idle(u64),
}
