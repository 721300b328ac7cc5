//! The desk at which publishers report: whose key it is, who has the stream now, who was turned away and why.
//!
//! ```text
//! open(key)  -> slot of the stream -> revoke the older publication -> new pipeline
//! pull(name) -> slot of the stream -> only if nobody is there -------> (begins when the older one is done)
//! ```

use std::collections::{BTreeMap, VecDeque};
use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use ingest::{CloseReason, ConnectRequest, Desk, Event, Publication, PublishRequest, Refusal, Revocation};
use media::Packager;
use serve::RefusalView;
use store::{Live, Store};
use stream::StreamName;
use tokio::sync::{mpsc, watch};

use crate::pipeline::{self, Pipeline};
use crate::secrets::Keys;
use crate::status::{Status, unix_ms};

/// Batches of one publication that wait for its pipeline.
const BATCHES_MAX: usize = 512;
/// Bytes in them: several seconds of the highest bitrate.
const WAITING_BYTES_MAX: usize = 32 << 20;
/// A stream of which nobody wants each part at once is taken this much at a time: half a part.
const CALM_STRIDE: Duration = Duration::from_millis(100);
/// Refusals that the streamer's page shows.
const REFUSALS_MAX: usize = 50;
/// In what OBS says of itself. It takes every end of a running publication for a fault of the line.
const INSISTING: &str = "obs-output";
/// OBS's pause before it tries again is 2 s; 10 s in older versions (Settings, Advanced, Automatically Reconnect).
const COMES_BACK: Duration = Duration::from_secs(15);
/// What OBS has as the last part of "Server".
const APPLICATION: &str = "live";

#[derive(Debug)]
pub(crate) struct Roster {
    keys: Mutex<Keys>,
    slots: Mutex<BTreeMap<StreamName, Arc<Slot>>>,
    refusals: Mutex<VecDeque<RefusalView>>,
    refused: AtomicUsize,
    store: Arc<Store>,
    packager: Packager,
    cutter: stream::cutter::Settings,
    /// What else has to happen when a publication begins; none at a box by itself.
    greeting: OnceLock<Greeting>,
}

/// Called when a publication has begun or ended.
pub(crate) type Changed = Arc<dyn Fn() + Send + Sync>;

/// Called with the stream's name before its publication has a place, and with the stream before its first part.
pub(crate) struct Greeting {
    pub(crate) coming: Box<dyn Fn(&StreamName) + Send + Sync>,
    pub(crate) begins: Box<dyn Fn(&Live) + Send + Sync>,
    /// A publication began or ended.
    pub(crate) changed: Changed,
}

impl std::fmt::Debug for Greeting {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Greeting").finish_non_exhaustive()
    }
}

/// One stream's place: who publishes, and what is known of it.
#[derive(Debug, Default)]
pub(crate) struct Slot {
    pub(crate) status: Status,
    /// Held by the pipeline that feeds the stream: the next one waits for it.
    pub(crate) stage: Arc<tokio::sync::Mutex<Stage>>,
    publisher: Mutex<Option<watch::Sender<Option<CloseReason>>>>,
    /// Why a publisher that will be back was sent away in the middle, and when.
    parting: Mutex<Option<(Refusal, Instant)>>,
}

/// What a publication leaves behind for the next one.
#[derive(Debug, Default)]
pub(crate) struct Stage {
    pub(crate) flv: Option<pipeline::Left>,
}

impl Roster {
    pub(crate) fn new(
        keys: Keys,
        store: Arc<Store>,
        packager: Packager,
        cutter: stream::cutter::Settings,
    ) -> Self {
        Self {
            keys: Mutex::new(keys),
            slots: Mutex::default(),
            refusals: Mutex::default(),
            refused: AtomicUsize::new(0),
            store,
            packager,
            cutter,
            greeting: OnceLock::new(),
        }
    }

    /// Once, before anybody publishes.
    pub(crate) fn greet(&self, greeting: Greeting) {
        // A second one has nobody to say it.
        drop(self.greeting.set(greeting));
    }

    pub(crate) fn keys(&self) -> MutexGuard<'_, Keys> {
        self.keys.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn store(&self) -> &Arc<Store> {
        &self.store
    }

    pub(crate) fn packager(&self) -> &Packager {
        &self.packager
    }

    pub(crate) fn slot(&self, name: &StreamName) -> Arc<Slot> {
        Arc::clone(lock(&self.slots).entry(name.clone()).or_default())
    }

    pub(crate) fn refusals(&self) -> Vec<RefusalView> {
        lock(&self.refusals).iter().cloned().collect()
    }

    pub(crate) fn refused(&self) -> usize {
        self.refused.load(Ordering::Relaxed)
    }

    /// Disconnects who publishes a stream, if anyone does.
    pub(crate) fn disconnect(&self, name: &StreamName, why: CloseReason) {
        self.slot(name).revoke(why);
    }

    /// Opens the publication of a stream that is pulled; none while a publisher has it.
    pub(crate) fn pull(&self, name: &StreamName) -> Result<Option<Box<dyn Publication>>, Refusal> {
        if self.keys().key(name).is_none() {
            return Err(Refusal::Other(
                "the stream was removed: take it out of the settings as well".to_owned(),
            ));
        }
        let (live, slot) = self.place(name)?;
        let Some((revoke, revocation)) = slot.take() else { return Ok(None) };
        if let Some(greeting) = self.greeting.get() {
            (greeting.begins)(&live);
        }
        Ok(Some(Box::new(self.feed(live, slot, revoke, revocation, Giver::Pull))))
    }

    fn place(&self, name: &StreamName) -> Result<(Arc<Live>, Arc<Slot>), Refusal> {
        if let Some(greeting) = self.greeting.get() {
            (greeting.coming)(name);
        }
        let live = self.store.live(name.as_str()).map_err(|error| Refusal::Other(error.to_string()))?;
        Ok((live, self.slot(name)))
    }

    /// A publication that has its place, and its pipeline.
    fn feed(
        &self,
        live: Arc<Live>,
        slot: Arc<Slot>,
        revoke: watch::Sender<Option<CloseReason>>,
        revocation: Revocation,
        giver: Giver,
    ) -> Feed {
        let (batches, inbox) = mpsc::channel(BATCHES_MAX);
        let waiting = Arc::new(AtomicUsize::new(0));
        let changed = self.greeting.get().map(|greeting| Arc::clone(&greeting.changed));
        let pipeline =
            Pipeline::new(Arc::clone(&live), Arc::clone(&slot), self.packager.clone(), self.cutter, changed);
        tokio::spawn(pipeline::run(pipeline, inbox, Arc::clone(&waiting), revoke));
        Feed { live, slot, giver, insists: false, batches: Some(batches), waiting, revocation }
    }

    /// Forgets a stream that was removed; its key is gone already.
    pub(crate) fn forget(&self, name: &StreamName) {
        self.disconnect(name, CloseReason::Refused(Refusal::WrongKey));
        lock(&self.slots).remove(name);
        self.store.remove(name);
    }
}

/// Who gives a publication.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Giver {
    Publisher,
    /// This box itself, from another server.
    Pull,
}

impl Slot {
    /// Whether somebody publishes, or pulls.
    pub(crate) fn is_held(&self) -> bool {
        lock(&self.publisher).as_ref().is_some_and(|holder| holder.receiver_count() > 0)
    }

    /// Waits until nobody does.
    pub(crate) async fn vacated(&self) {
        loop {
            let holder = lock(&self.publisher).clone();
            match holder.filter(|holder| holder.receiver_count() > 0) {
                Some(holder) => holder.closed().await,
                None => return,
            }
        }
    }

    /// Takes the place if nobody has it.
    fn take(&self) -> Option<(watch::Sender<Option<CloseReason>>, Revocation)> {
        let mut publisher = lock(&self.publisher);
        if publisher.as_ref().is_some_and(|holder| holder.receiver_count() > 0) {
            return None;
        }
        let revoke = watch::Sender::new(None);
        let revocation = revoke.subscribe();
        *publisher = Some(revoke.clone());
        Some((revoke, revocation))
    }

    fn revoke(&self, why: CloseReason) {
        if let Some(older) = lock(&self.publisher).take() {
            older.send_replace(Some(why));
        }
    }

    /// Tells a publisher that comes back by itself once more why it was sent away.
    fn greet(&self) -> Result<(), Refusal> {
        match lock(&self.parting).take() {
            Some((refusal, at)) if at.elapsed() < COMES_BACK => Err(refusal),
            Some(_) | None => Ok(()),
        }
    }
}

impl Desk for Roster {
    fn admit(&self, request: ConnectRequest<'_>) -> Result<(), Refusal> {
        if request.app == APPLICATION { Ok(()) } else { Err(Refusal::UnknownApplication) }
    }

    fn open(&self, request: PublishRequest<'_>) -> Result<Box<dyn Publication>, Refusal> {
        if request.app != APPLICATION {
            return Err(Refusal::UnknownApplication);
        }
        let name = self.keys().find(request.key).ok_or(Refusal::WrongKey)?;
        let (live, slot) = self.place(&name)?;
        slot.greet()?;
        if let Some(greeting) = self.greeting.get() {
            (greeting.begins)(&live);
        }
        slot.revoke(CloseReason::TakenOver);
        let revoke = watch::Sender::new(None);
        let revocation = revoke.subscribe();
        *lock(&slot.publisher) = Some(revoke.clone());
        tracing::info!(stream.id = %name, tls = request.tls, "a publisher came");
        tracing::debug!(stream.id = %name, peer = %request.peer, "its address");
        Ok(Box::new(self.feed(live, slot, revoke, revocation, Giver::Publisher)))
    }

    fn refused(&self, peer: SocketAddr, reason: &Refusal) {
        self.refused.fetch_add(1, Ordering::Relaxed);
        let view = RefusalView {
            at_unix_ms: unix_ms(),
            peer: peer.ip().to_canonical().to_string(),
            code: reason.code().to_owned(),
            text: reason.to_string(),
        };
        let mut refusals = lock(&self.refusals);
        if let Some(last) = refusals.back_mut().filter(|_| *reason == Refusal::TooManyAttempts)
            && (&last.peer, &last.text) == (&view.peer, &view.text)
        {
            // Said once: more would let a guesser fill the log and the page.
            last.at_unix_ms = view.at_unix_ms;
            return;
        }
        tracing::warn!(reason = %reason, code = reason.code(), "a publisher was turned away");
        if refusals.len() == REFUSALS_MAX {
            refusals.pop_front();
        }
        refusals.push_back(view);
    }
}

/// A publication's end on the connection's side.
#[derive(Debug)]
struct Feed {
    live: Arc<Live>,
    slot: Arc<Slot>,
    giver: Giver,
    /// The publisher connects again by itself, unless it is refused when it asks to publish.
    insists: bool,
    batches: Option<mpsc::Sender<Vec<Event>>>,
    waiting: Arc<AtomicUsize>,
    revocation: Revocation,
}

impl Publication for Feed {
    fn accept(&mut self, events: &mut Vec<Event>) -> Result<(), Refusal> {
        let Some(batches) = &self.batches else { return Ok(()) };
        if events.is_empty() {
            return Ok(());
        }
        for event in events.iter() {
            if let Event::Metadata(metadata) = event {
                // A server that is pulled from passes on what its own publisher says of itself.
                self.insists = self.giver == Giver::Publisher
                    && metadata.encoder.as_ref().is_some_and(|encoder| encoder.contains(INSISTING));
            }
        }
        let bytes: usize = events.iter().map(pipeline::event_bytes).sum();
        let slow = || Refusal::Other("the box can't keep up with this stream: lower the bitrate".to_owned());
        if self.waiting.fetch_add(bytes, Ordering::Relaxed) > WAITING_BYTES_MAX {
            return Err(slow());
        }
        batches.try_send(std::mem::take(events)).map_err(|_| slow())
    }

    fn stride(&self) -> Option<Duration> {
        (!self.live.is_urgent()).then_some(CALM_STRIDE)
    }

    fn closed(&mut self, why: CloseReason) {
        if let CloseReason::Refused(refusal @ Refusal::UnsupportedCodec(_)) = &why
            && self.insists
        {
            *lock(&self.slot.parting) = Some((refusal.clone(), Instant::now()));
        }
        // The pipeline ends when its inbox does.
        self.batches = None;
        match self.giver {
            Giver::Publisher => {
                tracing::info!(stream.id = %self.live.name(), reason = ?why, "the publisher is gone");
            }
            Giver::Pull => tracing::debug!(stream.id = %self.live.name(), reason = ?why, "a pull is over"),
        }
    }

    fn revoked(&self) -> Revocation {
        self.revocation.clone()
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
