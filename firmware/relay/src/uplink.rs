//! What all children together may get: a rate, kept by making senders wait. Refuses to choose it.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use swarm::score::{acknowledges, on_the_line};
use tokio::sync::watch;
use tokio::time::{Instant, sleep_until};

use crate::turns::{Class, Turn, Turns};

/// What may go out at once after a pause.
const BURST: Duration = Duration::from_millis(10);
/// A block waits for its turn at most so long: a second less than until the child gives its part up.
const LATE: Duration = Duration::from_secs(2);
/// Blocks that wait for longer are late.
const ON_TIME: Duration = Duration::from_millis(250);
/// When all were late for so long, there is more than the line carries, or was once: then what is late is left out, until
/// the line is on time again (as CoDel does it with packets, RFC 8289).
const LATE_FOR: Duration = Duration::from_millis(600);
/// A sender looks again at least this often whether the rate has changed.
const LOOK_EVERY: Duration = Duration::from_millis(200);

/// Shared by all that send; cheap to clone.
#[derive(Clone, Debug)]
pub struct Uplink {
    /// Bits per second on the line; none: as much as goes.
    rate: watch::Sender<Option<u64>>,
    /// When what was allowed so far will have gone out.
    gone: Arc<Mutex<Instant>>,
    turns: Turns,
    /// Since when all blocks are late.
    late_since: Arc<Mutex<Option<Instant>>>,
}

impl Default for Uplink {
    fn default() -> Self {
        Self {
            rate: watch::Sender::new(None),
            gone: Arc::new(Mutex::new(Instant::now())),
            turns: Turns::default(),
            late_since: Arc::default(),
        }
    }
}

impl Uplink {
    /// Bits per second on the line, 0 for a pause; none: as much as goes.
    pub fn set(&self, rate: Option<u64>) {
        self.rate.send_if_modified(|now| std::mem::replace(now, rate) != rate);
    }

    #[must_use]
    pub fn rate(&self) -> Option<u64> {
        *self.rate.borrow()
    }

    /// Whether what was promised has come late for a while.
    #[must_use]
    pub fn is_behind(&self) -> bool {
        let late = *self.late_since.lock().unwrap_or_else(PoisonError::into_inner);
        late.is_some_and(|since| since.elapsed() > LATE_FOR)
    }

    /// How long a block may wait.
    pub(crate) fn patience(&self) -> Duration {
        if self.is_behind() { ON_TIME } else { LATE }
    }

    /// A block has waited for so long.
    pub(crate) fn note_late(&self, late: Duration) {
        let mut since = self.late_since.lock().unwrap_or_else(PoisonError::into_inner);
        *since = if late > ON_TIME { since.or_else(|| Some(Instant::now())) } else { None };
    }

    /// Until a block may begin that a child wants at this time.
    pub(crate) async fn turn(&self, class: Class, wanted: Instant) -> Turn {
        if self.rate().is_none() { Turn::free() } else { self.turns.take(class, wanted).await }
    }

    /// The same for what goes out even in a pause, and is little.
    pub(crate) async fn pace(&self, bytes: usize) {
        if self.rate() != Some(0) {
            self.take(bytes).await;
        }
    }

    /// Waits until these bytes may go out.
    pub async fn take(&self, bytes: usize) {
        let mut changes = self.rate.subscribe();
        loop {
            let Some(rate) = *changes.borrow_and_update() else { return };
            if rate > 0
                && let Some(at) = self.book(bytes, rate)
            {
                return sleep_until(at).await;
            }
            // Paused, or so slow that the rate may change first.
            let _ = tokio::time::timeout(LOOK_EVERY, changes.changed()).await;
        }
    }

    /// Something has to go out at once; what waits goes later by as much.
    pub(crate) fn spend(&self, bytes: usize) {
        self.spend_line(on_the_line(bytes as u64));
    }

    /// So much went out on the line that is none of the children's; they wait by as much.
    pub fn handle_passed(&self, line_bytes: u64) {
        self.spend_line(line_bytes);
    }

    fn spend_line(&self, line_bytes: u64) {
        if let Some(rate) = self.rate().filter(|rate| *rate > 0) {
            let mut gone = self.gone.lock().unwrap_or_else(PoisonError::into_inner);
            *gone = from(*gone) + lasts(line_bytes, rate);
        }
    }

    /// These bytes came: what acknowledges them goes out on the same line.
    pub(crate) fn handle_received(&self, bytes: usize) {
        self.spend_line(acknowledges(bytes as u64));
    }

    /// When these bytes may go; none if that is too far off to be promised.
    fn book(&self, bytes: usize, rate: u64) -> Option<Instant> {
        let mut gone = self.gone.lock().unwrap_or_else(PoisonError::into_inner);
        let from = from(*gone);
        if from > Instant::now() + LOOK_EVERY {
            return None;
        }
        *gone = from + lasts(on_the_line(bytes as u64), rate);
        Some(from)
    }
}

fn from(gone: Instant) -> Instant {
    let now = Instant::now();
    gone.max(now.checked_sub(BURST).unwrap_or(now))
}

fn lasts(line_bytes: u64, rate: u64) -> Duration {
    Duration::from_nanos(line_bytes.saturating_mul(8 * 1_000_000_000) / rate)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn many_senders_together_keep_the_rate() {
        let uplink = Uplink::default();
        uplink.set(Some(3_000_000));
        let began = Instant::now();
        let senders: Vec<_> = (0..4)
            .map(|_| {
                let uplink = uplink.clone();
                tokio::spawn(async move {
                    for _ in 0..50 {
                        uplink.take(16_384).await;
                    }
                })
            })
            .collect();
        for sender in senders {
            sender.await.unwrap();
        }
        // 200 blocks of 16 KiB and what is around them, at 3 Mbit/s: 9.87 s.
        let took = began.elapsed().as_secs_f64();
        assert!((9.6..9.95).contains(&took), "{took}");
    }

    #[tokio::test(start_paused = true)]
    async fn a_pause_holds_and_its_end_lets_go() {
        let uplink = Uplink::default();
        uplink.set(Some(0));
        let waiting = tokio::spawn({
            let uplink = uplink.clone();
            async move { uplink.take(1).await }
        });
        tokio::time::sleep(Duration::from_secs(5)).await;
        assert!(!waiting.is_finished());
        uplink.set(None);
        waiting.await.unwrap();
    }
}
