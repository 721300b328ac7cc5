//! The bare Debian that machines stand on: this machine's own release or a later one, with what the packages need, so that
//! they are installed without a network. Made once, and never changed: machines write beside it.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};

use crate::cross;

/// Beside what every Debian has.
const INCLUDED: [&str; 7] = [
    "ca-certificates",
    "dbus",
    "gstreamer1.0-plugins-bad",
    "gstreamer1.0-plugins-base",
    "gstreamer1.0-plugins-good",
    "systemd",
    "systemd-sysv",
];

/// A release, and a later one on which what was built on it has to run as well.
const LATER: [(&str, &str); 1] = [("bookworm", "trixie")];

/// This machine's own release, and those after it.
pub(super) fn suites() -> Result<Vec<String>> {
    let own = suite(&std::fs::read_to_string("/etc/os-release").context("which Debian is this?")?)?;
    let later = LATER.iter().filter(|(first, _)| *first == own).map(|(_, later)| (*later).to_owned());
    Ok(std::iter::once(own.clone()).chain(later).collect())
}

pub(super) fn ensure(dir: &Path, suite: &str) -> Result<PathBuf> {
    let (root, stamp) = (dir.join(suite), dir.join(format!("{suite}.made")));
    let wanted = INCLUDED.join(",");
    if std::fs::read_to_string(&stamp).ok().as_deref() == Some(&wanted) {
        return Ok(root);
    }
    let options = ["--variant=minbase".to_owned(), format!("--include={wanted}")];
    cross::debian(suite, &root, &options)?;
    std::fs::write(&stamp, wanted).with_context(|| format!("could not write {}", stamp.display()))?;
    Ok(root)
}

/// Binaries of this machine run on its own release, and on later ones.
fn suite(release: &str) -> Result<String> {
    let line = release.lines().find_map(|line| line.strip_prefix("VERSION_CODENAME="));
    Ok(line.context("/etc/os-release names no release")?.trim_matches('"').to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_release_is_this_machines() {
        let text = "PRETTY_NAME=\"Debian GNU/Linux 12\"\nVERSION_CODENAME=bookworm\nID=debian\n";
        assert_eq!(suite(text).unwrap(), "bookworm");
        assert!(suite("ID=arch\n").is_err());
    }
}
