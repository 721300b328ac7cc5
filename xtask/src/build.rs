//! Building the daemon and its media child, which must lie beside each other.

use std::path::{Path, PathBuf};

use anyhow::{Result, ensure};

use crate::{command, web};

/// The two daemons of a mesh.
#[derive(Clone, Debug)]
pub(crate) struct MeshBinaries {
    pub(crate) relayd: PathBuf,
    pub(crate) coordinator: PathBuf,
    /// A relay that does wrong, for who asked for it.
    pub(crate) hostile: Option<PathBuf>,
}

impl MeshBinaries {
    /// What makes another run of this program take the same ones and build nothing.
    pub(crate) fn environment(&self) -> Vec<(&str, &Path)> {
        let hostile = self.hostile.as_deref().map(|path| (HOSTILE, path));
        [(RELAYD, self.relayd.as_path()), (COORDINATOR, &self.coordinator)]
            .into_iter()
            .chain(hostile)
            .collect()
    }
}

/// The crates whose binaries are shipped.
pub(crate) const SHIPPED: [&str; 3] = ["relayd", "media", "coordinator-lite"];

/// Names a daemon that is there already.
const RELAYD: &str = "RELAYD";
/// The same for the coordinator.
const COORDINATOR: &str = "COORDINATOR";
/// The same for the relay that does wrong.
const HOSTILE: &str = "HOSTILE_RELAY";

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Profile {
    Debug,
    Release,
    /// As it is shipped.
    Dist,
}

impl Profile {
    /// As cargo calls it, which is not always as it calls the folder.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Profile::Debug => "dev",
            Profile::Release | Profile::Dist => self.folder(),
        }
    }

    fn folder(self) -> &'static str {
        match self {
            Profile::Debug => "debug",
            Profile::Release => "release",
            Profile::Dist => "dist",
        }
    }
}

/// Where the daemon of this profile is built to.
pub(crate) fn relayd_path(profile: Profile) -> PathBuf {
    command::target().join(profile.folder()).join("relayd")
}

/// Builds pages, daemon and media child; returns the daemon's path. A daemon that the environment names in `RELAYD`,
/// an installed one for example, is taken as it is.
pub(crate) fn relayd(profile: Profile) -> Result<PathBuf> {
    if let Some(named) = std::env::var_os(RELAYD) {
        let named = command::root().join(named);
        eprintln!("nothing is built: RELAYD names {}", named.display());
        return Ok(named);
    }
    web::ensure()?;
    let mut build = command::cargo();
    build.args(["build", "--locked", "--package", "relayd", "--package", "media", "--bins"]);
    build.args(["--profile", profile.name()]);
    command::run(&mut build)?;
    let relayd = relayd_path(profile);
    for binary in [relayd.clone(), relayd.with_file_name("relaybox-media")] {
        ensure!(binary.is_file(), "the build left no {}", binary.display());
    }
    Ok(relayd)
}

/// Builds all that is shipped, and gives the folder in which it lies.
pub(crate) fn all(profile: Profile) -> Result<PathBuf> {
    web::ensure()?;
    if profile == Profile::Debug {
        // With the features that other tests build them with, so that nothing is compiled anew.
        mesh(profile)?;
        relayd(profile)?;
        return Ok(command::target().join(profile.folder()));
    }
    let mut build = command::cargo();
    build.args(["build", "--locked", "--bins", "--profile", profile.name()]);
    for package in SHIPPED {
        build.args(["--package", package]);
    }
    command::run(&mut build)?;
    Ok(command::target().join(profile.folder()))
}

/// Builds the daemons of a mesh, without what a box needs for taking streams in. Those that the environment names in
/// `RELAYD` and `COORDINATOR` are taken as they are.
pub(crate) fn mesh(profile: Profile) -> Result<MeshBinaries> {
    mesh_of(profile, &[(RELAYD, "relayd"), (COORDINATOR, "coordinator-lite")])
}

/// The same with the box's media child, for boxes at which streams are published.
pub(crate) fn mesh_with_media(profile: Profile) -> Result<MeshBinaries> {
    mesh_of(profile, &[(RELAYD, "relayd"), (RELAYD, "media"), (COORDINATOR, "coordinator-lite")])
}

/// Builds the relay that does wrong, for the lab; one that the environment names in `HOSTILE_RELAY` is taken as it is.
pub(crate) fn hostile(profile: Profile) -> Result<PathBuf> {
    if let Some(named) = std::env::var_os(HOSTILE) {
        return Ok(command::root().join(named));
    }
    let mut build = command::cargo();
    build.args(["build", "--locked", "--package", "relay", "--example", "hostile"]);
    command::run(build.args(["--profile", profile.name()]))?;
    Ok(command::target().join(profile.folder()).join("examples/hostile"))
}

fn mesh_of(profile: Profile, packages: &[(&str, &str)]) -> Result<MeshBinaries> {
    let named = |name| std::env::var_os(name).map(|path| command::root().join(path));
    let built = |name| command::target().join(profile.folder()).join(name);
    let binaries = MeshBinaries {
        relayd: named(RELAYD).unwrap_or_else(|| built("relayd")),
        coordinator: named(COORDINATOR).unwrap_or_else(|| built("coordinator-lite")),
        hostile: None,
    };
    let missing: Vec<&str> =
        packages.iter().filter(|(name, _)| named(name).is_none()).map(|(_, package)| *package).collect();
    if !missing.is_empty() {
        web::ensure()?;
        let mut build = command::cargo();
        build.args(["build", "--locked", "--bins", "--profile", profile.name()]);
        for package in missing {
            build.args(["--package", package]);
        }
        command::run(&mut build)?;
    }
    for binary in [&binaries.relayd, &binaries.coordinator] {
        ensure!(binary.is_file(), "there is no {}", binary.display());
    }
    Ok(binaries)
}
