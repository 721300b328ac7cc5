//! The thread that writes and deletes files, so that no stream waits for the disk.
//!
//! Its queue is bounded in entries and in bytes; what does not fit is not written. Deletions are a list of its own
//! that can't be longer than what was written before.

use std::fs::{self, File};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, TrySendError, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use bytes::Bytes;

use super::{FileState, StoredFile};

const QUEUE_MAX: usize = 1024;
const QUEUE_BYTES_MAX: u64 = 32 << 20;
/// How long a deletion waits if nothing is written meanwhile.
const IDLE: Duration = Duration::from_millis(500);
/// Differs after each start of the machine.
const BOOT_ID: &str = "/proc/sys/kernel/random/boot_id";

#[derive(Debug)]
pub(crate) struct Save {
    pub(crate) file: Arc<StoredFile>,
    pub(crate) content: Bytes,
    /// Written behind the content.
    pub(crate) trailer: Bytes,
}

#[derive(Debug)]
enum Job {
    Save(Save),
    /// Says when all that was queued before is done.
    Flush(SyncSender<()>),
}

#[derive(Debug)]
pub(crate) struct Keeper {
    /// None while the thread is being ended.
    queue: Mutex<Option<SyncSender<Job>>>,
    shared: Arc<Shared>,
    boot: String,
    thread: Mutex<Option<JoinHandle<()>>>,
}

#[derive(Debug)]
struct Shared {
    /// Directories from here down are removed when they are empty.
    root: PathBuf,
    queued_bytes: AtomicU64,
    doomed: Mutex<Vec<PathBuf>>,
    lost: AtomicU64,
}

impl Keeper {
    pub(crate) fn start(root: PathBuf) -> io::Result<Self> {
        let (queue, jobs) = sync_channel(QUEUE_MAX);
        let shared = Arc::new(Shared {
            root,
            queued_bytes: AtomicU64::new(0),
            doomed: Mutex::default(),
            lost: AtomicU64::new(0),
        });
        let thread = {
            let shared = Arc::clone(&shared);
            std::thread::Builder::new().name("store-keeper".into()).spawn(move || shared.run(&jobs))?
        };
        let boot = fs::read_to_string(BOOT_ID).unwrap_or_default().trim().to_owned();
        Ok(Self { queue: Mutex::new(Some(queue)), shared, boot, thread: Mutex::new(Some(thread)) })
    }

    pub(crate) fn boot(&self) -> &str {
        &self.boot
    }

    /// Files that could not be written.
    pub(crate) fn lost(&self) -> u64 {
        self.shared.lost.load(Ordering::Relaxed)
    }

    pub(crate) fn save(&self, save: Save) {
        let len = (save.content.len() + save.trailer.len()) as u64;
        let file = Arc::clone(&save.file);
        if self.shared.queued_bytes.fetch_add(len, Ordering::AcqRel) + len > QUEUE_BYTES_MAX
            || !self.send(save)
        {
            self.shared.queued_bytes.fetch_sub(len, Ordering::AcqRel);
            self.shared.lose(&file);
        }
    }

    fn send(&self, save: Save) -> bool {
        let queue = self.queue.lock().unwrap_or_else(PoisonError::into_inner);
        match queue.as_ref().map(|queue| queue.try_send(Job::Save(save))) {
            Some(Ok(())) => true,
            Some(Err(TrySendError::Full(_) | TrySendError::Disconnected(_))) | None => false,
        }
    }

    pub(crate) fn delete(&self, path: PathBuf) {
        self.shared.doomed().push(path);
    }

    /// Waits until everything queued before is on disk or lost.
    pub(crate) fn flush(&self) {
        let queue = self.queue.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let (done, wait) = sync_channel(1);
        if queue.is_some_and(|queue| queue.send(Job::Flush(done)).is_ok()) {
            let _ = wait.recv();
        }
    }
}

impl Drop for Keeper {
    fn drop(&mut self) {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(thread) = self.thread.lock().unwrap_or_else(PoisonError::into_inner).take() {
            let _ = thread.join();
        }
    }
}

impl Shared {
    fn run(&self, jobs: &Receiver<Job>) {
        loop {
            let job = jobs.recv_timeout(IDLE);
            match job {
                Ok(Job::Save(save)) => self.handle(save),
                Ok(Job::Flush(done)) => {
                    self.sweep();
                    let _ = done.send(());
                }
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => break,
            }
            self.sweep();
        }
        self.sweep();
    }

    fn doomed(&self) -> std::sync::MutexGuard<'_, Vec<PathBuf>> {
        self.doomed.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn handle(&self, save: Save) {
        let Save { file, content, trailer } = save;
        self.queued_bytes.fetch_sub((content.len() + trailer.len()) as u64, Ordering::AcqRel);
        if file.state() != FileState::Queued {
            return;
        }
        match write(&file.path, &content, &trailer) {
            Ok(()) if file.change(FileState::Queued, FileState::Written) => {}
            Ok(()) => self.remove(&file.path),
            Err(error) => {
                tracing::debug!(path = %file.path.display(), %error, "a part can't be written");
                self.lose(&file);
            }
        }
    }

    fn lose(&self, file: &StoredFile) {
        file.change(FileState::Queued, FileState::Lost);
        if (self.lost.fetch_add(1, Ordering::Relaxed) + 1).is_power_of_two() {
            tracing::warn!("the disk does not take media as fast as it comes, or is full: it stays in RAM");
        }
    }

    fn sweep(&self) {
        let doomed = std::mem::take(&mut *self.doomed());
        for path in doomed {
            self.remove(&path);
        }
    }

    /// Removes a file, and its directories if they are empty then.
    fn remove(&self, path: &Path) {
        if let Err(error) = fs::remove_file(path)
            && error.kind() != io::ErrorKind::NotFound
        {
            tracing::warn!(path = %path.display(), %error, "a file can't be removed");
        }
        let parents = path.ancestors().skip(1).take_while(|parent| *parent != self.root);
        for parent in parents {
            if fs::remove_dir(parent).is_err() {
                break;
            }
        }
    }
}

fn write(path: &Path, content: &[u8], trailer: &[u8]) -> io::Result<()> {
    let temporary = path.with_extension("new");
    let mut file = match File::create(&temporary) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            fs::create_dir_all(path.parent().unwrap_or(path))?;
            File::create(&temporary)?
        }
        other => other?,
    };
    let written = file.write_all(content).and_then(|()| file.write_all(trailer));
    let renamed = written.and_then(|()| fs::rename(&temporary, path));
    renamed.inspect_err(|_| {
        // Best effort: on a full disk this is what gives the space back.
        let _ = fs::remove_file(&temporary);
    })
}
