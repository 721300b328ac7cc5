//! What a child knows of one parent, and whether it may be asked. Refuses to forgive a forger.

use stream::Millis;

use crate::part::{PartId, Stripes};

/// A first fault that is no forgery keeps a parent out this long; each further one twice as long.
pub(crate) const DEMOTED_MS: u64 = 10_000;
/// The same where it was only silent: often a line or a machine that stood still for a moment.
pub(crate) const SILENT_MS: u64 = 3_000;
/// The longest that silence keeps a parent out: a box that was pulled from the wall is needed again once it is back.
const SILENT_MS_MAX: u64 = 12_000;
/// So long without silence makes earlier ones forgotten.
const SILENT_FORGOTTEN_MS: u64 = 60_000;
/// The longest that a fault which is no forgery keeps a parent out.
pub(crate) const DEMOTED_MS_MAX: u64 = 600_000;
/// Good behaviour for so long makes earlier faults forgotten.
const FORGOTTEN_MS: u64 = 600_000;
/// After a dial that failed; doubled each time.
const DIAL_MS: u64 = 250;
const DIAL_MS_MAX: u64 = 15_000;
/// The longest while nobody is heard: then it is the line of this box, and the others are there once it is back.
const DIAL_MS_MAX_UNHEARD: u64 = 1_000;
/// After a parent said that it has no room; doubled each time. Places come free as others move, soon after one is gone.
const REFUSED_MS: u64 = 300;
const REFUSED_MS_MAX: u64 = 2_400;
/// A parent that said that it leaves is not asked for so long.
const LEAVING_MS: u64 = 60_000;
/// Blocks that nobody asked it for; one more is a fault.
const STRAYS_MAX: u8 = 16;

/// Why a parent is not trusted with more.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Fault {
    /// A block or header that fails its check, or an epoch of the past as if it were live: out for good.
    Forged,
    /// Many blocks that it was not asked for.
    NotAsked,
    /// It said that it has a block and hasn't.
    Lied,
    /// Only parts that are long over.
    Stale,
    /// It lives, but has nothing yet: not its fault, when many begin at once, and never held against it later.
    Empty,
    /// Nothing comes from it, while others go on.
    Silent,
    /// Headers come, but no blocks, while others bring theirs.
    Starved,
    /// Its blocks had to be pulled from others again and again.
    Slow,
}

/// How a feed ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Loss {
    /// The dial failed, or the connection broke.
    Failed,
    /// It has no room.
    Refused,
    /// It said that it goes.
    Leaving,
    /// The stream is over, it says.
    Ended,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Standing {
    Good,
    Demoted { until: Millis },
    Leaving { until: Millis },
    Banned,
}

#[derive(Clone, Debug)]
pub(crate) struct Parent {
    pub(crate) score: u32,
    pub(crate) round_trip_ms: u64,
    pub(crate) assigned: Stripes,
    pub(crate) barred: Stripes,
    pub(crate) heir: Stripes,
    /// In the newest list of candidates.
    pub(crate) listed: bool,
    standing: Standing,
    /// The last fault was silence: it may be gone.
    silent: bool,
    faults: u32,
    silences: u32,
    dials_failed: u32,
    refusals: u32,
    not_before: Millis,
    strays: u8,
    /// The newest part that it showed.
    pub(crate) newest: Option<PartId>,
    /// Anything at all came.
    pub(crate) heard: Option<Millis>,
    /// A block came.
    pub(crate) gave: Option<Millis>,
    /// Pulls that are under way.
    pub(crate) pulls: u8,
}

/// `base` doubled so many times, at most `max`.
fn doubled(base: u64, times: u32, max: u64) -> u64 {
    base.saturating_mul(1 << times.min(20)).min(max)
}

impl Parent {
    pub(crate) const fn new() -> Self {
        Self {
            score: 0,
            round_trip_ms: 0,
            assigned: Stripes::NONE,
            barred: Stripes::NONE,
            heir: Stripes::NONE,
            listed: false,
            standing: Standing::Good,
            silent: false,
            faults: 0,
            silences: 0,
            dials_failed: 0,
            refusals: 0,
            not_before: Millis(0),
            strays: 0,
            newest: None,
            heard: None,
            gave: None,
            pulls: 0,
        }
    }

    pub(crate) fn is_banned(&self) -> bool {
        self.standing == Standing::Banned
    }

    /// Its last dial failed.
    pub(crate) const fn is_missed(&self) -> bool {
        self.dials_failed > 0
    }

    /// What it is worth where one is chosen: with each dial that failed a part of its score.
    pub(crate) fn worth(&self) -> u64 {
        u64::from(self.score) * 64 / u64::from(1 + self.dials_failed + self.refusals)
    }

    /// Out for a time, by its fault or its word.
    pub(crate) fn is_out(&self, now: Millis) -> bool {
        match self.standing {
            Standing::Good => false,
            Standing::Demoted { until } | Standing::Leaving { until } => now < until,
            Standing::Banned => true,
        }
    }

    /// Out because nothing came from it any more: it may be gone.
    pub(crate) fn is_lost(&self, now: Millis) -> bool {
        self.silent && self.is_out(now)
    }

    /// What it carries may stay with it.
    pub(crate) fn keeps(&self, stripe: u8, now: Millis) -> bool {
        self.listed && !self.is_out(now) && !self.barred.contains(stripe)
    }

    /// It may be asked for another feed.
    pub(crate) fn opens(&self, now: Millis) -> bool {
        self.listed && !self.is_out(now) && now >= self.not_before
    }

    /// For want of any other it may be asked although it is demoted.
    pub(crate) fn opens_in_need(&self, now: Millis) -> bool {
        let leaves = matches!(self.standing, Standing::Leaving { .. });
        self.listed && !self.is_banned() && !leaves && now >= self.not_before
    }

    /// When it can be asked again, if it is out or backs off.
    pub(crate) fn back_at(&self, now: Millis) -> Option<Millis> {
        let until = match self.standing {
            Standing::Good => self.not_before,
            Standing::Demoted { until } | Standing::Leaving { until } => until.max(self.not_before),
            Standing::Banned => return None,
        };
        (until > now).then_some(until)
    }

    /// Takes it out. Returns until when; `None` is for good.
    pub(crate) fn handle_fault(&mut self, fault: Fault, now: Millis) -> Option<Millis> {
        if fault == Fault::Forged || self.is_banned() {
            self.standing = Standing::Banned;
            return None;
        }
        if let Standing::Demoted { until } = self.standing {
            let good_ms = now.since(until);
            self.faults = if good_ms < FORGOTTEN_MS { self.faults } else { 0 };
            self.silences = if good_ms < SILENT_FORGOTTEN_MS { self.silences } else { 0 };
        }
        self.silent = fault == Fault::Silent;
        let out_ms = match fault {
            Fault::Silent => doubled(SILENT_MS, self.silences, SILENT_MS_MAX),
            Fault::Empty => DEMOTED_MS,
            Fault::Forged | Fault::NotAsked | Fault::Lied | Fault::Stale | Fault::Starved | Fault::Slow => {
                doubled(DEMOTED_MS, self.faults, DEMOTED_MS_MAX)
            }
        };
        let until = now.plus(out_ms);
        self.silences += u32::from(fault == Fault::Silent);
        self.faults += u32::from(!matches!(fault, Fault::Empty | Fault::Silent));
        self.strays = 0;
        self.standing = Standing::Demoted { until };
        Some(until)
    }

    /// `hears`: something came from anybody at all a moment ago.
    pub(crate) fn handle_loss(&mut self, why: Loss, hears: bool, now: Millis) {
        match why {
            // Feeds that were asked for together fail together, and count once.
            Loss::Failed | Loss::Ended if now < self.not_before => {}
            Loss::Failed | Loss::Ended => {
                let most = if hears { DIAL_MS_MAX } else { DIAL_MS_MAX_UNHEARD };
                let wait_ms = doubled(DIAL_MS, self.dials_failed, most);
                self.not_before = now.plus(wait_ms);
                self.dials_failed += u32::from(wait_ms < most);
            }
            Loss::Refused => {
                self.not_before = now.plus(doubled(REFUSED_MS, self.refusals, REFUSED_MS_MAX));
                self.refusals += 1;
            }
            Loss::Leaving => self.handle_leaving(now),
        }
    }

    pub(crate) fn handle_leaving(&mut self, now: Millis) {
        if !self.is_banned() {
            self.standing = Standing::Leaving { until: now.plus(LEAVING_MS) };
        }
    }

    /// A feed gave something, so dials are worth their time.
    pub(crate) const fn handle_fed(&mut self) {
        self.dials_failed = 0;
    }

    /// It gives all that it was asked for last.
    pub(crate) const fn handle_room(&mut self) {
        self.refusals = 0;
    }

    /// Whether that was one too many. What comes after it was taken out is no further fault.
    pub(crate) fn handle_stray(&mut self, now: Millis) -> bool {
        self.strays = self.strays.saturating_add(1);
        !self.is_out(now) && self.strays > STRAYS_MAX
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn faults_keep_out_for_a_growing_time_and_forgery_for_good() {
        let mut parent = Parent { listed: true, ..Parent::new() };
        assert_eq!(parent.handle_fault(Fault::Slow, Millis(0)), Some(Millis(10_000)));
        assert!(parent.is_out(Millis(9_999)) && !parent.is_out(Millis(10_000)));
        assert_eq!(parent.handle_fault(Fault::Slow, Millis(20_000)), Some(Millis(40_000)));
        for _ in 0..30 {
            parent.handle_fault(Fault::Lied, Millis(50_000));
        }
        assert_eq!(parent.handle_fault(Fault::Lied, Millis(50_000)), Some(Millis(650_000)));
        assert_eq!(parent.handle_fault(Fault::Slow, Millis(1_250_000)), Some(Millis(1_260_000)), "forgotten");
        assert_eq!(parent.handle_fault(Fault::Forged, Millis(2_000_000)), None);
        assert_eq!(parent.handle_fault(Fault::Slow, Millis(2_000_000)), None, "still for good");
        parent.handle_leaving(Millis(2_000_000));
        assert!(parent.is_banned() && !parent.opens_in_need(Millis(u64::MAX)));
    }

    #[test]
    fn dials_and_refusals_back_off() {
        let mut parent = Parent { listed: true, ..Parent::new() };
        parent.handle_loss(Loss::Failed, true, Millis(0));
        parent.handle_loss(Loss::Failed, true, Millis(10));
        assert!(!parent.opens(Millis(249)) && parent.opens(Millis(250)), "two that failed at once are one");
        parent.handle_loss(Loss::Failed, true, Millis(1000));
        assert!(!parent.opens(Millis(1499)) && parent.opens(Millis(1500)));
        parent.handle_loss(Loss::Refused, true, Millis(2000));
        assert!(parent.keeps(0, Millis(2000)), "what it carries stays");
        assert!(!parent.opens(Millis(2299)) && parent.opens(Millis(2300)));
        parent.handle_loss(Loss::Leaving, true, Millis(8000));
        assert!(!parent.keeps(0, Millis(8000)) && !parent.opens_in_need(Millis(8000)));
    }

    #[test]
    fn dials_of_a_box_that_hears_nobody_go_on() {
        let mut parent = Parent { listed: true, ..Parent::new() };
        let mut now = Millis(0);
        for _ in 0..30 {
            parent.handle_loss(Loss::Failed, false, now);
            now = parent.back_at(now).unwrap();
        }
        assert!(now <= Millis(30_000));
        parent.handle_loss(Loss::Failed, true, now);
        assert_eq!(parent.back_at(now), Some(now.plus(1_000)), "and what comes later doubles from there");
        now = now.plus(1_000);
        parent.handle_loss(Loss::Failed, true, now);
        assert_eq!(parent.back_at(now), Some(now.plus(2_000)));
    }

    #[test]
    fn silence_keeps_out_for_seconds_however_often() {
        let mut parent = Parent { listed: true, ..Parent::new() };
        let mut now = Millis(0);
        for out_ms in [3_000, 6_000, 12_000, 12_000] {
            assert_eq!(parent.handle_fault(Fault::Silent, now), Some(now.plus(out_ms)));
            now = now.plus(out_ms + 30_000);
        }
        assert_eq!(parent.handle_fault(Fault::Slow, now), Some(now.plus(10_000)), "no fault of another kind");
        now = now.plus(10_000 + 60_000);
        assert_eq!(parent.handle_fault(Fault::Silent, now), Some(now.plus(3_000)), "forgotten");
        assert_eq!(parent.handle_fault(Fault::Slow, now), Some(now.plus(20_000)), "not forgotten");
    }
}
