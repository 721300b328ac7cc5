//! One box of a crowd: its machine, what it has, whom it gives, and the line by which it does.

use std::collections::BTreeMap;

use stream::Millis;
use swarm::fetch::{Config, FeedId};
use swarm::{Fetch, ParentId, PartId, Stripes};

/// Parts that a box keeps for others: 12 s.
pub(super) const KEPT: u64 = 64;
/// What would wait longer for the line is passed over.
const QUEUE_US_MAX: u64 = 2_000_000;
/// While what waits takes longer to send, nothing is given to those who pull.
const BEHIND_US: u64 = 250_000;
/// What goes out to a child that is gone before the sender's buffer is full.
const UNACKED_US: u64 = 300_000;

/// A child's feed, at the parent.
#[derive(Clone, Copy, Debug)]
pub(super) struct Out {
    pub(super) child: u32,
    pub(super) feed: FeedId,
    pub(super) stripes: Stripes,
    pub(super) from: PartId,
    /// The child went without a word.
    pub(super) gone_at: Option<u64>,
}

impl Out {
    pub(super) fn flows(&self, now: u64) -> bool {
        self.gone_at.is_none_or(|at| now < at + UNACKED_US)
    }
}

#[derive(Debug)]
pub(super) struct Member {
    pub(super) fetch: Fetch,
    pub(super) uplink_bps: u64,
    pub(super) slots: u16,
    pub(super) since: u64,
    /// By `n % KEPT`: the part, and its blocks as bits.
    parts: Vec<(u64, u32)>,
    headers: Vec<u64>,
    pub(super) outs: Vec<Out>,
    /// Its own feeds, and from whom; with how many headers each brought.
    pub(super) feeds: BTreeMap<FeedId, ParentId>,
    /// Until then its line is busy with what is queued.
    busy_until: u64,
    pub(super) wake: u64,
    /// First three parts whole, after it came.
    pub(super) began: Option<u64>,
    pub(super) whole: u64,
    pub(super) sent_bytes: u64,
    pub(super) skipped: u64,
    pub(super) header_bytes: u64,
    /// Other boxes that it had to do with.
    pub(super) met: std::collections::BTreeSet<u32>,
}

impl Member {
    pub(super) fn new(uplink_bps: u64, slots: u16, since: u64) -> Self {
        Self {
            fetch: Fetch::new(Config::default()),
            uplink_bps,
            slots,
            since,
            parts: vec![(u64::MAX, 0); usize::try_from(KEPT).unwrap_or(0)],
            headers: vec![u64::MAX; usize::try_from(KEPT).unwrap_or(0)],
            outs: Vec::new(),
            feeds: BTreeMap::new(),
            busy_until: 0,
            wake: u64::MAX,
            began: None,
            whole: 0,
            sent_bytes: 0,
            skipped: 0,
            header_bytes: 0,
            met: std::collections::BTreeSet::new(),
        }
    }

    /// The blocks of a part that are here.
    pub(super) fn blocks(&self, n: u64) -> u32 {
        self.parts.get(at(n)).filter(|(part, _)| *part == n).map_or(0, |(_, blocks)| *blocks)
    }

    pub(super) fn take(&mut self, n: u64, block: u16) {
        if let Some(slot) = self.parts.get_mut(at(n)) {
            if slot.0 != n {
                *slot = (n, 0);
            }
            slot.1 |= 1 << block;
        }
    }

    pub(super) fn has_header(&self, n: u64) -> bool {
        self.headers.get(at(n)) == Some(&n)
    }

    pub(super) fn take_header(&mut self, n: u64) {
        if let Some(slot) = self.headers.get_mut(at(n)) {
            *slot = n;
        }
    }

    /// Queues bytes on the line; says when the last of them has left. Nothing where it would leave too late to be of
    /// use. Microseconds.
    pub(super) fn send(&mut self, bytes: u64, now: u64) -> Option<u64> {
        let sent = self.busy_until.max(now) + bytes * 8 * 1_000_000 / self.uplink_bps.max(1);
        if sent > now + QUEUE_US_MAX {
            self.skipped += 1;
            return None;
        }
        self.sent_bytes += bytes;
        self.busy_until = sent;
        Some(sent)
    }

    /// More than a part waits for the line.
    pub(super) const fn is_behind(&self, now: u64) -> bool {
        self.busy_until > now + BEHIND_US
    }

    /// Whether another feed of a child has room. A child that changes its stripes doesn't count twice. For a moment
    /// there may be a quarter more than is planned: where two wait for each other's places, one has to begin.
    pub(super) fn room(&self, child: u32, stripes: Stripes) -> Stripes {
        let mut children: BTreeMap<u32, Stripes> = BTreeMap::new();
        for out in &self.outs {
            let all = children.entry(out.child).or_default();
            *all = all.and(out.stripes);
        }
        let own = children.get(&child).copied().unwrap_or_default();
        let given: u32 = children.values().map(|stripes| stripes.len()).sum();
        let free = u32::from(self.slots + (self.slots / 4).max(1)).saturating_sub(given);
        stripes.both(own).and(stripes.without(own).first(free))
    }

    pub(super) fn timeout(&self) -> u64 {
        self.fetch.poll_timeout().0.saturating_mul(1000)
    }
}

fn at(n: u64) -> usize {
    usize::try_from(n % KEPT).unwrap_or(0)
}

pub(super) const fn millis(us: u64) -> Millis {
    Millis(us / 1000)
}
