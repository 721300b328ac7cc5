//! Measures a publisher's frame rate and keyframe interval from its decoding times.

use alloc::collections::VecDeque;

use crate::track::Ticks;

/// Distances between frames that a measurement is made of.
const DISTANCES: usize = 16;
/// Fewer than these say nothing.
const DISTANCES_MIN: usize = 7;
/// A longer distance is a pause, not a frame rate.
const DISTANCE_MAX: Ticks = Ticks::from_secs(4);
/// Stamps are milliseconds: what is closer was moved apart by repairs.
const FRAME_MIN: Ticks = Ticks::from_millis(1);
/// Used while nothing was measured.
const FRAME_UNKNOWN: Ticks = Ticks(3000);

/// Rates that encoders are set to; a measurement within half a percent of one is that one.
const WHOLE_RATES_MILLI: [u32; 13] =
    [1000, 5000, 10_000, 12_000, 15_000, 20_000, 24_000, 25_000, 30_000, 48_000, 50_000, 60_000, 120_000];

#[derive(Clone, Debug, Default)]
pub struct Pace {
    last: Option<Ticks>,
    distances: VecDeque<Ticks>,
    last_keyframe: Option<Ticks>,
    keyframe_interval: Option<Ticks>,
    keyframe_interval_max: Option<Ticks>,
}

impl Pace {
    pub(super) fn handle_frame(&mut self, dts: Ticks, keyframe: bool) {
        if let Some(last) = self.last.replace(dts) {
            let distance = dts - last;
            if distance > Ticks::ZERO && distance <= DISTANCE_MAX {
                if self.distances.len() == DISTANCES {
                    self.distances.pop_front();
                }
                self.distances.push_back(distance);
            }
        }
        if keyframe && let Some(last) = self.last_keyframe.replace(dts) {
            self.keyframe_interval = Some(dts - last);
            self.keyframe_interval_max = self.keyframe_interval_max.max(Some(dts - last));
        }
    }

    pub(super) fn is_known(&self) -> bool {
        self.distances.len() >= DISTANCES_MIN
    }

    /// The usual distance between two frames: the mean of those that are near the median, so that a pause or a
    /// dropped frame does not count.
    #[must_use]
    pub fn frame(&self) -> Ticks {
        let mut sorted = self.distances.iter().copied().collect::<alloc::vec::Vec<_>>();
        sorted.sort_unstable();
        let Some(median) = sorted.get(sorted.len() / 2).copied() else { return FRAME_UNKNOWN };
        let near = sorted.iter().filter(|distance| (**distance - median).abs().0 * 4 <= median.0);
        let (sum, count) = near.fold((0, 0), |(sum, count), distance| (sum + distance.0, count + 1));
        Ticks(sum / count.max(1)).max(FRAME_MIN)
    }

    /// Frames per 1000 seconds.
    #[must_use]
    pub fn frame_rate_milli(&self) -> u32 {
        let measured = (Ticks::RATE * 1000 / self.frame().0) as u32;
        let near = |rate: &&u32| rate.abs_diff(measured) * 200 <= **rate;
        WHOLE_RATES_MILLI.iter().find(near).copied().unwrap_or(measured)
    }

    /// Distance of the two newest keyframes.
    #[must_use]
    pub fn keyframe_interval(&self) -> Option<Ticks> {
        self.keyframe_interval
    }

    /// The longest distance of two keyframes so far.
    #[must_use]
    pub fn keyframe_interval_max(&self) -> Option<Ticks> {
        self.keyframe_interval_max
    }

    /// Since the newest keyframe: grows beyond the interval when an encoder makes none.
    #[must_use]
    pub fn since_keyframe(&self) -> Option<Ticks> {
        Some(self.last? - self.last_keyframe?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(stamps_ms: &[i64], rate_milli: u32) {
        let mut pace = Pace::default();
        for stamp in stamps_ms {
            pace.handle_frame(Ticks::from_millis(*stamp), false);
        }
        assert_eq!(pace.frame_rate_milli(), rate_milli);
    }

    #[test]
    fn rates_are_read_through_rounded_milliseconds() {
        check(&[0, 33, 67, 100, 133, 167, 200, 233, 267], 30_000);
        check(&[0, 42, 83, 125, 167, 208, 250, 292], 24_000);
        check(&[0, 17, 33, 50, 67, 83, 100, 117, 133, 150], 60_000);
        check(&[0, 500, 1000], 2_000);
    }

    #[test]
    fn stamps_that_stand_still_are_no_more_than_a_thousand_frames_a_second() {
        let mut pace = Pace::default();
        (0..20).for_each(|tick| pace.handle_frame(Ticks(tick), false));
        assert_eq!(pace.frame_rate_milli(), 1_000_000);
    }

    #[test]
    fn a_pause_is_not_a_rate() {
        check(&[0, 40, 80, 120, 2000, 2040, 2080, 2120, 2160], 25_000);
    }
}
