//! The FLV tags of a stream for HTTP-FLV: one ring, many readers, no copy of the media.
//!
//! ```text
//! begin(head) ── push ── push(keyframe) ── push ── ... ── end
//!                          └ a new reader begins here: head, then everything since the last keyframe
//! ```
//! The ring keeps the tags since the keyframe before the last one, or a few hundred kilobytes if that is more, and
//! never more than its bound. A reader that falls out of it is told so and gets nothing more: it refuses to wait
//! for slow readers or to thin the stream out for them.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

use bytes::Bytes;

/// Kept for readers that are a little late, even if keyframes come often (or all tags are keyframes: audio).
const SLACK_BYTES: usize = 512 << 10;
/// What a reader takes at once: one frame of a response body, one `writev`.
const BATCH_TAGS_MAX: usize = 60;
const BATCH_BYTES_MAX: usize = 256 << 10;

/// Why a reader gets no more tags.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FlvError {
    /// The reader is so far behind that the tags it needs are gone.
    #[error("the reader is too slow for the stream")]
    Lagged,
    #[error("the stream has ended")]
    Ended,
}

#[derive(Debug)]
pub(crate) struct Ring {
    state: Mutex<State>,
    bytes_max: usize,
}

#[derive(Debug, Default)]
struct State {
    phase: Phase,
    head: Bytes,
    tags: VecDeque<Bytes>,
    /// Sequence number of the first tag in `tags`.
    first: u64,
    bytes: usize,
    /// How often readers were dismissed.
    generation: u64,
    /// Sequence numbers of the tags at which a reader may begin, all within `tags`.
    starts: VecDeque<u64>,
    readers: Vec<Slot>,
    waiting: usize,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Phase {
    /// Nothing was ever published.
    #[default]
    Idle,
    Running,
    Ended,
}

/// A reader's place in the table of wakers.
#[derive(Debug)]
enum Slot {
    Free,
    Busy,
    Waiting(Waker),
}

impl Ring {
    pub(crate) fn new(bytes_max: usize) -> Self {
        Self { state: Mutex::default(), bytes_max }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A new configuration: readers that come get `head` first, those that are connected get `inline`.
    pub(crate) fn begin(&self, head: Bytes, inline: Bytes) {
        let mut state = self.lock();
        state.head = head;
        state.starts.clear();
        if state.phase == Phase::Running && !inline.is_empty() {
            state.append(inline, false);
        }
        state.phase = Phase::Running;
        state.trim(self.bytes_max);
        wake(state);
    }

    pub(crate) fn push(&self, tags: impl IntoIterator<Item = (Bytes, bool)>) {
        let mut state = self.lock();
        if state.phase != Phase::Running {
            return;
        }
        for (tag, start) in tags {
            state.append(tag, start);
        }
        state.trim(self.bytes_max);
        wake(state);
    }

    /// Readers get what is left and then [`FlvError::Ended`].
    pub(crate) fn end(&self) {
        let mut state = self.lock();
        if state.phase == Phase::Running {
            state.phase = Phase::Ended;
            state.head = Bytes::new();
            state.starts.clear();
        }
        wake(state);
    }

    /// Readers that have begun get [`FlvError::Ended`] and nothing more; those that wait for a keyframe go on waiting.
    pub(crate) fn dismiss(&self) {
        let mut state = self.lock();
        state.generation += 1;
        state.starts.clear();
        wake(state);
    }

    pub(crate) fn is_running(&self) -> bool {
        self.lock().phase == Phase::Running
    }

    pub(crate) fn readers(&self) -> usize {
        self.lock().readers.iter().filter(|slot| !matches!(slot, Slot::Free)).count()
    }

    pub(crate) fn bytes(&self) -> usize {
        self.lock().bytes
    }

    pub(crate) fn reader(self: &Arc<Self>) -> FlvReader {
        let mut state = self.lock();
        let slot = state.readers.iter().position(|slot| matches!(slot, Slot::Free));
        let slot = slot.unwrap_or_else(|| {
            state.readers.push(Slot::Free);
            state.readers.len() - 1
        });
        state.readers[slot] = Slot::Busy;
        drop(state);
        FlvReader { ring: Arc::clone(self), slot, next: None, generation: 0 }
    }
}

impl State {
    fn append(&mut self, tag: Bytes, start: bool) {
        if start {
            self.starts.push_back(self.end());
        }
        self.bytes += tag.len();
        self.tags.push_back(tag);
    }

    /// The sequence number that the next tag gets.
    fn end(&self) -> u64 {
        self.first + self.tags.len() as u64
    }

    fn trim(&mut self, bytes_max: usize) {
        let keep_from = match self.starts.len() {
            0 => self.end(),
            1 => self.starts[0],
            n => self.starts[n - 2],
        };
        while self.bytes > bytes_max || (self.first < keep_from && self.bytes > SLACK_BYTES) {
            let Some(tag) = self.tags.pop_front() else { break };
            self.bytes -= tag.len();
            self.first += 1;
        }
        while self.starts.front().is_some_and(|start| *start < self.first) {
            self.starts.pop_front();
        }
    }
}

/// Wakes all who wait, after the lock is given back: they take it at once.
fn wake(mut state: MutexGuard<'_, State>) {
    if state.waiting == 0 {
        return;
    }
    let mut woken = Vec::with_capacity(state.waiting);
    for slot in &mut state.readers {
        if matches!(slot, Slot::Waiting(_))
            && let Slot::Waiting(waker) = std::mem::replace(slot, Slot::Busy)
        {
            woken.push(waker);
        }
    }
    state.waiting = 0;
    drop(state);
    for waker in woken {
        waker.wake();
    }
}

/// One viewer's place in the ring.
#[derive(Debug)]
pub struct FlvReader {
    ring: Arc<Ring>,
    slot: usize,
    /// The tag it needs next; none until it found a keyframe to begin at.
    next: Option<u64>,
    /// The ring's generation when it began.
    generation: u64,
}

impl FlvReader {
    /// The next tags, at least one, all that are there up to a bound.
    pub async fn next(&mut self) -> Result<Vec<Bytes>, FlvError> {
        std::future::poll_fn(|cx| self.poll_next(cx)).await
    }

    /// Whether the tags it needs next are gone.
    #[must_use]
    pub fn has_lagged(&self) -> bool {
        self.next.is_some_and(|next| next < self.ring.lock().first)
    }

    /// What [`FlvReader::next`] awaits.
    pub fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Result<Vec<Bytes>, FlvError>> {
        let mut guard = self.ring.lock();
        let state = &mut *guard;
        let mut batch = Vec::new();
        let next = match self.next {
            Some(_) if self.generation != state.generation => return Poll::Ready(Err(FlvError::Ended)),
            Some(next) => next,
            None => match state.starts.back() {
                Some(start) => {
                    batch.push(state.head.clone());
                    self.generation = state.generation;
                    *start
                }
                None if state.phase == Phase::Ended => return Poll::Ready(Err(FlvError::Ended)),
                None => return state.wait(self.slot, cx),
            },
        };
        if next < state.first {
            return Poll::Ready(Err(FlvError::Lagged));
        }
        let from = usize::try_from(next - state.first).unwrap_or(usize::MAX);
        let mut bytes = 0;
        for tag in state.tags.iter().skip(from).take(BATCH_TAGS_MAX) {
            bytes += tag.len();
            batch.push(tag.clone());
            self.next = Some(self.next.unwrap_or(next) + 1);
            if bytes >= BATCH_BYTES_MAX {
                break;
            }
        }
        if !batch.is_empty() {
            return Poll::Ready(Ok(batch));
        }
        match state.phase {
            Phase::Ended => Poll::Ready(Err(FlvError::Ended)),
            Phase::Idle | Phase::Running => state.wait(self.slot, cx),
        }
    }
}

impl State {
    fn wait<T>(&mut self, slot: usize, cx: &Context<'_>) -> Poll<T> {
        let slot = &mut self.readers[slot];
        match slot {
            Slot::Waiting(waker) if waker.will_wake(cx.waker()) => {}
            Slot::Waiting(waker) => waker.clone_from(cx.waker()),
            Slot::Free | Slot::Busy => {
                *slot = Slot::Waiting(cx.waker().clone());
                self.waiting += 1;
            }
        }
        Poll::Pending
    }
}

impl Drop for FlvReader {
    fn drop(&mut self) {
        let mut state = self.ring.lock();
        if matches!(std::mem::replace(&mut state.readers[self.slot], Slot::Free), Slot::Waiting(_)) {
            state.waiting -= 1;
        }
        while matches!(state.readers.last(), Some(Slot::Free)) {
            state.readers.pop();
        }
    }
}

#[cfg(test)]
mod tests;
