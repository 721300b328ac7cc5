//! What viewers ask of a stream, and how long they are made to wait for it.

use std::collections::hash_map::DefaultHasher;
use std::hash::Hasher;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use stream::playlist::{PlaylistName, Reload, Verdict};
use stream::window::ObjectState;
use stream::{EpochId, ObjectName};
use tokio::sync::watch;
use tokio::time::{Instant, timeout_at};

use super::{Live, Producer, State};
use crate::object::{Blob, Object};
use crate::row::Item;

/// A producer that made nothing for three part targets, but at least for this long, has stalled.
const STALL_MIN: Duration = Duration::from_secs(2);
/// At a relay: how long somebody waits for an object that others may have heard of sooner than this box.
const NEWS_MAX: Duration = Duration::from_secs(1);

/// A playlist, the same for all who get it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rendered {
    pub text: Bytes,
    /// A hash of the text, for an entity tag.
    pub tag: u64,
}

/// Why there is no playlist.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PlaylistError {
    #[error("{0}")]
    BadRequest(&'static str),
    #[error("there is no such playlist")]
    NotFound,
    #[error("nobody publishes this stream")]
    Offline,
    #[error("the first group of pictures is not whole yet")]
    Held,
    #[error("the publisher has stalled")]
    Stalled,
}

/// Why there is no object.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ObjectError {
    #[error("there is no such object")]
    NotFound,
    #[error("the publisher has stalled")]
    Stalled,
}

/// One look at the state.
enum Look<T, E> {
    Done(Result<T, E>),
    /// Look again after a change, but not later than this: then it is the error.
    Wait(Instant, E),
}

/// What a relay can say of an object that its window does not have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Outlook {
    /// Its item is here, and its blocks are coming.
    Comes,
    /// The window is empty, and somebody brings the stream.
    Begins,
    /// It is just behind all that this box has heard of.
    Ahead,
    Unknown,
}

impl Live {
    /// The multivariant playlist. While the first group of pictures is not whole the answer is held, until
    /// `deadline` at most.
    pub async fn multivariant(&self, deadline: Instant) -> Result<Rendered, PlaylistError> {
        self.wait_for(|state| {
            if let Some(rendered) = state.rendered(None, false) {
                return Look::Done(Ok(rendered));
            }
            match state.window.multivariant() {
                Ok(text) => Look::Done(Ok(state.keep(None, false, text))),
                Err(_) => state.held(deadline),
            }
        })
        .await
    }

    /// A media playlist. It is held until it has what `reload` asks for, until `deadline` at most.
    pub async fn media_playlist(
        &self,
        name: PlaylistName,
        reload: &Reload,
        deadline: Instant,
    ) -> Result<Rendered, PlaylistError> {
        self.wait_for(|state| match state.window.verdict(name, reload) {
            Verdict::Ready { delta } => Look::Done(state.render(name, delta)),
            Verdict::BadRequest(why) => Look::Done(Err(PlaylistError::BadRequest(why))),
            Verdict::NotFound => Look::Done(Err(PlaylistError::NotFound)),
            Verdict::Held => state.held(deadline),
            Verdict::Wait => Look::Wait(state.stalls_at().min(deadline), PlaylistError::Stalled),
        })
        .await
    }

    /// A media object. One that is hinted is held until its first bytes are there, and at a relay also one that is on its
    /// way; one that will never be made is not found at once.
    pub async fn object(
        self: &Arc<Self>,
        name: ObjectName,
        deadline: Instant,
    ) -> Result<Object, ObjectError> {
        let heard_by = (Instant::now() + NEWS_MAX).min(deadline);
        self.wait_for(|state| match state.find(self, name) {
            Some(object) => Look::Done(Ok(object)),
            None => match state.window.object(name) {
                ObjectState::Pending => Look::Wait(state.stalls_at().min(deadline), ObjectError::Stalled),
                ObjectState::Unknown if self.numbers.is_none() => match state.outlook(name) {
                    Outlook::Comes => Look::Wait(state.stalls_at().min(deadline), ObjectError::Stalled),
                    Outlook::Begins => Look::Wait(deadline, ObjectError::Stalled),
                    Outlook::Ahead => Look::Wait(heard_by, ObjectError::NotFound),
                    Outlook::Unknown => Look::Done(Err(ObjectError::NotFound)),
                },
                ObjectState::Ready | ObjectState::Never | ObjectState::Unknown => {
                    Look::Done(Err(ObjectError::NotFound))
                }
            },
        })
        .await
    }

    /// Looks, and looks again after each change, until the look is done or its time is up.
    async fn wait_for<T, E>(&self, mut look: impl FnMut(&mut State) -> Look<T, E>) -> Result<T, E> {
        let mut changes: Option<watch::Receiver<u64>> = None;
        loop {
            // Subscribed before the look, so that no change between the two is missed.
            let until = match look(&mut self.lock()) {
                Look::Done(result) => return result,
                Look::Wait(until, error) if until <= Instant::now() => return Err(error),
                Look::Wait(until, _) => until,
            };
            match &mut changes {
                None => changes = Some(self.changed.subscribe()),
                // The sender lives as long as `self`. A timeout looks once more: the producer may have gone on.
                Some(changes) => drop(timeout_at(until, changes.changed()).await),
            }
        }
    }
}

impl State {
    fn rendered(&mut self, name: Option<PlaylistName>, delta: bool) -> Option<Rendered> {
        if self.rendered_at != self.window.version() {
            self.rendered.clear();
            self.rendered_at = self.window.version();
        }
        let found = self.rendered.iter().find(|(kept, kept_delta, _)| (*kept, *kept_delta) == (name, delta));
        found.map(|(_, _, rendered)| rendered.clone())
    }

    /// Keeps a text for this version. There are at most two per playlist that answers, and the multivariant one.
    fn keep(&mut self, name: Option<PlaylistName>, delta: bool, text: String) -> Rendered {
        let mut hasher = DefaultHasher::new();
        hasher.write(text.as_bytes());
        let rendered = Rendered { text: text.into(), tag: hasher.finish() };
        self.rendered.push((name, delta, rendered.clone()));
        rendered
    }

    fn render(&mut self, name: PlaylistName, delta: bool) -> Result<Rendered, PlaylistError> {
        if let Some(rendered) = self.rendered(Some(name), delta) {
            return Ok(rendered);
        }
        let text = self.window.render(name, delta).ok_or(PlaylistError::NotFound)?;
        Ok(self.keep(Some(name), delta, text))
    }

    /// Nothing can be promised yet: worth waiting for only while somebody publishes.
    fn held<T>(&self, deadline: Instant) -> Look<T, PlaylistError> {
        match self.producer {
            Producer::Present => Look::Wait(deadline, PlaylistError::Held),
            Producer::Absent => Look::Done(Err(PlaylistError::Offline)),
        }
    }

    fn stalls_at(&self) -> Instant {
        self.fed + STALL_MIN.max(Duration::from_millis(3 * self.part_target_ms))
    }

    /// Of a stream that is numbered elsewhere: what is signed stands in the row before the window takes it.
    fn outlook(&self, name: ObjectName) -> Outlook {
        let (ObjectName::Segment(epoch, msn) | ObjectName::Part(epoch, msn, _)) = name else {
            return if self.begins() { Outlook::Begins } else { Outlook::Unknown };
        };
        let wanted = match name {
            ObjectName::Part(_, _, part) => Some(part),
            ObjectName::Segment(..) | ObjectName::Init(_) => None,
        };
        let is_it = |item: &Item| {
            item.part().is_some_and(|part| {
                let header = &part.header;
                (header.epoch, header.msn) == (epoch, msn) && wanted.is_none_or(|part| part == header.part)
            }) && !item.is_gap()
        };
        if self.begins() {
            return Outlook::Begins;
        }
        if self.row.pending.values().any(|item| is_it(item)) {
            return Outlook::Comes;
        }
        let newest = self.row.newest_part().and_then(|item| item.part()).map(|part| &part.header);
        let ahead = newest.is_some_and(|newest| {
            msn == newest.msn + 1 || (msn == newest.msn && wanted.is_some_and(|part| part > newest.part))
        });
        if ahead && self.producer == Producer::Present { Outlook::Ahead } else { Outlook::Unknown }
    }

    /// Nothing has come yet of what somebody brings.
    fn begins(&self) -> bool {
        self.producer == Producer::Present && self.window.newest().is_none()
    }

    fn find(&self, live: &Arc<Live>, name: ObjectName) -> Option<Object> {
        match name {
            ObjectName::Init(epoch) => Some(Object::whole([self.memory.init(epoch)?.clone()])),
            ObjectName::Part(epoch, msn, part) => {
                Some(Object::whole([self.memory.part(epoch, msn, part)?.clone()]))
            }
            ObjectName::Segment(epoch, msn) => {
                let segment = self.memory.segment(epoch, msn)?;
                if self.window.object(name) == ObjectState::Pending {
                    return Some(Object::growing(Growing::new(live, epoch, msn)));
                }
                let parts = segment.parts.iter().flatten();
                (parts.clone().count() > 0).then(|| Object::whole(parts.cloned()))
            }
        }
    }
}

/// A place in the open segment.
#[derive(Debug)]
pub(crate) struct Growing {
    live: Arc<Live>,
    epoch: EpochId,
    msn: u64,
    next: usize,
}

impl Growing {
    fn new(live: &Arc<Live>, epoch: EpochId, msn: u64) -> Self {
        Self { live: Arc::clone(live), epoch, msn, next: 0 }
    }

    /// The next part; none when the segment is closed and all of it was given. A segment that neither grows nor
    /// closes, or that was dropped meanwhile, is an error: its end must not look like one.
    pub(crate) async fn next(&mut self) -> io::Result<Option<Blob>> {
        let (epoch, msn) = (self.epoch, self.msn);
        let next = &mut self.next;
        self.live
            .wait_for(|state| {
                let Some(segment) = state.memory.segment(epoch, msn) else {
                    return Look::Done(Err(io::ErrorKind::NotFound.into()));
                };
                while let Some(part) = segment.parts.get(*next) {
                    *next += 1;
                    if let Some(blob) = part {
                        return Look::Done(Ok(Some(blob.clone())));
                    }
                }
                match state.window.object(ObjectName::Segment(epoch, msn)) {
                    ObjectState::Pending => Look::Wait(state.stalls_at(), io::ErrorKind::TimedOut.into()),
                    ObjectState::Ready | ObjectState::Never | ObjectState::Unknown => Look::Done(Ok(None)),
                }
            })
            .await
    }
}
