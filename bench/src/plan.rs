//! How much is measured: the full bench, or a quick look whether all of it works.

use std::path::PathBuf;
use std::time::Duration;

#[derive(Clone, Debug)]
pub(crate) struct Plan {
    pub(crate) relayd: PathBuf,
    /// Where servers keep what they write.
    pub(crate) dir: PathBuf,
    pub(crate) manifest_dir: PathBuf,
    pub(crate) rounds: usize,
    pub(crate) quick: bool,
    /// Shorter windows than the method asks for, on a machine that can't be had for long.
    pub(crate) window_s_max: Option<u64>,
    /// Only the case of the item ingest with so many streams.
    pub(crate) streams: Option<usize>,
}

impl Plan {
    /// A window of measurement, unless a quick look is enough.
    pub(crate) fn window(&self, seconds: u64) -> Duration {
        Duration::from_secs(if self.quick { 4 } else { seconds.min(self.window_s_max.unwrap_or(seconds)) })
    }

    /// What servers get to come to rest after their load began.
    pub(crate) fn settle(&self) -> Duration {
        Duration::from_secs(if self.quick { 2 } else { 5 })
    }
}
