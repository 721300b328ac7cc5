//! A network that was there before: an interface made by Tailscale, Headscale or wg-quick. This box makes no tunnel of
//! its own; it listens there, tells its addresses there, and each connection between boxes is mutual TLS.
//!
//! Refuses to take an address for a proof, and to talk to boxes that are not in that network: what they tell of
//! themselves does not lead to the boxes' port.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::Result;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::{MissedTickBehavior, interval};
use trust::map::PEERS_MAX;
use trust::{BoxKey, Endpoint, List, Name, Peer, Ula};
use wire::heartbeat::{PathKind, PeerPath};

use super::judge::Judge;
use super::report::millis;
use super::standing::{PeerStanding, Standing};
use super::{JUDGE_EVERY, LOOK_EVERY, Plan, answers, places};
use crate::control::keys::Keys;
use crate::inside::{Bytes, Certificate, Inside, Neighbour, Neighbourhood, Proof};

/// How often some peer is tried, one at a time.
const TRY_EVERY: Duration = Duration::from_secs(1);
/// How often each.
const TRY_EACH_EVERY: Duration = Duration::from_secs(30);

/// A peer, and how it was found when it was tried.
#[derive(Clone, Debug)]
struct Known {
    name: Name,
    address: Ula,
    places: Vec<SocketAddr>,
    tried: Option<Instant>,
    /// None when it was not reached.
    round_trip: Option<Duration>,
}

struct External {
    plan: Plan,
    judge: Judge,
    inside: Inside,
    proof: Proof,
    peers: BTreeMap<BoxKey, Known>,
    /// Where this box is in that network.
    own: Vec<SocketAddr>,
    standing: watch::Sender<Standing>,
    trials: JoinSet<(BoxKey, Option<Duration>)>,
}

pub(super) async fn attend(plan: Plan) -> Result<()> {
    let proof = Proof::Certificate(Arc::new(Certificate::of(&Keys::open(&plan.dir)?.identity)?));
    let (standing, shown) = watch::channel(Standing::default());
    let mut tasks = JoinSet::new();
    tasks.spawn(answers(plan.dir.clone(), shown));
    let judge = Judge::open(&plan)?;
    let inside = Inside::to(plan.neighbourhood.subscribe(), plan.meters.clone(), plan.seeks.clone());
    tracing::info!(interface = plan.interface, "uses a network that is there already");
    let external = External {
        plan,
        judge,
        inside,
        proof,
        peers: BTreeMap::new(),
        own: Vec::new(),
        standing,
        trials: JoinSet::new(),
    };
    external.run().await
}

impl External {
    /// Ends when the box is out of the mesh.
    async fn run(mut self) -> Result<()> {
        let ticks = |every| {
            let mut ticks = interval(every);
            ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
            ticks
        };
        let (mut look, mut judge, mut trial) = (ticks(LOOK_EVERY), ticks(JUDGE_EVERY), ticks(TRY_EVERY));
        let mut was_there = true;
        loop {
            tokio::select! {
                changed = self.plan.heard.changed() => {
                    if changed.is_err() {
                        return Ok(());
                    }
                    self.reconcile().await?;
                }
                _ = judge.tick() => self.reconcile().await?,
                _ = look.tick() => {
                    self.look();
                    let is_there = !self.own.is_empty();
                    if is_there != std::mem::replace(&mut was_there, is_there) {
                        let interface = &self.plan.interface;
                        match is_there {
                            true => tracing::info!(interface, "the network is there"),
                            false => tracing::warn!(interface, "no such interface, or it has no address"),
                        }
                    }
                }
                _ = trial.tick(), if self.trials.is_empty() => self.try_one(),
                Some(Ok((key, round_trip))) = self.trials.join_next() => {
                    if let Some(known) = self.peers.get_mut(&key) {
                        known.round_trip = round_trip;
                    }
                }
            }
        }
    }

    /// Judges the map's boxes.
    async fn reconcile(&mut self) -> Result<()> {
        let heard = self.plan.heard.borrow_and_update().clone();
        let Some(accepted) = self.judge.judge(heard, self.plan.hour.now()).await? else { return Ok(()) };
        let mut before = std::mem::take(&mut self.peers);
        let known = |peer: &Peer| {
            let key = *peer.identity().key();
            let places = box_places(peer.endpoints());
            let had = before.remove(&key).filter(|had| had.places == places);
            let (tried, round_trip) = had.map_or((None, None), |had| (had.tried, had.round_trip));
            let (name, address) = (peer.identity().name().clone(), peer.address());
            (key, Known { name, address, places, tried, round_trip })
        };
        self.peers = accepted.iter().map(known).collect();
        self.tell_neighbours();
        Ok(())
    }

    fn look(&mut self) {
        let ips = places::addresses_on(&self.plan.interface);
        self.own = ips.into_iter().map(|ip| SocketAddr::new(ip, mesh::RELAY_PORT)).collect();
        self.tell_neighbours();
        let endpoints: Vec<_> = self.own.iter().filter_map(|at| Endpoint::new(*at).ok()).collect();
        let endpoints = List::try_from(endpoints).unwrap_or_default();
        let paths: Vec<_> = self
            .peers
            .iter()
            .map(|(key, known)| path(key, known, self.plan.meters.read(key)))
            .take(PEERS_MAX)
            .collect();
        let paths = List::try_from(paths).unwrap_or_default();
        self.plan.told.send_modify(|told| (told.endpoints, told.paths) = (endpoints, paths));
        let _ = self.standing.send(Standing {
            now: self.plan.hour.known(),
            interface: self.plan.interface.clone(),
            external: true,
            port: mesh::RELAY_PORT,
            endpoints: self.own.clone(),
            peers: self.peers.iter().map(|(key, known)| shown(known, self.plan.meters.read(key))).collect(),
            ..Standing::default()
        });
    }

    fn tell_neighbours(&self) {
        let neighbour = |known: &Known| Neighbour { name: known.name.clone(), places: known.places.clone() };
        let new = Neighbourhood {
            own: if self.plan.relay { self.own.clone() } else { Vec::new() },
            boxes: self.peers.iter().map(|(key, known)| (*key, neighbour(known))).collect(),
            proof: self.proof.clone(),
        };
        self.plan.neighbourhood.send_if_modified(|old| std::mem::replace(old, new) != *old);
    }

    /// Connects to the peer that was not tried for longest, to see whether it is there.
    fn try_one(&mut self) {
        let is_due = |known: &Known| known.tried.is_none_or(|tried| tried.elapsed() >= TRY_EACH_EVERY);
        let due = self.peers.iter_mut().filter(|(_, known)| !known.places.is_empty() && is_due(known));
        let Some((key, known)) = due.min_by_key(|(_, known)| known.tried) else { return };
        known.tried = Some(Instant::now());
        let (inside, key) = (self.inside.clone(), *key);
        self.trials.spawn(async move {
            let began = Instant::now();
            let connected = inside.probe(&key).await;
            // There and back twice: TCP, and TLS 1.3 (RFC 8446, 2).
            (key, connected.is_ok().then(|| began.elapsed() / 2))
        });
    }
}

/// Boxes of such a network tell their addresses with the port where they listen; those of others have another one.
fn box_places(endpoints: &[Endpoint]) -> Vec<SocketAddr> {
    let all = endpoints.iter().map(Endpoint::address);
    all.filter(|at| at.port() == mesh::RELAY_PORT).collect()
}

fn kind(known: &Known) -> PathKind {
    if known.round_trip.is_some() { PathKind::External } else { PathKind::None }
}

fn path(key: &BoxKey, known: &Known, bytes: Bytes) -> PeerPath {
    PeerPath {
        peer: *key,
        kind: kind(known),
        endpoint: known.places.first().and_then(|at| Endpoint::new(*at).ok()),
        round_trip_ms: known.round_trip.map(millis),
        handshake_age_s: None,
        sent_bytes: bytes.sent,
        received_bytes: bytes.received,
    }
}

fn shown(known: &Known, bytes: Bytes) -> PeerStanding {
    let place = known.places.first();
    let path = match (place, known.round_trip) {
        (Some(at), Some(_)) => format!("over the network that is there, to {at}"),
        (Some(_), None) => "none".to_owned(),
        (None, _) => "none: it is not in this network".to_owned(),
    };
    PeerStanding {
        name: known.name.clone(),
        address: known.address,
        kind: kind(known),
        path,
        endpoint: place.copied(),
        router: mesh::Nat::default(),
        why_not: None,
        round_trip_ms: known.round_trip.map(millis),
        packet_bytes_max: None,
        handshake_age_s: None,
        sent_bytes: bytes.sent,
        received_bytes: bytes.received,
    }
}
