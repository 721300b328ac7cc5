//! What the routers around a box do to its datagrams, as far as it matters for reaching it.

use core::fmt;

use serde::{Deserialize, Serialize};

/// By the mapping that STUN shows (RFC 4787, 4.1). What a router lets in is not asked: it only shows when a path is
/// tried.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Nat {
    /// No answer yet.
    #[default]
    Unknown,
    /// The address outside is the box's own.
    Open,
    /// One port outside for all destinations.
    Easy,
    /// Another port outside for each destination.
    Hard,
    /// No UDP comes back.
    Blocked,
}

impl Nat {
    /// Whether one side with many sockets and one side with many guesses find each other: just one of the two is hard,
    /// and the other one has an address that stays.
    #[must_use]
    pub const fn birthday(own: Self, theirs: Self) -> bool {
        matches!((own, theirs), (Self::Hard, Self::Easy) | (Self::Easy, Self::Hard))
    }
}

impl fmt::Display for Nat {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Unknown => "unknown so far",
            Self::Open => "no address translation",
            Self::Easy => "keeps one port for all destinations",
            Self::Hard => "takes another port for each destination",
            Self::Blocked => "lets no UDP through",
        })
    }
}
