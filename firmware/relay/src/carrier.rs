//! One stream that this box takes from others: what `swarm::fetch` decides is done here, and what comes is checked.
//!
//! ```text
//! Parent list ─┐                         ┌─ Open, Close ─> feed tasks ─┐
//!              ├─> Fetch ── Command ─────┼─ Pull ────────> pull tasks ─┤ frames
//! frames ──────┘   (pure)                └─ GiveUp ──────> Live        │
//!    ^────────── checked: signature of items, hash of blocks <─────────┘
//! ```
//! A forged item or block is dropped before it is kept; its giver is out for good. Refuses to decide from whom what is
//! taken.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use store::{Item, Live, Producer};
use stream::seal::EpochSeal;
use stream::{EpochId, Millis, StreamName};
use swarm::fetch::{Candidate, Command, Config, Fault, FeedId, Fetch, Loss, ParentId, Pulled};
use swarm::part::{Blocks, PartId, StripeCount, Stripes};
use tokio::sync::{mpsc, watch};
use tokio::task::{AbortHandle, JoinSet};
use tokio::time::{Duration, Instant, sleep_until};
use trust::BoxKey;
use wire::feed::{BlocksRequest, FeedRequest, Frame, PartName};

use crate::dial::{Came, End, Idle, ask, ask_again};
use crate::{Judge, Shown, Tally, Uplink, Ways};

mod take;

/// Frames that wait to be looked at.
const EVENTS_MAX: usize = 64;
/// Parts that are remembered by name.
const PARTS_MAX: usize = 1024;
/// Items of which the bytes are remembered, so that a second copy need not be checked again.
const SEEN_MAX: usize = 1024;
/// Blocks of one pull: what a request may ask.
const PULL_BLOCKS_MAX: usize = 128;
/// A request for some, in a packet of its own.
const PULL_BYTES: usize = 300;
/// A part that ended longer ago is not live: whoever begins with it gives what is over.
const STALE_MS: i64 = 120_000;

/// A box that may be asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Parent {
    pub key: BoxKey,
    /// Greater is better.
    pub score: u32,
    pub round_trip_ms: u64,
    /// What the coordinator wants to come from it; none for a stand-by.
    pub stripes: Stripes,
    /// What must not come from it, since it takes these from here.
    pub barred: Stripes,
    /// What it gives to those who are to give it here.
    pub heir: Stripes,
}

/// What the daemon should know.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Report {
    /// Other parents are needed.
    Starved,
    /// A parent did wrong. Forged is for good.
    Demoted { parent: BoxKey, fault: Fault },
}

#[derive(Clone, Debug)]
pub struct CarrierConfig {
    pub name: StreamName,
    /// At which box the stream is published.
    pub origin: BoxKey,
    pub live: Arc<Live>,
    pub stripes: StripeCount,
    pub tally: Arc<Tally>,
    /// Of this box.
    pub uplink: Uplink,
}

/// See the module's documentation.
#[allow(missing_debug_implementations, reason = "it lives inside of its own task")]
pub struct Carrier<W, J> {
    config: CarrierConfig,
    ways: W,
    judge: Arc<J>,
    fetch: Fetch,
    /// A parent's number is its place.
    boxes: Vec<BoxKey>,
    feeds: BTreeMap<FeedId, Line>,
    idle: Idle,
    parts: BTreeMap<PartId, Arc<Item>>,
    seen: BTreeMap<u64, Bytes>,
    /// What parents showed, once one did.
    hello: watch::Sender<Option<Shown>>,
    tasks: JoinSet<()>,
    sender: mpsc::Sender<Event>,
    began: Instant,
}

/// A feed as this side sees it.
struct Line {
    parent: ParentId,
    task: AbortHandle,
    /// Its first frame was right.
    greeted: bool,
    /// Checked, and its initialization section follows.
    epoch: Option<(EpochSeal, Bytes)>,
    stripes: Stripes,
}

enum Event {
    Feed(FeedId, Came),
    FeedEnded(FeedId, End),
    Pull(ParentId, Came),
    PullEnded(ParentId, PartId, End),
}

impl<W: Ways, J: Judge> Carrier<W, J> {
    /// Takes the stream from `parents` until it is dropped.
    pub async fn run(
        config: CarrierConfig,
        ways: W,
        judge: Arc<J>,
        mut parents: watch::Receiver<Vec<Parent>>,
        hello: watch::Sender<Option<Shown>>,
        reports: mpsc::Sender<Report>,
    ) {
        let (sender, mut events) = mpsc::channel(EVENTS_MAX);
        let fetch = Fetch::new(Config { stripes: config.stripes, ..Config::default() });
        config.live.producer(Producer::Present);
        let _absent = Absent(Arc::clone(&config.live));
        let mut carrier = Self {
            config,
            ways,
            judge,
            fetch,
            boxes: Vec::new(),
            feeds: BTreeMap::new(),
            idle: Idle::default(),
            parts: BTreeMap::new(),
            seen: BTreeMap::new(),
            hello,
            tasks: JoinSet::new(),
            sender,
            began: Instant::now(),
        };
        carrier.handle_parents(&parents.borrow_and_update().clone());
        loop {
            while let Some(command) = carrier.fetch.poll_command() {
                carrier.obey(command, &reports);
            }
            let wake = carrier.began + Duration::from_millis(carrier.fetch.poll_timeout().0);
            tokio::select! {
                Some(event) = events.recv() => {
                    carrier.handle(event);
                    // What came together is looked at together.
                    while let Ok(event) = events.try_recv() {
                        carrier.handle(event);
                    }
                }
                changed = parents.changed() => {
                    if changed.is_err() {
                        return;
                    }
                    let parents = parents.borrow_and_update().clone();
                    carrier.handle_parents(&parents);
                }
                () = sleep_until(wake) => {
                    let now = carrier.now();
                    carrier.fetch.handle_timeout(now);
                }
            }
            while carrier.tasks.try_join_next().is_some() {}
        }
    }

    fn now(&self) -> Millis {
        Millis(u64::try_from(self.began.elapsed().as_millis()).unwrap_or(u64::MAX))
    }

    fn id(&mut self, key: &BoxKey) -> ParentId {
        let known = self.boxes.iter().position(|known| known == key);
        let at = known.unwrap_or_else(|| {
            self.boxes.push(*key);
            self.boxes.len() - 1
        });
        ParentId(u32::try_from(at).unwrap_or(u32::MAX))
    }

    fn key_of(&self, id: ParentId) -> Option<BoxKey> {
        self.boxes.get(id.0 as usize).copied()
    }

    fn handle_parents(&mut self, parents: &[Parent]) {
        let candidates: Vec<_> = parents
            .iter()
            .map(|parent| Candidate {
                id: self.id(&parent.key),
                score: parent.score,
                round_trip_ms: parent.round_trip_ms,
                stripes: parent.stripes,
                barred: parent.barred,
                heir: parent.heir,
            })
            .collect();
        let now = self.now();
        self.fetch.handle_parents(&candidates, now);
    }

    fn obey(&mut self, command: Command, reports: &mpsc::Sender<Report>) {
        match command {
            Command::Open { feed, parent, stripes, planned, instead, from } => {
                let (name, of) = (self.config.name.clone(), self.config.stripes.get());
                let instead = instead.and_then(|id| self.key_of(id)).map(|key| key.fingerprint());
                let (stripes, from) = (stripes.0, from.map(name_of));
                self.open(feed, parent, FeedRequest { name, of, stripes, planned, instead, from });
            }
            Command::Close { feed } => {
                if let Some(line) = self.feeds.remove(&feed) {
                    line.task.abort();
                    self.count_stripes(line.parent);
                    let now = self.now();
                    self.fetch.handle_lost(feed, Loss::Failed, now);
                }
            }
            Command::Pull { parent, part, blocks } => self.pull(parent, part, &blocks),
            Command::GiveUp { part } => {
                tracing::debug!(stream.id = %self.config.name, msn = part.msn, part = part.part, "a part is a gap");
                if let Some(item) = self.parts.get(&part) {
                    self.config.live.give_up(item);
                }
            }
            Command::Demote { parent, fault, until } => {
                let Some(parent) = self.key_of(parent) else { return };
                let (id, for_good) = (parent.fingerprint(), until.is_none());
                tracing::warn!(stream.id = %self.config.name, box.id = %id, ?fault, for_good, "a parent is demoted");
                let _ = reports.try_send(Report::Demoted { parent, fault });
            }
            Command::Starved => {
                let _ = reports.try_send(Report::Starved);
            }
        }
    }

    fn open(&mut self, feed: FeedId, parent: ParentId, request: FeedRequest) {
        let Some(key) = self.key_of(parent) else { return };
        let stripes = Stripes(request.stripes);
        tracing::debug!(%request, box.id = %key.fingerprint(), "asks");
        let (ways, sender) = (self.ways.clone(), self.sender.clone());
        let task = self.tasks.spawn(async move {
            let end = ask(&ways, &key, request.to_string(), &sender, |came| Event::Feed(feed, came)).await;
            let _ = sender.send(Event::FeedEnded(feed, end)).await;
        });
        self.feeds.insert(feed, Line { parent, task, greeted: false, epoch: None, stripes });
        self.count_stripes(parent);
    }

    fn pull(&mut self, parent: ParentId, part: PartId, blocks: &Blocks) {
        let Some(key) = self.key_of(parent) else { return };
        let blocks: Vec<_> = blocks.iter().take(PULL_BLOCKS_MAX).collect();
        let request = BlocksRequest { name: self.config.name.clone(), part: name_of(part), blocks };
        tracing::debug!(%request, box.id = %key.fingerprint(), "pulls");
        Tally::count(&self.config.tally.pulled);
        self.config.uplink.spend(PULL_BYTES);
        let (ways, idle, sender) = (self.ways.clone(), self.idle.clone(), self.sender.clone());
        self.tasks.spawn(async move {
            let wrap = |came| Event::Pull(parent, came);
            let asked = ask_again((&ways, &idle), &key, request.to_string(), &sender, wrap);
            let most = Duration::from_millis(swarm::fetch::PULL_MS_MAX);
            let end = tokio::time::timeout(most, asked).await.unwrap_or(End::Failed);
            let _ = sender.send(Event::PullEnded(parent, part, end)).await;
        });
    }

    fn handle(&mut self, event: Event) {
        let now = self.now();
        match event {
            Event::Feed(feed, Came::Opened(given)) => {
                if let Some(line) = self.feeds.get_mut(&feed) {
                    line.stripes = line.stripes.both(given);
                    let parent = line.parent;
                    self.count_stripes(parent);
                }
                self.fetch.handle_opened(feed, given, now);
            }
            Event::Feed(feed, Came::Frame(frame)) => self.handle_frame(feed, frame),
            Event::FeedEnded(feed, end) => {
                if let Some(line) = self.feeds.remove(&feed) {
                    self.count_stripes(line.parent);
                    let why = match end {
                        End::NoRoom => Loss::Refused,
                        End::Closed | End::NotThere | End::Failed => Loss::Failed,
                    };
                    self.fetch.handle_lost(feed, why, now);
                }
            }
            Event::Pull(parent, Came::Frame(Frame::Block(block))) => self.handle_block(parent, block),
            Event::Pull(_, Came::Opened(_) | Came::Frame(_)) => {}
            Event::PullEnded(parent, part, end) => {
                let end = match end {
                    End::Closed => Pulled::Whole,
                    End::NotThere => Pulled::NotThere,
                    End::NoRoom | End::Failed => Pulled::Failed,
                };
                self.fetch.handle_pulled(parent, part, end, now);
            }
        }
    }

    fn handle_frame(&mut self, feed: FeedId, frame: Frame) {
        let Some(line) = self.feeds.get(&feed) else { return };
        let (parent, greeted, now) = (line.parent, line.greeted, self.now());
        match frame {
            Frame::Hello(bytes) => self.handle_hello(feed, &bytes),
            Frame::Unknown => {}
            Frame::Alive { newest: None } => self.fetch.handle_alive(parent, None, now),
            _ if !greeted => self.fetch.handle_bad(parent, Fault::Forged, now),
            Frame::Seal(sealed) => self.handle_seal(feed, sealed),
            Frame::Init { epoch, bytes } => self.handle_init(feed, epoch, bytes),
            Frame::Block(block) => self.handle_block(parent, block),
            Frame::Have { part, stripes } => {
                self.fetch.handle_have(parent, id_of(part), Stripes(stripes), now);
            }
            Frame::Alive { newest } => self.fetch.handle_alive(parent, newest.map(id_of), now),
            Frame::Leaving => self.fetch.handle_leaving(parent, now),
        }
    }

    /// Keeps count of what comes from a parent just now.
    fn count_stripes(&self, parent: ParentId) {
        let Some(key) = self.key_of(parent) else { return };
        let lines = self.feeds.values().filter(|line| line.parent == parent);
        let takes = lines.fold(Stripes::NONE, |all, line| all.and(line.stripes));
        self.config.tally.with(&key, |flow| flow.takes = takes.0);
    }
}

/// Nobody brings the stream any more.
struct Absent(Arc<Live>);

impl Drop for Absent {
    fn drop(&mut self) {
        self.0.producer(Producer::Absent);
    }
}

fn name_of(part: PartId) -> PartName {
    PartName { epoch: part.epoch, msn: part.msn, part: part.part }
}

fn id_of(part: PartName) -> PartId {
    PartId { epoch: part.epoch, msn: part.msn, part: part.part }
}

/// Whether an epoch's item is followed by its own initialization section.
fn belongs(epoch: &EpochSeal, id: EpochId, init: &[u8]) -> bool {
    epoch.record.id == id
        && epoch.init_bytes as usize == init.len()
        && epoch.init_hash == stream::seal::BlockHash::of(init)
}
