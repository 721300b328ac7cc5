//! What came from whom and went to whom: counted for pages, reports and metrics. Decides nothing.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use swarm::part::{STRIPES_MAX, Stripes};
use tokio::sync::Notify;
use tokio::time::{Duration, Instant};
use trust::BoxKey;

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
    /// Those of them that the coordinator planned.
    planned: [u8; STRIPES_MAX as usize],
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

    /// What of it the coordinator planned.
    #[must_use]
    pub fn gives_planned(&self) -> Stripes {
        counted(&self.planned)
    }
}

/// Counts what a feed gives for as long as it lives.
#[derive(Debug)]
pub(crate) struct Giving {
    tally: Arc<Tally>,
    child: BoxKey,
    stripes: Stripes,
    planned: bool,
    /// It has to make room.
    evicted: Arc<Notify>,
}

impl Giving {
    pub(crate) fn new(tally: Arc<Tally>, child: BoxKey, stripes: Stripes, planned: bool) -> Self {
        let evicted = Arc::<Notify>::default();
        if !planned && !stripes.is_empty() {
            tally.loose().push((stripes, Arc::clone(&evicted)));
        }
        let giving = Self { tally, child, stripes, planned, evicted };
        giving.count(|feeds| feeds.saturating_add(1));
        giving
    }

    /// When others have to have its place.
    pub(crate) async fn evicted(&self) {
        self.evicted.notified().await;
    }

    fn count(&self, change: impl Fn(u8) -> u8) {
        self.tally.with(&self.child, |flow| {
            for stripe in self.stripes.iter().map(usize::from) {
                flow.giving.get_mut(stripe).into_iter().for_each(|feeds| *feeds = change(*feeds));
                let planned = flow.planned.get_mut(stripe).filter(|_| self.planned);
                planned.into_iter().for_each(|feeds| *feeds = change(*feeds));
            }
        });
    }
}

impl Drop for Giving {
    fn drop(&mut self) {
        self.count(|feeds| feeds.saturating_sub(1));
        self.tally.loose().retain(|(_, evicted)| !Arc::ptr_eq(evicted, &self.evicted));
    }
}

/// Parts of which all blocks came.
#[derive(Clone, Copy, Debug, Default)]
struct Whole {
    parts: u64,
    last: Option<Instant>,
}

/// Of one stream at this box.
#[derive(Debug, Default)]
pub struct Tally {
    flows: Mutex<BTreeMap<BoxKey, Flow>>,
    /// Feeds that nobody planned, the newest last; as many as there are connections.
    loose: Mutex<Vec<(Stripes, Arc<Notify>)>>,
    /// Blocks that were checked and kept.
    pub verified: AtomicU64,
    whole: Mutex<Whole>,
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

    /// All blocks of another part came.
    pub fn note_whole(&self) {
        let mut whole = self.whole.lock().unwrap_or_else(PoisonError::into_inner);
        *whole = Whole { parts: whole.parts + 1, last: Some(Instant::now()) };
    }

    /// Whether so many parts have come whole, and the last of them no longer ago than this.
    #[must_use]
    pub fn comes(&self, parts: u64, within: Duration) -> bool {
        let whole = *self.whole.lock().unwrap_or_else(PoisonError::into_inner);
        whole.parts >= parts && whole.last.is_some_and(|last| last.elapsed() <= within)
    }

    pub(crate) fn count(counter: &AtomicU64) {
        counter.fetch_add(1, Ordering::Relaxed);
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
