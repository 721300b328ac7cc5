//! What this box can still give others: whole stripes, counted by what the streams need. Few children get all, rather
//! than all too little; whoever asks for more than there is room for gets a part. Refuses to count on what is not proven
//! when nothing is known of the line.

use std::time::{Duration, Instant};

use relay::{Flow, Refused, Share, Tally};
use stream::StreamName;
use swarm::part::Stripes;
use swarm::score::{acknowledges, stripe_bps};
use trust::BoxKey;
use trust::key::Fingerprint;

use super::{Carriers, lock};

/// What a stream is taken for of which no part is here yet.
const BITRATE_ASSUMED_BPS: u64 = 6_000_000;
/// The most of so long counts.
const RECENT: Duration = Duration::from_secs(15);
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
        let (stripes, of, planned, instead) = match share {
            // Next to nothing: without headers a child has nothing to choose by.
            Share::Feed { stripes: Stripes::NONE, .. } => return Ok((Stripes::NONE, 0)),
            // What is asked for by name comes after what was promised.
            Share::Blocks if limit == Some(0) || self.uplink.is_behind() => return Err(Refused::NoRoom),
            Share::Blocks => return Ok((Stripes::NONE, 0)),
            Share::Feed { stripes, of, planned, instead } => (stripes, of, planned, instead),
        };
        let Some(limit) = limit else { return Ok((stripes, 0)) };
        let incoming_bps: u64 = self.carried().iter().map(|(name, ..)| self.bitrate(name)).sum();
        let mut line = Line { limit_bps: limit, incoming_bps, others_bps: 0 };
        let mut given = Slots { all: 0, at_most: 0, of_them: 0, planned: 0, own: Stripes::NONE };
        for (other, tally, _) in self.tallies() {
            let flows = tally.flows();
            if other == *name {
                let instead = instead.map(|failed| (failed, stripes));
                given = Slots::given(&flows, child, instead);
            } else {
                let stripes: u64 = flows.iter().map(|(_, flow)| u64::from(flow.gives().len())).sum();
                line.others_bps += stripe_bps(self.bitrate(&other), of) * stripes;
            }
        }
        (given.all, given.at_most) = line.slots(stripe_bps(self.bitrate(name), of));
        given.fitting(stripes, planned || instead.is_some()).ok_or(Refused::NoRoom)
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

    /// Of the media of a stream.
    fn bitrate(&self, name: &StreamName) -> u64 {
        let newest = self.store.get(name).and_then(|live| live.newest_part());
        let measured = newest.map(|item| item.stamp().average_bps).filter(|bps| *bps >= BITRATE_MIN_BPS);
        measured.unwrap_or(BITRATE_ASSUMED_BPS)
    }
}

/// What may go out, and what of that is taken.
struct Line {
    limit_bps: u64,
    /// Media that comes in, which has to be acknowledged.
    incoming_bps: u64,
    /// For streams other than the one that is asked for, on the line.
    others_bps: u64,
}

impl Line {
    /// How many stripes of this size fit, and how many at most, if they were planned. Of twenty one is left for what is
    /// pulled; who plans leaves that, too, but counts with a rate that is some seconds old: what was planned must not find
    /// one stripe too few for each small change.
    fn slots(&self, stripe_bps: u64) -> (u32, u32) {
        let most_bps = self.limit_bps.saturating_sub(self.others_bps);
        let left_bps = most_bps.saturating_sub(acknowledges(self.incoming_bps));
        let stripes = |bps: u64| u32::try_from(bps / stripe_bps.max(1)).unwrap_or(u32::MAX);
        let fit = stripes(left_bps);
        (fit - fit / 20, stripes(most_bps))
    }
}

/// What the line has for one stream, in stripes.
struct Slots {
    all: u32,
    /// What planned stripes may take of it.
    at_most: u32,
    /// Of these other children have so many, and so many of those were planned.
    of_them: u32,
    planned: u32,
    /// What the child has already, which may be asked for again by another feed.
    own: Stripes,
}

impl Slots {
    /// `instead` is who has failed the child, and what it is to have in that one's place.
    fn given(flows: &[(BoxKey, Flow)], child: &BoxKey, instead: Option<(Fingerprint, Stripes)>) -> Self {
        let mut slots = Self { all: 0, at_most: 0, of_them: 0, planned: 0, own: Stripes::NONE };
        for (key, flow) in flows {
            if key == child {
                slots.own = flow.gives();
            } else {
                let failed = instead.filter(|(failed, _)| *failed == key.fingerprint());
                let free = failed.map_or(0, |(_, stripes)| stripes.len());
                slots.of_them += flow.holds().saturating_sub(free);
                slots.planned += flow.holds_planned().saturating_sub(free);
            }
        }
        slots
    }

    /// What of `asked` fits, and how many stripes of others have to go for it.
    fn fitting(&self, asked: Stripes, planned: bool) -> Option<(Stripes, u32)> {
        let (all, others) = if planned { (self.at_most, self.planned) } else { (self.all, self.of_them) };
        let left = all.saturating_sub(others).saturating_sub(self.own.len());
        let fits = asked.both(self.own).and(asked.without(self.own).first(left));
        let full = self.of_them + self.own.and(fits).len();
        (!fits.is_empty()).then(|| (fits, if planned { full.saturating_sub(all) } else { 0 }))
    }
}

#[cfg(test)]
mod tests {
    use swarm::StripeCount;

    use super::*;

    #[test]
    fn what_does_not_fit_is_left_out() {
        let slots = |all, own| Slots { all, at_most: all, of_them: 3, planned: 1, own: Stripes(own) };
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
        let slots = |all| Slots { all, at_most: all, of_them: 5, planned: 2, own: Stripes::NONE };
        let two = Stripes(0x03);
        assert_eq!(slots(7).fitting(two, true), Some((two, 0)), "there is room for all");
        assert_eq!(slots(5).fitting(two, true), Some((two, 2)));
        assert_eq!(slots(3).fitting(two, true), Some((Stripes(0x01), 3)));
        assert_eq!(slots(2).fitting(two, true), None, "planned ones make no room");
    }

    #[test]
    fn a_stream_that_grew_a_little_has_room_for_what_was_planned() {
        let line = Line { limit_bps: 4_750_000, incoming_bps: 6_000_000, others_bps: 0 };
        let slots = |bitrate_bps| line.slots(stripe_bps(bitrate_bps, StripeCount::USUAL));
        // 854,500 bit/s each; 300,000 acknowledge what comes.
        assert_eq!(slots(6_000_000), (5, 5));
        assert_eq!(slots(6_300_000), (4, 5), "nobody else comes");
        assert_eq!(slots(6_500_000), (4, 5), "but the plan stays");
        assert_eq!(slots(7_000_000), (4, 4));
        let origin = Line { limit_bps: 19_000_000, incoming_bps: 0, others_bps: 0 };
        assert_eq!(origin.slots(854_500), (21, 22));
        let full = Line { others_bps: 5_000_000, ..line };
        assert_eq!(full.slots(854_500), (0, 0));
    }

    #[test]
    fn what_is_planned_has_the_whole_line() {
        let slots = Slots { all: 4, at_most: 5, of_them: 4, planned: 4, own: Stripes::NONE };
        let one = Stripes(0x01);
        assert_eq!(slots.fitting(one, true), Some((one, 0)));
        assert_eq!(slots.fitting(one, false), None);
    }
}
