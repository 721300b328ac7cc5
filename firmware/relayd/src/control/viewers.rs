//! The viewers that this box takes in as their gateway: kept in `viewers.json` beside the map, verified again when
//! they are read, for as long as the root's word holds. Refuses what the root did not sign for this box.
//!
//! ```text
//! disk ── open ──> Guests <── handle_entries ── Frame::Viewers
//!                    │ also with none, each minute: time and revocations take some away
//!                    └── accepted ──> the data plane: key, addresses
//! ```
//! Each call that can change who may come in says whether it did.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};
use trust::viewer::Gateway;
use trust::{List, Signed, UnixSeconds, Viewer, Viewers};

use super::kept;
use crate::secrets::keep;

const VIEWERS: &str = "viewers.json";

#[derive(Debug)]
pub(crate) struct Guests {
    path: PathBuf,
    viewers: Viewers,
}

impl Guests {
    /// Those that were kept and still hold; none when there is no file.
    pub(crate) fn open(dir: &Path, gateway: &Gateway<'_>, now: UnixSeconds) -> Result<Self> {
        let path = dir.join(VIEWERS);
        let kept: Option<List<Signed<Viewer>, { Viewers::MAX }>> = kept::json(&path)?;
        let mut viewers = Viewers::new();
        viewers.merge(gateway, now, kept.unwrap_or_default().iter());
        Ok(Self { path, viewers })
    }

    /// What the coordinator pushed. True when somebody came or went, which is worth saving.
    pub(crate) fn handle_entries(
        &mut self,
        gateway: &Gateway<'_>,
        now: UnixSeconds,
        entries: &[Signed<Viewer>],
    ) -> bool {
        let merged = self.viewers.merge(gateway, now, entries);
        if merged.refused > 0 {
            tracing::warn!(refused = merged.refused, "viewers that the root did not sign for this box");
        }
        merged.changed
    }

    /// # Errors
    /// The disk's; who may come in is known all the same, until the box starts again.
    pub(crate) async fn save(&self) -> Result<()> {
        let text = serde_json::to_vec(&self.viewers.entries()).context("writing down the viewers")?;
        keep(self.path.clone(), text, 0o600).await
    }

    /// Who may come in now, with the addresses that each may use.
    pub(crate) fn accepted(&self, gateway: &Gateway<'_>, now: UnixSeconds) -> Vec<&Viewer> {
        self.viewers.accepted(gateway.revocations, now)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use trust::viewer::ViewerPrefix;
    use trust::{
        BoxKey, BoxSecret, MeshId, MeshPrefix, Revocation, Revocations, Revoked, RootSecret, WireGuardKey,
    };

    use super::*;

    const NOW: UnixSeconds = UnixSeconds::new(1_800_000_000);

    fn root() -> RootSecret {
        RootSecret::from_seed(&[1; 32])
    }

    fn viewer(key: u8, gateway: BoxKey, days: u64) -> Signed<Viewer> {
        let mesh = MeshId::of(&root().public());
        let viewer = Viewer {
            mesh,
            name: "ana-phone".parse().unwrap(),
            key: WireGuardKey::from_bytes([key; 32]).unwrap(),
            gateway,
            address: MeshPrefix::of(&mesh).nth(key.into()),
            address_v4: ViewerPrefix::of(&mesh).nth(key.into()).unwrap(),
            gateway_v4: ViewerPrefix::of(&mesh).gateway(),
            issued: NOW,
            expires: NOW.plus(Duration::from_secs(days * 86_400)),
        };
        Signed::sign(viewer, &root()).unwrap()
    }

    #[tokio::test]
    async fn viewers_are_kept_until_they_expire_or_are_revoked() {
        let dir = std::env::temp_dir().join(format!("relayd-viewers-{}", std::process::id()));
        std::fs::create_dir_all(&dir).unwrap();
        let (own, other) = (BoxSecret::from_seed(&[2; 32]).public(), BoxSecret::from_seed(&[3; 32]).public());
        let (root_key, mut revocations) = (root().public(), Revocations::new());
        let gateway = Gateway { root: &root_key, key: &own, revocations: &revocations };
        let mut guests = Guests::open(&dir, &gateway, NOW).unwrap();
        let words = [viewer(1, own, 1), viewer(2, own, 9), viewer(3, other, 9)];
        assert!(guests.handle_entries(&gateway, NOW, &words));
        assert!(!guests.handle_entries(&gateway, NOW, &words), "nothing new");
        guests.save().await.unwrap();
        let keys = |guests: &Guests, gateway: &Gateway<'_>, now| -> Vec<u8> {
            let mut keys: Vec<u8> =
                guests.accepted(gateway, now).iter().map(|viewer| viewer.key.as_bytes()[0]).collect();
            keys.sort_unstable();
            keys
        };
        let tomorrow = NOW.plus(Duration::from_secs(86_400));
        assert_eq!(keys(&guests, &gateway, NOW), [1, 2]);
        let mut again = Guests::open(&dir, &gateway, NOW).unwrap();
        assert_eq!(keys(&again, &gateway, NOW), [1, 2], "from the disk");
        assert!(again.handle_entries(&gateway, tomorrow, &[]));
        assert_eq!(keys(&again, &gateway, tomorrow), [2]);
        let target = Revoked::Invite(words[1].claims().id());
        let revocation = Revocation { mesh: MeshId::of(&root_key), serial: 1, target, issued: NOW };
        revocations.merge(&root_key, [&Signed::sign(revocation, &root()).unwrap()]);
        let gateway = Gateway { root: &root_key, key: &own, revocations: &revocations };
        assert_eq!(keys(&again, &gateway, NOW), [0; 0]);
        assert!(again.handle_entries(&gateway, NOW, &[]));
        std::fs::remove_dir_all(dir).unwrap();
    }
}
