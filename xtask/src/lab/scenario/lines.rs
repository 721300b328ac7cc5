//! Lines that are not as they should be, from before the boxes come: narrow, swallowing long packets, losing some.

use std::time::{Duration, Instant};

use anyhow::Result;

use super::{LOOK, Report, Scene};
use crate::lab::kind::Kind;
use crate::lab::meter::PathType;
use crate::lab::plan::Wanted;
use crate::lab::stage::Stage;
use crate::lab::trouble;

const BOXES: [Wanted; 2] = [Wanted::new("a", Kind::Easy), Wanted::new("b", Kind::Easy)];
/// The longest packet that passes.
const MTU: u16 = 1300;
/// What has to arrive, each way.
const VOLUME: usize = 256 * 1024;
/// How long a path may take that carries it.
const VOLUME_LIMIT: Duration = Duration::from_secs(60);

const LOSS_PERCENT: u8 = 5;
const LOSS_VOLUME: usize = 1024 * 1024;
/// How long the path has to stay, and how often it is looked at.
const STAY: Duration = Duration::from_secs(60);
const LOOK_EVERY: Duration = Duration::from_secs(4);

pub(super) fn mtu_1300(scene: &Scene<'_>, report: &mut Report) -> Result<()> {
    let play = |stage: &mut Stage<'_>, report: &mut Report| arrives(scene, stage, report);
    scene.stage(&BOXES, report, |world| trouble::narrow(world, world.site("a"), MTU), play)
}

pub(super) fn mtu_black_hole(scene: &Scene<'_>, report: &mut Report) -> Result<()> {
    let play = |stage: &mut Stage<'_>, report: &mut Report| arrives(scene, stage, report);
    scene.stage(&BOXES, report, |world| trouble::swallow(world, world.site("a"), MTU), play)
}

/// By whatever path.
fn arrives(scene: &Scene<'_>, stage: &Stage<'_>, report: &mut Report) -> Result<()> {
    let limit = scene.overlay().limits().connect;
    if !scene.connected(stage, report, &[["b", "a"]], limit, "joined") {
        return Ok(());
    }
    let began = Instant::now();
    loop {
        let error = match stage.way(["a", "b"], VOLUME)? {
            Ok(_) => {
                let time = began.elapsed().as_secs_f64();
                report.find(true, format!("{} KiB each way after {time:.1} s", VOLUME / 1024));
                // While the first volume went, the way may have changed.
                let limit = scene.overlay().limits().settle;
                let (one_way, text) = scene.settled(stage, ["a", "b"], PathType::RelayedTls, limit)?;
                report.find(one_way, format!("in the end, {text}"));
                return Ok(());
            }
            Err(error) => error,
        };
        if began.elapsed() > VOLUME_LIMIT || scene.stop.wanted() {
            report.find(false, format!("not whole within {} s: {error:#}", VOLUME_LIMIT.as_secs()));
            return Ok(());
        }
    }
}

pub(super) fn loss_5(scene: &Scene<'_>, report: &mut Report) -> Result<()> {
    let play = |stage: &mut Stage<'_>, report: &mut Report| loses(scene, stage, report);
    scene.stage(&BOXES, report, |world| trouble::lose(world, world.site("a"), LOSS_PERCENT), play)
}

fn loses(scene: &Scene<'_>, stage: &Stage<'_>, report: &mut Report) -> Result<()> {
    let limits = scene.overlay().limits();
    if !scene.connected(stage, report, &[["b", "a"]], limits.connect, "joined") {
        return Ok(());
    }
    let (direct, text) = scene.settled(stage, ["a", "b"], PathType::Direct, limits.settle)?;
    report.find(direct, text);
    let began = Instant::now();
    match stage.way(["a", "b"], LOSS_VOLUME)? {
        Ok(_) => report.find(true, format!("1 MiB each way in {:.1} s", began.elapsed().as_secs_f64())),
        Err(error) => report.find(false, format!("1 MiB each way: {error:#}")),
    }
    stays(scene, stage, report)
}

fn stays(scene: &Scene<'_>, stage: &Stage<'_>, report: &mut Report) -> Result<()> {
    let (began, mut looks) = (Instant::now(), 0);
    while began.elapsed() < STAY && !scene.stop.wanted() {
        let when = began.elapsed().as_secs();
        match stage.way(["a", "b"], LOOK)? {
            Ok(seen) if seen.path == Some(PathType::Direct) => looks += 1,
            Ok(seen) => {
                let counted = seen.counted.trim_end();
                report.find(false, format!("after {when} s it went {}\n{counted}", seen.name()));
                return Ok(());
            }
            Err(error) => {
                report.find(false, format!("after {when} s: {error:#}"));
                return Ok(());
            }
        }
        scene.stop.wait(LOOK_EVERY);
    }
    report.find(true, format!("direct at {looks} looks in {} s", STAY.as_secs()));
    Ok(())
}
