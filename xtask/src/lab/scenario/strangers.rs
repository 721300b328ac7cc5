//! A mesh with more boxes than a map has places: boxes that do not stand in each other's maps reach each other when one
//! of them wants to, by a packet to its address, or to take its stream.

use std::time::Duration;

use anyhow::{Context as _, Result, ensure};

use super::broadcast::Broadcast;
use super::{Report, Scene};
use crate::lab::kind::Kind;
use crate::lab::meter::PathType;
use crate::lab::plan::Wanted;
use crate::lab::stage::Stage;
use crate::lab::world::World;

const BOXES: [Wanted; 4] = [
    Wanted::new("a", Kind::Easy),
    Wanted::new("b", Kind::Easy),
    Wanted::new("c", Kind::Mapper),
    Wanted::new("d", Kind::Public),
];
/// Places of a map. Four boxes know four others in all then, so two pairs at least do not know each other.
const PLACES: u16 = 1;
/// From the first packet to the first byte back: a question, two maps, and a connection that waits for them.
const BYTE_LIMIT: Duration = Duration::from_secs(15);
const PICTURE_LIMIT: Duration = Duration::from_secs(40);
const PLAY: Duration = Duration::from_secs(20);
/// How long boxes may take until they have a map.
const MAP_LIMIT: Duration = Duration::from_secs(20);

pub(super) fn outside_map(scene: &Scene<'_>, report: &mut Report) -> Result<()> {
    let mut mesh = scene.mesh();
    mesh.map_boxes_max = Some(PLACES);
    scene.stage_with(&mesh, &BOXES, report, |_| Ok(()), |stage, report| by_address(scene, stage, report))?;
    by_stream(scene, report)
}

fn by_address(scene: &Scene<'_>, stage: &mut Stage<'_>, report: &mut Report) -> Result<()> {
    let [one, other] = strangers(scene, |name| stage.fleet.running.known(name))?;
    let when = format!("{one} and {other} do not know each other");
    if scene.connected(stage, report, &[[one, other]], BYTE_LIMIT, &when) {
        let limit = scene.overlay().limits().settle;
        let (straight, text) = scene.settled(stage, [one, other], PathType::Direct, limit)?;
        report.find(straight, text);
    }
    Ok(())
}

fn by_stream(scene: &Scene<'_>, report: &mut Report) -> Result<()> {
    let world = World::new(&BOXES, scene.keep).context("the world")?;
    let mut broadcast = Broadcast::open(scene, &world, Some(PLACES), None).context("the boxes")?;
    let [one, other] = strangers(scene, |name| broadcast.house.known_by(name))?;
    let before = report.failures();
    broadcast.begin(one, other)?;
    match broadcast.picture(PICTURE_LIMIT, scene.stop) {
        Ok(took) => {
            let took = took.as_secs_f64();
            report.find(true, format!("a stream of {one} is watched at {other} after {took:.1} s"));
            broadcast.plays(PLAY, report, scene.stop)?;
        }
        Err(error) => report.find(false, format!("a stream of {one} at {other}: {error:#}")),
    }
    if report.failures() > before {
        report.remark.push_str(&broadcast.logs());
    }
    Ok(())
}

/// Two boxes of which neither stands in the other's map, once each has one.
fn strangers(scene: &Scene<'_>, known: impl Fn(&str) -> Result<Vec<String>>) -> Result<[&'static str; 2]> {
    let names = BOXES.map(|wanted| wanted.name);
    let full = |name: &&str| known(name).is_ok_and(|known| known.len() == usize::from(PLACES));
    ensure!(
        scene.stop.wait_until(MAP_LIMIT, || names.iter().all(full)),
        "not every box has a map of {PLACES}"
    );
    for (at, one) in names.iter().enumerate() {
        for other in &names[..at] {
            let knows =
                |one: &str, other: &str| Ok::<_, anyhow::Error>(known(one)?.iter().any(|name| name == other));
            if !knows(one, other)? && !knows(other, one)? {
                return Ok([*one, *other]);
            }
        }
    }
    anyhow::bail!("all boxes know each other")
}
