//! The box in its mesh: the data plane's thread, the peers that the map names, and the places that change.
//!
//! ```text
//! coordinator ─ map, revocations ─> judged by trust ─> peers ─> data plane (its own thread: packets, paths)
//!             <─ places, paths ───────────────────────────────────┘
//! ```
//! Refuses to let anything here stop the box's own streams: without the right to make an interface it says so, and the
//! box goes on without friends. And a fault here never stops packets: they are the other thread's.

mod places;
mod reconcile;
mod roster;
mod router;
pub(crate) mod standing;
mod viewers;

use std::net::{IpAddr, SocketAddr, ToSocketAddrs as _};
use std::os::unix::net::UnixDatagram;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context as _, Result};
use dataplane::{
    Filter, Handle, HandleError, MeshConfig, MeshPeer, Network, PeerConfig, PeerStats, Plane, PlaneConfig,
    Prefix, PublicKey, Surroundings, Told as PlaneTold, Tun,
};
use tokio::sync::{oneshot, watch};
use tokio::time::{MissedTickBehavior, interval};
use trust::map::PEERS_MAX;
use trust::{Authority, BoxKey, Endpoint, List, MeshPrefix, Roster, Ula, WireGuardKey};
use wire::heartbeat::{PathKind, PeerPath};

use crate::control::ask::Desk;
use crate::control::hour::Hour;
use crate::control::kept::Kept;
use crate::control::keys::{Keys, random};
use crate::control::relay::Relay;
use crate::control::talk::{Heard, Told};
use crate::inside::{Neighbour, Neighbourhood};
use reconcile::{Change, Peers, changes, wanted};
use standing::{PeerStanding, Standing};

/// As wg-quick's default, and in every path's reach (RFC 8200, 5).
const MTU: u16 = mesh::INNER_MTU;
/// How often addresses are looked at, and peers' states told.
const LOOK_EVERY: Duration = Duration::from_secs(2);
/// How often a board without the time looks whether it has it.
const CLOCK_EVERY: Duration = Duration::from_secs(2);
/// How often memberships are judged again, since they end by the clock.
const JUDGE_EVERY: Duration = Duration::from_secs(60);

/// A session of a box that started again is its new one, if it is not older.
const YOUNG: Duration = Duration::from_secs(5);

/// What the box's network is made from.
pub(crate) struct Plan {
    /// The mesh's folder in the data directory.
    pub(crate) dir: PathBuf,
    pub(crate) interface: String,
    /// UDP; any when it is 0.
    pub(crate) port: u16,
    /// Where viewers find the box's pages.
    pub(crate) http: u16,
    pub(crate) kept: Kept,
    pub(crate) hour: Hour,
    pub(crate) heard: watch::Receiver<Heard>,
    pub(crate) told: watch::Sender<Told>,
    /// Where this box and its peers are to be found inside.
    pub(crate) neighbourhood: watch::Sender<Neighbourhood>,
}

/// Keeps the network for as long as the box runs. It ends early only where no network can be had, and says why.
pub(crate) async fn run(plan: Plan) {
    if let Err(error) = attend(plan).await {
        tracing::error!(
            error = format!("{error:#}"),
            "this box has no network to its friends; its own streams go on"
        );
    }
}

async fn attend(plan: Plan) -> Result<()> {
    wait_for_the_time().await;
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
    let config = config(&plan, keys, inner, told)?;
    let handle = bring_up(&plan, config).await?;
    let (standing, shown) = watch::channel(Standing::default());
    let (mapped, router) = watch::channel(None);
    let mut tasks = tokio::task::JoinSet::new();
    tasks.spawn(relay.run());
    tasks.spawn(router::keep(handle.port(), mapped));
    let dir = plan.dir.clone();
    tasks.spawn(async move {
        if let Err(error) = standing::answer(dir, shown).await {
            tracing::warn!(error = format!("{error:#}"), "relayd status can't ask this box");
        }
    });
    let roster = roster::read(&plan.dir, &plan.kept.root, &plan.kept.revocations())?;
    let viewers = viewers::Door::open(&plan)?;
    let net = Net { plan, handle, viewers, roster, peers: Peers::new(), standing, relayed, places, router };
    net.run().await
}

/// Handshakes carry time stamps that peers never let go back, so a board whose clock is not set has to wait for it.
async fn wait_for_the_time() {
    if dataplane::clock_is_set() {
        return;
    }
    tracing::warn!("this board's clock is not set: the mesh's network waits for it");
    while !dataplane::clock_is_set() {
        tokio::time::sleep(CLOCK_EVERY).await;
    }
    tracing::info!("the clock is set");
}

fn config(
    plan: &Plan,
    keys: Keys,
    tls: UnixDatagram,
    told: watch::Sender<Option<PlaneTold>>,
) -> Result<PlaneConfig> {
    let inside = MeshPrefix::of(&plan.kept.mesh());
    let agent = mesh::Config { seed: random()?, inside, loopback: false };
    let address = plan.kept.membership.claims().address;
    let mesh =
        Some(MeshConfig { agent, address, tls, filter: Filter::new([mesh::RELAY_PORT], [plan.http]), told });
    let listen_port = Some(plan.port);
    Ok(PlaneConfig { private_key: keys.secret, listen_port, mtu: MTU, peers: Vec::new(), mesh })
}

/// The interface with its addresses, and its thread, which takes them down at its end.
async fn bring_up(plan: &Plan, config: PlaneConfig) -> Result<Handle> {
    let interface = plan.interface.clone();
    let address = plan.kept.membership.claims().address;
    let inside = MeshPrefix::of(&plan.kept.mesh());
    let (ready, readied) = oneshot::channel();
    let work = move || {
        let started = Tun::open(&interface).map_err(anyhow::Error::from).and_then(|tun| {
            let (plane, handle) = Plane::new(config, tun)?;
            let network = dress(&interface, address, inside)?;
            tracing::info!(interface, port = handle.port(), %address, "the mesh's network is up");
            Ok((plane, handle, network))
        });
        let (plane, network) = match started {
            Ok((plane, handle, network)) => {
                let _ = ready.send(Ok(handle));
                (plane, network)
            }
            Err(error) => return drop(ready.send(Err(error))),
        };
        if let Err(error) = plane.run() {
            let error = anyhow::Error::from(error);
            tracing::error!(error = format!("{error:#}"), "the data plane ended");
        }
        network.take_down();
    };
    std::thread::Builder::new().name("dataplane".to_owned()).spawn(work).context("a thread")?;
    readied.await.context("the data plane's thread ended")?
}

/// Gives the interface its address and the mesh's route.
fn dress(interface: &str, address: Ula, inside: MeshPrefix) -> Result<Network> {
    let route = Prefix::new(IpAddr::V6(inside.network()), MeshPrefix::BITS)?;
    let mut network = Network::open(interface)?;
    let address = (IpAddr::V6(address.into()), 128);
    let dressed = network.bring_up(MTU, &[address]).and_then(|()| network.add_routes([route]));
    dressed.with_context(|| format!("interface {interface}"))?;
    Ok(network)
}

/// The network as it runs.
struct Net {
    plan: Plan,
    handle: Handle,
    viewers: viewers::Door,
    roster: Roster,
    peers: Peers,
    standing: watch::Sender<Standing>,
    relayed: watch::Receiver<bool>,
    places: watch::Receiver<Option<PlaneTold>>,
    /// Where the box's router maps its port to.
    router: watch::Receiver<Option<SocketAddr>>,
}

impl Drop for Net {
    fn drop(&mut self) {
        self.handle.stop();
    }
}

impl Net {
    /// Ends when the data plane did, or the talk with the coordinator.
    async fn run(mut self) -> Result<()> {
        let mut look = interval(LOOK_EVERY);
        look.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut judge = interval(JUDGE_EVERY);
        judge.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut servers = Vec::new();
        self.plan.neighbourhood.send_replace(self.neighbourhood());
        loop {
            tokio::select! {
                changed = self.plan.heard.changed() => {
                    if changed.is_err() {
                        anyhow::bail!("this box was taken out of the mesh");
                    }
                    self.reconcile();
                    self.find_servers(&mut servers).await;
                }
                _ = judge.tick() => {
                    self.reconcile();
                    self.find_servers(&mut servers).await;
                }
                _ = look.tick() => self.look()?,
                changed = self.relayed.changed() => {
                    if changed.is_ok() {
                        let connected = *self.relayed.borrow_and_update();
                        self.said(self.handle.tell(Surroundings::Tls(connected)));
                    }
                }
                changed = self.router.changed() => {
                    if changed.is_ok() {
                        let mapped = *self.router.borrow_and_update();
                        self.said(self.handle.tell(Surroundings::Router(mapped)));
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
    fn reconcile(&mut self) {
        let heard = self.plan.heard.borrow_and_update().clone();
        self.viewers.reconcile(&self.plan, &heard, &self.handle);
        let Some(map) = &heard.map else { return };
        let now = self.plan.hour.now();
        self.roster.forget_revoked(&heard.revocations);
        let authority = Authority {
            root: &self.plan.kept.root,
            coordinator: &heard.coordinator,
            revocations: &heard.revocations,
        };
        let verdicts = map.peers(&authority, now, &mut self.roster);
        for (key, error) in &verdicts.refused {
            tracing::debug!(box.key = %key.fingerprint(), %error, "a box of the map is no peer");
        }
        let wanted = wanted(&verdicts.accepted, now);
        let changes = changes(&self.peers, &wanted);
        if changes.is_empty() {
            return;
        }
        // Before anybody is answered: a box that came in first keeps its place over a power cut.
        if let Err(error) = roster::write(&self.plan.dir, &self.roster) {
            tracing::error!(error = format!("{error:#}"), "the roster is not kept");
        }
        for change in changes {
            self.change(&change, &wanted);
        }
        self.peers = wanted;
        self.plan.neighbourhood.send_replace(self.neighbourhood());
    }

    /// Everybody at the relay's port, under the address by which the data plane knows them.
    fn neighbourhood(&self) -> Neighbourhood {
        let at = |address: Ula| SocketAddr::new(IpAddr::V6(address.into()), mesh::RELAY_PORT);
        let neighbour =
            |peer: &reconcile::Wanted| Neighbour { name: peer.name.clone(), places: vec![at(peer.address)] };
        Neighbourhood {
            own: vec![at(self.plan.kept.membership.claims().address)],
            boxes: self.peers.iter().map(|(key, peer)| (*key, neighbour(peer))).collect(),
        }
    }

    fn change(&self, change: &Change, wanted: &Peers) {
        let result = match change {
            Change::Remove { call } => self.handle.remove_peer(public(call)),
            Change::Rekey { old, new } => self.handle.replace_key(public(old), public(new)),
            Change::Add(key) => match self.config(key, wanted) {
                Some(config) => self.handle.add_peer(config),
                None => return,
            },
            Change::Update(key) => match self.config(key, wanted) {
                Some(config) => self.handle.update_peer(config),
                None => return,
            },
            Change::Renew(key) => match self.config(key, wanted) {
                Some(config) => self.renew(config),
                None => return,
            },
        };
        tracing::debug!(?change, "peers");
        self.said(result);
    }

    /// Drops the session of a box that started again, unless it made one since: then its clock is well.
    fn renew(&self, config: PeerConfig) -> Result<(), HandleError> {
        let peers = self.handle.look()?.peers;
        let stats = peers.iter().find(|stats| stats.public_key == config.public_key);
        match stats.and_then(|stats| stats.handshake_age) {
            Some(age) if age >= YOUNG => {
                self.handle.remove_peer(config.public_key)?;
                self.handle.add_peer(config)
            }
            Some(_) | None => self.handle.update_peer(config),
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
            self.said(self.handle.tell(Surroundings::Servers(found.clone())));
            *known = found;
        }
    }

    /// Looks at addresses and peers, and tells of them.
    fn look(&self) -> Result<()> {
        self.said(self.handle.tell(Surroundings::Locals(places::addresses(&self.plan.interface))));
        let snapshot = self.handle.look().context("the data plane")?;
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
            interface: self.plan.interface.clone(),
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

fn kind(stats: &PeerStats) -> PathKind {
    stats.mesh.as_ref().and_then(|mesh| mesh.path).map_or(PathKind::None, |path| path.kind())
}

fn millis(duration: Duration) -> u32 {
    u32::try_from(duration.as_millis()).unwrap_or(u32::MAX)
}

fn seconds(duration: Duration) -> u32 {
    u32::try_from(duration.as_secs()).unwrap_or(u32::MAX)
}

fn path(key: &BoxKey, stats: &PeerStats) -> PeerPath {
    PeerPath {
        peer: *key,
        kind: kind(stats),
        endpoint: stats.endpoint.and_then(|at| Endpoint::new(at).ok()),
        round_trip_ms: stats.mesh.as_ref().and_then(|mesh| mesh.round_trip).map(millis),
        handshake_age_s: stats.handshake_age.map(seconds),
        sent_bytes: stats.sent_bytes,
        received_bytes: stats.received_bytes,
    }
}

fn shown(
    peer: &reconcile::Wanted,
    stats: &PeerStats,
    names: impl Fn(mesh::PeerId) -> Option<String>,
) -> PeerStanding {
    let path = stats.mesh.as_ref().and_then(|mesh| mesh.path);
    let words = match path {
        None => "none".to_owned(),
        Some(mesh::Path::Direct { to, .. }) => format!("direct to {to}"),
        Some(mesh::Path::Box(id)) => {
            format!("through {}", names(id).unwrap_or_else(|| "another box".to_owned()))
        }
        Some(mesh::Path::Tls) => "through the coordinator".to_owned(),
    };
    PeerStanding {
        name: peer.name.clone(),
        address: peer.address,
        kind: kind(stats),
        path: words,
        endpoint: stats.endpoint,
        router: stats.mesh.as_ref().map(|mesh| mesh.nat).unwrap_or_default(),
        why_not: stats.mesh.as_ref().and_then(|mesh| mesh.why_not).map(|why| why.to_string()),
        round_trip_ms: stats.mesh.as_ref().and_then(|mesh| mesh.round_trip).map(millis),
        handshake_age_s: stats.handshake_age.map(seconds),
        sent_bytes: stats.sent_bytes,
        received_bytes: stats.received_bytes,
    }
}
