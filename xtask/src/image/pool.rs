//! The Debian packages that were fetched, each under its hash, and small repositories of them from which nothing but what
//! is locked can be installed.

use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, ensure};

use super::lock::Locked;
use super::mirror::{self, Mirror};
use crate::command;

pub(super) struct Pool(PathBuf);

impl Pool {
    pub(super) fn open(dir: &Path) -> Result<Pool> {
        fs::create_dir_all(dir).with_context(|| format!("making {}", dir.display()))?;
        // What a run that was killed was about to fetch.
        let fresh = dir.join("fresh");
        if fresh.exists() {
            fs::remove_dir_all(&fresh).with_context(|| format!("clearing {}", fresh.display()))?;
        }
        Ok(Pool(dir.to_owned()))
    }

    /// Fetches what is missing. The mirror is asked only then.
    pub(super) fn fill(&self, wanted: &[Locked], mirror: impl FnOnce() -> Result<Mirror>) -> Result<()> {
        let missing: Vec<&Locked> =
            wanted.iter().filter(|package| !self.0.join(package.file()).is_file()).collect();
        if missing.is_empty() { Ok(()) } else { mirror()?.fetch(&missing, &self.0) }
    }

    pub(super) fn path(&self, package: &Locked) -> PathBuf {
        self.0.join(package.file())
    }

    /// A repository of these packages alone. Each file is what its name says, or there is none.
    pub(super) fn repository(&self, packages: &[Locked], dir: &Path) -> Result<()> {
        if dir.exists() {
            fs::remove_dir_all(dir).with_context(|| format!("clearing {}", dir.display()))?;
        }
        fs::create_dir_all(dir).with_context(|| format!("making {}", dir.display()))?;
        let mut list = String::new();
        for package in packages {
            let path = self.path(package);
            let found = mirror::hash(&path)?;
            ensure!(
                found == package.sha256,
                "{} is damaged: remove it, and it is fetched anew",
                path.display()
            );
            let file = package.file();
            fs::hard_link(&path, dir.join(&file)).with_context(|| format!("linking {}", path.display()))?;
            let control = command::output(command::program("dpkg-deb").arg("--field").arg(&path))?;
            let bytes = path.metadata().with_context(|| format!("looking at {}", path.display()))?.len();
            let _ = write!(list, "{control}Filename: ./{file}\nSize: {bytes}\nSHA256: {found}\n\n");
        }
        fs::write(dir.join("Packages"), list).context("writing the list of packages")
    }
}
