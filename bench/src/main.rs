//! Relaybox beside its peers, on one machine in one run. Started by `cargo xtask bench`, which builds what is measured.
//!
//! It judges nothing but numbers: whether what was served is right is for the tests.

mod crowd;
mod edge;
mod http;
mod item;
mod load;
mod m3u8;
mod machine;
mod plan;
mod process;
mod publisher;
mod report;
mod rounds;
mod servers;
mod source;
mod stamp;
mod tunnel;

use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, ensure};
use clap::{Parser, ValueEnum as _};

use item::Item;
use plan::Plan;
use report::Outcome;

const QUICK_ROUNDS: usize = 2;

#[derive(Parser, Debug)]
#[command(about = "Relaybox beside its peers", version)]
struct Cli {
    /// The daemon that is measured
    #[arg(long)]
    relayd: PathBuf,
    /// Where sources, logs and outcomes are kept
    #[arg(long)]
    dir: PathBuf,
    /// Only these items
    #[arg(long)]
    only: Vec<Item>,
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..=100))]
    rounds: u32,
    /// Two short rounds of each, to see that all of it works; no page is written
    #[arg(long)]
    quick: bool,
    /// Cut windows of measurement down to this many seconds; the page says so
    #[arg(long, value_parser = clap::value_parser!(u64).range(4..))]
    window_s_max: Option<u64>,
    /// Of the item ingest, only the case with so many streams, for a look with a profiler; no page is written
    #[arg(long)]
    streams: Option<usize>,
    /// Measure nothing: write the page anew from what was kept
    #[arg(long)]
    page: bool,
}

fn main() -> Result<()> {
    let cli = Cli::parse();
    let manifest_dir = Path::new(env!("CARGO_MANIFEST_DIR"));
    if cli.page {
        return write_page(&manifest_dir.join("RESULTS.md"), &cli.dir.join("full"));
    }
    let partial = cli.quick || cli.streams.is_some();
    let dir = cli.dir.join(if partial { "quick" } else { "full" });
    std::fs::create_dir_all(&dir).with_context(|| format!("could not make {}", dir.display()))?;
    let relayd = cli.relayd.canonicalize().with_context(|| format!("no {}", cli.relayd.display()))?;
    ensure!(!cfg!(debug_assertions) || cli.quick, "a bench that is not optimized only has a quick look");
    let plan = Plan {
        relayd,
        dir: dir.canonicalize().context("the folder just made is gone")?,
        manifest_dir: manifest_dir.to_owned(),
        rounds: if cli.quick { QUICK_ROUNDS } else { cli.rounds as usize },
        quick: cli.quick,
        window_s_max: cli.window_s_max,
        streams: cli.streams,
    };
    let chosen = if cli.only.is_empty() { Item::value_variants() } else { &cli.only };
    for item in chosen {
        // Asked first: what is missing is said before anything is measured.
        let peers = item.peers(&plan)?;
        let outcome = Outcome::new(item.run(&plan)?, &plan, peers);
        outcome.keep(*item, &plan.dir)?;
        // Written after each item, so that what was measured outlives what comes after it.
        if partial {
            println!("{}", report::page(Item::value_variants(), &plan.dir));
        } else {
            write_page(&manifest_dir.join("RESULTS.md"), &plan.dir)?;
        }
    }
    Ok(())
}

fn write_page(path: &Path, dir: &Path) -> Result<()> {
    let page = report::page(Item::value_variants(), dir);
    std::fs::write(path, page).with_context(|| format!("could not write {}", path.display()))
}
