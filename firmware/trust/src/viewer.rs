//! Viewers: phones and laptops with the ordinary WireGuard app, which reach one box, their gateway, and nothing else.
//!
//! A viewer can't sign, so it is no member: the root itself says which WireGuard key may come in where, under which
//! addresses and until when. A coordinator carries that word and can't make one. Refuses addresses that could be a
//! box's, and words that hold for longer than [`Viewer::VALID_MAX`].

mod prefix;

use alloc::collections::{BTreeMap, BTreeSet};
use alloc::vec::Vec;
use core::net::Ipv4Addr;
use core::time::Duration;

use serde::{Deserialize, Serialize};

use crate::digest::{InviteId, MeshId};
use crate::key::{BoxKey, RootKey, WireGuardKey, role};
use crate::list::List;
use crate::name::Name;
use crate::revocation::Revocations;
use crate::statement::{DecodeError, Kind, Signed, Statement};
use crate::time::UnixSeconds;
use crate::ula::{MeshPrefix, Ula};
pub use prefix::{BadPrefix, ViewerPrefix};

/// The root's word that a WireGuard key may watch through one box.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Viewer {
    pub mesh: MeshId,
    /// For people.
    pub name: Name,
    pub key: WireGuardKey,
    /// The one box that takes it in.
    pub gateway: BoxKey,
    /// Among the numbered addresses of the mesh, where no box is.
    pub address: Ula,
    pub address_v4: Ipv4Addr,
    /// Under which IPv4 address the viewer finds the box.
    pub gateway_v4: Ipv4Addr,
    pub issued: UnixSeconds,
    /// Comes in before this second, at most [`Self::VALID_MAX`] after `issued`.
    pub expires: UnixSeconds,
}

impl Viewer {
    /// 366 days.
    pub const VALID_MAX: Duration = Duration::from_secs(366 * 86_400);

    /// What a revocation names: [`crate::Revoked::Invite`], which all boxes know.
    #[must_use]
    pub fn id(&self) -> InviteId {
        InviteId::of_viewer(&self.key)
    }

    /// Whether it may come in.
    #[must_use]
    pub fn holds(&self, revocations: &Revocations, now: UnixSeconds) -> bool {
        now < self.expires && !revocations.revokes_invite(&self.id())
    }
}

impl Statement for Viewer {
    type Signer = role::Root;
    const KIND: Kind = Kind::Viewer;
    const BYTES_MAX: usize = 256;

    fn mesh(&self) -> &MeshId {
        &self.mesh
    }

    fn check(&self) -> Result<(), DecodeError> {
        if !MeshPrefix::of(&self.mesh).is_numbered(&self.address) {
            return Err(DecodeError::OutOfBounds("a viewer's address is a numbered one of its mesh"));
        }
        if ![self.address_v4, self.gateway_v4].iter().all(prefix::is_private) {
            return Err(DecodeError::OutOfBounds("a viewer's IPv4 addresses are private ones"));
        }
        if self.address_v4 == self.gateway_v4 {
            return Err(DecodeError::OutOfBounds("a viewer has another address than its gateway"));
        }
        let valid = self.expires > self.issued && self.expires <= self.issued.plus(Self::VALID_MAX);
        if valid { Ok(()) } else { Err(DecodeError::OutOfBounds("a viewer comes in for at most 366 days")) }
    }
}

/// By what a box judges what it is told of viewers.
#[derive(Clone, Copy, Debug)]
pub struct Gateway<'a> {
    pub root: &'a RootKey,
    /// The box itself.
    pub key: &'a BoxKey,
    pub revocations: &'a Revocations,
}

/// The viewers of one box, at most [`Self::MAX`]: those that hold, verified.
///
/// Merging in any order, any number of times, ends in the same set, as with [`Revocations`]: for each key the newest
/// word, and of all keys those with the newest. So a coordinator that came back from a backup takes none away.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Viewers {
    by_key: BTreeMap<WireGuardKey, Signed<Viewer>>,
}

/// What a merge did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Merged {
    /// Worth keeping on disk and telling the data plane: somebody came, or went.
    pub changed: bool,
    /// Entries that the root did not sign, or not for this box. Whoever sent them is faulty or worse.
    pub refused: usize,
}

impl Viewers {
    /// More are never kept, and the operator's tool makes no more for one box.
    pub const MAX: usize = 64;

    #[must_use]
    pub const fn new() -> Self {
        Self { by_key: BTreeMap::new() }
    }

    /// Takes in what the coordinator pushed or the disk had, and lets go who holds no more at `now`.
    pub fn merge<'a>(
        &mut self,
        gateway: &Gateway<'_>,
        now: UnixSeconds,
        entries: impl IntoIterator<Item = &'a Signed<Viewer>>,
    ) -> Merged {
        let (mesh, before, mut refused) = (MeshId::of(gateway.root), self.by_key.clone(), 0);
        let holds = |entry: &Signed<Viewer>| entry.claims().holds(gateway.revocations, now);
        self.by_key.retain(|_, entry| holds(entry));
        for entry in entries {
            let key = entry.claims().key;
            if !holds(entry) || self.by_key.get(&key).is_some_and(|known| rank(known) >= rank(entry)) {
                continue;
            }
            if entry.claims().gateway != *gateway.key || entry.verify(&mesh, gateway.root).is_err() {
                refused += 1;
                continue;
            }
            self.by_key.insert(key, entry.clone());
            if self.by_key.len() > Self::MAX {
                let oldest = self.by_key.values().min_by_key(|entry| rank(entry));
                if let Some(oldest) = oldest.map(|entry| entry.claims().key) {
                    self.by_key.remove(&oldest);
                }
            }
        }
        Merged { changed: self.by_key != before, refused }
    }

    /// Who may come in at `now`, the newest first. Of two with one address, which only a mistake of the operator's can
    /// make, the newer has it.
    #[must_use]
    pub fn accepted(&self, revocations: &Revocations, now: UnixSeconds) -> Vec<&Viewer> {
        let mut entries: Vec<_> = self.by_key.values().collect();
        entries.sort_by_key(|entry| core::cmp::Reverse(rank(entry)));
        let (mut addresses, mut addresses_v4) = (BTreeSet::new(), BTreeSet::new());
        let held = entries.into_iter().map(Signed::claims).filter(|viewer| viewer.holds(revocations, now));
        held.filter(|viewer| addresses.insert(viewer.address) && addresses_v4.insert(viewer.address_v4))
            .collect()
    }

    /// When the next of them has to go.
    #[must_use]
    pub fn next_expiry(&self) -> Option<UnixSeconds> {
        self.by_key.values().map(|entry| entry.claims().expires).min()
    }

    /// All of them, for a file.
    #[must_use]
    pub fn entries(&self) -> List<Signed<Viewer>, { Self::MAX }> {
        self.by_key.values().cloned().collect::<Vec<_>>().try_into().unwrap_or_default()
    }
}

/// A total order, so that everybody keeps the same ones.
fn rank(entry: &Signed<Viewer>) -> (UnixSeconds, Vec<u8>) {
    (entry.claims().issued, entry.to_bytes())
}
