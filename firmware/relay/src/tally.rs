//! What came from whom and went to whom: counted for pages, reports and metrics. Decides nothing.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use swarm::part::{STRIPES_MAX, Stripes};
use tokio::sync::Notify;
use tokio::time::{Duration, Instant};
use trust::BoxKey;
use trust::key::Fingerprint;

/// Boxes that are counted one by one.
const BOXES_MAX: usize = 256;

/// With one other box, for one stream.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Flow {
    /// Bytes of blocks.
    pub received: u64,
    pub sent: u64,
    /// Bit i: stripe i comes from it just now.
    pub takes: u16,
    /// Feeds by which each stripe goes to it just now: two for a moment, while one replaces the other.
    giving: [u8; STRIPES_MAX as usize],
    /// Those of them that the coordinator planned, or that have the place of one that failed.
    planned: [u8; STRIPES_MAX as usize],
    /// Stripes of others that have places of what goes to it: they say that it failed them.
    replaced: u16,
    /// How many feeds it has asked for: with each of them it takes back what others had.
    feeds: u32,
}

/// Those of which there is at least one.
fn counted(feeds: &[u8]) -> Stripes {
    let some = (0..).zip(feeds).filter(|(_, feeds)| **feeds > 0);
    some.fold(Stripes::NONE, |all, (stripe, _)| all.with(stripe))
}

impl Flow {
    /// What goes to it just now.
    #[must_use]
    pub fn gives(&self) -> Stripes {
        counted(&self.giving)
    }

    /// How many stripes of that have their places for themselves.
    #[must_use]
    pub fn holds(&self) -> u32 {
        self.gives().len().saturating_sub(u32::from(self.replaced))
    }

    /// How many of these have a place that nobody else can have: the coordinator planned it, or somebody left it.
    #[must_use]
    pub fn holds_planned(&self) -> u32 {
        let planned = self.gives().both(counted(&self.planned)).len();
        planned.saturating_sub(u32::from(self.replaced))
    }
}

/// Counts what a feed gives for as long as it lives.
#[derive(Debug)]
pub(crate) struct Giving {
    tally: Arc<Tally>,
    child: BoxKey,
    stripes: Stripes,
    planned: bool,
    /// Whose place it has, and which feed was that one's last.
    instead: Option<(BoxKey, u32)>,
    /// It has to make room.
    evicted: Arc<Notify>,
}

impl Giving {
    pub(crate) fn new(
        tally: Arc<Tally>,
        child: BoxKey,
        stripes: Stripes,
        planned: bool,
        instead: Option<BoxKey>,
    ) -> Self {
        let planned = planned || instead.is_some();
        let evicted = Arc::<Notify>::default();
        if !planned && !stripes.is_empty() {
            tally.loose().push((stripes, Arc::clone(&evicted)));
        }
        tally.with(&child, |flow| (flow.feeds, flow.replaced) = (flow.feeds.wrapping_add(1), 0));
        let instead = instead.map(|failed| {
            let mut feeds = 0;
            tally.with(&failed, |flow| feeds = flow.feeds);
            (failed, feeds)
        });
        let giving = Self { tally, child, stripes, planned, instead, evicted };
        giving.count(|feeds| feeds.saturating_add(1), u16::saturating_add);
        giving
    }

    /// When others have to have its place.
    pub(crate) async fn evicted(&self) {
        self.evicted.notified().await;
    }

    fn count(&self, change: impl Fn(u8) -> u8, replace: impl FnOnce(u16, u16) -> u16) {
        self.tally.with(&self.child, |flow| {
            for stripe in self.stripes.iter().map(usize::from) {
                flow.giving.get_mut(stripe).into_iter().for_each(|feeds| *feeds = change(*feeds));
                let planned = flow.planned.get_mut(stripe).filter(|_| self.planned);
                planned.into_iter().for_each(|feeds| *feeds = change(*feeds));
            }
        });
        let Some((failed, feeds)) = &self.instead else { return };
        let stripes = u16::try_from(self.stripes.len()).unwrap_or(u16::MAX);
        self.tally.with(failed, |flow| {
            if flow.feeds == *feeds {
                flow.replaced = replace(flow.replaced, stripes);
            }
        });
    }
}

impl Drop for Giving {
    fn drop(&mut self) {
        self.count(|feeds| feeds.saturating_sub(1), u16::saturating_sub);
        self.tally.loose().retain(|(_, evicted)| !Arc::ptr_eq(evicted, &self.evicted));
    }
}

/// When it came last.
#[derive(Clone, Copy, Debug, Default)]
struct Came {
    /// The last block that was missing in a part.
    whole: Option<Instant>,
    /// A block of each stripe.
    stripes: [Option<Instant>; STRIPES_MAX as usize],
}

/// Of one stream at this box.
#[derive(Debug, Default)]
pub struct Tally {
    flows: Mutex<BTreeMap<BoxKey, Flow>>,
    /// Feeds that nobody planned, the newest last; as many as there are connections.
    loose: Mutex<Vec<(Stripes, Arc<Notify>)>>,
    /// Blocks that were checked and kept.
    pub verified: AtomicU64,
    came: Mutex<Came>,
    /// Blocks and items that failed their check.
    pub forged: AtomicU64,
    /// Blocks that were asked for by name.
    pub pulled: AtomicU64,
}

impl Tally {
    fn lock(&self) -> MutexGuard<'_, BTreeMap<BoxKey, Flow>> {
        self.flows.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn loose(&self) -> MutexGuard<'_, Vec<(Stripes, Arc<Notify>)>> {
        self.loose.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Ends feeds that nobody planned, the newest first, until so many stripes are free.
    pub(crate) fn evict(&self, stripes: u32) {
        let mut freed = 0;
        while freed < stripes
            && let Some((its, evicted)) = self.loose().pop()
        {
            freed += its.len();
            evicted.notify_one();
        }
    }

    pub(crate) fn with(&self, key: &BoxKey, change: impl FnOnce(&mut Flow)) {
        let mut flows = self.lock();
        if flows.len() < BOXES_MAX || flows.contains_key(key) {
            change(flows.entry(*key).or_default());
        }
    }

    /// A block of this stripe came, and is what it should be; with some its part is whole.
    pub(crate) fn note_came(&self, stripe: u8, whole: bool) {
        let mut came = self.came.lock().unwrap_or_else(PoisonError::into_inner);
        let now = Some(Instant::now());
        came.stripes.get_mut(usize::from(stripe)).into_iter().for_each(|last| *last = now);
        came.whole = if whole { now } else { came.whole };
    }

    /// Stripes that came no longer ago than this: all of them with a whole part, since small parts have blocks of few.
    #[must_use]
    pub fn comes(&self, within: Duration) -> Stripes {
        let came = *self.came.lock().unwrap_or_else(PoisonError::into_inner);
        let lately = |last: Option<Instant>| last.is_some_and(|last| last.elapsed() <= within);
        let stripes = (0..).zip(came.stripes).filter(|(_, last)| lately(came.whole.max(*last)));
        stripes.fold(Stripes::NONE, |all, (stripe, _)| all.with(stripe))
    }

    pub(crate) fn count(counter: &AtomicU64) {
        counter.fetch_add(1, Ordering::Relaxed);
    }

    /// The child that this is of, if anything goes to it.
    pub(crate) fn child(&self, of: &Fingerprint) -> Option<BoxKey> {
        let flows = self.lock();
        let mut given = flows.iter().filter(|(_, flow)| !flow.gives().is_empty());
        given.find(|(key, _)| key.fingerprint() == *of).map(|(key, _)| *key)
    }

    #[must_use]
    pub fn flows(&self) -> Vec<(BoxKey, Flow)> {
        self.lock().iter().map(|(key, flow)| (*key, *flow)).collect()
    }

    /// Bytes of blocks that went to other boxes.
    #[must_use]
    pub fn sent(&self) -> u64 {
        self.lock().values().map(|flow| flow.sent).sum()
    }
}

#[cfg(test)]
mod tests {
    use trust::BoxSecret;

    use super::*;

    #[test]
    fn who_takes_a_place_leaves_the_failed_one_less() {
        let tally = Arc::new(Tally::default());
        let [failed, child] = [1, 2].map(|seed| BoxSecret::from_seed(&[seed; 32]).public());
        let give = |to, stripes, planned, instead| {
            Giving::new(Arc::clone(&tally), to, Stripes(stripes), planned, instead)
        };
        let flow = |of: &BoxKey| tally.flows().into_iter().find(|(key, _)| key == of).unwrap().1;
        assert_eq!(tally.child(&failed.fingerprint()), None, "nothing goes to it");
        let first = give(failed, 0b0111, true, None);
        let instead = tally.child(&failed.fingerprint());
        assert_eq!(instead, Some(failed));
        let second = give(child, 0b1000, false, instead);
        assert_eq!(
            (flow(&failed).gives(), flow(&failed).holds()),
            (Stripes(0b0111), 2),
            "a place, of any stripe"
        );
        assert_eq!((flow(&child).holds(), flow(&child).holds_planned()), (1, 1));
        drop(second);
        assert_eq!(flow(&failed).holds_planned(), 3);
        let third = give(child, 0b0011, false, instead);
        assert_eq!(flow(&failed).holds(), 1);
        let back = give(failed, 0b0001, true, None);
        assert_eq!(flow(&failed).holds(), 3, "it was not gone, and asks again");
        drop(third);
        assert_eq!(flow(&failed).holds(), 3);
        drop((first, back));
        assert_eq!(flow(&failed).holds(), 0);
    }

    #[tokio::test(start_paused = true)]
    async fn what_came_lately_comes_and_a_whole_part_is_all_of_it() {
        let (tally, within) = (Tally::default(), Duration::from_secs(3));
        assert_eq!(tally.comes(within), Stripes::NONE);
        tally.note_came(2, false);
        tokio::time::advance(Duration::from_secs(2)).await;
        tally.note_came(5, false);
        assert_eq!(tally.comes(within), Stripes(0b10_0100));
        tokio::time::advance(Duration::from_secs(2)).await;
        assert_eq!(tally.comes(within), Stripes(0b10_0000));
        tally.note_came(2, true);
        assert_eq!(tally.comes(within), Stripes(u16::MAX));
        tokio::time::advance(Duration::from_secs(4)).await;
        assert_eq!(tally.comes(within), Stripes::NONE);
    }
}
