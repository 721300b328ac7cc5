//! Boxes that go without a word while others watch: killed, or cut off so that nobody is told.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};

use super::circle::{Circle, STREAM};
use super::flows::{Counted, Flows};
use super::{smooth, trouble_of};
use crate::lab::dice::Dice;
use crate::lab::scenario::Report;
use crate::stop::Stop;
use crate::viewer::Tally;
use crate::viewer::pace::Stall;

/// How long a box stays away: whoever took from it has noticed long before.
const AWAY: Duration = Duration::from_secs(8);
/// How long all watch in peace before the next blow, in which it is seen who has it from whom.
const PEACE: Duration = Duration::from_secs(6);
/// The next blow comes all the same when there was no peace for so long.
const PEACE_LIMIT: Duration = Duration::from_secs(36);
/// Two at once may cost so long a stop.
const TWO_LIMIT: Duration = Duration::from_secs(2);
/// How long boxes may take to say that a stream is over whose origin is gone.
const END_LIMIT: Duration = Duration::from_secs(40);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Blow {
    /// SIGKILL: the kernel resets its connections' packets.
    Kill,
    /// Its packets vanish both ways.
    CutOff,
}

const BLOWS: [Blow; 2] = [Blow::Kill, Blow::CutOff];

impl Blow {
    fn name(self) -> &'static str {
        match self {
            Blow::Kill => "killed",
            Blow::CutOff => "cut off",
        }
    }

    fn strike(self, circle: &mut Circle<'_>, name: &str) -> Result<()> {
        match self {
            Blow::Kill => circle.kill(name),
            Blow::CutOff => circle.cut_off(name),
        }
    }

    fn heal(self, circle: &mut Circle<'_>, name: &str) -> Result<()> {
        match self {
            Blow::Kill => circle.revive(name),
            Blow::CutOff => circle.reconnect(name),
        }
    }
}

/// What a blow did to viewers of other boxes.
struct Felt {
    smooth: bool,
    longest: Duration,
    /// Who had a part of it from a victim.
    below: Vec<String>,
    lowest_s: f64,
    text: String,
    /// Until the victims' own viewers had a picture again.
    back: Duration,
    /// What viewers of other boxes noticed of the victims' return, up to the next peace.
    unrest: Option<String>,
    /// Who had it from whom in that peace.
    flows: Flows,
}

/// Kills that many boxes, one after the other, in one way or the other.
pub(super) fn one_by_one(
    circle: &mut Circle<'_>,
    kills: u32,
    dice: &mut Dice,
    report: &mut Report,
    stop: &Stop,
) -> Result<()> {
    let (mut bad, mut felt_below, mut returns_felt, mut lowest_s) = (0_u32, 0, 0_u32, f64::INFINITY);
    let (mut flows, _) = peace(circle, &[], stop)?;
    for number in 1..=kills {
        let names = circle.boxes.clone();
        let victim = dice.pick(&names.iter().map(String::as_str).collect::<Vec<_>>()).to_owned();
        let blow = dice.pick(&BLOWS);
        let felt = strike(circle, &flows, &[(&victim, blow)], stop)?;
        ensure!(!stop.wanted(), "stopped after {} kills", number - 1);
        println!(
            "kill {number:>2}: {victim} {}; below it {}; least in a buffer {:.2} s; {}; it is back after {:.1} s",
            blow.name(),
            if felt.below.is_empty() { "nobody".to_owned() } else { felt.below.join(", ") },
            felt.lowest_s,
            felt.text,
            felt.back.as_secs_f64()
        );
        if let Some(unrest) = &felt.unrest {
            println!("         as it came back: {unrest}");
        }
        returns_felt += u32::from(felt.unrest.is_some());
        flows = felt.flows;
        bad += u32::from(!felt.smooth);
        felt_below += u32::from(!felt.below.is_empty());
        lowest_s = lowest_s.min(felt.lowest_s);
    }
    if kills > 0 {
        let text = format!(
            "{kills} kills, {felt_below} of boxes that others had it from: {bad} were felt by a viewer of another box; \
             least in a buffer {lowest_s:.2} s"
        );
        report.find(bad == 0, text);
        println!("    of {kills} returns {returns_felt} were felt by a viewer of another box");
    }
    Ok(())
}

pub(super) fn two_at_once(
    circle: &mut Circle<'_>,
    dice: &mut Dice,
    report: &mut Report,
    stop: &Stop,
) -> Result<()> {
    let names = circle.boxes.clone();
    let first = dice.pick(&names.iter().map(String::as_str).collect::<Vec<_>>());
    let others: Vec<&str> = names.iter().map(String::as_str).filter(|name| *name != first).collect();
    let second = dice.pick(&others);
    let (flows, _) = peace(circle, &[], stop)?;
    let felt = strike(circle, &flows, &[(first, Blow::Kill), (second, Blow::Kill)], stop)?;
    let text = format!(
        "{first} and {second} killed at once; below them {}; the longest stop {:.2} s of {} s; {}",
        felt.below.join(", "),
        felt.longest.as_secs_f64(),
        TWO_LIMIT.as_secs(),
        felt.text
    );
    report.find(felt.longest <= TWO_LIMIT, text);
    Ok(())
}

fn strike(circle: &mut Circle<'_>, flows: &Flows, victims: &[(&str, Blow)], stop: &Stop) -> Result<Felt> {
    for (name, _) in victims {
        if let Some(viewer) = circle.unwatch(name) {
            viewer.leave();
        }
    }
    let names: Vec<&str> = victims.iter().map(|(name, _)| *name).collect();
    let (before, began) = (circle.look(), Instant::now());
    for (name, blow) in victims {
        blow.strike(circle, name)?;
    }
    stop.wait(AWAY);
    let after = circle.look();
    circle.ensure_alive()?;
    for (name, blow) in victims {
        blow.heal(circle, name)?;
        circle.watch(name)?;
    }
    let back = circle.await_pictures(&names, stop)?;
    let (next, noticed) = peace(circle, &names, stop)?;
    let stalls = after.values().flat_map(|tally| &tally.pace.stalls).filter(|stall| stall.began >= began);
    Ok(Felt {
        smooth: smooth(&before, &after),
        longest: stalls.map(Stall::length).max().unwrap_or_default(),
        below: below(circle, flows, &names),
        lowest_s: after.values().filter_map(|tally| tally.pace.lowest_s).fold(f64::INFINITY, f64::min),
        text: trouble_of(&before, &after),
        back,
        unrest: (!smooth(&after, &noticed)).then(|| trouble_of(&after, &noticed)),
        flows: next,
    })
}

/// Waits until nobody has noticed anything for a while: who had it from whom in that while, and what everybody but
/// these had seen when it began.
fn peace(circle: &Circle<'_>, but: &[&str], stop: &Stop) -> Result<(Flows, BTreeMap<String, Tally>)> {
    let began = Instant::now();
    loop {
        let (mut before, counted) = (circle.look(), Counted::take(circle.world)?);
        stop.wait(PEACE);
        if smooth(&before, &circle.look()) || began.elapsed() >= PEACE_LIMIT || stop.wanted() {
            before.retain(|name, _| !but.contains(&name.as_str()));
            return Ok((Counted::take(circle.world)?.since(&counted), before));
        }
    }
}

fn below(circle: &Circle<'_>, flows: &Flows, victims: &[&str]) -> Vec<String> {
    let boxes = circle.box_names();
    let all = victims.iter().flat_map(|victim| flows.below(victim, &boxes));
    let mut below: Vec<String> = all.filter(|name| !victims.contains(name)).map(str::to_owned).collect();
    below.sort();
    below.dedup();
    below
}

/// The box with the stream is gone for good: every playlist has to end.
pub(super) fn origin(circle: &mut Circle<'_>, report: &mut Report, stop: &Stop) -> Result<()> {
    let origin = circle.origin.clone();
    if let Some(viewer) = circle.unwatch(&origin) {
        viewer.leave();
    }
    circle.kill(&origin)?;
    let began = Instant::now();
    let mut ended: Vec<(String, Duration)> = Vec::new();
    stop.wait_until(END_LIMIT, || {
        for (name, tally) in circle.look() {
            if tally.ended && !ended.iter().any(|(known, _)| *known == name) {
                ended.push((name, began.elapsed()));
            }
        }
        ended.len() == circle.boxes.len()
    });
    let told = ended.iter().map(|(name, at)| format!("{name} after {:.1} s", at.as_secs_f64()));
    let told = told.collect::<Vec<_>>().join(", ");
    report.find(
        ended.len() == circle.boxes.len(),
        format!(
            "the origin killed: the playlist has an end at {} of {} boxes: {told}",
            ended.len(),
            circle.boxes.len()
        ),
    );
    for name in &circle.boxes {
        let said = match circle.ask(name, &format!("/live/{STREAM}/index.m3u8")) {
            Ok(text) => format!("still names {}", text.lines().last().unwrap_or_default()),
            Err(error) => format!("{error:#}"),
        };
        let tally = circle.look().remove(name).unwrap_or_default();
        println!(
            "    {name}: {said}; its viewer saw {} gaps, {} faults {}",
            tally.gaps,
            tally.faults,
            tally.last_fault.unwrap_or_default()
        );
    }
    Ok(())
}
