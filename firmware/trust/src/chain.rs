//! The long-lived line: root -> invite -> box. The coordinator has no part in it, so it can't add a box.
//!
//! The invite's expiry counts when a box comes in, and never again: a box whose invite has expired since stays what it
//! is. What ends a chain is a revocation. Refuses a chain of which any link was signed by another key than the link
//! before it names.

use alloc::boxed::Box;

use serde::{Deserialize, Serialize};

use crate::digest::{InviteId, MeshId};
use crate::invite::{Invite, InviteKind, Limits};
use crate::key::{BoxKey, RootKey, role};
use crate::name::Name;
use crate::revocation::Revocations;
use crate::statement::{Kind, Signed, Statement, VerifyError};
use crate::time::UnixSeconds;

/// The word of an invite's holder that this key is the box which came in by it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct BoxCertificate {
    pub mesh: MeshId,
    pub key: BoxKey,
    /// Granted by the invite's name, see [`Name::grants`]. That no two boxes share one is the coordinator's care.
    pub name: Name,
}

impl Statement for BoxCertificate {
    type Signer = role::Invite;
    const KIND: Kind = Kind::BoxCertificate;
    const BYTES_MAX: usize = 192;

    fn mesh(&self) -> &MeshId {
        &self.mesh
    }
}

/// Both statements, as a box shows them to anybody.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Chain {
    pub invite: Signed<Invite>,
    pub certificate: Signed<BoxCertificate>,
}

/// A chain does not make its box a member.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ChainError {
    #[error("the invite is not by this mesh's root")]
    Invite(#[source] VerifyError),
    #[error("the invite is revoked")]
    InviteRevoked { invite: InviteId },
    /// Only when a box comes in.
    #[error("the invite expired at {since}")]
    InviteExpired { since: UnixSeconds },
    #[error("the box's certificate is not by its invite")]
    Certificate(#[source] VerifyError),
    #[error("the box is revoked")]
    BoxRevoked,
    #[error("the invite is for `{granted}`, and not for the name `{claimed}`")]
    Name { granted: Box<Name>, claimed: Box<Name> },
}

/// A box whose chain was verified: the only way to get one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    chain: Chain,
}

impl Chain {
    /// Who the box is, by the root's word: without regard to the invite's expiry.
    ///
    /// # Errors
    /// [`ChainError`], the first link that fails. Foreign is told apart from forged.
    pub fn verify(&self, root: &RootKey, revocations: &Revocations) -> Result<Identity, ChainError> {
        let mesh = MeshId::of(root);
        let invite = self.invite.verify(&mesh, root).map_err(ChainError::Invite)?;
        if revocations.revokes_invite(&invite.id()) {
            return Err(ChainError::InviteRevoked { invite: invite.id() });
        }
        let certificate = self.certificate.verify(&mesh, &invite.key).map_err(ChainError::Certificate)?;
        if revocations.revokes_box(&certificate.key) {
            return Err(ChainError::BoxRevoked);
        }
        if !invite.name.grants(&certificate.name) {
            let (granted, claimed) = (invite.name.clone(), certificate.name.clone());
            return Err(ChainError::Name { granted: Box::new(granted), claimed: Box::new(claimed) });
        }
        Ok(Identity { chain: self.clone() })
    }

    /// As [`Self::verify`], for a box that comes in at `now`: the invite must still enrol. That it is not used up is
    /// for its caller to know.
    ///
    /// # Errors
    /// [`ChainError`], with [`ChainError::InviteExpired`] after all that would be wrong at any time.
    pub fn verify_enrolment(
        &self,
        root: &RootKey,
        now: UnixSeconds,
        revocations: &Revocations,
    ) -> Result<Identity, ChainError> {
        let identity = self.verify(root, revocations)?;
        let invite = self.invite.claims();
        if invite.enrols_at(now) {
            Ok(identity)
        } else {
            Err(ChainError::InviteExpired { since: invite.expires })
        }
    }
}

impl Identity {
    #[must_use]
    pub const fn key(&self) -> &BoxKey {
        &self.chain.certificate.claims().key
    }

    #[must_use]
    pub const fn name(&self) -> &Name {
        &self.chain.certificate.claims().name
    }

    #[must_use]
    pub const fn mesh(&self) -> &MeshId {
        &self.chain.certificate.claims().mesh
    }

    #[must_use]
    pub fn invite(&self) -> InviteId {
        self.chain.invite.id()
    }

    #[must_use]
    pub const fn kind(&self) -> InviteKind {
        self.chain.invite.claims().kind
    }

    #[must_use]
    pub const fn limits(&self) -> Limits {
        self.chain.invite.claims().limits
    }

    /// Both statements, for others to verify.
    #[must_use]
    pub const fn chain(&self) -> &Chain {
        &self.chain
    }
}
