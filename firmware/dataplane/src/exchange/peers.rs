//! Who is a peer: added, changed, removed, and given new keys while the old ones live on.

use std::time::Instant;

use mesh::Path;

use super::{Exchange, INDICES_MAX, PEERS_MAX, peer_number};
use crate::allowed::{AllowedIps, TableFull};
use crate::engine::{Engine, Identity};
use crate::key::{PrivateKey, PublicKey};
use crate::peer::{PAIRS_MAX, Pair, Peer, PeerConfig, PeerStats};

/// Why peers can't be changed so. Nothing was changed then.
#[derive(Debug, thiserror::Error)]
pub enum PeerError {
    #[error("there are {PEERS_MAX} peers already")]
    Full,
    #[error("there is such a peer already")]
    Known,
    #[error("there is no such peer")]
    Unknown,
    #[error("a peer with this box's own key")]
    Own,
    #[error("a box of the mesh, of which this one is none")]
    NoMesh,
    #[error(transparent)]
    Table(#[from] TableFull),
    #[error("no randomness")]
    Random(#[source] getrandom::Error),
}

impl<E: Engine> Exchange<E> {
    /// Adds a peer. Prefixes that others had before are this peer's from now on.
    ///
    /// # Errors
    /// When there are too many peers or prefixes, or one with this key.
    pub fn add_peer(&mut self, config: PeerConfig, now: Instant) -> Result<(), PeerError> {
        if self.number(config.public_key).is_some() {
            return Err(PeerError::Known);
        }
        let number = match self.peers.iter().position(Option::is_none) {
            Some(number) => number,
            None if self.peers.len() < PEERS_MAX => self.peers.len(),
            None => return Err(PeerError::Full),
        };
        let index = self.free_index()?;
        // Boxes say by their probes what a path carries; of a viewer's path nothing is known.
        let mtu = if self.mesh_address.is_some() { mesh::INNER_MTU } else { self.mtu };
        let mut peer = Peer::new(config, mtu, now);
        let _ = peer.pairs.push(self.pair(&peer.config, index));
        let allowed = self.table(number, Some(&peer.config))?;
        if number == self.peers.len() {
            self.peers.push(None);
        }
        self.wants_initiation |= peer.wants_initiation;
        self.peers[number] = Some(peer);
        self.allowed = allowed;
        self.name(index, number);
        Ok(())
    }

    /// Removes a peer with its sessions and what waits for it.
    ///
    /// # Errors
    /// When there is none with this key.
    pub fn remove_peer(&mut self, key: PublicKey) -> Result<(), PeerError> {
        let number = self.number(key).ok_or(PeerError::Unknown)?;
        let allowed = self.table(number, None)?;
        if let Some(peer) = self.peers[number].take() {
            for pair in &peer.pairs {
                self.indices.remove(&pair.index);
            }
        }
        self.allowed = allowed;
        self.waiting.forget(u16::try_from(number).expect("PEERS_MAX fits"));
        Ok(())
    }

    /// Changes prefixes, keepalive and, if given, the endpoint of a peer; sessions go on. A changed preshared key
    /// counts from the next handshake of new keys on.
    ///
    /// # Errors
    /// When there is none with this key, or too many prefixes.
    pub fn update_peer(&mut self, config: PeerConfig) -> Result<(), PeerError> {
        let number = self.number(config.public_key).ok_or(PeerError::Unknown)?;
        let allowed = self.table(number, Some(&config))?;
        let peer = self.peers[number].as_mut().ok_or(PeerError::Unknown)?;
        if config.mesh.is_none() {
            peer.path = config.endpoint.map(Path::direct).or(peer.path);
        }
        peer.config = config;
        self.allowed = allowed;
        Ok(())
    }

    /// Changes our own key. Sessions of the old one go on until those of the new one work, and messages to the old
    /// one are taken until then.
    ///
    /// # Errors
    /// Without randomness.
    pub fn set_key(&mut self, key: PrivateKey) -> Result<(), PeerError> {
        let number = self.identities_made;
        self.identities_made += 1;
        self.identities.truncate(PAIRS_MAX - 1);
        let _ = self.identities.insert(0, (number, E::Identity::new(key)));
        let kept: heapless::Vec<u32, PAIRS_MAX> = self.identities.iter().map(|(number, _)| *number).collect();
        for number in 0..self.peers.len() {
            if self.peers[number].is_some() {
                self.add_pair(number)?;
            }
            self.drop_pairs(number, |pair| !kept.contains(&pair.identity));
        }
        Ok(())
    }

    /// A peer has a new key. Sessions with the old one go on until those with the new one work.
    ///
    /// # Errors
    /// When there is no peer with the old key, or one with the new key.
    pub fn replace_key(&mut self, old: PublicKey, new: PublicKey) -> Result<(), PeerError> {
        let number = self.number(old).ok_or(PeerError::Unknown)?;
        if self.number(new).is_some() {
            return Err(PeerError::Known);
        }
        if let Some(peer) = &mut self.peers[number] {
            peer.config.public_key = new;
        }
        self.add_pair(number)
    }

    /// What went on with each peer.
    pub fn stats(&self, now: Instant) -> Vec<PeerStats> {
        let peers = self.peers.iter().enumerate();
        peers
            .filter_map(|(number, peer)| Some(peer.as_ref()?.stats(peer_number(number).into(), now)))
            .collect()
    }

    /// Lets go of old keys that nobody uses any more.
    pub(super) fn retire(&mut self, now: Instant) {
        for number in 0..self.peers.len() {
            if self.peers[number].as_ref().is_some_and(|peer| peer.outlived(now)) {
                let newest =
                    self.peers[number].as_ref().and_then(|peer| peer.pairs.first()).map(|pair| pair.index);
                self.drop_pairs(number, |pair| Some(pair.index) != newest);
            }
        }
        let peers = &self.peers;
        let newest = self.identities_made - 1;
        self.identities.retain(|(number, _)| {
            let used = |peer: &Peer<E>| peer.pairs.iter().any(|pair| pair.identity == *number);
            *number == newest || peers.iter().flatten().any(used)
        });
    }

    /// Puts a pair of the newest keys before the others; the oldest goes if there is no room.
    fn add_pair(&mut self, number: usize) -> Result<(), PeerError> {
        let index = self.free_index()?;
        let Some(peer) = &self.peers[number] else { return Ok(()) };
        let pair = self.pair(&peer.config, index);
        let oldest = peer.pairs.get(PAIRS_MAX - 1).map(|pair| pair.index);
        self.drop_pairs(number, |pair| Some(pair.index) == oldest);
        if let Some(peer) = &mut self.peers[number] {
            let _ = peer.pairs.insert(0, pair);
            peer.wants_initiation = true;
            peer.initiated_at = None;
            self.wants_initiation = true;
        }
        self.name(index, number);
        Ok(())
    }

    fn drop_pairs(&mut self, number: usize, goes: impl Fn(&Pair<E>) -> bool) {
        let Some(peer) = &mut self.peers[number] else { return };
        let indices = &mut self.indices;
        peer.pairs.retain(|pair| {
            let goes = goes(pair);
            if goes {
                indices.remove(&pair.index);
            }
            !goes
        });
    }

    fn pair(&self, config: &PeerConfig, index: u32) -> Pair<E> {
        let (identity, side) = self.identities.first().expect("there is always a newest key");
        let engine = E::new(side, config.public_key, config.preshared_key.as_ref(), index);
        Pair {
            engine,
            index,
            identity: *identity,
            peer_key: config.public_key,
            ready_since: None,
            unconfirmed: None,
        }
    }

    fn name(&mut self, index: u32, number: usize) {
        let number = u16::try_from(number).expect("PEERS_MAX fits");
        let _ = self.indices.insert(index, number);
    }

    /// Random, so that nobody outside can guess it; of 24 bits, since the engine counts in the lowest eight.
    fn free_index(&self) -> Result<u32, PeerError> {
        // At most half of the places are ever taken, of 2^24 numbers: the first try is nearly always good.
        for _ in 0..INDICES_MAX {
            let index = getrandom::u32().map_err(PeerError::Random)? >> 8;
            if !self.indices.contains_key(&index) {
                return Ok(index);
            }
        }
        Err(PeerError::Full)
    }

    pub(super) fn number(&self, key: PublicKey) -> Option<usize> {
        self.peers.iter().position(|peer| peer.as_ref().is_some_and(|peer| peer.config.public_key == key))
    }

    /// The table, with the prefixes of one peer changed; they win over those of others.
    fn table(&self, changed: usize, config: Option<&PeerConfig>) -> Result<AllowedIps<u16>, TableFull> {
        let number = |number: usize| u16::try_from(number).expect("PEERS_MAX fits");
        let others = self.peers.iter().enumerate().filter(|(at, _)| *at != changed);
        let others = others.filter_map(|(at, peer)| Some((number(at), &peer.as_ref()?.config)));
        let all = others.chain(config.map(|config| (number(changed), config)));
        AllowedIps::new(
            all.flat_map(|(at, config)| config.allowed_ips.iter().map(move |prefix| (*prefix, at))),
        )
    }
}
