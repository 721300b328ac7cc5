//! What all children together may get: a rate, kept by making senders wait. Refuses to choose it.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::{Instant, sleep_until};

/// On the line, per 100 bytes of blocks: an inner packet of 1280 bytes carries 1208 of them, and becomes 1360 with
/// WireGuard, UDP and IPv6 around it.
const ON_THE_LINE_PERCENT: u64 = 113;
/// What may go out at once after a pause.
const BURST: Duration = Duration::from_millis(10);
/// A part of 200 ms less what is usual.
const BEHIND: Duration = Duration::from_millis(150);
/// A sender looks again at least this often whether the rate has changed.
const LOOK_EVERY: Duration = Duration::from_millis(200);

/// Shared by all that send; cheap to clone.
#[derive(Clone, Debug)]
pub struct Uplink {
    /// Bits per second on the line; none: as much as goes.
    rate: watch::Sender<Option<u64>>,
    /// When what was allowed so far will have gone out.
    gone: Arc<Mutex<Instant>>,
}

impl Default for Uplink {
    fn default() -> Self {
        Self { rate: watch::Sender::new(None), gone: Arc::new(Mutex::new(Instant::now())) }
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

    /// Whether what was allowed already takes longer than a part lasts.
    #[must_use]
    pub fn is_behind(&self) -> bool {
        let gone = *self.gone.lock().unwrap_or_else(PoisonError::into_inner);
        self.rate().is_some() && gone > Instant::now() + BEHIND
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

    /// When these bytes may go; none if that is too far off to be promised.
    fn book(&self, bytes: usize, rate: u64) -> Option<Instant> {
        let mut gone = self.gone.lock().unwrap_or_else(PoisonError::into_inner);
        let now = Instant::now();
        let from = (*gone).max(now.checked_sub(BURST).unwrap_or(now));
        if from > now + LOOK_EVERY {
            return None;
        }
        let bits = bytes as u64 * 8 * ON_THE_LINE_PERCENT / 100;
        *gone = from + Duration::from_nanos(bits.saturating_mul(1_000_000_000) / rate);
        Some(from)
    }
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
