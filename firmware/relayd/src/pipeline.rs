//! One publication on its way into the store: timeline, cutter, packager, parts; and beside it, FLV.
//!
//! ```text
//! events -> timeline -+-> cutter -> commands -> job in the packager -> fragments -> Live
//!                     +-> FLV tags ---------------------------------------------> Live
//! ```
//! Jobs queue up: the fragments of an epoch that ended come out before those of the next one are taken.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes;
use ingest::{CloseReason, Event, Refusal};
use media::message::{Item, Sample};
use media::{Job, JobEvent, Packager, PackagerError};
use store::{Live, Producer};
use stream::cutter::{Command, Cut, Cutter, EPOCH_ORIGIN, PartPlan, Placed, Plan};
use stream::timeline::Timeline;
use stream::{CutPart, EpochId, EpochRecord, TrackKind};
use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, MissedTickBehavior, interval_at, timeout};

use crate::publish::{Changed, Slot};
use crate::status::unix_ms;

mod tags;

pub(crate) use tags::Left;
use tags::Tags;

/// How long the last parts of a publication are waited for.
const DRAIN: Duration = Duration::from_secs(2);
/// The same while the packager has not answered at all: its first start on a small board looks at every plugin.
const DRAIN_FIRST: Duration = Duration::from_secs(20);
/// A stream whose publisher is gone is ended for its viewers after this; until then it may come back.
const LINGER: Duration = Duration::from_secs(30);
/// Parts wait for each other while nobody wants each at once, until they last this long together.
const CALM_MS: i64 = 900;
/// How often what was counted is written down.
const SECOND: Duration = Duration::from_secs(1);
/// A publication whose epochs are lost this often within [`LOSS_WINDOW`] is sent away: its media breaks the packager.
const LOSSES_MAX: usize = 5;
const LOSS_WINDOW: Duration = Duration::from_secs(20);

pub(crate) struct Pipeline {
    live: Arc<Live>,
    slot: Arc<Slot>,
    packager: Packager,
    timeline: Timeline,
    cutter: Cutter,
    tags: Tags,
    /// Front: whose fragments come next; back: the epoch that is being fed.
    jobs: VecDeque<Epoch>,
    batch: Batch,
    losses: VecDeque<Instant>,
    second: Second,
    changed: Option<Changed>,
}

/// An epoch in the packager.
struct Epoch {
    job: Job,
    plan: Plan,
    id: EpochId,
    /// Wall-clock time of media time zero.
    zero_unix_ms: i64,
    /// Parts announced and not delivered.
    parts: VecDeque<PartPlan>,
    begun: bool,
}

/// Units and cuts that wait to be sent together.
#[derive(Default)]
struct Batch {
    items: Vec<Item>,
    payload: Vec<Bytes>,
    /// How long the parts that end in it last.
    parts_ms: i64,
}

/// What is counted for a second.
#[derive(Default)]
struct Second {
    bytes: u64,
    frames: u32,
}

/// The pipeline can't go on.
#[derive(Debug, thiserror::Error)]
enum PipelineError {
    #[error(transparent)]
    Packager(#[from] PackagerError),
    #[error("this media can't be packaged: {0}")]
    Unpackageable(String),
    #[error("an epoch has no codec string")]
    Codec(#[source] stream::codec::CodecError),
    #[error("the store refuses a part")]
    Store(#[source] store::PushError),
    #[error("the system has no randomness")]
    Random,
}

/// Runs until the publisher is gone, then until its last parts are out, then lingers for its return.
pub(crate) async fn run(
    mut pipeline: Pipeline,
    mut inbox: mpsc::Receiver<Vec<Event>>,
    waiting: Arc<AtomicUsize>,
    revoke: watch::Sender<Option<CloseReason>>,
) {
    let slot = Arc::clone(&pipeline.slot);
    let mut stage = Arc::clone(&slot.stage).lock_owned().await;
    if let Some(left) = stage.flv.take() {
        pipeline.tags.resume(left, Instant::now().into_std());
    }
    slot.status.begin();
    pipeline.tell_change();
    pipeline.live.producer(Producer::Present);
    if let Err(error) = pipeline.feed(&mut inbox, &waiting).await {
        let failure: &dyn std::error::Error = &error;
        tracing::error!(stream.id = %pipeline.live.name(), error = failure, "the publication can't go on");
        revoke.send_replace(Some(CloseReason::Refused(Refusal::Other(error.to_string()))));
    }
    pipeline.drain().await;
    stage.flv = pipeline.tags.leave(Instant::now().into_std());
    slot.status.end();
    pipeline.tell_change();
    pipeline.live.producer(Producer::Absent);
    let live = Arc::clone(&pipeline.live);
    drop(pipeline);
    drop(stage);
    tokio::time::sleep(LINGER).await;
    // Somebody who came meanwhile has the stage, or had it and lingers behind us.
    if let Ok(mut stage) = slot.stage.try_lock()
        && !slot.status.facts().publishing
    {
        live.end();
        stage.flv = None;
    }
}

pub(crate) fn event_bytes(event: &Event) -> usize {
    match event {
        Event::Unit(unit) => unit.data.len(),
        Event::Config(config) => config.record.len(),
        Event::Metadata(_) => 0,
    }
}

impl Pipeline {
    pub(crate) fn new(
        live: Arc<Live>,
        slot: Arc<Slot>,
        packager: Packager,
        settings: stream::cutter::Settings,
        changed: Option<Changed>,
    ) -> Self {
        Self {
            live,
            slot,
            packager,
            timeline: Timeline::default(),
            cutter: Cutter::new(settings),
            tags: Tags::default(),
            jobs: VecDeque::new(),
            batch: Batch::default(),
            losses: VecDeque::new(),
            second: Second::default(),
            changed,
        }
    }

    fn tell_change(&self) {
        if let Some(changed) = &self.changed {
            changed();
        }
    }

    async fn feed(
        &mut self,
        inbox: &mut mpsc::Receiver<Vec<Event>>,
        waiting: &AtomicUsize,
    ) -> Result<(), PipelineError> {
        // The first second is a whole one.
        let mut tick = interval_at(Instant::now() + SECOND, SECOND);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                events = inbox.recv() => {
                    let Some(events) = events else { return Ok(()) };
                    waiting.fetch_sub(events.iter().map(event_bytes).sum(), Ordering::Relaxed);
                    for event in events {
                        self.handle(event).await?;
                    }
                    self.tags.flush(&self.live);
                    if self.batch.parts_ms > 0 && self.live.is_urgent() {
                        self.send().await?;
                    }
                }
                event = next_event(&mut self.jobs) => self.handle_job(event).await?,
                _ = tick.tick() => {
                    let second = std::mem::take(&mut self.second);
                    let bitrate_bps = second.bytes * 8;
                    self.slot.status.measure(self.cutter.pace(), &self.timeline, bitrate_bps, second.frames);
                }
            }
        }
    }

    async fn handle(&mut self, event: Event) -> Result<(), PipelineError> {
        match event {
            Event::Config(config) => {
                self.timeline.handle_config(&config);
                self.tags.handle_config(&config);
                self.cutter.handle_config(config);
            }
            Event::Metadata(metadata) => self.slot.status.facts().encoder = metadata.encoder,
            Event::Unit(unit) => {
                self.second.bytes += unit.data.len() as u64;
                self.second.frames += u32::from(unit.kind == TrackKind::Video);
                self.slot.status.facts().ingested_bytes += unit.data.len() as u64;
                let samples = self.tags.frame_samples(&unit);
                if let Some(unit) = self.timeline.handle_unit(unit, samples) {
                    self.tags.handle_unit(&unit);
                    self.cutter.handle_unit(unit);
                }
            }
        }
        self.obey().await
    }

    async fn obey(&mut self) -> Result<(), PipelineError> {
        while let Some(command) = self.cutter.poll_command() {
            match command {
                Command::Begin(plan) => self.begin(plan).await?,
                Command::Put(placed) => self.batch.put(placed),
                Command::Cut(cut) => self.batch.cut(cut),
                Command::Part(part) => {
                    if let Some(epoch) = self.jobs.back_mut() {
                        epoch.parts.push_back(part);
                    }
                    self.batch.parts_ms += part.duration.millis();
                    if part.last || self.is_in_demand() {
                        self.send().await?;
                    }
                }
                Command::Finish => {
                    self.send().await?;
                    if let Some(epoch) = self.jobs.back() {
                        epoch.job.finish().await?;
                    }
                }
            }
        }
        Ok(())
    }

    async fn begin(&mut self, plan: Plan) -> Result<(), PipelineError> {
        let mut id = [0; 8];
        getrandom::fill(&mut id).map_err(|_| PipelineError::Random)?;
        let job = self.packager.open(&plan.tracks).await?;
        self.tags.begin(&plan);
        let zero_unix_ms = unix_ms() - plan.lead.millis() - EPOCH_ORIGIN.millis();
        let id = EpochId(u64::from_le_bytes(id));
        self.jobs.push_back(Epoch { job, plan, id, zero_unix_ms, parts: VecDeque::new(), begun: false });
        Ok(())
    }

    /// A stream of which nobody wants each part at once is packaged some at a time; its first playlist is not kept waiting.
    fn is_in_demand(&self) -> bool {
        let begun = self.jobs.back().is_some_and(|epoch| epoch.begun);
        !begun || self.batch.parts_ms >= CALM_MS || self.live.is_urgent()
    }

    /// Units go to the packager a part at a time at least, which saves wake-ups.
    async fn send(&mut self) -> Result<(), PipelineError> {
        let Batch { items, payload, .. } = std::mem::take(&mut self.batch);
        match self.jobs.back() {
            Some(epoch) if !items.is_empty() => Ok(epoch.job.batch(items, &payload).await?),
            _ => Ok(()),
        }
    }

    async fn handle_job(&mut self, event: Option<JobEvent>) -> Result<(), PipelineError> {
        let Some(epoch) = self.jobs.front_mut() else { return Ok(()) };
        match event {
            Some(JobEvent::Init { bytes, width, height }) => {
                let record = epoch.record((width, height))?;
                epoch.begun = true;
                self.slot.tell_epoch(&record);
                tracing::info!(stream.id = %self.live.name(), epoch.id = %record.id, codecs = record.codecs, "a new epoch");
                self.live.begin_epoch(record, bytes).map_err(PipelineError::Store)?;
            }
            Some(JobEvent::Fragment(bytes)) => {
                let Some(part) = epoch.parts.pop_front().filter(|_| epoch.begun) else {
                    return Err(PipelineError::Unpackageable("a fragment that no cut asked for".to_owned()));
                };
                let cut = CutPart {
                    epoch: epoch.id,
                    start: part.start,
                    duration: part.duration,
                    independent: part.independent,
                    opens_segment: part.opens_segment,
                    last: part.last,
                };
                tracing::trace!(stream.id = %self.live.name(), bytes = bytes.len(), start = part.start.0, "a part");
                self.live.push_part(&cut, bytes).map_err(PipelineError::Store)?;
                self.slot.status.facts().parts += 1;
            }
            Some(JobEvent::Finished) => drop(self.jobs.pop_front()),
            Some(JobEvent::Lost(reason)) => self.recover(reason).await?,
            None => self.recover("the packager forgot the stream".to_owned()).await?,
        }
        Ok(())
    }

    /// The epoch in front is lost. If it is the one being fed, the next one begins with the last keyframe.
    async fn recover(&mut self, reason: String) -> Result<(), PipelineError> {
        let now = Instant::now();
        self.jobs.pop_front();
        self.live.abandon_segment();
        self.slot.status.facts().packager_losses += 1;
        tracing::warn!(stream.id = %self.live.name(), reason, "lost an epoch");
        self.losses.push_back(now);
        while self.losses.front().is_some_and(|loss| now - *loss > LOSS_WINDOW) {
            self.losses.pop_front();
        }
        if self.losses.len() > LOSSES_MAX {
            return Err(PipelineError::Unpackageable(reason));
        }
        if self.jobs.is_empty() {
            self.batch = Batch::default();
            self.cutter.handle_restart();
            self.obey().await?;
        }
        Ok(())
    }

    /// The publisher is gone: what it sent becomes parts.
    async fn drain(&mut self) {
        self.cutter.handle_end();
        self.tags.flush(&self.live);
        let starting = self.jobs.front().is_some_and(|epoch| !epoch.begun);
        let limit = if starting { DRAIN_FIRST } else { DRAIN };
        let rest = async {
            self.obey().await?;
            while !self.jobs.is_empty() {
                match next_event(&mut self.jobs).await {
                    Some(JobEvent::Lost(_)) | None => drop(self.jobs.pop_front()),
                    event => self.handle_job(event).await?,
                }
            }
            Ok::<(), PipelineError>(())
        };
        match timeout(limit, rest).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => {
                let error: &dyn std::error::Error = &error;
                tracing::warn!(stream.id = %self.live.name(), error, "the last parts are lost");
            }
            Err(_) => tracing::warn!(stream.id = %self.live.name(), "the last parts did not come"),
        }
        self.live.abandon_segment();
    }
}

/// Waits for ever without a job.
async fn next_event(jobs: &mut VecDeque<Epoch>) -> Option<JobEvent> {
    match jobs.front_mut() {
        Some(epoch) => epoch.job.next().await,
        None => std::future::pending().await,
    }
}

impl Epoch {
    fn record(&self, (width, height): (u32, u32)) -> Result<EpochRecord, PipelineError> {
        let tracks = self.plan.tracks.clone();
        Ok(EpochRecord {
            id: self.id,
            codecs: stream::codec::codecs_string(&tracks).map_err(PipelineError::Codec)?,
            resolution: tracks
                .video
                .as_ref()
                .map(|_| (width, height))
                .filter(|size| size.0 > 0 && size.1 > 0),
            frame_rate_milli: self.plan.frame_rate_milli,
            part_target: self.plan.part_target,
            zero_unix_ms: self.zero_unix_ms,
            tracks,
        })
    }
}

impl Batch {
    fn put(&mut self, placed: Placed) {
        let sample = Sample {
            dts: u64::try_from(placed.dts).unwrap_or(0),
            pts: u64::try_from(placed.pts).unwrap_or(0),
            duration: placed.duration,
            keyframe: placed.keyframe,
            bytes: u32::try_from(placed.data.len()).unwrap_or(u32::MAX),
        };
        self.items.push(match placed.kind {
            TrackKind::Video => Item::Video(sample),
            TrackKind::Audio => Item::Audio(sample),
        });
        self.payload.push(placed.data);
    }

    fn cut(&mut self, cut: Cut) {
        self.items.push(Item::Cut {
            segment: cut.segment,
            at: u64::try_from(cut.at).unwrap_or(0),
            audio_at: cut.audio_at.and_then(|at| u64::try_from(at).ok()),
        });
    }
}

impl Slot {
    fn tell_epoch(&self, record: &EpochRecord) {
        let mut facts = self.status.facts();
        facts.tracks = record.tracks.clone();
        facts.codecs = Some(record.codecs.clone());
        facts.resolution = record.resolution;
        facts.frame_rate_milli = record.frame_rate_milli;
        facts.part_target_ms = u32::try_from(record.part_target.millis()).ok();
        facts.epoch = Some(record.id);
        facts.epochs += 1;
    }
}
