//! `cargo xtask demo --boxes N`: a coordinator and boxes behind different routers, on this machine, joined by real
//! invites through the real API.
//!
//! With `--seconds` it ends by itself, and its exit status is 0 only if each pair of boxes exchanged bytes, both ways.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};

use super::door::Door;
use crate::apt::{self, Consent, Purpose};
use crate::build::{self, Profile};
use crate::lab::house::{BOX_PORT, House, SERVICE_PORT};
use crate::lab::kind::Kind;
use crate::lab::plan::{SERVICE, Wanted};
use crate::lab::privilege;
use crate::lab::traffic::{self, Echo};
use crate::lab::world::{self, World};
use crate::stop::Stop;

/// Names and routers, in the order in which boxes are added.
pub(super) const BOXES: [Wanted; 6] = [
    Wanted::new("ana", Kind::Easy),
    Wanted::new("bob", Kind::Hard),
    Wanted::new("eve", Kind::Carrier),
    Wanted::new("dan", Kind::Mapper),
    Wanted::new("fay", Kind::Blocked),
    Wanted::new("gus", Kind::Public),
];

/// The most boxes that a demo may have.
pub(super) const BOXES_MAX: i64 = BOXES.len() as i64;
/// What each pair exchanges in a round, one way.
const VOLUME: usize = 64 * 1024;
/// How often the state is printed.
const PRINT_EVERY: Duration = Duration::from_secs(5);

pub(super) fn run(boxes: u8, time: Option<Duration>, consent: Consent) -> Result<()> {
    apt::require(&[Purpose::Build, Purpose::Web, Purpose::Lab], consent)?;
    privilege::device()?;
    let binaries = build::mesh(Profile::Release)?;
    privilege::ensure(&binaries.environment())?;
    world::remove_leftovers();
    let stop = Stop::on_signals()?;
    let began = Instant::now();
    let world = World::new(&BOXES[..usize::from(boxes)], false)?;
    let mut house = House::open(&world, &binaries, &stop)?;
    let door = Door::open(world.namespace(SERVICE), SERVICE_PORT)?;
    println!("\n  the operator's page  https://{}/operator  (its certificate is its own)", door.address());
    println!("  logs                 {}", world.dir().display());
    println!("  Ctrl-C stops all of it.\n");
    let addresses = bring_in(&world, &mut house)?;
    let mut ledger = Ledger::new(&world, addresses)?;
    let mut printed: Option<Instant> = None;
    while !stop.wanted() && time.is_none_or(|time| began.elapsed() < time) {
        ledger.round(&world, &stop);
        if printed.is_none_or(|at| at.elapsed() >= PRINT_EVERY) {
            ledger.print(&world, &house, began.elapsed());
            printed = Some(Instant::now());
        }
        stop.wait(Duration::from_secs(1));
    }
    ledger.print(&world, &house, began.elapsed());
    ensure!(time.is_none() || !stop.wanted(), "stopped before the time was over");
    if time.is_some() { ledger.demand() } else { Ok(()) }
}

fn bring_in(world: &World, house: &mut House<'_>) -> Result<Vec<IpAddr>> {
    let mut addresses = Vec::new();
    for site in world.sites() {
        let invite = house.invite(&site.name)?;
        let address = house.bring_in(site, &invite)?;
        println!("  {:<5} joined from behind a router of kind {:<8} {address}", site.name, site.kind);
        addresses.push(address);
    }
    println!();
    Ok(addresses)
}

/// What went from whom to whom, there and back.
struct Ledger {
    addresses: Vec<IpAddr>,
    _echoes: Vec<Echo>,
    bytes: BTreeMap<(usize, usize), usize>,
    names: Vec<String>,
}

impl Ledger {
    fn new(world: &World, addresses: Vec<IpAddr>) -> Result<Ledger> {
        let echo = |host: &String| Echo::start(world.namespace(host), BOX_PORT);
        let echoes = world.sites().iter().map(|site| echo(&site.host)).collect::<Result<Vec<_>>>()?;
        let all = 0..addresses.len();
        let pairs = all.clone().flat_map(|from| all.clone().map(move |to| (from, to)));
        let bytes = pairs.filter(|(from, to)| from != to).map(|pair| (pair, 0)).collect();
        let names = world.sites().iter().map(|site| site.name.clone()).collect();
        Ok(Ledger { addresses, _echoes: echoes, bytes, names })
    }

    /// Each box sends to each other one. What does not come back does not count.
    fn round(&mut self, world: &World, stop: &Stop) {
        for ((from, to), bytes) in &mut self.bytes {
            let host = world.namespace(&world.sites()[*from].host);
            if !stop.wanted()
                && traffic::exchange(host, (self.addresses[*to], BOX_PORT).into(), VOLUME).is_ok()
            {
                *bytes += VOLUME;
            }
        }
    }

    fn print(&self, world: &World, house: &House<'_>, since: Duration) {
        println!("{} s", since.as_secs());
        for (index, site) in world.sites().iter().enumerate() {
            let sent = self.bytes.iter().filter(|((from, _), _)| *from == index);
            let sent = sent.map(|((_, to), bytes)| format!("{} {} kB", self.names[*to], bytes / 1000));
            println!("  {:<5} exchanged with {}", site.name, sent.collect::<Vec<_>>().join(", "));
            match house.status(site) {
                Ok(status) => status.lines().for_each(|line| println!("          {line}")),
                Err(error) => println!("          no status: {error:#}"),
            }
        }
    }

    fn demand(&self) -> Result<()> {
        let missing = self.bytes.iter().filter(|(_, bytes)| **bytes == 0);
        let missing: Vec<String> =
            missing.map(|((from, to), _)| format!("{} to {}", self.names[*from], self.names[*to])).collect();
        ensure!(missing.is_empty(), "nothing came through from {}", missing.join(", "));
        println!("every box exchanged bytes with every other one");
        Ok(())
    }
}
