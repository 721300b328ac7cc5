//! What the box's network hears from the talk with the coordinator, and what it has to say there. Both are the latest
//! word: who comes late misses nothing.

use trust::map::{PEERS_MAX, PeerMap};
use trust::peer::ENDPOINTS_MAX;
use trust::{Coordinator, DoubleUse, Endpoint, List, Revocations, Signed, Viewer, Viewers};
use wire::heartbeat::PeerPath;

/// By whose words peers are judged, and who they may be.
#[derive(Clone, Debug)]
pub(crate) struct Heard {
    pub(crate) map: Option<PeerMap>,
    pub(crate) coordinator: Coordinator,
    pub(crate) revocations: Revocations,
    /// Who may come in as a viewer, as it was pushed last.
    pub(crate) viewers: List<Signed<Viewer>, { Viewers::MAX }>,
    /// Where the coordinator's host answers STUN.
    pub(crate) stun_ports: wire::stun::Ports,
    /// Where viewers find the watch page.
    pub(crate) watch: Option<wire::WatchUrl>,
}

/// Where this box is, and how it reaches its peers.
#[derive(Clone, Debug, Default)]
pub(crate) struct Told {
    pub(crate) endpoints: List<Endpoint, ENDPOINTS_MAX>,
    pub(crate) paths: List<PeerPath, PEERS_MAX>,
    /// Rises whenever somebody begins or ends to publish here.
    pub(crate) publications: u64,
    /// Proofs against invites, at most [`EVIDENCE_MAX`], each of another invite.
    pub(crate) evidence: Vec<DoubleUse>,
}

/// Whoever is shown so many will look at the invites.
const EVIDENCE_MAX: usize = 16;

impl Told {
    /// True when it was not known.
    pub(crate) fn accuse(&mut self, evidence: DoubleUse) -> bool {
        let invite = evidence.invite.id();
        let is_new = self.evidence.iter().all(|known| known.invite.id() != invite);
        if is_new && self.evidence.len() < EVIDENCE_MAX {
            self.evidence.push(evidence);
            return true;
        }
        false
    }
}
