//! Invites: the root's word that whoever holds this key may bring boxes into the mesh. Refuses lengthy ones: an
//! invite is short-lived, what it brought in is not.

use core::time::Duration;

use serde::{Deserialize, Serialize};

use crate::digest::{InviteId, MeshId};
use crate::key::{InviteKey, role};
use crate::name::Name;
use crate::statement::{DecodeError, Kind, Signed, Statement};
use crate::time::UnixSeconds;

/// What an invite brings in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum InviteKind {
    /// A box: carries streams, and publishes as many as its limits say.
    Box,
}

/// How much an invite gives.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Limits {
    /// How many boxes may come in by it, 1 to [`Self::BOXES_MAX`]; 1 for a single-use invite.
    pub boxes: u8,
    /// How many streams a box may own at once, up to [`Self::STREAMS_MAX`]; 0 for one that only carries.
    pub streams: u8,
}

impl Limits {
    pub const BOXES_MAX: u8 = 32;
    pub const STREAMS_MAX: u8 = 64;
    /// What an invite has when nothing else is asked for.
    pub const SINGLE: Self = Self { boxes: 1, streams: 4 };
}

/// The root's word about an invite's key.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Invite {
    pub mesh: MeshId,
    pub key: InviteKey,
    /// Whom it is for. A box that comes in by it has this name, or this name with a dash and more behind it.
    pub name: Name,
    pub kind: InviteKind,
    pub limits: Limits,
    pub issued: UnixSeconds,
    /// Enrols before this second, at most [`Self::VALID_MAX`] after `issued`. It has no say over boxes that are in.
    pub expires: UnixSeconds,
}

impl Invite {
    /// 90 days.
    pub const VALID_MAX: Duration = Duration::from_secs(90 * 86_400);

    #[must_use]
    pub fn id(&self) -> InviteId {
        InviteId::of(&self.key)
    }

    /// Whether a box may still come in by it.
    #[must_use]
    pub fn enrols_at(&self, now: UnixSeconds) -> bool {
        now < self.expires
    }
}

impl Statement for Invite {
    type Signer = role::Root;
    const KIND: Kind = Kind::Invite;
    const BYTES_MAX: usize = 224;

    fn mesh(&self) -> &MeshId {
        &self.mesh
    }

    fn check(&self) -> Result<(), DecodeError> {
        if !(1..=Limits::BOXES_MAX).contains(&self.limits.boxes) {
            return Err(DecodeError::OutOfBounds("an invite is for 1 to 32 boxes"));
        }
        if self.limits.streams > Limits::STREAMS_MAX {
            return Err(DecodeError::OutOfBounds("a box owns at most 64 streams"));
        }
        let valid = self.expires > self.issued && self.expires <= self.issued.plus(Self::VALID_MAX);
        if valid { Ok(()) } else { Err(DecodeError::OutOfBounds("an invite holds for at most 90 days")) }
    }
}

impl Signed<Invite> {
    /// The id that it claims; the key belongs to it by computation, so nothing has to be verified first.
    #[must_use]
    pub fn id(&self) -> InviteId {
        self.claims().id()
    }
}
