//! Routers, as they stand before a box: what they make of addresses, and what they let in (RFC 4787).

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use crate::dice::Dice;

/// What a router forgets that was not used for so long.
const FORGET: Duration = Duration::from_secs(40);

/// Where a box stands: the eight kinds of docs/nat.md.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Site {
    Public,
    /// Endpoint-independent mapping, address- and port-dependent filtering.
    Easy,
    /// The same, and it maps a port when it is asked to.
    EasyPmp,
    /// Endpoint-independent mapping and filtering.
    FullCone,
    /// Address- and port-dependent mapping and filtering.
    Hard,
    /// An easy router behind an easy one.
    Cgnat,
    /// No UDP comes through.
    Blocked,
    /// A firewall that keeps state, and no IPv4.
    V6Only,
}

impl Site {
    pub const ALL: [Self; 8] = [
        Self::Public,
        Self::Easy,
        Self::EasyPmp,
        Self::FullCone,
        Self::Hard,
        Self::Cgnat,
        Self::Blocked,
        Self::V6Only,
    ];

    /// Routers from the box outwards.
    pub(crate) fn routers(self, outside: &mut impl FnMut() -> IpAddr) -> Vec<Router> {
        let kinds: &[Kind] = match self {
            Self::Public => &[],
            Self::Easy | Self::EasyPmp => &[Kind::Easy],
            Self::FullCone => &[Kind::FullCone],
            Self::Hard => &[Kind::Hard],
            Self::Cgnat => &[Kind::Easy, Kind::Easy],
            Self::Blocked => &[Kind::Blocked],
            Self::V6Only => &[Kind::Firewall],
        };
        kinds.iter().map(|kind| Router::new(*kind, outside())).collect()
    }

    pub(crate) const fn is_v6(self) -> bool {
        matches!(self, Self::V6Only)
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Easy,
    FullCone,
    Hard,
    Blocked,
    Firewall,
}

#[derive(Clone, Copy, Debug)]
struct Mapping {
    inside: SocketAddr,
    /// To whom it was made: for routers that ask.
    remote: Option<SocketAddr>,
    used: Duration,
}

#[derive(Debug)]
pub(crate) struct Router {
    kind: Kind,
    outside: IpAddr,
    /// By port outside.
    mappings: BTreeMap<u16, Vec<Mapping>>,
    /// Mapped for good, by a request.
    mapped: BTreeMap<u16, SocketAddr>,
    /// The longest packet; longer ones are lost without a word.
    mtu: usize,
}

impl Router {
    fn new(kind: Kind, outside: IpAddr) -> Self {
        Self { kind, outside, mappings: BTreeMap::new(), mapped: BTreeMap::new(), mtu: 1500 }
    }

    pub(crate) fn outside(&self) -> IpAddr {
        self.outside
    }

    /// As after a restart.
    pub(crate) fn flush(&mut self) {
        self.mappings.clear();
    }

    pub(crate) fn limit(&mut self, mtu: usize) {
        self.mtu = mtu;
    }

    /// PCP, in its effect.
    pub(crate) fn map(&mut self, inside: SocketAddr) -> SocketAddr {
        self.mapped.insert(inside.port(), inside);
        SocketAddr::new(self.outside, inside.port())
    }

    /// From the box to the outside: the source that others see.
    pub(crate) fn out(
        &mut self,
        source: SocketAddr,
        to: SocketAddr,
        len: usize,
        now: Duration,
        dice: &mut Dice,
    ) -> Option<SocketAddr> {
        if self.kind == Kind::Blocked || len > self.mtu {
            return None;
        }
        if let Some((port, _)) = self.mapped.iter().find(|(_, inside)| **inside == source) {
            return Some(SocketAddr::new(self.outside, *port));
        }
        if self.kind == Kind::Firewall {
            self.note(source.port(), source, Some(to), now);
            return Some(source);
        }
        let same = |mapping: &Mapping| {
            let live = now.saturating_sub(mapping.used) < FORGET;
            live && mapping.inside == source && (self.kind != Kind::Hard || mapping.remote == Some(to))
        };
        let known =
            self.mappings.iter().find(|(_, mappings)| mappings.iter().any(same)).map(|(port, _)| *port);
        let port = match known {
            Some(port) => port,
            None if self.kind == Kind::Hard => self.any_port(dice),
            None if self
                .mappings
                .get(&source.port())
                .is_none_or(|taken| taken.iter().all(|m| m.inside == source)) =>
            {
                source.port()
            }
            None => self.any_port(dice),
        };
        self.note(port, source, Some(to), now);
        Some(SocketAddr::new(self.outside, port))
    }

    /// From the outside to the box.
    pub(crate) fn let_in(
        &self,
        from: SocketAddr,
        port: u16,
        len: usize,
        now: Duration,
    ) -> Option<SocketAddr> {
        if self.kind == Kind::Blocked || len > self.mtu {
            return None;
        }
        if let Some(inside) = self.mapped.get(&port) {
            return Some(*inside);
        }
        let mappings = self.mappings.get(&port)?;
        let live = |mapping: &&Mapping| now.saturating_sub(mapping.used) < FORGET;
        let open = self.kind == Kind::FullCone;
        let found = mappings.iter().filter(live).find(|mapping| open || mapping.remote == Some(from))?;
        Some(found.inside)
    }

    fn note(&mut self, port: u16, inside: SocketAddr, remote: Option<SocketAddr>, now: Duration) {
        let mappings = self.mappings.entry(port).or_default();
        mappings.retain(|mapping| now.saturating_sub(mapping.used) < FORGET);
        match mappings.iter_mut().find(|mapping| mapping.inside == inside && mapping.remote == remote) {
            Some(mapping) => mapping.used = now,
            None => mappings.push(Mapping { inside, remote, used: now }),
        }
    }

    fn any_port(&self, dice: &mut Dice) -> u16 {
        for _ in 0..1000 {
            let port = u16::try_from(dice.within(1024..65_535)).unwrap_or(1024);
            if !self.mappings.contains_key(&port) {
                return port;
            }
        }
        1024
    }
}
