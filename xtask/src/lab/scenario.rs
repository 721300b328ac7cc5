//! What happens to households, one thing at a time, and what must hold then. docs/lab.md lists all of it.
//!
//! A scenario finds facts, from bytes that were checked and counters in routers; one that does not hold fails it. An
//! error means that the lab itself failed.

mod broadcast;
mod crowd;
mod device;
mod external;
mod flood;
mod hops;
mod hostile;
mod joins;
mod lines;
mod moves;
mod outage;
mod relayed;
mod strangers;
mod upnp;
mod viewer;
mod width;

use std::fmt;
use std::str::FromStr;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};

use super::cell::Overlay;
use super::house::Mesh;
use super::meter::PathType;
use super::plan::Wanted;
use super::stage::{Seen, Stage};
use super::tunnel::{Tunnels, Way};
use super::world::World;
use crate::build::MeshBinaries;
use crate::stop::Stop;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Scenario {
    CoordinatorKilled,
    RouterReboot,
    Roam,
    Mtu1300,
    MtuBlackHole,
    Loss5,
    UdpBlocked8Mbit,
    Flood,
    Clock1970,
    TimeToFirstByte,
    Viewer,
    InterfaceRemade,
    MtuGrows,
    MtuBlackHoleLater,
    Upnp,
    OutsideMap,
    External,
    ColdCrowd,
    Hostile,
    TwoHops,
}

pub(crate) const SCENARIOS: [Scenario; 20] = [
    Scenario::CoordinatorKilled,
    Scenario::RouterReboot,
    Scenario::Roam,
    Scenario::Mtu1300,
    Scenario::MtuBlackHole,
    Scenario::Loss5,
    Scenario::UdpBlocked8Mbit,
    Scenario::Flood,
    Scenario::Clock1970,
    Scenario::TimeToFirstByte,
    Scenario::Viewer,
    Scenario::InterfaceRemade,
    Scenario::MtuGrows,
    Scenario::MtuBlackHoleLater,
    Scenario::Upnp,
    Scenario::OutsideMap,
    Scenario::External,
    Scenario::TwoHops,
    Scenario::ColdCrowd,
    Scenario::Hostile,
];

impl Scenario {
    /// As on the command line and in docs/lab.md.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Scenario::CoordinatorKilled => "coordinator-killed",
            Scenario::RouterReboot => "router-reboot",
            Scenario::Roam => "roam",
            Scenario::Mtu1300 => "mtu-1300",
            Scenario::MtuBlackHole => "mtu-black-hole",
            Scenario::Loss5 => "loss-5",
            Scenario::UdpBlocked8Mbit => "udp-blocked-8mbit",
            Scenario::Flood => "flood",
            Scenario::Clock1970 => "clock-1970",
            Scenario::TimeToFirstByte => "time-to-first-byte",
            Scenario::Viewer => "viewer",
            Scenario::InterfaceRemade => "interface-remade",
            Scenario::MtuGrows => "mtu-grows",
            Scenario::MtuBlackHoleLater => "mtu-black-hole-later",
            Scenario::Upnp => "upnp",
            Scenario::OutsideMap => "outside-map",
            Scenario::External => "external",
            Scenario::TwoHops => "two-hops",
            Scenario::ColdCrowd => "cold-crowd",
            Scenario::Hostile => "hostile",
        }
    }

    /// Whether plain tunnels can show anything of it.
    fn runs_on_tunnels(self) -> bool {
        match self {
            Scenario::RouterReboot
            | Scenario::Roam
            | Scenario::Mtu1300
            | Scenario::MtuBlackHole
            | Scenario::Loss5
            | Scenario::Flood => true,
            Scenario::CoordinatorKilled
            | Scenario::UdpBlocked8Mbit
            | Scenario::Clock1970
            | Scenario::TimeToFirstByte
            | Scenario::Viewer
            | Scenario::InterfaceRemade
            | Scenario::MtuGrows
            | Scenario::MtuBlackHoleLater
            | Scenario::Upnp
            | Scenario::OutsideMap
            | Scenario::External
            | Scenario::ColdCrowd
            | Scenario::Hostile
            | Scenario::TwoHops => false,
        }
    }

    /// Whether a stream is published in it.
    pub(crate) fn carries(self) -> bool {
        matches!(
            self,
            Scenario::OutsideMap
                | Scenario::External
                | Scenario::ColdCrowd
                | Scenario::Hostile
                | Scenario::TwoHops
        )
    }

    /// Whether a browser watches.
    pub(crate) fn browses(self) -> bool {
        self == Scenario::TwoHops
    }

    fn play(self, scene: &Scene<'_>, report: &mut Report) -> Result<()> {
        match self {
            Scenario::CoordinatorKilled => outage::coordinator_killed(scene, report),
            Scenario::RouterReboot => moves::router_reboot(scene, report),
            Scenario::Roam => moves::roam(scene, report),
            Scenario::Mtu1300 => lines::mtu_1300(scene, report),
            Scenario::MtuBlackHole => lines::mtu_black_hole(scene, report),
            Scenario::Loss5 => lines::loss_5(scene, report),
            Scenario::UdpBlocked8Mbit => relayed::udp_blocked(scene, report),
            Scenario::Flood => flood::flood(scene, report),
            Scenario::Clock1970 => joins::clock_1970(scene, report),
            Scenario::TimeToFirstByte => joins::time_to_first_byte(scene, report),
            Scenario::Viewer => viewer::viewer(scene, report),
            Scenario::InterfaceRemade => device::interface_remade(scene, report),
            Scenario::MtuGrows => width::mtu_grows(scene, report),
            Scenario::MtuBlackHoleLater => width::mtu_black_hole_later(scene, report),
            Scenario::Upnp => upnp::upnp(scene, report),
            Scenario::OutsideMap => strangers::outside_map(scene, report),
            Scenario::External => external::external(scene, report),
            Scenario::TwoHops => hops::two_hops(scene, report),
            Scenario::ColdCrowd => crowd::cold_crowd(scene, report),
            Scenario::Hostile => hostile::hostile(scene, report),
        }
    }
}

/// What `--scenario` takes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Chosen(pub(crate) Vec<Scenario>);

impl FromStr for Chosen {
    type Err = String;

    fn from_str(text: &str) -> Result<Chosen, String> {
        if text == "all" {
            return Ok(Chosen(SCENARIOS.to_vec()));
        }
        let found = SCENARIOS.into_iter().find(|scenario| scenario.name() == text);
        found.map(|scenario| Chosen(vec![scenario])).ok_or_else(|| {
            let names = SCENARIOS.map(Scenario::name).join(", ");
            format!("`{text}` is no scenario: all, {names}")
        })
    }
}

/// What scenarios are given.
pub(crate) struct Scene<'a> {
    pub(crate) binaries: MeshBinaries,
    /// Plain tunnels in place of the mesh.
    pub(crate) tunnels: Option<Way>,
    pub(crate) keep: bool,
    /// For what is picked at random.
    pub(crate) seed: u64,
    pub(crate) stop: &'a Stop,
}

impl Scene<'_> {
    fn overlay(&self) -> Box<dyn Overlay> {
        match self.tunnels {
            Some(way) => Box::new(Tunnels { relayd: self.binaries.relayd.clone(), way }),
            None => Box::new(self.mesh()),
        }
    }

    fn mesh(&self) -> Mesh {
        Mesh::new(self.binaries.clone())
    }

    /// Boxes in a world that was prepared before they came, and what happens to them.
    fn stage(
        &self,
        wanted: &[Wanted],
        report: &mut Report,
        prepare: impl FnOnce(&World) -> Result<()>,
        play: impl FnOnce(&mut Stage<'_>, &mut Report) -> Result<()>,
    ) -> Result<()> {
        self.stage_with(&*self.overlay(), wanted, report, prepare, play)
    }

    fn stage_with(
        &self,
        overlay: &dyn Overlay,
        wanted: &[Wanted],
        report: &mut Report,
        prepare: impl FnOnce(&World) -> Result<()>,
        play: impl FnOnce(&mut Stage<'_>, &mut Report) -> Result<()>,
    ) -> Result<()> {
        let world = World::new(wanted, self.keep).context("the world")?;
        prepare(&world).context("preparing the world")?;
        let mut stage = Stage::set(&world, overlay, self.stop).context("the boxes")?;
        let before = report.failures();
        play(&mut stage, report)?;
        if report.failures() > before {
            report.remark.push_str(&stage.fleet.running.logs());
            if self.keep {
                report.remark.push_str(&format!("    everything is in {}\n", world.dir().display()));
            }
        }
        Ok(())
    }

    /// Finds whether each of these reaches the other within a limit.
    fn connected(
        &self,
        stage: &Stage<'_>,
        report: &mut Report,
        pairs: &[[&str; 2]],
        limit: Duration,
        when: &str,
    ) -> bool {
        let began = Instant::now();
        for [from, to] in pairs {
            let left = limit.saturating_sub(began.elapsed());
            if stage.first_byte([from, to], left, self.stop).is_none() {
                report.find(false, format!("{when}: no byte from {from} to {to} in {} s", limit.as_secs()));
                return false;
            }
        }
        report.find(true, format!("{when}: all bytes within {:.1} s", began.elapsed().as_secs_f64()));
        true
    }

    /// Lets volumes go between two boxes until they take this way or a better one.
    fn settled(
        &self,
        stage: &Stage<'_>,
        pair: [&str; 2],
        least: PathType,
        limit: Duration,
    ) -> Result<(bool, String)> {
        let began = Instant::now();
        loop {
            let seen = stage.way(pair, LOOK)?;
            let good = matches!(&seen, Ok(Seen { path: Some(path), .. }) if *path >= least);
            if good || began.elapsed() > limit || self.stop.wanted() {
                let [a, b] = pair;
                let seconds = began.elapsed().as_secs_f64();
                let text = match seen {
                    Ok(seen) if good => format!("{a} and {b}: {} after {seconds:.1} s", seen.name()),
                    Ok(seen) => {
                        let name = seen.name();
                        let counted = seen.counted.trim_end();
                        format!("{a} and {b}: {name}, not {least}, after {seconds:.1} s\n{counted}")
                    }
                    Err(error) => format!("{a} and {b} after {seconds:.1} s: {error:#}"),
                };
                return Ok((good, text));
            }
        }
    }
}

/// What is sent to see which way it goes.
const LOOK: usize = 64 * 1024;

/// What a scenario found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Report {
    found: Vec<(bool, String)>,
    /// For people, if it failed.
    remark: String,
}

impl Report {
    pub(crate) fn find(&mut self, holds: bool, text: String) {
        self.found.push((holds, text));
    }

    fn failures(&self) -> usize {
        self.found.iter().filter(|(holds, _)| !holds).count()
    }

    /// Something was found and all of it holds.
    pub(crate) fn passed(&self) -> bool {
        !self.found.is_empty() && self.failures() == 0
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (holds, text) in &self.found {
            writeln!(f, "  {:<7} {text}", if *holds { "ok" } else { "FAILED" })?;
        }
        if self.passed() { Ok(()) } else { f.write_str(&self.remark) }
    }
}

/// Plays them one after the other, and prints each as it ends.
pub(crate) fn run(chosen: &[Scenario], scene: &Scene<'_>) -> Result<()> {
    let mut failed = Vec::new();
    for scenario in chosen {
        let name = scenario.name();
        if scene.tunnels.is_some() && !scenario.runs_on_tunnels() {
            println!("{name:<20} skipped: plain tunnels show nothing of it");
            continue;
        }
        let (began, mut report) = (Instant::now(), Report::default());
        let played = scenario.play(scene, &mut report);
        ensure!(!scene.stop.wanted(), "stopped during {name}");
        if let Err(error) = played {
            // The next one has a world of its own.
            report.find(false, format!("{error:#}"));
        }
        let verdict = if report.passed() { "ok" } else { "FAILED" };
        println!("{name:<20} {verdict:<7} {:>4} s\n{report}", began.elapsed().as_secs());
        if !report.passed() {
            failed.push(name);
        }
    }
    ensure!(failed.is_empty(), "does not hold: {}", failed.join(", "));
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::command;

    #[test]
    fn a_scenario_is_chosen_by_its_name() {
        assert_eq!("roam".parse(), Ok(Chosen(vec![Scenario::Roam])));
        assert_eq!("all".parse::<Chosen>().unwrap().0.len(), 20);
        assert!("rome".parse::<Chosen>().unwrap_err().contains("mtu-black-hole"));
    }

    #[test]
    fn the_page_has_a_row_for_each() {
        let page = std::fs::read_to_string(command::root().join("docs/lab.md")).unwrap();
        for scenario in SCENARIOS {
            let row = format!("| `{}` |", scenario.name());
            assert_eq!(page.matches(&row).count(), 1, "{row}");
        }
    }

    #[test]
    fn a_report_without_a_finding_is_no_success() {
        let mut report = Report::default();
        assert!(!report.passed());
        report.find(true, "bytes".to_owned());
        assert!(report.passed());
        report.find(false, "no bytes".to_owned());
        assert!(!report.passed());
        assert_eq!(report.to_string(), "  ok      bytes\n  FAILED  no bytes\n");
    }
}
