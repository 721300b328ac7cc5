//! The box in its mesh: the data plane's thread, the peers that the map names, and the places that change.
//!
//! ```text
//! coordinator ─ map, revocations ─> judged by trust ─> peers ─> data plane (its own thread: packets, paths)
//!             <─ places, paths ───────────────────────────────────┘
//! ```
//! Refuses to let anything here stop the box's own streams: without an interface it says so, goes on without friends
//! and tries again. And a fault here never stops packets: they are the other thread's.

mod device;
mod external;
mod judge;
pub(crate) mod places;
mod reconcile;
mod report;
mod roster;
mod router;
pub(crate) mod standing;
mod upnp;
mod viewers;

use std::net::{IpAddr, SocketAddr, ToSocketAddrs as _};
use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use dataplane::{
    Handle, HandleError, MeshPeer, Network, Outgoing, PeerConfig, Prefix, PublicKey, Surroundings,
    Told as PlaneTold,
};
use tokio::sync::{mpsc, watch};
use tokio::time::{MissedTickBehavior, interval};
use trust::map::PEERS_MAX;
use trust::{BoxKey, Endpoint, List, MeshPrefix, Ula, WireGuardKey};

use crate::control::ask::Desk;
use crate::control::hour::{self, Hour};
use crate::control::kept::{self, Kept};
use crate::control::keys::Keys;
use crate::control::relay::Relay;
use crate::control::seek::Seeks;
use crate::control::talk::{Heard, Told};
use crate::inside::{Meters, Neighbour, Neighbourhood, Proof};
use crate::settings::Mode;
use crate::watchdog::Pulse;
use judge::Judge;
use reconcile::{Change, Peers, changes, wanted};
use report::{path, shown};
use standing::Standing;

/// Of the interface. Paths begin with less, and the data plane cuts or refuses what one does not carry.
const MTU: u16 = mesh::INNER_MTU_MAX;
/// How often addresses are looked at, and peers' states told.
const LOOK_EVERY: Duration = Duration::from_secs(2);
/// How often a board without the time looks whether it has it.
const CLOCK_EVERY: Duration = Duration::from_millis(500);
/// How long a board waits whose clock goes back. `relayd clock` guesses after a minute.
const EARLIER_MAX: Duration = Duration::from_secs(90);
/// How often memberships are judged again, since they end by the clock.
const JUDGE_EVERY: Duration = Duration::from_secs(60);

/// Addresses that wait to be asked for; more are told again by the data plane.
const SOUGHT_MAX: usize = 16;

/// A session of a box that started again is its new one, if it is not older.
const YOUNG: Duration = Duration::from_secs(5);

/// Before the network is tried again, at first and at most.
const AGAIN_FIRST: Duration = Duration::from_secs(1);
const AGAIN_MAX: Duration = Duration::from_secs(60);

/// What the box's network is made from.
#[derive(Clone)]
pub(crate) struct Plan {
    /// The mesh's folder in the data directory.
    pub(crate) dir: PathBuf,
    pub(crate) mode: Mode,
    /// Ours to make, or one that was there before.
    pub(crate) interface: String,
    /// UDP; any when it is 0.
    pub(crate) port: u16,
    /// Whether this box listens for others.
    pub(crate) relay: bool,
    /// Where viewers find the box's pages.
    pub(crate) http: u16,
    pub(crate) kept: Kept,
    pub(crate) hour: Hour,
    pub(crate) heard: watch::Receiver<Heard>,
    pub(crate) told: watch::Sender<Told>,
    /// Where this box and its peers are to be found inside.
    pub(crate) neighbourhood: watch::Sender<Neighbourhood>,
    /// What was said to each peer and by it.
    pub(crate) meters: Meters,
    /// Asks for boxes that are no peers.
    pub(crate) seeks: Seeks,
    /// Datagrams between others.
    pub(crate) outgoing: Outgoing,
    /// Of the data plane's thread.
    pub(crate) pulse: Pulse,
}

/// Keeps the network for as long as the box is in the mesh. What can't be had now may be there later: an interface
/// that is just being made, or a port that another program lets go of.
pub(crate) async fn run(plan: Plan) {
    let mut again = AGAIN_FIRST;
    let mut said = String::new();
    loop {
        let began = Instant::now();
        let attended = match plan.mode {
            Mode::Own => attend(plan.clone()).await,
            Mode::External => external::attend(plan.clone()).await,
        };
        plan.pulse.rest();
        let Err(error) = attended else {
            tracing::error!("this box was taken out of the mesh; its own streams go on");
            return;
        };
        if began.elapsed() >= AGAIN_MAX {
            (again, said) = (AGAIN_FIRST, String::new());
        }
        let error = format!("{error:#}");
        if error == said {
            tracing::debug!(error, "this box still has no network to its friends");
        } else {
            tracing::error!(
                error,
                "this box has no network to its friends, and tries again; its own streams go on"
            );
            said = error;
        }
        tokio::time::sleep(again).await;
        again = (again * 2).min(AGAIN_MAX);
    }
}

/// Ends well when the box is out of the mesh.
async fn attend(plan: Plan) -> Result<()> {
    wait_for_the_time(&plan).await;
    let keys = Keys::open(&plan.dir)?;
    let (inner, outer) = UnixDatagram::pair().context("a pair of sockets")?;
    let desk = Desk::new(
        plan.kept.url.clone(),
        plan.kept.pin,
        keys.identity.clone(),
        plan.kept.mesh(),
        plan.hour.clone(),
    )?;
    let (relay, relayed) = Relay::new(desk, outer)?;
    let (told, places) = watch::channel(None);
    let (seeks, sought) = mpsc::channel(SOUGHT_MAX);
    let config = device::config(&plan, keys, inner, told, seeks)?;
    let handle = device::bring_up(&plan, config).await?;
    let (standing, shown) = watch::channel(Standing::default());
    let (mapped, router) = watch::channel(None);
    let mut tasks = tokio::task::JoinSet::new();
    tasks.spawn(relay.run());
    tasks.spawn(router::keep(handle.port(), mapped));
    tasks.spawn(answers(plan.dir.clone(), shown));
    let judge = Judge::open(&plan)?;
    let viewers = viewers::Door::open(&plan)?;
    let peers = Peers::new();
    let net = Net { plan, handle, viewers, judge, peers, standing, relayed, places, router, sought };
    net.run().await
}

async fn answers(dir: PathBuf, standing: watch::Receiver<Standing>) {
    if let Err(error) = standing::answer(dir, standing).await {
        tracing::warn!(error = format!("{error:#}"), "relayd status can't ask this box");
    }
}

/// Handshakes carry time stamps that peers never let go back. So a board whose clock is not set has to wait for
/// `relayd clock`, or the network's time service; one that shows less than was seen before waits for a while, since a
/// peer that hears of its start from the coordinator takes it anyway.
async fn wait_for_the_time(plan: &Plan) {
    let before = kept::read_floor(&plan.dir).unwrap_or_default();
    let began = Instant::now();
    let may_go = || {
        let is_later = hour::shown() >= before || began.elapsed() >= EARLIER_MAX;
        dataplane::clock_is_set() && is_later
    };
    if may_go() {
        return;
    }
    tracing::warn!(shown = %hour::shown(), "this board's clock is not set: the mesh's network waits for it");
    while !may_go() {
        tokio::time::sleep(CLOCK_EVERY).await;
    }
    tracing::info!(shown = %hour::shown(), "the clock is set");
}

/// All that the daemon would give its interface, for a daemon that may not; nothing for a box of no mesh.
pub(crate) fn dress_beforehand(interface: &str, dir: &Path, kept: Option<&Kept>) -> Result<()> {
    let mut addresses = Vec::new();
    let mut viewers = None;
    if let Some(kept) = kept {
        let address = kept.membership.claims().address;
        device::dress(interface, address, MeshPrefix::of(&kept.mesh()))?;
        addresses.push(IpAddr::V6(address.into()));
        viewers = viewers::dress_beforehand(interface, dir, kept)?.map(IpAddr::V4);
    }
    // By the coordinator's hour the daemon may know of viewers when this board's clock knows of none.
    let knows_viewers = kept.is_none() || viewers.is_some();
    addresses.extend(viewers);
    let is_stale = |address: IpAddr| !addresses.contains(&address) && (address.is_ipv6() || knows_viewers);
    Network::open(interface)?.remove_stale(is_stale);
    Ok(())
}

/// The network as it runs.
struct Net {
    plan: Plan,
    handle: Handle,
    viewers: viewers::Door,
    judge: Judge,
    peers: Peers,
    standing: watch::Sender<Standing>,
    relayed: watch::Receiver<bool>,
    places: watch::Receiver<Option<PlaneTold>>,
    /// Where the box's router maps its port to.
    router: watch::Receiver<Option<SocketAddr>>,
    /// Addresses that the host sends packets to, and that can't be reached.
    sought: mpsc::Receiver<Ula>,
}

impl Drop for Net {
    fn drop(&mut self) {
        self.handle.stop();
    }
}

impl Net {
    /// Ends with an error when the data plane did, and well with the talk to the coordinator.
    async fn run(mut self) -> Result<()> {
        let mut look = interval(LOOK_EVERY);
        look.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut judge = interval(JUDGE_EVERY);
        judge.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut servers = Vec::new();
        self.tell_neighbours();
        loop {
            tokio::select! {
                changed = self.plan.heard.changed() => {
                    if changed.is_err() {
                        return Ok(());
                    }
                    self.reconcile().await?;
                    self.find_servers(&mut servers).await;
                }
                _ = judge.tick() => {
                    self.reconcile().await?;
                    self.find_servers(&mut servers).await;
                }
                _ = look.tick() => self.look().await?,
                Some(address) = self.sought.recv() => {
                    let is_there = self.peers.values().any(|peer| peer.address == address);
                    self.plan.seeks.handle_packet_for(address, is_there);
                }
                changed = self.relayed.changed() => {
                    if changed.is_ok() {
                        let connected = *self.relayed.borrow_and_update();
                        self.said(self.handle.tell(Surroundings::Tls(connected)).await);
                    }
                }
                changed = self.router.changed() => {
                    if changed.is_ok() {
                        let mapped = *self.router.borrow_and_update();
                        self.said(self.handle.tell(Surroundings::Router(mapped)).await);
                    }
                }
                changed = self.places.changed() => {
                    if changed.is_ok() {
                        let places = self.places.borrow_and_update().clone();
                        let endpoints = places.map(|places| places.endpoints).unwrap_or_default();
                        self.plan.told.send_modify(|told| told.endpoints = endpoints);
                    }
                }
            }
        }
    }

    /// Judges the map's boxes, and tells the data plane what changed.
    async fn reconcile(&mut self) -> Result<()> {
        let heard = self.plan.heard.borrow_and_update().clone();
        self.viewers.reconcile(&self.plan, &heard, &self.handle).await;
        let now = self.plan.hour.now();
        let Some(accepted) = self.judge.judge(heard, now).await? else { return Ok(()) };
        let wanted = wanted(&accepted, now);
        for change in changes(&self.peers, &wanted) {
            self.change(&change, &wanted).await;
        }
        self.peers = wanted;
        self.tell_neighbours();
        Ok(())
    }

    /// Everybody at the relay's port, under the address by which the data plane knows them.
    fn tell_neighbours(&self) {
        let at = |address: Ula| SocketAddr::new(IpAddr::V6(address.into()), mesh::RELAY_PORT);
        let neighbour =
            |peer: &reconcile::Wanted| Neighbour { name: peer.name.clone(), places: vec![at(peer.address)] };
        let new = Neighbourhood {
            own: self
                .plan
                .relay
                .then(|| at(self.plan.kept.membership.claims().address))
                .into_iter()
                .collect(),
            boxes: self.peers.iter().map(|(key, peer)| (*key, neighbour(peer))).collect(),
            proof: Proof::Address,
        };
        self.plan.neighbourhood.send_if_modified(|old| std::mem::replace(old, new) != *old);
    }

    async fn change(&self, change: &Change, wanted: &Peers) {
        let result = match change {
            Change::Remove { call } => self.handle.remove_peer(public(call)).await,
            Change::Rekey { old, new } => self.handle.replace_key(public(old), public(new)).await,
            Change::Add(key) => match self.config(key, wanted) {
                Some(config) => self.handle.add_peer(config).await,
                None => return,
            },
            Change::Update(key) => match self.config(key, wanted) {
                Some(config) => self.handle.update_peer(config).await,
                None => return,
            },
            Change::Renew(key) => match self.config(key, wanted) {
                Some(config) => self.renew(config).await,
                None => return,
            },
        };
        tracing::debug!(?change, "peers");
        self.said(result);
    }

    /// Drops the session of a box that started again, unless it made one since: then its clock is well.
    async fn renew(&self, config: PeerConfig) -> Result<(), HandleError> {
        let peers = self.handle.look().await?.peers;
        let stats = peers.iter().find(|stats| stats.public_key == config.public_key);
        match stats.and_then(|stats| stats.handshake_age) {
            Some(age) if age >= YOUNG => {
                self.handle.remove_peer(config.public_key).await?;
                self.handle.add_peer(config).await
            }
            Some(_) | None => self.handle.update_peer(config).await,
        }
    }

    fn config(&self, key: &BoxKey, wanted: &Peers) -> Option<PeerConfig> {
        let peer = wanted.get(key)?;
        let own = self.plan.kept.key();
        let hints = mesh::Hints { endpoints: peer.endpoints.clone(), calls_first: own < key };
        Some(PeerConfig {
            public_key: public(&peer.call),
            preshared_key: None,
            allowed_ips: vec![Prefix::new(IpAddr::V6(peer.address.into()), 128).ok()?],
            endpoint: None,
            keepalive: None,
            mesh: Some(MeshPeer { address: peer.address, hints }),
        })
    }

    /// The coordinator's STUN servers, by the name in its address.
    async fn find_servers(&self, known: &mut Vec<SocketAddr>) {
        let ports = self.plan.heard.borrow().stun_ports.clone();
        let host = self.plan.kept.url.host().to_owned();
        let found = tokio::task::spawn_blocking(move || {
            let ips =
                (host.as_str(), 0).to_socket_addrs().map(Iterator::collect::<Vec<_>>).unwrap_or_default();
            let at = |at: &SocketAddr| {
                ports.iter().map(|port| SocketAddr::new(at.ip(), *port)).collect::<Vec<_>>()
            };
            let one = |v4: bool| ips.iter().find(|at| at.is_ipv4() == v4).map(at).unwrap_or_default();
            [one(true), one(false)].concat()
        });
        let found = found.await.unwrap_or_default();
        // A name that can't be looked up just now leaves what was known.
        if !found.is_empty() && found != *known {
            self.said(self.handle.tell(Surroundings::Servers(found.clone())).await);
            *known = found;
        }
    }

    /// Looks at addresses and peers, and tells of them.
    async fn look(&self) -> Result<()> {
        let locals = places::addresses(&self.plan.interface);
        self.said(self.handle.tell(Surroundings::Locals(locals)).await);
        let snapshot = self.handle.look().await.context("the data plane")?;
        self.plan.pulse.beat();
        let peers: Vec<_> = self
            .peers
            .iter()
            .filter_map(|(key, peer)| {
                let stats = snapshot.peers.iter().find(|stats| stats.public_key == public(&peer.call))?;
                Some((key, peer, stats))
            })
            .collect();
        let paths = peers.iter().map(|(key, _, stats)| path(key, stats)).take(PEERS_MAX).collect::<Vec<_>>();
        let names = |id: mesh::PeerId| {
            let stats = snapshot.peers.iter().find(|stats| stats.number == id)?;
            let (_, peer, _) = peers.iter().find(|(_, peer, _)| public(&peer.call) == stats.public_key)?;
            Some(peer.name.to_string())
        };
        let shown = peers.iter().map(|(_, peer, stats)| shown(peer, stats, names)).collect();
        let places = self.places.borrow().clone();
        let (endpoints, nat) = places.map(|places| (places.endpoints, places.nat)).unwrap_or_default();
        let standing = Standing {
            now: self.plan.hour.known(),
            interface: self.plan.interface.clone(),
            external: false,
            port: self.handle.port(),
            router: nat,
            endpoints: endpoints.iter().map(Endpoint::address).collect(),
            relay: *self.relayed.borrow(),
            peers: shown,
        };
        self.plan.told.send_modify(|told| told.paths = List::try_from(paths).unwrap_or_default());
        let _ = self.standing.send(standing);
        Ok(())
    }

    fn said(&self, done: Result<(), HandleError>) {
        if let Err(error) = done {
            tracing::warn!(error = format!("{:#}", anyhow::Error::from(error)), "the data plane");
        }
    }
}

fn public(key: &WireGuardKey) -> PublicKey {
    PublicKey(*key.as_bytes())
}
