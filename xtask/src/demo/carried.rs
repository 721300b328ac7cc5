//! `cargo xtask demo --boxes N --kill-one`: the whole story on one machine. A stream is published at one box behind a
//! home's line that is too slow for all who watch, friends' boxes carry it, and one of them is pulled from the wall.
//!
//! It ends by itself, with exit status 0 only if nobody else's picture stood still meanwhile and every block that was
//! given on was what the origin signed.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};

use super::boxes::BOXES;
use super::door::Door;
use crate::apt::{self, Consent, Purpose};
use crate::build::{self, Profile};
use crate::lab::carry::circle::{Circle, HTTP_PORT, STREAM, sites};
use crate::lab::carry::flows::{Counted, Flows};
use crate::lab::carry::lines::Lines;
use crate::lab::carry::{smooth, trouble_of};
use crate::lab::house::SERVICE_PORT;
use crate::lab::plan::SERVICE;
use crate::lab::privilege;
use crate::lab::world::{self, World};
use crate::stop::Stop;
use crate::viewer::Tally;

/// Three friends need 8.5 Mbit/s of a line that has 8.
const LINES: Lines = Lines { stream_kbps: 2500, origin_kbps: 8000, box_kbps: 5000 };
/// How long it takes if nobody says.
const TIME: Duration = Duration::from_secs(60);
/// The shortest in which all of it has room.
pub(super) const SECONDS_MIN: u64 = 40;
/// Boxes sort themselves out for so long before it counts.
const SETTLE: Duration = Duration::from_secs(10);
/// How long one of them is away.
const AWAY: Duration = Duration::from_secs(10);
const PRINT_EVERY: Duration = Duration::from_secs(5);

pub(super) fn run(boxes: u8, time: Option<Duration>, consent: Consent) -> Result<()> {
    let purposes = [Purpose::Build, Purpose::Web, Purpose::Run, Purpose::Publish, Purpose::Lab];
    apt::require(&purposes, consent)?;
    privilege::device()?;
    let binaries = build::mesh_with_media(Profile::Release)?;
    privilege::ensure(&binaries.environment())?;
    world::remove_leftovers();
    let stop = Stop::on_signals()?;
    let world = World::new(sites(&BOXES, usize::from(boxes) - 1), false)?;
    let circle = Circle::open(&world, &binaries, LINES, &stop)?;
    let mut story = Story::begin(circle)?;
    story.play(time.unwrap_or(TIME), &stop)
}

struct Story<'a> {
    circle: Circle<'a>,
    _doors: Vec<Door>,
    began: Instant,
    /// At the last print.
    counted: Counted,
    flows: Option<Flows>,
    printed: Instant,
    /// Bytes that left the origin's house, and that were watched, since it counts.
    watched_before: u64,
    all_counted: Counted,
}

impl<'a> Story<'a> {
    fn begin(circle: Circle<'a>) -> Result<Story<'a>> {
        let world = circle.world;
        let mut doors = vec![Door::open(world.namespace(SERVICE), SERVICE_PORT)?];
        println!(
            "\n  the operator's page  https://{}/operator  (its certificate is its own)",
            doors[0].address()
        );
        for site in world.sites() {
            let door = Door::open(world.namespace(&site.host), HTTP_PORT)?;
            let place = if site.name == circle.origin { "here it is published" } else { "carries it" };
            println!(
                "  {:<20} http://{}/live/{STREAM}  {place}, behind a router of kind {}",
                site.name,
                door.address(),
                site.kind
            );
            doors.push(door);
        }
        println!("  logs                 {}", world.dir().display());
        println!(
            "  the stream has {:.1} Mbit/s, the line of {} {:.1}, the others' {:.1} each\n",
            LINES.stream_kbps as f64 / 1000.0,
            circle.origin,
            LINES.origin_kbps as f64 / 1000.0,
            LINES.box_kbps as f64 / 1000.0
        );
        let counted = Counted::take(world)?;
        let now = Instant::now();
        let all_counted = counted.clone();
        Ok(Story {
            circle,
            _doors: doors,
            began: now,
            counted,
            flows: None,
            printed: now,
            watched_before: 0,
            all_counted,
        })
    }

    fn play(&mut self, time: Duration, stop: &Stop) -> Result<()> {
        self.circle.publish(LINES.stream_kbps)?;
        let names: Vec<String> = self.circle.boxes.iter().chain([&self.circle.origin]).cloned().collect();
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        names.iter().try_for_each(|name| self.circle.watch(name))?;
        let took = self.circle.await_pictures(&names, stop)?;
        println!("everybody has a picture after {:.1} s", took.as_secs_f64());
        self.wait(SETTLE, stop)?;
        let before = self.circle.look();
        self.watched_before = before.values().map(|tally| tally.bytes).sum();
        self.all_counted = Counted::take(self.circle.world)?;
        let left = time.saturating_sub(self.began.elapsed() + AWAY);
        self.wait(left / 2, stop)?;
        let calm = self.circle.look();
        let mut troubles = vec![("before", smooth(&before, &calm), trouble_of(&before, &calm))];
        let victim = self.victim();
        let viewer = self.circle.unwatch(&victim).context("nobody watches at the box that is to go")?;
        viewer.leave();
        let before = self.circle.look();
        println!("\n  {victim} is pulled from the wall; {} had it from there\n", self.below(&victim));
        self.circle.kill(&victim)?;
        self.wait(AWAY, stop)?;
        let after = self.circle.look();
        troubles.push(("while it was away", smooth(&before, &after), trouble_of(&before, &after)));
        self.circle.revive(&victim)?;
        self.circle.watch(&victim)?;
        let back = self.circle.await_pictures(&[&victim], stop)?;
        println!("\n  {victim} is back: a picture there after {:.1} s\n", back.as_secs_f64());
        let before = self.circle.look();
        self.wait(time.saturating_sub(self.began.elapsed()).max(PRINT_EVERY), stop)?;
        let after = self.circle.look();
        troubles.push(("after", smooth(&before, &after), trouble_of(&before, &after)));
        self.print_offload(&after)?;
        self.demand(&troubles)
    }

    /// Prints how it goes until the time is over.
    fn wait(&mut self, time: Duration, stop: &Stop) -> Result<()> {
        let began = Instant::now();
        while began.elapsed() < time {
            stop.wait(Duration::from_secs(1).min(time.saturating_sub(began.elapsed())));
            ensure!(!stop.wanted(), "stopped before the time was over");
            self.circle.ensure_alive()?;
            if self.printed.elapsed() >= PRINT_EVERY {
                self.print()?;
            }
        }
        Ok(())
    }

    fn print(&mut self) -> Result<()> {
        let counted = Counted::take(self.circle.world)?;
        let flows = counted.since(&self.counted);
        println!("{} s: who has it from whom, by what routers counted", self.began.elapsed().as_secs());
        print!("{}", flows.tree(&self.circle.origin, &self.circle.box_names()));
        let told = self.circle.boxes.iter().chain([&self.circle.origin]).map(|name| {
            match self.circle.relayed(name) {
                Ok(relayed) => format!("{name} {} kB, {} forged", relayed.sent_bytes / 1000, relayed.forged),
                Err(_) => format!("{name} away"),
            }
        });
        println!("    boxes gave so far: {}", told.collect::<Vec<_>>().join("; "));
        (self.counted, self.flows, self.printed) = (counted, Some(flows), Instant::now());
        Ok(())
    }

    /// The box from which the most others have it, directly or not.
    fn victim(&self) -> String {
        let names = self.circle.box_names();
        let worth = |name: &&str| self.flows.as_ref().map_or(0, |flows| flows.below(name, &names).len());
        // Of several the first one.
        names.iter().rev().copied().max_by_key(worth).unwrap_or_default().to_owned()
    }

    fn below(&self, victim: &str) -> String {
        let names = self.circle.box_names();
        let below = self.flows.as_ref().map(|flows| flows.below(victim, &names)).unwrap_or_default();
        if below.is_empty() { "nobody".to_owned() } else { below.join(", ") }
    }

    fn print_offload(&self, after: &BTreeMap<String, Tally>) -> Result<()> {
        let watched: u64 = after.values().map(|tally| tally.bytes).sum();
        let flows = Counted::take(self.circle.world)?.since(&self.all_counted);
        let left = flows.sent(&self.circle.origin);
        let share = flows.share_of_friends(&self.circle.origin);
        println!(
            "{:.1} MB were watched, {:.1} MB left the line of {}; {:.0} % of what boxes got came from friends",
            watched.saturating_sub(self.watched_before) as f64 / 1e6,
            left as f64 / 1e6,
            self.circle.origin,
            share * 100.0
        );
        Ok(())
    }

    fn demand(&self, troubles: &[(&str, bool, String)]) -> Result<()> {
        let (mut verified, mut forged) = (0, 0);
        for name in self.circle.boxes.iter().chain([&self.circle.origin]) {
            let relayed = self.circle.relayed(name).with_context(|| format!("what {name} counted"))?;
            verified += relayed.verified;
            forged += relayed.forged;
        }
        for (when, _, text) in troubles {
            println!("{when}: {text}");
        }
        println!("{verified} blocks verified, {forged} forged");
        ensure!(forged == 0, "{forged} blocks or items failed their check");
        ensure!(verified > 0, "no block went from box to box");
        let felt: Vec<&str> =
            troubles.iter().filter(|(_, smooth, _)| !smooth).map(|(when, ..)| *when).collect();
        ensure!(felt.is_empty(), "somebody's picture stood still: {}", felt.join(", "));
        println!("nobody's picture stood still, and every block was what the origin signed");
        Ok(())
    }
}
