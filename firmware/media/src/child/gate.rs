//! Keeps the muxer's thread asleep between a part that it delivered and the whole of the next one.
//!
//! Without it, every unit that goes in would wake that thread to find the other track empty: twenty wake-ups for a
//! part instead of one. The muxer knows of nothing: its thread waits where it hands over what it made.

use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};

#[derive(Debug, Default)]
pub(crate) struct Gate {
    counts: Mutex<Counts>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct Counts {
    /// Cuts whose batch is in the muxer as a whole.
    asked: u64,
    delivered: u64,
    /// No further cut comes: nothing waits any more.
    open: bool,
}

impl Gate {
    /// A batch with so many cuts is in.
    pub(crate) fn ask(&self, cuts: u64) {
        if cuts > 0 {
            self.counts().asked += cuts;
            self.changed.notify_all();
        }
    }

    /// For good: what is left comes out, and the muxer can be stopped.
    pub(crate) fn open(&self) {
        self.counts().open = true;
        self.changed.notify_all();
    }

    /// A part was delivered; returns when the next one has been asked for.
    pub(crate) fn pass(&self) {
        let mut counts = self.counts();
        counts.delivered += 1;
        while !counts.open && counts.delivered >= counts.asked {
            counts = self.changed.wait(counts).unwrap_or_else(PoisonError::into_inner);
        }
    }

    fn counts(&self) -> MutexGuard<'_, Counts> {
        self.counts.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::mpsc::{RecvTimeoutError, channel};
    use std::thread;
    use std::time::Duration;

    use super::*;

    #[test]
    fn as_many_parts_pass_as_were_asked_for() {
        let gate = Arc::new(Gate::default());
        let (passed, seen) = channel();
        let muxer = thread::spawn({
            let gate = Arc::clone(&gate);
            move || {
                for part in 0..4 {
                    passed.send(part).unwrap();
                    gate.pass();
                }
            }
        });
        let wait = Duration::from_secs(10);
        gate.ask(2);
        assert_eq!((seen.recv_timeout(wait), seen.recv_timeout(wait)), (Ok(0), Ok(1)));
        assert_eq!(seen.recv_timeout(Duration::from_millis(50)), Err(RecvTimeoutError::Timeout));
        gate.ask(1);
        assert_eq!(seen.recv_timeout(wait), Ok(2));
        gate.open();
        assert_eq!(seen.recv_timeout(wait), Ok(3));
        muxer.join().unwrap();
    }
}
