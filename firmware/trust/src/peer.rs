//! Whether to take a box as a peer: the long-lived line and the short-lived one together, and the WireGuard keys that
//! follow from them. Refuses a box on either line alone, so a stolen coordinator adds none, and a friend who was let
//! go stays a friend for 44 days at most.

use serde::{Deserialize, Serialize};

use crate::chain::{Chain, ChainError, Identity};
use crate::coordinator::{Coordinator, CoordinatorError};
use crate::endpoint::Endpoint;
use crate::key::{BoxKey, RootKey};
use crate::list::List;
use crate::membership::{Membership, MembershipState};
use crate::revocation::Revocations;
use crate::roster::{Roster, RosterError};
use crate::statement::{Signed, VerifyError};
use crate::time::UnixSeconds;
use crate::ula::{MeshPrefix, Ula};
use crate::wireguard::{RotationError, WireGuardBinding, WireGuardKeys};

/// Candidate endpoints of one box.
pub const ENDPOINTS_MAX: usize = 8;

/// All that a peer needs to know of a box: what others say, not yet believed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entry {
    pub chain: Chain,
    pub membership: Signed<Membership>,
    /// By rising generation, one or two.
    pub wireguard: List<Signed<WireGuardBinding>, { WireGuardKeys::MAX }>,
    /// Hints by the coordinator, best first.
    pub endpoints: List<Endpoint, ENDPOINTS_MAX>,
}

impl Entry {
    /// Upper bound of its encoding.
    pub const BYTES_MAX: usize = 1280;

    /// Of which box it claims to be.
    #[must_use]
    pub const fn key(&self) -> &BoxKey {
        &self.chain.certificate.claims().key
    }
}

/// By whose words a peer judges.
#[derive(Clone, Copy, Debug)]
pub struct Authority<'a> {
    pub root: &'a RootKey,
    pub coordinator: &'a Coordinator,
    pub revocations: &'a Revocations,
}

/// A box is not taken as a peer.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PeerError {
    #[error("the coordinator can't vouch for anybody")]
    Coordinator(#[source] CoordinatorError),
    #[error("the box does not belong to this mesh")]
    Chain(#[source] ChainError),
    #[error("its membership is not by this mesh's coordinator")]
    Membership(#[source] VerifyError),
    #[error("its membership is another box's")]
    OtherBox,
    #[error("its membership is for another invite")]
    OtherInvite,
    #[error("its membership ended, with all its grace")]
    Lapsed { since: UnixSeconds },
    #[error("its membership begins only at {from}: a clock is wrong")]
    Early { from: UnixSeconds },
    #[error("its address {address} lies outside of the mesh")]
    AddressOutside { address: Ula },
    #[error("it has no WireGuard key")]
    NoKey,
    #[error("its WireGuard key is not signed by it")]
    Binding(#[source] VerifyError),
    #[error("its WireGuard keys do not follow each other")]
    Rotation(#[source] RotationError),
    #[error("its place is taken")]
    Roster(#[source] RosterError),
    #[error("another box has its address {address}")]
    AddressTaken { address: Ula },
    #[error("another box has its WireGuard key")]
    KeyTaken,
}

/// A box that was accepted: the only way to get one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Peer {
    identity: Identity,
    membership: Membership,
    state: MembershipState,
    keys: WireGuardKeys,
    endpoints: List<Endpoint, ENDPOINTS_MAX>,
}

impl Peer {
    /// Judges an entry by both lines, at `now`, and gives the box its place in the roster.
    ///
    /// # Errors
    /// [`PeerError`], the first thing that is wrong; the roster has then taken nobody in.
    pub fn accept(
        entry: &Entry,
        authority: &Authority<'_>,
        now: UnixSeconds,
        roster: &mut Roster,
    ) -> Result<Self, PeerError> {
        authority.coordinator.holds(now, authority.revocations).map_err(PeerError::Coordinator)?;
        let identity = entry.chain.verify(authority.root, authority.revocations).map_err(PeerError::Chain)?;
        let membership =
            authority.coordinator.open(&entry.membership).map_err(PeerError::Membership)?.clone();
        let state = judge(&membership, &identity, now)?;
        let keys = keys(entry, &identity)?;
        roster.admit(&identity).map_err(PeerError::Roster)?;
        Ok(Self { identity, membership, state, keys, endpoints: entry.endpoints.clone() })
    }

    #[must_use]
    pub const fn identity(&self) -> &Identity {
        &self.identity
    }

    #[must_use]
    pub const fn address(&self) -> Ula {
        self.membership.address
    }

    #[must_use]
    pub const fn membership(&self) -> &Membership {
        &self.membership
    }

    /// As it was when the box was accepted; one of those that are.
    #[must_use]
    pub const fn state(&self) -> MembershipState {
        self.state
    }

    #[must_use]
    pub const fn keys(&self) -> &WireGuardKeys {
        &self.keys
    }

    #[must_use]
    pub fn endpoints(&self) -> &[Endpoint] {
        &self.endpoints
    }
}

/// Whether the membership, once it is known that the coordinator said so, is this box's, inside of the mesh, and
/// counts at `now`.
///
/// # Errors
/// [`PeerError::OtherBox`], [`PeerError::OtherInvite`], [`PeerError::AddressOutside`], [`PeerError::Lapsed`] or
/// [`PeerError::Early`].
pub fn judge(
    membership: &Membership,
    identity: &Identity,
    now: UnixSeconds,
) -> Result<MembershipState, PeerError> {
    if membership.key != *identity.key() {
        return Err(PeerError::OtherBox);
    }
    if membership.invite != identity.invite() {
        return Err(PeerError::OtherInvite);
    }
    if !MeshPrefix::of(identity.mesh()).contains(&membership.address) {
        return Err(PeerError::AddressOutside { address: membership.address });
    }
    match membership.state(now) {
        MembershipState::Lapsed => Err(PeerError::Lapsed { since: membership.lapses() }),
        MembershipState::Early => Err(PeerError::Early { from: membership.issued }),
        state @ (MembershipState::Fresh | MembershipState::Renew | MembershipState::Grace) => Ok(state),
    }
}

fn keys(entry: &Entry, identity: &Identity) -> Result<WireGuardKeys, PeerError> {
    let verified = |signed: &Signed<WireGuardBinding>| {
        let binding = signed.verify(identity.mesh(), identity.key());
        binding.cloned().map_err(PeerError::Binding)
    };
    let (first, others) = entry.wireguard.split_first().ok_or(PeerError::NoKey)?;
    let mut keys = WireGuardKeys::new(verified(first)?);
    for another in others {
        keys.handle_binding(verified(another)?).map_err(PeerError::Rotation)?;
    }
    Ok(keys)
}
