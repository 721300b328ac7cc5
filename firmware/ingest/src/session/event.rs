//! What a session tells its driver.

use std::fmt;

use crate::Metadata;
use crate::flv::Tag;

#[derive(Clone, PartialEq, Eq)]
pub enum SessionEvent {
    /// Wants [`handle_accept`](super::Session::handle_accept) or [`handle_refusal`](super::Session::handle_refusal).
    Connect {
        app: String,
    },
    /// Wants [`handle_accept`](super::Session::handle_accept) or [`handle_refusal`](super::Session::handle_refusal).
    Publish {
        key: String,
    },
    Tag(Tag),
    Metadata(Metadata),
    /// The publisher said that it is done.
    Finished,
}

impl fmt::Debug for SessionEvent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Connect { app } => f.debug_struct("Connect").field("app", app).finish(),
            Self::Publish { .. } => f.write_str("Publish { key: (secret) }"),
            Self::Tag(tag) => tag.fmt(f),
            Self::Metadata(metadata) => metadata.fmt(f),
            Self::Finished => f.write_str("Finished"),
        }
    }
}
