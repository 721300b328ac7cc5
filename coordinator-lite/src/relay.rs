//! Carries datagrams between boxes that no UDP reaches, over their TLS connections to the coordinator: the last resort.
//!
//! ```text
//! box ──frames──> Line ── forward: connected? within budget? ──> Outbox of the other ──> Line ──frames──> box
//! ```
//! Only between two members that are connected, and only as much as the budgets allow: one for each pair of boxes, one
//! for each friend, who pays for what the friend's boxes send. Whatever finds no room is dropped and counted, so a box
//! that reads slowly holds up nobody. Refuses to keep anything over a restart, or to look into a datagram.

mod line;
mod meter;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use serde::Serialize;
use tokio::sync::{Notify, oneshot};
use trust::{BoxKey, InviteId, Ula};
use wire::relay::{Outbox, Parcel};

pub(crate) use self::line::Pace;
use self::meter::Meter;
use crate::hub::Member;

/// Boxes that are connected at once.
const LINES_MAX: usize = 1024;
/// Boxes whose bytes are counted.
const COUNTS_MAX: usize = 4096;
/// What waits for one box: a quarter of a second at 8 Mbit/s.
const OUTBOX_BYTES_MAX: usize = 256 << 10;
const BYTES_PER_MBIT: u64 = 125_000;

/// How much may pass, in Mbit/s.
#[derive(Clone, Copy, Debug, clap::Args)]
pub(crate) struct Budget {
    /// Mbit/s that the service relays between two boxes that reach each other in no other way, both ways together.
    #[arg(long, value_name = "MBPS", default_value_t = 20, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    relay_pair_mbps: u32,
    /// Mbit/s that it relays for all boxes of one friend together, by what they send.
    #[arg(long, value_name = "MBPS", default_value_t = 40, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    relay_friend_mbps: u32,
}

/// What was relayed for one box since the service started.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub(crate) struct Relayed {
    /// Whether the box has a line at this moment.
    pub(crate) connected: bool,
    /// Bytes of its datagrams that went on to others.
    pub(crate) sent_bytes: u64,
    /// Bytes of datagrams that were put in line for it.
    pub(crate) received_bytes: u64,
    /// Datagrams of its own that were dropped: beyond a budget, or beyond what waits for the other box.
    pub(crate) dropped_datagrams: u64,
}

#[derive(Debug)]
pub(crate) struct Relay {
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    lines: BTreeMap<Ula, Place>,
    /// `connected` is not kept here.
    counts: BTreeMap<BoxKey, Relayed>,
    /// By both addresses, the lower one first.
    pairs: Meter<(Ula, Ula)>,
    friends: Meter<InviteId>,
    next_id: u64,
}

/// One connected box, as others find it.
#[derive(Debug)]
struct Place {
    id: u64,
    key: BoxKey,
    outbox: Outbox,
    filled: Arc<Notify>,
    /// Dropped when another connection of the box takes the place.
    _replaced: oneshot::Sender<()>,
}

/// A box's own end of its place, which it leaves when dropped.
#[derive(Debug)]
pub(crate) struct Line {
    relay: Arc<Relay>,
    id: u64,
    key: BoxKey,
    address: Ula,
    friend: InviteId,
    filled: Arc<Notify>,
}

impl Relay {
    pub(crate) fn new(budget: Budget) -> Self {
        let meter = |mbps: u32| u64::from(mbps) * BYTES_PER_MBIT;
        let state = State {
            lines: BTreeMap::new(),
            counts: BTreeMap::new(),
            pairs: Meter::new(meter(budget.relay_pair_mbps)),
            friends: Meter::new(meter(budget.relay_friend_mbps)),
            next_id: 0,
        };
        Self { state: Mutex::new(state) }
    }

    /// A line for this member, in place of any before, whose receiver then ends. None when too many are connected.
    pub(crate) fn connect(self: &Arc<Self>, member: &Member) -> Option<(Line, oneshot::Receiver<()>)> {
        let address = member.entry.membership.claims().address;
        self.take_place(*member.key(), address, member.entry.chain.invite.id())
    }

    fn take_place(
        self: &Arc<Self>,
        key: BoxKey,
        address: Ula,
        friend: InviteId,
    ) -> Option<(Line, oneshot::Receiver<()>)> {
        let (replaced, is_replaced) = oneshot::channel();
        let filled = Arc::new(Notify::new());
        let mut state = self.lock();
        if state.lines.len() >= LINES_MAX && !state.lines.contains_key(&address) {
            return None;
        }
        let id = state.next_id;
        state.next_id += 1;
        let outbox = Outbox::new(OUTBOX_BYTES_MAX);
        let place = Place { id, key, outbox, filled: Arc::clone(&filled), _replaced: replaced };
        state.lines.insert(address, place);
        drop(state);
        Some((Line { relay: Arc::clone(self), id, key, address, friend, filled }, is_replaced))
    }

    pub(crate) fn relayed(&self, key: &BoxKey) -> Relayed {
        let state = self.lock();
        let connected = state.lines.values().any(|place| place.key == *key);
        Relayed { connected, ..state.counts.get(key).copied().unwrap_or_default() }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Line {
    /// Puts a datagram in line for the box that it names, or drops it.
    fn forward(&self, parcel: Parcel<'_>, now: Instant) {
        let Parcel { other, datagram } = parcel;
        let bytes = datagram.len();
        let pair = (self.address.min(other), self.address.max(other));
        let mut state = self.relay.lock();
        let State { lines, counts, pairs, friends, .. } = &mut *state;
        let to = lines.get_mut(&other).filter(|_| other != self.address);
        let passed = to.and_then(|place| {
            let room = pairs.has_room(&pair, bytes, now) && friends.has_room(&self.friend, bytes, now);
            let parcel = Parcel { other: self.address, datagram };
            (room && place.outbox.push(parcel)).then_some(place)
        });
        let bytes_counted = u64::try_from(bytes).unwrap_or(u64::MAX);
        match passed {
            Some(place) => {
                place.filled.notify_one();
                pairs.count(pair, bytes, now);
                friends.count(self.friend, bytes, now);
                count(counts, &self.key, |sum| sum.sent_bytes += bytes_counted);
                count(counts, &place.key, |sum| sum.received_bytes += bytes_counted);
            }
            None => count(counts, &self.key, |sum| sum.dropped_datagrams += 1),
        }
    }

    /// What waits for the box, in place of what `into` had. False when the place is another connection's by now.
    fn take(&self, into: &mut Vec<u8>) -> bool {
        let mut state = self.relay.lock();
        match state.lines.get_mut(&self.address).filter(|place| place.id == self.id) {
            Some(place) => {
                place.outbox.take(into);
                true
            }
            None => false,
        }
    }
}

impl Drop for Line {
    fn drop(&mut self) {
        let mut state = self.relay.lock();
        if state.lines.get(&self.address).is_some_and(|place| place.id == self.id) {
            state.lines.remove(&self.address);
        }
    }
}

fn count(counts: &mut BTreeMap<BoxKey, Relayed>, key: &BoxKey, add: impl FnOnce(&mut Relayed)) {
    if counts.len() < COUNTS_MAX || counts.contains_key(key) {
        add(counts.entry(*key).or_default());
    }
}

#[cfg(test)]
mod tests;
