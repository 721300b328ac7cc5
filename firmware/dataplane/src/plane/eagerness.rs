//! Whether the thread may push others aside as soon as something comes for it.
//!
//! At the rates of live streams it need not (`SCHED_BATCH`, sched(7)): whoever sends some packets in a row gets to send
//! them all, and the thread finds them together. Pushed aside after the first, the sender would wake the thread once for
//! each, here and at the far end. Where packets never stop coming, waiting only costs throughput: then it is eager
//! (`SCHED_OTHER`). A host that refuses the call is done without it; nothing but time depends on it.
#![allow(unsafe_code)]

use std::time::{Duration, Instant};

/// How long packets are counted.
const WINDOW: Duration = Duration::from_millis(100);
/// More packets a second make it eager: full ones of about 1 Gbit/s.
const EAGER_PER_S: u64 = 80_000;
/// Fewer make it patient again.
const PATIENT_PER_S: u64 = 40_000;

#[derive(Debug)]
pub(super) struct Eagerness {
    eager: bool,
    since: Instant,
    /// Both ways, until then.
    packets: u64,
}

impl Eagerness {
    /// Of the thread that calls it.
    pub(super) fn new(now: Instant) -> Eagerness {
        set(false);
        Eagerness { eager: false, since: now, packets: 0 }
    }

    /// Packets since the thread began, both ways.
    pub(super) fn note(&mut self, packets: u64, now: Instant) {
        let passed = now.duration_since(self.since);
        if passed < WINDOW {
            return;
        }
        let eager = judge(self.eager, packets - self.packets, passed);
        (self.since, self.packets) = (now, packets);
        if eager != self.eager {
            self.eager = eager;
            set(eager);
        }
    }
}

fn judge(eager: bool, packets: u64, passed: Duration) -> bool {
    let millis = u64::try_from(passed.as_millis()).unwrap_or(u64::MAX).max(1);
    let per_s = packets.saturating_mul(1000) / millis;
    per_s > if eager { PATIENT_PER_S } else { EAGER_PER_S }
}

fn set(eager: bool) {
    let policy = if eager { libc::SCHED_OTHER } else { libc::SCHED_BATCH };
    let priority = libc::sched_param { sched_priority: 0 };
    // SAFETY: the struct lives as long as the call, which reads it and nothing else; 0 is the thread that calls.
    if unsafe { libc::sched_setscheduler(0, policy, &raw const priority) } != 0 {
        tracing::debug!(error = %std::io::Error::last_os_error(), "each packet may wake this thread");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn live_streams_can_wait_and_bulk_can_not() {
        let second = Duration::from_secs(1);
        // 300 Mbit/s in datagrams of 1200 bytes; 3.8 Gbit/s in packets of 1420.
        assert!(!judge(false, 31_250, second) && judge(false, 334_507, second));
        // In between it stays as it is.
        assert!(judge(true, 60_000, second) && !judge(false, 60_000, second));
        assert!(!judge(true, 3_000, WINDOW));
    }

    #[test]
    fn the_kernel_takes_both() {
        let policy = || {
            // SAFETY: it takes no pointer; 0 is the thread that calls.
            unsafe { libc::sched_getscheduler(0) }
        };
        let began = Instant::now();
        let mut eagerness = Eagerness::new(began);
        assert_eq!(policy(), libc::SCHED_BATCH);
        eagerness.note(50_000, began + WINDOW);
        assert_eq!(policy(), libc::SCHED_OTHER);
        eagerness.note(50_001, began + 2 * WINDOW);
        assert_eq!(policy(), libc::SCHED_BATCH);
    }
}
