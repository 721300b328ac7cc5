//! Building the daemon and its media child, which must lie beside each other.

use std::path::PathBuf;

use anyhow::{Result, ensure};

use crate::{command, web};

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
    if let Some(named) = std::env::var_os("RELAYD") {
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
