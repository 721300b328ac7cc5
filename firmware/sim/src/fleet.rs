//! The fleet: all boxes, what happens when, and what somebody outside may do to them.

mod arrive;

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::Duration;

use mesh::message::What;
use mesh::{Command, Hints, Path, PeerId, SocketId};
use wire::stun;

use crate::coordinator;
use crate::datagram::{Datagram, Handshake, Inner, Name};
use crate::dice::Dice;
use crate::member::{MAIN_PORT, Member};
use crate::network::Network;
use crate::router::Site;

/// One way to the coordinator.
const TO_COORDINATOR: Duration = Duration::from_millis(25);
/// From a box's word to the others' maps.
const NEWS_TAKE: Duration = Duration::from_millis(300);
/// Rounds of an agent within one moment, after which it spins.
const ROUNDS_MAX: usize = 50;
/// What the coordinator's relay carries.
const RELAY_BYTES_MAX: usize = 1600;

/// How a run begins.
#[derive(Clone, Debug)]
pub struct Plan {
    pub seed: u64,
    pub sites: Vec<Site>,
    /// Of datagrams, in each direction.
    pub loss_per_mille: u32,
    /// The most peers that a box knows; all of them when the fleet is smaller.
    pub peers_max: usize,
}

/// How one box reaches another.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Reach {
    Direct,
    Box,
    Tls,
    None,
}

#[derive(Debug)]
enum Event {
    Wake(Name),
    Arrive { to: SocketAddr, from: SocketAddr, datagram: Datagram },
    Relay { to: Name, from: Name, datagram: Datagram },
    Asked { from: SocketAddr, server: SocketAddr, request: Rc<[u8]> },
    Hints { to: Name, about: Name },
    Connected { name: Name },
}

/// By time, then by the order in which it was planned.
struct Planned(Duration, u64, Event);

impl PartialEq for Planned {
    fn eq(&self, other: &Self) -> bool {
        (self.0, self.1) == (other.0, other.1)
    }
}
impl Eq for Planned {}
impl PartialOrd for Planned {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}
impl Ord for Planned {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        (self.0, self.1).cmp(&(other.0, other.1))
    }
}
impl std::fmt::Debug for Planned {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:?} {:?}", self.0, self.2)
    }
}

#[derive(Debug)]
pub struct Fleet {
    now: Duration,
    dice: Dice,
    members: Vec<Member>,
    network: Network,
    /// What each box told the coordinator.
    told: Vec<Vec<SocketAddr>>,
    coordinator: bool,
    events: BinaryHeap<Reverse<Planned>>,
    planned: u64,
    handshakes: Handshake,
    data: u64,
}

impl Fleet {
    #[must_use]
    pub fn new(plan: &Plan) -> Self {
        let mut dice = Dice::new(plan.seed);
        let mut network = Network::new(plan.loss_per_mille);
        let count = plan.sites.len();
        plan.sites.iter().enumerate().for_each(|(name, site)| network.put(name, *site));
        let peers = friends(count, plan.peers_max, &mut dice);
        let members = peers.into_iter().map(|peers| Member::new(peers, &mut dice)).collect();
        let mut fleet = Self {
            now: Duration::from_secs(1),
            dice,
            members,
            network,
            told: vec![Vec::new(); count],
            coordinator: true,
            events: BinaryHeap::new(),
            planned: 0,
            handshakes: 0,
            data: 0,
        };
        for name in 0..count {
            let after = Duration::from_millis(fleet.dice.within(0..3000));
            fleet.plan(after, Event::Connected { name });
            fleet.start(name);
        }
        fleet
    }

    pub fn run_for(&mut self, time: Duration) {
        let until = self.now + time;
        while self.events.peek().is_some_and(|Reverse(planned)| planned.0 <= until) {
            let Some(Reverse(Planned(at, _, event))) = self.events.pop() else { break };
            self.now = at;
            self.handle(event);
        }
        self.now = until;
    }

    #[must_use]
    pub fn len(&self) -> usize {
        self.members.len()
    }

    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.members.is_empty()
    }

    /// Datagrams that a box has sent so far.
    #[must_use]
    pub fn sent(&self, name: usize) -> u64 {
        self.members[name].sent
    }

    #[must_use]
    pub fn peers(&self, name: usize) -> &[usize] {
        &self.members[name].peers
    }

    /// The power was cut for a moment.
    pub fn restart(&mut self, name: usize) {
        let peers = self.members[name].peers.clone();
        let sent = self.members[name].sent;
        self.members[name] = Member { sent, ..Member::new(peers, &mut self.dice) };
        self.start(name);
        self.plan(Duration::from_secs(2), Event::Connected { name });
    }

    /// The box is carried elsewhere: the coordinator's connection comes back after a while.
    pub fn roam(&mut self, name: usize, site: Site) {
        self.network.put(name, site);
        self.members[name].agent.handle_tls(false, self.now);
        self.locals(name);
        self.plan(Duration::from_secs(2), Event::Connected { name });
        self.settle(name);
    }

    /// The routers before a box start anew.
    pub fn flush(&mut self, name: usize) {
        self.network.places[name].routers.iter_mut().for_each(crate::router::Router::flush);
    }

    /// Longer packets than that get lost before a box, without a word.
    pub fn limit(&mut self, name: usize, mtu: usize) {
        self.network.places[name].routers.iter_mut().for_each(|router| router.limit(mtu));
    }

    pub fn switch_off(&mut self, name: usize) {
        self.members[name].on = false;
    }

    /// The coordinator goes away, or comes back.
    pub fn set_coordinator(&mut self, on: bool) {
        self.coordinator = on;
        for name in 0..self.members.len() {
            if on {
                let after = Duration::from_millis(self.dice.within(0..5000));
                self.plan(after, Event::Connected { name });
            } else {
                self.members[name].agent.handle_tls(false, self.now);
                self.settle(name);
            }
        }
    }

    /// The longest packet that goes from one box to another, as the box says.
    #[must_use]
    pub fn width(&self, from: usize, to: usize) -> usize {
        self.members[from].widths.get(&to).copied().unwrap_or(0)
    }

    /// Sends packets of that length from one box to another, and sees whether one comes, and how. Takes half a second
    /// for each try.
    pub fn reach(&mut self, from: usize, to: usize, tries: usize) -> Reach {
        for _ in 0..tries {
            self.data += 1;
            let number = self.data;
            if let Some(path) = self.members[from].uses.get(&to).copied() {
                self.seal(from, to, path, Inner::Data(number, self.width(from, to)));
            }
            self.run_for(Duration::from_millis(500));
            if let Some(path) = self.members[to].received.remove(&number) {
                return match path {
                    Path::Direct { .. } => Reach::Direct,
                    Path::Box(_) => Reach::Box,
                    Path::Tls => Reach::Tls,
                };
            }
        }
        Reach::None
    }

    /// What the box says of a peer: for a run that failed.
    #[must_use]
    pub fn describe(&self, name: usize, peer: usize) -> String {
        let member = &self.members[name];
        let status = member.id(peer).and_then(|id| member.agent.status(id));
        let own = member.agent.own();
        format!("at {:?}, box {name} of {own:?} about {peer}: {status:?}", self.now)
    }

    fn plan(&mut self, after: Duration, event: Event) {
        self.planned += 1;
        self.events.push(Reverse(Planned(self.now + after, self.planned, event)));
    }

    fn start(&mut self, name: Name) {
        let now = self.now;
        self.members[name].agent.handle_servers(&coordinator::servers(), now);
        self.locals(name);
        for peer in self.members[name].peers.clone() {
            self.hint(name, peer);
        }
        self.settle(name);
    }

    fn locals(&mut self, name: Name) {
        let place = &mut self.network.places[name];
        let host = place.host;
        let mapped = (place.site == Site::EasyPmp)
            .then(|| place.routers.last_mut().map(|router| router.map(SocketAddr::new(host, MAIN_PORT))));
        let agent = &mut self.members[name].agent;
        agent.handle_router(mapped.flatten(), self.now);
        agent.handle_locals(&[host], MAIN_PORT, self.now);
    }

    fn hint(&mut self, name: Name, about: Name) {
        let hints = Hints { endpoints: self.told[about].clone(), calls_first: name < about };
        let member = &mut self.members[name];
        if let Some(id) = member.id(about) {
            member.agent.handle_peer(id, hints, self.now);
        }
    }

    fn handle(&mut self, event: Event) {
        match event {
            Event::Wake(name) => {
                self.members[name].wake = Duration::MAX;
                self.settle(name);
            }
            Event::Arrive { to, from, datagram } => {
                let len = datagram.len();
                if let Some((name, port)) = self.network.arrive(to, from, len, self.now) {
                    self.receive_outer(name, port, from, datagram);
                }
            }
            Event::Asked { from, server, request } => {
                if let (true, Some(answer)) = (self.coordinator, coordinator::answer(&request, from)) {
                    let datagram = Datagram::Stun(answer.into());
                    self.plan(TO_COORDINATOR, Event::Arrive { to: from, from: server, datagram });
                }
            }
            Event::Relay { to, from, datagram } => {
                if self.coordinator && datagram.len() <= RELAY_BYTES_MAX {
                    self.receive(to, from, Path::Tls, datagram);
                    self.settle(to);
                }
            }
            Event::Hints { to, about } => {
                self.hint(to, about);
                self.settle(to);
            }
            Event::Connected { name } => {
                if self.coordinator {
                    self.members[name].agent.handle_tls(true, self.now);
                    let (endpoints, _) = self.members[name].agent.own();
                    self.tell(name, endpoints.to_vec());
                    for peer in self.members[name].peers.clone() {
                        self.hint(name, peer);
                    }
                    self.settle(name);
                }
            }
        }
    }

    fn tell(&mut self, name: Name, endpoints: Vec<SocketAddr>) {
        if !self.coordinator || self.told[name] == endpoints {
            return;
        }
        self.told[name] = endpoints;
        for other in self.members[name].peers.clone() {
            let after = NEWS_TAKE + Duration::from_millis(self.dice.within(0..200));
            self.plan(after, Event::Hints { to: other, about: name });
        }
    }

    /// Lets a box do what it has to, until it waits.
    fn settle(&mut self, name: Name) {
        if !self.members[name].on {
            return;
        }
        for round in 0.. {
            assert!(
                round < ROUNDS_MAX,
                "box {name} spins at {:?}: {:#?}",
                self.now,
                self.members[name].agent
            );
            let agent = &mut self.members[name].agent;
            if agent.poll_timeout() <= self.now {
                agent.handle_timeout(self.now);
            }
            let mut idle = true;
            while let Some(command) = self.members[name].agent.poll_command() {
                idle = false;
                self.act(name, command);
            }
            let next = self.members[name].agent.poll_timeout();
            if idle && next > self.now {
                if next < self.members[name].wake {
                    self.members[name].wake = next;
                    let now = self.now;
                    self.plan(next - now, Event::Wake(name));
                }
                return;
            }
        }
    }

    fn act(&mut self, name: Name, command: Command) {
        match command {
            Command::Initiate { peer, paths } => self.call(name, peer, &paths),
            Command::Punch { to } => self.outer(name, SocketId::MAIN, to, Datagram::Punch),
            Command::Message { peer, path, payload, .. } => {
                assert_eq!(payload.first(), Some(&What::Control.byte()), "a control message");
                if let Some(to) = self.members[name].name(peer) {
                    self.seal(name, to, path, Inner::Control(payload.into()));
                }
            }
            Command::Stun { to, transaction } => {
                let request = Datagram::Stun(stun::request(transaction).as_slice().into());
                self.outer(name, SocketId::MAIN, to, request);
            }
            Command::OpenSockets { first, count } => {
                for id in first.0..first.0 + count {
                    let port = 20_000 + id % 40_000;
                    self.members[name].sockets.insert(port, SocketId(id));
                }
            }
            Command::CloseSockets { first, count, keep } => {
                let range = first.0..first.0 + count;
                self.members[name].sockets.retain(|_, id| !range.contains(&id.0) || Some(*id) == keep);
            }
            Command::Use { peer, path, mtu } => {
                if let Some(to) = self.members[name].name(peer) {
                    self.members[name].widths.insert(to, mtu.into());
                    let uses = &mut self.members[name].uses;
                    match path {
                        Some(path) => uses.insert(to, path),
                        None => uses.remove(&to),
                    };
                }
            }
            Command::Tell { endpoints, .. } => {
                self.tell(name, endpoints.iter().map(trust::Endpoint::address).collect());
            }
        }
    }

    fn call(&mut self, name: Name, peer: PeerId, paths: &[Path]) {
        let Some(to) = self.members[name].name(peer) else { return };
        self.handshakes += 1;
        let number = self.members[name].call(to, self.handshakes, self.now);
        for path in paths {
            self.send(name, to, *path, Datagram::Initiation { from: name, to, number });
        }
    }

    fn seal(&mut self, name: Name, to: Name, path: Path, inner: Inner) {
        let session = self.members[name].sessions.get(&to).and_then(|session| session.sealed);
        if let Some(session) = session {
            self.send(name, to, path, Datagram::Sealed { from: name, to, session, inner });
        }
    }

    fn send(&mut self, name: Name, to: Name, path: Path, datagram: Datagram) {
        match path {
            Path::Direct { socket, to } => self.outer(name, socket, to, datagram),
            Path::Box(via) => {
                let Some(via) = self.members[name].name(via) else { return };
                let Some(path) = self.members[name].uses.get(&via).copied().filter(Path::is_direct) else {
                    return;
                };
                self.seal(name, via, path, Inner::Forward { to, datagram: Rc::new(datagram) });
            }
            Path::Tls => {
                self.members[name].sent += 1;
                self.plan(TO_COORDINATOR * 2, Event::Relay { to, from: name, datagram });
            }
        }
    }

    fn outer(&mut self, name: Name, socket: SocketId, to: SocketAddr, datagram: Datagram) {
        let Some(port) = self.members[name].port(socket) else { return };
        self.members[name].sent += 1;
        let now = self.now;
        let left = self.network.leave(name, port, to, datagram.len(), now, &mut self.dice);
        let Some(source) = left else { return };
        if coordinator::is_server(to) {
            if let Datagram::Stun(request) = datagram {
                self.plan(TO_COORDINATOR, Event::Asked { from: source, server: to, request });
            }
            return;
        }
        let delay = Network::delay(source.ip(), to.ip(), &mut self.dice);
        self.plan(delay, Event::Arrive { to, from: source, datagram });
    }
}

/// Who knows whom: all, or as many as each may.
fn friends(count: usize, most: usize, dice: &mut Dice) -> Vec<Vec<Name>> {
    let mut peers = vec![Vec::new(); count];
    if count <= most + 1 {
        return (0..count).map(|name| (0..count).filter(|other| *other != name).collect()).collect();
    }
    for name in 0..count {
        for _ in 0..most {
            let other = usize::try_from(dice.within(0..count as u64)).unwrap_or(0);
            if other != name
                && !peers[name].contains(&other)
                && peers[name].len() < most
                && peers[other].len() < most
            {
                peers[name].push(other);
                peers[other].push(name);
            }
        }
    }
    peers
}
