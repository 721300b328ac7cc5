//! Coming in: what a box sends, and what it gets. Both sides check here what they were told, so that there is one
//! reading of it. Refuses an answer that would make the box a member of anything but the mesh of its invite.

use serde::{Deserialize, Serialize};
use trust::map::{Map, MapError, PeerMap};
use trust::peer::{self, ENDPOINTS_MAX, PeerError};
use trust::wireguard::WireGuardBinding;
use trust::{
    Chain, ChainError, Coordinator, CoordinatorCertificate, CoordinatorError, Endpoint, Identity, List,
    Membership, Revocation, Revocations, RootKey, Signed, UnixSeconds, VerifyError,
};

use crate::stun;
use crate::text::Text;

/// Version of the software, as its release says.
pub type Version = Text<64>;
/// Id of the board, as below `board/`.
pub type Board = Text<64>;

/// POST to [`crate::path::ENROL`], signed by the box that wants to come in: so it holds the key that it names.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct EnrolRequest {
    pub chain: Chain,
    pub wireguard: Signed<WireGuardBinding>,
    pub version: Version,
    pub board: Board,
    /// Where the box believes it can be reached, best first.
    pub endpoints: List<Endpoint, ENDPOINTS_MAX>,
}

/// The coordinator does not let a box in. That the invite is used up, only its database knows.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum EnrolError {
    #[error("the invite does not let this box in")]
    Chain(#[source] ChainError),
    #[error("the WireGuard key is not signed by the box")]
    Binding(#[source] VerifyError),
}

impl EnrolRequest {
    /// Who wants to come in, as far as can be known without the database.
    ///
    /// # Errors
    /// [`EnrolError`].
    pub fn check(
        &self,
        root: &RootKey,
        now: UnixSeconds,
        revocations: &Revocations,
    ) -> Result<(Identity, WireGuardBinding), EnrolError> {
        let identity = self.chain.verify_enrolment(root, now, revocations).map_err(EnrolError::Chain)?;
        let binding = self.wireguard.verify(identity.mesh(), identity.key()).map_err(EnrolError::Binding)?;
        Ok((identity, binding.clone()))
    }
}

/// The answer. A box that asks again with the same chain, since an answer was lost, gets it again.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct EnrolResponse {
    pub certificate: Signed<CoordinatorCertificate>,
    pub membership: Signed<Membership>,
    pub revocations: List<Signed<Revocation>, { Revocations::MAX }>,
    pub map: Signed<Map>,
    /// Seconds between heartbeats.
    pub heartbeat_s: u32,
    /// As in [`crate::HeartbeatResponse`], so that the first path need not wait for a heartbeat.
    #[serde(default)]
    pub stun_ports: stun::Ports,
}

/// What a box keeps of the answer, verified.
#[derive(Clone, Debug)]
pub struct Enrolled {
    pub coordinator: Coordinator,
    pub membership: Membership,
    pub revocations: Revocations,
    pub map: PeerMap,
}

/// The coordinator's answer does not make the box a member.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AnswerError {
    #[error("the coordinator can't be believed")]
    Coordinator(#[source] CoordinatorError),
    #[error("the box's own chain does not hold")]
    Chain(#[source] ChainError),
    #[error("the membership is not by the coordinator")]
    Membership(#[source] VerifyError),
    #[error("the membership is not for this box")]
    Judged(#[source] PeerError),
    #[error("the map can't be taken")]
    Map(#[source] MapError),
}

impl EnrolResponse {
    /// Checks the answer by the root of the invite, as every peer will.
    ///
    /// # Errors
    /// [`AnswerError`].
    pub fn check(self, root: &RootKey, chain: &Chain, now: UnixSeconds) -> Result<Enrolled, AnswerError> {
        let mut revocations = Revocations::new();
        revocations.merge(root, self.revocations.iter());
        let coordinator = Coordinator::verify(&self.certificate, root, now, &revocations)
            .map_err(AnswerError::Coordinator)?;
        let identity = chain.verify(root, &revocations).map_err(AnswerError::Chain)?;
        let membership = coordinator.open(&self.membership).map_err(AnswerError::Membership)?.clone();
        peer::judge(&membership, &identity, now).map_err(AnswerError::Judged)?;
        let map = PeerMap::open(self.map, identity.key(), &coordinator).map_err(AnswerError::Map)?;
        Ok(Enrolled { coordinator, membership, revocations, map })
    }
}
