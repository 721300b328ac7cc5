//! The coordinator, as far as the root vouches for it. Refuses a key that is too old, too new, revoked or foreign.

use serde::{Deserialize, Serialize};

use crate::digest::MeshId;
use crate::key::{CoordinatorKey, RootKey, role};
use crate::revocation::Revocations;
use crate::statement::{DecodeError, Kind, Signed, Statement, VerifyError};
use crate::time::UnixSeconds;

/// The root's word that this key is the coordinator's, for a while.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CoordinatorCertificate {
    pub mesh: MeshId,
    pub key: CoordinatorKey,
    /// Counts the certificates of a mesh from 1 on. Who has seen one takes none below it.
    pub serial: u32,
    /// Holds from this second on.
    pub not_before: UnixSeconds,
    /// Holds before this second.
    pub not_after: UnixSeconds,
}

impl Statement for CoordinatorCertificate {
    type Signer = role::Root;
    const KIND: Kind = Kind::CoordinatorCertificate;
    const BYTES_MAX: usize = 192;

    fn mesh(&self) -> &MeshId {
        &self.mesh
    }

    fn check(&self) -> Result<(), DecodeError> {
        if self.serial == 0 {
            return Err(DecodeError::OutOfBounds("serials begin at 1"));
        }
        if self.not_before >= self.not_after {
            return Err(DecodeError::OutOfBounds("a certificate holds for some time"));
        }
        Ok(())
    }
}

/// A coordinator's key is not to be believed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CoordinatorError {
    #[error("the coordinator's certificate is not by this mesh's root")]
    Certificate(#[source] VerifyError),
    #[error("the coordinator's certificate holds only from {from} on")]
    NotYet { from: UnixSeconds },
    #[error("the coordinator's certificate ended at {since}")]
    Expired { since: UnixSeconds },
    #[error("the coordinator's key is revoked")]
    Revoked,
    #[error("the coordinator's certificate has serial {offered}, and {have} was seen before")]
    Back { have: u32, offered: u32 },
}

/// A coordinator whose certificate was verified: the only way to get one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Coordinator {
    certificate: CoordinatorCertificate,
}

impl Coordinator {
    /// # Errors
    /// [`CoordinatorError`] when the root did not sign it, it does not hold at `now`, or its key is revoked.
    pub fn verify(
        certificate: &Signed<CoordinatorCertificate>,
        root: &RootKey,
        now: UnixSeconds,
        revocations: &Revocations,
    ) -> Result<Self, CoordinatorError> {
        let certificate =
            certificate.verify(&MeshId::of(root), root).map_err(CoordinatorError::Certificate)?;
        let coordinator = Self { certificate: certificate.clone() };
        coordinator.holds(now, revocations)?;
        Ok(coordinator)
    }

    /// Time goes on and revocations come in: asked again whenever something rests on this key.
    ///
    /// # Errors
    /// [`CoordinatorError::NotYet`], [`CoordinatorError::Expired`] or [`CoordinatorError::Revoked`].
    pub fn holds(&self, now: UnixSeconds, revocations: &Revocations) -> Result<(), CoordinatorError> {
        let CoordinatorCertificate { not_before, not_after, ref key, .. } = self.certificate;
        if revocations.revokes_coordinator(key) {
            Err(CoordinatorError::Revoked)
        } else if now < not_before {
            Err(CoordinatorError::NotYet { from: not_before })
        } else if now >= not_after {
            Err(CoordinatorError::Expired { since: not_after })
        } else {
            Ok(())
        }
    }

    /// Takes the place of the one known before, unless that one is newer.
    ///
    /// # Errors
    /// [`CoordinatorError::Back`]: an older certificate, perhaps of a key that was given up.
    pub fn succeed(self, before: &Self) -> Result<Self, CoordinatorError> {
        let (have, offered) = (before.certificate.serial, self.certificate.serial);
        let same = self == *before;
        if offered > have || same { Ok(self) } else { Err(CoordinatorError::Back { have, offered }) }
    }

    /// What this coordinator said for its mesh.
    ///
    /// # Errors
    /// [`VerifyError`] when it did not say so.
    pub fn open<'a, T: Statement<Signer = role::Coordinator>>(
        &self,
        signed: &'a Signed<T>,
    ) -> Result<&'a T, VerifyError> {
        signed.verify(&self.certificate.mesh, &self.certificate.key)
    }

    #[must_use]
    pub const fn key(&self) -> &CoordinatorKey {
        &self.certificate.key
    }

    #[must_use]
    pub const fn mesh(&self) -> &MeshId {
        &self.certificate.mesh
    }

    #[must_use]
    pub const fn certificate(&self) -> &CoordinatorCertificate {
        &self.certificate
    }
}
