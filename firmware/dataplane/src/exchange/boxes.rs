//! Peers that are boxes of the mesh: what its agent has to be told of them, and what it may have done with them.

use std::time::Instant;

use mesh::{Path, Ula};

use super::{Exchange, PeerNumber, peer_number};
use crate::engine::Engine;
use crate::key::PublicKey;

impl<E: Engine> Exchange<E> {
    /// From now on packets of boxes to [`mesh::PORT`] at this address are the mesh's.
    pub fn set_mesh_address(&mut self, own: Option<Ula>) {
        self.mesh_address = own;
    }

    /// The number of the peer with this key.
    pub fn peer(&self, key: PublicKey) -> Option<PeerNumber> {
        self.number(key).map(peer_number)
    }

    /// The box that has this address.
    pub fn box_at(&self, address: Ula) -> Option<PeerNumber> {
        let number = PeerNumber(self.allowed.owner(super::ip(address))?);
        (self.box_address(number) == Some(address)).then_some(number)
    }

    /// The address of a peer that is a box.
    pub fn box_address(&self, peer: PeerNumber) -> Option<Ula> {
        let peer = self.peers.get(usize::from(peer.0))?.as_ref()?;
        peer.config.mesh.as_ref().map(|mesh| mesh.address)
    }

    /// Sealed messages go by this path from now on, with packets of at most `mtu` bytes; without one packets wait.
    pub fn set_path(&mut self, peer: PeerNumber, path: Option<Path>, mtu: u16) {
        if let Some(Some(peer)) = self.peers.get_mut(usize::from(peer.0)) {
            (peer.path, peer.mtu) = (path, mtu);
        }
    }

    /// An initiation to send by other ways than the one in use; while the last one is younger than
    /// [`crate::engine::REKEY_TIMEOUT`], its bytes again. `None` when the engine is not able to make one.
    pub fn initiate(&mut self, peer: PeerNumber, now: Instant, out: &mut [u8]) -> Option<usize> {
        self.peers.get_mut(usize::from(peer.0))?.as_mut()?.initiate(now, out)
    }

    /// Takes note of a message to the peer that went out.
    pub fn sent(&mut self, peer: PeerNumber, len: usize, now: Instant) {
        if let Some(Some(peer)) = self.peers.get_mut(usize::from(peer.0)) {
            peer.sent(len, now);
        }
    }

    /// A peer that had a session and has none any more. To be called until there is none, when timers have run.
    pub fn poll_lost(&mut self) -> Option<PeerNumber> {
        let number = self.peers.iter_mut().position(|peer| {
            let Some(peer) = peer else { return false };
            let is_ready = peer.is_ready();
            std::mem::replace(&mut peer.was_ready, is_ready) && !is_ready
        });
        number.map(peer_number)
    }
}
