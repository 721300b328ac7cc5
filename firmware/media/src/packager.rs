//! The parent's side of the packaging child: starts it when the first stream comes, ends it when none is left,
//! kills it when it hangs, and tells every job what became of it.
//!
//! ```text
//!           open()                    exit, or no answer for `hang`
//!  Resting --------> Running(child) --------------------------------> Resting, all jobs Lost
//!     ^                   | no job for `idle`
//!     +-------------------+
//! ```

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use stream::Tracks;
use tokio::sync::mpsc;

use crate::message::{AudioTrack, Command, Item, JobId, MessageError, VideoTrack, put_header};

mod supervisor;

/// Requests that wait for the child; senders wait when it is full, and a child that does not take them is killed.
const REQUESTS_MAX: usize = 256;
/// Parts of one job that wait to be taken; a stream that leaves more is lost.
const EVENTS_MAX: usize = 256;

#[derive(Clone, Debug)]
pub struct PackagerConfig {
    /// The binary `relaybox-media`.
    pub program: PathBuf,
    /// Where GStreamer keeps what it knows of its plugins; without it every start looks at all of them again.
    pub registry: Option<PathBuf>,
    /// A child that has not answered for this long is killed.
    pub hang: Duration,
    /// The same until its first answer: a first start on a small board looks at every plugin.
    pub start: Duration,
    /// A child without a job is ended after this.
    pub idle: Duration,
}

impl PackagerConfig {
    #[must_use]
    pub fn new(program: PathBuf) -> Self {
        Self {
            program,
            registry: None,
            hang: Duration::from_millis(1_000),
            start: Duration::from_secs(60),
            idle: Duration::from_secs(30),
        }
    }
}

#[derive(Debug, thiserror::Error)]
pub enum PackagerError {
    #[error("the packager is gone")]
    Gone,
    #[error("a batch that can't be sent")]
    Message(#[from] MessageError),
}

/// What became of a job.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum JobEvent {
    /// The initialization section, and the picture's size as the parser read it (0 x 0 without video).
    Init { bytes: Bytes, width: u32, height: u32 },
    /// The next part, in the order of the cuts.
    Fragment(Bytes),
    /// All parts were delivered.
    Finished,
    /// Nothing more comes: the child died, hung, or could not package this media.
    Lost(String),
}

/// One per box. Clones share the child.
#[derive(Clone, Debug)]
pub struct Packager {
    requests: mpsc::Sender<Request>,
    next: Arc<AtomicU32>,
    shared: Arc<Shared>,
}

/// One epoch of one stream. Dropping it forgets it in the child too.
#[derive(Debug)]
pub struct Job {
    id: JobId,
    requests: mpsc::Sender<Request>,
    events: mpsc::Receiver<JobEvent>,
    shared: Arc<Shared>,
}

#[derive(Debug)]
enum Request {
    Open { frame: Bytes },
    Frame(Bytes),
    Close(JobId),
}

/// What the child's reader and the jobs share.
#[derive(Debug, Default)]
struct Shared {
    jobs: Mutex<BTreeMap<JobId, mpsc::Sender<JobEvent>>>,
    /// Process id of the running child, zero without one.
    child: AtomicU32,
    starts: AtomicU64,
}

impl Packager {
    /// Must be called on a tokio runtime; the supervisor ends with the last clone and the last job.
    #[must_use]
    pub fn new(config: PackagerConfig) -> Self {
        let (requests, inbox) = mpsc::channel(REQUESTS_MAX);
        let shared = Arc::new(Shared::default());
        tokio::spawn(supervisor::run(config, inbox, Arc::clone(&shared)));
        Self { requests, next: Arc::default(), shared }
    }

    /// Opens a job for the tracks of an epoch.
    ///
    /// # Errors
    /// The supervisor ended, or a configuration record is beyond any bound.
    pub async fn open(&self, tracks: &Tracks) -> Result<Job, PackagerError> {
        let id = self.next.fetch_add(1, Ordering::Relaxed);
        let record = |config: &stream::TrackConfig| config.record.clone();
        let length = |bytes: &Bytes| u32::try_from(bytes.len()).unwrap_or(u32::MAX);
        let video_record = tracks.video.as_ref().map(record).unwrap_or_default();
        let audio_record = tracks.audio.as_ref().map(record).unwrap_or_default();
        let video = tracks
            .video
            .as_ref()
            .map(|config| VideoTrack { codec: config.codec.into(), record_bytes: length(&video_record) });
        let audio = tracks.audio.as_ref().and_then(|config| {
            let format = config.audio?;
            Some(AudioTrack {
                codec: config.codec.into(),
                record_bytes: length(&audio_record),
                sample_rate: format.sample_rate,
                channels: format.channels,
            })
        });
        let frame = frame(&Command::Begin { job: id, video, audio }, &[video_record, audio_record])?;
        let (sender, events) = mpsc::channel(EVENTS_MAX);
        self.shared.jobs().insert(id, sender);
        let job = Job { id, requests: self.requests.clone(), events, shared: Arc::clone(&self.shared) };
        self.requests.send(Request::Open { frame }).await.map_err(|_| PackagerError::Gone)?;
        Ok(job)
    }

    /// Process id of the running child.
    #[must_use]
    pub fn child(&self) -> Option<u32> {
        match self.shared.child.load(Ordering::Relaxed) {
            0 => None,
            pid => Some(pid),
        }
    }

    /// How often a child was started.
    #[must_use]
    pub fn starts(&self) -> u64 {
        self.shared.starts.load(Ordering::Relaxed)
    }
}

impl Job {
    /// Sends units and cuts in their order; `payload` holds the units' bytes in the same order.
    ///
    /// # Errors
    /// The supervisor ended, or the batch is beyond any bound.
    pub async fn batch(&self, items: Vec<Item>, payload: &[Bytes]) -> Result<(), PackagerError> {
        let frame = frame(&Command::Batch { job: self.id, items }, payload)?;
        self.requests.send(Request::Frame(frame)).await.map_err(|_| PackagerError::Gone)
    }

    /// Nothing more comes: the rest is delivered, then [`JobEvent::Finished`].
    ///
    /// # Errors
    /// The supervisor ended.
    pub async fn finish(&self) -> Result<(), PackagerError> {
        let frame = frame(&Command::Finish { job: self.id }, &[])?;
        self.requests.send(Request::Frame(frame)).await.map_err(|_| PackagerError::Gone)
    }

    /// Waits for the next event; after [`JobEvent::Finished`] or [`JobEvent::Lost`] there is none.
    pub async fn next(&mut self) -> Option<JobEvent> {
        self.events.recv().await
    }
}

impl Drop for Job {
    fn drop(&mut self) {
        self.shared.jobs().remove(&self.id);
        // If the queue is full the child is being killed anyway.
        let _ = self.requests.try_send(Request::Close(self.id));
    }
}

impl Shared {
    fn jobs(&self) -> std::sync::MutexGuard<'_, BTreeMap<JobId, mpsc::Sender<JobEvent>>> {
        self.jobs.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A job that does not take its events is lost: others must not wait for it.
    fn tell(&self, id: JobId, event: JobEvent) {
        let mut jobs = self.jobs();
        let ends = matches!(event, JobEvent::Finished | JobEvent::Lost(_));
        let refused = jobs.get(&id).is_some_and(|job| job.try_send(event).is_err());
        if ends || refused {
            jobs.remove(&id);
        }
    }

    fn lose_all(&self, reason: &str) {
        for (_, job) in std::mem::take(&mut *self.jobs()) {
            // A full queue ends for its job when the sender is dropped here.
            let _ = job.try_send(JobEvent::Lost(reason.to_owned()));
        }
    }
}

fn frame(command: &Command, payload: &[Bytes]) -> Result<Bytes, MessageError> {
    let length = payload.iter().map(Bytes::len).sum();
    let mut frame = BytesMut::with_capacity(length + 256);
    put_header(&mut frame, command, length)?;
    for piece in payload {
        frame.extend_from_slice(piece);
    }
    Ok(frame.freeze())
}
