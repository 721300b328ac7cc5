//! Boxes that come in: one whose board believes that it is 1970, and many in a row behind all sorts of routers.

use std::time::Duration;

use anyhow::{Context as _, Result};

use super::{Report, Scene};
use crate::lab::clock::BoardClock;
use crate::lab::dice::Dice;
use crate::lab::house;
use crate::lab::kind::{Cell, Kind};
use crate::lab::plan::Wanted;
use crate::lab::stage::Stage;
use crate::lab::summary;

/// How long a box may take after it was pulled from the wall.
const RESTART_LIMIT: Duration = Duration::from_secs(40);
const RESTARTS: u32 = 2;
/// The same when nobody is there who knows the time: the box waits a minute before it guesses.
const ALONE_LIMIT: Duration = Duration::from_secs(120);
/// How far a clock may be off that was set by somebody who knew.
const APART_MAX: Duration = Duration::from_secs(3);

pub(super) fn clock_1970(scene: &Scene<'_>, report: &mut Report) -> Result<()> {
    let boxes = [Wanted::new("a", Kind::Easy), Wanted::new("b", Kind::Easy), Wanted::CAROL];
    let mut mesh = scene.mesh();
    mesh.clockless.insert("b".to_owned());
    let ways = [["b", "a"], ["a", "b"], ["b", "carol"], ["carol", "b"]];
    let play = |stage: &mut Stage<'_>, report: &mut Report| {
        let said = std::fs::read_to_string(house::join_log(stage.world, "b")).context("what join said")?;
        report.find(said.contains("clock was off"), "join found that the clock was off".to_owned());
        let clock = BoardClock::of(stage.world.dir(), "b");
        let limit = scene.overlay().limits().connect;
        let mut up = scene.connected(stage, report, &ways, limit, "joined in 1970");
        for _ in 0..RESTARTS {
            if up {
                stage.fleet.running.restart("b")?;
                up = scene.connected(stage, report, &ways, RESTART_LIMIT, "restarted, in 1970 again");
                let apart = clock.apart()?;
                report.find(
                    apart <= APART_MAX,
                    format!("the board's clock is {:.1} s off", apart.as_secs_f64()),
                );
            }
        }
        if up {
            stage.fleet.running.kill_coordinator();
            stage.fleet.running.restart("b")?;
            let when = "restarted in 1970, and no coordinator";
            scene.connected(stage, report, &ways, ALONE_LIMIT, when);
        }
        Ok(())
    };
    scene.stage_with(&mesh, &boxes, report, |_| Ok(()), play)
}

const JOINS: usize = 20;
/// For 95 of 100 joins.
const JOIN_LIMIT: Duration = Duration::from_secs(10);
/// Routers that stand before homes and let a box have a byte.
const HOMES: [Kind; 5] = [Kind::Easy, Kind::Mapper, Kind::Cone, Kind::Hard, Kind::Carrier];

pub(super) fn time_to_first_byte(scene: &Scene<'_>, report: &mut Report) -> Result<()> {
    let mut dice = Dice::new(scene.seed);
    let mut times = Vec::new();
    for _ in 0..JOINS {
        let cell = Cell(dice.pick(&HOMES), dice.pick(&HOMES));
        let time = join(scene, report, cell)?;
        let text = time.map_or("never".to_owned(), |time| format!("{:.1} s", time.as_secs_f64()));
        println!("  {cell:<12} {text}");
        times.push(time.unwrap_or(Duration::MAX));
        if scene.stop.wanted() {
            return Ok(());
        }
    }
    let most = summary::percentile(&mut times, 95).context("no joins")?;
    let text =
        if most == Duration::MAX { "never".to_owned() } else { format!("{:.1} s", most.as_secs_f64()) };
    let seed = scene.seed;
    report.find(most < JOIN_LIMIT, format!("95th percentile of {JOINS} joins, seed {seed}: {text}"));
    Ok(())
}

/// From `relayd join` of b to its first byte from a.
fn join(scene: &Scene<'_>, report: &mut Report, cell: Cell) -> Result<Option<Duration>> {
    let boxes = [Wanted::new("a", cell.0), Wanted::new("b", cell.1)];
    let mut time = None;
    let play = |stage: &mut Stage<'_>, report: &mut Report| {
        let limit = scene.overlay().limits().connect;
        time = stage.first_byte(["b", "a"], limit, scene.stop).map(|_| stage.fleet.began.elapsed());
        if time.is_none() {
            report.find(false, format!("{cell}: no byte in {} s", limit.as_secs()));
        }
        Ok(())
    };
    scene.stage(&boxes, report, |_| Ok(()), play)?;
    Ok(time)
}
