//! What is asked of the code that owns handshakes and keys, so that another version of it, or another one, can stand
//! behind the same few calls.
//!
//! An engine does no I/O and holds back no packet: without a session it is never asked to seal one. It may read the
//! clock.

pub mod boring;

use std::fmt::Debug;
use std::net::IpAddr;
use std::time::Duration;

use crate::key::{PresharedKey, PrivateKey, PublicKey};

pub use boring::Boring;

/// The kinds of messages (WireGuard paper, 5.4), as the first four bytes say them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Message {
    Initiation,
    Response { receiver: u32 },
    Cookie { receiver: u32 },
    Data { receiver: u32, counter: u64 },
}

/// Length of an initiation.
pub const INITIATION_BYTES: usize = 148;

/// Data messages with this counter or a higher one are not taken: 2^64 - 2^13 - 1 (WireGuard paper, 6.1).
pub const REJECT_AFTER_MESSAGES: u64 = u64::MAX - (1 << 13);

/// How long a session lives without a new handshake (WireGuard paper, 6.1).
pub const REJECT_AFTER: Duration = Duration::from_secs(180);

/// How long to wait before an initiation is sent again (WireGuard paper, 6.1).
pub const REKEY_TIMEOUT: Duration = Duration::from_secs(5);

impl Message {
    /// Kind and length of a datagram; `None` for what is no message.
    pub fn of(datagram: &[u8]) -> Option<Message> {
        let number = |at: usize| {
            let bytes = datagram.get(at..at + 4)?;
            Some(u32::from_le_bytes(bytes.try_into().ok()?))
        };
        match (number(0)?, datagram.len()) {
            (1, INITIATION_BYTES) => Some(Message::Initiation),
            (2, 92) => Some(Message::Response { receiver: number(8)? }),
            (3, 64) => Some(Message::Cookie { receiver: number(4)? }),
            (4, 32..) => {
                let counter = u64::from(number(8)?) | u64::from(number(12)?) << 32;
                Some(Message::Data { receiver: number(4)?, counter })
            }
            _ => None,
        }
    }
}

/// What became of a message. Lengths are bytes at the start of the output buffer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Opened {
    /// A data message of the peer's, with that many bytes in it. Its source may be roamed to.
    Data(usize),
    /// A data message of the peer's with nothing in it. Its source may be roamed to.
    Keepalive,
    /// The peer began a handshake; the answer is to be sent to where the message came from. Its session counts from
    /// the first data message that has `receiver` in it: until then nobody knows whether the answer arrived.
    Answered { len: usize, receiver: u32 },
    /// A handshake that was begun here has its session; the answer, which lets the peer use it too, is to be sent to
    /// where the message came from.
    Established(usize),
    /// The sender has to prove its address first; the answer is to be sent to where the message came from.
    Cookie(usize),
    /// Taken, and nothing is to be done.
    Taken,
    /// Not the peer's, or not fresh.
    Refused,
}

/// Whose initiation it is. Lengths are bytes at the start of the output buffer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Initiator {
    /// It was made by whoever has this key, or is a replay of such a one.
    Peer(PublicKey),
    /// The sender has to prove its address first; the answer is to be sent to it.
    Cookie(usize),
    /// It was made for another key than this one.
    ForAnother,
    Refused,
}

/// One end of a handshake: our own key, and the limit on what is answered for it.
pub trait Identity: Debug + Send {
    fn new(key: PrivateKey) -> Self;

    /// Finds out who sent an initiation; `out` holds at least 148 bytes.
    fn initiator(&self, from: IpAddr, datagram: &[u8], out: &mut [u8]) -> Initiator;

    /// To be called every second.
    fn handle_second(&self);
}

/// The state with one peer, for one pair of keys.
///
/// Every `out` has to be at least as long as the other buffer of the call and [`crate::OVERHEAD_BYTES`], and never
/// shorter than 148 bytes.
pub trait Engine: Debug + Send + Sized {
    type Identity: Identity;

    /// The upper 24 bits of the index by which the peer names its sessions are `index`. The clock has to be right by
    /// now: initiations carry a time stamp that may never go back.
    fn new(identity: &Self::Identity, peer: PublicKey, preshared: Option<&PresharedKey>, index: u32) -> Self;

    /// Whether there is a session to seal with.
    fn is_ready(&self) -> bool;

    /// Encrypts a packet, or a keepalive if it is empty. `None` without a session.
    fn seal(&mut self, plain: &[u8], out: &mut [u8]) -> Option<usize>;

    /// Starts a handshake. `None` when one is on its way.
    fn initiate(&mut self, out: &mut [u8]) -> Option<usize>;

    /// Takes a message whose receiver index is this engine's, or an initiation of its peer's.
    fn open(&mut self, from: IpAddr, datagram: &[u8], out: &mut [u8]) -> Opened;

    /// To be called every 250 ms; gives a message that has to be sent.
    fn handle_timeout(&mut self, out: &mut [u8]) -> Option<usize>;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kinds_have_their_lengths() {
        let message = |kind: u8, len: usize| {
            let mut bytes = vec![0; len];
            bytes[0] = kind;
            bytes
                .iter_mut()
                .enumerate()
                .skip(4)
                .for_each(|(n, byte)| *byte = u8::try_from(n % 256).expect("small"));
            Message::of(&bytes)
        };
        assert_eq!(message(1, 148), Some(Message::Initiation));
        assert_eq!(message(2, 92), Some(Message::Response { receiver: 0x0b0a_0908 }));
        assert_eq!(message(3, 64), Some(Message::Cookie { receiver: 0x0706_0504 }));
        let data = Message::Data { receiver: 0x0706_0504, counter: 0x0f0e_0d0c_0b0a_0908 };
        assert_eq!(message(4, 32), Some(data));
        for (kind, len) in [(1, 147), (1, 149), (2, 91), (3, 65), (4, 31), (0, 148), (5, 64)] {
            assert_eq!(message(kind, len), None, "{kind} {len}");
        }
        assert_eq!(Message::of(&[4, 0, 0]), None);
        assert_eq!(Message::of(&[]), None);
        assert_eq!(REJECT_AFTER_MESSAGES, 18_446_744_073_709_543_423);
    }
}
