//! `cargo xtask web`: builds the pages in `web/` with npm.
//!
//! Does nothing while the result is newer than everything it is made from. What npm fetches is decided by the lock
//! file alone.

use std::path::Path;
use std::time::SystemTime;

use anyhow::{Context as _, Result};

use crate::{apt, command};

/// What the pages are made from, below `web/`; the tests of the pages are not in it.
const INPUTS: [&str; 6] =
    ["package.json", "package-lock.json", "build.mjs", "tsconfig.json", "src", "public"];

/// Written when all of a build went well. It lies where a new `npm ci` takes it away.
const STAMP: &str = "node_modules/.pages-built";

/// How deep and how wide the search for changed inputs goes.
const INPUT_FILES_MAX: usize = 10_000;

#[derive(clap::Args, Debug)]
pub(crate) struct Args {
    /// Build even if nothing has changed
    #[arg(long)]
    force: bool,
}

pub(crate) fn run(args: &Args) -> Result<()> {
    if args.force { build() } else { ensure() }
}

/// Builds the pages if they are older than their inputs.
pub(crate) fn ensure() -> Result<()> {
    let web = command::root().join("web");
    if is_fresh(&web)? {
        return Ok(());
    }
    build()
}

fn build() -> Result<()> {
    let web = command::root().join("web");
    apt::require(&[apt::Purpose::Web], apt::Consent::Ask)?;
    if newest(&web, &["package-lock.json", "package.json"])? > oldest_install(&web) {
        command::run(command::program("npm").args(["ci", "--no-audit", "--no-fund"]).current_dir(&web))?;
    }
    command::run(command::program("npm").args(["run", "--silent", "build"]).current_dir(&web))?;
    std::fs::write(web.join(STAMP), "").context("npm left no web/node_modules")
}

fn oldest_install(web: &Path) -> SystemTime {
    modified(&web.join("node_modules/.package-lock.json")).unwrap_or(SystemTime::UNIX_EPOCH)
}

fn is_fresh(web: &Path) -> Result<bool> {
    let Some(built) = modified(&web.join(STAMP)) else { return Ok(false) };
    Ok(web.join("dist/index.html").is_file() && newest(web, &INPUTS)? < built)
}

/// The latest change below `web` in these files and folders.
fn newest(web: &Path, names: &[&str]) -> Result<SystemTime> {
    let mut open: Vec<_> = names.iter().map(|name| web.join(name)).collect();
    let mut latest = SystemTime::UNIX_EPOCH;
    let mut seen = 0;
    while let Some(path) = open.pop() {
        seen += 1;
        anyhow::ensure!(seen <= INPUT_FILES_MAX, "more than {INPUT_FILES_MAX} files below {}", web.display());
        // A folder counts too: its time tells that a file in it went away.
        let Some(time) = modified(&path) else { continue };
        latest = latest.max(time);
        if path.is_dir() {
            for entry in
                std::fs::read_dir(&path).with_context(|| format!("could not read {}", path.display()))?
            {
                open.push(entry?.path());
            }
        }
    }
    Ok(latest)
}

fn modified(path: &Path) -> Option<SystemTime> {
    path.metadata().and_then(|meta| meta.modified()).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs::{File, FileTimes};
    use std::time::Duration;

    fn touch(path: &Path, seconds: u64) {
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        let file = File::create(path).unwrap();
        let time = SystemTime::UNIX_EPOCH + Duration::from_secs(seconds);
        file.set_times(FileTimes::new().set_modified(time)).unwrap();
    }

    fn set_dir_time(path: &Path, seconds: u64) {
        let time = SystemTime::UNIX_EPOCH + Duration::from_secs(seconds);
        File::open(path).unwrap().set_times(FileTimes::new().set_modified(time)).unwrap();
    }

    #[test]
    fn pages_are_fresh_until_an_input_changes() {
        let web = std::env::temp_dir().join(format!("xtask-web-{}", std::process::id()));
        touch(&web.join("src/page/player.ts"), 100);
        touch(&web.join("package.json"), 100);
        set_dir_time(&web.join("src/page"), 100);
        set_dir_time(&web.join("src"), 100);
        assert!(!is_fresh(&web).unwrap(), "nothing was built");
        touch(&web.join(STAMP), 200);
        assert!(!is_fresh(&web).unwrap(), "the result is gone");
        touch(&web.join("dist/index.html"), 200);
        assert!(is_fresh(&web).unwrap());
        touch(&web.join("src/page/player.ts"), 300);
        assert!(!is_fresh(&web).unwrap(), "an input is newer");
        std::fs::remove_dir_all(&web).unwrap();
    }
}
