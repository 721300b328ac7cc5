//! The writer's thread: one connection, one job at a time, in order. Refuses jobs when too many wait, and does not
//! begin one whose asker has given up, so that an answer "try again" means that nothing was done.

use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use tokio::sync::oneshot;

use super::{Database, StoreError};

/// Jobs that may wait.
const WAITING_MAX: usize = 256;
/// From asking to the answer.
const DEADLINE: Duration = Duration::from_secs(8);
/// A job begins within this time or never, so that it ends within the deadline: one wait for a lock is 2 s.
const BEGIN_MAX: Duration = Duration::from_secs(4);

type Job = Box<dyn FnOnce(&mut Database) + Send>;

/// The database behind its thread.
#[derive(Debug)]
pub(crate) struct Store {
    jobs: Option<SyncSender<Job>>,
    thread: Option<JoinHandle<()>>,
}

impl Store {
    pub(crate) fn start(database: Database) -> std::io::Result<Self> {
        let (jobs, waiting) = sync_channel(WAITING_MAX);
        let thread =
            std::thread::Builder::new().name("store".into()).spawn(move || work(database, &waiting))?;
        Ok(Self { jobs: Some(jobs), thread: Some(thread) })
    }

    /// Has the thread do it.
    ///
    /// # Errors
    /// Those of the job, and [`StoreError::Busy`], [`StoreError::Late`] or [`StoreError::Ended`].
    pub(crate) async fn call<T, E, F>(&self, job: F) -> Result<T, E>
    where
        T: Send + 'static,
        E: From<StoreError> + Send + 'static,
        F: FnOnce(&mut Database) -> Result<T, E> + Send + 'static,
    {
        let (answer, answered) = oneshot::channel();
        let asked = Instant::now();
        let job: Job = Box::new(move |database| {
            if asked.elapsed() < BEGIN_MAX && !answer.is_closed() {
                // Whoever asked may be gone by now; what was done is done.
                drop(answer.send(job(database)));
            }
        });
        let jobs = self.jobs.as_ref().ok_or(StoreError::Ended)?;
        jobs.try_send(job).map_err(|error| match error {
            TrySendError::Full(_) => StoreError::Busy,
            TrySendError::Disconnected(_) => StoreError::Ended,
        })?;
        match tokio::time::timeout(DEADLINE, answered).await {
            Ok(Ok(result)) => result,
            Ok(Err(_)) | Err(_) => Err(StoreError::Late.into()),
        }
    }
}

impl Drop for Store {
    fn drop(&mut self) {
        drop(self.jobs.take());
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

fn work(mut database: Database, waiting: &Receiver<Job>) {
    while let Ok(job) = waiting.recv() {
        job(&mut database);
    }
}
