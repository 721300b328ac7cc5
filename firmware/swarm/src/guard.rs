//! The household's guard: how fast a box may send without its household noticing.
//!
//! As LEDBAT (RFC 6817) does it: the least delay of the last minutes is the empty line's, what comes on top of it is
//! queue, and queue is made by sending. Below the target the rate rises, slower the nearer it is; above it, it falls;
//! when the round trip rises by [`YIELD_MS`], it falls at once, whoever made the queue: for a moment if it was alone, and
//! farther and for longer if it comes again. Other than there, the measure
//! is a round trip of probes of the shell's, not the delay of the data itself, since data goes to many places; and the
//! target is a tenth of what the RFC allows, since somebody may be playing.
//!
//! It refuses to send: the shell sends no more than [`Guard::allowed_bps`], and takes children by it.

use alloc::collections::VecDeque;
use alloc::vec::Vec;

use stream::Millis;

/// Of queue, that sending may make. RFC 6817 2.5: at most 100.
pub const TARGET_MS: u64 = 10;
/// A round trip that is longer than the empty line's by this makes room at once.
pub const YIELD_MS: u64 = 30;
/// Minutes over which the empty line's round trip is remembered (RFC 6817 2.4.2: BASE_HISTORY is 10).
const BASE_MINUTES: usize = 10;
/// Samples of which the least counts as current (RFC 6817 2.4.2: CURRENT_FILTER): some are late by chance, since a machine
/// was busy and not the line. Six at ten a second look no farther back than three at five, and are late all together less
/// often.
const CURRENT_SAMPLES: usize = 6;
const MINUTE_MS: u64 = 60_000;
/// Rises by so much each second while the line is empty and the rate is far below what was too much.
const RISE_FAR_PER_MILLE: u64 = 80;
/// The same up to what the line has carried before.
const RISE_PROVEN_PER_MILLE: u64 = 160;
/// And near it.
const RISE_NEAR_PER_MILLE: u64 = 10;
/// From here on it is near, in thousandths of the rate that was too much.
const NEAR_PER_MILLE: u64 = 850;
/// And beyond this it was something else that was too much.
const PAST_PER_MILLE: u64 = 1150;
/// A rate below this share of the limit rises as fast as that would.
const RISE_FROM: u64 = 50;
/// What was too much is forgotten by so much each second: lines change.
const FORGET_PER_MILLE: u64 = 1;
/// After it yielded, the line gets so long to empty before it yields again or rises.
const DRAIN_MS: u64 = 600;
/// Of the rate at which it yields, in percent, what is left meanwhile: of a queue up to 60 ms, up to 100, and beyond.
const DRAIN_PERCENT: [u64; 3] = [85, 75, 60];
/// And what it goes back to when the queue is gone: a queue that comes again in less than [`AGAIN_MS`] is no chance, and its
/// cause is there to stay.
const BACK_PERCENT: [u64; 3] = [95, 85, 60];
const AGAIN_MS: u64 = 4_000;
/// After that it is known for so long that the rate was too much. A single queue may be anybody's, and the line carries what
/// it carried before.
const SURE_MS: u64 = 60_000;
/// Probes lost in a row that count as a full queue.
const LOST: u32 = 2;
/// A rate that is used by less than this doesn't rise (RFC 6817 2.4.1: ALLOWED_INCREASE): nobody knows what it'd do.
const USED_PER_MILLE: u64 = 750;
const QUIET_MAX: usize = 8;
const DAY_MIN: u16 = 24 * 60;

/// A time of the day in which nothing is sent, in minutes after local midnight; over midnight if `to` is before `from`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Quiet {
    pub from: u16,
    pub to: u16,
}

impl Quiet {
    #[must_use]
    pub const fn contains(&self, minute: u16) -> bool {
        let minute = minute % DAY_MIN;
        if self.from <= self.to {
            self.from <= minute && minute < self.to
        } else {
            self.from <= minute || minute < self.to
        }
    }
}

/// What the friend said.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// Never more than this, in bits per second.
    pub limit_bps: u64,
    pub paused: bool,
    /// At most 8 are looked at.
    pub quiet: Vec<Quiet>,
}

/// See the module's page.
#[derive(Clone, Debug)]
pub struct Guard {
    settings: Settings,
    minute: u16,
    rate_bps: u64,
    /// The least round trip of each of the last minutes, and when the newest began.
    base: VecDeque<u64>,
    base_since: Millis,
    current: VecDeque<u64>,
    lost: u32,
    /// The rate that was too much last.
    ceiling_bps: Option<u64>,
    yielded_at: Option<Millis>,
    /// How often before that, shortly after each other.
    yielded_before: usize,
    /// When it did so again, and sending was the cause.
    sure_at: Option<Millis>,
    /// The rate that it goes back to.
    back_bps: Option<u64>,
    last: Option<Millis>,
    /// The most that was sent while the queue was below the target.
    proven_bps: u64,
}

impl Guard {
    /// Begins at a quarter of the limit, or at what was measured before.
    #[must_use]
    pub fn new(settings: Settings, proven_bps: Option<u64>) -> Self {
        let rate_bps = proven_bps.unwrap_or(settings.limit_bps / 4).min(settings.limit_bps);
        Self {
            settings,
            minute: 0,
            rate_bps,
            base: VecDeque::new(),
            base_since: Millis(0),
            current: VecDeque::new(),
            lost: 0,
            ceiling_bps: None,
            yielded_at: None,
            yielded_before: 0,
            sure_at: None,
            back_bps: None,
            last: None,
            proven_bps: proven_bps.unwrap_or(0),
        }
    }

    pub fn handle_settings(&mut self, settings: Settings) {
        self.rate_bps = self.rate_bps.min(settings.limit_bps);
        self.settings = settings;
    }

    /// Minutes after local midnight.
    pub const fn handle_minute(&mut self, minute: u16) {
        self.minute = minute;
    }

    /// A probe of the line came back: to the first router that answers, or to the coordinator. `sent_bps` is what the
    /// box sent for others since the probe before. Ten each second.
    pub fn handle_probe(&mut self, round_trip_ms: u64, sent_bps: u64, now: Millis) {
        self.lost = 0;
        self.remember(round_trip_ms, now);
        let Some(queue) = self.queue_ms() else { return };
        let took = now.since(self.last.replace(now).unwrap_or(now)).min(1_000);
        if queue < TARGET_MS {
            self.proven_bps = self.proven_bps.max(sent_bps.min(self.rate_bps));
        }
        if queue >= YIELD_MS {
            self.give_way(Some(queue), sent_bps, now);
        } else if !self.drains(now) {
            if let Some(back) = self.back_bps.take() {
                self.rate_bps = self.rate_bps.max(back.min(self.settings.limit_bps));
            }
            self.adapt(queue, sent_bps, took, now);
        }
    }

    /// Nothing is sent for others, so nobody knows what would be too much: it may begin again as at the start, or with what
    /// the line has carried.
    pub fn handle_idle(&mut self, start_bps: Option<u64>) {
        let start = start_bps.unwrap_or(self.settings.limit_bps / 4).max(self.proven_bps);
        self.rate_bps = self.rate_bps.max(start.min(self.settings.limit_bps));
        self.ceiling_bps = None;
        self.current.clear();
    }

    /// A probe didn't come back in a second.
    pub fn handle_lost(&mut self, sent_bps: u64, now: Millis) {
        self.lost += 1;
        if self.lost >= LOST {
            self.give_way(None, sent_bps, now);
        }
    }

    /// What may be sent for others, in bits per second.
    #[must_use]
    pub fn allowed_bps(&self) -> u64 {
        let quiet = self.settings.quiet.iter().take(QUIET_MAX).any(|quiet| quiet.contains(self.minute));
        if self.settings.paused || quiet { 0 } else { self.rate_bps.min(self.settings.limit_bps) }
    }

    /// The most that the line carried without a queue: what the box says that it can give.
    #[must_use]
    pub const fn proven_bps(&self) -> u64 {
        self.proven_bps
    }

    /// How much longer than on the empty line a round trip takes, if that is known.
    #[must_use]
    pub fn queue_ms(&self) -> Option<u64> {
        let current = self.current.iter().min()?;
        Some(current.saturating_sub(*self.base.iter().min()?))
    }

    fn remember(&mut self, round_trip_ms: u64, now: Millis) {
        if self.base.is_empty() || now.since(self.base_since) >= MINUTE_MS {
            self.base.truncate(BASE_MINUTES - 1);
            self.base.push_front(round_trip_ms);
            self.base_since = now;
        } else if let Some(newest) = self.base.front_mut() {
            *newest = round_trip_ms.min(*newest);
        }
        self.current.truncate(CURRENT_SAMPLES - 1);
        self.current.push_front(round_trip_ms);
    }

    fn drains(&self, now: Millis) -> bool {
        self.yielded_at.is_some_and(|at| now.since(at) < DRAIN_MS)
    }

    /// As often as the line has had time to empty.
    fn give_way(&mut self, queue: Option<u64>, sent_bps: u64, now: Millis) {
        if self.drains(now) {
            return;
        }
        let again = self.yielded_at.replace(now).is_some_and(|at| now.since(at) < AGAIN_MS);
        self.yielded_before = if again { (self.yielded_before + 1).min(BACK_PERCENT.len() - 1) } else { 0 };
        let length = match queue {
            Some(queue) if queue < 2 * YIELD_MS => 0,
            Some(queue) if queue < 100 => 1,
            Some(_) | None => 2,
        };
        let share = |of: u64, percent: [u64; 3], at: usize| of / 100 * percent.get(at).copied().unwrap_or(60);
        // What was not used made no queue,
        let used = self.rate_bps.min(sent_bps.max(self.rate_bps / 2));
        let back = share(self.rate_bps, BACK_PERCENT, self.yielded_before);
        // and says nothing of what the line carries.
        if self.uses(sent_bps) {
            if again || self.is_sure(now) {
                self.sure_at = Some(now);
            }
            self.ceiling_bps = Some(used);
            // A queue that stays is not this box's: what the line carries is seen when that is over.
            self.proven_bps = if again { self.proven_bps } else { self.proven_bps.min(used) };
        }
        self.rate_bps = share(used, DRAIN_PERCENT, length).min(back);
        self.back_bps = Some(back);
        self.current.clear();
    }

    /// Whether it is known that the line does not carry more than the ceiling.
    fn is_sure(&self, now: Millis) -> bool {
        self.sure_at.is_some_and(|at| now.since(at) < SURE_MS)
    }

    /// Whether what is allowed is used, so that what is seen of the line comes of it.
    const fn uses(&self, sent_bps: u64) -> bool {
        sent_bps >= self.rate_bps / 1000 * USED_PER_MILLE
    }

    fn adapt(&mut self, queue: u64, sent_bps: u64, took: u64, now: Millis) {
        let is_sure = self.is_sure(now);
        if is_sure && queue > TARGET_MS && self.uses(sent_bps) {
            self.sure_at = Some(now);
        }
        let limit = self.settings.limit_bps;
        if let Some(ceiling) = &mut self.ceiling_bps {
            *ceiling += *ceiling / 1000 * FORGET_PER_MILLE * took / 1000;
        }
        self.ceiling_bps = self.ceiling_bps.filter(|ceiling| *ceiling < limit);
        if queue <= TARGET_MS {
            let per_mille = |ceiling: u64| self.rate_bps / (ceiling / 1000).max(1);
            let near = |ceiling: u64| (NEAR_PER_MILLE..PAST_PER_MILLE).contains(&per_mille(ceiling));
            let near = self.ceiling_bps.is_some_and(near);
            let is_proven = self.rate_bps < self.proven_bps;
            let step = match (near, is_proven) {
                (true, true) if !is_sure => RISE_PROVEN_PER_MILLE,
                (true, _) => RISE_NEAR_PER_MILLE,
                (false, true) => RISE_PROVEN_PER_MILLE,
                (false, false) => RISE_FAR_PER_MILLE,
            };
            // What the line has carried needs no other proof.
            let used = self.uses(sent_bps) || is_proven;
            let from = self.rate_bps.max(limit / RISE_FROM);
            let rise = from / 1000 * step * took / 1000 * (TARGET_MS - queue) / TARGET_MS;
            self.rate_bps = if used { (self.rate_bps + rise).min(limit) } else { self.rate_bps };
        } else {
            // Down as fast as the RFC's rule goes up: by what is above the target, at most as fast again.
            let over = (queue - TARGET_MS).min(TARGET_MS);
            let fall = self.rate_bps / 1000 * 2 * RISE_FAR_PER_MILLE * took / 1000 * over / TARGET_MS;
            self.rate_bps = self.rate_bps.saturating_sub(fall);
        }
    }
}

#[cfg(test)]
mod tests;
