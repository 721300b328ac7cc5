//! Keeps a membership alive: heartbeats, another membership from its tenth day on, and whatever the coordinator
//! pushes. Without the coordinator it goes on with what it knows, and tries again later and later.
//!
//! ```text
//!            answered                    refused: revoked
//! Talking <───────────> Alone ─ ... ─>  Out  (ends; the box's own streams go on)
//!            no answer
//! ```

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;
use trust::map::{MapError, PeerMap};
use trust::peer::ENDPOINTS_MAX;
use trust::{Coordinator, DoubleUse, Endpoint, InviteId, List, Revocations};
use wire::updates::{BindingUpdate, RenewRequest, RenewResponse, RevocationSet};
use wire::{Code, Frame, HeartbeatResponse, path};

use super::ask::{AskError, Desk};
use super::hour::Hour;
use super::kept::{self, Kept};
use super::keys::{Keys, random};
use super::plan::{Backoff, renews};
use super::push;
use super::report::{self, Doings};
use super::talk::{Heard, Told};

const FRAMES_MAX: usize = 16;
/// After a map that could not be taken.
const ANEW_AFTER: Duration = Duration::from_secs(5);
/// How often the floor of the clock is saved.
const FLOOR_EVERY: Duration = Duration::from_secs(3600);
/// A box that moves tells so at once, but not more often than that.
const MOVED_EVERY: Duration = Duration::from_secs(2);
/// The clock is asked again after so long.
const TIME_EVERY: Duration = Duration::from_secs(6 * 3600);

type Places = List<Endpoint, ENDPOINTS_MAX>;

/// How the talk stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Line {
    Talking,
    Alone,
    Out,
}

pub(crate) struct Steward {
    dir: PathBuf,
    kept: Kept,
    revocations: Revocations,
    coordinator: Coordinator,
    map: Option<PeerMap>,
    desk: Desk,
    keys: Keys,
    doings: Doings,
    /// What the mesh's network has to know.
    heard: watch::Sender<Heard>,
    /// What the network has to say.
    told: watch::Receiver<Told>,
    /// Invites against which there was proof, and the coordinator has it.
    accused: BTreeSet<InviteId>,
    /// When the coordinator was told where the box is, and what.
    sent: Option<(Instant, Places, u64)>,
    line: Line,
    backoff: Backoff,
    /// Whether the coordinator knows of this start.
    bound: bool,
    time_asked: Option<Instant>,
    floor_saved: Option<Instant>,
    next: Duration,
    /// Whether to listen from the start, with a whole map first.
    anew: bool,
}

impl Steward {
    /// For a box that belongs to a mesh; none otherwise. Counts this start.
    pub(crate) async fn open(
        data_dir: &std::path::Path,
        doings: Doings,
        told: watch::Receiver<Told>,
    ) -> Result<Option<(Self, watch::Receiver<Heard>)>> {
        let dir = kept::directory(data_dir);
        let Some(mut kept) = Kept::read(&dir)? else { return Ok(None) };
        let keys = Keys::open(&dir)?;
        anyhow::ensure!(
            keys.identity.public() == *kept.key(),
            "the box's identity is not the one that joined: restore {}, or join with another invite",
            dir.display()
        );
        kept.count_boot(&keys.identity)?;
        // Without it the next start counts itself as this one, which peers take: they only keep their old session longer.
        if let Err(error) = kept.write(&dir).await {
            tracing::error!(error = format!("{error:#}"), "this start is not counted: the disk refuses");
        }
        let coordinator = kept.coordinator()?;
        let map = kept::read_map(&dir, kept.key(), &coordinator).unwrap_or_else(|error| {
            tracing::warn!(error = format!("{error:#}"), "another map is asked for");
            None
        });
        let hour = Hour::new(&dir, 0);
        let desk = Desk::new(kept.url.clone(), kept.pin, keys.identity.clone(), kept.mesh(), hour)?;
        let revocations = kept.revocations();
        let line = if kept.is_revoked() { Line::Out } else { Line::Talking };
        let heard = Heard {
            map: map.clone(),
            coordinator: coordinator.clone(),
            revocations: revocations.clone(),
            viewers: List::new(),
            stun_ports: List::new(),
            watch: None,
        };
        let (heard, hears) = watch::channel(heard);
        let steward = Self {
            dir,
            kept,
            revocations,
            coordinator,
            map,
            desk,
            keys,
            doings,
            heard,
            told,
            accused: BTreeSet::new(),
            sent: None,
            line,
            backoff: Backoff::default(),
            bound: false,
            time_asked: None,
            floor_saved: None,
            next: Duration::ZERO,
            anew: true,
        };
        Ok(Some((steward, hears)))
    }

    pub(crate) fn kept(&self) -> &Kept {
        &self.kept
    }

    pub(crate) fn hour(&self) -> &Hour {
        self.desk.hour()
    }

    /// Ends only when the box is out of the mesh.
    pub(crate) async fn run(mut self) {
        let name = self.kept.chain.certificate.claims().name.clone();
        tracing::info!(box.id = %name, coordinator = %self.kept.url, "member of a mesh");
        let (heard, mut frames) = mpsc::channel(FRAMES_MAX);
        let mut tasks = JoinSet::new();
        // The time is put right before the first signature.
        self.beat().await;
        let mut pause = Duration::ZERO;
        while self.line != Line::Out {
            if std::mem::take(&mut self.anew) {
                tasks.abort_all();
                match self.second_desk() {
                    Ok(desk) => drop(tasks.spawn(push::listen(desk, heard.clone(), pause))),
                    Err(error) => tracing::error!(error = format!("{error:#}"), "nothing can be pushed"),
                }
                pause = ANEW_AFTER;
            }
            tokio::select! {
                Some(frame) = frames.recv() => self.handle_frame(frame).await,
                () = tokio::time::sleep(self.next) => self.beat().await,
                () = moved(&mut self.told, &self.sent) => self.beat().await,
            }
        }
        tracing::error!("this box was taken out of the mesh: {}", Code::BoxRevoked.what_to_do());
    }

    /// For questions beside its own.
    pub(crate) fn second_desk(&self) -> Result<Desk> {
        let hour = self.desk.hour().clone();
        let identity = self.keys.identity.clone();
        Desk::new(self.kept.url.clone(), self.kept.pin, identity, self.kept.mesh(), hour)
    }

    /// Everything that is due, and when the next is.
    async fn beat(&mut self) {
        if self.line == Line::Out {
            return;
        }
        match self.talk().await {
            Ok(next) => {
                if self.line == Line::Alone {
                    tracing::info!("the coordinator is back");
                }
                self.line = Line::Talking;
                self.backoff.handle_success();
                self.next = next;
            }
            Err(error) if error.code() == Code::BoxRevoked => self.line = Line::Out,
            Err(error) => {
                if error.code() == Code::ClockOff {
                    self.time_asked = None;
                }
                if self.line == Line::Talking {
                    let error = anyhow::Error::from(error);
                    tracing::warn!(error = format!("{error:#}"), "without the coordinator: streams go on");
                }
                self.line = Line::Alone;
                self.next = self.backoff.handle_failure(random().map_or(500, u32::from_le_bytes));
            }
        }
        if self.floor_saved.is_none_or(|saved| saved.elapsed() >= FLOOR_EVERY) {
            let saved = kept::write_floor(&self.dir, self.desk.hour().floor()).await;
            self.said(saved.context("saving the time"));
            self.floor_saved = Some(Instant::now());
        }
    }

    async fn talk(&mut self) -> Result<Duration, AskError> {
        if self.time_asked.is_none_or(|asked| asked.elapsed() >= TIME_EVERY) {
            if self.desk.time(&self.kept.root, &self.revocations).await? {
                tracing::warn!(now = %self.desk.hour().now(), "the board's clock was off");
            }
            self.time_asked = Some(Instant::now());
        }
        if renews(self.kept.membership.claims(), self.desk.hour().now()) {
            self.renew().await?;
        }
        match self.tell().await {
            // The coordinator came back from a backup that does not know this box.
            Err(error) if error.code() == Code::BoxUnknown => {
                self.renew().await?;
                self.tell().await
            }
            told => told,
        }
    }

    async fn tell(&mut self) -> Result<Duration, AskError> {
        let binding = self.kept.wireguard.last().cloned();
        if let (false, Some(wireguard)) = (self.bound, binding) {
            self.desk.tell(path::WIREGUARD, &BindingUpdate { wireguard }).await?;
            self.bound = true;
        }
        let boot = self.kept.wireguard.last().map_or(1, |binding| binding.claims().boot);
        let epoch = self.map.as_ref().map(PeerMap::epoch);
        let told = self.told.borrow_and_update().clone();
        self.sent = Some((Instant::now(), told.endpoints.clone(), told.publications));
        let evidence = told.evidence.clone();
        let heartbeat = report::heartbeat(boot, epoch, self.revocations.digest(), told, &self.doings);
        let answer: HeartbeatResponse = self.desk.post(path::HEARTBEAT, &heartbeat).await?;
        self.heard.send_if_modified(|heard| {
            let changed = heard.stun_ports != answer.stun_ports || heard.watch != answer.watch;
            heard.stun_ports = answer.stun_ports.clone();
            heard.watch.clone_from(&answer.watch);
            changed
        });
        for notice in answer.notices.iter() {
            tracing::warn!(code = %notice, "{}: {}", notice.title(), notice.what_to_do());
        }
        self.accuse(evidence).await?;
        if answer.revocations != self.revocations.digest() {
            let theirs: RevocationSet = self.desk.get(path::REVOCATIONS).await?;
            self.merge(theirs.entries.iter()).await;
            let ours: Vec<_> = self.revocations.entries().into_iter().cloned().collect();
            if self.revocations.digest() != answer.revocations {
                let entries = List::try_from(ours).unwrap_or_default();
                self.desk.tell(path::REVOCATIONS, &RevocationSet { entries }).await?;
            }
        }
        Ok(Duration::from_secs(u64::from(answer.next_s.clamp(1, 3600))))
    }

    /// Shows the operator what only boxes see: that somebody signed more boxes than the invite is for.
    async fn accuse(&mut self, evidence: Vec<DoubleUse>) -> Result<(), AskError> {
        for proof in evidence {
            let invite = proof.invite.id();
            if self.accused.contains(&invite) {
                continue;
            }
            match self.desk.tell(path::EVIDENCE, &proof).await {
                Ok(()) => {}
                // It has been heard, and is not wanted.
                Err(AskError::Problem(problem)) => {
                    tracing::warn!(code = %problem.code, "the coordinator refuses evidence");
                }
                Err(error) => return Err(error),
            }
            self.accused.insert(invite);
        }
        Ok(())
    }

    async fn renew(&mut self) -> Result<(), AskError> {
        let Kept { chain, membership, wireguard, .. } = self.kept.clone();
        let question = RenewRequest { chain, membership, wireguard };
        let RenewResponse { certificate, membership } = self.desk.post(path::RENEW, &question).await?;
        self.certified(certificate).await;
        let before = self.kept.membership.claims();
        let holds = self.coordinator.open(&membership).is_ok_and(|new| {
            new.key == before.key && new.invite == before.invite && new.issued >= before.issued
        });
        if holds {
            tracing::info!(expires = %membership.claims().expires(), "the membership is renewed");
            self.kept.membership = membership;
            self.save().await;
        } else {
            tracing::error!("the coordinator's answer does not make this box a member");
        }
        Ok(())
    }

    async fn handle_frame(&mut self, frame: Frame) {
        match frame {
            Frame::Map { map } => {
                let taken = match &mut self.map {
                    Some(known) => known.handle_map(map, &self.coordinator),
                    None => {
                        PeerMap::open(map, self.kept.key(), &self.coordinator).map(|map| self.map = Some(map))
                    }
                };
                self.took(taken).await;
            }
            Frame::Delta { delta } => {
                let taken = match &mut self.map {
                    Some(known) => known.handle_delta(delta, &self.coordinator),
                    None => Err(MapError::NotThere),
                };
                self.took(taken).await;
            }
            Frame::Revocations { entries } => self.merge(entries.iter()).await,
            Frame::Certificate { certificate } => self.certified(certificate).await,
            Frame::Viewers { entries } => self.heard.send_modify(|heard| heard.viewers = entries),
            Frame::Alive { .. } | Frame::Unknown => {}
        }
    }

    async fn took(&mut self, taken: Result<(), MapError>) {
        match taken {
            Ok(()) => {
                if let Some(map) = &self.map {
                    tracing::debug!(epoch = map.epoch().0, peers = map.entries().count(), "a map came");
                    self.heard.send_modify(|heard| heard.map = self.map.clone());
                    let saved = kept::write_map(&self.dir, map).await;
                    self.said(saved.context("the map is not kept"));
                }
            }
            Err(error) => {
                tracing::warn!(%error, code = %Code::from(&error), "a map is not taken");
                self.anew = true;
            }
        }
    }

    async fn merge<'a>(&mut self, entries: impl IntoIterator<Item = &'a trust::Signed<trust::Revocation>>) {
        let merged = self.revocations.merge(&self.kept.root, entries);
        if merged.new == 0 {
            return;
        }
        tracing::info!(new = merged.new, "revocations came in");
        let entries: Vec<_> = self.revocations.entries().into_iter().cloned().collect();
        self.kept.revocations = List::try_from(entries).unwrap_or_default();
        self.heard.send_modify(|heard| heard.revocations = self.revocations.clone());
        self.save().await;
        if self.kept.is_revoked() {
            self.line = Line::Out;
        }
    }

    async fn certified(&mut self, certificate: trust::Signed<trust::CoordinatorCertificate>) {
        if certificate == self.kept.certificate {
            return;
        }
        let now = self.desk.hour().now();
        let verified = Coordinator::verify(&certificate, &self.kept.root, now, &self.revocations);
        match verified.and_then(|new| new.succeed(&self.coordinator)) {
            Ok(new) => {
                self.heard.send_modify(|heard| heard.coordinator = new.clone());
                self.coordinator = new;
                self.kept.certificate = certificate;
                // What another key signed is asked for anew.
                self.map = None;
                self.save().await;
            }
            Err(error) => {
                tracing::error!(%error, code = %Code::from(&error), "the coordinator is not believed");
            }
        }
    }

    async fn save(&mut self) {
        self.said(self.kept.write(&self.dir).await.context("the membership is not kept"));
    }

    fn said(&self, done: Result<()>) {
        if let Err(error) = done {
            tracing::error!(error = format!("{error:#}"), "the disk refuses");
        }
    }
}

/// When the network has other places to tell than were told, and the last word is a while ago.
async fn moved(told: &mut watch::Receiver<Told>, sent: &Option<(Instant, Places, u64)>) {
    let Some((at, places, publications)) = sent else { return std::future::pending().await };
    let same = |told: &Told| told.endpoints == *places && told.publications == *publications;
    while same(&told.borrow_and_update()) {
        if told.changed().await.is_err() {
            // There is no network: nothing will ever move.
            return std::future::pending().await;
        }
    }
    tokio::time::sleep(MOVED_EVERY.saturating_sub(at.elapsed())).await;
}
