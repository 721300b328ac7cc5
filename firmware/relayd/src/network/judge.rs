//! Who of the map is a peer, by the newest words, and the roster that remembers it. It verifies hundreds of signatures
//! and waits for the disk, and refuses to do that on the runtime.

use std::path::PathBuf;

use anyhow::{Context as _, Result};
use trust::{Authority, Peer, RootKey, Roster, UnixSeconds};

use super::{Plan, roster};
use crate::control::talk::Heard;

#[derive(Debug)]
pub(super) struct Judge {
    dir: PathBuf,
    root: RootKey,
    roster: Roster,
}

impl Judge {
    /// With the roster as it was kept.
    pub(super) fn open(plan: &Plan) -> Result<Self> {
        let roster = roster::read(&plan.dir, &plan.kept.root, &plan.kept.revocations())?;
        Ok(Self { dir: plan.dir.clone(), root: plan.kept.root, roster })
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
        for (key, error) in &verdicts.refused {
            tracing::debug!(box.key = %key.fingerprint(), %error, "a box of the map is no peer");
        }
        Ok(Some(verdicts.accepted))
    }
}
