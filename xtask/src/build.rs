//! Building the daemon and its media child, which must lie beside each other.

use std::path::PathBuf;

use anyhow::{Result, ensure};

use crate::{command, web};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Profile {
    Debug,
    Release,
}

impl Profile {
    fn folder(self) -> &'static str {
        match self {
            Profile::Debug => "debug",
            Profile::Release => "release",
        }
    }
}

/// Where the daemon of this profile is built to.
pub(crate) fn relayd_path(profile: Profile) -> PathBuf {
    command::target().join(profile.folder()).join("relayd")
}

/// Builds pages, daemon and media child; returns the daemon's path.
pub(crate) fn relayd(profile: Profile) -> Result<PathBuf> {
    web::ensure()?;
    let mut build = command::cargo();
    build.args(["build", "--locked", "--package", "relayd", "--package", "media", "--bins"]);
    if profile == Profile::Release {
        build.arg("--release");
    }
    command::run(&mut build)?;
    let relayd = relayd_path(profile);
    for binary in [relayd.clone(), relayd.with_file_name("relaybox-media")] {
        ensure!(binary.is_file(), "the build left no {}", binary.display());
    }
    Ok(relayd)
}
