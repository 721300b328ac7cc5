//! Bytes that went to each box and came from it, over all connections. Refuses to remember more boxes than
//! [`BOXES_MAX`]: those without a connection are forgotten first.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use trust::BoxKey;

/// More than a map has places, since boxes come and go.
const BOXES_MAX: usize = 1024;

/// Of all boxes; cheap to clone.
#[derive(Clone, Debug, Default)]
pub(crate) struct Meters(Arc<Mutex<BTreeMap<BoxKey, Arc<Meter>>>>);

/// Of one box, as its connections said it, before anything was put around it.
#[derive(Debug, Default)]
pub(super) struct Meter {
    sent: AtomicU64,
    received: AtomicU64,
}

/// What a meter showed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Bytes {
    pub(crate) sent: u64,
    pub(crate) received: u64,
}

impl Meters {
    pub(super) fn of(&self, key: &BoxKey) -> Arc<Meter> {
        let mut meters = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if meters.len() >= BOXES_MAX && !meters.contains_key(key) {
            meters.retain(|_, meter| Arc::strong_count(meter) > 1);
        }
        Arc::clone(meters.entry(*key).or_default())
    }

    pub(crate) fn read(&self, key: &BoxKey) -> Bytes {
        let meters = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        meters.get(key).map(|meter| meter.read()).unwrap_or_default()
    }

    /// Both ways together.
    pub(crate) fn moved(&self, key: &BoxKey) -> u64 {
        let Bytes { sent, received } = self.read(key);
        sent.saturating_add(received)
    }
}

impl Meter {
    pub(super) fn sent(&self, bytes: usize) {
        self.sent.fetch_add(bytes as u64, Ordering::Relaxed);
    }

    pub(super) fn received(&self, bytes: usize) {
        self.received.fetch_add(bytes as u64, Ordering::Relaxed);
    }

    fn read(&self) -> Bytes {
        Bytes { sent: self.sent.load(Ordering::Relaxed), received: self.received.load(Ordering::Relaxed) }
    }
}

#[cfg(test)]
mod tests {
    use trust::BoxSecret;

    use super::*;

    #[test]
    fn boxes_without_a_connection_are_forgotten_when_there_are_too_many() {
        let key = |n: u16| {
            let mut seed = [7; 32];
            seed[..2].copy_from_slice(&n.to_le_bytes());
            BoxSecret::from_seed(&seed).public()
        };
        let meters = Meters::default();
        let held = meters.of(&key(0));
        held.sent(5);
        held.received(7);
        for n in 1..1024 {
            meters.of(&key(n)).sent(1);
        }
        assert_eq!(meters.moved(&key(1023)), 1);
        meters.of(&key(1024)).sent(3);
        assert_eq!(meters.read(&key(0)), Bytes { sent: 5, received: 7 });
        assert_eq!((meters.moved(&key(1)), meters.moved(&key(1024))), (0, 3));
    }
}
