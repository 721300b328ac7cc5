//! Why a publisher is sent away, in the words it will read, and why a publication ended.

use crate::session::SessionError;

/// A clear no. Display is one plain sentence for the streamer; [`Refusal::code`] is what goes over the wire.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    #[error("there is no such application: the server address has to end in /live")]
    UnknownApplication,
    #[error("wrong stream key: copy it again from the streamer's page of the box")]
    WrongKey,
    #[error("unsupported codec: {0}")]
    UnsupportedCodec(String),
    #[error("too many publishers on this box")]
    TooManyPublishers,
    #[error("too many wrong attempts from this address: wait a minute and try again")]
    TooManyAttempts,
    #[error("the stream is faster than {bits_per_second} bit/s: lower the bitrate")]
    TooFast { bits_per_second: u64 },
    #[error("this server only takes streams: watch over HTTP")]
    OnlyPublishing,
    #[error("broken stream: {0}")]
    Malformed(String),
    #[error("another publisher with the same key took over")]
    TakenOver,
    #[error("the box is shutting down")]
    ShuttingDown,
    /// Any other reason of the desk, as a plain sentence.
    #[error("{0}")]
    Other(String),
}

impl Refusal {
    /// The status code of the `onStatus` or `_error` that tells the peer.
    #[must_use]
    pub const fn code(&self) -> &'static str {
        match self {
            Self::UnknownApplication => "NetConnection.Connect.Rejected",
            Self::OnlyPublishing => "NetStream.Play.Failed",
            Self::WrongKey
            | Self::UnsupportedCodec(_)
            | Self::TooManyPublishers
            | Self::TooManyAttempts
            | Self::TooFast { .. }
            | Self::Malformed(_)
            | Self::TakenOver
            | Self::ShuttingDown
            | Self::Other(_) => "NetStream.Publish.BadName",
        }
    }

    /// Whether it counts as an attempt at guessing.
    pub(crate) const fn is_wrong_attempt(&self) -> bool {
        matches!(self, Self::WrongKey | Self::UnknownApplication)
    }
}

impl From<&SessionError> for Refusal {
    fn from(error: &SessionError) -> Self {
        match error {
            SessionError::TooFast { bits_per_second } => Self::TooFast { bits_per_second: *bits_per_second },
            SessionError::Play => Self::OnlyPublishing,
            other => Self::Malformed(with_sources(other)),
        }
    }
}

/// An error and its causes on one line.
fn with_sources(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text.push_str(": ");
        text.push_str(&cause.to_string());
        source = cause.source();
    }
    text
}

/// Why a publication that had begun is over.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CloseReason {
    /// The publisher said so: FCUnpublish, closeStream or deleteStream.
    Finished,
    /// The socket ended without a word.
    Disconnected,
    /// Nothing came for `idle_ms`.
    Idle,
    /// A younger connection with the same key has the stream.
    TakenOver,
    /// The publisher sent what is not taken.
    Refused(Refusal),
    ShuttingDown,
}
