//! What time it is for the mesh: the board's clock until the coordinator's first signed answer, and from then on that
//! answer and the time that went by. So the board's clock may be set meanwhile, by whomever, and nothing here jumps.
//! Refuses to set it: that takes a right that only `relayd clock` has.

use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use trust::clock::{Answer, Clock, ClockError, Nonce, Step};
use trust::{Revocations, RootKey, UnixSeconds};

use super::kept;

/// This software is not older: 2026-10-01. Raised with releases.
const BUILT: UnixSeconds = UnixSeconds::new(1_790_812_800);

/// One per process; all parts share it.
#[derive(Clone, Debug)]
pub(crate) struct Hour(Arc<Mutex<Inner>>);

#[derive(Debug)]
struct Inner {
    /// Seconds that are added to the board's clock.
    off: i64,
    clock: Clock,
    /// The last answer that was followed, and when that was.
    anchor: Option<(Instant, UnixSeconds)>,
}

/// What the board's clock shows.
pub(crate) fn shown() -> UnixSeconds {
    UnixSeconds::new(SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs())
}

impl Hour {
    /// With the floor of the mesh's directory. `off` is added to the board's clock: other than 0 in tests alone.
    pub(crate) fn new(dir: &Path, off: i64) -> Self {
        Self::after(kept::read_floor(dir), off)
    }

    /// It is certainly later than `floor`.
    pub(crate) fn after(floor: Option<UnixSeconds>, off: i64) -> Self {
        Self(Arc::new(Mutex::new(Inner { off, clock: Clock::new(BUILT, floor), anchor: None })))
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn now(&self) -> UnixSeconds {
        self.inner().now()
    }

    /// The same, once the coordinator said it.
    pub(crate) fn known(&self) -> Option<UnixSeconds> {
        let inner = self.inner();
        inner.anchor.map(|_| inner.now())
    }

    /// Follows an answer, or leaves everything as it was. True if the time was off.
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
        let mut inner = self.inner();
        let shown = inner.now();
        let step = inner.clock.handle_answer(answer, nonce, root, revocations, shown)?;
        match step {
            Step::Keep => {
                inner.anchor.get_or_insert((Instant::now(), shown));
            }
            Step::Set(time) => inner.anchor = Some((Instant::now(), time)),
        }
        Ok(step != Step::Keep)
    }

    /// What to save: this time is certainly past.
    pub(crate) fn floor(&self) -> UnixSeconds {
        let mut inner = self.inner();
        let now = inner.now();
        inner.clock.handle_timeout(now);
        inner.clock.floor()
    }
}

impl Inner {
    fn now(&self) -> UnixSeconds {
        match self.anchor {
            Some((then, time)) => time.plus(then.elapsed()),
            None => UnixSeconds::new(shown().get().saturating_add_signed(self.off)),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use trust::clock::SignedTime;
    use trust::{CoordinatorCertificate, CoordinatorSecret, MeshId, RootSecret, Signed};

    use super::*;

    const YEAR_S: u64 = 365 * 86_400;

    /// What the coordinator says when it is `now`.
    fn hear(hour: &Hour, now: UnixSeconds) -> Result<bool, ClockError> {
        let (root, coordinator) = (RootSecret::from_seed(&[1; 32]), CoordinatorSecret::from_seed(&[2; 32]));
        let mesh = MeshId::of(&root.public());
        let year = Duration::from_secs(YEAR_S);
        let certificate = CoordinatorCertificate {
            mesh,
            key: coordinator.public(),
            serial: 1,
            not_before: now.minus(year),
            not_after: now.plus(year),
        };
        let nonce = Nonce([3; 32]);
        let answer = Answer {
            certificate: &Signed::sign(certificate, &root).unwrap(),
            time: &Signed::sign(SignedTime { mesh, nonce, now }, &coordinator).unwrap(),
            round_trip: Duration::ZERO,
        };
        hour.follow(&answer, &nonce, &root.public(), &Revocations::new())
    }

    #[test]
    fn a_boards_clock_counts_only_until_the_time_is_known() {
        let board = shown();
        let now = board.plus(Duration::from_secs(10 * YEAR_S));
        let hour = Hour::after(None, -3600);
        assert!(hour.now() < board && hour.known().is_none());
        assert_eq!(hear(&hour, now), Ok(true));
        // The board's clock is ten years behind, and may be set at any moment.
        hour.inner().off = i64::try_from(10 * YEAR_S).unwrap();
        for time in [hour.now(), hour.known().unwrap(), hour.floor()] {
            assert!(time >= now && time < now.plus(Duration::from_secs(60)), "{time}");
        }
        assert_eq!(hear(&hour, now), Ok(false));
        assert!(hear(&hour, now.minus(Duration::from_secs(60))).is_err(), "back");
    }
}
