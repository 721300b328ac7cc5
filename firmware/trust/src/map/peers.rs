//! The map as a box has it: the last whole one with the changes applied. Refuses every change that does not fit
//! exactly, and then stays as it was.

use alloc::collections::{BTreeMap, BTreeSet};
use alloc::vec::Vec;
use core::time::Duration;

use super::{Delta, Map, MapEpoch, MapError, PEERS_MAX, by_key, digest, opened};
use crate::coordinator::Coordinator;
use crate::key::BoxKey;
use crate::peer::{Authority, Entry, Peer, PeerError};
use crate::roster::Roster;
use crate::statement::Signed;
use crate::time::UnixSeconds;

/// A verified map with the changes since.
#[derive(Clone, Debug)]
pub struct PeerMap {
    recipient: BoxKey,
    epoch: MapEpoch,
    issued: UnixSeconds,
    entries: BTreeMap<BoxKey, Entry>,
    whole: Signed<Map>,
    deltas: Vec<Signed<Delta>>,
}

/// How long ago the coordinator vouched for the map. It goes on to be used: streams outlive the coordinator, and what
/// ends a peer is its membership.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Staleness {
    Current,
    /// The coordinator was silent for longer than [`PeerMap::STALE_AFTER`].
    Stale {
        since: UnixSeconds,
    },
}

/// Every entry, judged.
#[derive(Clone, Debug, Default)]
pub struct Verdicts {
    pub accepted: Vec<Peer>,
    pub refused: Vec<(BoxKey, PeerError)>,
}

impl PeerMap {
    /// Changes that are kept since the last whole map; then a box asks for another one.
    pub const DELTAS_MAX: usize = 256;
    /// 3 h. A coordinator says at least each hour that a map is still current, by a delta with nothing in it.
    pub const STALE_AFTER: Duration = Duration::from_secs(3 * 3600);

    /// A first map.
    ///
    /// # Errors
    /// [`MapError::Signer`] and [`MapError::OtherRecipient`].
    pub fn open(whole: Signed<Map>, recipient: &BoxKey, coordinator: &Coordinator) -> Result<Self, MapError> {
        let map = opened(&whole, recipient, coordinator, |map| &map.recipient)?;
        let (epoch, issued, entries) = (map.epoch, map.issued, by_key(&map.entries));
        Ok(Self { recipient: *recipient, epoch, issued, entries, whole, deltas: Vec::new() })
    }

    /// As it was saved: see [`Self::saved`].
    ///
    /// # Errors
    /// Every [`MapError`]: a disk is believed no more than a line.
    pub fn restore(
        whole: Signed<Map>,
        deltas: impl IntoIterator<Item = Signed<Delta>>,
        recipient: &BoxKey,
        coordinator: &Coordinator,
    ) -> Result<Self, MapError> {
        let mut map = Self::open(whole, recipient, coordinator)?;
        for delta in deltas {
            map.handle_delta(delta, coordinator)?;
        }
        Ok(map)
    }

    /// What to save: it was signed as it is.
    #[must_use]
    pub fn saved(&self) -> (&Signed<Map>, &[Signed<Delta>]) {
        (&self.whole, &self.deltas)
    }

    /// Another whole map in place of this one.
    ///
    /// # Errors
    /// [`MapError::Back`] for a stale one, [`MapError::Fork`] when the same epoch has two contents, and those of
    /// [`Self::open`].
    pub fn handle_map(&mut self, whole: Signed<Map>, coordinator: &Coordinator) -> Result<(), MapError> {
        let new = Self::open(whole, &self.recipient, coordinator)?;
        if new.epoch < self.epoch {
            return Err(MapError::Back { have: self.epoch, offered: new.epoch });
        }
        if new.epoch == self.epoch && new.entries != self.entries {
            return Err(MapError::Fork);
        }
        *self = new;
        Ok(())
    }

    /// A change.
    ///
    /// # Errors
    /// Every [`MapError`]; the map stays as it was.
    pub fn handle_delta(&mut self, signed: Signed<Delta>, coordinator: &Coordinator) -> Result<(), MapError> {
        let delta = opened(&signed, &self.recipient, coordinator, |delta| &delta.recipient)?;
        if delta.to <= self.epoch {
            return Err(MapError::Back { have: self.epoch, offered: delta.to });
        }
        if delta.from != self.epoch {
            return Err(MapError::Gap { have: self.epoch, from: delta.from });
        }
        if self.deltas.len() >= Self::DELTAS_MAX {
            return Err(MapError::DeltasFull);
        }
        let entries = changed(&self.entries, delta)?;
        (self.epoch, self.issued, self.entries) = (delta.to, delta.issued, entries);
        self.deltas.push(signed);
        Ok(())
    }

    /// Judges every entry at `now`. Of two that claim one address or one WireGuard key, the one whose box the roster
    /// knew before keeps it, and among new ones the lower key.
    pub fn peers(&self, authority: &Authority<'_>, now: UnixSeconds, roster: &mut Roster) -> Verdicts {
        let mut verdicts = Verdicts::default();
        let (mut addresses, mut keys) = (BTreeSet::new(), BTreeSet::new());
        let (known, new): (Vec<_>, Vec<_>) = self.entries.iter().partition(|(key, _)| roster.knows(key));
        for (key, entry) in known.into_iter().chain(new) {
            if *key == self.recipient {
                continue;
            }
            let peer = Peer::accept(entry, authority, now, roster).and_then(|peer| {
                let address = peer.address();
                if addresses.contains(&address) {
                    return Err(PeerError::AddressTaken { address });
                }
                if peer.keys().taken(now).any(|key| keys.contains(key)) {
                    return Err(PeerError::KeyTaken);
                }
                addresses.insert(address);
                keys.extend(peer.keys().taken(now).copied());
                Ok(peer)
            });
            match peer {
                Ok(peer) => verdicts.accepted.push(peer),
                Err(error) => verdicts.refused.push((*key, error)),
            }
        }
        verdicts
    }

    #[must_use]
    pub fn staleness(&self, now: UnixSeconds) -> Staleness {
        let since = self.issued.plus(Self::STALE_AFTER);
        if now < since { Staleness::Current } else { Staleness::Stale { since } }
    }

    #[must_use]
    pub const fn epoch(&self) -> MapEpoch {
        self.epoch
    }

    /// Not yet believed, by rising key.
    pub fn entries(&self) -> impl Iterator<Item = &Entry> {
        self.entries.values()
    }
}

fn changed(before: &BTreeMap<BoxKey, Entry>, delta: &Delta) -> Result<BTreeMap<BoxKey, Entry>, MapError> {
    let mut entries = before.clone();
    for key in delta.removed.iter() {
        entries.remove(key).ok_or(MapError::NotThere)?;
    }
    entries.extend(delta.changed.iter().map(|entry| (*entry.key(), entry.clone())));
    if entries.len() > PEERS_MAX {
        return Err(MapError::TooMany);
    }
    if digest(entries.values()) == delta.result { Ok(entries) } else { Err(MapError::Diverged) }
}
