//! Debian's mirror, asked by an apt that knows nothing of this machine's packages: which versions there are, and the
//! files themselves. It never installs anything.

use std::fs;
use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, bail, ensure};
use sha2::{Digest as _, Sha256};

use super::lock::Locked;
use crate::command;
use crate::cross::{self, Breadth};

pub(super) struct Mirror {
    dir: PathBuf,
    arch: &'static str,
}

/// Packages that are locked, and that nobody serves any more.
#[derive(Debug, thiserror::Error)]
#[error(
    "no longer served by the mirror: {}. Take newer ones with --relock, and try the image anew; or bring the files from \
     a machine that has them (target/image/pool)",
    .0.join(", ")
)]
pub(super) struct NotServed(Vec<String>);

impl Mirror {
    /// Reads the mirror's lists anew.
    pub(super) fn open(dir: &Path, suite: &str, arch: &'static str) -> Result<Mirror> {
        for folder in ["state/lists/partial", "cache/archives/partial"] {
            let folder = dir.join(folder);
            fs::create_dir_all(&folder).with_context(|| format!("making {}", folder.display()))?;
        }
        let here = dir.display();
        let settings = format!(
            "APT::Architecture \"{arch}\";\nAPT::Architectures {{ \"{arch}\"; }};\n\
             APT::Install-Recommends \"false\";\nAPT::Sandbox::User \"root\";\nAcquire::Languages \"none\";\n\
             Dir::Etc::sourcelist \"{here}/sources.list\";\nDir::Etc::sourceparts \"/dev/null\";\n\
             Dir::Etc::preferencesparts \"/dev/null\";\nDir::Etc::parts \"/dev/null\";\n\
             Dir::State \"{here}/state\";\nDir::State::status \"{here}/status\";\nDir::Cache \"{here}/cache\";\n"
        );
        let write = |name: &str, text: &str| {
            let path = dir.join(name);
            fs::write(&path, text).with_context(|| format!("writing {}", path.display()))
        };
        write("sources.list", &cross::sources_here(suite, Breadth::Boards)?)?;
        write("status", "")?;
        write("apt.conf", &settings)?;
        let mirror = Mirror { dir: dir.to_owned(), arch };
        command::output(mirror.apt_get().args(["--quiet=2", "update"]))
            .context("the mirror's lists could not be read: is there a network?")?;
        Ok(mirror)
    }

    /// The packages with all that they need, and Debian's essential ones, as the mirror has them today.
    pub(super) fn resolve(&self, names: &[String]) -> Result<Vec<Locked>> {
        let mut install = self.apt_get();
        install.args(["install", "--print-uris", "--yes", "--quiet=2", "?essential"]).args(names);
        let listed = command::output(&mut install)?;
        // Their hashes there are of a weaker kind: names and versions are enough to ask again.
        let exact = files(&listed)?.map(|file| Ok(file?.exact())).collect::<Result<Vec<String>>>()?;
        self.look_up(&exact)
    }

    /// These packages, each `NAME` or `NAME=VERSION`, without what they need.
    pub(super) fn look_up(&self, exact: &[String]) -> Result<Vec<Locked>> {
        let mut download = self.apt_get();
        let listed = command::output(download.args(["download", "--print-uris", "--quiet=2"]).args(exact))?;
        files(&listed)?.collect()
    }

    /// Fetches the files into the pool, each under its hash. Says which versions nobody serves any more.
    pub(super) fn fetch(&self, wanted: &[&Locked], pool: &Path) -> Result<()> {
        let exact: Vec<String> = wanted.iter().map(|package| package.exact()).collect();
        let mut ask = self.apt_get();
        let asked = ask.args(["download", "--print-uris", "--quiet=2"]).args(&exact).output();
        let asked = asked.context("could not start apt-get")?;
        if !asked.status.success() {
            let said = String::from_utf8_lossy(&asked.stderr);
            let gone: Vec<String> = said.lines().filter_map(not_served).collect();
            ensure!(!gone.is_empty(), "the mirror was not understood: {}", said.trim());
            return Err(NotServed(gone).into());
        }
        let fresh = pool.join("fresh");
        fs::create_dir_all(&fresh).with_context(|| format!("making {}", fresh.display()))?;
        command::run_as(
            &format!("apt-get download ({} packages)", exact.len()),
            self.apt_get().args(["download", "--quiet=1"]).args(&exact).current_dir(&fresh),
        )?;
        for entry in fs::read_dir(&fresh).context("reading what was fetched")? {
            let path = entry.context("reading what was fetched")?.path();
            let sha256 = hash(&path)?;
            fs::rename(&path, pool.join(format!("{sha256}.deb"))).context("keeping what was fetched")?;
        }
        for package in wanted {
            let Locked { name, version, sha256, .. } = package;
            ensure!(
                pool.join(package.file()).is_file(),
                "the mirror's {name} {version} is not the file that was locked ({sha256}): it was replaced under the \
                 same version, or somebody is between us and the mirror"
            );
        }
        Ok(())
    }

    fn apt_get(&self) -> Command {
        let mut apt_get = command::program("apt-get");
        apt_get.env("APT_CONFIG", self.dir.join("apt.conf")).env("LC_ALL", "C.UTF-8");
        apt_get
    }

    pub(super) fn arch(&self) -> &'static str {
        self.arch
    }
}

impl Locked {
    fn exact(&self) -> String {
        format!("{}={}", self.name, self.version)
    }
}

/// `'URI' NAME_VERSION_ARCH.deb SIZE SHA256:HASH`, one a line; other lines are apt's small talk.
fn files(listed: &str) -> Result<impl Iterator<Item = Result<Locked>>> {
    let lines = listed.lines().filter(|line| line.starts_with('\'')).map(|line| {
        let words: Vec<&str> = line.split(' ').collect();
        let name = words.get(1).and_then(|file| file.strip_suffix(".deb"));
        let parts: Vec<&str> = name.map(|name| name.split('_').collect()).unwrap_or_default();
        let ([name, version, arch], Some(hash)) = (&parts[..], words.get(3)) else {
            bail!("apt says what was not understood: {line}");
        };
        Ok(Locked {
            name: (*name).to_owned(),
            // As apt writes an epoch into a file's name.
            version: version.replace("%3a", ":"),
            arch: (*arch).to_owned(),
            sha256: hash.strip_prefix("SHA256:").unwrap_or_default().to_owned(),
        })
    });
    Ok(lines.collect::<Vec<_>>().into_iter())
}

/// Which package a line of apt says it can't find.
fn not_served(line: &str) -> Option<String> {
    if let Some(said) = line.strip_prefix("E: Version '") {
        let (version, rest) = said.split_once("' for '")?;
        return Some(format!("{} {version}", rest.split('\'').next()?));
    }
    line.strip_prefix("E: Unable to locate package ").map(|name| name.trim().to_owned())
}

/// SHA-256 of a file, in hexadecimal digits.
pub(super) fn hash(path: &Path) -> Result<String> {
    let mut file = fs::File::open(path).with_context(|| format!("opening {}", path.display()))?;
    let mut hasher = Sha256::new();
    let mut piece = vec![0; 1 << 16];
    loop {
        let read = file.read(&mut piece).with_context(|| format!("reading {}", path.display()))?;
        if read == 0 {
            return Ok(hex(&hasher.finalize()));
        }
        hasher.update(&piece[..read]);
    }
}

pub(super) fn hex(bytes: &[u8]) -> String {
    data_encoding::HEXLOWER.encode(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn apts_list_is_read() {
        let listed = "'http://m.example/l/libgmp10_6.3.0%2bdfsg-3_amd64.deb' libgmp10_2%3a6.3.0+dfsg-3_amd64.deb 560220 SHA256:d0\n\
                      Need to get 1 B\n'http://m.example/b.deb' b_1_all.deb 7 MD5Sum:ff\n";
        let found: Vec<Locked> = files(listed).unwrap().collect::<Result<_>>().unwrap();
        assert_eq!(found[0].exact(), "libgmp10=2:6.3.0+dfsg-3");
        assert_eq!((found[0].arch.as_str(), found[0].sha256.as_str()), ("amd64", "d0"));
        assert_eq!((found[1].name.as_str(), found[1].sha256.as_str()), ("b", ""));
    }

    #[test]
    fn what_is_no_longer_served_is_named() {
        let said = "E: Version '1.0-2' for 'grub-common' was not found";
        assert_eq!(not_served(said).as_deref(), Some("grub-common 1.0-2"));
        assert_eq!(not_served("W: something else"), None);
        assert_eq!(not_served("E: Unable to locate package x").as_deref(), Some("x"));
    }
}
