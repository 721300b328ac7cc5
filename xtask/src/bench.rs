//! `cargo xtask bench`: builds what is measured and what measures, in release, and lets it run. The work is the crate
//! `bench`'s.

use anyhow::Result;

use crate::apt::{Consent, Purpose};
use crate::build::Profile;
use crate::{apt, build, command};

#[derive(clap::Args, Debug)]
pub(crate) struct Args {
    /// Only this item: objects, playlists, parts, flv, ingest, watched, edge, tunnel or tunnel-core; may be given again
    #[arg(long, value_name = "NAME")]
    only: Vec<String>,
    #[arg(long, default_value_t = 5)]
    rounds: u32,
    /// Two short rounds of each item, to see that all of it works; no page is written
    #[arg(long)]
    quick: bool,
    /// Cut windows of measurement down to this many seconds
    #[arg(long, value_name = "SECONDS")]
    window_s_max: Option<u64>,
    /// Install missing Debian packages without a question
    #[arg(long)]
    yes: bool,
}

pub(crate) fn run(args: &Args) -> Result<()> {
    let purposes = [Purpose::Build, Purpose::Web, Purpose::Run, Purpose::Publish, Purpose::Bench];
    apt::require(&purposes, Consent::from_yes(args.yes))?;
    let relayd = build::relayd(Profile::Dist)?;
    command::run(command::cargo().args(["build", "--locked", "--profile", "dist", "--package", "bench"]))?;
    if args.only.is_empty() || args.only.iter().any(|name| name == "edge") {
        // Beside the daemon, where the bench looks for it.
        let coordinator =
            ["build", "--locked", "--profile", "dist", "--package", "coordinator-lite", "--bins"];
        command::run(command::cargo().args(coordinator))?;
    }
    let mut bench = command::program(command::target().join("dist/bench"));
    bench.arg("--relayd").arg(relayd).arg("--dir").arg(command::target().join("bench"));
    bench.args(["--rounds", &args.rounds.to_string()]);
    for name in &args.only {
        bench.args(["--only", name]);
    }
    if let Some(seconds) = args.window_s_max {
        bench.args(["--window-s-max", &seconds.to_string()]);
    }
    if args.quick {
        bench.arg("--quick");
    }
    command::run(&mut bench)
}
