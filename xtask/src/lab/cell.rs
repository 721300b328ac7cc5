//! One cell: a world of two boxes and perhaps a third, brought up, measured, judged.
//!
//! How boxes are connected is an `Overlay`'s: the mesh, or plain tunnels with which this lab is tested. The judgement is
//! the same for both and asks nobody but the routers.

use std::fmt;
use std::net::IpAddr;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};

use super::expect::Company;
use super::kind::Cell;
use super::meter::{self, Ends, PathType, Reading};
use super::plan::{COORDINATOR_V4, COORDINATOR_V6, Wanted};
use super::traffic::{self, Echo};
use super::world::World;
use crate::stop::Stop;

/// What is sent each way to see which way it goes.
const VOLUME: usize = 256 * 1024;

/// Two boxes that should reach each other.
pub(crate) struct Pair<'a> {
    pub(crate) addresses: [IpAddr; 2],
    /// When the second box began to join.
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
}

/// What connects the boxes of a world.
pub(crate) trait Overlay {
    fn limits(&self) -> Limits;
    fn bring_up<'a>(&'a self, world: &'a World, stop: &Stop) -> Result<Pair<'a>>;
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
    let pair = overlay.bring_up(&world, stop).with_context(|| format!("the boxes of {cell}"))?;
    let mut outcome = Outcome {
        cell,
        company,
        expected,
        seen: None,
        first_byte: None,
        settled: None,
        remark: String::new(),
    };
    judge(&world, &pair, overlay.limits(), &mut outcome, stop)?;
    if !outcome.passed() {
        outcome.remark.push_str(&pair.running.logs());
        if keep {
            outcome.remark.push_str(&format!("    everything is in {}\n", world.dir().display()));
        }
    }
    Ok(outcome)
}

fn judge(world: &World, pair: &Pair<'_>, limits: Limits, outcome: &mut Outcome, stop: &Stop) -> Result<()> {
    let hosts = ["a", "b"].map(|name| world.namespace(&world.site(name).host));
    let _echoes = [Echo::start(hosts[0], pair.port)?, Echo::start(hosts[1], pair.port)?];
    let to = pair.addresses.map(|address| (address, pair.port).into());
    if traffic::first_byte(hosts[1], to[0], limits.connect, stop).is_none() {
        outcome.remark = format!("    no byte from b to a in {} s\n", limits.connect.as_secs());
        return Ok(());
    }
    outcome.first_byte = Some(pair.began.elapsed());
    let connected = Instant::now();
    loop {
        let measured = measure(world, || {
            traffic::exchange(hosts[1], to[0], VOLUME).context("from b to a")?;
            traffic::exchange(hosts[0], to[1], VOLUME).context("from a to b").map(drop)
        });
        match measured? {
            Ok((seen, counted)) => {
                outcome.seen = seen;
                outcome.remark = counted;
            }
            Err(error) => {
                outcome.seen = None;
                outcome.remark = format!("    {error:#}\n");
            }
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

/// Lets a volume go there and back twice, once from each side, and reads which way it went past both routers. The inner
/// error is the boxes' and the outer one the lab's.
fn measure(world: &World, volume: impl FnOnce() -> Result<()>) -> Result<Result<(Option<PathType>, String)>> {
    let routers = ["a", "b"].map(|name| world.namespace(&world.site(name).edge));
    let before = [Reading::take(routers[0])?, Reading::take(routers[1])?];
    if let Err(error) = volume() {
        return Ok(Err(error));
    }
    let mut ways = Vec::new();
    let mut counted = String::new();
    for (index, (own, other)) in [("a", "b"), ("b", "a")].into_iter().enumerate() {
        let seen = Reading::take(routers[index])?.since(&before[index]);
        counted.push_str(&format!("    past the router of {own}: {seen}\n"));
        ways.push(meter::way(&seen, &ends(world, other), 4 * VOLUME as u64));
    }
    // Both routers have to say the same.
    let way = if ways[0] == ways[1] { ways[0] } else { None };
    Ok(Ok((way, counted)))
}

/// Who is at the far end for somebody who talks to this box.
pub(crate) fn ends(world: &World, other: &str) -> Ends {
    let third = world.sites().iter().filter(|site| !["a", "b"].contains(&site.name.as_str()));
    Ends {
        other: world.site(other).public.clone(),
        third: third.flat_map(|site| site.public.clone()).collect(),
        coordinator: vec![COORDINATOR_V4.into(), COORDINATOR_V6.into()],
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lab::plan::SERVICE;
    use crate::lab::privilege;

    /// Real TCP to the coordinator's place, as the last resort of the mesh has it.
    #[test]
    fn tcp_to_the_coordinator_is_seen_to_be_that() {
        if !privilege::can_make_worlds() {
            return;
        }
        let world = World::new(&wanted("blocked:v6".parse().unwrap(), Company::Alone), false).unwrap();
        let _echo = Echo::start(world.namespace(SERVICE), 8443).unwrap();
        let send = |name: &str, to: IpAddr| {
            traffic::exchange(world.namespace(&world.site(name).host), (to, 8443).into(), 2 * VOLUME)
        };
        let volume = || {
            send("a", COORDINATOR_V4.into()).context("a")?;
            send("b", COORDINATOR_V6.into()).map(drop)
        };
        let (way, counted) = measure(&world, volume).unwrap().unwrap();
        assert_eq!(way, Some(PathType::RelayedTls), "{counted}");
    }
}
