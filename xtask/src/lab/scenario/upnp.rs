//! A router that maps ports by UPnP and by nothing else: the box gets its port mapped, as the router's rules say.

use std::time::{Duration, Instant};

use anyhow::Result;

use super::{Report, Scene};
use crate::command;
use crate::lab::kind::Kind;
use crate::lab::meter::PathType;
use crate::lab::plan::Wanted;
use crate::lab::rules;
use crate::lab::stage::Stage;
use crate::lab::trouble;

/// The other one's router takes another port for each destination: with a mapped port at a, no luck is needed.
const BOXES: [Wanted; 2] = [Wanted::new("a", Kind::Mapper), Wanted::new("b", Kind::Hard)];
/// Of a box, by default.
const PORT: &str = "7466";
/// PCP and NAT-PMP are waited for first.
const LIMIT: Duration = Duration::from_secs(30);

pub(super) fn upnp(scene: &Scene<'_>, report: &mut Report) -> Result<()> {
    let deafen = |world: &_| trouble::upnp_alone(world, world.site("a"));
    scene.stage(&BOXES, report, deafen, |stage, report| play(scene, stage, report))
}

fn play(scene: &Scene<'_>, stage: &mut Stage<'_>, report: &mut Report) -> Result<()> {
    let limits = scene.overlay().limits();
    if !scene.connected(stage, report, &[["b", "a"], ["a", "b"]], limits.connect, "joined") {
        return Ok(());
    }
    let site = stage.world.site("a");
    let list = ["list", "chain", "inet", rules::MAPPER_TABLE, rules::MAPPER_IN];
    let began = Instant::now();
    let mut rules = String::new();
    let mapped = scene.stop.wait_until(LIMIT, || {
        let mut nft = stage.world.namespace(&site.edge).tool("nft");
        rules = command::output(nft.args(list)).unwrap_or_else(|error| format!("{error:#}"));
        rules.lines().any(|line| line.contains(&format!("dport {PORT}")) && line.contains("dnat"))
    });
    let time = began.elapsed().as_secs_f64();
    let verdict = if mapped { "is mapped" } else { "is not mapped" };
    report.find(mapped, format!("the port {verdict} by the router's own rules after {time:.1} s"));
    if !mapped {
        report.remark.push_str(&rules);
    }
    let (direct, text) = scene.settled(stage, ["a", "b"], PathType::Direct, limits.settle)?;
    report.find(direct, text);
    Ok(())
}
