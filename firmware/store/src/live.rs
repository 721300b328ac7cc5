//! One stream: its window, its objects, its FLV ring, and those who wait for what comes next.
//!
//! ```text
//! Producer::Absent --producer()--> Producer::Present --parts--> playlists answer, waits end
//!  └ no part for three part targets (2 s at least): waits end in 503 ┘
//! ```
//! The lock is held for the time of a decision or of one rendering, never across an await.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use stream::playlist::PlaylistName;
use stream::seal::Mark;
use stream::window::{Memo, Trouble, Window, WindowError};
use stream::{CutPart, EpochRecord, ObjectName, PartHeader};
use tokio::sync::watch;
use tokio::time::Instant;

use crate::StoreConfig;
use crate::audience::Audience;
use crate::books::Books;
use crate::disk::{Disk, StoredFile};
use crate::flv::{FlvReader, Ring};
use crate::numbers::Numbers;
use crate::row::Row;
use stream::StreamName;

mod carried;
mod followed_flv;
mod memory;
mod restored;
mod watching;

pub use carried::ItemTaken;
use carried::Press;
use followed_flv::FollowedFlv;
use memory::Memory;
use restored::Restored;
pub(crate) use watching::Growing;
pub use watching::{ObjectError, PlaylistError, Rendered};

/// Whether somebody publishes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Producer {
    Absent,
    Present,
}

/// Why a part or an epoch was not taken.
#[derive(Debug, thiserror::Error)]
pub enum PushError {
    #[error("the window refuses it")]
    Window(#[source] WindowError),
    #[error("a part of 4 GiB or more")]
    TooLarge,
}

/// What a stream holds and who watches it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Stats {
    pub bytes: u64,
    pub flv_bytes: usize,
    pub flv_readers: usize,
    /// Distinct HLS clients that asked within the last 10 s.
    pub hls_clients: usize,
    /// Parts taken since the start.
    pub parts: u64,
}

/// See the module's documentation.
#[derive(Debug)]
pub struct Live {
    name: StreamName,
    /// None for a stream that is numbered at another box.
    numbers: Option<Numbers>,
    books: Arc<Books>,
    state: Mutex<State>,
    /// Bytes held, as counted in the books.
    bytes: AtomicU64,
    parts: AtomicU64,
    /// Parts that did not come in time.
    gaps: AtomicU64,
    changed: watch::Sender<u64>,
    carried: watch::Sender<()>,
    flv: Arc<Ring>,
    audience: Audience,
    served: Served,
}

/// Bytes of a stream's media that viewers got; cheap to clone.
#[derive(Clone, Debug, Default)]
pub struct Served(Arc<AtomicU64>);

impl Served {
    pub fn add(&self, bytes: u64) {
        self.0.fetch_add(bytes, Ordering::Relaxed);
    }

    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

#[derive(Debug)]
struct State {
    window: Window,
    memory: Memory,
    producer: Producer,
    /// When the producer last did anything.
    fed: Instant,
    /// The part target of the current epoch.
    part_target_ms: u64,
    /// Playlists made for the window's version `rendered_at`.
    rendered: Vec<(Option<PlaylistName>, bool, Rendered)>,
    rendered_at: u64,
    disk: Option<Disk>,
    /// What the disk knows of the playlist.
    memo: Option<Memo>,
    memo_file: Option<Arc<StoredFile>>,
    row: Row,
    press: Option<Press>,
    flv: FollowedFlv,
}

impl Live {
    /// Blocks on the disk, if there is one.
    pub(crate) fn new(
        name: StreamName,
        config: &StoreConfig,
        numbers: Option<Numbers>,
        next_msn: u64,
        disk: Option<Disk>,
        books: Arc<Books>,
    ) -> Self {
        let Restored { window, memory } = restored::restore(config, next_msn, disk.as_ref());
        let state = State {
            window,
            memory,
            producer: Producer::Absent,
            fed: Instant::now(),
            part_target_ms: 0,
            rendered: Vec::new(),
            rendered_at: 0,
            disk,
            memo: None,
            memo_file: None,
            row: Row::default(),
            press: None,
            flv: FollowedFlv::default(),
        };
        let live = Self {
            name,
            numbers,
            books,
            state: Mutex::new(state),
            bytes: AtomicU64::new(0),
            parts: AtomicU64::new(0),
            gaps: AtomicU64::new(0),
            changed: watch::Sender::new(0),
            carried: watch::Sender::new(()),
            flv: Arc::new(Ring::new(config.flv_bytes_max)),
            audience: Audience::default(),
            served: Served::default(),
        };
        live.change(live.lock());
        live
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Ends a change: counts bytes, lets go of what left, wakes those who wait.
    fn change(&self, mut state: MutexGuard<'_, State>) {
        let State { window, memory, .. } = &mut *state;
        memory.follow(window, Instant::now());
        self.count(memory.bytes());
        state.save_memo(false);
        let (version, next_msn) = (state.window.version(), state.window.next_msn());
        drop(state);
        self.changed.send_replace(version);
        if let Some(numbers) = self.numbers.as_ref().filter(|numbers| numbers.runs_low(next_msn)) {
            reserve(numbers.clone(), next_msn);
        }
    }

    /// The same, and keeps the box in its budget.
    fn commit(&self, state: MutexGuard<'_, State>) {
        self.change(state);
        self.books.settle();
    }

    fn count(&self, bytes: u64) {
        let before = self.bytes.swap(bytes, Ordering::Relaxed);
        if bytes >= before {
            self.books.add(bytes - before);
        } else {
            self.books.sub(before - bytes);
        }
    }

    /// Begins an epoch with its initialization section.
    pub fn begin_epoch(&self, record: EpochRecord, init: Bytes) -> Result<(), PushError> {
        let mut state = self.lock();
        state.window.begin_epoch(record.clone()).map_err(PushError::Window)?;
        state.seal_epoch(&record, &init);
        state.memory.put_init(&record, init);
        let part_target = record.part_target;
        state.part_target_ms = u64::try_from(part_target.millis()).unwrap_or(0);
        state.fed = Instant::now();
        self.commit(state);
        self.carried.send_modify(|_| {});
        Ok(())
    }

    /// Takes a part; gives the header with its numbers. A part that is refused changes nothing for viewers, but for
    /// one that makes its segment too large: that is closed before it.
    pub fn push_part(&self, cut: &CutPart, bytes: Bytes) -> Result<PartHeader, PushError> {
        let len = u32::try_from(bytes.len()).map_err(|_| PushError::TooLarge)?;
        let blocks = self.lock().has_press().then(|| carried::hashes(&bytes)).flatten();
        let mut state = self.lock();
        let header = state.window.number(cut, len);
        let taken = state.window.push_part(header.clone());
        // What the window dropped at once, as too long for any playlist, is not kept either.
        let name = ObjectName::Part(header.epoch, header.msn, header.part);
        if taken.is_ok() && state.window.object(name) == stream::window::ObjectState::Ready {
            state.memory.put_part(&header, bytes);
            state.seal_part(&header, blocks);
        } else if taken.is_ok() {
            state.seal_mark(Mark::Dropped, header.msn);
        }
        state.fed = Instant::now();
        self.commit(state);
        self.carried.send_modify(|_| {});
        self.parts.fetch_add(u64::from(taken.is_ok()), Ordering::Relaxed);
        taken.map(|()| header).map_err(PushError::Window)
    }

    /// No more parts come for the open segment: closes it as it is.
    pub fn abandon_segment(&self) {
        let mut state = self.lock();
        state.abandon();
        self.commit(state);
        self.carried.send_modify(|_| {});
    }

    /// Nothing more comes: ENDLIST, and the end for FLV viewers.
    pub fn end(&self) {
        let mut state = self.lock();
        state.window.end();
        let newest = state.window.newest().map_or(0, |(msn, _)| msn);
        state.seal_mark(Mark::Ended, newest);
        self.commit(state);
        self.carried.send_modify(|_| {});
        self.flv.end();
    }

    /// Says whether somebody publishes. Requests wait for a first playlist only while somebody does; those that
    /// wait for the next part are held a moment longer, as publishers come back.
    pub fn producer(&self, producer: Producer) {
        let mut state = self.lock();
        state.producer = producer;
        if producer == Producer::Present {
            state.fed = Instant::now();
        }
        drop(state);
        self.changed.send_modify(|_| {});
    }

    /// A new FLV configuration: new readers get `head` first (file header, metadata, sequence headers), those that
    /// are connected get `inline` (sequence headers).
    pub fn begin_flv(&self, head: Bytes, inline: Bytes) {
        self.flv.begin(head, inline);
    }

    /// Ends the FLV readers that are connected: what comes next is no continuation for them.
    pub fn dismiss_flv(&self) {
        self.flv.dismiss();
    }

    /// One FLV tag. Readers begin at a tag with `start`: a keyframe, or any tag of an audio-only stream.
    pub fn push_flv(&self, tag: Bytes, start: bool) {
        self.flv.push([(tag, start)]);
    }

    /// Several tags with a single wake-up of all readers.
    pub fn push_flv_batch(&self, tags: impl IntoIterator<Item = (Bytes, bool)>) {
        self.flv.push(tags);
    }

    /// A viewer of the FLV stream; none if nobody publishes.
    #[must_use]
    pub fn flv_reader(&self) -> Option<FlvReader> {
        self.flv.is_running().then(|| self.flv.reader())
    }

    #[must_use]
    pub fn name(&self) -> &StreamName {
        &self.name
    }

    /// Counts an HLS client as watching. `client` is any hash that tells clients apart.
    pub fn seen(&self, client: u64) {
        self.audience.seen(client);
    }

    /// Somebody asked for what only low-latency players ask for.
    pub fn seen_near(&self) {
        self.audience.seen_near();
    }

    /// Whether parts are wanted as soon as they can be had: by players near the live edge, by FLV readers, by other boxes.
    /// Who plays whole segments only is as well served when they are whole.
    pub fn is_urgent(&self) -> bool {
        self.flv.readers() > 0 || self.carried.receiver_count() > 0 || self.audience.is_near()
    }

    #[must_use]
    pub fn viewers(&self) -> usize {
        self.audience.count() + self.flv.readers()
    }

    /// False if no viewer is there, nor was one lately; cheaper than [`Self::viewers`].
    pub fn is_watched(&self) -> bool {
        self.flv.readers() > 0 || !self.audience.is_empty()
    }

    /// Counted by whoever serves it.
    #[must_use]
    pub const fn served(&self) -> &Served {
        &self.served
    }

    #[must_use]
    pub fn stats(&self) -> Stats {
        Stats {
            bytes: self.bytes(),
            flv_bytes: self.flv.bytes(),
            flv_readers: self.flv.readers(),
            hls_clients: self.audience.count(),
            parts: self.parts.load(Ordering::Relaxed),
        }
    }

    /// Why viewers get less than they should.
    #[must_use]
    pub fn trouble(&self) -> Option<Trouble> {
        self.lock().window.trouble()
    }

    /// TARGETDURATION in seconds, once it is known.
    #[must_use]
    pub fn target_duration_s(&self) -> Option<u32> {
        self.lock().window.target_duration()
    }

    pub(crate) fn bytes(&self) -> u64 {
        self.bytes.load(Ordering::Relaxed)
    }

    /// Bytes of parts in RAM.
    #[cfg(test)]
    pub(crate) fn ram_bytes(&self) -> u64 {
        self.lock().memory.ram_bytes()
    }

    /// Gives back the oldest bytes for the box's budget: what lingers first, then the oldest segment, at last the
    /// open one. False if there is nothing to give.
    pub(crate) fn shed(&self) -> bool {
        let mut state = self.lock();
        let State { window, memory, .. } = &mut *state;
        let mut abandoned = None;
        if !memory.drop_lingering() {
            if !window.shed_oldest() {
                window.abandon_segment();
                abandoned = window.newest();
                window.shed_oldest();
            }
            memory.follow(window, Instant::now());
            memory.drop_all_lingering();
        }
        let (before, after) = (self.bytes(), memory.bytes());
        self.count(after);
        let version = window.version();
        if let Some((msn, _)) = abandoned {
            state.seal_mark(Mark::Dropped, msn);
        }
        state.trim_row();
        drop(state);
        self.changed.send_replace(version);
        after < before
    }

    /// The stream is being forgotten.
    pub(crate) fn clear(&self) {
        self.end();
        while self.shed() {}
        self.producer(Producer::Absent);
        let state = self.lock();
        if let Some(disk) = &state.disk {
            disk.forget(state.memo_file.as_deref());
        }
    }

    /// The last words before the store is closed: a restart may go on here.
    pub(crate) fn close(&self) {
        let mut state = self.lock();
        state.window.abandon_segment();
        state.memo = None;
        state.save_memo(true);
    }
}

impl State {
    /// Closes the open segment as it is, and says so to those who follow.
    fn abandon(&mut self) {
        let before = self.window.version();
        self.window.abandon_segment();
        if self.window.version() != before
            && let Some((msn, _)) = self.window.newest()
        {
            self.seal_mark(Mark::Abandoned, msn);
        }
    }

    /// Sees to it that the disk knows what the playlist promised.
    fn save_memo(&mut self, clean: bool) {
        let memo = self.window.memo();
        if let (Some(disk), Some(memo)) = (&self.disk, &memo)
            && self.memo.as_ref() != Some(memo)
            && let Some(file) = disk.save_memo(memo, clean, self.memo_file.as_deref())
        {
            self.memo = Some(*memo);
            self.memo_file = Some(file);
        }
    }
}

/// Half a block is left when this is called: the stream does not wait for the disk, unless there is no runtime to do it
/// beside.
fn reserve(numbers: Numbers, next_msn: u64) {
    let reserve = move || numbers.reserve(next_msn);
    match tokio::runtime::Handle::try_current() {
        Ok(runtime) => drop(runtime.spawn_blocking(reserve)),
        Err(_) => reserve(),
    }
}
