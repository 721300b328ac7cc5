//! `image/packages.lock`: which version of which Debian package is in an image, with the hash of the very file.
//!
//! A build takes these and no others, whatever the mirror serves by then; only `--relock` changes them.

use std::collections::BTreeMap;
use std::path::PathBuf;

use anyhow::{Context as _, Result, bail, ensure};

use crate::command;

const HEADER: &str = "\
# Debian packages of the images: set, name, version, architecture, SHA-256. Written by `cargo xtask image BOARD --relock`.
# BOARD is what is installed, BOARD/carved what single files are taken from, tools what makes the image.
";

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Locked {
    pub(crate) name: String,
    pub(crate) version: String,
    pub(crate) arch: String,
    pub(crate) sha256: String,
}

impl Locked {
    /// The name of its file in the cache: what it is, whatever anybody calls it.
    pub(crate) fn file(&self) -> String {
        format!("{}.deb", self.sha256)
    }
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Lock(BTreeMap<String, Vec<Locked>>);

impl Lock {
    pub(crate) fn read() -> Result<Lock> {
        let text = match std::fs::read_to_string(path()) {
            Ok(text) => text,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Lock::default()),
            Err(error) => return Err(error).context("could not read image/packages.lock"),
        };
        Lock::parse(&text).context("image/packages.lock is not as it should be")
    }

    pub(crate) fn write(&self) -> Result<()> {
        std::fs::write(path(), self.text()).context("could not write image/packages.lock")
    }

    fn parse(text: &str) -> Result<Lock> {
        let mut lock = Lock::default();
        for (index, line) in text.lines().enumerate().filter(|(_, line)| !line.starts_with('#')) {
            let words: Vec<&str> = line.split(' ').collect();
            let [set, name, version, arch, sha256] = words[..] else {
                bail!("line {}: five words are due, not {}", index + 1, words.len());
            };
            ensure!(
                sha256.len() == 64 && sha256.bytes().all(|byte| byte.is_ascii_hexdigit()),
                "line {}: {sha256} is no SHA-256",
                index + 1
            );
            let [name, version, arch, sha256] = [name, version, arch, sha256].map(str::to_owned);
            lock.0.entry(set.to_owned()).or_default().push(Locked { name, version, arch, sha256 });
        }
        Ok(lock)
    }

    fn text(&self) -> String {
        let mut text = HEADER.to_owned();
        for (set, packages) in &self.0 {
            for Locked { name, version, arch, sha256 } in packages {
                text.push_str(&format!("{set} {name} {version} {arch} {sha256}\n"));
            }
        }
        text
    }

    pub(crate) fn set(&self, set: &str, board: &str) -> Result<&[Locked]> {
        let found = self.0.get(set).map(Vec::as_slice);
        found.with_context(|| {
            format!("image/packages.lock has nothing for {set}: cargo xtask image {board} --relock")
        })
    }

    /// Replaces a set. Says what changed, a line for each package.
    pub(crate) fn replace(&mut self, set: &str, mut packages: Vec<Locked>) -> Vec<String> {
        packages.sort();
        let before = self.0.insert(set.to_owned(), packages).unwrap_or_default();
        let versions = |packages: &[Locked]| -> BTreeMap<String, String> {
            packages.iter().map(|package| (package.name.clone(), package.version.clone())).collect()
        };
        let (before, after) = (versions(&before), versions(&self.0[set]));
        let names: std::collections::BTreeSet<&String> = before.keys().chain(after.keys()).collect();
        names
            .into_iter()
            .filter_map(|name| match (before.get(name), after.get(name)) {
                (Some(old), Some(new)) if old == new => None,
                (Some(old), Some(new)) => Some(format!("{set}: {name} {old} -> {new}")),
                (None, Some(new)) => Some(format!("{set}: {name} {new} is new")),
                (Some(old), None) => Some(format!("{set}: {name} {old} is gone")),
                (None, None) => None,
            })
            .collect()
    }
}

fn path() -> PathBuf {
    command::root().join("image/packages.lock")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn package(name: &str, version: &str) -> Locked {
        Locked { name: name.into(), version: version.into(), arch: "all".into(), sha256: "ab".repeat(32) }
    }

    #[test]
    fn what_is_written_is_read() {
        let mut lock = Lock::default();
        assert_eq!(lock.replace("tools", vec![package("b", "1:2-3"), package("a", "1")]).len(), 2);
        let said = lock.replace("tools", vec![package("b", "1:2-4"), package("c", "1")]);
        assert_eq!(said, ["tools: a 1 is gone", "tools: b 1:2-3 -> 1:2-4", "tools: c 1 is new"]);
        assert_eq!(Lock::parse(&lock.text()).unwrap(), lock);
    }

    #[test]
    fn a_torn_line_is_named() {
        let error = Lock::parse("# x\ntools a 1 all").unwrap_err();
        assert_eq!(error.to_string(), "line 2: five words are due, not 4");
        assert!(Lock::parse("tools a 1 all abc").unwrap_err().to_string().contains("no SHA-256"));
    }

    #[test]
    fn the_lock_of_this_tree_is_well_formed() {
        Lock::read().unwrap();
    }
}
