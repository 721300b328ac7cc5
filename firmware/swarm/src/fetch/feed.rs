//! One feed: a long response of a parent, with the stripes that were asked for. Refuses to judge it.

use alloc::vec;
use alloc::vec::Vec;

use stream::Millis;

use super::ParentId;
use crate::part::{BlockIndex, PartId, STRIPES_MAX, Stripes};

/// A feed that is replaced goes on for at most this long, to end the parts that were begun.
pub(crate) const RETIRE_MS: u64 = 1000;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Phase {
    Opening {
        since: Millis,
    },
    Open {
        since: Millis,
    },
    /// All its stripes come from elsewhere, beginning after `after`.
    Retiring {
        after: Option<PartId>,
        until: Millis,
    },
}

/// What came of one stripe.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Flow {
    pub(crate) last: Option<Millis>,
    /// The block that is farthest in the stream.
    pub(crate) reached: Option<(PartId, BlockIndex)>,
    /// Blocks that others had to bring in its place, less the parts that it brought whole.
    pub(crate) helped: u8,
    /// How long after a header was seen its blocks come, in milliseconds: rises fast, falls slowly.
    pub(crate) lag_ms: u64,
}

#[derive(Clone, Debug)]
pub(crate) struct Feed {
    pub(crate) parent: ParentId,
    pub(crate) phase: Phase,
    /// What was asked for; none for headers alone.
    pub(crate) asked: Stripes,
    /// What is still taken from it.
    pub(crate) wanted: Stripes,
    pub(crate) from: Option<PartId>,
    /// Where it began, if that was left to the parent.
    first: Option<PartId>,
    pub(crate) flows: Vec<Flow>,
    /// Only for headers, and since when not needed.
    pub(crate) idle_since: Option<Millis>,
}

impl Feed {
    pub(crate) fn new(parent: ParentId, stripes: Stripes, from: Option<PartId>, now: Millis) -> Self {
        Self {
            parent,
            phase: Phase::Opening { since: now },
            asked: stripes,
            wanted: stripes,
            from,
            first: None,
            flows: vec![Flow::default(); usize::from(STRIPES_MAX)],
            idle_since: None,
        }
    }

    pub(crate) const fn opened_at(&self) -> Option<Millis> {
        match self.phase {
            Phase::Open { since } => Some(since),
            Phase::Opening { .. } | Phase::Retiring { .. } => None,
        }
    }

    pub(crate) const fn is_retiring(&self) -> bool {
        matches!(self.phase, Phase::Retiring { .. })
    }

    pub(crate) const fn is_watcher(&self) -> bool {
        self.asked.is_empty()
    }

    pub(crate) fn handle_header(&mut self, part: PartId) {
        self.first = Some(self.first.map_or(part, |first| first.min(part)));
    }

    /// Whether it was asked for this part.
    pub(crate) fn covers(&self, part: PartId) -> bool {
        match self.from {
            Some(from) => part >= from,
            None => self.first.is_none_or(|first| part >= first),
        }
    }

    pub(crate) fn flow(&self, stripe: u8) -> Flow {
        self.flows.get(usize::from(stripe)).copied().unwrap_or_default()
    }

    pub(crate) fn flow_mut(&mut self, stripe: u8) -> Option<&mut Flow> {
        self.flows.get_mut(usize::from(stripe))
    }

    /// `lag_ms` is since the part's header was seen, for a part in flight.
    pub(crate) fn handle_block(
        &mut self,
        stripe: u8,
        at: (PartId, BlockIndex),
        lag_ms: Option<u64>,
        now: Millis,
    ) {
        if let Some(flow) = self.flow_mut(stripe) {
            if let Some(lag) = lag_ms {
                let more = lag.saturating_sub(flow.lag_ms);
                flow.lag_ms = flow.lag_ms + more / 2 - flow.lag_ms.saturating_sub(lag) / 16;
            }
            flow.last = Some(now);
            flow.reached = flow.reached.max(Some(at));
        }
    }
}
