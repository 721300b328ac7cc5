//! What one connected box was told: from it and the newest directory follows what to tell it next. Decides only;
//! epochs come from its caller, and the clock is asked once per look.
//!
//! Refuses to name more boxes than a map has places: first those that are pinned, then those that were named before,
//! then those that were seen last.

use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use trust::map::{Delta, Map, MapEpoch, PeerMap, digest};
use trust::peer::Entry;
use trust::{BoxKey, DecodeError, Digest, List, Signed, Viewer, Viewers};
use wire::Frame;

use super::{Directory, sign};
use crate::clock;
use crate::service::Service;

/// After so many changes a whole map follows; a box keeps [`PeerMap::DELTAS_MAX`].
const DELTAS_MAX: usize = PeerMap::DELTAS_MAX - 8;
/// A box hears of changes at most so often, and then of all that there were: one that roams changes its endpoints many
/// times, and everybody else would sign, send and write down each of them. Revocations and pins wait for nothing.
const DELTA_EVERY: Duration = Duration::from_secs(2);

/// Who has to stand in the map, and until when.
pub(super) type Pinned = BTreeMap<BoxKey, Instant>;

#[derive(Debug)]
pub(super) struct View {
    recipient: BoxKey,
    /// The places of its map.
    boxes_max: usize,
    entries: BTreeMap<BoxKey, Entry>,
    /// Those of them that are there by a pin.
    pinned: Pinned,
    epoch: Option<MapEpoch>,
    deltas: usize,
    revocations: Option<Digest>,
    viewers: List<Signed<Viewer>, { Viewers::MAX }>,
    /// When the last map or change was told.
    told: Option<Instant>,
    /// There are changes that wait for their time.
    held: bool,
    /// Say that the map is current although nothing changed.
    vouch: bool,
}

impl View {
    pub(super) fn new(recipient: BoxKey, boxes_max: usize) -> Self {
        Self {
            recipient,
            boxes_max,
            entries: BTreeMap::new(),
            pinned: Pinned::new(),
            epoch: None,
            deltas: 0,
            revocations: None,
            viewers: List::new(),
            told: None,
            held: false,
            vouch: false,
        }
    }

    pub(super) fn vouch(&mut self) {
        self.vouch = true;
    }

    /// When to ask for news although nothing else changes.
    pub(super) fn until(&self) -> Option<Instant> {
        let held = self.told.filter(|_| self.held).map(|told| told + DELTA_EVERY);
        held.or_else(|| self.pinned.values().min().copied())
    }

    /// Takes the peers that this box needs.
    pub(super) fn look(&mut self, directory: &Directory, pinned: Pinned) {
        self.entries = self.chosen(directory, &pinned);
        self.pinned = pinned;
    }

    fn chosen(&self, directory: &Directory, pinned: &Pinned) -> BTreeMap<BoxKey, Entry> {
        let mut peers: Vec<_> =
            directory.peers(clock::now()).filter(|member| *member.key() != self.recipient).collect();
        if peers.len() > self.boxes_max {
            // Whose pin is over was there for a while only.
            let stays = |key: &BoxKey| self.entries.contains_key(key) && !self.pinned.contains_key(key);
            peers.sort_by_key(|member| {
                let key = member.key();
                (Reverse(pinned.get(key).copied()), !stays(key), Reverse(member.seen))
            });
            peers.truncate(self.boxes_max);
        }
        peers.into_iter().map(|member| (*member.key(), member.entry.clone())).collect()
    }

    /// What to tell, revocations first. A box that is revoked hears that, and nothing about others.
    pub(super) fn news(
        &mut self,
        directory: &Directory,
        pinned: Pinned,
        service: &Service,
        now: Instant,
        next: impl FnOnce() -> MapEpoch,
    ) -> Result<Vec<Frame>, DecodeError> {
        let mut frames = Vec::new();
        let digest = directory.revocations().digest();
        if self.revocations.replace(digest) != Some(digest) && !directory.revocations().is_empty() {
            let entries: Vec<_> = directory.revocations().entries().into_iter().cloned().collect();
            frames.push(Frame::Revocations { entries: List::try_from(entries).unwrap_or_default() });
        }
        if !matches!(directory.standing(&self.recipient), super::Standing::Member) {
            return Ok(frames);
        }
        let viewers = directory.viewers_of(&self.recipient, clock::now());
        if viewers != self.viewers {
            // A box keeps those that it had until their end: that some are over is no news to it.
            if viewers.iter().any(|viewer| !self.viewers.contains(viewer)) {
                frames.push(Frame::Viewers { entries: viewers.clone() });
            }
            self.viewers = viewers;
        }
        let chosen = self.chosen(directory, &pinned);
        let changed = chosen != self.entries;
        let is_new = |key: &BoxKey| chosen.contains_key(key) && !self.entries.contains_key(key);
        let urgent = pinned.keys().any(is_new);
        self.held = changed && !urgent && self.told.is_some_and(|told| now < told + DELTA_EVERY);
        if self.held {
            return Ok(frames);
        }
        self.pinned = pinned;
        let before = std::mem::replace(&mut self.entries, chosen);
        let vouch = std::mem::take(&mut self.vouch);
        match self.epoch {
            Some(_) if !changed && !vouch => return Ok(frames),
            Some(from) if self.deltas < DELTAS_MAX => {
                let to = next();
                frames.push(Frame::Delta { delta: self.delta(service, &before, from, to)? });
                (self.epoch, self.deltas) = (Some(to), self.deltas + 1);
            }
            Some(_) | None => {
                let epoch = next();
                frames.push(Frame::Map { map: self.whole(service, epoch)? });
                (self.epoch, self.deltas) = (Some(epoch), 0);
            }
        }
        self.told = Some(now);
        Ok(frames)
    }

    pub(super) fn whole(&self, service: &Service, epoch: MapEpoch) -> Result<Signed<Map>, DecodeError> {
        let entries: Vec<_> = self.entries.values().cloned().collect();
        let map = Map {
            mesh: service.mesh.id(),
            recipient: self.recipient,
            epoch,
            issued: clock::now(),
            entries: List::try_from(entries).unwrap_or_default(),
        };
        sign(service, map)
    }

    fn delta(
        &self,
        service: &Service,
        before: &BTreeMap<BoxKey, Entry>,
        from: MapEpoch,
        to: MapEpoch,
    ) -> Result<Signed<Delta>, DecodeError> {
        let removed: Vec<_> = before.keys().filter(|key| !self.entries.contains_key(key)).copied().collect();
        let is_new = |entry: &&Entry| before.get(entry.key()) != Some(*entry);
        let changed: Vec<_> = self.entries.values().filter(is_new).cloned().collect();
        let delta = Delta {
            mesh: service.mesh.id(),
            recipient: self.recipient,
            from,
            to,
            issued: clock::now(),
            removed: List::try_from(removed).unwrap_or_default(),
            changed: List::try_from(changed).unwrap_or_default(),
            result: digest(self.entries.values()),
        };
        sign(service, delta)
    }
}

#[cfg(test)]
mod tests;
