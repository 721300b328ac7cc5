//! What a box keeps of its mesh, below `mesh/` in its data directory. Files are replaced whole, and what is signed is
//! verified again when it is read.
//!
//! | file | what is in it |
//! |---|---|
//! | `identity.key`, `wireguard.key` | the box's keys |
//! | `mesh.json` | the root, the coordinator, the chain, the membership, WireGuard bindings, revocations |
//! | `map.json` | the last whole map and the changes since |
//! | `viewers.json` | what the root signed about viewers of this box |
//! | `clock` | a time that is certainly past |

use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use trust::map::{Delta, Map, PeerMap};
use trust::ticket::{CoordinatorUrl, TlsPin};
use trust::wireguard::{WireGuardBinding, WireGuardKeys};
use trust::{
    BoxKey, BoxSecret, Chain, Coordinator, CoordinatorCertificate, List, Membership, MeshId, Revocation,
    Revocations, RootKey, Signed, UnixSeconds,
};

use crate::secrets::keep;

const MESH: &str = "mesh.json";
const MAP: &str = "map.json";
const CLOCK: &str = "clock";

/// Where it all is.
pub(crate) fn directory(data_dir: &Path) -> PathBuf {
    data_dir.join("mesh")
}

/// Membership of one mesh.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Kept {
    pub(crate) url: CoordinatorUrl,
    pub(crate) pin: TlsPin,
    pub(crate) root: RootKey,
    pub(crate) chain: Chain,
    pub(crate) certificate: Signed<CoordinatorCertificate>,
    pub(crate) membership: Signed<Membership>,
    /// By rising generation.
    pub(crate) wireguard: List<Signed<WireGuardBinding>, { WireGuardKeys::MAX }>,
    pub(crate) revocations: List<Signed<Revocation>, { Revocations::MAX }>,
    pub(crate) heartbeat_s: u32,
}

#[derive(Serialize, Deserialize)]
struct KeptMap {
    whole: Signed<Map>,
    deltas: Vec<Signed<Delta>>,
}

impl Kept {
    /// None when the box belongs to no mesh.
    pub(crate) fn read(dir: &Path) -> Result<Option<Self>> {
        json(&dir.join(MESH))
    }

    pub(crate) async fn write(&self, dir: &Path) -> Result<()> {
        let text = serde_json::to_vec_pretty(self).context("writing down the mesh")?;
        keep(dir.join(MESH), text, 0o600).await
    }

    pub(crate) fn mesh(&self) -> MeshId {
        MeshId::of(&self.root)
    }

    pub(crate) fn key(&self) -> &BoxKey {
        &self.chain.certificate.claims().key
    }

    pub(crate) fn revocations(&self) -> Revocations {
        let mut revocations = Revocations::new();
        revocations.merge(&self.root, self.revocations.iter());
        revocations
    }

    /// Whether the root took this box out, as far as is known here.
    pub(crate) fn is_revoked(&self) -> bool {
        let revocations = self.revocations();
        revocations.revokes_box(self.key()) || revocations.revokes_invite(&self.chain.invite.id())
    }

    /// The coordinator by its certificate; one that has ended still signed the map that is here.
    pub(crate) fn coordinator(&self) -> Result<Coordinator> {
        let during = self.certificate.claims().not_before;
        Coordinator::verify(&self.certificate, &self.root, during, &self.revocations())
            .context("the coordinator's certificate does not hold")
    }

    /// Another binding for a box that starts again: the same key, one boot more.
    pub(crate) fn count_boot(&mut self, secret: &BoxSecret) -> Result<()> {
        let last = self.wireguard.last().context("no WireGuard key is kept")?.claims();
        let next = WireGuardBinding { boot: last.boot.saturating_add(1), ..last.clone() };
        let mut all = self.wireguard.to_vec();
        all.pop();
        all.push(Signed::sign(next, secret).context("signing the WireGuard key")?);
        self.wireguard = List::try_from(all).context("too many WireGuard keys")?;
        Ok(())
    }
}

/// The map, if there is one that holds.
pub(crate) fn read_map(dir: &Path, key: &BoxKey, coordinator: &Coordinator) -> Result<Option<PeerMap>> {
    let Some(kept) = json::<KeptMap>(&dir.join(MAP))? else { return Ok(None) };
    let map = PeerMap::restore(kept.whole, kept.deltas, key, coordinator);
    map.map(Some).context("the map that was kept does not hold")
}

pub(crate) async fn write_map(dir: &Path, map: &PeerMap) -> Result<()> {
    let (whole, deltas) = map.saved();
    let kept = KeptMap { whole: whole.clone(), deltas: deltas.to_vec() };
    let text = serde_json::to_vec(&kept).context("writing down the map")?;
    keep(dir.join(MAP), text, 0o600).await
}

/// A time that is certainly past; none before the first was saved.
pub(crate) fn read_floor(dir: &Path) -> Option<UnixSeconds> {
    read_time(&dir.join(CLOCK))
}

/// A time alone in a file.
pub(crate) fn read_time(path: &Path) -> Option<UnixSeconds> {
    let text = std::fs::read_to_string(path).ok()?;
    text.trim().parse().ok().map(UnixSeconds::new)
}

pub(crate) async fn write_floor(dir: &Path, floor: UnixSeconds) -> Result<()> {
    keep(dir.join(CLOCK), format!("{}\n", floor.get()).into_bytes(), 0o600).await
}

pub(super) fn json<T: DeserializeOwned>(path: &Path) -> Result<Option<T>> {
    match std::fs::read(path) {
        Ok(text) => serde_json::from_slice(&text).map(Some).with_context(|| format!("in {}", path.display())),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error).with_context(|| format!("reading {}", path.display())),
    }
}
