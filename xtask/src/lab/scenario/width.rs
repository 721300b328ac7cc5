//! Packets get as long as a path carries, and shorter again when it begins to swallow the longest; and a path is left that
//! begins to swallow the shortest as well that every path has to carry.

use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};

use super::{Report, Scene};
use crate::lab::flow::Steady;
use crate::lab::kind::Kind;
use crate::lab::meter::PathType;
use crate::lab::plan::Wanted;
use crate::lab::stage::Stage;
use crate::lab::trouble;

const BOXES: [Wanted; 2] = [Wanted::new("a", Kind::Easy), Wanted::new("b", Kind::Easy)];
/// On the line, IPv4: a packet of 1280 bytes inside of the tunnel has 1340 there, and one of 1420 has 1480.
const SHORT: u16 = 1340;
const SWALLOWED: u16 = 1400;
/// A packet of 1280 bytes inside of the tunnel does not pass.
const NARROW: u16 = 1300;
/// How long bytes may stay away then: five seconds until the path is looked at, four probes and six that are lost, some of
/// them waited for twice as long, another way, and a connection's wait as above.
const LEFT_LIMIT: Duration = Duration::from_secs(40);
/// What is sent each way to see how long packets are.
const VOLUME: usize = 512 * 1024;
/// How long it may take until they are long: a probe each way.
const GROW_LIMIT: Duration = Duration::from_secs(10);
/// How long bytes may stay away: five seconds until the path is looked at, four probes that are lost, and the time that
/// a connection waits before it tries again (RFC 6298, 5.5).
const SHRINK_LIMIT: Duration = Duration::from_secs(20);

pub(super) fn mtu_grows(scene: &Scene<'_>, report: &mut Report) -> Result<()> {
    scene.stage(&BOXES, report, |_| Ok(()), |stage, report| play(scene, stage, report))
}

pub(super) fn mtu_black_hole_later(scene: &Scene<'_>, report: &mut Report) -> Result<()> {
    scene.stage(&BOXES, report, |_| Ok(()), |stage, report| leave(scene, stage, report))
}

/// The coordinator's line is TCP, and so nothing that this router swallows.
fn leave(scene: &Scene<'_>, stage: &mut Stage<'_>, report: &mut Report) -> Result<()> {
    let limits = scene.overlay().limits();
    if !scene.connected(stage, report, &[["b", "a"]], limits.connect, "joined") {
        return Ok(());
    }
    let (direct, text) = scene.settled(stage, ["a", "b"], PathType::Direct, limits.settle)?;
    report.find(direct, text);
    let stream =
        stage.first_byte(["b", "a"], limits.connect, scene.stop).context("no connection of a pair")?;
    let steady = Steady::start(stream);
    scene.stop.wait(Duration::from_secs(2));
    trouble::swallow(stage.world, stage.world.site("a"), NARROW)?;
    // What was on its way.
    scene.stop.wait(Duration::from_millis(200));
    let back = steady.next_byte(2 * LEFT_LIMIT, scene.stop);
    let time = back.map_or("never".to_owned(), |back| format!("{:.1} s", back.as_secs_f64()));
    let text = format!("packets longer than {NARROW} vanish; bytes again after {time}");
    report.find(back.is_some_and(|back| back <= LEFT_LIMIT), text);
    match steady.finish() {
        Ok(bytes) => report.find(true, format!("{} kB there and back, all right", bytes / 1000)),
        Err(error) => report.find(false, format!("the connection broke: {error:#}")),
    }
    let (relayed, text) = scene.settled(stage, ["a", "b"], PathType::RelayedTls, limits.settle)?;
    report.find(relayed, format!("in the end, {text}"));
    Ok(())
}

fn play(scene: &Scene<'_>, stage: &mut Stage<'_>, report: &mut Report) -> Result<()> {
    let limits = scene.overlay().limits();
    if !scene.connected(stage, report, &[["b", "a"]], limits.connect, "joined") {
        return Ok(());
    }
    let (direct, text) = scene.settled(stage, ["a", "b"], PathType::Direct, limits.settle)?;
    report.find(direct, text);
    let site = stage.world.site("a");
    trouble::count_longer(stage.world, site, SHORT)?;
    let mut most = grown(stage)?;
    let began = Instant::now();
    while most < 90 && began.elapsed() < GROW_LIMIT && !scene.stop.wanted() {
        most = grown(stage)?;
    }
    let text = format!("{most} of 100 bytes went in packets longer than {SHORT}");
    report.find(most >= 90, text);

    let stream =
        stage.first_byte(["b", "a"], limits.connect, scene.stop).context("no connection of a pair")?;
    let steady = Steady::start(stream);
    scene.stop.wait(Duration::from_secs(2));
    trouble::swallow(stage.world, site, SWALLOWED)?;
    // What was on its way.
    scene.stop.wait(Duration::from_millis(200));
    let back = steady.next_byte(2 * SHRINK_LIMIT, scene.stop);
    let time = back.map_or("never".to_owned(), |back| format!("{:.1} s", back.as_secs_f64()));
    let text = format!("packets longer than {SWALLOWED} vanish; bytes again after {time}");
    report.find(back.is_some_and(|back| back <= SHRINK_LIMIT), text);
    match steady.finish() {
        Ok(bytes) => report.find(true, format!("{} kB there and back, all right", bytes / 1000)),
        Err(error) => report.find(false, format!("the connection broke: {error:#}")),
    }
    let (direct, text) = scene.settled(stage, ["a", "b"], PathType::Direct, Duration::ZERO)?;
    report.find(direct, format!("in the end, {text}"));
    Ok(())
}

/// Of what goes both ways, how much goes in long packets, in percent.
fn grown(stage: &Stage<'_>) -> Result<u64> {
    let site = stage.world.site("a");
    let before = trouble::longer(stage.world, site)?;
    stage.exchange(["b", "a"], VOLUME)?;
    let (long, all) = trouble::longer(stage.world, site)?;
    Ok((long - before.0) * 100 / (all - before.1).max(1))
}
