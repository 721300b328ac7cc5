//! `cargo xtask test`: the tests that need nothing but this machine, and the longer ones by name.
//!
//! The plain run is `cargo test` of the whole workspace after everything it starts was built. Its totals are said
//! once more at the end, as they were counted, never made up.

use std::io::{BufRead as _, BufReader};
use std::process::Stdio;

use anyhow::{Context as _, Result, ensure};
use clap::ValueEnum;

use crate::apt::{Consent, Purpose};
use crate::build::Profile as BuildProfile;
use crate::{apt, build, command, image_test, lab, packages, soak};

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Profile {
    /// Real players in Chromium
    Browser,
    /// A long run with reconnects; memory has to stay flat
    Soak,
    /// Boxes in network namespaces
    Lab,
    /// Debian packages on machines of their own
    Packages,
    /// The image of a box, booted
    Image,
}

#[derive(clap::Args, Debug)]
pub(crate) struct Args {
    #[arg(long)]
    pub(crate) profile: Option<Profile>,
    /// A few minutes' worth of the profile
    #[arg(long, requires = "profile")]
    pub(crate) smoke: bool,
    /// How long the soak takes
    #[arg(long, default_value_t = 60, value_parser = clap::value_parser!(u32).range(1..=1440))]
    minutes: u32,
    /// Install missing Debian packages without a question
    #[arg(long)]
    yes: bool,
}

pub(crate) fn run(args: &Args) -> Result<()> {
    let consent = Consent::from_yes(args.yes);
    match args.profile {
        None => suite(consent).map(|totals| println!("{totals}")),
        Some(profile) => run_profile(profile, args.smoke, args.minutes, consent),
    }
}

pub(crate) fn run_profile(profile: Profile, smoke: bool, minutes: u32, consent: Consent) -> Result<()> {
    match profile {
        Profile::Browser => browser(smoke, consent),
        Profile::Soak if smoke => soak::run(&soak::Plan::smoke(), consent),
        Profile::Soak => soak::run(&soak::Plan::full(minutes), consent),
        Profile::Lab => lab::profile(smoke, consent),
        Profile::Packages => packages::profile(smoke, consent),
        Profile::Image => image_test::profile(smoke, consent),
    }
}

/// How many tests ran and how they ended, over all test binaries.
#[derive(Clone, Debug, Default)]
pub(crate) struct Totals {
    passed: u64,
    failed: u64,
    ignored: u64,
    /// What libtest said of each binary that had a test to run.
    said: Vec<String>,
}

impl Totals {
    /// Adds what a `test result:` line of libtest says; other lines say nothing.
    fn add(&mut self, line: &str) {
        let line = line.trim();
        let Some(rest) = line.strip_prefix("test result: ") else { return };
        let Some((_, counts)) = rest.split_once(". ") else { return };
        let before = self.passed + self.failed;
        for count in counts.split(';') {
            let mut words = count.split_whitespace();
            let number = words.next().and_then(|word| word.parse::<u64>().ok()).unwrap_or(0);
            match words.next() {
                Some("passed") => self.passed += number,
                Some("failed") => self.failed += number,
                Some("ignored") => self.ignored += number,
                Some(_) | None => {}
            }
        }
        if self.passed + self.failed > before {
            self.said.push(line.to_owned());
        }
    }

    pub(crate) fn said(&self) -> &[String] {
        &self.said
    }
}

impl std::fmt::Display for Totals {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "tests: {} passed, {} failed", self.passed, self.failed)?;
        if self.ignored > 0 { write!(f, ", {} skipped", self.ignored) } else { Ok(()) }
    }
}

/// Builds what the tests start, and runs all of them.
pub(crate) fn suite(consent: Consent) -> Result<Totals> {
    let purposes =
        [Purpose::Build, Purpose::Web, Purpose::Run, Purpose::Publish, Purpose::Lab, Purpose::Pull];
    apt::require(&purposes, consent)?;
    build::relayd(BuildProfile::Debug)?;
    let mut tests = command::cargo();
    tests.args(["test", "--workspace", "--locked", "--no-fail-fast"]);
    eprintln!("$ cargo test --workspace --locked --no-fail-fast");
    let mut tests =
        tests.stdin(Stdio::null()).stdout(Stdio::piped()).spawn().context("could not start cargo test")?;
    let stdout = tests.stdout.take().context("cargo test has no standard output")?;
    let mut totals = Totals::default();
    for line in BufReader::new(stdout).lines() {
        let line = line.context("could not read what the tests say")?;
        println!("{line}");
        totals.add(&line);
    }
    let status = tests.wait().context("could not wait for cargo test")?;
    ensure!(status.success(), "cargo test ended with {status} ({totals})");
    ensure!(totals.passed > 0, "cargo test ran no test");
    Ok(totals)
}

/// The tests of the pages in real browsers, which are the pages' own: they get the daemon and this program, with
/// which to publish.
fn browser(smoke: bool, consent: Consent) -> Result<()> {
    apt::require(&[Purpose::Build, Purpose::Web, Purpose::Run, Purpose::Publish, Purpose::Browser], consent)?;
    let relayd = build::relayd(BuildProfile::Debug)?;
    let coordinator = build::mesh(BuildProfile::Debug)?.coordinator;
    let mut node = command::program("node");
    node.arg("web/test/run.mjs");
    if smoke {
        node.arg("--smoke");
    }
    let xtask = std::env::current_exe().context("this program has no path")?;
    command::run(node.env("RELAYD", relayd).env("COORDINATOR", coordinator).env("XTASK", xtask))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn totals_are_the_sum_of_all_binaries() {
        let mut totals = Totals::default();
        for line in [
            "running 3 tests",
            "test result: ok. 3 passed; 0 failed; 1 ignored; 0 measured; 0 filtered out; finished in 0.01s",
            "test result: FAILED. 5 passed; 2 failed; 0 ignored; 0 measured; 0 filtered out; finished in 1.20s",
            "tests said: test result: ok. 9 passed",
            "test result: ok. 0 passed; 0 failed; 0 ignored; 0 measured; 0 filtered out; finished in 0.00s",
        ] {
            totals.add(line);
        }
        assert_eq!(totals.to_string(), "tests: 8 passed, 2 failed, 1 skipped");
        assert_eq!(totals.said().len(), 2);
    }
}
