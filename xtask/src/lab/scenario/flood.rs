//! Ten thousand handshakes a second that mean nothing, at a public box: its peers must hardly notice.
//!
//! The boxes and whoever pours share one core, the flooder has another one, which it burns all the time: what differs
//! between the two halves of a round is only what the box has to take.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};

use super::{Report, Scene};
use crate::lab::flooder::{self, Flooder};
use crate::lab::flow;
use crate::lab::kind::Kind;
use crate::lab::meter::{PathType, Reading};
use crate::lab::plan::Wanted;
use crate::lab::stage::Stage;

const BOXES: [Wanted; 3] =
    [Wanted::new("a", Kind::Public), Wanted::new("b", Kind::Easy), Wanted::new("c", Kind::Easy)];
const ROUNDS: usize = 3;
const POUR: Duration = Duration::from_secs(5);
/// What has to be left, in percent.
const LEFT: f64 = 90.0;
/// What has to have come past the box's router, in percent of what was sent.
const ARRIVED: usize = 95;
/// Length of such a packet with its headers.
const PACKET: usize = 148 + 28;

pub(super) fn flood(scene: &Scene<'_>, report: &mut Report) -> Result<()> {
    let cores = flooder::cores()?;
    let [for_boxes, for_flood, ..] = cores[..] else {
        report.find(false, "this needs two cores".to_owned());
        return Ok(());
    };
    flooder::pin(for_boxes)?;
    let play = |stage: &mut Stage<'_>, report: &mut Report| play(scene, stage, report, for_flood);
    let played = scene.stage(&BOXES, report, |_| Ok(()), play);
    flooder::restrict(&cores)?;
    played
}

fn play(scene: &Scene<'_>, stage: &Stage<'_>, report: &mut Report, core: usize) -> Result<()> {
    let limits = scene.overlay().limits();
    if !scene.connected(stage, report, &[["b", "a"], ["c", "a"]], limits.connect, "joined") {
        return Ok(());
    }
    for pair in [["a", "b"], ["a", "c"]] {
        let (direct, text) = scene.settled(stage, pair, PathType::Direct, limits.settle)?;
        report.find(direct, text);
    }
    let (key, port) = stage.fleet.running.wireguard("a")?;
    let to = SocketAddr::new(stage.world.site("a").public[0], port);
    let flooder = Flooder::start(stage.world, to, key, core)?;
    let router = stage.world.namespace(&stage.world.site("a").edge);
    let before = Reading::take_inbound(router)?;
    let (mut idle, mut flooded, mut time) = (Vec::new(), Vec::new(), Duration::ZERO);
    for _ in 0..ROUNDS {
        idle.push(pour(scene, stage)?);
        let began = Instant::now();
        flooder.send(true);
        flooded.push(pour(scene, stage)?);
        flooder.send(false);
        time += began.elapsed();
        if scene.stop.wanted() {
            return Ok(());
        }
    }
    let arrived = Reading::take_inbound(router)?.since(&before);
    let arrived = arrived.udp(&flooder::sources().map(Into::into).collect::<Vec<_>>()) as usize / PACKET;
    let rate = flooder.sent() as f64 / time.as_secs_f64();
    report.find(
        arrived * 100 >= flooder.sent() * ARRIVED && rate * 100.0 >= (flooder::PER_SECOND * ARRIVED) as f64,
        format!(
            "{} initiations were sent, {rate:.0} a second, {arrived} came past the router",
            flooder.sent()
        ),
    );
    let (idle, flooded) = (median(&mut idle), median(&mut flooded));
    let percent = flooded * 100.0 / idle;
    let text = format!("b and c with a: {idle:.1} MB/s, under the flood {flooded:.1} MB/s, {percent:.0} %");
    report.find(percent >= LEFT, text);
    Ok(())
}

/// What two peers get from the box and back, together, in MB a second.
fn pour(scene: &Scene<'_>, stage: &Stage<'_>) -> Result<f64> {
    let connect = |from| {
        let stream = stage.first_byte([from, "a"], POUR, scene.stop);
        stream.with_context(|| format!("no byte from {from} to a"))
    };
    let (b, c) = (connect("b")?, connect("c")?);
    std::thread::scope(|scope| {
        let other = scope.spawn(|| flow::pour(&c, POUR));
        let own = flow::pour(&b, POUR).context("b");
        let other = other.join().expect("pouring does not panic").context("c");
        Ok((own? + other?) as f64 / POUR.as_secs_f64() / 1e6)
    })
}

fn median(values: &mut [f64]) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}
