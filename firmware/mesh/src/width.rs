//! How long a packet may be that a path carries: path MTU discovery by probes alone (RFC 8899).
//!
//! ```text
//!         packets flow, time to search          answered: that length
//! Holding ──────────────────────────> Searching ─────────────────────> Holding
//!    │  ^                                 └── all candidates lost ────────^
//!    │  └───── answered ─────┐
//!    └── now and then ──> Confirming ── lost LOST_MAX times: a black hole, INNER_MTU ─┐
//!                            ^ └── lost BASE_LOST_MAX times: it swallows that as well │
//!                            └────────────────────────────────────────────────────────┘
//! ```
//! A path begins with [`INNER_MTU`], which it had to carry before it was used (BASE_PLPMTU), and which it is asked for
//! again and again while packets flow. What goes by others than routers stays at that. Refuses to believe routers
//! that say how long a packet may be, since anybody can say so; and to have two probes on their way at once. A lost
//! probe is no sign of a full line (RFC 8899, 3).

use alloc::collections::VecDeque;
use core::time::Duration;

use crate::message::ProbeId;
use crate::{INNER_MTU, INNER_MTU_MAX};

/// What is tried, the longest first: what usual links leave (1500 bytes by IPv6; 1492 of PPPoE by IPv6; 1460 of DS-Lite;
/// 1428 of mobile networks; 1400), and most are multiples of 16, to which WireGuard pads.
pub(crate) const CANDIDATES: [u16; 5] = [INNER_MTU_MAX, 1408, 1392, 1360, 1328];

/// Probes of one length before it counts as too long (MAX_PROBES).
const TRIES: u8 = 3;
/// Confirmations in a row without an answer, after which longer packets count as swallowed.
const LOST_MAX: u8 = 4;
/// The same of [`INNER_MTU`], after which a path is none any more: with one datagram in twenty lost each way that happens
/// once in a million times to a path that is well.
const BASE_LOST_MAX: u8 = 6;
/// How long an answer is waited for at least (PROBE_TIMER is for a path without a known round trip).
const PATIENCE_MIN: Duration = Duration::from_millis(400);
/// Before a longer length is tried again (PMTU_RAISE_TIMER).
const RAISE_EVERY: Duration = Duration::from_secs(600);
/// The same after nothing longer came through, or it did and then no more; twice as long each time.
const REST_FIRST: Duration = Duration::from_secs(60);
/// Probes whose answers may be late.
const SENT_MAX: usize = 8;
/// Confirmations in a row without an answer, after which the next ones are waited for twice as long: a line that fills up
/// answers late at first.
const PATIENT_AFTER: u8 = 3;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    Holding,
    /// A number among [`CANDIDATES`].
    Searching {
        candidate: usize,
        lost: u8,
    },
    Confirming {
        lost: u8,
    },
}

#[derive(Debug)]
pub(crate) struct Width {
    /// The longest that came through.
    confirmed: u16,
    /// Whether longer ones are tried.
    searches: bool,
    /// Packets of [`INNER_MTU`] do not come through any more.
    swallows: bool,
    phase: Phase,
    sent: VecDeque<(ProbeId, u16)>,
    /// An answer to the newest probe is waited for until then.
    waits: Option<Duration>,
    /// Not searched before then.
    search_at: Duration,
    rest: Duration,
    /// When the last search ended.
    since: Duration,
}

impl Width {
    /// Of a path by routers alone, where longer packets are tried, or of another one.
    pub(crate) const fn new(searches: bool, now: Duration) -> Self {
        Self {
            confirmed: INNER_MTU,
            searches,
            swallows: false,
            phase: Phase::Holding,
            sent: VecDeque::new(),
            waits: None,
            search_at: now,
            rest: REST_FIRST,
            since: now,
        }
    }

    /// The longest packet inside of the tunnel, bytes: from [`INNER_MTU`] to [`INNER_MTU_MAX`].
    pub(crate) const fn mtu(&self) -> u16 {
        self.confirmed
    }

    /// Whether not even packets of [`INNER_MTU`] come through any more; says so once.
    pub(crate) fn take_swallows(&mut self) -> bool {
        core::mem::take(&mut self.swallows)
    }

    /// Packets flow: what was found is to be found again, soon.
    pub(crate) fn confirm(&mut self) {
        if self.phase == Phase::Holding {
            self.phase = Phase::Confirming { lost: 0 };
        }
    }

    /// When [`Self::handle_timeout`] or [`Self::poll_probe`] have something to do, if packets flow until then.
    pub(crate) fn next(&self, active_until: Option<Duration>) -> Option<Duration> {
        match self.phase {
            Phase::Holding => {
                let flows = active_until.is_some_and(|until| self.search_at < until);
                (flows && self.longest().is_some()).then_some(self.search_at)
            }
            Phase::Searching { .. } | Phase::Confirming { .. } => Some(self.waits.unwrap_or(Duration::ZERO)),
        }
    }

    /// Counts what was lost, and begins a search when it is time and packets flow.
    pub(crate) fn handle_timeout(&mut self, active: bool, now: Duration) {
        let is_lost = self.waits.take_if(|waits| *waits <= now).is_some();
        match self.phase {
            Phase::Holding if active && now >= self.search_at => {
                if let Some(candidate) = self.longest() {
                    self.phase = Phase::Searching { candidate, lost: 0 };
                }
            }
            Phase::Searching { candidate, lost } if is_lost => {
                let shorter = candidate + 1;
                self.phase = if lost + 1 < TRIES {
                    Phase::Searching { candidate, lost: lost + 1 }
                } else if CANDIDATES.get(shorter).is_some_and(|next| *next > self.confirmed) {
                    Phase::Searching { candidate: shorter, lost: 0 }
                } else {
                    self.rest(now)
                };
            }
            Phase::Confirming { lost } if is_lost => self.phase = self.missed(lost + 1, now),
            Phase::Holding | Phase::Searching { .. } | Phase::Confirming { .. } => {}
        }
    }

    /// So many confirmations in a row were lost.
    fn missed(&mut self, lost: u8, now: Duration) -> Phase {
        if self.confirmed > INNER_MTU && lost >= LOST_MAX {
            // What else is swallowed is asked at once.
            self.confirmed = INNER_MTU;
            self.sent.clear();
            self.rest(now);
            return Phase::Confirming { lost: 0 };
        }
        if lost >= BASE_LOST_MAX {
            self.swallows = true;
            return Phase::Holding;
        }
        Phase::Confirming { lost }
    }

    /// The length of the packet in which this probe is to go, if one is due. `round_trip` is the path's.
    pub(crate) fn poll_probe(&mut self, id: ProbeId, round_trip: Duration, now: Duration) -> Option<u16> {
        if self.waits.is_some() {
            return None;
        }
        let len = match self.phase {
            Phase::Holding => return None,
            Phase::Searching { candidate, .. } => CANDIDATES[candidate],
            Phase::Confirming { .. } => self.confirmed,
        };
        let patience = (round_trip * 3).max(PATIENCE_MIN);
        let is_late = matches!(self.phase, Phase::Confirming { lost } if lost >= PATIENT_AFTER);
        self.waits = Some(now + if is_late { patience * 2 } else { patience });
        if self.sent.len() >= SENT_MAX {
            self.sent.pop_front();
        }
        self.sent.push_back((id, len));
        Some(len)
    }

    /// `false` for an answer to a probe that was none of these. A late one counts as well: it came through.
    pub(crate) fn handle_answer(&mut self, id: ProbeId, now: Duration) -> bool {
        let Some(at) = self.sent.iter().position(|(sent, _)| *sent == id) else { return false };
        let Some((_, len)) = self.sent.remove(at) else { return false };
        if len < self.confirmed {
            return true;
        }
        let is_longer = len > self.confirmed;
        self.confirmed = len;
        match self.phase {
            Phase::Searching { .. } if is_longer => {
                (self.phase, self.waits) = (Phase::Holding, None);
                (self.since, self.search_at) = (now, now + RAISE_EVERY);
            }
            Phase::Confirming { .. } => {
                (self.phase, self.waits) = (Phase::Holding, None);
                if len > INNER_MTU && now.saturating_sub(self.since) >= RAISE_EVERY {
                    self.rest = REST_FIRST;
                }
            }
            Phase::Holding | Phase::Searching { .. } => {}
        }
        true
    }

    /// The longest candidate, if it is not what comes through already.
    fn longest(&self) -> Option<usize> {
        (self.searches && self.confirmed < CANDIDATES[0]).then_some(0)
    }

    /// After a search that found nothing, or a find that is lost again.
    fn rest(&mut self, now: Duration) -> Phase {
        let rest = if self.confirmed > INNER_MTU { RAISE_EVERY } else { self.rest };
        self.rest = (self.rest * 2).min(RAISE_EVERY);
        (self.since, self.search_at) = (now, now + rest);
        Phase::Holding
    }
}

#[cfg(test)]
mod tests {
    use std::vec::Vec;

    use proptest::prelude::*;

    use super::*;

    const TRIP: Duration = Duration::from_millis(40);

    fn ms(millis: u64) -> Duration {
        Duration::from_millis(millis)
    }

    /// A path whose length changes with time, and a width that measures it.
    struct Run {
        width: Width,
        now: Duration,
        probes: Vec<(Duration, u16)>,
        number: u64,
    }

    impl Run {
        fn new() -> Self {
            Self { width: Width::new(true, ms(1000)), now: ms(1000), probes: Vec::new(), number: 0 }
        }

        /// Plays on while packets flow; `carries` says whether a probe of that length is answered just then.
        fn play(&mut self, seconds: u64, mut carries: impl FnMut(u16, Duration) -> bool) {
            let end = self.now + Duration::from_secs(seconds);
            let mut answer = None;
            while self.now < end {
                if self.now.as_millis().is_multiple_of(5000) {
                    self.width.confirm();
                }
                if let Some((id, _)) = answer.take_if(|(_, at): &mut (ProbeId, Duration)| *at <= self.now) {
                    assert!(self.width.handle_answer(id, self.now));
                }
                self.width.handle_timeout(true, self.now);
                let id = ProbeId(self.number);
                if let Some(len) = self.width.poll_probe(id, TRIP, self.now) {
                    self.number += 1;
                    self.probes.push((self.now, len));
                    answer = carries(len, self.now).then_some((id, self.now + TRIP));
                }
                self.now += ms(10);
            }
        }
    }

    #[test]
    fn the_longest_that_comes_through_is_found() {
        for (most, found) in
            [(1500, 1420), (1419, 1408), (1400, 1392), (1391, 1360), (1330, 1328), (1327, 1280)]
        {
            let mut run = Run::new();
            run.play(10, |len, _| len <= most);
            assert_eq!(run.width.mtu(), found, "{most}");
        }
    }

    #[test]
    fn the_longest_takes_one_probe_and_the_shortest_three_of_each() {
        let mut run = Run::new();
        run.play(2, |_, _| true);
        assert_eq!(run.probes, [(ms(1000), 1420)]);
        let mut run = Run::new();
        run.play(8, |_, _| false);
        let lens: Vec<u16> = run.probes.iter().map(|(_, len)| *len).collect();
        assert_eq!(lens, [[1420; 3], [1408; 3], [1392; 3], [1360; 3], [1328; 3]].concat());
        assert_eq!(run.width.mtu(), 1280);
    }

    #[test]
    fn a_black_hole_is_left_within_seconds_and_tried_again_later_and_later() {
        let mut run = Run::new();
        run.play(4, |_, _| true);
        let short = |len: u16, _: Duration| len <= 1280;
        run.play(8, short);
        assert_eq!(run.width.mtu(), 1280, "five seconds to the next confirmation, and four that are lost");
        run.probes.clear();
        run.play(3600, short);
        let long: Vec<_> = run.probes.iter().filter(|(_, len)| *len > 1280).collect();
        let searches: Vec<u64> = long.iter().step_by(15).map(|(at, _)| at.as_secs()).collect();
        let waits: Vec<u64> = searches.windows(2).map(|pair| pair[1] - pair[0]).collect();
        assert_eq!(searches.len() * 15, long.len());
        assert!(!run.width.take_swallows());
        // Each search takes six seconds; the first wait was 60 s and is past.
        assert_eq!(waits, [126, 246, 486, 606, 606, 606, 606]);
        run.play(620, |_, _| true);
        assert_eq!(run.width.mtu(), 1420);
    }

    #[test]
    fn a_path_that_swallows_the_shortest_as_well_is_found_out_within_seconds() {
        // From the longest, from the shortest, and through others, where no longer ones are tried.
        for (searches, most) in [(true, 1420), (true, 1280), (false, 1420)] {
            let mut run = Run { width: Width::new(searches, ms(1000)), ..Run::new() };
            run.play(11, |len, _| len <= most);
            assert_eq!(
                (run.width.mtu(), run.width.take_swallows()),
                (if searches { most } else { 1280 }, false)
            );
            // Five seconds at most until it is looked at, 1.6 s for the longest, and 3.6 s for the shortest.
            run.play(11, |_, _| false);
            assert!(run.width.take_swallows() && !run.width.take_swallows(), "said once");
            assert_eq!(run.width.mtu(), 1280);
        }
    }

    #[test]
    fn five_lost_in_a_row_or_late_ones_are_no_black_hole() {
        let mut width = Width::new(false, ms(0));
        let lose = |width: &mut Width, number: u64, from: u64, wait: u64| {
            assert_eq!(width.poll_probe(ProbeId(number), TRIP, ms(from)), Some(1280));
            width.handle_timeout(true, ms(from + wait - 1));
            assert_eq!(width.poll_probe(ProbeId(99), TRIP, ms(from + wait - 1)), None, "still waited for");
            width.handle_timeout(true, ms(from + wait));
        };
        width.confirm();
        for (number, (from, wait)) in (1..).zip([(0, 400), (400, 400), (800, 400), (1200, 800), (2000, 800)])
        {
            lose(&mut width, number, from, wait);
        }
        assert_eq!(width.poll_probe(ProbeId(6), TRIP, ms(2800)), Some(1280));
        // To the first one.
        assert!(width.handle_answer(ProbeId(1), ms(2900)));
        width.handle_timeout(true, ms(10_000));
        assert!(!width.take_swallows());
        assert_eq!(width.poll_probe(ProbeId(7), TRIP, ms(10_000)), None);
    }

    #[test]
    fn a_longer_length_is_tried_again_after_ten_minutes() {
        let mut run = Run::new();
        run.play(20, |len, _| len <= 1400);
        run.play(570, |_, _| true);
        assert_eq!(run.width.mtu(), 1392);
        run.play(40, |_, _| true);
        assert_eq!(run.width.mtu(), 1420);
    }

    #[test]
    fn a_late_answer_counts_and_a_strange_one_does_not() {
        let mut width = Width::new(true, ms(0));
        width.handle_timeout(true, ms(0));
        assert_eq!(width.poll_probe(ProbeId(1), TRIP, ms(0)), Some(1420));
        assert_eq!(width.poll_probe(ProbeId(2), TRIP, ms(10)), None, "one at a time");
        width.handle_timeout(true, ms(400));
        assert_eq!(width.poll_probe(ProbeId(2), TRIP, ms(400)), Some(1420));
        assert!(!width.handle_answer(ProbeId(3), ms(410)));
        assert!(width.handle_answer(ProbeId(1), ms(410)));
        assert_eq!(width.mtu(), 1420);
        assert!(!width.handle_answer(ProbeId(1), ms(420)), "each counts once");
    }

    #[test]
    fn an_idle_path_is_not_probed() {
        let mut width = Width::new(true, ms(0));
        width.handle_timeout(false, ms(0));
        assert_eq!((width.poll_probe(ProbeId(1), TRIP, ms(0)), width.next(None)), (None, None));
    }

    proptest! {
        /// Whatever a path does: a length that does not come through is left in time; where the path stays as it is, the
        /// right one is found; and there are never many probes.
        #[test]
        fn any_path_is_measured(mosts in proptest::collection::vec(1280_u16..1500, 1..6), loss in 0_u8..10, seed: u64) {
            let (mut run, mut state) = (Run::new(), seed | 1);
            let mut lost = move || {
                state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
                (state >> 33) % 100 < u64::from(loss)
            };
            for most in &mosts {
                run.play(100, |len, _| len <= *most && !lost());
                prop_assert!(loss > 0 || !run.width.take_swallows());
                prop_assert!((1280..=1420).contains(&run.width.mtu()));
                // A hundred seconds are enough to leave a length that does not come through any more.
                prop_assert!(run.width.mtu() <= *most, "{} on {most}", run.width.mtu());
            }
            if loss == 0 {
                let most = *mosts.last().expect("one at least");
                run.play(1300, |len, _| len <= most);
                let right = CANDIDATES.into_iter().find(|len| *len <= most).unwrap_or(1280);
                prop_assert_eq!(run.width.mtu(), right);
            }
            let seconds = run.now.as_secs();
            prop_assert!(run.probes.len() as u64 <= seconds, "{} probes in {seconds} s", run.probes.len());
        }
    }
}
