//! Why a peer is not reached straight, for whoever asks. Decides nothing.

use core::fmt;

use super::{Around, Peer};
use crate::INNER_MTU;
use crate::nat::Nat;
use crate::pair::{Carries, Pair};
use crate::path::Path;

/// Why a peer is not reached straight.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WhyNot {
    /// It is not reached at all yet.
    Unreached,
    /// It is being tried.
    Trying,
    /// No address of a family that both have.
    NoCommonFamily,
    OwnUdpBlocked,
    TheirUdpBlocked,
    /// Both routers take another port for each destination.
    BothHard,
    /// Short datagrams come through, long ones don't.
    Narrow,
    /// Nothing came through.
    NoAnswer {
        own: Nat,
        theirs: Nat,
    },
}

impl Peer {
    pub(crate) fn why_not(&self, around: &Around<'_>) -> Option<WhyNot> {
        if self.is_direct() {
            return None;
        }
        if !self.is_talking() {
            return Some(WhyNot::Unreached);
        }
        let (own, theirs) = (around.own.nat(), self.nat());
        let narrow = |(path, pair): (&Path, &Pair)| path.is_direct() && pair.carries() == Carries::Narrow;
        Some(match (own, theirs) {
            _ if self.pairs.iter().any(narrow) => WhyNot::Narrow,
            (Nat::Blocked, _) => WhyNot::OwnUdpBlocked,
            (_, Nat::Blocked) => WhyNot::TheirUdpBlocked,
            (Nat::Hard, Nat::Hard) => WhyNot::BothHard,
            _ if self.is_trying() => WhyNot::Trying,
            _ if self.news.is_some() && self.candidates(around).is_empty() => WhyNot::NoCommonFamily,
            _ => WhyNot::NoAnswer { own, theirs },
        })
    }
}

impl fmt::Display for WhyNot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unreached => write!(f, "not reached so far"),
            Self::Trying => write!(f, "straight paths are being tried"),
            Self::NoCommonFamily => {
                write!(f, "one side has only IPv4, the other one only IPv6: there is no straight way")
            }
            Self::OwnUdpBlocked => {
                write!(f, "the network here lets no UDP through: allow outgoing UDP on the router")
            }
            Self::TheirUdpBlocked => write!(f, "the network over there lets no UDP through"),
            Self::BothHard => write!(
                f,
                "both routers take another port for each destination: turn on UPnP or NAT-PMP on one of them, or forward the box's UDP port"
            ),
            Self::Narrow => write!(f, "packets of {INNER_MTU} bytes do not come through on the straight way"),
            Self::NoAnswer { own, theirs } => write!(
                f,
                "nothing came through on the straight way; the router here {own}, the one over there {theirs}"
            ),
        }
    }
}
