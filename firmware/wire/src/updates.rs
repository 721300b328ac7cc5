//! The small requests: time, membership, WireGuard keys, one box, revocations. Refuses to be believed by their
//! transport: whatever counts in them is signed.

use serde::{Deserialize, Serialize};
use trust::clock::{Nonce, SignedTime};
use trust::peer::{self, Entry, PeerError};
use trust::{
    Chain, CoordinatorCertificate, Identity, List, Membership, Revocation, Revocations, Signed, UnixSeconds,
    WireGuardBinding, WireGuardKeys,
};

/// POST to [`crate::path::TIME`], by anybody.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TimeRequest {
    pub nonce: Nonce,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TimeResponse {
    pub certificate: Signed<CoordinatorCertificate>,
    pub time: Signed<SignedTime>,
}

/// POST to [`crate::path::RENEW`]. It brings all that a coordinator needs that came back from an older backup and
/// does not know the box any more: its own word about it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RenewRequest {
    pub chain: Chain,
    /// The one that ends.
    pub membership: Signed<Membership>,
    /// By rising generation, one or two.
    pub wireguard: List<Signed<WireGuardBinding>, { WireGuardKeys::MAX }>,
}

impl RenewRequest {
    /// Who asks, when the membership that it shows still counts.
    ///
    /// # Errors
    /// [`PeerError`], as a peer would say it.
    pub fn check(
        &self,
        authority: &peer::Authority<'_>,
        now: UnixSeconds,
    ) -> Result<(Identity, Membership), PeerError> {
        authority.coordinator.holds(now, authority.revocations).map_err(PeerError::Coordinator)?;
        let identity = self.chain.verify(authority.root, authority.revocations).map_err(PeerError::Chain)?;
        let membership = authority.coordinator.open(&self.membership).map_err(PeerError::Membership)?;
        peer::judge(membership, &identity, now)?;
        Ok((identity, membership.clone()))
    }
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RenewResponse {
    pub certificate: Signed<CoordinatorCertificate>,
    pub membership: Signed<Membership>,
}

/// POST to [`crate::path::WIREGUARD`]: another key, or the same one after a start. The box changes to a new key only
/// once this was answered, since peers hear of it from nobody else.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct BindingUpdate {
    pub wireguard: Signed<WireGuardBinding>,
}

/// The answer to a question for one box that is not in the map. Who asked and that box stand in each other's maps
/// for a while then, which they hear of by [`crate::path::PUSH`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LookupResponse {
    pub entry: Entry,
    /// For how long, seconds; 0 where maps hold everybody, and nothing has to be asked again.
    #[serde(default)]
    pub lasts_s: u32,
}

/// Revocations from box to box, from box to coordinator, and from the operator's tool.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct RevocationSet {
    pub entries: List<Signed<Revocation>, { Revocations::MAX }>,
}
