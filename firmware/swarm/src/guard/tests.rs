//! A line with a queue that is longer than anybody likes, and a household on it.

use alloc::vec;
use alloc::vec::Vec;

use super::*;

const EVERY_MS: u64 = 100;

/// An uplink whose modem queues up to 500 ms; 20 ms to the router beyond it.
struct Line {
    guard: Guard,
    bps: u64,
    /// What the household sends, whatever happens.
    household_bps: u64,
    /// What children would take.
    wanted_bps: u64,
    queued_bits: u64,
    now: u64,
    /// After each probe: what the box sent, and the round trip beyond the empty line's.
    seen: Vec<(u64, u64)>,
}

impl Line {
    fn new(bps: u64, limit_bps: u64) -> Self {
        let settings = Settings { limit_bps, paused: false, quiet: Vec::new() };
        Self {
            guard: Guard::new(settings, None),
            bps,
            household_bps: 0,
            wanted_bps: u64::MAX,
            queued_bits: 0,
            now: 0,
            seen: Vec::new(),
        }
    }

    fn run(&mut self, ms: u64) {
        self.seen.clear();
        for _ in 0..ms / EVERY_MS {
            let sent = self.guard.allowed_bps().min(self.wanted_bps);
            for _ in 0..EVERY_MS {
                let came = (sent + self.household_bps) / 1000;
                self.queued_bits =
                    (self.queued_bits + came).saturating_sub(self.bps / 1000).min(self.bps / 2);
            }
            self.now += EVERY_MS;
            let queue = self.queued_bits * 1000 / self.bps;
            // Jitter by which some probes are late, as on a wireless network.
            let jitter = self.now / EVERY_MS * 7 % 5;
            self.guard.handle_probe(20 + queue + jitter, sent, Millis(self.now));
            self.seen.push((sent, queue));
        }
    }

    fn mean_bps(&self) -> u64 {
        self.seen.iter().map(|(sent, _)| sent).sum::<u64>() / self.seen.len() as u64
    }

    fn queue(&self, per_mille: usize) -> u64 {
        let mut queues: Vec<_> = self.seen.iter().map(|(_, queue)| *queue).collect();
        queues.sort_unstable();
        queues[(queues.len() - 1) * per_mille / 1000]
    }
}

#[test]
fn on_a_wide_line_the_limit_is_reached_and_never_passed() {
    let mut line = Line::new(50_000_000, 3_000_000);
    line.run(60_000);
    assert!(line.seen.iter().all(|(sent, _)| *sent <= 3_000_000));
    line.run(10_000);
    assert_eq!(line.mean_bps(), 3_000_000);
    assert_eq!(line.guard.proven_bps(), 3_000_000);
}

#[test]
fn a_narrow_line_is_used_and_its_queue_stays_short() {
    let mut line = Line::new(5_000_000, 20_000_000);
    line.run(60_000);
    line.run(600_000);
    assert!(line.queue(950) <= 20, "p95 {} ms, worst {} ms", line.queue(950), line.queue(1000));
    assert!(line.queue(1000) <= 60, "worst {} ms", line.queue(1000));
    assert!(line.mean_bps() >= 3_750_000, "{}", line.mean_bps());
    let proven = line.guard.proven_bps();
    assert!((4_000_000..=5_400_000).contains(&proven), "{proven}");
}

#[test]
fn the_household_comes_first() {
    let mut line = Line::new(5_000_000, 4_500_000);
    line.run(120_000);
    line.household_bps = 3_000_000;
    line.run(3_000);
    line.run(60_000);
    assert!(line.queue(950) <= 20, "p95 {} ms", line.queue(950));
    assert!(line.mean_bps() <= 2_000_000);
    line.household_bps = 0;
    line.run(60_000);
    line.run(30_000);
    assert!(line.mean_bps() >= 3_750_000, "{}", line.mean_bps());
}

#[test]
fn a_queue_that_was_chance_costs_little_and_one_that_stays_costs_more() {
    let settings = Settings { limit_bps: 20_000_000, paused: false, quiet: Vec::new() };
    let mut guard = Guard::new(settings, Some(4_000_000));
    let mut now = 0;
    // What is left of the rate before, in percent.
    let mut probe = |queue: u64, times: u32| {
        let before = guard.allowed_bps();
        for _ in 0..times {
            now += EVERY_MS;
            guard.handle_probe(20 + queue, guard.allowed_bps(), Millis(now));
        }
        guard.allowed_bps() * 100 / before
    };
    let is = |left: u64, percent: u64| assert!(left.abs_diff(percent) <= 5, "{left} for {percent}");
    probe(0, 20);
    // Six in a row are no chance: the least of them counts.
    is(probe(40, 5), 100);
    is(probe(40, 1), 85);
    // And then nearly all of it, 95 of 100.
    is(probe(0, 8), 112);
    // A long queue; and then 85 of 100, since it is the second.
    is(probe(120, 6), 60);
    is(probe(0, 8), 142);
    // After the third it stays where it is.
    is(probe(40, 6), 60);
    is(probe(0, 8), 103);
}

#[test]
fn after_a_single_queue_the_line_is_soon_used_as_before() {
    let mut line = Line::new(20_000_000, 4_850_000);
    line.run(60_000);
    line.household_bps = 19_000_000;
    line.run(1_000);
    assert!(line.guard.allowed_bps() < 4_400_000, "{}", line.guard.allowed_bps());
    line.household_bps = 0;
    line.run(4_000);
    assert!(line.guard.allowed_bps() > 4_600_000, "{}", line.guard.allowed_bps());
}

#[test]
fn a_queue_of_others_does_not_teach_what_the_line_carries() {
    let mut line = Line::new(5_000_000, 4_500_000);
    line.run(120_000);
    // It gives little just now, and the household takes all there is for a while.
    line.wanted_bps = 1_000_000;
    line.run(5_000);
    line.household_bps = 6_000_000;
    line.run(5_000);
    assert!(line.guard.allowed_bps() < 1_000_000, "{}", line.guard.allowed_bps());
    line.household_bps = 0;
    line.run(60_000);
    assert!(line.guard.allowed_bps() >= 3_500_000, "{}", line.guard.allowed_bps());
}

#[test]
fn a_household_that_fills_the_line_gets_it_all() {
    let mut line = Line::new(5_000_000, 4_000_000);
    line.run(60_000);
    line.household_bps = 6_000_000;
    line.run(10_000);
    assert!(line.guard.allowed_bps() < 100_000, "{}", line.guard.allowed_bps());
}

#[test]
fn what_is_not_used_does_not_rise() {
    let mut line = Line::new(5_000_000, 20_000_000);
    line.wanted_bps = 1_000_000;
    line.run(120_000);
    assert_eq!(line.guard.allowed_bps(), 5_000_000, "the quarter that it began with");
}

#[test]
fn lost_probes_are_a_full_queue() {
    let settings = Settings { limit_bps: 8_000_000, paused: false, quiet: Vec::new() };
    let mut guard = Guard::new(settings, Some(8_000_000));
    guard.handle_lost(8_000_000, Millis(1_000));
    assert_eq!(guard.allowed_bps(), 8_000_000, "one is chance");
    guard.handle_lost(8_000_000, Millis(2_000));
    assert_eq!(guard.allowed_bps(), 4_800_000);
}

#[test]
fn nothing_is_sent_when_the_friend_says_so() {
    let quiet = vec![Quiet { from: 22 * 60, to: 7 * 60 }, Quiet { from: 12 * 60, to: 13 * 60 }];
    let settings = Settings { limit_bps: 4_000_000, paused: false, quiet };
    let mut guard = Guard::new(settings.clone(), Some(4_000_000));
    let mut at = |minute| {
        guard.handle_minute(minute);
        guard.allowed_bps()
    };
    assert_eq!((at(0), at(7 * 60 - 1), at(7 * 60)), (0, 0, 4_000_000));
    assert_eq!((at(12 * 60), at(13 * 60), at(22 * 60)), (0, 4_000_000, 0));
    guard.handle_minute(8 * 60);
    guard.handle_settings(Settings { paused: true, ..settings.clone() });
    assert_eq!(guard.allowed_bps(), 0);
    guard.handle_settings(Settings { limit_bps: 3_000_000, ..settings });
    assert_eq!(guard.allowed_bps(), 3_000_000);
}
