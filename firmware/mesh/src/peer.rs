//! One peer: where it may be, what was tried, and by which path it is reached.
//!
//! Refuses to believe an address, whoever named it, for more than a few probes; and refuses to leave a path that
//! works for one that is only a little better.

mod due;
mod score;
mod why;

use alloc::collections::{BTreeMap, VecDeque};
use alloc::vec::Vec;
use core::net::{IpAddr, SocketAddr};
use core::time::Duration;

use trust::MeshPrefix;
use trust::peer::ENDPOINTS_MAX;

use crate::message::{Message, News, ProbeId};
use crate::nat::Nat;
use crate::own::Own;
use crate::pair::{Carries, Pair};
use crate::path::{Path, PeerId, SocketId};
use crate::{Command, INNER_MTU};

use score::score;
pub use why::WhyNot;

/// Places from which a peer's datagrams came, and that nobody named.
const LEARNED_MAX: usize = 8;
/// Paths to one peer that are kept in mind.
const PAIRS_MAX: usize = 32;
/// Boxes that are tried as relays for one peer.
const RELAYS_MAX: usize = 3;
/// Before others are asked to relay, a straight path gets this long.
const RELAY_AFTER: Duration = Duration::from_secs(2);
/// Between probes over the path in use: while packets flow, and while none do.
const KEEP_ACTIVE: Duration = Duration::from_secs(5);
const KEEP_IDLE: Duration = Duration::from_secs(20);
/// Without packets for so long, a path counts as idle.
const ACTIVE: Duration = Duration::from_secs(10);
/// How often straight paths are tried again while there is none: often at first.
const AGAIN_SOON: Duration = Duration::from_secs(30);
const AGAIN_LATER: Duration = Duration::from_secs(300);
/// Headers of IPv6 and UDP.
const HEADERS: usize = 48;

/// What others say of a peer.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Hints {
    /// Where it may be, best first; at most [`ENDPOINTS_MAX`] are taken.
    pub endpoints: Vec<SocketAddr>,
    /// Whether this box calls first. Of two boxes just one does, by their keys; the other one calls later, in case.
    pub calls_first: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    Calling { made: u8, next: Duration },
    Talking { since: Duration },
}

/// What a peer has to know of the rest.
pub(crate) struct Around<'a> {
    pub(crate) own: &'a Own,
    pub(crate) tls: bool,
    /// Peers that are reached straight, the nearest first.
    pub(crate) relays: &'a [PeerId],
    pub(crate) inside: MeshPrefix,
    pub(crate) loopback: bool,
    pub(crate) now: Duration,
}

pub(crate) type Commands = VecDeque<Command>;

#[derive(Debug)]
pub(crate) struct Peer {
    id: PeerId,
    hints: Hints,
    news: Option<News>,
    learned: VecDeque<SocketAddr>,
    pairs: BTreeMap<Path, Pair>,
    phase: Phase,
    current: Option<Path>,
    /// As the data plane was told.
    used: (Option<Path>, u16),
    /// The path whose width is being found out.
    measured: Option<Path>,
    heard: Option<Duration>,
    active: Option<Duration>,
    keep_at: Duration,
    again_at: Duration,
    relays_tried: bool,
    news_at: Option<Duration>,
    news_left: u8,
    news_id: Option<ProbeId>,
    /// When the last birthday punch began, and how many there were.
    pub(crate) punched: Option<(Duration, u8)>,
}

/// Tries to tell the news in quick succession.
const NEWS_TRIES: u8 = 5;

impl Peer {
    pub(crate) fn new(id: PeerId, hints: Hints, now: Duration) -> Self {
        Self {
            id,
            hints,
            news: None,
            learned: VecDeque::new(),
            pairs: BTreeMap::new(),
            phase: Phase::Calling { made: 0, next: now },
            current: None,
            used: (None, INNER_MTU),
            measured: None,
            heard: None,
            active: None,
            keep_at: now,
            again_at: now,
            relays_tried: false,
            news_at: None,
            news_left: 0,
            news_id: None,
            punched: None,
        }
    }

    pub(crate) const fn current(&self) -> Option<Path> {
        self.current
    }

    pub(crate) fn is_talking(&self) -> bool {
        matches!(self.phase, Phase::Talking { .. })
    }

    /// Whether it is reached straight, by a path that was answered.
    pub(crate) fn is_direct(&self) -> bool {
        self.current
            .is_some_and(|path| path.is_direct() && self.pairs.get(&path).is_some_and(Pair::is_answered))
    }

    /// The same, and that path carries packets of any length that paths have to carry.
    pub(crate) fn is_well(&self) -> bool {
        let narrow = |path: &Path| self.pairs.get(path).is_some_and(|pair| pair.carries() == Carries::Narrow);
        self.is_direct() && !self.current.as_ref().is_some_and(narrow)
    }

    pub(crate) fn round_trip(&self) -> Option<Duration> {
        self.pairs.get(&self.current?)?.round_trip()
    }

    pub(crate) fn nat(&self) -> Nat {
        self.news.as_ref().map_or(Nat::Unknown, |news| news.nat)
    }

    /// How long a session has been there.
    pub(crate) fn talking_for(&self, now: Duration) -> Option<Duration> {
        match self.phase {
            Phase::Talking { since } => Some(now.saturating_sub(since)),
            Phase::Calling { .. } => None,
        }
    }

    /// Where the peer's router sends from, as far as is known: a public IPv4 address that it or others named.
    pub(crate) fn outside(&self) -> Option<SocketAddr> {
        let news = self.news.iter().flat_map(|news| news.endpoints.iter()).map(trust::Endpoint::address);
        news.chain(self.hints.endpoints.iter().copied()).find(|at| match at.ip() {
            IpAddr::V4(ip) => !ip.is_private() && !ip.is_loopback() && !ip.is_link_local(),
            IpAddr::V6(_) => false,
        })
    }

    /// Whether straight paths are still being tried.
    pub(crate) fn is_trying(&self) -> bool {
        self.pairs.iter().any(|(path, pair)| path.is_direct() && pair.is_busy())
    }

    pub(crate) fn handle_hints(&mut self, hints: Hints, around: &Around<'_>) {
        if hints != self.hints {
            self.hints = hints;
            self.try_all(around, true);
            if let Phase::Calling { made, next } = &mut self.phase {
                (*made, *next) = ((*made).min(2), around.now.min(*next));
            }
        }
    }

    /// The box itself can be reached elsewhere.
    pub(crate) fn handle_moved(&mut self, around: &Around<'_>) {
        self.tell(around.now);
        self.try_all(around, true);
    }

    pub(crate) fn handle_tls(&mut self, around: &Around<'_>) {
        match (&mut self.phase, around.tls) {
            (Phase::Calling { made, next }, true) => (*made, *next) = (0, around.now),
            (Phase::Talking { .. }, true) => self.pair(Path::Tls).begin(around.now, true),
            (_, false) => {
                if let Some(pair) = self.pairs.get_mut(&Path::Tls) {
                    pair.give_up();
                }
                if self.current == Some(Path::Tls) {
                    (self.current, self.keep_at) = (None, around.now);
                    self.try_all(around, true);
                }
            }
        }
    }

    /// A handshake is done, by that path.
    pub(crate) fn handle_session(&mut self, path: Path, around: &Around<'_>) {
        let fresh = !self.is_talking();
        self.heard = Some(around.now);
        if fresh {
            self.phase = Phase::Talking { since: around.now };
            self.relays_tried = false;
            self.again_at = around.now + AGAIN_SOON;
        }
        if self.current.is_none() {
            self.current = Some(path);
        }
        self.learn(path);
        if fresh {
            self.keep_at = around.now;
            self.pair(path).begin(around.now, true);
            self.try_all(around, true);
        }
        // Also where a session was: the peer may have started anew, and know nothing.
        self.tell(around.now);
    }

    pub(crate) fn handle_session_lost(&mut self, now: Duration) {
        if self.is_talking() {
            self.phase = Phase::Calling { made: 0, next: now };
            self.current = None;
            self.pairs.clear();
        }
    }

    /// Says whether something is due by it.
    pub(crate) fn handle_authentic(&mut self, path: Path, is_data: bool, around: &Around<'_>) -> bool {
        self.heard = Some(around.now);
        let woke = is_data && !self.is_active(around.now);
        if is_data {
            self.active = Some(around.now);
        }
        if woke {
            self.keep_at = around.now;
        }
        if let Some(pair) = self.pairs.get_mut(&path) {
            pair.handle_heard();
        } else if self.is_talking() {
            self.learn(path);
            self.pair(path).begin(around.now, true);
        }
        if self.current.is_none() {
            self.current = Some(path);
        }
        woke
    }

    /// Whether packets flow.
    fn is_active(&self, now: Duration) -> bool {
        self.active.is_some_and(|at| now.saturating_sub(at) < ACTIVE)
    }

    pub(crate) fn handle_message(
        &mut self,
        path: Path,
        message: Message,
        len: usize,
        around: &Around<'_>,
        own: &mut Option<SocketAddr>,
        commands: &mut Commands,
    ) {
        match message {
            Message::Probe { id, news } => {
                if let Some(news) = news {
                    self.handle_news(news, around);
                }
                let seen = path.endpoint().and_then(|at| trust::Endpoint::new(at).ok());
                // A longer probe asks for one way alone.
                let payload = padded(Message::Answer { id, seen }, len.min(usize::from(INNER_MTU) - HEADERS));
                commands.push_back(Command::Message { peer: self.id, path, payload, whole: false });
            }
            Message::Answer { id, seen } => {
                if self.news_id == Some(id) {
                    (self.news_id, self.news_left, self.news_at) = (None, 0, None);
                }
                let Some(pair) = self.pairs.get_mut(&path) else { return };
                if pair.width.handle_answer(id, around.now) {
                    pair.handle_heard();
                } else if pair.handle_answer(id, around.now) {
                    if path.is_direct() {
                        *own = seen.as_ref().map(trust::Endpoint::address);
                    }
                    self.choose(around);
                }
            }
        }
    }

    fn handle_news(&mut self, news: News, around: &Around<'_>) {
        let known = self.news.replace(news.clone());
        let before = known.as_ref().map(|known| &known.endpoints);
        if before != Some(&news.endpoints) {
            self.try_all(around, true);
        }
        if before.is_none() {
            self.tell(around.now);
        }
    }

    /// Whether its birthday sockets wait just now.
    pub(crate) fn take_sockets_open(&mut self) -> bool {
        self.news.as_mut().is_some_and(|news| core::mem::take(&mut news.sockets_open))
    }

    /// An answer to older news must not end the telling of these.
    fn tell(&mut self, now: Duration) {
        (self.news_at, self.news_left, self.news_id) = (Some(now), NEWS_TRIES, None);
    }

    /// Tells the peer soon, by the path in use, that the birthday sockets wait.
    pub(crate) fn tell_open(&mut self, now: Duration) {
        self.tell(now);
    }

    /// Takes the best path, unless the one in use is nearly as good.
    fn choose(&mut self, around: &Around<'_>) {
        let lost = |pair: &Pair| pair.is_lost();
        let best = self.pairs.iter().filter_map(|(path, pair)| Some((score(*path, pair)?, *path))).min();
        let current = self.current.and_then(|path| Some((self.pairs.get(&path)?, path)));
        let Some((pair, path)) = current else {
            if let Some((_, path)) = best {
                self.take(path, around.now);
            }
            return;
        };
        let dead = lost(pair);
        match (best, score(path, pair)) {
            (Some((_, better)), None) if better != path => self.take(better, around.now),
            (Some((new, better)), Some(old)) if better != path => {
                let nearer =
                    new.round_trip + (old.round_trip / 4).max(Duration::from_millis(5)) < old.round_trip;
                let steady = self.pairs.get(&better).is_some_and(|pair| pair.answers() >= 2);
                if new.rank < old.rank || (new.rank == old.rank && nearer && steady) {
                    self.take(better, around.now);
                }
            }
            (None, _) if dead => {
                if let Some(pair) = self.pairs.get_mut(&path) {
                    pair.give_up();
                }
                self.current = around.tls.then_some(Path::Tls).filter(|tls| *tls != path);
                self.fall(around);
            }
            _ => {}
        }
    }

    fn take(&mut self, path: Path, now: Duration) {
        let lost = self.current.is_some_and(|path| self.pairs.get(&path).is_some_and(Pair::is_lost));
        self.current = Some(path);
        self.keep_at = now;
        if lost {
            self.again_at = now;
            self.relays_tried = false;
        }
    }

    /// There is no path left that answers: everything is tried again, at once.
    fn fall(&mut self, around: &Around<'_>) {
        self.keep_at = around.now;
        self.again_at = around.now + AGAIN_SOON;
        if let Phase::Talking { since } = &mut self.phase {
            *since = around.now;
        }
        self.relays_tried = false;
        self.try_all(around, true);
        self.tell(around.now);
    }

    fn try_all(&mut self, around: &Around<'_>, anew: bool) {
        if !self.is_talking() {
            return;
        }
        for path in self.candidates(around) {
            self.pair(path).begin(around.now, anew);
        }
        if around.tls && !self.is_well() {
            self.pair(Path::Tls).begin(around.now, anew);
        }
    }

    fn try_relays(&mut self, around: &Around<'_>, anew: bool) {
        let id = self.id;
        for relay in around.relays.iter().filter(|relay| **relay != id).take(RELAYS_MAX) {
            self.pair(Path::Box(*relay)).begin(around.now, anew);
        }
    }

    fn pair(&mut self, path: Path) -> &mut Pair {
        self.pairs.entry(path).or_insert_with(Pair::new)
    }

    fn learn(&mut self, path: Path) {
        let Path::Direct { socket: SocketId::MAIN, to } = path else { return };
        if self.learned.contains(&to) || self.hints.endpoints.contains(&to) {
            return;
        }
        self.learned.push_front(to);
        self.learned.truncate(LEARNED_MAX);
    }

    /// Straight paths from the main sockets, best first.
    fn candidates(&self, around: &Around<'_>) -> Vec<Path> {
        let news = self.news.iter().flat_map(|news| news.endpoints.iter()).map(trust::Endpoint::address);
        let hints = self.hints.endpoints.iter().take(ENDPOINTS_MAX).copied();
        let mut paths = Vec::new();
        for to in self.learned.iter().copied().chain(news).chain(hints) {
            let inside = matches!(to.ip(), IpAddr::V6(ip) if trust::Ula::try_from(ip).is_ok_and(|ip| around.inside.contains(&ip)));
            let own = around.own.endpoints().contains(&to);
            let loops = to.ip().is_loopback() && !around.loopback;
            let path = Path::direct(to);
            if !inside && !own && !loops && around.own.reaches(to) && !paths.contains(&path) {
                paths.push(path);
            }
        }
        paths
    }

    /// Forgets paths that lead nowhere.
    fn tidy(&mut self, around: &Around<'_>) {
        if self.pairs.len() <= PAIRS_MAX {
            return;
        }
        let wanted = self.candidates(around);
        let current = self.current;
        self.pairs.retain(|path, pair| {
            Some(*path) == current || pair.is_answered() || (wanted.contains(path) && pair.is_busy())
        });
    }

    /// The birthday sockets but for one are closed.
    pub(crate) fn forget_sockets(&mut self, gone: impl Fn(SocketId) -> bool) {
        let goes = |path: &Path| matches!(path, Path::Direct { socket, .. } if gone(*socket));
        self.pairs.retain(|path, _| !goes(path));
        self.leave(goes);
    }

    /// The path that the data plane has to be told.
    pub(crate) fn poll_use(&mut self) -> Option<Command> {
        let new = (self.current, self.mtu());
        let changed = core::mem::replace(&mut self.used, new) != new;
        changed.then_some(Command::Use { peer: self.id, path: self.current, mtu: new.1 })
    }

    /// The longest packet that goes by the path in use.
    pub(crate) fn mtu(&self) -> u16 {
        let measured = self.current.filter(|path| path.is_direct() && self.measured == Some(*path));
        measured.and_then(|path| self.pairs.get(&path)).map_or(INNER_MTU, |pair| pair.width.mtu())
    }

    /// A box that may have been a relay is no peer any more.
    pub(crate) fn forget_relay(&mut self, relay: PeerId) {
        self.pairs.remove(&Path::Box(relay));
        self.leave(|path| *path == Path::Box(relay));
    }

    /// Leaves the path in use if it is one of those; another one is looked for at once.
    fn leave(&mut self, goes: impl Fn(&Path) -> bool) {
        if self.current.as_ref().is_some_and(goes) {
            (self.current, self.keep_at) = (None, Duration::ZERO);
        }
    }

    /// A socket of its own that is needed: by the path in use, or by one that answers, since the other side may use
    /// that.
    pub(crate) fn socket(&self) -> Option<SocketId> {
        let own = |path: Path| match path {
            Path::Direct { socket, .. } if socket != SocketId::MAIN => Some(socket),
            Path::Direct { .. } | Path::Box(_) | Path::Tls => None,
        };
        let answered = self.pairs.iter().filter(|(_, pair)| pair.is_answered());
        self.current.and_then(own).or_else(|| answered.filter_map(|(path, _)| own(*path)).next())
    }
}

/// The payload of a packet that has `len` bytes less headers, or more if the message is longer.
fn padded(message: Message, len: usize) -> Vec<u8> {
    let mut payload = message.encode();
    let len = payload.len().max(len);
    payload.resize(len, 0);
    payload
}
