//! `cargo xtask lab --carry`: friends carry a stream that none of their lines could, and go on when one of them is gone.
//!
//! A real stream comes through RTMP to a box behind a slow line, boxes behind slower ones carry it, and a viewer behind
//! each counts when a picture would have stood still. Who sent how much is read from interfaces and routers; of the
//! daemons' own words only the count of forgeries is asked.

pub(crate) mod circle;
pub(crate) mod flows;
mod kills;
pub(crate) mod lines;
mod pings;
mod same;

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};

use super::dice::Dice;
use super::kind::Kind;
use super::plan::Wanted;
use super::scenario::Report;
use super::world::World;
use crate::build::MeshBinaries;
use crate::stop::Stop;
use crate::viewer::Tally;
use circle::{Circle, Relayed, sites};
use flows::Counted;
use lines::Lines;
use pings::{Pings, quantile};

/// The origin and six friends, each behind a router; any two of these reach each other directly.
const FRIENDS: [Wanted; 7] = [
    Wanted::new("ana", Kind::Easy),
    Wanted::new("bob", Kind::Easy),
    Wanted::new("eve", Kind::Carrier),
    Wanted::new("dan", Kind::Mapper),
    Wanted::new("fay", Kind::Cone),
    Wanted::new("gus", Kind::Hard),
    Wanted::new("hal", Kind::Easy),
];

/// How long boxes may sort themselves out once all have a picture, before it counts.
const SETTLE: Duration = Duration::from_secs(15);
/// Between two looks at the origin's interface.
const SAMPLE_EVERY: Duration = Duration::from_secs(1);
/// What has to come from others than the origin, of all that boxes get.
const FRIENDS_SHARE_MIN: f64 = 0.5;
/// How long the empty lines are measured, before anything is published.
const EMPTY: Duration = Duration::from_secs(5);
/// What a box may make a ping from its household wait, of twenty pings in nineteen.
const PING_RISE_MS_MAX: f64 = 20.0;
/// A tbf lets a burst through before it holds to its rate.
const BURST_KBPS: f64 = 200.0;

/// What is played.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Play {
    /// Besides the origin.
    pub(crate) boxes: usize,
    /// How long the calm part is measured.
    pub(crate) time: Duration,
    pub(crate) kills: u32,
    /// Two boxes at once, and the origin at the end.
    pub(crate) hard_blows: bool,
    pub(crate) lines: Lines,
    pub(crate) seed: u64,
    pub(crate) keep: bool,
}

impl Play {
    /// The proof of docs/lab.md.
    pub(crate) fn proof(time: Duration, kills: u32, stream_kbps: u64, seed: u64, keep: bool) -> Play {
        Play { boxes: 6, time, kills, hard_blows: kills > 0, lines: Lines::scaled(stream_kbps), seed, keep }
    }

    /// An origin and two boxes, of which one is killed; a stream that is light enough for any machine.
    pub(crate) fn smoke(keep: bool) -> Play {
        let lines = Lines { stream_kbps: 1000, ..Lines::PROOF };
        let time = Duration::from_secs(5);
        Play { boxes: 2, time, kills: 1, hard_blows: false, lines, seed: 1, keep }
    }
}

pub(crate) fn run(play: &Play, binaries: &MeshBinaries, stop: &Stop) -> Result<()> {
    let began = Instant::now();
    let world = World::new(sites(&FRIENDS, play.boxes), play.keep)?;
    let lines = play.lines;
    introduce(play, lines);
    let mut circle = Circle::open(&world, binaries, lines, stop)?;
    let mut report = Report::default();
    let played = perform(&mut circle, play, lines, &mut report, stop);
    ensure!(!stop.wanted(), "stopped");
    if let Err(error) = played {
        report.find(false, format!("{error:#}"));
    }
    println!("\ncarry {} after {} s, load {}", verdict(&report), began.elapsed().as_secs(), load());
    print!("{report}");
    if !report.passed() {
        print!("{}", circle.logs());
        if play.keep {
            println!("    everything is in {}", world.dir().display());
        }
    }
    ensure!(report.passed(), "does not hold: carry");
    Ok(())
}

fn verdict(report: &Report) -> &'static str {
    if report.passed() { "ok" } else { "FAILED" }
}

fn introduce(play: &Play, lines: Lines) {
    let (supply, demand) = lines.supply_and_demand_kbps(play.boxes as u64);
    let mbps = |kbps: u64| kbps as f64 / 1000.0;
    println!(
        "a stream of {:.1} Mbit/s; lines of {:.2} Mbit/s at the origin and {:.2} at each of {} boxes",
        mbps(lines.stream_kbps),
        mbps(lines.origin_kbps),
        mbps(lines.box_kbps),
        play.boxes
    );
    println!(
        "supply over demand {:.2} by media alone, {:.2} with what is around it on the line; seed {}; load {}",
        supply as f64 / (play.boxes as u64 * lines.stream_kbps) as f64,
        supply as f64 / demand as f64,
        play.seed,
        load()
    );
}

fn perform(
    circle: &mut Circle<'_>,
    play: &Play,
    lines: Lines,
    report: &mut Report,
    stop: &Stop,
) -> Result<()> {
    let origin = circle.origin.clone();
    let beside = pings(circle)?;
    stop.wait(EMPTY);
    let empty = beside.finish()?;
    circle.publish(lines.stream_kbps)?;
    circle.watch(&origin)?;
    let took = circle.await_pictures(&[&origin], stop).context("the origin")?;
    println!("a picture at the origin after {:.1} s", took.as_secs_f64());
    let boxes = circle.boxes.clone();
    let names: Vec<&str> = boxes.iter().map(String::as_str).collect();
    names.iter().try_for_each(|name| circle.watch(name))?;
    let took = circle.await_pictures(&names, stop)?;
    println!("pictures at all boxes after {:.1} s", took.as_secs_f64());
    stop.wait(if play.boxes > 2 { SETTLE } else { SETTLE / 3 });
    let beside = pings(circle)?;
    calm(circle, play, lines, report, stop)?;
    judge_pings(&empty, &beside.finish()?, report);
    let mut dice = Dice::new(play.seed);
    kills::one_by_one(circle, play.kills, &mut dice, report, stop)?;
    if play.hard_blows {
        kills::two_at_once(circle, &mut dice, report, stop)?;
        forgeries(circle, report);
        kills::origin(circle, report, stop)?;
    } else {
        forgeries(circle, report);
    }
    Ok(())
}

/// From the house of each box, and of the origin.
fn pings(circle: &Circle<'_>) -> Result<Pings> {
    Pings::start(circle.world, circle.box_names().into_iter().chain([circle.origin.as_str()]))
}

/// What the boxes' households noticed, beside what they had on empty lines.
fn judge_pings(empty: &BTreeMap<String, Vec<f64>>, full: &BTreeMap<String, Vec<f64>>, report: &mut Report) {
    let mut worst = 0.0_f64;
    let told = full.iter().map(|(name, took_ms)| {
        let usual_ms = empty.get(name).map_or(0.0, |took_ms| quantile(took_ms, 0.5));
        let (middle_ms, most_ms) = (quantile(took_ms, 0.5) - usual_ms, quantile(took_ms, 0.95) - usual_ms);
        worst = worst.max(most_ms);
        format!("{name} +{middle_ms:.1} and +{most_ms:.1}")
    });
    println!(
        "    a ping beside the box took longer in the middle, and of 20 in 19, by ms: {}",
        told.collect::<Vec<_>>().join(", ")
    );
    report.find(
        worst <= PING_RISE_MS_MAX,
        format!("a ping beside a box rises by {worst:.1} ms at most, of 20 in 19"),
    );
}

/// Nothing happens to anybody, and everything is measured.
fn calm(circle: &mut Circle<'_>, play: &Play, lines: Lines, report: &mut Report, stop: &Stop) -> Result<()> {
    let (before, counted, began) = (circle.look(), Counted::take(circle.world)?, Instant::now());
    let (relayed_before, lines_before) = (relayed(circle), sent(circle)?);
    let (mean_kbps, peak_kbps) = watch_origin(circle, play.time, stop)?;
    let flows = Counted::take(circle.world)?.since(&counted);
    let (after, passed) = (circle.look(), began.elapsed());
    let names = circle.box_names();
    println!("{} s of calm; who has it from whom, by what routers counted:", passed.as_secs());
    print!("{}", flows.tree(&circle.origin, &names));
    print_viewers(&before, &after);
    print_relayed(circle, &relayed_before, &relayed(circle));
    print_lines(&lines_before, &sent(circle)?);
    let allowed_kbps = lines.origin_kbps as f64 + BURST_KBPS;
    let text = format!("the origin sent {mean_kbps:.0} kbit/s, {peak_kbps:.0} in its busiest second");
    report.find(peak_kbps <= allowed_kbps, text);
    let share = flows.share_of_friends(&circle.origin);
    let text = format!("{:.0} % of what boxes got came from boxes other than the origin", share * 100.0);
    // Two boxes at an origin's line of three streams have no need of each other.
    report.find(play.boxes == 2 || share >= FRIENDS_SHARE_MIN, text);
    let hops = flows.hops(&circle.origin, &names);
    let farthest = hops.values().copied().fold(0.0, f64::max);
    let deep = flows.is_deep(&circle.origin, &names);
    let text = format!("depth 2 or more: {deep}; {farthest:.1} hops in the mean at the farthest box");
    report.find(play.boxes == 2 || deep, text);
    report.find(smooth(&before, &after), trouble_of(&before, &after));
    let three: Vec<&str> = names.iter().copied().take(3).collect();
    match same::compare(circle, &three)? {
        Some(same) => report.find(
            same.different == 0 && same.segments > 0,
            format!(
                "playlists of {}: {} shared segments, {} bytes, {} different",
                three.join(", "),
                same.segments,
                same.bytes,
                same.different
            ),
        ),
        None => report.find(false, format!("playlists of {}: never at the same part", three.join(", "))),
    }
    Ok(())
}

/// The rate of the origin's interface towards the internet, in the mean and in its busiest second.
fn watch_origin(circle: &mut Circle<'_>, time: Duration, stop: &Stop) -> Result<(f64, f64)> {
    let site = circle.world.site(&circle.origin);
    let kbps = |bytes: u64, passed: Duration| bytes as f64 * 8.0 / 1000.0 / passed.as_secs_f64().max(1e-3);
    let (began, first) = (Instant::now(), lines::sent_bytes(circle.world, site)?);
    let (mut at, mut last, mut peak_kbps) = (began, first, 0.0_f64);
    while began.elapsed() < time && !stop.wanted() {
        stop.wait(SAMPLE_EVERY);
        let (now, sent) = (Instant::now(), lines::sent_bytes(circle.world, site)?);
        peak_kbps = peak_kbps.max(kbps(sent - last, now - at));
        (at, last) = (now, sent);
    }
    circle.ensure_alive()?;
    Ok((kbps(last - first, at - began), peak_kbps))
}

/// Nobody's picture stood still, and nobody missed a part.
pub(crate) fn smooth(before: &BTreeMap<String, Tally>, after: &BTreeMap<String, Tally>) -> bool {
    after.iter().all(|(name, tally)| {
        let first = before.get(name).cloned().unwrap_or_default();
        tally.pace.stalls_total == first.pace.stalls_total
            && tally.gaps == first.gaps
            && tally.faults == first.faults
            && tally.parts > first.parts
    })
}

/// What viewers had to bear between two looks, as a sentence.
pub(crate) fn trouble_of(before: &BTreeMap<String, Tally>, after: &BTreeMap<String, Tally>) -> String {
    let mut told = Vec::new();
    for (name, tally) in after {
        let first = before.get(name).cloned().unwrap_or_default();
        let stalls = tally.pace.stalls_total - first.pace.stalls_total;
        let newest = tally.pace.stalls.iter().rev().take(usize::try_from(stalls).unwrap_or(usize::MAX));
        let longest = newest.map(crate::viewer::pace::Stall::length).max().unwrap_or_default();
        let (gaps, faults) = (tally.gaps - first.gaps, tally.faults - first.faults);
        if stalls + gaps + faults > 0 {
            let fault = if faults > 0 { tally.last_fault.as_deref().unwrap_or_default() } else { "" };
            told.push(format!(
                "{name} stood still {stalls} times, {:.2} s at most, {gaps} gaps, {faults} faults {fault}",
                longest.as_secs_f64()
            ));
        } else if tally.parts == first.parts {
            told.push(format!("{name} read nothing"));
        }
    }
    if told.is_empty() {
        return format!("{} viewers without a rebuffer, a gap or a fault", after.len());
    }
    told.join("; ")
}

fn print_viewers(before: &BTreeMap<String, Tally>, after: &BTreeMap<String, Tally>) {
    let lowest = after.iter().map(|(name, tally)| {
        let lowest_s = tally.pace.lowest_s.unwrap_or_default();
        let media_s = tally.media_s - before.get(name).map_or(0.0, |tally| tally.media_s);
        let bytes = tally.bytes - before.get(name).map_or(0, |tally| tally.bytes);
        let mbps = bytes as f64 * 8e-6 / media_s.max(1e-3);
        format!("{name} {lowest_s:.2} s ({media_s:.0} s of {mbps:.2} Mbit/s)")
    });
    println!("    least in the viewers' buffers: {}", lowest.collect::<Vec<_>>().join(", "));
}

fn relayed(circle: &Circle<'_>) -> BTreeMap<String, Relayed> {
    let all = circle.boxes.iter().chain([&circle.origin]);
    all.filter_map(|name| Some((name.clone(), circle.relayed(name).ok()?))).collect()
}

fn print_relayed(circle: &Circle<'_>, before: &BTreeMap<String, Relayed>, after: &BTreeMap<String, Relayed>) {
    for (name, now) in after {
        let then = before.get(name).copied().unwrap_or_default();
        println!(
            "    {name:<5}{} says: gave {} kB, took {} kB, {} pulls, {} gaps, {} forged",
            if *name == circle.origin { " (origin)" } else { "" },
            now.sent_bytes.saturating_sub(then.sent_bytes) / 1000,
            now.received_bytes.saturating_sub(then.received_bytes) / 1000,
            now.pulls.saturating_sub(then.pulls),
            now.gaps.saturating_sub(then.gaps),
            now.forged
        );
    }
}

/// What left each house.
fn sent(circle: &Circle<'_>) -> Result<BTreeMap<String, u64>> {
    let sites = circle.world.sites().iter();
    sites.map(|site| Ok((site.name.clone(), lines::sent_bytes(circle.world, site)?))).collect()
}

fn print_lines(before: &BTreeMap<String, u64>, after: &BTreeMap<String, u64>) {
    let kilobytes = |name: &str, now: &u64| (now - before.get(name).unwrap_or(now)) / 1000;
    let told = after.iter().map(|(name, now)| format!("{name} {}", kilobytes(name, now)));
    println!("    what left the houses, in kB: {}", told.collect::<Vec<_>>().join(", "));
}

fn forgeries(circle: &Circle<'_>, report: &mut Report) {
    let all = relayed(circle);
    let forged: u64 = all.values().map(|relayed| relayed.forged).sum();
    let verified: u64 = all.values().map(|relayed| relayed.verified).sum();
    let text = format!("{verified} blocks verified at {} boxes, {forged} forged", all.len());
    report.find(forged == 0 && all.len() == circle.boxes.len() + 1, text);
}

/// How busy the machine is: the mean number of programs that want to run, over the last minute.
pub(crate) fn load() -> String {
    let text = std::fs::read_to_string("/proc/loadavg").unwrap_or_default();
    text.split(' ').next().unwrap_or_default().to_owned()
}
