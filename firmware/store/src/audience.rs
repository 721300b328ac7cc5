//! How many distinct HLS clients asked lately. An estimate for people, never for billing.
//!
//! It keeps a hash per client and nothing that names one, and refuses to grow: past its bound the count saturates.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

/// Who asked within this time is watching.
const WINDOW: Duration = Duration::from_secs(10);
const CLIENTS_MAX: usize = 4096;

#[derive(Debug, Default)]
pub(crate) struct Audience {
    seen: Mutex<HashMap<u64, Instant>>,
}

impl Audience {
    pub(crate) fn seen(&self, client: u64) {
        let now = Instant::now();
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(at) = seen.get_mut(&client) {
            *at = now;
            return;
        }
        if seen.len() >= CLIENTS_MAX {
            seen.retain(|_, at| now.duration_since(*at) < WINDOW);
        }
        if seen.len() < CLIENTS_MAX {
            seen.insert(client, now);
        }
    }

    pub(crate) fn count(&self) -> usize {
        let now = Instant::now();
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        seen.retain(|_, at| now.duration_since(*at) < WINDOW);
        seen.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn clients_count_once_and_for_ten_seconds() {
        let audience = Audience::default();
        audience.seen(1);
        audience.seen(2);
        audience.seen(1);
        assert_eq!(audience.count(), 2);
        tokio::time::advance(Duration::from_secs(6)).await;
        audience.seen(2);
        tokio::time::advance(Duration::from_secs(6)).await;
        assert_eq!(audience.count(), 1);
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
