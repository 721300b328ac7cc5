//! The coordinator is gone for good, and households go on: also one whose router reboots, and a box that starts anew.

use std::time::{Duration, Instant};

use anyhow::Result;

use super::{Report, Scene};
use crate::lab::kind::Kind;
use crate::lab::meter::PathType;
use crate::lab::plan::Wanted;
use crate::lab::stage::Stage;
use crate::lab::trouble;

const BOXES: [Wanted; 3] =
    [Wanted::new("a", Kind::Easy), Wanted::new("b", Kind::Hard), Wanted::new("c", Kind::Public)];
const PAIRS: [[&str; 2]; 3] = [["a", "b"], ["a", "c"], ["b", "c"]];
/// Both ways of each pair.
const WAYS: [[&str; 2]; 6] = [["a", "b"], ["b", "a"], ["a", "c"], ["c", "a"], ["b", "c"], ["c", "b"]];
/// How long the coordinator is dead before anything else happens.
const QUIET: Duration = Duration::from_secs(60);
/// How long it may take after a reboot of a router and of a box.
const BACK: Duration = Duration::from_secs(40);

pub(super) fn coordinator_killed(scene: &Scene<'_>, report: &mut Report) -> Result<()> {
    scene.stage(&BOXES, report, |_| Ok(()), |stage, report| play(scene, stage, report))
}

fn play(scene: &Scene<'_>, stage: &mut Stage<'_>, report: &mut Report) -> Result<()> {
    let limits = scene.overlay().limits();
    if !scene.connected(stage, report, &WAYS, limits.connect, "joined")
        || !ways(scene, stage, report, limits.settle, "joined")?
    {
        return Ok(());
    }
    stage.fleet.running.kill_coordinator();
    scene.stop.wait(QUIET);
    let when = format!("coordinator dead for {} s", QUIET.as_secs());
    if !scene.connected(stage, report, &WAYS, Duration::from_secs(5), &when) {
        return Ok(());
    }
    ways(scene, stage, report, Duration::ZERO, &when)?;
    let began = Instant::now();
    trouble::forget(stage.world, stage.world.site("b"))?;
    stage.fleet.running.restart("a")?;
    let when = "router of b and box a rebooted";
    if scene.connected(stage, report, &WAYS, BACK, when) {
        ways(scene, stage, report, BACK.saturating_sub(began.elapsed()), when)?;
    }
    Ok(())
}

/// Finds whether all are reached over UDP.
fn ways(
    scene: &Scene<'_>,
    stage: &Stage<'_>,
    report: &mut Report,
    limit: Duration,
    when: &str,
) -> Result<bool> {
    let began = Instant::now();
    let mut all = true;
    for pair in PAIRS {
        let left = limit.saturating_sub(began.elapsed());
        let (good, text) = scene.settled(stage, pair, PathType::RelayedUdp, left)?;
        report.find(good, format!("{when}: {text}"));
        all &= good;
    }
    Ok(all)
}
