//! What this box can still give others: whole stripes, counted by what the streams need. Few children get all, rather
//! than all too little; whoever asks for more than there is room for gets a part. Refuses to count on what is not proven
//! when nothing is known of the line.

use std::time::{Duration, Instant};

use relay::{Flow, Refused, Share, Tally};
use stream::StreamName;
use swarm::part::Stripes;
use trust::BoxKey;

use super::{Carriers, ON_THE_LINE_PERCENT, lock};

/// What a stream is taken for of which no part is here yet.
const BITRATE_ASSUMED_BPS: u64 = 6_000_000;
/// The most of so long counts.
const RECENT: Duration = Duration::from_secs(15);
/// Of what comes, what goes out to acknowledge it.
const ACKNOWLEDGED_PERCENT: u64 = 7;
/// What was measured below this was measured on nothing yet.
const BITRATE_MIN_BPS: u64 = 100_000;

/// What did not come for so long is given to nobody else, who would only wait.
const STUCK: Duration = Duration::from_secs(3);

/// What of a stream of another box comes just now, so that others can be given it.
pub(super) fn comes(tally: &Tally) -> Stripes {
    tally.comes(STUCK)
}

/// Whether others may count on it.
pub(super) fn is_steady(tally: &Tally) -> bool {
    !comes(tally).is_empty()
}

impl Carriers {
    /// Which of the stripes asked for there is room for, and how many that nobody planned have to go for it.
    pub(super) fn room(
        &self,
        name: &StreamName,
        child: &BoxKey,
        share: Share,
    ) -> Result<(Stripes, u32), Refused> {
        let limit = self.capacity();
        let (stripes, of, planned) = match share {
            // Next to nothing: without headers a child has nothing to choose by.
            Share::Feed { stripes: Stripes::NONE, .. } => return Ok((Stripes::NONE, 0)),
            // What is asked for by name comes after what was promised.
            Share::Blocks if limit == Some(0) || self.uplink.is_behind() => return Err(Refused::NoRoom),
            Share::Blocks => return Ok((Stripes::NONE, 0)),
            Share::Feed { stripes, of, planned } => (stripes, of.get(), planned),
        };
        let Some(limit) = limit else { return Ok((stripes, 0)) };
        let incoming_bps: u64 = self.carried().iter().map(|(name, ..)| self.rate(name)).sum();
        let mut left_bps = limit.saturating_sub(incoming_bps * ACKNOWLEDGED_PERCENT / 100);
        let mut given = Slots { all: 0, of_them: 0, planned: 0, own: Stripes::NONE };
        for (other, tally, _) in self.tallies() {
            let flows = tally.flows();
            if other == *name {
                given = Slots::given(&flows, child);
            } else {
                let stripes: u64 = flows.iter().map(|(_, flow)| u64::from(flow.gives().len())).sum();
                left_bps = left_bps.saturating_sub(self.rate(&other) / u64::from(of) * stripes);
            }
        }
        given.all = u32::try_from(left_bps / (self.rate(name) / u64::from(of)).max(1)).unwrap_or(u32::MAX);
        given.fitting(stripes, planned).ok_or(Refused::NoRoom)
    }

    /// From the guard: what may be given from now on.
    pub(super) fn allow(&self, bps: u64) {
        self.uplink.set(Some(bps));
        let mut recent = lock(&self.recent);
        let newer = recent.is_none_or(|(most, at)| bps >= most || at.elapsed() > RECENT);
        if newer {
            *recent = Some((bps, Instant::now()));
        }
    }

    /// What the line can give, as far as is known. The guard lets go of the rate for moments, which says nothing.
    pub(super) fn capacity(&self) -> Option<u64> {
        let recent = lock(&self.recent).map(|(most, _)| most);
        match (self.giving.limit_bps(), recent.or_else(|| self.uplink.rate())) {
            (Some(limit), Some(recent)) => Some(limit.min(recent)),
            (limit, recent) => limit.or(recent),
        }
    }

    /// On the line, for all of a stream.
    fn rate(&self, name: &StreamName) -> u64 {
        let newest = self.store.get(name).and_then(|live| live.newest_part());
        let measured = newest.map(|item| item.stamp().average_bps).filter(|bps| *bps >= BITRATE_MIN_BPS);
        measured.unwrap_or(BITRATE_ASSUMED_BPS) * ON_THE_LINE_PERCENT / 100
    }
}

/// What the line has for one stream, in stripes.
struct Slots {
    all: u32,
    /// Of these other children have so many, and so many of those were planned.
    of_them: u32,
    planned: u32,
    /// What the child has already, which may be asked for again by another feed.
    own: Stripes,
}

impl Slots {
    fn given(flows: &[(BoxKey, Flow)], child: &BoxKey) -> Self {
        let mut slots = Self { all: 0, of_them: 0, planned: 0, own: Stripes::NONE };
        for (key, flow) in flows {
            if key == child {
                slots.own = flow.gives();
            } else {
                slots.of_them += flow.gives().len();
                slots.planned += flow.gives_planned().len();
            }
        }
        slots
    }

    /// What of `asked` fits, and how many stripes of others have to go for it.
    fn fitting(&self, asked: Stripes, planned: bool) -> Option<(Stripes, u32)> {
        let others = if planned { self.planned } else { self.of_them };
        let left = self.all.saturating_sub(others).saturating_sub(self.own.len());
        let fits = asked.both(self.own).and(asked.without(self.own).first(left));
        let full = self.of_them + self.own.and(fits).len();
        (!fits.is_empty()).then(|| (fits, if planned { full.saturating_sub(self.all) } else { 0 }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_does_not_fit_is_left_out() {
        let slots = |all, own| Slots { all, of_them: 3, planned: 1, own: Stripes(own) };
        let (none, all) = (0, Stripes(0xff));
        assert_eq!(slots(11, none).fitting(all, false), Some((all, 0)));
        assert_eq!(slots(8, none).fitting(all, false), Some((Stripes(0x1f), 0)));
        assert_eq!(slots(3, none).fitting(all, false), None);
        assert_eq!(
            slots(8, 0x0f).fitting(Stripes(0x30), false),
            Some((Stripes(0x10), 0)),
            "beside its other feed"
        );
        assert_eq!(slots(4, 0x0f).fitting(Stripes(0x03), false), Some((Stripes(0x03), 0)), "has it already");
        assert_eq!(slots(4, 0x0f).fitting(Stripes(0x30), false), None);
    }

    #[test]
    fn what_is_planned_goes_before_what_is_not() {
        let slots = |all| Slots { all, of_them: 5, planned: 2, own: Stripes::NONE };
        let two = Stripes(0x03);
        assert_eq!(slots(7).fitting(two, true), Some((two, 0)), "there is room for all");
        assert_eq!(slots(5).fitting(two, true), Some((two, 2)));
        assert_eq!(slots(3).fitting(two, true), Some((Stripes(0x01), 3)));
        assert_eq!(slots(2).fitting(two, true), None, "planned ones make no room");
    }
}
