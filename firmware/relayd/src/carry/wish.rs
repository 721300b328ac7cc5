//! The friend's wish as the carriers keep it: whenever what may be given changes, senders hear of it at once.

use std::sync::Arc;
use std::time::Duration;

use swarm::guard::Settings;
use tokio::time::timeout;

use super::{Carriers, lock};

/// Quiet hours begin and end within this.
const LOOK_EVERY: Duration = Duration::from_secs(5);

impl Carriers {
    /// Never ends. The guard may allow less than what is set here.
    pub(super) async fn obey(self: Arc<Self>) {
        let mut changes = self.giving.changes();
        loop {
            let limit_bps = *changes.borrow_and_update();
            self.uplink.set(limit_bps);
            // What was allowed at another limit says nothing of this one.
            *lock(&self.recent) = None;
            while timeout(LOOK_EVERY, changes.changed()).await.is_err() {
                self.giving.look();
            }
        }
    }

    /// In the guard's terms. A pause does not make it forget what the line can carry.
    pub(super) fn wish(&self, unlimited_bps: u64) -> Settings {
        let limit_bps = self.giving.limit_bps();
        let paused = limit_bps == Some(0);
        let limit_bps = limit_bps.filter(|bps| *bps > 0).unwrap_or(unlimited_bps);
        Settings { limit_bps, paused, quiet: Vec::new() }
    }
}
