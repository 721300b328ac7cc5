//! What agents say to each other inside of the tunnel: probes, their answers, and news about where a box can be
//! reached. Everything here is said under the session's keys, so it is the peer's word; it is believed only as a hint.
//!
//! The first byte of a packet's payload tells [`What`] it is. A control message ends in zeros up to the length that is
//! probed for. Refuses what it does not know, without an answer: a newer version may say more.

use alloc::vec::Vec;

use serde::{Deserialize, Serialize};
use trust::peer::ENDPOINTS_MAX;
use trust::{Endpoint, List};

use crate::nat::Nat;

/// The first byte of a payload to [`crate::PORT`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum What {
    /// For the agent.
    Control,
    /// 16 bytes of mesh address, then a datagram that is to be passed on to that box.
    Forward,
    /// 16 bytes of mesh address of the box that sent it, then the datagram.
    Forwarded,
}

impl What {
    #[must_use]
    pub const fn byte(self) -> u8 {
        match self {
            Self::Control => 1,
            Self::Forward => 2,
            Self::Forwarded => 3,
        }
    }

    /// `None` for what this version does not know.
    #[must_use]
    pub const fn of(byte: u8) -> Option<Self> {
        match byte {
            1 => Some(Self::Control),
            2 => Some(Self::Forward),
            3 => Some(Self::Forwarded),
            _ => None,
        }
    }
}

/// Bytes of [`What`] and the address before a relayed datagram.
pub const RELAY_HEAD_BYTES: usize = 17;

/// The number of a probe, which its answer repeats: random, so that an answer proves that the probe came.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct ProbeId(pub u64);

/// A message between agents.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Message {
    /// To be answered at once, by the same path, with as many bytes.
    Probe { id: ProbeId, news: Option<News> },
    Answer {
        id: ProbeId,
        /// Whence the probe came, as the other side sees it: for a direct path.
        seen: Option<Endpoint>,
    },
}

/// Where the sender can be reached, as it believes.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct News {
    pub nat: Nat,
    /// Best first.
    pub endpoints: List<Endpoint, ENDPOINTS_MAX>,
    /// Its birthday sockets stand open and have sent: the receiver may look for them.
    pub sockets_open: bool,
}

impl Message {
    /// A control message without its padding has at most this many bytes.
    pub const BYTES_MAX: usize = 256;

    /// The payload of a packet: [`What::Control`], then the message.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut bytes = alloc::vec![What::Control.byte()];
        // Only a serializer with an upper bound can fail.
        bytes.extend(postcard::to_allocvec(self).unwrap_or_default());
        debug_assert!(bytes.len() <= Self::BYTES_MAX, "the longest message is known");
        bytes
    }

    /// Reads the payload of a packet. `None` for what is none, and for what this version does not know.
    #[must_use]
    pub fn decode(payload: &[u8]) -> Option<Self> {
        let (first, rest) = payload.split_first()?;
        if What::of(*first) != Some(What::Control) {
            return None;
        }
        let (message, padding) = postcard::take_from_bytes(rest).ok()?;
        padding.iter().all(|byte| *byte == 0).then_some(message)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn longest() -> Message {
        let endpoint = Endpoint::new("[2001:db8:ffff:ffff:ffff:ffff:ffff:ffff]:65535".parse().unwrap());
        let endpoints = List::try_from(alloc::vec![endpoint.unwrap(); ENDPOINTS_MAX]).unwrap();
        let news = News { nat: Nat::Blocked, endpoints, sockets_open: true };
        Message::Probe { id: ProbeId(u64::MAX), news: Some(news) }
    }

    #[test]
    fn the_longest_message_fits() {
        let bytes = longest().encode();
        // 8 times 16 bytes of address and 3 of port, and 16 for the rest.
        assert_eq!(bytes.len(), 168);
        assert_eq!(Message::decode(&bytes), Some(longest()));
    }

    #[test]
    fn padding_is_zeros_only() {
        let answer = Message::Answer { id: ProbeId(7), seen: None };
        let mut bytes = answer.encode();
        assert_eq!(bytes, [1, 1, 7, 0]);
        bytes.resize(1232, 0);
        assert_eq!(Message::decode(&bytes), Some(answer));
        bytes[1000] = 1;
        assert_eq!(Message::decode(&bytes), None);
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_or_refused(bytes: Vec<u8>) {
            if let Some(message) = Message::decode(&bytes) {
                prop_assert_eq!(Message::decode(&message.encode()), Some(message));
            }
        }
    }
}
