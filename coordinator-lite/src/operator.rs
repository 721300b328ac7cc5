//! The operator's side: the root's secret, in a directory of its own, and what is signed with it. The service has no
//! code that comes here.

pub(crate) mod boxes;
pub(crate) mod card;
pub(crate) mod certify;
pub(crate) mod init;
pub(crate) mod invite;
pub(crate) mod setup;
pub(crate) mod viewer;

use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail, ensure};
use data_encoding::BASE64URL_NOPAD;
use trust::{MeshId, Revocation, Revocations, Revoked, RootSecret, Signed, UnixSeconds};

use crate::{clock, file};

const KEY: &str = "root.key";
const REVOCATIONS: &str = "revocations";
/// Before the seed, so that the file says what it is.
const PREFIX: &str = "relaybox-root-key-1:";

/// The directory that `--root-dir` names, or the operator's own.
pub(crate) fn root_dir(given: Option<PathBuf>) -> Result<PathBuf> {
    if let Some(dir) = given {
        return Ok(dir);
    }
    let set = |name: &str| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    let config = set("XDG_CONFIG_HOME").or_else(|| Some(set("HOME")?.join(".config")));
    Ok(config.context("there is no HOME: say where the root's key is with --root-dir")?.join("relaybox"))
}

/// The root's secret and what it signed that has to be kept.
#[derive(Debug)]
pub(crate) struct Root {
    dir: PathBuf,
    pub(crate) secret: RootSecret,
}

impl Root {
    /// None when there is no key.
    pub(crate) fn read(dir: &Path) -> Result<Option<Self>> {
        let path = dir.join(KEY);
        let Some(text) = file::read(&path)? else { return Ok(None) };
        let seed = text.strip_prefix(PREFIX).and_then(|text| BASE64URL_NOPAD.decode(text.as_bytes()).ok());
        let seed = seed.and_then(|bytes| bytes.try_into().ok());
        let seed = seed.with_context(|| format!("{} holds no root key", path.display()))?;
        let mode = std::fs::metadata(&path).with_context(|| format!("reading {}", path.display()))?;
        ensure!(
            mode.permissions().mode() & 0o077 == 0,
            "{} can be read by others: chmod 600 it, and ask yourself who has",
            path.display()
        );
        Ok(Some(Self { dir: dir.to_owned(), secret: RootSecret::from_seed(&seed) }))
    }

    pub(crate) fn expect(dir: &Path) -> Result<Self> {
        match Self::read(dir)? {
            Some(root) => Ok(root),
            None => bail!(
                "there is no root key in {}: run this as the operator who ran `init`, or say --root-dir",
                dir.display()
            ),
        }
    }

    pub(crate) fn make(dir: &Path) -> Result<Self> {
        file::private_dir(dir)?;
        let secret = RootSecret::from_seed(&clock::random()?);
        let text = format!("{PREFIX}{}\n", BASE64URL_NOPAD.encode(secret.seed()));
        file::replace(&dir.join(KEY), text.as_bytes(), file::OWNER)?;
        Ok(Self { dir: dir.to_owned(), secret })
    }

    /// What was revoked from this directory: a database that came back from a backup learns it again.
    pub(crate) fn revocations(&self) -> Result<Revocations> {
        let path = self.dir.join(REVOCATIONS);
        let mut revocations = Revocations::new();
        for line in file::read(&path)?.unwrap_or_default().lines() {
            let entry: Signed<Revocation> = line.parse().with_context(|| format!("in {}", path.display()))?;
            revocations.merge(&self.secret.public(), [&entry]);
        }
        Ok(revocations)
    }

    /// Signs revocations on top of all that is known, and keeps them here before anybody hears of them.
    pub(crate) fn revoke(
        &self,
        known: &Revocations,
        targets: &[Revoked],
        now: UnixSeconds,
    ) -> Result<Revocations> {
        let root = self.secret.public();
        let mut revocations = self.revocations()?;
        revocations.merge(&root, known.entries());
        for target in targets {
            let is_known = revocations.entries().iter().any(|entry| entry.claims().target == *target);
            if is_known {
                continue;
            }
            let serial = revocations.serial_max().saturating_add(1);
            let revocation = Revocation { mesh: MeshId::of(&root), serial, target: *target, issued: now };
            let entry = Signed::sign(revocation, &self.secret).context("signing a revocation")?;
            revocations.merge(&root, [&entry]);
        }
        let lines: String = revocations.entries().iter().map(|entry| format!("{entry}\n")).collect();
        file::replace(&self.dir.join(REVOCATIONS), lines.as_bytes(), file::OWNER)?;
        Ok(revocations)
    }
}

/// Refuses a root directory in which the service could read.
pub(crate) fn apart(data_dir: &Path, root_dir: &Path) -> Result<()> {
    let full = |path: &Path| std::path::absolute(path).map(|path| path.canonicalize().unwrap_or(path));
    let (data, root) = (full(data_dir)?, full(root_dir)?);
    ensure!(
        !root.starts_with(&data),
        "the root's key must not lie where the service can read it: {} is the service's directory. Choose another \
         with --root-dir",
        data.display()
    );
    Ok(())
}
