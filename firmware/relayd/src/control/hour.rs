//! What time it is for the mesh: the board's clock, put right by the coordinator's signed answers. The board's own
//! clock is not set from here: that takes a right that the daemon does not have.

use std::path::Path;
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{SystemTime, UNIX_EPOCH};

use trust::clock::{Answer, Clock, ClockError, Nonce, Step};
use trust::{Revocations, RootKey, UnixSeconds};

use super::kept;

/// This software is not older: 2026-10-01. Raised with releases.
const BUILT: UnixSeconds = UnixSeconds::new(1_790_812_800);

/// One per process; all parts share it.
#[derive(Clone, Debug)]
pub(crate) struct Hour(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    /// Seconds between the board's clock and the time.
    offset: AtomicI64,
    clock: Mutex<Clock>,
}

impl Hour {
    /// `off` is added to the board's clock: other than 0 in tests alone.
    pub(crate) fn new(dir: &Path, off: i64) -> Self {
        let clock = Mutex::new(Clock::new(BUILT, kept::read_floor(dir)));
        Self(Arc::new(Inner { offset: AtomicI64::new(off), clock }))
    }

    pub(crate) fn now(&self) -> UnixSeconds {
        let shown = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
        UnixSeconds::new(shown.saturating_add_signed(self.0.offset.load(Ordering::Relaxed)))
    }

    /// Follows an answer, or leaves everything as it was. True if the clock was off.
    ///
    /// # Errors
    /// [`ClockError`].
    pub(crate) fn follow(
        &self,
        answer: &Answer<'_>,
        nonce: &Nonce,
        root: &RootKey,
        revocations: &Revocations,
    ) -> Result<bool, ClockError> {
        let shown = self.now();
        let mut clock = self.0.clock.lock().unwrap_or_else(PoisonError::into_inner);
        match clock.handle_answer(answer, nonce, root, revocations, shown)? {
            Step::Keep => Ok(false),
            Step::Set(time) => {
                let by = i64::try_from(time.get()).unwrap_or(0) - i64::try_from(shown.get()).unwrap_or(0);
                self.0.offset.fetch_add(by, Ordering::Relaxed);
                Ok(true)
            }
        }
    }

    /// What to save: this time is certainly past.
    pub(crate) fn floor(&self) -> UnixSeconds {
        let now = self.now();
        let mut clock = self.0.clock.lock().unwrap_or_else(PoisonError::into_inner);
        clock.handle_timeout(now);
        clock.floor()
    }
}
