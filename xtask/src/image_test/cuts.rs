//! Power cuts: QEMU is killed at random moments of first starts, and of running while a friend changes wishes. After each
//! the box has to start, be in its mesh as the box that it was, and have everything that it said it has.
//!
//! What QEMU wrote is in the file when it is killed, so what a card loses that lies about flushing is not tried here. That
//! enough cuts hit a moment of writing is asserted by QEMU's own statistics, since a cut that never hurts proves nothing.

use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};

use super::guest::{self, Guest};
use super::meter::Meter;
use super::studio::{Said, Studio, Wishing};
use super::trial::Trial;
use super::{CARD_BYTES, Path};
use crate::lab::dice::Dice;
use crate::stop::Stop;

/// A write that was done at most so long before the cut makes its moment one of writing.
const WRITING: Duration = Duration::from_millis(200);
/// How many of all cuts have to be of that kind, in percent.
const WRITING_PERCENT_MIN: u32 = 40;
/// From its random moment a cut that waits for a write does so no longer.
const AIM_LIMIT: Duration = Duration::from_secs(30);
/// How often QEMU is asked.
const LOOK_EVERY: Duration = Duration::from_millis(10);
/// While wishes are changed.
const RUNNING_MAX: Duration = Duration::from_secs(8);
const WISH_LIMIT: Duration = Duration::from_secs(60);
/// What `relayd status` says of a mesh that is up.
const NETWORK: &str = "network      relaybox, UDP port";

#[derive(Clone, Copy, Debug)]
pub(super) struct Cuts {
    pub(super) count: u32,
    /// The same moments again, as far as a machine can repeat them.
    pub(super) seed: u64,
}

/// How a cut came.
#[derive(Clone, Copy, Debug)]
struct Struck {
    at: Duration,
    bytes: u64,
    /// How long before it the last write was done, as far as was looked.
    since_write: Option<Duration>,
}

impl Struck {
    fn hit(&self) -> bool {
        self.since_write.is_some_and(|since| since <= WRITING)
    }
}

/// What a box may not lose.
#[derive(Clone, Debug, Default)]
struct Known {
    address: Option<String>,
    pin: Option<String>,
    said: Option<Said>,
}

impl Cuts {
    /// One card after the other: cut while it starts for the first time, and once more while it runs.
    pub(super) fn run(self, trial: &Trial<'_>, image: &Path) -> Result<()> {
        let mut series = Series {
            dice: Dice::new(self.seed),
            first_start: None,
            struck: Vec::new(),
            count: self.count as usize,
            stop: trial.stop,
        };
        let mut cards = 0;
        while series.struck.len() < series.count {
            ensure!(!trial.stop.wanted(), "stopped after {} cuts", series.struck.len());
            cards += 1;
            // Each invite is for one box.
            let name = format!("cut{cards}");
            let trial = Trial { name: &name, ..*trial };
            guest::card(image, CARD_BYTES, trial.card)?;
            trial.office.invite_into(trial.name, trial.card)?;
            let after = |cuts: usize| format!("seed {}, after {cuts} cuts, card {cards}", self.seed);
            series.card(&trial).with_context(|| after(series.struck.len()))?;
        }
        series.judge(self.seed)
    }
}

struct Series<'a> {
    dice: Dice,
    /// How long one takes here that nobody cuts.
    first_start: Option<Duration>,
    struck: Vec<Struck>,
    count: usize,
    stop: &'a Stop,
}

impl Series<'_> {
    fn card(&mut self, trial: &Trial<'_>) -> Result<()> {
        let mut known = Known::default();
        // The first card's is not cut: it tells how long that takes.
        if let Some(whole) = self.first_start {
            let guest = trial.power_on()?;
            self.cut(guest, whole, "of the first start", || ())?;
            // It may have been let in at the last moment.
            known.address = trial.office.sees(trial.name).ok();
        }
        let began = Instant::now();
        let mut guest = trial.start("the start")?;
        let studio = verify(trial, &mut guest, &mut known)?;
        self.first_start.get_or_insert(began.elapsed());
        if self.struck.len() < self.count {
            let wishing = Wishing::start(studio);
            guest.wait("a wish is kept", WISH_LIMIT, self.stop, |_| {
                ensure!(wishing.has_begun(), "none is");
                Ok(())
            })?;
            self.cut(guest, RUNNING_MAX, "of running", || wishing.let_go())?;
            known.said = Some(wishing.finish()?);
            guest = trial.start("the start after that")?;
            verify(trial, &mut guest, &mut known)?;
        }
        guest.kill();
        Ok(())
    }

    /// Pulls the plug at a random moment of this time; by the dice, every second one waits from there on for a write.
    fn cut(&mut self, mut guest: Guest, within: Duration, what: &str, last: impl FnOnce()) -> Result<()> {
        let number = self.struck.len() + 1;
        let moment = within.mul_f64((self.dice.roll() % 10_000) as f64 / 10_000.0);
        let aims = self.dice.pick(&[false, true]);
        let mut meter = guest.meter(self.stop)?;
        let (began, mut seen) = (Instant::now(), meter.written()?);
        let mut written_at = None;
        let limit = moment + if aims { AIM_LIMIT } else { Duration::ZERO };
        loop {
            self.stop.wait(LOOK_EVERY);
            ensure!(!guest.has_ended() && !self.stop.wanted(), "QEMU ended before it was cut");
            let (now, wrote) = look(&mut meter, &mut seen)?;
            written_at = if wrote { Some(now) } else { written_at };
            let due = began.elapsed() >= moment && (wrote || !aims);
            if due || began.elapsed() >= limit {
                break;
            }
        }
        last();
        let since_write = written_at.map(|at: Instant| at.elapsed());
        let struck = Struck { at: began.elapsed(), bytes: seen.bytes, since_write };
        guest.kill();
        println!(
            "cut {number}: {what}, after {:.1} s and {} bytes written, {}",
            struck.at.as_secs_f64(),
            struck.bytes,
            since_write.map_or("none of them seen".to_owned(), |since| format!(
                "the last {} ms before",
                since.as_millis()
            ))
        );
        self.struck.push(struck);
        Ok(())
    }

    fn judge(&self, seed: u64) -> Result<()> {
        let (all, hits) = (self.struck.len(), self.struck.iter().filter(|struck| struck.hit()).count());
        println!(
            "{all} cuts (seed {seed}), {hits} within {} ms of a write: started, in its mesh, nothing lost each time",
            WRITING.as_millis()
        );
        ensure!(is_enough(hits, all), "only {hits} of {all} cuts hit a moment of writing");
        Ok(())
    }
}

fn is_enough(hits: usize, all: usize) -> bool {
    hits * 100 >= all * WRITING_PERCENT_MIN as usize
}

/// Whether something was written since the last look, and when this one was.
fn look(meter: &mut Meter, seen: &mut super::meter::Written) -> Result<(Instant, bool)> {
    let before = std::mem::replace(seen, meter.written()?);
    Ok((Instant::now(), seen.writes > before.writes))
}

/// The box is whole: in its mesh as who it was, with its PIN, and with the wish that it said it had kept.
fn verify(trial: &Trial<'_>, guest: &mut Guest, known: &mut Known) -> Result<Studio> {
    let address = trial.in_the_mesh(guest)?;
    let before = known.address.get_or_insert_with(|| address.clone());
    ensure!(*before == address, "it was {before} in the mesh, and is {address}");
    // A box that has just come in begins anew, and forgets who entered the PIN before.
    guest.wait("its network is up", WISH_LIMIT, trial.stop, |guest| {
        let said = guest.sh("relayd status")?;
        ensure!(said.contains(NETWORK), "it says: {said}");
        Ok(())
    })?;
    let pin = guest.sh("cat /var/lib/relaybox/pin")?.trim().to_owned();
    let before = known.pin.get_or_insert_with(|| pin.clone());
    ensure!(*before == pin, "its PIN is another one");
    let host = trial.street.resolve("relaybox.local")?;
    let studio = Studio::enter(trial.street, host, &pin)?;
    if let Some(said) = known.said {
        said.demand(studio.wished()?)?;
    }
    Ok(studio)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_of_five_have_to_hit() {
        assert!(is_enough(20, 50) && is_enough(2, 5));
        assert!(!is_enough(19, 50) && !is_enough(1, 5));
    }

    #[test]
    fn a_write_long_ago_is_no_hit() {
        let struck = |since_write| Struck { at: Duration::ZERO, bytes: 0, since_write };
        assert!(struck(Some(Duration::from_millis(200))).hit());
        assert!(!struck(Some(Duration::from_millis(201))).hit());
        assert!(!struck(None).hit());
    }
}
