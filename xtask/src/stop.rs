//! The wish to stop: Ctrl-C, a TERM signal, or a limit of time, seen by all who wait.
//!
//! Nobody is interrupted: whoever waits asks again a few times a second.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};

/// How long a wish to stop may go unseen.
const GLANCE: Duration = Duration::from_millis(50);

#[derive(Clone, Debug, Default)]
pub(crate) struct Stop(Arc<AtomicBool>);

impl Stop {
    /// From here on Ctrl-C sets this flag in place of ending the process.
    pub(crate) fn on_signals() -> Result<Stop> {
        let stop = Stop::default();
        for signal in [SIGINT, SIGTERM, SIGHUP] {
            signal_hook::flag::register(signal, stop.0.clone()).context("could not listen for Ctrl-C")?;
        }
        Ok(stop)
    }

    pub(crate) fn set(&self) {
        self.0.store(true, Ordering::Relaxed);
    }

    pub(crate) fn wanted(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }

    /// Waits until `condition` holds. False when the time is over or a stop is wanted before that.
    pub(crate) fn wait_until(&self, limit: Duration, mut condition: impl FnMut() -> bool) -> bool {
        let end = Instant::now() + limit;
        loop {
            if condition() {
                return true;
            }
            let left = end.saturating_duration_since(Instant::now());
            if self.wanted() || left.is_zero() {
                return false;
            }
            std::thread::sleep(left.min(GLANCE));
        }
    }

    /// Waits for that long, or until a stop is wanted.
    pub(crate) fn wait(&self, time: Duration) {
        self.wait_until(time, || false);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stop_ends_a_long_wait() {
        let stop = Stop::default();
        let mut looks = 0;
        let met = stop.wait_until(Duration::from_secs(3600), || {
            looks += 1;
            if looks == 2 {
                stop.set();
            }
            false
        });
        assert!(!met);
        assert_eq!(looks, 2);
    }
}
