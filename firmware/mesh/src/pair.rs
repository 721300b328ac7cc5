//! One path to one peer, and what its probes showed.
//!
//! ```text
//! burst of small probes ── answered ──> burst of probes of full length ── answered ──> carries
//!           └── all lost: quiet until the next burst            └── all lost: narrow
//! ```
//! Refuses more probes than a burst has, however often somebody asks: a path that doesn't answer costs little, and so
//! does an address that somebody else was named for.

use alloc::collections::VecDeque;
use core::time::Duration;

use crate::message::ProbeId;
use crate::schedule;
use crate::width::Width;

/// Probes of which an answer is still waited for.
const PENDING_MAX: usize = 8;
/// How long an answer may take.
const ANSWER_MAX: Duration = Duration::from_secs(4);
/// How long a path that is in use may be silent after a probe, at least; three times the round trip if that is more.
const SILENCE_MIN: Duration = Duration::from_millis(400);
/// Probes in a row without an answer, after which a path counts as lost: with one datagram in twenty lost each way that
/// happens once in 100,000 probes to a path that is well.
const LOST_MAX: u8 = 5;
/// Probes of full length, after which a path counts as narrow.
const FULL_MAX: u8 = 3;
/// Between two bursts over the same path.
const BURST_EVERY: Duration = Duration::from_secs(10);

/// How long a packet may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Carries {
    Unknown,
    /// Short packets come through, and those of [`crate::INNER_MTU`] don't.
    Narrow,
    Full,
}

#[derive(Debug)]
struct Pending {
    id: ProbeId,
    sent: Duration,
    full: bool,
}

#[derive(Debug)]
pub(crate) struct Pair {
    pending: VecDeque<Pending>,
    /// Probes left in this burst.
    left: u8,
    burst: Option<Duration>,
    next: Option<Duration>,
    answered: Option<Duration>,
    answers: u32,
    round_trip: Option<Duration>,
    /// In a row, since the last answer.
    lost: u8,
    carries: Carries,
    full_tries: u8,
    /// How long packets may be, beyond [`Carries::Full`].
    pub(crate) width: Width,
}

impl Pair {
    pub(crate) const fn new() -> Self {
        Self {
            pending: VecDeque::new(),
            left: 0,
            burst: None,
            next: None,
            answered: None,
            answers: 0,
            round_trip: None,
            lost: 0,
            carries: Carries::Unknown,
            full_tries: 0,
            width: Width::new(false, Duration::ZERO),
        }
    }

    /// Begins a burst, unless the last one was only just now; `anew` when something changed that gives new hope.
    pub(crate) fn begin(&mut self, now: Duration, anew: bool) {
        let rested = self.burst.is_none_or(|last| now.saturating_sub(last) >= BURST_EVERY);
        let running = self.left > 0;
        if !rested && (running || !anew) {
            return;
        }
        self.burst = Some(now);
        self.left = schedule::PROBES_MAX;
        self.full_tries = 0;
        self.next = Some(now);
    }

    /// One probe at `at`, outside of a burst, or sooner if one is due.
    pub(crate) fn keep(&mut self, at: Duration) {
        self.left = self.left.max(1);
        self.next = Some(self.next.map_or(at, |next| next.min(at)));
    }

    pub(crate) const fn next(&self) -> Option<Duration> {
        self.next
    }

    /// Whether a probe is due, and of which length.
    pub(crate) fn poll_probe(&mut self, id: ProbeId, now: Duration) -> Option<bool> {
        if self.next.is_none_or(|next| next > now) || self.left == 0 {
            return None;
        }
        let known = self.answered.is_some();
        let full = known && self.carries != Carries::Full && self.full_tries < FULL_MAX;
        self.full_tries += u8::from(full);
        self.left -= 1;
        let sent = schedule::PROBES_MAX.saturating_sub(self.left + 1);
        self.next = (self.left > 0).then(|| now + schedule::after_probe(sent));
        if self.pending.len() >= PENDING_MAX {
            self.pending.pop_front();
        }
        self.pending.push_back(Pending { id, sent: now, full });
        Some(full)
    }

    /// An answer that came over this path; `false` for one to a probe that did not go over it.
    pub(crate) fn handle_answer(&mut self, id: ProbeId, now: Duration) -> bool {
        let Some(at) = self.pending.iter().position(|pending| pending.id == id) else { return false };
        let Some(pending) = self.pending.remove(at) else { return false };
        let trip = now.saturating_sub(pending.sent);
        // A quarter of the news (RFC 6298 takes an eighth, for many more samples).
        self.round_trip = Some(self.round_trip.map_or(trip, |before| (before * 3 + trip) / 4));
        let first = self.answered.replace(now).is_none();
        self.answers = self.answers.saturating_add(1);
        self.lost = 0;
        if pending.full {
            self.carries = Carries::Full;
            (self.left, self.next) = (0, None);
        } else if self.carries == Carries::Full {
            (self.left, self.next) = (0, None);
        } else if first || self.full_tries == 0 {
            (self.left, self.next) = (FULL_MAX, Some(now));
        }
        true
    }

    /// Lets go of what was not answered; counts what is lost on a path that is in use.
    pub(crate) fn handle_timeout(&mut self, in_use: bool, now: Duration) {
        let patience = self.round_trip.map_or(ANSWER_MAX, |trip| (trip * 3).max(SILENCE_MIN));
        let patience = if in_use { patience.min(ANSWER_MAX) } else { ANSWER_MAX };
        while self.pending.front().is_some_and(|pending| now >= pending.sent + patience) {
            let Some(pending) = self.pending.pop_front() else { return };
            if pending.full {
                if self.full_tries >= FULL_MAX && self.carries == Carries::Unknown {
                    self.carries = Carries::Narrow;
                }
                continue;
            }
            self.lost = self.lost.saturating_add(1);
            if in_use && self.lost < LOST_MAX {
                self.keep(now);
            }
        }
    }

    /// When [`Self::handle_timeout`] has something to count.
    pub(crate) fn patience_ends(&self, in_use: bool) -> Option<Duration> {
        let patience = self.round_trip.map_or(ANSWER_MAX, |trip| (trip * 3).max(SILENCE_MIN));
        let patience = if in_use { patience.min(ANSWER_MAX) } else { ANSWER_MAX };
        self.pending.front().map(|pending| pending.sent + patience)
    }

    /// Anything authentic that came by this path, short of an answer: it is not lost.
    pub(crate) fn handle_heard(&mut self) {
        if self.answered.is_some() {
            self.lost = 0;
        }
    }

    pub(crate) const fn is_lost(&self) -> bool {
        self.lost >= LOST_MAX
    }

    /// Packets of [`crate::INNER_MTU`] do not come through any more. A burst may show that they do again.
    pub(crate) fn narrow(&mut self) {
        self.carries = Carries::Narrow;
    }

    /// Takes back that it ever answered.
    pub(crate) fn give_up(&mut self) {
        *self = Self { burst: self.burst, ..Self::new() };
    }

    pub(crate) fn is_answered(&self) -> bool {
        self.answered.is_some() && !self.is_lost()
    }

    pub(crate) const fn carries(&self) -> Carries {
        self.carries
    }

    pub(crate) const fn round_trip(&self) -> Option<Duration> {
        self.round_trip
    }

    pub(crate) const fn answers(&self) -> u32 {
        self.answers
    }

    /// Whether there is anything left to try in this burst, or an answer to wait for.
    pub(crate) fn is_busy(&self) -> bool {
        self.left > 0 || !self.pending.is_empty()
    }
}
