//! Who is a member, held in memory, and what each box is told of the others.
//!
//! ```text
//! database ── reload ──> Directory ── watch ──> one View per connected box ──> frames
//! ```
//! The database is the truth: after each change, also one by another program, the directory is read anew and every
//! view finds for itself what its box has to hear. Refuses to remember anything that a restart would lose.

mod beats;
mod directory;
mod pins;
mod view;

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use bytes::Bytes;
use tokio::sync::{Notify, mpsc, oneshot, watch};
use trust::map::{Map, MapEpoch, PEERS_MAX};
use trust::{BoxKey, Coordinator, DecodeError, Revocations, Signed, Statement};
use wire::Frame;

pub(crate) use beats::{Beat, Beats};
pub(crate) use directory::{Directory, Member, Standing};
use pins::Pins;
pub(crate) use pins::{HOLDS, PinRefused};
use view::{Pinned, View};

use crate::clock;
use crate::service::Service;
use crate::store::{Store, StoreError};

/// Boxes that are connected at once.
const PUSHES_MAX: usize = 1024;
/// Frames that wait for a slow box.
const FRAMES_MAX: usize = 8;
/// A box that takes nothing for so long is let go; it comes again.
const STALL_MAX: Duration = Duration::from_secs(30);
/// How often a box hears that its map is still current.
const CURRENT_EVERY: Duration = Duration::from_secs(1800);
/// Another program's write is noticed within this time.
const WATCH_EVERY: Duration = Duration::from_millis(300);

#[derive(Debug)]
pub(crate) struct Hub {
    pub(crate) service: Service,
    pub(crate) store: Store,
    directory: watch::Sender<Arc<Directory>>,
    epoch: AtomicU64,
    /// Whether the directory has to be read anew at the watch's next look.
    stale: AtomicBool,
    told: Mutex<BTreeMap<BoxKey, MapEpoch>>,
    beats: Mutex<Beats>,
    pushes: Mutex<BTreeMap<BoxKey, Push>>,
    /// The places of a box's map.
    boxes_max: usize,
    pins: Mutex<Pins>,
}

/// What is told to one box for as long as it is connected.
#[derive(Debug)]
struct Push {
    /// Dropping it ends the push.
    replaced: oneshot::Sender<()>,
    /// Has it look for news of this box alone.
    news: Arc<Notify>,
}

impl Hub {
    /// `boxes_max` are the places of a box's map, at most [`trust::map::PEERS_MAX`].
    pub(crate) async fn start(service: Service, store: Store, boxes_max: usize) -> Result<Self, StoreError> {
        let boxes_max = boxes_max.min(PEERS_MAX);
        let pins = Mutex::new(Pins::new(boxes_max));
        let directory = read(&store, &service).await?;
        let beats = Mutex::new(store.call(|database| beats(database)).await?);
        let epoch = AtomicU64::new(MapEpoch::first(clock::now()).0);
        let directory = watch::Sender::new(Arc::new(directory));
        let (told, pushes) = (Mutex::default(), Mutex::default());
        let stale = AtomicBool::new(false);
        Ok(Self { service, store, directory, epoch, stale, told, beats, pushes, boxes_max, pins })
    }

    /// What boxes told last. Held for as long as a look takes.
    pub(crate) fn beats(&self) -> MutexGuard<'_, Beats> {
        self.beats.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn directory(&self) -> Arc<Directory> {
        Arc::clone(&self.directory.borrow())
    }

    /// Reads the directory anew, and has all views look at it.
    ///
    /// # Errors
    /// [`StoreError`]; what is known stays.
    pub(crate) async fn reload(&self) -> Result<(), StoreError> {
        let directory = read(&self.store, &self.service).await?;
        self.directory.send_replace(Arc::new(directory));
        Ok(())
    }

    /// Has the watch read the directory anew at its next look: for changes that come in numbers, so that a hundred
    /// boxes that moved cost one reading.
    pub(crate) fn reload_soon(&self) {
        self.stale.store(true, Ordering::Relaxed);
    }

    /// Notices what other programs write, and what is put off. Never ends.
    pub(crate) async fn watch(&self) {
        let mut known = None;
        let mut failing = false;
        loop {
            tokio::time::sleep(WATCH_EVERY).await;
            let looked = self.store.call(|database| database.version()).await;
            let done = match looked {
                Ok(version) => {
                    // Also the first time: somebody may have written since the start.
                    let written = known.replace(version) != Some(version);
                    let stale = self.stale.swap(false, Ordering::Relaxed);
                    if written || stale { self.reload().await } else { Ok(()) }
                }
                Err(error) => Err(error),
            };
            match done {
                Ok(()) => failing = false,
                Err(error) => {
                    self.reload_soon();
                    if !std::mem::replace(&mut failing, true) {
                        tracing::error!(%error, "{}", error.code().what_to_do());
                    }
                }
            }
        }
    }

    pub(crate) fn coordinator(&self, revocations: &Revocations) -> anyhow::Result<Coordinator> {
        self.service.mesh.coordinator(clock::now(), revocations)
    }

    /// A whole map for one box, as of now.
    ///
    /// # Errors
    /// None but for a fault of this program: the content is in bounds by its type.
    pub(crate) fn map_for(&self, key: &BoxKey) -> Result<Signed<Map>, DecodeError> {
        let mut view = View::new(*key, self.boxes_max);
        view.look(&self.directory(), self.pinned(key));
        let map = view.whole(&self.service, self.next_epoch(key))?;
        Ok(map)
    }

    /// The newest map that the box was told of; one it can't have when there was none since the start.
    pub(crate) fn told(&self, key: &BoxKey) -> MapEpoch {
        let told = self.told.lock().unwrap_or_else(PoisonError::into_inner).get(key).copied();
        told.unwrap_or(MapEpoch(self.epoch.load(Ordering::Relaxed)))
    }

    pub(crate) fn is_connected(&self, key: &BoxKey) -> bool {
        let pushes = self.pushes.lock().unwrap_or_else(PoisonError::into_inner);
        pushes.get(key).is_some_and(|push| !push.replaced.is_closed())
    }

    /// Puts two boxes into each other's maps, and says for how long: not at all where maps hold everybody.
    ///
    /// # Errors
    /// [`PinRefused`]; the maps stay as they are.
    pub(crate) fn introduce(&self, asker: &BoxKey, sought: &BoxKey) -> Result<Duration, PinRefused> {
        let boxes = self.directory().peers(clock::now()).count();
        if asker == sought || boxes <= self.boxes_max + 1 {
            return Ok(Duration::ZERO);
        }
        self.pins.lock().unwrap_or_else(PoisonError::into_inner).pin(asker, sought, Instant::now())?;
        let pushes = self.pushes.lock().unwrap_or_else(PoisonError::into_inner);
        for push in [asker, sought].into_iter().filter_map(|key| pushes.get(key)) {
            push.news.notify_one();
        }
        Ok(HOLDS)
    }

    fn pinned(&self, key: &BoxKey) -> Pinned {
        self.pins.lock().unwrap_or_else(PoisonError::into_inner).of(key, Instant::now())
    }

    /// Ends once the box is no member any more, or its membership has ended.
    pub(crate) async fn until_out(&self, key: &BoxKey) {
        let mut changes = self.directory.subscribe();
        loop {
            let directory = Arc::clone(&changes.borrow_and_update());
            let lapses = directory.member(key).map(|member| member.entry.membership.claims().lapses());
            let is_member = matches!(directory.standing(key), Standing::Member);
            if !is_member || lapses.is_none_or(|lapses| clock::now() >= lapses) {
                return;
            }
            // The clock is looked at now and then.
            let look = Duration::from_secs(u64::from(Frame::ALIVE_EVERY_S));
            if let Ok(Err(_)) = tokio::time::timeout(look, changes.changed()).await {
                return;
            }
        }
    }

    fn next_epoch(&self, key: &BoxKey) -> MapEpoch {
        let epoch = MapEpoch(self.epoch.fetch_add(1, Ordering::Relaxed)).next();
        self.told.lock().unwrap_or_else(PoisonError::into_inner).insert(*key, epoch);
        epoch
    }

    /// Begins to push to a box, in place of any push before. None when too many are connected.
    pub(crate) fn push(self: &Arc<Self>, key: BoxKey) -> Option<mpsc::Receiver<Bytes>> {
        let (replace, replaced) = oneshot::channel();
        let news = Arc::new(Notify::new());
        let mut pushes = self.pushes.lock().unwrap_or_else(PoisonError::into_inner);
        pushes.retain(|_, push| !push.replaced.is_closed());
        if pushes.len() >= PUSHES_MAX && !pushes.contains_key(&key) {
            return None;
        }
        drop(pushes.insert(key, Push { replaced: replace, news: Arc::clone(&news) }));
        drop(pushes);
        let (frames, taken) = mpsc::channel(FRAMES_MAX);
        let hub = Arc::clone(self);
        tokio::spawn(async move {
            let name = hub.directory().member(&key).map(|member| member.name().clone());
            let name = name.map(|name| name.to_string()).unwrap_or_default();
            tracing::info!(box.id = name, "a box is connected");
            tokio::select! {
                () = hub.tell(key, &news, &frames) => {}
                _ = replaced => {}
            }
            tracing::info!(box.id = name, "a box is no longer connected");
        });
        Some(taken)
    }

    /// Tells one box everything, until it is gone or revoked.
    async fn tell(&self, key: BoxKey, own_news: &Notify, frames: &mpsc::Sender<Bytes>) {
        let mut changes = self.directory.subscribe();
        let mut view = View::new(key, self.boxes_max);
        let mut vouched = Instant::now();
        let mut said = vouched;
        loop {
            let directory = Arc::clone(&changes.borrow_and_update());
            let pinned = self.pinned(&key);
            let told = view.news(&directory, pinned, &self.service, Instant::now(), || self.next_epoch(&key));
            let news = match told {
                Ok(news) => news,
                Err(error) => return tracing::error!(%error, "a map can't be signed"),
            };
            for frame in &news {
                if !send(frames, frame).await {
                    return;
                }
                said = Instant::now();
            }
            if !matches!(directory.standing(&key), Standing::Member) {
                return;
            }
            let alive = said + Duration::from_secs(u64::from(Frame::ALIVE_EVERY_S));
            let until = view.until().map_or(alive, |until| until.min(alive));
            let changed = async {
                tokio::select! {
                    changed = changes.changed() => changed,
                    () = own_news.notified() => Ok(()),
                }
            };
            match tokio::time::timeout_at(until.into(), changed).await {
                Ok(Ok(())) => {}
                Ok(Err(_)) => return,
                Err(_) if Instant::now() < alive => {}
                Err(_) => {
                    if vouched.elapsed() >= CURRENT_EVERY {
                        view.vouch();
                        vouched = Instant::now();
                    }
                    if !send(frames, &Frame::Alive { now: clock::now() }).await {
                        return;
                    }
                    said = Instant::now();
                }
            }
            if frames.is_closed() {
                return;
            }
        }
    }
}

async fn send(frames: &mpsc::Sender<Bytes>, frame: &Frame) -> bool {
    let Ok(mut line) = serde_json::to_vec(frame) else { return false };
    line.push(b'\n');
    frames.send_timeout(line.into(), STALL_MAX).await.is_ok()
}

async fn read(store: &Store, service: &Service) -> Result<Directory, StoreError> {
    let root = service.mesh.root;
    let read = move |database: &mut crate::store::Database| {
        Ok(Directory::new(database.boxes()?, database.revocations(&root)?, database.viewers()?))
    };
    store.call(read).await
}

/// From before the start.
fn beats(database: &crate::store::Database) -> Result<Beats, StoreError> {
    let mut beats = Beats::default();
    for row in database.boxes()? {
        if let (Some(seen), Some(heartbeat)) = (row.seen, &row.heartbeat) {
            beats.note(row.key(), Beat::new(row.key(), heartbeat, seen));
        }
    }
    Ok(beats)
}

/// Signs with the coordinator's key.
fn sign<T: Statement<Signer = trust::key::role::Coordinator>>(
    service: &Service,
    statement: T,
) -> Result<Signed<T>, DecodeError> {
    Signed::sign(statement, &service.secret)
}
