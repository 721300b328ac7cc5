//! Who came in by which invite, as one peer saw it: the first ones keep their place, and one too many is refused,
//! with both words as evidence. So a friend who signs two boxes with one invite adds one, also when the coordinator
//! plays along.
//!
//! Refuses further invites when it is full rather than forget one: forgetting would let a second box in.

use alloc::boxed::Box;
use alloc::collections::BTreeMap;
use alloc::vec::Vec;

use serde::{Deserialize, Serialize};

use crate::chain::{BoxCertificate, Chain, ChainError, Identity};
use crate::digest::InviteId;
use crate::invite::{Invite, Limits};
use crate::key::{BoxKey, RootKey};
use crate::list::List;
use crate::revocation::Revocations;
use crate::statement::Signed;

/// Proof that an invite's holder brought in more boxes than the invite is for. Anybody with the root's key can verify
/// it; the operator revokes the invite.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DoubleUse {
    pub invite: Signed<Invite>,
    /// Of one box more than the invite is for.
    pub certificates: List<Signed<BoxCertificate>, { Limits::BOXES_MAX as usize + 1 }>,
}

/// Evidence that proves nothing.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum EvidenceError {
    #[error("a part of the evidence does not hold")]
    Chain(#[source] ChainError),
    #[error("the boxes are not more than the invite is for")]
    NotTooMany,
}

impl DoubleUse {
    /// # Errors
    /// [`EvidenceError`] when it does not prove what it says. Revocations don't matter: it was so before them.
    pub fn verify(&self, root: &RootKey) -> Result<(), EvidenceError> {
        let mut keys = Vec::new();
        for certificate in self.certificates.iter() {
            let chain = Chain { invite: self.invite.clone(), certificate: certificate.clone() };
            let identity = chain.verify(root, &Revocations::new()).map_err(EvidenceError::Chain)?;
            keys.push(*identity.key());
        }
        keys.sort_unstable();
        keys.dedup();
        let more = keys.len() > usize::from(self.invite.claims().limits.boxes);
        if more { Ok(()) } else { Err(EvidenceError::NotTooMany) }
    }
}

/// A box is not taken in.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RosterError {
    #[error("the invite brought in as many boxes as it is for already")]
    UsedUp(Box<DoubleUse>),
    #[error("the same box came in by another invite ({by})")]
    OtherInvite { by: InviteId },
    #[error("the roster is full with {} invites", Roster::INVITES_MAX)]
    Full,
}

/// What the roster knew of a box that it takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Seen {
    Before,
    /// Worth saving before the box is answered.
    First,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Used {
    invite: Signed<Invite>,
    /// In the order in which they came.
    certificates: Vec<Signed<BoxCertificate>>,
}

/// The boxes that this peer took, at most [`Self::INVITES_MAX`] invites and each with as many boxes as it is for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Roster {
    by_invite: BTreeMap<InviteId, Used>,
    by_box: BTreeMap<BoxKey, InviteId>,
}

impl Roster {
    pub const INVITES_MAX: usize = 4096;

    #[must_use]
    pub const fn new() -> Self {
        Self { by_invite: BTreeMap::new(), by_box: BTreeMap::new() }
    }

    /// Takes a box in, or knows it again.
    ///
    /// # Errors
    /// [`RosterError`]; the roster stays as it is.
    pub fn admit(&mut self, identity: &Identity) -> Result<Seen, RosterError> {
        let (id, chain) = (identity.invite(), identity.chain());
        match self.by_box.get(identity.key()) {
            Some(by) if *by == id => return Ok(Seen::Before),
            Some(by) => return Err(RosterError::OtherInvite { by: *by }),
            None => {}
        }
        if let Some(used) = self.by_invite.get_mut(&id) {
            if used.certificates.len() >= usize::from(identity.limits().boxes) {
                return Err(RosterError::UsedUp(Box::new(used.evidence(&chain.certificate))));
            }
            used.certificates.push(chain.certificate.clone());
        } else {
            if self.by_invite.len() >= Self::INVITES_MAX {
                return Err(RosterError::Full);
            }
            let certificates = alloc::vec![chain.certificate.clone()];
            self.by_invite.insert(id, Used { invite: chain.invite.clone(), certificates });
        }
        self.by_box.insert(*identity.key(), id);
        Ok(Seen::First)
    }

    /// Whether this box was taken in.
    #[must_use]
    pub fn knows(&self, key: &BoxKey) -> bool {
        self.by_box.contains_key(key)
    }

    /// Gives back the room of revoked invites: no box comes in by them again. Boxes of theirs that were revoked alone
    /// keep their place.
    pub fn forget_revoked(&mut self, revocations: &Revocations) {
        self.by_invite.retain(|id, _| !revocations.revokes_invite(id));
        let left = &self.by_invite;
        self.by_box.retain(|_, id| left.contains_key(id));
    }

    /// All chains, to be saved; admitted again in this order they make the same roster.
    pub fn chains(&self) -> impl Iterator<Item = Chain> {
        self.by_invite.values().flat_map(|used| {
            let chain = |certificate: &Signed<_>| Chain {
                invite: used.invite.clone(),
                certificate: certificate.clone(),
            };
            used.certificates.iter().map(chain)
        })
    }
}

impl Used {
    fn evidence(&self, another: &Signed<BoxCertificate>) -> DoubleUse {
        let certificates = self.certificates.iter().chain([another]).cloned();
        // An invite is for at most BOXES_MAX boxes, so there are at most that many and one.
        let certificates = List::try_from(certificates.collect::<Vec<_>>()).unwrap_or_default();
        DoubleUse { invite: self.invite.clone(), certificates }
    }
}
