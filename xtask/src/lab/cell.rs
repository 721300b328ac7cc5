//! One cell: a world of two boxes and perhaps a third, brought up, measured, judged.
//!
//! How boxes are connected is an `Overlay`'s: the mesh, or plain tunnels with which this lab is tested. The judgement is
//! the same for both and asks nobody but the routers.

use std::collections::BTreeMap;
use std::fmt;
use std::net::IpAddr;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};

use super::expect::Company;
use super::kind::Cell;
use super::meter::PathType;
use super::plan::Wanted;
use super::stage::Stage;
use super::world::World;
use crate::stop::Stop;

/// What is sent each way to see which way it goes.
const VOLUME: usize = 256 * 1024;

/// Boxes that are up.
pub(crate) struct Fleet<'a> {
    /// By name of the site.
    pub(crate) addresses: BTreeMap<String, IpAddr>,
    /// When the last box began to join: b, if there is one.
    pub(crate) began: Instant,
    /// The port that boxes let each other reach.
    pub(crate) port: u16,
    /// Lives as long as the daemons, and tells why something went wrong.
    pub(crate) running: Box<dyn Running + 'a>,
}

/// How long a cell may take.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Limits {
    /// Before it counts as not connected.
    pub(crate) connect: Duration,
    /// After the first byte, to find the way that is expected.
    pub(crate) settle: Duration,
}

pub(crate) trait Running {
    /// The ends of the logs.
    fn logs(&self) -> String;
    /// Pulls the box's plug, and starts it with what it kept.
    fn restart(&mut self, name: &str) -> Result<()>;
    /// Names of the boxes in a box's map, as it says; to choose by, never for a verdict.
    fn known(&self, name: &str) -> Result<Vec<String>>;
    /// Kills the coordinator for good.
    fn kill_coordinator(&mut self);
    /// A configuration for the ordinary WireGuard app, with this box as its gateway.
    fn invite_viewer(&self, name: &str, gateway: &str) -> Result<String>;
    /// Takes a box or a viewer out.
    fn revoke(&self, name: &str) -> Result<()>;
    /// The public key and the UDP port of a box, as anybody can know them.
    fn wireguard(&self, name: &str) -> Result<([u8; 32], u16)>;
}

/// What connects the boxes of a world.
pub(crate) trait Overlay {
    fn limits(&self) -> Limits;
    fn bring_up<'a>(&'a self, world: &'a World, stop: &Stop) -> Result<Fleet<'a>>;
}

/// What a cell did.
#[derive(Clone, Debug)]
pub(crate) struct Outcome {
    pub(crate) cell: Cell,
    pub(crate) company: Company,
    pub(crate) expected: PathType,
    /// The way in the end; none if nothing went through or no way carried most of it.
    pub(crate) seen: Option<PathType>,
    pub(crate) first_byte: Option<Duration>,
    /// From the first byte until the way was as expected.
    pub(crate) settled: Option<Duration>,
    /// What a person wants to know of a failure.
    pub(crate) remark: String,
}

impl Outcome {
    /// A better way than expected is no failure.
    pub(crate) fn passed(&self) -> bool {
        self.seen.is_some_and(|seen| seen >= self.expected)
    }
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let seconds =
            |time: Option<Duration>| time.map_or("-".to_owned(), |time| format!("{:.1}", time.as_secs_f64()));
        let Outcome { cell, company, expected, seen, first_byte, settled, .. } = self;
        let seen = seen.map_or("nothing", PathType::name);
        let verdict = if self.passed() { "ok" } else { "FAILED" };
        let (first, settled) = (seconds(*first_byte), seconds(*settled));
        write!(f, "{cell:<16} {company:<11} {expected:<12} {seen:<12} {first:>6} {settled:>6}  {verdict}")
    }
}

/// The head of a table of outcomes.
pub(crate) fn head() -> String {
    format!(
        "{:<16} {:<11} {:<12} {:<12} {:>6} {:>6}",
        "cell", "company", "expected", "seen", "1st, s", "way, s"
    )
}

/// The sites of a cell. The names are the boxes' names, too.
pub(crate) fn wanted(cell: Cell, company: Company) -> Vec<Wanted> {
    let mut wanted = vec![Wanted::new("a", cell.0), Wanted::new("b", cell.1)];
    if company == Company::Carol {
        wanted.push(Wanted::CAROL);
    }
    wanted
}

/// Runs one cell. An error means that the lab itself failed; a box that does not connect is an outcome.
pub(crate) fn run(
    overlay: &dyn Overlay,
    cell: Cell,
    company: Company,
    expected: PathType,
    keep: bool,
    stop: &Stop,
) -> Result<Outcome> {
    let world = World::new(&wanted(cell, company), keep).with_context(|| format!("the world of {cell}"))?;
    let stage = Stage::set(&world, overlay, stop).with_context(|| format!("the boxes of {cell}"))?;
    let mut outcome = Outcome {
        cell,
        company,
        expected,
        seen: None,
        first_byte: None,
        settled: None,
        remark: String::new(),
    };
    judge(&stage, overlay.limits(), &mut outcome, stop)?;
    if !outcome.passed() {
        outcome.remark.push_str(&stage.fleet.running.logs());
        if keep {
            outcome.remark.push_str(&format!("    everything is in {}\n", world.dir().display()));
        }
    }
    Ok(outcome)
}

fn judge(stage: &Stage<'_>, limits: Limits, outcome: &mut Outcome, stop: &Stop) -> Result<()> {
    if stage.first_byte(["b", "a"], limits.connect, stop).is_none() {
        outcome.remark = format!("    no byte from b to a in {} s\n", limits.connect.as_secs());
        return Ok(());
    }
    outcome.first_byte = Some(stage.fleet.began.elapsed());
    let connected = Instant::now();
    loop {
        match stage.way(["a", "b"], VOLUME)? {
            Ok(seen) => (outcome.seen, outcome.remark) = (seen.path, seen.counted),
            Err(error) => (outcome.seen, outcome.remark) = (None, format!("    {error:#}\n")),
        }
        if outcome.passed() {
            outcome.settled = Some(connected.elapsed());
            return Ok(());
        }
        if connected.elapsed() > limits.settle || stop.wanted() {
            return Ok(());
        }
    }
}
