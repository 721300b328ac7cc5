//! The profile `packages`: Debian packages of this tree on machines of their own: namespaces over a bare Debian, with
//! systemd as the first process where units are tried.
//!
//! What is asserted: units are closed as far as promised; install, upgrade, remove and purge leave what they should; a
//! machine with nothing but the package is a box, under its whole sandbox, and comes into a mesh by `relayd join` alone.

mod exposure;
mod life;
mod machine;
mod root;
mod service;

use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, ensure};

use crate::apt::{Consent, Purpose};
use crate::build::Profile;
use crate::stop::Stop;
use crate::{apt, command, deb};
use machine::{Init, Machine};

/// Above the first by Debian's order, and still of this tree.
const NEXT: &str = "+next";

/// Packages of two versions, in one folder.
struct Packages {
    folder: PathBuf,
    versions: [String; 2],
    arch: &'static str,
}

impl Packages {
    /// As a machine sees it.
    fn path(&self, name: &str, version: &str) -> String {
        format!("{}/{name}_{version}_{}.deb", machine::PACKAGES, self.arch)
    }
}

/// The smoke packs debug binaries and leaves out what takes its time.
pub(crate) fn profile(smoke: bool, consent: Consent) -> Result<()> {
    apt::require(&[Purpose::Run, Purpose::Publish, Purpose::Machine], consent)?;
    exposure::check(&command::root().join("systemd"))?;
    ensure!(
        rustix::process::geteuid().is_root(),
        "machines of their own are for root: run this one with sudo"
    );
    let packages = packed(if smoke { Profile::Debug } else { Profile::Dist }, consent)?;
    let dir = command::target().join("packages");
    let stop = Stop::on_signals()?;
    let suites = root::suites()?;
    let (own, later) = suites.split_first().context("this machine has a release")?;
    on(own, &packages, &dir, &stop, smoke)?;
    // The same packages where people have them: what takes its time was seen already.
    let later = if smoke { &[] } else { later };
    later.iter().try_for_each(|suite| on(suite, &packages, &dir, &stop, true))
}

/// On machines of this release of Debian.
fn on(suite: &str, packages: &Packages, dir: &Path, stop: &Stop, smoke: bool) -> Result<()> {
    let root = root::ensure(dir, suite)?;
    println!("Debian {suite}: machines stand on {}", root.display());
    let start = |name: &str, init| {
        Machine::start(&root, &dir.join(format!("{suite}.{name}")), init, &packages.folder, stop)
    };
    life::check(&start("life", Init::Idle)?, packages)?;
    service::check(&start("service", Init::Systemd)?, packages, stop, smoke)
}

fn packed(profile: Profile, consent: Consent) -> Result<Packages> {
    let arch = deb::native()?;
    let version = env!("CARGO_PKG_VERSION").to_owned();
    let versions = [version.clone(), format!("{version}{NEXT}")];
    let mut folder = PathBuf::new();
    for version in &versions {
        let made = deb::shipped(arch, version.clone(), profile, consent)?;
        folder =
            made.first().and_then(|path| path.parent()).map(Path::to_owned).context("no package was made")?;
    }
    Ok(Packages { folder, versions, arch: arch.name() })
}
