//! `cargo xtask lab`: boxes behind every pair of routers, in network namespaces of this machine.
//!
//! Which way their packets go is read from counters in the routers, not asked from the daemons. What is expected stands
//! in docs/nat.md, which is read here, so that the page and the test can't drift apart.

pub(crate) mod carry;
mod cell;
mod clock;
mod crowd;
pub(crate) mod dice;
mod expect;
mod flooder;
mod flow;
pub(crate) mod house;
pub(crate) mod kind;
mod mapper;
mod meter;
pub(crate) mod netns;
mod observe;
mod phone;
pub(crate) mod plan;
pub(crate) mod privilege;
mod proof;
mod rules;
mod scenario;
mod stage;
mod summary;
pub(crate) mod traffic;
mod trouble;
mod tunnel;
pub(crate) mod world;

use std::time::Duration;

use anyhow::{Result, ensure};

use crate::apt::{self, Consent, Purpose};
use crate::build::{self, Profile};
use crate::stop::Stop;
use carry::Play;
use cell::{Outcome, Overlay};
use expect::{Company, Expectation};
use house::Mesh;
use kind::Cell;
use scenario::{Chosen, Scenario, Scene};
use tunnel::{Tunnels, Way};

#[derive(clap::Args, Debug, Default)]
pub(crate) struct Args {
    /// These cells, such as easy:hard; the first box is there before the second joins
    #[arg(long, value_delimiter = ',', value_name = "KIND:KIND", conflicts_with_all = ["all", "smoke"])]
    cells: Vec<Cell>,
    /// All 64 cells; without any choice of cells the 36 that differ
    #[arg(long, conflicts_with = "smoke")]
    all: bool,
    /// Four cells, one of each way and one that needs luck
    #[arg(long)]
    smoke: bool,
    /// Who else is there; both, one after the other, if not given
    #[arg(long)]
    company: Option<Company>,
    /// Only prove that the routers are what they claim to be
    #[arg(long)]
    world: bool,
    /// What happens to a household, by name, or all of it; docs/lab.md says what must hold and how long it takes
    #[arg(long, value_name = "NAME", conflicts_with_all = ["cells", "all", "smoke", "company", "world"])]
    scenario: Option<Chosen>,
    /// Friends carry a stream that none of their lines could: measured, then boxes are killed; see docs/lab.md
    #[arg(long, conflicts_with_all = ["cells", "all", "company", "world", "scenario", "tunnels"])]
    carry: bool,
    /// How long it is measured before anybody is killed
    #[arg(long, requires = "carry", value_name = "N", default_value_t = 60)]
    seconds: u64,
    /// How many boxes are killed, one after the other; then two at once, and the origin
    #[arg(long, requires = "carry", value_name = "N", default_value_t = 10)]
    kills: u32,
    /// The stream's rate; all lines are scaled with it
    #[arg(long, requires = "carry", value_name = "KBIT/S", default_value_t = 6000)]
    #[arg(value_parser = clap::value_parser!(u64).range(500..=20_000))]
    kbps: u64,
    /// For what is picked at random; printed where it matters
    #[arg(long)]
    seed: Option<u64>,
    /// Plain tunnels with endpoints that the lab tells them, in place of the mesh: tries the lab itself
    #[arg(long, value_name = "WAY", conflicts_with_all = ["all", "smoke"])]
    tunnels: Option<Way>,
    /// Keep logs and keys of cells that failed
    #[arg(long)]
    keep: bool,
    /// The optimized build of the daemons
    #[arg(long)]
    release: bool,
    /// Install missing Debian packages without a question
    #[arg(long)]
    yes: bool,
}

/// What a smoke runs: direct, direct by birthday, by a third box, by the coordinator.
const SMOKE: [(Cell, Company); 4] = {
    use kind::Kind::{Blocked, Easy, Hard};
    [
        (Cell(Easy, Easy), Company::Alone),
        (Cell(Hard, Easy), Company::Alone),
        (Cell(Hard, Hard), Company::Carol),
        (Cell(Blocked, Easy), Company::Alone),
    ]
};

pub(crate) fn run(args: &Args) -> Result<()> {
    let streams = args.scenario.iter().any(|chosen| chosen.0.iter().any(|scenario| scenario.carries()));
    let media = args.carry || streams;
    let mut purposes = vec![Purpose::Lab];
    if media {
        purposes.extend([Purpose::Build, Purpose::Web, Purpose::Run, Purpose::Publish]);
    }
    if args.scenario.iter().any(|chosen| chosen.0.iter().any(|scenario| scenario.browses())) {
        purposes.push(Purpose::Browser);
    }
    apt::require(&purposes, Consent::from_yes(args.yes))?;
    if args.world {
        privilege::ensure(&[])?;
        world::remove_leftovers();
        return proof::run();
    }
    let profile = if args.release { Profile::Release } else { Profile::Debug };
    let expectation = Expectation::read()?;
    privilege::device()?;
    // Before the change of user, in which nothing can be fetched.
    let mut binaries = if media { build::mesh_with_media(profile)? } else { build::mesh(profile)? };
    if args.scenario.iter().any(|chosen| chosen.0.contains(&Scenario::Hostile)) {
        binaries.hostile = Some(build::hostile(profile)?);
    }
    privilege::ensure(&binaries.environment())?;
    world::remove_leftovers();
    let stop = Stop::on_signals()?;
    let (keep, seed) = (args.keep, args.seed.unwrap_or_else(some_seed));
    if args.carry {
        let time = Duration::from_secs(args.seconds);
        let play =
            if args.smoke { Play::smoke(keep) } else { Play::proof(time, args.kills, args.kbps, seed, keep) };
        return carry::run(&play, &binaries, &stop);
    }
    if let Some(Chosen(scenarios)) = &args.scenario {
        let scene = Scene { binaries, tunnels: args.tunnels, keep, seed, stop: &stop };
        return scenario::run(scenarios, &scene);
    }
    let overlay: Box<dyn Overlay> = match args.tunnels {
        Some(way) => Box::new(Tunnels { relayd: binaries.relayd, way }),
        None => Box::new(Mesh::new(binaries)),
    };
    let outcomes = cells(&*overlay, &expectation, &chosen(args), args.keep, &stop)?;
    conclude(&outcomes, &expectation)
}

fn some_seed() -> u64 {
    let since = std::time::UNIX_EPOCH.elapsed().unwrap_or_default();
    since.as_secs()
}

/// The lab as a profile of tests: all of it, or its smoke, to which a stream that is carried belongs.
pub(crate) fn profile(smoke: bool, consent: Consent) -> Result<()> {
    let yes = consent == Consent::Given;
    run(&Args { all: !smoke, smoke, yes, ..Args::default() })?;
    if smoke { run(&Args { carry: true, smoke, yes, ..Args::default() }) } else { Ok(()) }
}

/// Which cells, in which company.
fn chosen(args: &Args) -> Vec<(Cell, Company)> {
    if args.smoke {
        return SMOKE.to_vec();
    }
    let cells: Vec<Cell> = match (args.cells.is_empty(), args.all) {
        (false, _) => args.cells.clone(),
        (true, true) => Cell::all().collect(),
        (true, false) => Cell::all().filter(|cell| cell.0 <= cell.1).collect(),
    };
    let companies = args.company.map_or(vec![Company::Alone, Company::Carol], |company| vec![company]);
    companies.into_iter().flat_map(|company| cells.iter().map(move |cell| (*cell, company))).collect()
}

/// Runs the cells one after the other, and prints each as it ends.
fn cells(
    overlay: &dyn Overlay,
    expectation: &Expectation,
    chosen: &[(Cell, Company)],
    keep: bool,
    stop: &Stop,
) -> Result<Vec<Outcome>> {
    println!("{}", cell::head());
    let mut outcomes = Vec::new();
    for (cell, company) in chosen {
        let expected = expectation.path(*company, *cell);
        let outcome = cell::run(overlay, *cell, *company, expected, keep, stop)?;
        ensure!(!stop.wanted(), "stopped after {} cells", outcomes.len());
        println!("{outcome}");
        if !outcome.passed() {
            print!("{}", outcome.remark);
        }
        outcomes.push(outcome);
    }
    Ok(outcomes)
}

fn conclude(outcomes: &[Outcome], expectation: &Expectation) -> Result<()> {
    println!();
    summary::lines(outcomes, &expectation.weights).iter().for_each(|line| println!("{line}"));
    let failed: Vec<String> =
        outcomes.iter().filter(|outcome| !outcome.passed()).map(|outcome| outcome.cell.to_string()).collect();
    ensure!(failed.is_empty(), "worse than docs/nat.md says: {}", failed.join(", "));
    for company in [Company::Alone, Company::Carol] {
        for weights in &expectation.weights {
            let percent = summary::direct_percent(outcomes, company, weights);
            let enough = percent.is_none_or(|percent| percent >= summary::DIRECT_PERCENT_MIN);
            ensure!(
                enough,
                "fewer than {} % are direct, weighted by {}",
                summary::DIRECT_PERCENT_MIN,
                weights.name
            );
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_smoke_has_each_way_that_a_path_can_take() {
        let expectation = Expectation::read().unwrap();
        let ways = SMOKE.map(|(cell, company)| expectation.path(company, cell));
        assert!(meter::PATH_TYPES.iter().all(|path| ways.contains(path)), "{ways:?}");
    }
}
