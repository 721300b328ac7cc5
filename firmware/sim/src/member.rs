//! One box: its agent, its sessions, and its sockets.

use std::collections::BTreeMap;
use std::time::Duration;

use mesh::{Agent, Config, Path, PeerId, SocketId};
use trust::{MeshId, MeshPrefix, RootSecret};

use crate::datagram::{Handshake, Name};
use crate::dice::Dice;

/// As WireGuard's REKEY_TIMEOUT.
const CALL_AGAIN: Duration = Duration::from_secs(5);
pub(crate) const MAIN_PORT: u16 = 7000;

/// With one peer.
#[derive(Debug, Default)]
pub(crate) struct Session {
    /// The last own call, when, and whether it was answered.
    pub(crate) call: Option<(Handshake, Duration, bool)>,
    /// The latest call of the peer.
    pub(crate) heard: Handshake,
    /// The session that is sealed with.
    pub(crate) sealed: Option<Handshake>,
    /// Those that are taken.
    pub(crate) taken: Vec<Handshake>,
}

#[derive(Debug)]
pub(crate) struct Member {
    pub(crate) agent: Agent,
    pub(crate) sessions: BTreeMap<Name, Session>,
    pub(crate) uses: BTreeMap<Name, Path>,
    /// The longest packet that goes to each.
    pub(crate) widths: BTreeMap<Name, usize>,
    pub(crate) peers: Vec<Name>,
    pub(crate) sockets: BTreeMap<u16, SocketId>,
    pub(crate) received: BTreeMap<u64, Path>,
    pub(crate) sent: u64,
    pub(crate) wake: Duration,
    pub(crate) on: bool,
}

impl Member {
    pub(crate) fn new(peers: Vec<Name>, dice: &mut Dice) -> Self {
        let mesh = MeshId::of(&RootSecret::from_seed(&[7; 32]).public());
        let config = Config { seed: dice.bytes(), inside: MeshPrefix::of(&mesh), loopback: false };
        Self {
            agent: Agent::new(config),
            sessions: BTreeMap::new(),
            uses: BTreeMap::new(),
            widths: BTreeMap::new(),
            peers,
            sockets: BTreeMap::from([(MAIN_PORT, SocketId::MAIN)]),
            received: BTreeMap::new(),
            sent: 0,
            wake: Duration::MAX,
            on: true,
        }
    }

    pub(crate) fn id(&self, name: Name) -> Option<PeerId> {
        let at = self.peers.iter().position(|peer| *peer == name)?;
        Some(PeerId(u16::try_from(at).ok()?))
    }

    pub(crate) fn name(&self, id: PeerId) -> Option<Name> {
        self.peers.get(usize::from(id.0)).copied()
    }

    pub(crate) fn port(&self, socket: SocketId) -> Option<u16> {
        self.sockets.iter().find(|(_, id)| **id == socket).map(|(port, _)| *port)
    }

    /// The call to make: the last one again while it is young.
    pub(crate) fn call(&mut self, peer: Name, fresh: Handshake, now: Duration) -> Handshake {
        let session = self.sessions.entry(peer).or_default();
        match session.call {
            Some((number, at, false)) if now.saturating_sub(at) < CALL_AGAIN => number,
            _ => {
                session.call = Some((fresh, now, false));
                fresh
            }
        }
    }
}
