//! Who of the map is a peer, by the newest words, and the roster that remembers it. It verifies hundreds of signatures
//! and waits for the disk, and refuses to do that on the runtime.

use std::path::PathBuf;

use anyhow::{Context as _, Result};
use tokio::sync::watch;
use trust::roster::RosterError;
use trust::{Authority, Peer, PeerError, RootKey, Roster, UnixSeconds};

use super::{Plan, roster};
use crate::control::talk::{Heard, Told};

#[derive(Debug)]
pub(super) struct Judge {
    dir: PathBuf,
    root: RootKey,
    roster: Roster,
    /// Hears of invites that brought in too many.
    told: watch::Sender<Told>,
}

impl Judge {
    /// With the roster as it was kept.
    pub(super) fn open(plan: &Plan) -> Result<Self> {
        let roster = roster::read(&plan.dir, &plan.kept.root, &plan.kept.revocations())?;
        Ok(Self { dir: plan.dir.clone(), root: plan.kept.root, roster, told: plan.told.clone() })
    }

    /// The peers at `now`; none when there is no map yet. The roster is on disk before anybody is answered, so that a
    /// box that came in first keeps its place over a power cut.
    pub(super) async fn judge(&mut self, heard: Heard, now: UnixSeconds) -> Result<Option<Vec<Peer>>> {
        let Some(map) = heard.map else { return Ok(None) };
        let (dir, root, mut roster) = (self.dir.clone(), self.root, self.roster.clone());
        let work = move || {
            let (coordinator, revocations) = (&heard.coordinator, &heard.revocations);
            let before = roster.clone();
            roster.forget_revoked(revocations);
            let verdicts = map.peers(&Authority { root: &root, coordinator, revocations }, now, &mut roster);
            if roster != before
                && let Err(error) = roster::write(&dir, &roster)
            {
                tracing::error!(error = format!("{error:#}"), "the roster is not kept");
            }
            (roster, verdicts)
        };
        let (roster, verdicts) = tokio::task::spawn_blocking(work).await.context("judging the map")?;
        self.roster = roster;
        for (key, error) in verdicts.refused {
            tracing::debug!(box.key = %key.fingerprint(), %error, "a box of the map is no peer");
            if let PeerError::Roster(RosterError::UsedUp(proof)) = error {
                let name = proof.invite.claims().name.clone();
                if self.told.send_if_modified(|told| told.accuse(*proof)) {
                    tracing::error!(invite.name = %name, "an invite brought in more boxes than it is for");
                }
            }
        }
        Ok(Some(verdicts.accepted))
    }
}

#[cfg(test)]
#[path = "../../../trust/tests/trust/mesh.rs"]
mod fixture;

#[cfg(test)]
mod tests {
    use trust::map::PeerMap;
    use trust::{List, Revocations};

    use super::fixture::{Mesh, NOW};
    use super::*;

    /// A friend signs two boxes with one invite; after a restart the first one still has its place.
    #[tokio::test]
    async fn the_second_box_of_an_invite_is_refused_and_told_of() {
        let dir = std::env::temp_dir().join(format!("relayd-judge-{}", std::process::id()));
        std::fs::create_dir_all(&dir).unwrap();
        let mesh = Mesh::new(1);
        let own = mesh.join(1).key();
        let invited = mesh.invite(2);
        let boxes = [2, 3].map(|seed| mesh.join_as(&invited, seed, "ana"));
        let heard = |of: &[usize]| {
            let entries = of.iter().map(|n| mesh.entry(&boxes[*n])).collect();
            let map = PeerMap::open(mesh.map(own, 1, entries), &own, &mesh.coordinator()).unwrap();
            Heard {
                map: Some(map),
                coordinator: mesh.coordinator(),
                revocations: Revocations::new(),
                viewers: List::new(),
                stun_ports: List::new(),
                watch: None,
            }
        };
        let begin = || {
            let roster = roster::read(&dir, &mesh.root_key(), &Revocations::new()).unwrap();
            let told = watch::Sender::new(Told::default());
            Judge { dir: dir.clone(), root: mesh.root_key(), roster, told }
        };
        let mut judge = begin();
        let accepted = judge.judge(heard(&[1]), NOW).await.unwrap().unwrap();
        assert_eq!(*accepted[0].identity().key(), boxes[1].key());
        assert!(judge.told.borrow().evidence.is_empty());
        let mut judge = begin();
        for _ in 0..2 {
            let accepted = judge.judge(heard(&[0, 1]), NOW).await.unwrap().unwrap();
            assert_eq!(accepted.len(), 1);
            assert_eq!(*accepted[0].identity().key(), boxes[1].key(), "it came first");
        }
        let told = judge.told.borrow().clone();
        let [proof] = &told.evidence[..] else { panic!("{:?}", told.evidence) };
        assert_eq!(proof.verify(&mesh.root_key()), Ok(()));
        std::fs::remove_dir_all(dir).unwrap();
    }
}
