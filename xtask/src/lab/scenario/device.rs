//! A box whose interface is not there when it looks for it, or goes while it runs: it takes the next one by itself.

use std::time::Duration;

use anyhow::Result;

use super::{Report, Scene};
use crate::lab::kind::Kind;
use crate::lab::plan::Wanted;
use crate::lab::stage::Stage;
use crate::lab::world::World;

const BOXES: [Wanted; 2] = [Wanted::new("a", Kind::Public), Wanted::new("b", Kind::Easy)];
const WAYS: [[&str; 2]; 2] = [["a", "b"], ["b", "a"]];
/// As boxes call it.
const INTERFACE: &str = "relaybox";
/// How long somebody else has the name.
const TAKEN: Duration = Duration::from_secs(5);
/// How long it may take after that: boxes wait twice as long before each new try.
const BACK: Duration = Duration::from_secs(20);

pub(super) fn interface_remade(scene: &Scene<'_>, report: &mut Report) -> Result<()> {
    let take = |world: &World| {
        let host = world.namespace(&world.site("a").host);
        host.ip(&format!("link add name {INTERFACE} type veth peer name taken\n"))
    };
    let remove = |stage: &Stage<'_>| stage.host("a").ip(&format!("link delete dev {INTERFACE}\n"));
    let play = |stage: &mut Stage<'_>, report: &mut Report| {
        scene.stop.wait(TAKEN);
        let early = stage.first_byte(["b", "a"], Duration::from_millis(500), scene.stop);
        report.find(early.is_none(), "no byte while the box can't have its interface".to_owned());
        remove(stage)?;
        if scene.connected(stage, report, &WAYS, BACK, "the name is free") {
            remove(stage)?;
            scene.connected(stage, report, &WAYS, BACK, "the interface was removed under the box");
        }
        Ok(())
    };
    scene.stage(&BOXES, report, take, play)
}
