//! How many distinct HLS clients asked lately. An estimate for people, never for billing.
//!
//! It keeps a hash per client and nothing that names one, and refuses to grow: past its bound the count saturates.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

/// Who asked within this time is watching.
const WINDOW: Duration = Duration::from_secs(10);
const CLIENTS_MAX: usize = 4096;

#[derive(Debug, Default)]
pub(crate) struct Audience {
    seen: Mutex<Seen>,
}

#[derive(Debug, Default)]
struct Seen {
    clients: HashMap<u64, Instant>,
    newest: Option<Instant>,
    /// Of those who wait for each part.
    newest_near: Option<Instant>,
}

impl Audience {
    pub(crate) fn seen(&self, client: u64) {
        let now = Instant::now();
        let mut seen = self.lock();
        seen.newest = Some(now);
        let clients = &mut seen.clients;
        if let Some(at) = clients.get_mut(&client) {
            *at = now;
            return;
        }
        if clients.len() >= CLIENTS_MAX {
            clients.retain(|_, at| now.duration_since(*at) < WINDOW);
        }
        if clients.len() < CLIENTS_MAX {
            clients.insert(client, now);
        }
    }

    /// Somebody waits for the next part, or took one: he plays near the live edge.
    pub(crate) fn seen_near(&self) {
        self.lock().newest_near = Some(Instant::now());
    }

    /// Whether anybody plays near the live edge. Others play three target durations behind it.
    pub(crate) fn is_near(&self) -> bool {
        self.lock().newest_near.is_some_and(|at| at.elapsed() < WINDOW)
    }

    pub(crate) fn count(&self) -> usize {
        let now = Instant::now();
        let mut seen = self.lock();
        seen.clients.retain(|_, at| now.duration_since(*at) < WINDOW);
        seen.clients.len()
    }

    /// Without counting them.
    pub(crate) fn is_empty(&self) -> bool {
        self.lock().newest.is_none_or(|at| at.elapsed() >= WINDOW)
    }

    fn lock(&self) -> MutexGuard<'_, Seen> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn who_plays_whole_segments_is_not_near_the_live_edge() {
        let audience = Audience::default();
        audience.seen(1);
        assert!(!audience.is_near());
        audience.seen_near();
        assert!(audience.is_near());
        tokio::time::advance(WINDOW).await;
        assert!(!audience.is_near());
    }

    #[tokio::test(start_paused = true)]
    async fn clients_count_once_and_for_ten_seconds() {
        let audience = Audience::default();
        assert!(audience.is_empty());
        audience.seen(1);
        audience.seen(2);
        assert!(!audience.is_empty());
        audience.seen(1);
        assert_eq!(audience.count(), 2);
        tokio::time::advance(Duration::from_secs(6)).await;
        audience.seen(2);
        tokio::time::advance(Duration::from_secs(6)).await;
        assert_eq!(audience.count(), 1);
        assert!(!audience.is_empty());
        tokio::time::advance(Duration::from_secs(4)).await;
        assert!(audience.is_empty());
    }

    #[tokio::test(start_paused = true)]
    async fn the_count_saturates() {
        let audience = Audience::default();
        for client in 0..10_000 {
            audience.seen(client);
        }
        assert_eq!(audience.count(), 4096);
        tokio::time::advance(Duration::from_secs(11)).await;
        audience.seen(77_777);
        assert_eq!(audience.count(), 1);
    }
}
