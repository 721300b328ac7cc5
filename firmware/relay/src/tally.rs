//! What came from whom and went to whom: counted for pages, reports and metrics. Decides nothing.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

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
    /// Bit i: stripe i goes to it just now.
    pub gives: u16,
}

/// Of one stream at this box.
#[derive(Debug, Default)]
pub struct Tally {
    flows: Mutex<BTreeMap<BoxKey, Flow>>,
    /// Blocks that were checked and kept.
    pub verified: AtomicU64,
    /// Blocks and items that failed their check.
    pub forged: AtomicU64,
    /// Blocks that were asked for by name.
    pub pulled: AtomicU64,
}

impl Tally {
    fn lock(&self) -> MutexGuard<'_, BTreeMap<BoxKey, Flow>> {
        self.flows.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn with(&self, key: &BoxKey, change: impl FnOnce(&mut Flow)) {
        let mut flows = self.lock();
        if flows.len() < BOXES_MAX || flows.contains_key(key) {
            change(flows.entry(*key).or_default());
        }
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
