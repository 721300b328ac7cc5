//! The engine made of boringtun's `Tunn`.
//!
//! What has to be known about it: it panics when the output buffer is shorter than the ciphertext, before it has
//! checked anything; without a session it queues packets on the heap, so it is never given one; time goes on only in
//! `update_timers`; `Done` stands for a keepalive and for a cookie alike. Persistent keepalives are made by the
//! caller, since boringtun would send them whether there is other traffic or not.
//!
//! It begins a handshake when data was sent to a peer that it has not heard for 15 s, without giving the peer time to
//! answer just that. So after a pause there may be one handshake more than another implementation makes, and a peer
//! that was started anew meanwhile is reached at once. When both ends begin at the same time, it completes both.

use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;

use boringtun::noise::errors::WireGuardError;
use boringtun::noise::handshake::parse_handshake_anon;
use boringtun::noise::rate_limiter::RateLimiter;
use boringtun::noise::{Packet, Tunn, TunnResult};
use boringtun::x25519;

use super::{Engine, Identity, Initiator, Message, Opened};
use crate::key::{PresharedKey, PrivateKey, PublicKey};

/// Handshake messages per second, from all sources, after which senders have to prove their addresses. Each
/// initiation is counted twice: when its sender is looked up, and when it is answered.
const HANDSHAKES_PER_SECOND: u64 = 200;

/// Packets that boringtun may have put aside itself: keepalives only, and few.
const LEFTOVERS_MAX: usize = 16;

/// The shortest buffer that boringtun writes handshake messages to.
const OUT_BYTES_MIN: usize = 148;

/// Our own key, with the limiter that all sessions of it share.
pub struct BoringIdentity {
    key: PrivateKey,
    public: x25519::PublicKey,
    limiter: Arc<RateLimiter>,
}

/// One `Tunn`.
pub struct Boring {
    tunn: Tunn,
    /// Asking `Tunn` reads the clock, so the answer is kept; it changes only by handshakes, data and timers.
    is_ready: bool,
}

impl Identity for BoringIdentity {
    fn new(key: PrivateKey) -> BoringIdentity {
        let public = x25519::PublicKey::from(key.secret());
        let limiter = Arc::new(RateLimiter::new(&public, HANDSHAKES_PER_SECOND));
        BoringIdentity { key, public, limiter }
    }

    fn initiator(&self, from: IpAddr, datagram: &[u8], out: &mut [u8]) -> Initiator {
        match self.limiter.verify_packet(Some(from), datagram, out) {
            Ok(Packet::HandshakeInit(initiation)) => {
                match parse_handshake_anon(self.key.secret(), &self.public, &initiation) {
                    Ok(half) => Initiator::Peer(PublicKey(half.peer_static_public)),
                    Err(_) => Initiator::Refused,
                }
            }
            Ok(_) => Initiator::Refused,
            Err(TunnResult::WriteToNetwork(cookie)) => Initiator::Cookie(cookie.len()),
            Err(TunnResult::Err(WireGuardError::InvalidMac)) => Initiator::ForAnother,
            Err(_) => Initiator::Refused,
        }
    }

    fn handle_second(&self) {
        self.limiter.reset_count();
    }
}

impl Engine for Boring {
    type Identity = BoringIdentity;

    fn new(
        identity: &BoringIdentity,
        peer: PublicKey,
        preshared: Option<&PresharedKey>,
        index: u32,
    ) -> Boring {
        let mut tunn = Tunn::new(
            identity.key.secret().clone(),
            x25519::PublicKey::from(peer.0),
            preshared.map(|key| key.0),
            None,
            index,
            Some(Arc::clone(&identity.limiter)),
        );
        // Its clock stands still until it is wound for the first time.
        let _ = tunn.update_timers(&mut [0; OUT_BYTES_MIN]);
        Boring { tunn, is_ready: false }
    }

    fn is_ready(&self) -> bool {
        self.is_ready
    }

    fn seal(&mut self, plain: &[u8], out: &mut [u8]) -> Option<usize> {
        if !self.is_ready || out.len() < OUT_BYTES_MIN.max(plain.len() + crate::OVERHEAD_BYTES) {
            return None;
        }
        written(&self.tunn.encapsulate(plain, out))
    }

    fn initiate(&mut self, out: &mut [u8]) -> Option<usize> {
        written(&self.tunn.format_handshake_initiation(out, false))
    }

    fn open(&mut self, from: IpAddr, datagram: &[u8], out: &mut [u8]) -> Opened {
        if out.len() < datagram.len().max(OUT_BYTES_MIN) {
            return Opened::Refused;
        }
        let is_data = match Message::of(datagram) {
            Some(Message::Data { .. }) => true,
            Some(_) => false,
            None => return Opened::Refused,
        };
        let opened = match self.tunn.decapsulate(Some(from), datagram, out) {
            TunnResult::WriteToTunnelV4(packet, _) | TunnResult::WriteToTunnelV6(packet, _) => {
                Opened::Data(packet.len())
            }
            // A cookie that was taken ends here too, and says nothing about where the peer is.
            TunnResult::Done if is_data => Opened::Keepalive,
            TunnResult::Done => Opened::Taken,
            TunnResult::WriteToNetwork(answer) => match (Message::of(answer), answer.get(4..8)) {
                (Some(Message::Cookie { .. }), _) => Opened::Cookie(answer.len()),
                // Its second number is the sender's: the one that data will have as receiver.
                (Some(Message::Response { .. }), Some(&[a, b, c, d])) => {
                    Opened::Answered { len: answer.len(), receiver: u32::from_le_bytes([a, b, c, d]) }
                }
                _ => Opened::Established(answer.len()),
            },
            TunnResult::Err(_) => Opened::Refused,
        };
        if !self.is_ready || !is_data {
            self.look();
        }
        if matches!(opened, Opened::Answered { .. } | Opened::Established(_)) && self.is_ready {
            self.drop_leftovers();
        }
        opened
    }

    fn handle_timeout(&mut self, out: &mut [u8]) -> Option<usize> {
        let len = written(&self.tunn.update_timers(out));
        self.look();
        len
    }
}

impl Boring {
    fn look(&mut self) {
        self.is_ready = self.tunn.time_since_last_handshake().is_some();
    }

    /// A keepalive that fell due between two sessions waits in boringtun's own queue. Nobody needs it.
    fn drop_leftovers(&mut self) {
        let mut out = [0; OUT_BYTES_MIN];
        for _ in 0..LEFTOVERS_MAX {
            if let TunnResult::Done = self.tunn.decapsulate(None, &[], &mut out) {
                return;
            }
        }
    }
}

fn written(result: &TunnResult<'_>) -> Option<usize> {
    match result {
        TunnResult::WriteToNetwork(message) => Some(message.len()),
        _ => None,
    }
}

impl fmt::Debug for Boring {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Boring").field("is_ready", &self.is_ready).finish_non_exhaustive()
    }
}

impl fmt::Debug for BoringIdentity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BoringIdentity").field("public", &self.key.public()).finish_non_exhaustive()
    }
}
