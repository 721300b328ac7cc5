//! A router forgets everybody, a household moves: while bytes flow, and soon they have to flow again.

use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};

use super::{Report, Scene};
use crate::lab::flow::Steady;
use crate::lab::kind::{Cell, Kind};
use crate::lab::meter::PathType;
use crate::lab::plan::{Site, Wanted};
use crate::lab::stage::Stage;
use crate::lab::traffic;
use crate::lab::trouble;
use crate::lab::world::World;

/// How long bytes may stay away after a router forgot its mappings, and after a box and its router got new addresses.
const REBOOT_LIMIT: Duration = Duration::from_secs(10);
const ROAM_LIMIT: Duration = Duration::from_secs(15);
/// How long bytes flow before anything happens.
const WARM_UP: Duration = Duration::from_secs(3);

pub(super) fn router_reboot(scene: &Scene<'_>, report: &mut Report) -> Result<()> {
    // Plain tunnels have nobody who tells them of a new port.
    let cells: &[Cell] =
        if scene.tunnels.is_some() { &[EASY] } else { &[EASY, Cell(Kind::Hard, Kind::Easy)] };
    for cell in cells {
        disturb(scene, report, *cell, REBOOT_LIMIT, trouble::forget)?;
    }
    Ok(())
}

pub(super) fn roam(scene: &Scene<'_>, report: &mut Report) -> Result<()> {
    // A plain tunnel can't tell an easy router to let the new address in.
    let other = if scene.tunnels.is_some() { Kind::Public } else { Kind::Easy };
    disturb(scene, report, Cell(Kind::Easy, other), ROAM_LIMIT, trouble::move_house)
}

const EASY: Cell = Cell(Kind::Easy, Kind::Easy);

/// Does something to the household of a while b talks to it.
fn disturb(
    scene: &Scene<'_>,
    report: &mut Report,
    cell: Cell,
    limit: Duration,
    event: fn(&World, &Site) -> Result<()>,
) -> Result<()> {
    let boxes = [Wanted::new("a", cell.0), Wanted::new("b", cell.1)];
    let play = |stage: &mut Stage<'_>, report: &mut Report| {
        let limits = scene.overlay().limits();
        if !scene.connected(stage, report, &[["b", "a"]], limits.connect, &cell.to_string()) {
            return Ok(());
        }
        let (direct, text) = scene.settled(stage, ["a", "b"], PathType::Direct, limits.settle)?;
        report.find(direct, format!("{cell}: before, {text}"));
        let stream = stage.first_byte(["b", "a"], limit, scene.stop).context("no connection of a pair")?;
        let steady = Steady::start(stream);
        scene.stop.wait(WARM_UP);
        event(stage.world, stage.world.site("a"))?;
        watch(scene, stage, report, &steady, cell, limit);
        match steady.finish() {
            Ok(bytes) => report.find(true, format!("{cell}: {} kB there and back, all right", bytes / 1000)),
            Err(error) => report.find(false, format!("{cell}: the connection broke: {error:#}")),
        }
        let (direct, text) = scene.settled(stage, ["a", "b"], PathType::Direct, limits.settle)?;
        report.find(direct, format!("{cell}: in the end, {text}"));
        Ok(())
    };
    scene.stage(&boxes, report, |_| Ok(()), play)
}

/// A connection that was there waits longer each time before it tries again (RFC 6298 section 5.5), so it gets twice
/// the time.
fn watch(
    scene: &Scene<'_>,
    stage: &Stage<'_>,
    report: &mut Report,
    steady: &Steady,
    cell: Cell,
    limit: Duration,
) {
    let began = Instant::now();
    let (host, to) = (stage.host("b"), stage.place("a"));
    let (new, old) = std::thread::scope(|threads| {
        // Longer than it may take, to say how long it took.
        let look = || traffic::first_byte(host, to, 2 * limit, scene.stop).map(|_| began.elapsed());
        let new = threads.spawn(look);
        let old = steady.next_byte(2 * limit, scene.stop);
        (new.join().expect("looking for a byte does not panic"), old)
    });
    for (what, time, limit) in [("a new connection", new, limit), ("the old connection", old, 2 * limit)] {
        let text = match time {
            Some(time) => format!("{cell}: bytes again after {:.1} s on {what}", time.as_secs_f64()),
            None => format!("{cell}: no bytes again on {what}"),
        };
        let text = format!("{text}; {} s are allowed", limit.as_secs());
        report.find(time.is_some_and(|time| time <= limit), text);
    }
}
