//! `cargo xtask deny`: licenses, bans and sources of all dependencies, by cargo-deny.
//!
//! Advisories are read only with `--advisories`: their database comes by git from a public host, which a build
//! machine may not reach.

use anyhow::{Context as _, Result};

use crate::command;

/// The version that deny.toml is written for.
const VERSION: &str = "0.20.2";

#[derive(clap::Args, Debug)]
pub(crate) struct Args {
    /// Hold the dependencies against the advisory database too
    #[arg(long)]
    advisories: bool,
}

pub(crate) fn run(args: &Args) -> Result<()> {
    check(args.advisories)
}

/// What can be checked without the advisory database.
pub(crate) fn without_advisories() -> Result<()> {
    check(false)
}

fn check(advisories: bool) -> Result<()> {
    ensure_installed()?;
    let mut deny = command::cargo();
    deny.args([
        "deny",
        "--locked",
        "--all-features",
        "check",
        "--hide-inclusion-graph",
        "bans",
        "licenses",
        "sources",
    ]);
    if advisories {
        deny.arg("advisories");
    } else {
        eprintln!(
            "advisories are left out: `cargo xtask deny --advisories` reads them where their database can be fetched"
        );
    }
    command::run(&mut deny)
}

fn ensure_installed() -> Result<()> {
    let found = command::output(command::cargo().args(["deny", "--version"])).unwrap_or_default();
    if found.trim().strip_prefix("cargo-deny ") == Some(VERSION) {
        return Ok(());
    }
    let mut install = command::cargo();
    install.args(["install", "--locked", "--version", VERSION, "cargo-deny"]);
    // It runs for a second: building it fast matters more than its own speed.
    install.env("CARGO_PROFILE_RELEASE_OPT_LEVEL", "1").env("CARGO_PROFILE_RELEASE_LTO", "off");
    let scratch = command::target().join("cargo-deny");
    command::run(install.env("CARGO_TARGET_DIR", &scratch)).context("could not get cargo-deny")?;
    std::fs::remove_dir_all(&scratch).context("could not clear up after cargo-deny")
}
