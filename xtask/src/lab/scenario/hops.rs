//! A stream whose origin can give it once and a bit, and the player pages of the origin and of the box that is farthest
//! from it: how much later is the picture there, and are sound and picture still together.

use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};
use serde::Deserialize;

use super::{Report, Scene};
use crate::command;
use crate::lab::carry::circle::{Circle, HTTP_PORT, STREAM};
use crate::lab::carry::flows::Counted;
use crate::lab::carry::lines::Lines;
use crate::lab::kind::Kind;
use crate::lab::plan::Wanted;
use crate::lab::world::World;

const BOXES: [Wanted; 4] = [
    Wanted::new("ana", Kind::Easy),
    Wanted::new("bob", Kind::Easy),
    Wanted::new("eve", Kind::Carrier),
    Wanted::new("dan", Kind::Cone),
];
/// The origin's line has room for ten stripes, of 24 that three boxes take.
const LINES: Lines = Lines { stream_kbps: 2000, origin_kbps: 3000, box_kbps: 5000 };
/// How long boxes may sort themselves out.
const SETTLE: Duration = Duration::from_secs(15);
/// How long it is looked who has it from whom.
const LOOK: Duration = Duration::from_secs(5);
const WATCHED_S: u32 = 40;
/// What a viewer two hops away may be behind the camera, of twenty pictures in nineteen.
const LATE_P95_MS_MAX: f64 = 2000.0;
const SKEW_MS_MAX: f64 = 40.0;
/// A part and the way there and back, which takes next to nothing here.
const HOP_MS_MAX: f64 = 200.0;

/// What `web/test/glass.mjs` prints.
#[derive(Debug, Deserialize)]
struct Glass {
    p50_ms: f64,
    p95_ms: f64,
    skew_ms: f64,
    worst_skew_ms: f64,
    pairs: u32,
    rebuffers: u32,
    stand_ms: f64,
}

pub(super) fn two_hops(scene: &Scene<'_>, report: &mut Report) -> Result<()> {
    let world = World::new(&BOXES, scene.keep).context("the world")?;
    let mut circle = Circle::open(&world, &scene.binaries, LINES, scene.stop).context("the boxes")?;
    let before = report.failures();
    watch(scene, &mut circle, report)?;
    if report.failures() > before {
        report.remark.push_str(&circle.logs());
    }
    Ok(())
}

fn watch(scene: &Scene<'_>, circle: &mut Circle<'_>, report: &mut Report) -> Result<()> {
    let (origin, boxes) = (circle.origin.clone(), circle.boxes.clone());
    let names: Vec<&str> = boxes.iter().map(String::as_str).collect();
    circle.publish(LINES.stream_kbps)?;
    names.iter().try_for_each(|name| circle.watch(name))?;
    circle.await_pictures(&names, scene.stop)?;
    scene.stop.wait(SETTLE);
    let counted = Counted::take(circle.world)?;
    scene.stop.wait(LOOK);
    let hops = Counted::take(circle.world)?.since(&counted).hops(&origin, &names);
    let far = names.iter().max_by(|one, other| hops[**one].total_cmp(&hops[**other]));
    let far = *far.context("nobody carries it")?;
    let counted = Counted::take(circle.world)?;
    let [near, there] = both(circle, [origin.as_str(), far])?;
    circle.ensure_alive()?;
    let flows = Counted::take(circle.world)?.since(&counted);
    let mean = flows.hops(&origin, &names)[far];
    let deep = flows.is_deep(&origin, &names);
    report.find(
        deep,
        format!("{far} has it over {mean:.1} hops in the mean, some of it over two or more: {deep}"),
    );
    judge(report, &origin, &near, None);
    judge(report, far, &there, Some(LATE_P95_MS_MAX));
    let later_ms = there.p50_ms - near.p50_ms;
    let text = format!("{far} is {later_ms:.0} ms behind {origin} in the middle");
    report.find(later_ms <= 2.0 * HOP_MS_MAX, text);
    Ok(())
}

fn judge(report: &mut Report, name: &str, seen: &Glass, p95_ms_max: Option<f64>) {
    let Glass { p50_ms, p95_ms, skew_ms, worst_skew_ms, pairs, rebuffers, stand_ms } = seen;
    report.find(
        p95_ms_max.is_none_or(|most| *p95_ms <= most),
        format!(
            "{name}: glass to glass p50 {p50_ms:.0} ms, p95 {p95_ms:.0} ms, longest stand {stand_ms:.0} ms"
        ),
    );
    report.find(
        *pairs >= WATCHED_S / 2 && skew_ms.abs() <= SKEW_MS_MAX,
        format!("{name}: skew {skew_ms:.1} ms, worst {worst_skew_ms:.1} ms of {pairs}"),
    );
    report.find(*rebuffers == 0, format!("{name}: {rebuffers} rebuffers in {WATCHED_S} s"));
}

/// Two pages at the same time, each in a browser in the box's house.
fn both(circle: &Circle<'_>, names: [&str; 2]) -> Result<[Glass; 2]> {
    let [one, other] = std::thread::scope(|threads| {
        names.map(|name| threads.spawn(move || glass(circle, name))).map(|asked| match asked.join() {
            Ok(seen) => seen,
            Err(_) => bail!("watching panicked"),
        })
    });
    Ok([one?, other?])
}

fn glass(circle: &Circle<'_>, name: &str) -> Result<Glass> {
    let mut node = circle.world.namespace(&circle.world.site(name).host).tool("node");
    node.arg(command::root().join("web/test/glass.mjs"));
    node.arg(format!("http://127.0.0.1:{HTTP_PORT}/live/{STREAM}"));
    node.args(["--seconds", &WATCHED_S.to_string()]);
    node.env("XTASK", std::env::current_exe().context("this program has no path")?);
    let said = command::output(&mut node).with_context(|| format!("the page at {name}"))?;
    let line = said.lines().last().unwrap_or_default();
    ensure!(!line.is_empty(), "the page at {name}: nothing was said");
    serde_json::from_str(line).with_context(|| format!("the page at {name}: {line}"))
}
