//! Where this box can be reached: its own addresses, what STUN and peers see of it, and what its router mapped.
//!
//! Refuses to know how mappings are asked for (PCP, NAT-PMP, UPnP): the shell does that, and says what came out.

use alloc::collections::BTreeMap;
use alloc::vec::Vec;
use core::net::{IpAddr, SocketAddr};
use core::time::Duration;

use trust::peer::ENDPOINTS_MAX;
use trust::{Endpoint, List};
use wire::stun::Transaction;

use crate::dice::Dice;
use crate::nat::Nat;
use crate::schedule;

/// Addresses of the host that are looked at.
const LOCALS_MAX: usize = 16;
/// STUN servers: two ports, each in both families.
const SERVERS_MAX: usize = 4;
/// How long an answer of a server, or a peer's word, counts.
const FRESH: Duration = Duration::from_secs(65);

#[derive(Debug)]
struct Server {
    address: SocketAddr,
    pending: Option<Transaction>,
    unanswered: u8,
    next: Duration,
    /// As the server saw this box, and when.
    mapped: Option<(SocketAddr, Duration)>,
}

/// What the box knows of its own places.
#[derive(Debug, Default)]
pub(crate) struct Own {
    locals: Vec<SocketAddr>,
    router: Option<SocketAddr>,
    servers: Vec<Server>,
    /// By peer: where it sees this box. Only for when no server answers.
    seen: BTreeMap<crate::PeerId, (SocketAddr, Duration)>,
    told: Vec<SocketAddr>,
    nat: Nat,
}

/// A request that is to be sent from the main sockets.
pub(crate) struct Ask {
    pub(crate) to: SocketAddr,
    pub(crate) transaction: Transaction,
}

impl Own {
    pub(crate) fn nat(&self) -> Nat {
        self.nat
    }

    /// Best first: what the router mapped, what others see, then the host's own.
    pub(crate) fn endpoints(&self) -> &[SocketAddr] {
        &self.told
    }

    pub(crate) fn list(&self) -> List<Endpoint, ENDPOINTS_MAX> {
        let endpoints = self.told.iter().filter_map(|at| Endpoint::new(*at).ok()).take(ENDPOINTS_MAX);
        List::try_from(endpoints.collect::<Vec<_>>()).unwrap_or_default()
    }

    /// Whether the box has an address of that family at all.
    pub(crate) fn reaches(&self, to: SocketAddr) -> bool {
        self.locals.iter().any(|own| own.is_ipv4() == to.is_ipv4())
    }

    pub(crate) fn handle_locals(&mut self, addresses: &[IpAddr], port: u16, now: Duration) {
        let mut locals: Vec<_> = addresses.iter().map(|ip| SocketAddr::new(*ip, port)).collect();
        locals.sort_unstable();
        locals.dedup();
        locals.truncate(LOCALS_MAX);
        if locals == self.locals {
            return;
        }
        self.locals = locals;
        self.seen.clear();
        for server in &mut self.servers {
            *server = Server::new(server.address, now);
        }
        self.nat = Nat::Unknown;
    }

    pub(crate) fn handle_router(&mut self, mapped: Option<SocketAddr>) {
        self.router = mapped;
    }

    pub(crate) fn handle_servers(&mut self, addresses: &[SocketAddr], now: Duration) {
        let wanted = &addresses[..addresses.len().min(SERVERS_MAX)];
        self.servers.retain(|server| wanted.contains(&server.address));
        for address in wanted {
            if !self.servers.iter().any(|server| server.address == *address) {
                self.servers.push(Server::new(*address, now));
            }
        }
    }

    pub(crate) fn handle_answer(
        &mut self,
        from: SocketAddr,
        transaction: Transaction,
        mapped: SocketAddr,
        now: Duration,
    ) {
        let server = self.servers.iter_mut().find(|server| server.address == from);
        let Some(server) = server.filter(|server| server.pending == Some(transaction)) else { return };
        server.pending = None;
        server.unanswered = 0;
        server.next = now + schedule::STUN_SLOWLY;
        server.mapped = Some((mapped, now));
    }

    /// A peer's word, over a direct path.
    pub(crate) fn handle_seen(&mut self, peer: crate::PeerId, at: SocketAddr, now: Duration) {
        self.seen.insert(peer, (at, now));
    }

    pub(crate) fn forget(&mut self, peer: crate::PeerId) {
        self.seen.remove(&peer);
    }

    pub(crate) fn next(&self) -> Option<Duration> {
        self.servers.iter().filter(|server| self.reaches(server.address)).map(|server| server.next).min()
    }

    /// What is to be asked by now.
    pub(crate) fn poll_ask(&mut self, dice: &mut Dice, now: Duration) -> Option<Ask> {
        let locals = &self.locals;
        let reaches = |to: SocketAddr| locals.iter().any(|own| own.is_ipv4() == to.is_ipv4());
        let due = |server: &&mut Server| server.next <= now && reaches(server.address);
        let server = self.servers.iter_mut().find(due)?;
        let mut transaction = [0; 12];
        transaction.copy_from_slice(&dice.bytes()[..12]);
        server.pending = Some(Transaction(transaction));
        server.next = now + dice.jittered(schedule::after_stun(server.unanswered));
        server.unanswered = server.unanswered.saturating_add(1);
        Some(Ask { to: server.address, transaction: Transaction(transaction) })
    }

    /// Draws the conclusions. `true` when others have to hear of it.
    pub(crate) fn conclude(&mut self, now: Duration) -> bool {
        let nat = self.judged(now);
        let mut told: Vec<SocketAddr> = Vec::new();
        let stun = self.servers.iter().filter_map(|server| server.mapped);
        let stun = stun.filter(|(_, at)| now.saturating_sub(*at) < FRESH).map(|(mapped, _)| mapped);
        let mut seen: Vec<_> = stun.collect();
        if seen.is_empty() {
            let words = self.seen.values().filter(|(_, at)| now.saturating_sub(*at) < FRESH);
            seen.extend(words.map(|(mapped, _)| *mapped).take(2));
        }
        for at in self.router.into_iter().chain(seen).chain(self.locals.iter().copied()) {
            if !told.contains(&at) && told.len() < ENDPOINTS_MAX {
                told.push(at);
            }
        }
        let changed = told != self.told || nat != self.nat;
        (self.told, self.nat) = (told, nat);
        changed
    }

    /// Only IPv4 is judged: it is where addresses are translated.
    fn judged(&self, now: Duration) -> Nat {
        let servers = || self.servers.iter().filter(|server| server.address.is_ipv4());
        let mapped = || servers().filter_map(|server| server.mapped);
        let fresh = || mapped().filter(|(_, at)| now.saturating_sub(*at) < FRESH).map(|(mapped, _)| mapped);
        match (fresh().next(), fresh().nth(1)) {
            (Some(first), _) if self.locals.contains(&first) => Nat::Open,
            (Some(first), Some(second)) if first != second => Nat::Hard,
            (Some(_), Some(_)) => Nat::Easy,
            // One server says nothing of the other; what was known still holds.
            (Some(_), None) => self.nat,
            (None, _) => {
                let silent = servers().all(|server| server.unanswered >= schedule::STUN_SOON);
                let any = servers().next().is_some_and(|server| self.reaches(server.address));
                if silent && any { Nat::Blocked } else { self.nat }
            }
        }
    }
}

impl Server {
    const fn new(address: SocketAddr, now: Duration) -> Self {
        Self { address, pending: None, unanswered: 0, next: now, mapped: None }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOME: &str = "192.168.1.7";

    fn own(servers: &[&str]) -> Own {
        let mut own = Own::default();
        own.handle_locals(&[HOME.parse().unwrap()], 7000, Duration::ZERO);
        let servers: Vec<_> = servers.iter().map(|at| at.parse().unwrap()).collect();
        own.handle_servers(&servers, Duration::ZERO);
        own
    }

    /// Lets each server answer what the box asks at `now`.
    fn answered(own: &mut Own, now: Duration, answer: impl Fn(SocketAddr) -> &'static str) {
        let mut dice = Dice::new([1; 32]);
        while let Some(ask) = own.poll_ask(&mut dice, now) {
            own.handle_answer(ask.to, ask.transaction, answer(ask.to).parse().unwrap(), now);
        }
        own.conclude(now);
    }

    #[test]
    fn two_servers_tell_what_the_router_does() {
        let check = |answers: [&'static str; 2], expected: Nat| {
            let mut own = own(&["203.0.113.1:3478", "203.0.113.1:3479"]);
            answered(&mut own, Duration::ZERO, |server| answers[usize::from(server.port() - 3478)]);
            assert_eq!(own.nat(), expected, "{answers:?}");
        };
        check(["198.51.100.2:7000", "198.51.100.2:7000"], Nat::Easy);
        check(["198.51.100.2:7000", "198.51.100.2:7001"], Nat::Hard);
        check(["192.168.1.7:7000", "192.168.1.7:7000"], Nat::Open);
    }

    #[test]
    fn silence_means_blocked_only_after_all_tries() {
        let mut own = own(&["203.0.113.1:3478", "203.0.113.1:3479"]);
        let mut dice = Dice::new([1; 32]);
        for tries in 0..5 {
            assert_eq!(own.nat(), Nat::Unknown, "{tries}");
            let now = own.next().unwrap();
            while own.poll_ask(&mut dice, now).is_some() {}
            let later = own.next().unwrap();
            while own.poll_ask(&mut dice, later).is_some() {}
            own.conclude(later);
        }
        assert_eq!(own.nat(), Nat::Blocked);
    }

    #[test]
    fn an_answer_that_was_not_asked_for_changes_nothing() {
        let mut own = own(&["203.0.113.1:3478"]);
        let ask = own.poll_ask(&mut Dice::new([1; 32]), Duration::ZERO).unwrap();
        let forged = "198.51.100.66:6".parse().unwrap();
        own.handle_answer(ask.to, Transaction([0; 12]), forged, Duration::ZERO);
        own.handle_answer("203.0.113.9:3478".parse().unwrap(), ask.transaction, forged, Duration::ZERO);
        own.conclude(Duration::ZERO);
        assert_eq!(own.endpoints(), [SocketAddr::new(HOME.parse().unwrap(), 7000)]);
    }
}
