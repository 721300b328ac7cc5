//! What goes out of this box into the network outside, shared with whoever keeps the limit of the household's line.
//! Refuses to keep it itself, but for what is passed on between others.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// A clone is the same one.
#[derive(Clone, Debug, Default)]
pub struct Outgoing(Arc<Counts>);

#[derive(Debug)]
struct Counts {
    sent: AtomicU64,
    passed: AtomicU64,
    /// Bytes per second.
    allowed: AtomicU64,
}

impl Default for Counts {
    fn default() -> Self {
        Self { sent: AtomicU64::new(0), passed: AtomicU64::new(0), allowed: AtomicU64::new(u64::MAX) }
    }
}

impl Outgoing {
    /// Bytes of all datagrams that were sent so far, with their headers of UDP and IP: what is sent again, and what is
    /// passed on, is in it, and what lies around them on an Ethernet is not.
    #[must_use]
    pub fn sent_bytes(&self) -> u64 {
        self.0.sent.load(Ordering::Relaxed)
    }

    /// Bytes that were passed on so far, with all that is around them on the line.
    #[must_use]
    pub fn passed_bytes(&self) -> u64 {
        self.0.passed.load(Ordering::Relaxed)
    }

    /// How much may be passed on from now on, in bytes per second, beside the bounds for each pair and box; none: as much
    /// as goes.
    pub fn allow(&self, bytes_per_s: Option<u64>) {
        self.0.allowed.store(bytes_per_s.unwrap_or(u64::MAX), Ordering::Relaxed);
    }

    pub(crate) fn allowed(&self) -> u64 {
        self.0.allowed.load(Ordering::Relaxed)
    }

    pub(crate) fn note_sent(&self, bytes: u64) {
        self.0.sent.fetch_add(bytes, Ordering::Relaxed);
    }

    pub(crate) fn note_passed(&self, line_bytes: u64) {
        self.0.passed.fetch_add(line_bytes, Ordering::Relaxed);
    }
}
