//! Who came in by which invite, kept on disk: the first box of an invite keeps its place over a restart, so that a
//! second one signed with it is refused then as well. What was saved is verified again.

use std::path::Path;

use anyhow::{Context as _, Result};
use trust::{Chain, Revocations, RootKey, Roster};

use crate::secrets::replace;

const ROSTER: &str = "roster.json";

/// The roster as it was saved; what does not hold any more is left out.
pub(crate) fn read(dir: &Path, root: &RootKey, revocations: &Revocations) -> Result<Roster> {
    let path = dir.join(ROSTER);
    let mut roster = Roster::new();
    let text = match std::fs::read(&path) {
        Ok(text) => text,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(roster),
        Err(error) => return Err(error).with_context(|| format!("reading {}", path.display())),
    };
    let chains: Vec<Chain> =
        serde_json::from_slice(&text).with_context(|| format!("in {}", path.display()))?;
    for chain in chains {
        match chain.verify(root, revocations) {
            Ok(identity) => {
                if let Err(error) = roster.admit(&identity) {
                    tracing::warn!(%error, box.id = %identity.name(), "a box of the roster has lost its place");
                }
            }
            Err(error) => tracing::debug!(%error, "a box of the roster is out"),
        }
    }
    Ok(roster)
}

pub(crate) fn write(dir: &Path, roster: &Roster) -> Result<()> {
    let chains: Vec<Chain> = roster.chains().collect();
    let text = serde_json::to_vec(&chains).context("writing down the roster")?;
    replace(&dir.join(ROSTER), &text, 0o600)
}

#[cfg(test)]
mod tests {
    use trust::{BoxSecret, Invite, InviteKind, InviteSecret, Limits, RootSecret, Signed, UnixSeconds};

    use super::*;

    fn chain(root: &RootSecret, n: u8) -> Chain {
        let secret = InviteSecret::from_seed(&[7; 32]);
        let mesh = trust::MeshId::of(&root.public());
        let invite = Invite {
            mesh,
            key: secret.public(),
            name: "ana".parse().unwrap(),
            kind: InviteKind::Box,
            limits: Limits::SINGLE,
            issued: UnixSeconds::new(1000),
            expires: UnixSeconds::new(2000),
        };
        let key = BoxSecret::from_seed(&[n; 32]).public();
        let certificate = trust::BoxCertificate { mesh, key, name: "ana".parse().unwrap() };
        Chain {
            invite: Signed::sign(invite, root).unwrap(),
            certificate: Signed::sign(certificate, &secret).unwrap(),
        }
    }

    #[test]
    fn a_place_outlives_a_restart() {
        let dir = std::env::temp_dir().join(format!("relaybox-roster-{}", std::process::id()));
        std::fs::create_dir_all(&dir).unwrap();
        let root = RootSecret::from_seed(&[1; 32]);
        let none = Revocations::new();
        let identity = |n| chain(&root, n).verify(&root.public(), &none).unwrap();
        let mut roster = read(&dir, &root.public(), &none).unwrap();
        roster.admit(&identity(2)).unwrap();
        write(&dir, &roster).unwrap();
        let mut roster = read(&dir, &root.public(), &none).unwrap();
        assert!(roster.knows(identity(2).key()));
        assert!(roster.admit(&identity(3)).is_err(), "a second box by the same invite");
        std::fs::remove_dir_all(&dir).unwrap();
    }
}
