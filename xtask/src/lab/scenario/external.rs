//! Boxes on a network that was there before them: no tunnel, mutual TLS between them, and a stream over it.

use std::time::Duration;

use anyhow::{Context as _, Result};

use super::broadcast::Broadcast;
use super::{Report, Scene};
use crate::lab::carry::lines;
use crate::lab::kind::Kind;
use crate::lab::plan::Wanted;
use crate::lab::world::World;

const BOXES: [Wanted; 2] = [Wanted::new("ana", Kind::Public), Wanted::new("bob", Kind::Public)];
/// How long it may take until there is a picture: a box tries its peers one after the other.
const PICTURE_LIMIT: Duration = Duration::from_secs(40);
const PLAY: Duration = Duration::from_secs(20);

pub(super) fn external(scene: &Scene<'_>, report: &mut Report) -> Result<()> {
    let world = World::new(&BOXES, scene.keep).context("the world")?;
    let mut broadcast = Broadcast::open(scene, &world, None, Some("eth0")).context("the boxes")?;
    let before = report.failures();
    play(scene, &world, &mut broadcast, report)?;
    if report.failures() > before {
        report.remark.push_str(&broadcast.logs());
    }
    Ok(())
}

fn play(scene: &Scene<'_>, world: &World, broadcast: &mut Broadcast<'_>, report: &mut Report) -> Result<()> {
    broadcast.begin("ana", "bob")?;
    match broadcast.picture(PICTURE_LIMIT, scene.stop) {
        Ok(took) => report.find(true, format!("a picture at bob after {:.1} s", took.as_secs_f64())),
        Err(error) => {
            report.find(false, format!("{error:#}"));
            return Ok(());
        }
    }
    let sent_before = lines::sent_bytes(world, world.site("ana"))?;
    let media = broadcast.plays(PLAY, report, scene.stop)?;
    let sent = lines::sent_bytes(world, world.site("ana"))? - sent_before;
    let text = format!("ana's line sent {} kB while {} kB were watched at bob", sent / 1000, media / 1000);
    report.find(sent >= media, text);
    for (name, other, way) in [("ana", "bob", "sent "), ("bob", "ana", "received ")] {
        let said = broadcast.status(name)?;
        let peer = said.lines().find(|line| line.trim_start().starts_with(other)).unwrap_or("nothing").trim();
        let counted = peer.split_once(way).map_or("", |(_, rest)| rest);
        let counts = !counted.is_empty() && !counted.starts_with("0 B");
        report
            .find(counts && peer.contains("over the network that is there"), format!("{name} says: {peer}"));
    }
    Ok(())
}
