//! A window that follows gives the bytes of the one that decides.

use std::println;

use super::*;
use crate::seal::{Mark, Stamp};

/// Plays a script at an origin, and every item of it at a relay which comes in at the item `from`.
struct Pair {
    origin: Script,
    relay: Window,
    serial: u64,
    seen: Option<EpochId>,
    record: Option<(EpochRecord, Stamp)>,
    joined: bool,
}

impl Pair {
    fn new() -> Self {
        let relay = Window::new(WindowLimits::default(), 0);
        Self {
            origin: Script::new(WindowLimits::default()),
            relay,
            serial: 0,
            seen: None,
            record: None,
            joined: false,
        }
    }

    /// One line of the script; parts one by one.
    fn play(&mut self, line: &str, join: bool) {
        let words: Vec<&str> = line.split_whitespace().collect();
        match words.first().copied() {
            Some(kind @ ("group" | "open")) => {
                for (nth, ms) in words[1..].iter().enumerate() {
                    let verb = if nth == 0 { "open" } else { "more" };
                    let last = if kind == "group" && nth + 2 == words.len() { " ." } else { "" };
                    self.step(&std::format!("{verb} {ms}{last}"), join && nth == 0);
                }
            }
            _ => self.step(line, join),
        }
    }

    fn step(&mut self, line: &str, join: bool) {
        self.origin.play(line);
        self.serial += 1;
        let window = &self.origin.window;
        let stamp = window.stamp(self.serial).unwrap();
        let newest = window.newest().map_or(0, |(msn, _)| msn);
        match line.split_whitespace().next().unwrap() {
            "epoch" => {
                self.joined |= join;
                let record = window.epochs[&self.origin.epoch].clone();
                self.record = Some((record.clone(), stamp));
                if self.joined {
                    self.relay.follow_epoch(record, &stamp).unwrap();
                    self.seen = Some(self.origin.epoch);
                }
            }
            "abandon" if self.joined => self.relay.follow_mark(Mark::Abandoned, newest, &stamp).unwrap(),
            "end" if self.joined => self.relay.follow_mark(Mark::Ended, newest, &stamp).unwrap(),
            "abandon" | "end" => {}
            _ => {
                self.joined |= join;
                if !self.joined {
                    return;
                }
                if self.seen != Some(self.origin.epoch) {
                    let (record, begun) = self.record.clone().unwrap();
                    self.relay.follow_epoch(record, &begun).unwrap();
                    self.seen = Some(self.origin.epoch);
                }
                let header = window.segments.back().unwrap().parts.last().unwrap().clone();
                self.relay.follow_part(header, &stamp).unwrap();
            }
        }
        while self.relay.poll_evicted().is_some() {}
    }

    fn compare(&self) {
        let (origin, relay) = (&self.origin.window, &self.relay);
        assert_eq!(origin.current(), relay.current());
        assert_eq!(origin.multivariant(), relay.multivariant());
        let name = origin.current().unwrap();
        for delta in [false, true] {
            let (ours, theirs) = (origin.render(name, delta), relay.render(name, delta));
            if ours != theirs {
                println!("{}\n---\n{}", ours.unwrap_or_default(), theirs.unwrap_or_default());
                panic!("the playlists differ");
            }
        }
    }
}

const SCRIPT: &str = "
    epoch a
    group 200 200 200 200 200
    group 200 200 200
    open 200 200
    abandon
    group 200 200 200 200 200 200 200
    epoch b
    group 200 200 200 200 200
    open 200 200
    more 200
    epoch c 100
    group 100 100 100 100
    group 100 100 100 100 100
    end
";

fn lines() -> Vec<&'static str> {
    SCRIPT.lines().map(str::trim).filter(|line| !line.is_empty()).collect()
}

#[test]
fn from_the_first_item_on_all_playlists_are_the_same() {
    let mut pair = Pair::new();
    for line in lines() {
        pair.play(line, true);
        pair.compare();
    }
}

#[test]
fn who_comes_late_has_the_same_lines_from_there_on() {
    // Behind the last segment that the late one has not.
    for join in 1..lines().len() {
        let mut pair = Pair::new();
        for (nth, line) in lines().into_iter().enumerate() {
            let opens = line.starts_with("group") || line.starts_with("open");
            pair.play(line, nth >= join && opens);
        }
        if !pair.joined {
            continue;
        }
        // What the late one lists is the end of what the origin lists, and it says the same of the stream.
        let name = pair.origin.current();
        assert_eq!(pair.relay.current(), Some(name));
        assert_eq!(pair.relay.multivariant(), pair.origin.window.multivariant());
        let (ours, theirs) =
            (pair.origin.window.render(name, false).unwrap(), pair.relay.render(name, false).unwrap());
        let tail = |text: &str| {
            text.split_once("#EXT-X-PROGRAM-DATE-TIME").map(|(_, rest)| rest.to_string()).unwrap()
        };
        assert!(ours.ends_with(&tail(&theirs)), "joined at {join}:\n{ours}\n---\n{theirs}");
        for line in ["#EXT-X-TARGETDURATION", "#EXT-X-SERVER-CONTROL", "#EXT-X-PART-INF"] {
            let of = |text: &str| text.lines().find(|l| l.starts_with(line)).map(ToString::to_string);
            assert_eq!(of(&ours), of(&theirs));
        }
    }
}

#[test]
fn a_part_that_did_not_come_is_a_gap_and_nothing_else_differs() {
    let mut origin = Script::run("epoch a\n group 200 200 200 200 200\n open 200");
    let mut relay = Window::new(WindowLimits::default(), 0);
    let record = origin.window.epochs[&EpochId(0xa)].clone();
    let stamp = origin.window.stamp(1).unwrap();
    relay.follow_epoch(record, &Stamp { next_msn: 7, ..stamp }).unwrap();
    let parts: Vec<PartHeader> =
        origin.window.segments.iter().flat_map(|s| s.parts.iter().cloned()).collect();
    for (nth, part) in parts.into_iter().enumerate() {
        let lost = nth == 2;
        let header = PartHeader { gap: lost, bytes: if lost { 0 } else { part.bytes }, ..part };
        relay.follow_part(header.clone(), &Stamp { next_msn: header.msn + 1, ..stamp }).unwrap();
    }
    origin.play("more 200");
    let stamp = origin.window.stamp(9).unwrap();
    let newest = origin.window.segments.back().unwrap().parts.last().unwrap().clone();
    relay.follow_part(newest, &stamp).unwrap();
    let name = origin.current();
    let ours = origin.window.render(name, false).unwrap();
    let theirs = relay.render(name, false).unwrap();
    assert_eq!(theirs.replace(",GAP=YES", ""), ours);
    assert_eq!(theirs.matches(",GAP=YES").count(), 1);
}

#[test]
fn a_hole_in_the_numbers_empties_the_window() {
    let mut pair = Pair::new();
    for line in ["epoch a", "group 200 200 200", "group 200 200 200"] {
        pair.play(line, true);
    }
    pair.origin.play("group 200 200 200\n group 200 200 200\n open 200");
    let window = &pair.origin.window;
    let stamp = window.stamp(90).unwrap();
    let header = window.segments.back().unwrap().parts[0].clone();
    pair.relay.follow_part(header, &stamp).unwrap();
    let text = pair.relay.render(window.current().unwrap(), false).unwrap();
    assert!(text.contains("#EXT-X-MEDIA-SEQUENCE:11\n"), "{text}");
    assert_eq!(text.matches("#EXTINF").count(), 0, "{text}");
}

#[test]
fn what_is_out_of_bounds_is_refused() {
    let mut pair = Pair::new();
    pair.play("epoch a", true);
    pair.play("group 200 200 200", true);
    let good = pair.origin.window.stamp(7).unwrap();
    let header = |window: &Window| {
        let cut = CutPart {
            epoch: EpochId(0xa),
            start: Ticks::from_millis(600),
            duration: Ticks::from_millis(200),
            independent: true,
            opens_segment: true,
            last: false,
        };
        window.number(&cut, 9)
    };
    let next = header(&pair.origin.window);
    for bad in [
        Stamp { target_duration_s: Some(3601), ..good },
        Stamp { next_msn: 1 << 53, ..good },
        Stamp { first_msn: u64::MAX, ..good },
        Stamp { part_hold_back: Ticks(-1), ..good },
    ] {
        assert!(matches!(pair.relay.follow_part(next.clone(), &bad), Err(WindowError::BadStamp(_))));
    }
    let old = PartHeader { msn: 7, ..next.clone() };
    assert!(matches!(pair.relay.follow_part(old, &good), Err(WindowError::OutOfOrder { .. })));
    assert_eq!(pair.relay.follow_part(next, &good), Ok(()));
}
