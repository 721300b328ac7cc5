//! What the root took back. Entries are signed one by one and gossiped from box to box, so they outlive the
//! coordinator and it can't hide one from a box that has a friend.
//!
//! The set is a semilattice: for each target the entry with the highest serial, and of all targets the
//! [`Revocations::MAX`] with the highest serials. So merging in any order, any number of times, ends in the same set.
//! Refuses entries that the root did not sign, one by one: a bad one never hides a good one.

use alloc::collections::BTreeMap;
use alloc::vec::Vec;

use serde::{Deserialize, Serialize};

use crate::digest::{Digest, InviteId, MeshId};
use crate::key::{BoxKey, CoordinatorKey, RootKey, role};
use crate::statement::{DecodeError, Kind, Signed, Statement};
use crate::time::UnixSeconds;

/// What is revoked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Revoked {
    /// The invite, and every box that came in by it.
    Invite(InviteId),
    /// One box. Its friend still holds the invite: a revocation of that goes with it.
    Box(BoxKey),
    /// A coordinator's key, and all that it signed.
    Coordinator(CoordinatorKey),
}

/// The root's word that something holds no more. There is no way back: a new key is made instead.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Revocation {
    pub mesh: MeshId,
    /// Counts the revocations of a mesh from 1 on.
    pub serial: u32,
    pub target: Revoked,
    /// When it was signed: for people, nothing is decided by it.
    pub issued: UnixSeconds,
}

impl Statement for Revocation {
    type Signer = role::Root;
    const KIND: Kind = Kind::Revocation;
    const BYTES_MAX: usize = 160;

    fn mesh(&self) -> &MeshId {
        &self.mesh
    }

    fn check(&self) -> Result<(), DecodeError> {
        if self.serial == 0 { Err(DecodeError::OutOfBounds("serials begin at 1")) } else { Ok(()) }
    }
}

/// Verified revocations of one mesh, at most [`Self::MAX`].
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Revocations {
    by_target: BTreeMap<Revoked, Signed<Revocation>>,
}

/// What a merge did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Merged {
    /// Entries that changed the set: worth telling peers.
    pub new: usize,
    /// Entries that the root did not sign. Whoever sent them is faulty or worse.
    pub refused: usize,
    /// Entries with the lowest serials that gave way, since the set was full. The operator's tool warns long before.
    pub dropped: usize,
}

impl Revocations {
    /// More are never kept. A mesh with so many makes a new root.
    pub const MAX: usize = 1024;

    #[must_use]
    pub const fn new() -> Self {
        Self { by_target: BTreeMap::new() }
    }

    /// Takes in what somebody had: a file, the coordinator or a peer.
    pub fn merge<'a>(
        &mut self,
        root: &RootKey,
        entries: impl IntoIterator<Item = &'a Signed<Revocation>>,
    ) -> Merged {
        let mesh = MeshId::of(root);
        let mut merged = Merged::default();
        for entry in entries {
            let target = entry.claims().target;
            let known = self.by_target.get(&target);
            if known.is_some_and(|known| rank(known) >= rank(entry)) {
                continue;
            }
            if entry.verify(&mesh, root).is_err() {
                merged.refused += 1;
                continue;
            }
            self.by_target.insert(target, entry.clone());
            merged.new += 1;
            if self.by_target.len() > Self::MAX {
                let lowest = self.by_target.values().min_by_key(|entry| rank(entry));
                if let Some(lowest) = lowest.map(|entry| entry.claims().target) {
                    self.by_target.remove(&lowest);
                    merged.dropped += 1;
                    // Or full sets would tell each other the same news for ever.
                    merged.new -= usize::from(lowest == target);
                }
            }
        }
        merged
    }

    #[must_use]
    pub fn revokes_invite(&self, invite: &InviteId) -> bool {
        self.by_target.contains_key(&Revoked::Invite(*invite))
    }

    #[must_use]
    pub fn revokes_box(&self, key: &BoxKey) -> bool {
        self.by_target.contains_key(&Revoked::Box(*key))
    }

    #[must_use]
    pub fn revokes_coordinator(&self, key: &CoordinatorKey) -> bool {
        self.by_target.contains_key(&Revoked::Coordinator(*key))
    }

    /// All entries by rising serial, for a file, the coordinator or a peer.
    #[must_use]
    pub fn entries(&self) -> Vec<&Signed<Revocation>> {
        let mut entries: Vec<_> = self.by_target.values().collect();
        entries.sort_by_key(|entry| rank(entry));
        entries
    }

    /// Equal for equal sets: two boxes compare this before they send entries.
    #[must_use]
    pub fn digest(&self) -> Digest {
        let bytes: Vec<u8> = self.entries().into_iter().flat_map(Signed::to_bytes).collect();
        Digest::of(&bytes)
    }

    /// Of all entries; 0 when there is none. The next one has a higher one.
    #[must_use]
    pub fn serial_max(&self) -> u32 {
        self.by_target.values().map(|entry| entry.claims().serial).max().unwrap_or(0)
    }

    #[must_use]
    pub fn len(&self) -> usize {
        self.by_target.len()
    }

    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.by_target.is_empty()
    }
}

/// A total order, so that everybody keeps the same ones: also when one serial was given out twice.
fn rank(entry: &Signed<Revocation>) -> (u32, Revoked, Vec<u8>) {
    (entry.claims().serial, entry.claims().target, entry.to_bytes())
}
