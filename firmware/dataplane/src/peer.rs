//! One peer: where it is, what it may send from, and its sessions for up to two pairs of keys.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use mesh::{Hints, Path, PeerId, Ula};

use crate::allowed::Prefix;
use crate::bucket::Bucket;
use crate::engine::{Engine, INITIATION_BYTES, Message, REJECT_AFTER, REKEY_TIMEOUT};
use crate::key::{PresharedKey, PublicKey};

/// While one's own key or the peer's is changed, the old pair of keys lives on beside the new one.
pub(crate) const PAIRS_MAX: usize = 2;

/// What a peer is, as it is told from outside.
#[derive(Clone, Debug)]
pub struct PeerConfig {
    pub public_key: PublicKey,
    pub preshared_key: Option<PresharedKey>,
    /// What it may send from, and what is sent to it.
    pub allowed_ips: Vec<Prefix>,
    /// Where it is. It is followed when it sends from elsewhere, unless it is a box of the mesh.
    pub endpoint: Option<SocketAddr>,
    /// After how long a silence something is sent, so that routers in between remember.
    pub keepalive: Option<Duration>,
    /// A box of the mesh: by which path it is reached is for the mesh's agent to say.
    pub mesh: Option<MeshPeer>,
}

/// What makes a peer a box of the mesh.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MeshPeer {
    /// The one that others send to it by; it has to be among what it may send from.
    pub address: Ula,
    pub hints: Hints,
}

/// What went on with a peer.
#[derive(Clone, Debug)]
pub struct PeerStats {
    /// As the mesh's agent calls it.
    pub number: PeerId,
    pub public_key: PublicKey,
    pub endpoint: Option<SocketAddr>,
    /// How a box of the mesh is reached.
    pub mesh: Option<mesh::Status>,
    /// How long ago the last handshake was.
    pub handshake_age: Option<Duration>,
    /// Handshakes that both ends completed, whichever began them.
    pub handshakes: u64,
    /// Bytes of messages that were the peer's.
    pub received_bytes: u64,
    /// Bytes of messages to the peer.
    pub sent_bytes: u64,
}

#[derive(Debug)]
pub(crate) struct Peer<E> {
    pub(crate) config: PeerConfig,
    /// The newest pair of keys first.
    pub(crate) pairs: heapless::Vec<Pair<E>, PAIRS_MAX>,
    /// By which way messages go to it.
    pub(crate) path: Option<Path>,
    /// The longest packet that goes that way.
    pub(crate) mtu: u16,
    /// For handshake messages from where the peer is known to be.
    pub(crate) bucket: Bucket,
    pub(crate) wants_initiation: bool,
    pub(crate) sent_at: Instant,
    pub(crate) initiated_at: Option<Instant>,
    /// What was sent then.
    initiation: [u8; INITIATION_BYTES],
    /// As it was when somebody asked last.
    pub(crate) was_ready: bool,
    pub(crate) handshake_at: Option<Instant>,
    pub(crate) handshakes: u64,
    pub(crate) received_bytes: u64,
    pub(crate) sent_bytes: u64,
}

/// The sessions of one pair of keys.
#[derive(Debug)]
pub(crate) struct Pair<E> {
    pub(crate) engine: E,
    /// 24 bits.
    pub(crate) index: u32,
    /// Which of our keys.
    pub(crate) identity: u32,
    pub(crate) peer_key: PublicKey,
    /// Since when it could be used, for the pair that takes another's place.
    pub(crate) ready_since: Option<Instant>,
    /// The receiver that our last answer to an initiation named, until data comes for it.
    pub(crate) unconfirmed: Option<u32>,
}

impl<E: Engine> Peer<E> {
    pub(crate) fn new(config: PeerConfig, mtu: u16, now: Instant) -> Peer<E> {
        Peer {
            mtu,
            path: config.endpoint.filter(|_| config.mesh.is_none()).map(Path::direct),
            // With a keepalive the peer is to be reached from the first moment.
            wants_initiation: config.keepalive.is_some(),
            config,
            pairs: heapless::Vec::new(),
            bucket: Bucket::default(),
            sent_at: now,
            initiated_at: None,
            initiation: [0; INITIATION_BYTES],
            was_ready: false,
            handshake_at: None,
            handshakes: 0,
            received_bytes: 0,
            sent_bytes: 0,
        }
    }

    /// The newest sessions that can be used.
    pub(crate) fn ready(&mut self) -> Option<&mut Pair<E>> {
        self.pairs.iter_mut().find(|pair| pair.engine.is_ready())
    }

    pub(crate) fn is_ready(&self) -> bool {
        self.pairs.iter().any(|pair| pair.engine.is_ready())
    }

    pub(crate) fn pair(&mut self, index: u32) -> Option<&mut Pair<E>> {
        self.pairs.iter_mut().find(|pair| pair.index == index)
    }

    /// Takes note of a handshake that both ends know to be done.
    pub(crate) fn shaken(&mut self, now: Instant) {
        self.handshake_at = Some(now);
        self.handshakes += 1;
    }

    /// Takes note of a message that was sent.
    pub(crate) fn sent(&mut self, len: usize, now: Instant) {
        self.sent_at = now;
        self.sent_bytes += len as u64;
    }

    /// Follows the peer, unless that is for the mesh's agent. Only for a source that sent an authentic data message:
    /// whoever can copy a handshake message could otherwise draw the peer's traffic to themselves.
    pub(crate) fn roam(&mut self, from: Path) {
        if self.path != Some(from) && self.config.mesh.is_none() {
            tracing::debug!(peer = %self.config.public_key, path = %from, "peer is elsewhere");
            self.path = Some(from);
        }
    }

    /// Lets timers of one pair run; gives a message that has to be sent.
    pub(crate) fn handle_timeout(&mut self, number: usize, now: Instant, out: &mut [u8]) -> Option<usize> {
        let newest_ready = self.pairs.first().is_some_and(|pair| pair.engine.is_ready());
        let pair = self.pairs.get_mut(number)?;
        let len = pair.engine.handle_timeout(out);
        if pair.engine.is_ready() {
            pair.ready_since.get_or_insert(now);
        }
        // An old pair doesn't fetch itself new sessions once the new one works.
        let len = len.filter(|_| number == 0 || !newest_ready)?;
        if Message::of(&out[..len]) == Some(Message::Initiation) {
            self.initiated(&out[..len], now);
        }
        Some(len)
    }

    /// Whether the old pair of keys is not needed any more: all its sessions are too old.
    pub(crate) fn outlived(&self, now: Instant) -> bool {
        let since = self.pairs.first().and_then(|pair| pair.ready_since);
        self.pairs.len() > 1 && since.is_some_and(|since| now.duration_since(since) >= REJECT_AFTER)
    }

    /// A keepalive or an initiation that is due.
    pub(crate) fn poll_keepalive(&mut self, now: Instant, out: &mut [u8]) -> Option<usize> {
        self.path?;
        let silent = now.duration_since(self.sent_at);
        if self.config.keepalive.is_some_and(|keepalive| silent >= keepalive) {
            if let Some(pair) = self.ready() {
                return pair.engine.seal(&[], out);
            }
            self.wants_initiation = true;
        }
        self.poll_initiation(now, out)
    }

    /// An initiation, if one is wanted and the last one is long enough ago.
    pub(crate) fn poll_initiation(&mut self, now: Instant, out: &mut [u8]) -> Option<usize> {
        // Packets that came while a handshake was on its way wished for it too.
        self.wants_initiation &= !self.pairs.first().is_some_and(|pair| pair.engine.is_ready());
        let rested = self.initiated_at.is_none_or(|at| now.duration_since(at) >= REKEY_TIMEOUT);
        if !self.wants_initiation || self.path.is_none() || !rested {
            return None;
        }
        self.wants_initiation = false;
        let len = self.pairs.first_mut()?.engine.initiate(out)?;
        self.initiated(&out[..len], now);
        Some(len)
    }

    /// An initiation for another way: the last one again while it is young, or while its handshake is on its way.
    pub(crate) fn initiate(&mut self, now: Instant, out: &mut [u8]) -> Option<usize> {
        let rested = self.initiated_at.is_none_or(|at| now.duration_since(at) >= REKEY_TIMEOUT);
        if rested && let Some(len) = self.pairs.first_mut()?.engine.initiate(out) {
            self.initiated(&out[..len], now);
            return Some(len);
        }
        self.initiated_at?;
        out[..INITIATION_BYTES].copy_from_slice(&self.initiation);
        Some(INITIATION_BYTES)
    }

    fn initiated(&mut self, message: &[u8], now: Instant) {
        self.initiated_at = Some(now);
        if let Ok(message) = message.try_into() {
            self.initiation = message;
        }
    }

    pub(crate) fn stats(&self, number: PeerId, now: Instant) -> PeerStats {
        PeerStats {
            number,
            public_key: self.config.public_key,
            endpoint: self.path.and_then(|path| path.endpoint()),
            mesh: None,
            handshake_age: self.handshake_at.map(|at| now.duration_since(at)),
            handshakes: self.handshakes,
            received_bytes: self.received_bytes,
            sent_bytes: self.sent_bytes,
        }
    }
}
