//! How a stream is carried, for a person: who takes what from whom, by the boxes' own words. Refuses to show what is
//! planned as if it were so.

use std::collections::BTreeMap;
use std::time::Instant;

use stream::StreamName;
use trust::BoxKey;

use super::{ALL_STRIPES, Carried, Carriers, STRIPES};

/// A box of a stream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Look {
    pub(crate) key: BoxKey,
    /// Edges from the owner, on the longest of its stripes' ways; none while a stripe has no way to it.
    pub(crate) hops: Option<u8>,
    /// Bit i is stripe i.
    pub(crate) takes: Vec<(BoxKey, u16)>,
    /// Stripes, each counted once for each box that takes it.
    pub(crate) gives: u32,
    pub(crate) uplink_bps: Option<u64>,
    pub(crate) sending_bps: u64,
    pub(crate) viewers: u32,
}

impl Carriers {
    /// All boxes that carry a stream, the owner left out unless it spoke, too.
    pub(crate) fn look(&self, stream: &StreamName, owner: &BoxKey, now: Instant) -> Vec<Look> {
        let Some(carried) = self.streams.get(stream) else { return Vec::new() };
        let fresh = carried.boxes.iter().filter(|(_, carrier)| carrier.is_fresh(now));
        let mut gives: BTreeMap<BoxKey, u32> = BTreeMap::new();
        for take in fresh.clone().flat_map(|(_, carrier)| carrier.said.takes.iter()) {
            *gives.entry(take.parent).or_default() += (take.stripes & ALL_STRIPES).count_ones();
        }
        let look = |(key, carrier): (&BoxKey, &super::Carrier)| Look {
            key: *key,
            hops: if key == owner { Some(0) } else { carried.hops(key, owner) },
            takes: carrier.said.takes.iter().map(|take| (take.parent, take.stripes & ALL_STRIPES)).collect(),
            gives: gives.get(key).copied().unwrap_or(0),
            uplink_bps: carrier.said.uplink_bps,
            sending_bps: carrier.said.sending_bps,
            viewers: carrier.said.viewers,
        };
        let mut looks: Vec<_> = fresh.map(look).collect();
        if !carried.boxes.get(owner).is_some_and(|carrier| carrier.is_fresh(now)) {
            looks.push(Look {
                key: *owner,
                hops: Some(0),
                takes: Vec::new(),
                gives: gives.get(owner).copied().unwrap_or(0),
                uplink_bps: None,
                sending_bps: 0,
                viewers: 0,
            });
        }
        looks
    }
}

impl Carried {
    fn hops(&self, key: &BoxKey, owner: &BoxKey) -> Option<u8> {
        let most = u8::try_from(self.boxes.len()).unwrap_or(u8::MAX);
        let way = |stripe: u8| {
            let (mut at, mut hops) = (*key, 0_u8);
            while at != *owner {
                let takes = self.boxes.get(&at)?.said.takes.iter();
                at = takes.clone().find(|take| take.stripes & (1 << stripe) != 0)?.parent;
                // A way has no box twice.
                hops = hops.checked_add(1).filter(|hops| *hops <= most)?;
            }
            Some(hops)
        };
        (0..STRIPES).map(way).try_fold(0, |most, hops| Some(hops?.max(most)))
    }
}
