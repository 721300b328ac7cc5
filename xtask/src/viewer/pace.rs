//! A player's clock without a player: when the picture would have stood still, by what was read and when.
//!
//! It begins the playlist's hold back behind the newest part, as a page does, and keeps to it as the page's player does
//! with its default settings: a little slower while the buffer is thin, a little faster while it is behind. It never
//! jumps, so that no stop is hidden. Decides nothing about whether that was good enough.

use std::time::{Duration, Instant};

/// Kept beyond what the playlist asks for.
const MARGIN_S: f64 = 0.25;
/// With less in the buffer the picture is slower.
const THIN_S: f64 = 0.25;
const THIN_RATE: f64 = 0.9;
/// Farther behind than this it is faster, until it is nearly there.
const BEHIND_S: f64 = 0.15;
const NEAR_S: f64 = 0.05;
const FASTER_RATE: f64 = 1.06;
/// After a stop it goes on with this in the buffer.
const RESUME_S: f64 = 0.2;

/// The picture stood still.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Stall {
    pub(crate) began: Instant,
    /// None while it lasts.
    pub(crate) took: Option<Duration>,
}

impl Stall {
    /// How long it took, or has taken so far.
    pub(crate) fn length(&self) -> Duration {
        self.took.unwrap_or_else(|| self.began.elapsed())
    }
}

/// Stops that are kept; a picture that stands still more often is counted all the same.
const STALLS_MAX: usize = 256;

#[derive(Clone, Debug, Default)]
pub(crate) struct Pace {
    playing: Option<Playing>,
    pub(crate) stalls: Vec<Stall>,
    pub(crate) stalls_total: u64,
    /// The least that was in the buffer since `forget_lowest`, in seconds.
    pub(crate) lowest_s: Option<f64>,
}

#[derive(Clone, Copy, Debug)]
struct Playing {
    /// Until then the buffer was played out.
    at: Instant,
    buffer_s: f64,
    target_s: f64,
    faster: bool,
    stalled: bool,
}

impl Pace {
    /// Media of this length was read just now, which is behind everything that was read before.
    pub(crate) fn add(&mut self, media_s: f64, now: Instant) {
        self.advance(now);
        let Some(playing) = &mut self.playing else { return };
        playing.buffer_s += media_s;
        if playing.stalled && playing.buffer_s >= RESUME_S {
            playing.stalled = false;
            if let Some(stall) = self.stalls.last_mut() {
                stall.took = Some(now.saturating_duration_since(stall.began));
            }
        }
    }

    /// The first parts are read: so much is there, and the playlist asks for this distance.
    pub(crate) fn begin(&mut self, read_s: f64, hold_back_s: f64, now: Instant) {
        let target_s = hold_back_s + MARGIN_S;
        let buffer_s = read_s.min(target_s);
        self.playing = Some(Playing { at: now, buffer_s, target_s, faster: false, stalled: false });
    }

    pub(crate) fn has_begun(&self) -> bool {
        self.playing.is_some()
    }

    /// Nothing more comes, which is no stop.
    pub(crate) fn end(&mut self, now: Instant) {
        self.advance(now);
        if self.playing.take().is_some_and(|playing| playing.stalled)
            && let Some(stall) = self.stalls.last_mut()
        {
            stall.took.get_or_insert(now.saturating_duration_since(stall.began));
        }
    }

    pub(crate) fn forget_lowest(&mut self) {
        self.lowest_s = None;
    }

    /// Plays until now.
    pub(crate) fn advance(&mut self, now: Instant) {
        let Some(playing) = &mut self.playing else { return };
        let passed_s = now.saturating_duration_since(playing.at).as_secs_f64();
        playing.at = playing.at.max(now);
        if playing.stalled {
            self.lowest_s = Some(0.0);
            return;
        }
        let (left_s, empty_s) = play(playing, passed_s);
        playing.buffer_s = left_s;
        self.lowest_s = Some(self.lowest_s.map_or(left_s, |lowest_s| lowest_s.min(left_s)));
        if let Some(empty_s) = empty_s {
            playing.stalled = true;
            self.stalls_total += 1;
            if self.stalls.len() == STALLS_MAX {
                self.stalls.remove(0);
            }
            let began = now.checked_sub(Duration::from_secs_f64(empty_s)).unwrap_or(now);
            self.stalls.push(Stall { began, took: None });
        }
    }
}

/// What is left in the buffer after this time, and how long it has been empty if nothing is.
fn play(playing: &mut Playing, passed_s: f64) -> (f64, Option<f64>) {
    let behind_s = playing.buffer_s - playing.target_s;
    playing.faster = behind_s > BEHIND_S || (playing.faster && behind_s > NEAR_S);
    let rate = if playing.faster { FASTER_RATE } else { 1.0 };
    // What lies above the thin end first, then that.
    let above_s = (playing.buffer_s - THIN_S).max(0.0);
    let above_takes_s = above_s / rate;
    if passed_s <= above_takes_s {
        return (playing.buffer_s - passed_s * rate, None);
    }
    let thin_s = playing.buffer_s - above_s;
    let left_s = thin_s - (passed_s - above_takes_s) * THIN_RATE;
    if left_s >= 0.0 { (left_s, None) } else { (0.0, Some(-left_s / THIN_RATE)) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn after(began: Instant, ms: u64) -> Instant {
        began + Duration::from_millis(ms)
    }

    #[test]
    fn parts_in_time_are_played_without_a_stop() {
        let (mut pace, began) = (Pace::default(), Instant::now());
        pace.begin(1.8, 0.6, began);
        for part in 1..100 {
            pace.add(0.2, after(began, part * 200));
        }
        assert_eq!(pace.stalls_total, 0);
        let lowest_s = pace.lowest_s.unwrap();
        assert!((0.64..0.66).contains(&lowest_s), "{lowest_s}");
    }

    /// 0.85 s are there: 0.6 s of them at full speed, 0.25 s at nine tenths of it, which takes 0.278 s.
    #[test]
    fn a_part_that_comes_too_late_is_a_stop_of_what_it_is_late() {
        let (mut pace, began) = (Pace::default(), Instant::now());
        pace.begin(2.0, 0.6, began);
        pace.add(0.2, after(began, 1878));
        assert_eq!(pace.stalls_total, 1);
        let took_ms = pace.stalls[0].took.unwrap().as_millis();
        assert!((998..=1002).contains(&took_ms), "{took_ms}");
        pace.add(0.2, after(began, 1900));
        assert_eq!(pace.stalls_total, 1);
    }

    #[test]
    fn who_is_behind_catches_up_and_does_not_keep_what_a_stop_gave() {
        let (mut pace, began) = (Pace::default(), Instant::now());
        pace.begin(2.0, 0.6, began);
        pace.add(2.0, after(began, 200));
        for part in 1..200 {
            pace.add(0.2, after(began, 200 + part * 200));
        }
        let buffer_s = pace.playing.unwrap().buffer_s;
        assert!((0.8..1.15).contains(&buffer_s), "{buffer_s}");
        assert_eq!(pace.stalls_total, 0);
    }

    #[test]
    fn the_end_of_a_stream_is_no_stop() {
        let (mut pace, began) = (Pace::default(), Instant::now());
        pace.begin(2.0, 0.6, began);
        pace.end(after(began, 100));
        pace.advance(after(began, 60_000));
        assert_eq!(pace.stalls_total, 0);
    }
}
