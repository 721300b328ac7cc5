//! A box that no UDP reaches: live video has to go through the coordinator's relay over TLS.

use std::time::Duration;

use anyhow::{Context as _, Result};

use super::{Report, Scene};
use crate::lab::flow::{self, Delivery};
use crate::lab::kind::Kind;
use crate::lab::meter::PathType;
use crate::lab::plan::Wanted;
use crate::lab::stage::{self, Stage};

const BOXES: [Wanted; 2] = [Wanted::new("a", Kind::Blocked), Wanted::new("b", Kind::Easy)];
/// 8 Mbit/s.
const BYTES_PER_S: usize = 1_000_000;
const TIME: Duration = Duration::from_secs(30);
/// What has to be there in time.
const PERCENT: usize = 99;
/// How late the last byte may be.
const LATE: Duration = Duration::from_secs(1);

pub(super) fn udp_blocked(scene: &Scene<'_>, report: &mut Report) -> Result<()> {
    let play = |stage: &mut Stage<'_>, report: &mut Report| {
        let limit = scene.overlay().limits().connect;
        if scene.connected(stage, report, &[["b", "a"], ["a", "b"]], limit, "joined") {
            direction(scene, stage, report, ["a", "b"])?;
            direction(scene, stage, report, ["b", "a"])?;
        }
        Ok(())
    };
    scene.stage(&BOXES, report, |_| Ok(()), play)
}

fn direction(scene: &Scene<'_>, stage: &Stage<'_>, report: &mut Report, [from, to]: [&str; 2]) -> Result<()> {
    let mut delivery = None;
    let due = (BYTES_PER_S as u64) * TIME.as_secs();
    let seen = stage::measure(stage.world, ["a", "b"], due, || {
        let stream = stage.first_byte([from, to], TIME, scene.stop).context("no connection")?;
        delivery = Some(flow::paced(stream, BYTES_PER_S, TIME)?);
        Ok(())
    })?;
    let what = format!("8 Mbit/s from {from} to {to} for {} s", TIME.as_secs());
    match (seen, delivery) {
        (Ok(seen), Some(Delivery { due, delivered, late })) => {
            let enough = delivered * 100 >= due * PERCENT && late <= LATE;
            let percent = delivered as f64 * 100.0 / due as f64;
            let late = late.as_secs_f64();
            report.find(enough, format!("{what}: {percent:.1} %, the last of it {late:.2} s late"));
            let by_tls = seen.path == Some(PathType::RelayedTls);
            report.find(by_tls, format!("went {}", seen.name()));
        }
        (Err(error), _) => report.find(false, format!("{what}: {error:#}")),
        (Ok(_), None) => report.find(false, format!("{what}: nothing was sent")),
    }
    Ok(())
}
