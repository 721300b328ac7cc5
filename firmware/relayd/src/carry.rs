//! Streams of other boxes: begun when somebody here wants to watch one, or another box wants it from here; and one's own
//! streams, given to others.
//!
//! ```text
//! viewer, child ──want()──> coordinator: whose, from whom ──> keep(): relay::Carrier ──> store
//!                                                             until nobody watched or took it for IDLE
//! ```
//! Refuses to carry what nobody asked for, and what the coordinator does not know.

mod house;
mod keep;
mod line;
mod origin;
mod room;
mod sending;
mod wish;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use anyhow::Result;
use dataplane::Outgoing;
use relay::{Shown, Tally, Uplink};
use serve::Wanted;
use store::{Live, Store};
use stream::StreamName;
use tokio::sync::{Mutex as AsyncMutex, watch};
use tokio::task::AbortHandle;
use trust::{BoxKey, List, StreamKey};
use wire::heartbeat::{PathKind, PeerPath};
use wire::parents::PARENTS_MAX;
use wire::{ParentsRequest, ParentsResponse, path};

use crate::control::ask::{AskError, Desk};
use crate::control::hour::Hour;
use crate::control::kept::Kept;
use crate::control::keys::Keys;
use crate::control::talk::{Heard, Told};
use crate::giving::Giving;
use crate::inside::{Door, Inside};

pub(crate) use house::Holder;
pub(crate) use origin::Origins;

/// Streams of others that are carried at once.
const CARRIED_MAX: usize = 32;
/// A name that the coordinator did not know is not asked for again before this.
const UNKNOWN_FOR: Duration = Duration::from_secs(3);
/// Names that are remembered as unknown.
const UNKNOWN_MAX: usize = 256;
/// The coordinator hears what this box can give of its own streams so often.
const OFFER_EVERY: Duration = Duration::from_secs(3);
/// How long children have to find others when this box stops.
const LEAVE_FOR: Duration = Duration::from_millis(700);
/// How long a viewer waits for the coordinator's word.
const ASK_MAX: Duration = Duration::from_secs(4);
/// How long a viewer waits until a parent has shown whose the stream is.
const SHOWN_MAX: Duration = Duration::from_secs(4);

/// A stream of another box, as it is carried here.
struct Carried {
    live: Arc<Live>,
    origin: BoxKey,
    shown: watch::Receiver<Option<Shown>>,
    tally: Arc<Tally>,
    /// When somebody asked for it who is not counted as watching.
    wanted: Arc<Mutex<Instant>>,
    task: AbortHandle,
}

/// See the module's documentation.
pub(crate) struct Carriers {
    store: Arc<Store>,
    kept: Kept,
    hour: Hour,
    heard: watch::Receiver<Heard>,
    told: watch::Receiver<Told>,
    inside: Inside,
    desk: AsyncMutex<Desk>,
    pub(crate) origins: Origins,
    pub(crate) uplink: Uplink,
    pub(crate) giving: Arc<Giving>,
    began: Instant,
    sending: Mutex<sending::Sending>,
    /// What the guard allowed at most of late, and when it allowed so much.
    recent: Mutex<Option<(u64, Instant)>>,
    guarded: bool,
    outgoing: Outgoing,
    leaving: watch::Sender<bool>,
    carried: Mutex<BTreeMap<StreamName, Carried>>,
    unknown: Mutex<BTreeMap<StreamName, Instant>>,
}

/// What the carriers are made of.
pub(crate) struct Parts {
    pub(crate) store: Arc<Store>,
    pub(crate) kept: Kept,
    pub(crate) hour: Hour,
    pub(crate) heard: watch::Receiver<Heard>,
    pub(crate) told: watch::Receiver<Told>,
    pub(crate) inside: Inside,
    pub(crate) keys: Keys,
    /// The friend's wish.
    pub(crate) giving: Arc<Giving>,
    /// Whether the household's line is guarded.
    pub(crate) guarded: bool,
    /// Datagrams between others, which go out on the same line.
    pub(crate) outgoing: Outgoing,
}

impl Carriers {
    pub(crate) fn new(parts: Parts) -> Result<Arc<Self>> {
        let Parts { store, kept, hour, heard, told, inside, keys, giving, guarded, outgoing } = parts;
        let desk = Desk::new(kept.url.clone(), kept.pin, keys.identity.clone(), kept.mesh(), hour.clone())?;
        let uplink = Uplink::default();
        uplink.set(giving.limit_bps());
        let origins = Origins::new(kept.chain.clone(), keys.identity, kept.mesh(), hour.clone());
        Ok(Arc::new(Self {
            store,
            kept,
            hour,
            heard,
            told,
            inside,
            desk: AsyncMutex::new(desk),
            origins,
            uplink,
            giving,
            began: Instant::now(),
            sending: Mutex::default(),
            recent: Mutex::default(),
            guarded,
            outgoing,
            leaving: watch::Sender::new(false),
            carried: Mutex::default(),
            unknown: Mutex::default(),
        }))
    }

    /// Tells the coordinator what this box can give of its own streams, again and again. Never ends.
    async fn offer(self: Arc<Self>) {
        loop {
            tokio::time::sleep(OFFER_EVERY).await;
            for (name, tally) in self.origins.live() {
                let question = self.question(&name, &tally, &Faults::default(), 0);
                match self.ask(&question).await {
                    Ok(answer) => self.origins.note_watched(&name, answer.watched_bytes),
                    Err(error) => {
                        tracing::trace!(%error, "the coordinator does not hear what this box can give");
                    }
                }
            }
        }
    }

    /// Lets other boxes in, for as long as there is a network.
    pub(crate) async fn receive(self: Arc<Self>, mut door: Door) {
        let mut guard = tokio::task::JoinSet::new();
        guard.spawn(Arc::clone(&self).offer());
        guard.spawn(Arc::clone(&self).obey());
        guard.spawn(line::count_sent(Arc::clone(&self)));
        if self.guarded {
            guard.spawn(line::guard(Arc::clone(&self)));
        }
        while let Some(visitor) = door.accept().await {
            let house = Arc::new(Holder(Arc::clone(&self)));
            let carriers = Arc::clone(&self);
            let tally = move |name: &StreamName| carriers.tally(name);
            let uplink = self.uplink.clone();
            tokio::spawn(async move {
                relay::greet(visitor.stream, visitor.key, house, uplink, tally).await;
            });
        }
    }

    /// Sees to it that the stream is carried here, if another box publishes it. True if it is.
    pub(crate) async fn want(self: &Arc<Self>, name: &StreamName) -> bool {
        if self.touch(name) {
            return true;
        }
        if self.is_unknown(name) {
            return false;
        }
        tokio::time::timeout(ASK_MAX, self.ask_for(name)).await.unwrap_or_default()
    }

    /// For a viewer: waits until it is known who may watch.
    pub(crate) async fn bring(self: &Arc<Self>, name: &StreamName) -> Wanted {
        if !self.want(name).await {
            return Wanted::Unknown;
        }
        let shown = lock(&self.carried).get(name).map(|carried| carried.shown.clone());
        let Some(mut shown) = shown else { return Wanted::Unknown };
        match tokio::time::timeout(SHOWN_MAX, shown.wait_for(Option::is_some)).await {
            Ok(Ok(_)) => Wanted::Here,
            Ok(Err(_)) => Wanted::Unknown,
            Err(_) => Wanted::Soon,
        }
    }

    async fn ask_for(self: &Arc<Self>, name: &StreamName) -> bool {
        let answer = {
            let mut desk = self.desk.lock().await;
            // Somebody else may have asked while this one waited.
            if self.touch(name) {
                return true;
            }
            let question = self.question(name, &Tally::default(), &Faults::default(), 0);
            desk.post::<ParentsResponse>(path::PARENTS, &question).await
        };
        match answer {
            Ok(answer) if answer.live && answer.owner != *self.kept.key() => self.begin(name, answer),
            Ok(_) => self.forget_for_a_while(name),
            Err(error) => {
                tracing::debug!(stream.id = %name, %error, "nobody knows this stream");
                self.forget_for_a_while(name)
            }
        }
    }

    fn forget_for_a_while(&self, name: &StreamName) -> bool {
        let mut unknown = lock(&self.unknown);
        if unknown.len() >= UNKNOWN_MAX {
            unknown.clear();
        }
        unknown.insert(name.clone(), Instant::now());
        false
    }

    fn is_unknown(&self, name: &StreamName) -> bool {
        lock(&self.unknown).get(name).is_some_and(|at| at.elapsed() < UNKNOWN_FOR)
    }

    fn touch(&self, name: &StreamName) -> bool {
        let carried = lock(&self.carried);
        let Some(carried) = carried.get(name) else { return false };
        *lock(&carried.wanted) = Instant::now();
        true
    }

    fn begin(self: &Arc<Self>, name: &StreamName, answer: ParentsResponse) -> bool {
        let mut carried = lock(&self.carried);
        if carried.contains_key(name) {
            return true;
        }
        if carried.len() >= CARRIED_MAX {
            tracing::warn!(stream.id = %name, "no more streams of others are carried at once");
            return false;
        }
        let Ok(live) = self.store.carried(name) else { return false };
        tracing::info!(stream.id = %name, origin = %answer.owner.fingerprint(), "carried from now on");
        // Whoever waits for a playlist waits from now on, and is not told that nobody publishes.
        live.producer(store::Producer::Present);
        let (shows, shown) = watch::channel(None);
        let (tally, wanted) = (Arc::<Tally>::default(), Arc::new(Mutex::new(Instant::now())));
        let keep = keep::Keep {
            carriers: Arc::clone(self),
            name: name.clone(),
            live: Arc::clone(&live),
            tally: Arc::clone(&tally),
            wanted: Arc::clone(&wanted),
        };
        let origin = answer.owner;
        let task = tokio::spawn(keep.run(answer, shows)).abort_handle();
        carried.insert(name.clone(), Carried { live, origin, shown, tally, wanted, task });
        true
    }

    /// Tells children and the coordinator that this box stops, and gives them a moment.
    pub(crate) async fn leave(&self) {
        self.leaving.send_replace(true);
        let names: Vec<_> = lock(&self.carried).keys().cloned().collect();
        let tell = async {
            for name in names {
                let mut question = self.question(&name, &Tally::default(), &Faults::default(), 0);
                question.leaving = true;
                if let Err(error) = self.ask(&question).await {
                    tracing::debug!(%error, "the coordinator does not hear that this box stops");
                }
            }
        };
        tokio::join!(tokio::time::sleep(LEAVE_FOR), async {
            let _ = tokio::time::timeout(LEAVE_FOR, tell).await;
        });
    }

    fn end(&self, name: &StreamName) {
        if lock(&self.carried).remove(name).is_some() {
            self.store.remove(name);
            tracing::info!(stream.id = %name, "no longer carried");
        }
    }

    /// A stream of that name is published here from now on.
    pub(crate) fn yield_to_publisher(&self, name: &StreamName) {
        if let Some(carried) = lock(&self.carried).remove(name) {
            carried.task.abort();
            self.store.remove(name);
        }
    }

    fn question(&self, name: &StreamName, tally: &Tally, faults: &Faults, viewers: u32) -> ParentsRequest {
        let takes = tally.flows().into_iter().filter(|(_, flow)| flow.takes != 0);
        let takes: Vec<_> = takes
            .map(|(parent, flow)| wire::parents::Take { parent, stripes: flow.takes })
            .take(PARENTS_MAX)
            .collect();
        let gives = self.origins.shown(name).is_some() || room::is_steady(tally);
        let carried = lock(&self.carried).get(name).map(|carried| carried.live.served().bytes());
        ParentsRequest {
            stream: name.clone(),
            uplink_bps: if gives { self.capacity() } else { Some(0) },
            sending_bps: self.sending_bps(),
            viewers,
            watched_bytes: carried.unwrap_or(0),
            takes: List::try_from(takes).unwrap_or_default(),
            failed: newest(&faults.failed),
            silent: newest(&faults.silent),
            relayed: relayed(&self.told.borrow().paths),
            leaving: false,
        }
    }

    async fn ask(&self, question: &ParentsRequest) -> Result<ParentsResponse, AskError> {
        self.desk.lock().await.post(path::PARENTS, question).await
    }

    /// To each peer, in milliseconds, as it was measured last.
    fn round_trips(&self) -> BTreeMap<BoxKey, u64> {
        let told = self.told.borrow();
        let paths = told.paths.iter().filter_map(|path| Some((path.peer, u64::from(path.round_trip_ms?))));
        paths.collect()
    }

    fn tally(&self, name: &StreamName) -> Arc<Tally> {
        let carried = lock(&self.carried).get(name).map(|carried| Arc::clone(&carried.tally));
        carried.unwrap_or_else(|| self.origins.tally(name))
    }

    /// Streams of others, with the box at which each is published.
    pub(crate) fn carried(&self) -> Vec<(StreamName, BoxKey, Arc<Live>)> {
        let carried = lock(&self.carried);
        carried
            .iter()
            .map(|(name, carried)| (name.clone(), carried.origin, Arc::clone(&carried.live)))
            .collect()
    }

    /// What is shown for a stream that is carried here.
    pub(crate) fn shown(&self, name: &StreamName) -> Option<Shown> {
        lock(&self.carried).get(name).and_then(|carried| carried.shown.borrow().clone())
    }

    /// With which key the stream is signed.
    pub(crate) fn key(&self, name: &StreamName) -> Option<StreamKey> {
        let own = self.origins.shown(name).and_then(|shown| shown.borrow().clone());
        own.or_else(|| self.shown(name)).map(|shown| shown.certificate.key)
    }

    /// Of every stream that other boxes took from here or gave to here.
    pub(crate) fn tallies(&self) -> Vec<(StreamName, Arc<Tally>, u64)> {
        let mut tallies = self.origins.tallies();
        let carried = lock(&self.carried);
        tallies.extend(
            carried.iter().map(|(name, one)| (name.clone(), Arc::clone(&one.tally), one.live.gaps())),
        );
        tallies
    }
}

/// Whom a box could not count on of late, the newest last.
#[derive(Debug, Default)]
struct Faults {
    failed: Vec<BoxKey>,
    silent: Vec<BoxKey>,
}

fn newest(keys: &[BoxKey]) -> List<BoxKey, PARENTS_MAX> {
    let newest: Vec<_> = keys.iter().rev().take(PARENTS_MAX).copied().collect();
    List::try_from(newest).unwrap_or_default()
}

/// Those that others have to pass things on for, if more are reached straight: a box behind a wall, to which all ways are
/// such ways, has no better ones.
fn relayed(paths: &[PeerPath]) -> List<BoxKey, PARENTS_MAX> {
    let straight =
        paths.iter().filter(|path| matches!(path.kind, PathKind::Direct | PathKind::External)).count();
    let relayed =
        paths.iter().filter(|path| matches!(path.kind, PathKind::RelayedUdp | PathKind::RelayedTls));
    let relayed: Vec<_> = relayed.map(|path| path.peer).collect();
    if relayed.len() < straight { newest(&relayed) } else { List::new() }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_needs_a_third_box_is_told_only_where_most_need_none() {
        let key = |n| trust::BoxSecret::from_seed(&[n; 32]).public();
        let path = |n, kind| PeerPath {
            peer: key(n),
            kind,
            endpoint: None,
            round_trip_ms: None,
            handshake_age_s: None,
            sent_bytes: 0,
            received_bytes: 0,
        };
        let one = [path(1, PathKind::Direct), path(2, PathKind::RelayedUdp), path(3, PathKind::External)];
        assert_eq!(relayed(&one).iter().copied().collect::<Vec<_>>(), [key(2)]);
        // Just begun, or behind a wall.
        let most = [path(1, PathKind::Direct), path(2, PathKind::RelayedTls), path(3, PathKind::None)];
        assert!(relayed(&most).is_empty() && relayed(&[]).is_empty());
    }
}
