//! `cargo xtask deb`: Debian packages of the daemon and of the coordinator, from the binaries as they are shipped.
//!
//! What a package is made of stands in `packages/`; this lays the files out and lets Debian's own tools do the rest.
//! It refuses to make a package that is above its budget, and it publishes nothing.

mod control;
mod recipe;
mod tree;

use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, ensure};
use clap::ValueEnum;

use crate::apt::{Consent, Purpose};
use crate::build::Profile;
use crate::{apt, build, command, cross};
use recipe::Recipe;

/// The packages that there are.
pub(crate) const PACKAGES: [&str; 2] = ["relayd", "coordinator-lite"];

/// The most that a stripped daemon may take, bytes.
const RELAYD_BYTES_MAX: u64 = 20_000_000;

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum, serde::Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Arch {
    Amd64,
    Arm64,
}

impl Arch {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Arch::Amd64 => "amd64",
            Arch::Arm64 => "arm64",
        }
    }
}

#[derive(clap::Args, Debug)]
pub(crate) struct Args {
    /// For which machines; this one's without a word. arm64 is built in the chroot of `cargo xtask cross`, as root
    #[arg(long)]
    arch: Option<Arch>,
    /// The package's version; the workspace's without a word
    #[arg(long)]
    version: Option<String>,
    /// Install missing Debian packages without a question
    #[arg(long)]
    yes: bool,
}

pub(crate) fn run(args: &Args) -> Result<()> {
    let consent = Consent::from_yes(args.yes);
    let native = native();
    let version = args.version.clone().unwrap_or_else(|| env!("CARGO_PKG_VERSION").to_owned());
    let made = match (args.arch, native) {
        (Some(Arch::Arm64), Ok(Arch::Amd64)) => crossed(Arch::Arm64, version, consent)?,
        (None, native) => shipped(native?, version, Profile::Dist, consent)?,
        (Some(asked), native) => {
            ensure!(native? == asked, "{} packages are made on such a machine", asked.name());
            shipped(asked, version, Profile::Dist, consent)?
        }
    };
    for package in made {
        println!("{}", package.display());
    }
    Ok(())
}

/// What this machine is.
pub(crate) fn native() -> Result<Arch> {
    let said = command::output(command::program("dpkg").arg("--print-architecture"))?;
    Arch::from_str(said.trim(), true)
        .map_err(anyhow::Error::msg)
        .context("there are no packages for this machine")
}

/// Builds for another machine in the chroot, and packs it.
pub(crate) fn crossed(arch: Arch, version: String, consent: Consent) -> Result<Vec<PathBuf>> {
    let crossed = cross::shipped(consent)?;
    let binaries = crossed.binaries.clone();
    Batch { arch, version, profile: Profile::Dist, binaries, crossed: Some(crossed) }.make()
}

/// Builds for this machine, and packs it. A debug build is for tests alone.
pub(crate) fn shipped(
    arch: Arch,
    version: String,
    profile: Profile,
    consent: Consent,
) -> Result<Vec<PathBuf>> {
    apt::require(&[Purpose::Build, Purpose::Web, Purpose::Deb], consent)?;
    let binaries = build::all(profile)?;
    Batch { arch, version, profile, binaries, crossed: None }.make()
}

/// Packages of one version.
struct Batch {
    arch: Arch,
    version: String,
    profile: Profile,
    /// Where the binaries lie.
    binaries: PathBuf,
    crossed: Option<cross::Shipped>,
}

impl Batch {
    fn make(&self) -> Result<Vec<PathBuf>> {
        PACKAGES.iter().map(|name| self.pack(name)).collect()
    }

    fn pack(&self, name: &str) -> Result<PathBuf> {
        let recipe = Recipe::read(name)?;
        let stage = tree::lay_out(&recipe, &self.binaries, &self.place(&format!("{name}.tree")))?;
        if self.crossed.is_none() {
            tree::strip(&recipe, &stage)?;
        }
        let daemon = stage.join("usr/bin/relayd");
        if let (Ok(meta), Profile::Dist) = (daemon.metadata(), self.profile) {
            ensure!(
                meta.len() <= RELAYD_BYTES_MAX,
                "relayd has {} bytes, more than {RELAYD_BYTES_MAX}",
                meta.len()
            );
        }
        let libraries = control::libraries(&recipe, &stage, self.crossed.as_ref())?;
        control::write(&recipe, &stage, &self.version, self.arch, &libraries)?;
        let package = self.place(&format!("{name}_{}_{}.deb", self.version, self.arch.name()));
        build_package(&stage, &package, self.profile)?;
        std::fs::remove_dir_all(&stage).with_context(|| format!("clearing up {}", stage.display()))?;
        Ok(package)
    }

    fn place(&self, name: &str) -> PathBuf {
        command::target().join("deb").join(name)
    }
}

/// Times are the commit's, so that two builds of one commit are one package.
fn build_package(stage: &Path, package: &Path, profile: Profile) -> Result<()> {
    let time = command::output(command::program("git").args(["log", "-1", "--format=%ct"]))?;
    let mut pack = command::program("dpkg-deb");
    // What nobody downloads need not be small.
    let small = if profile == Profile::Debug { &["-Zgzip", "-z1"][..] } else { &["-Zxz"] };
    pack.arg("--root-owner-group").args(small).arg("--build").arg(stage).arg(package);
    command::output(pack.env("SOURCE_DATE_EPOCH", time.trim())).map(drop)
}
