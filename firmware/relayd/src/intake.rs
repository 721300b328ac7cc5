//! The thread on which streams are taken and packaged.
//!
//! It is one thread, because a unit on its way from the socket over the pipeline to the packager then wakes no other
//! core: on a small board these wake-ups cost more than the work does. Viewers are served elsewhere, on all cores.

use std::thread;
use std::time::Duration;

use anyhow::{Context, Result};
use tokio::runtime::{Builder, Handle};
use tokio::sync::oneshot;

/// Work that is left over must not hold up the end.
const GRACE: Duration = Duration::from_secs(1);

/// Ends its thread when it is dropped.
#[derive(Debug)]
pub(crate) struct Intake {
    handle: Handle,
    end: Option<oneshot::Sender<()>>,
    thread: Option<thread::JoinHandle<()>>,
}

impl Intake {
    pub(crate) fn start() -> Result<Self> {
        let runtime = Builder::new_current_thread().enable_all().build().context("the intake's runtime")?;
        let handle = runtime.handle().clone();
        let (end, ended) = oneshot::channel();
        let run = move || {
            // Also when the sender is gone.
            let _ = runtime.block_on(ended);
            runtime.shutdown_timeout(GRACE);
        };
        let thread = thread::Builder::new().name("intake".to_owned()).spawn(run).context("the intake")?;
        Ok(Self { handle, end: Some(end), thread: Some(thread) })
    }

    /// Where its tasks are spawned.
    pub(crate) const fn handle(&self) -> &Handle {
        &self.handle
    }
}

impl Drop for Intake {
    fn drop(&mut self) {
        drop(self.end.take());
        if let Some(thread) = self.thread.take() {
            // A panic there was reported when it happened.
            let _ = thread.join();
        }
    }
}
