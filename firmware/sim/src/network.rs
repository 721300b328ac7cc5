//! The way of a datagram from a box through its routers, across the world, and through the other side's routers.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use crate::datagram::Name;
use crate::dice::Dice;
use crate::router::{Router, Site};

/// Where a box stands.
#[derive(Debug)]
pub(crate) struct Place {
    pub(crate) site: Site,
    pub(crate) host: IpAddr,
    /// From the box outwards.
    pub(crate) routers: Vec<Router>,
}

#[derive(Debug)]
pub(crate) struct Network {
    pub(crate) places: Vec<Place>,
    /// Who answers at an address that the whole world reaches.
    by_address: BTreeMap<IpAddr, Name>,
    addresses: u32,
    pub(crate) loss_per_mille: u32,
}

impl Network {
    pub(crate) fn new(loss_per_mille: u32) -> Self {
        Self { places: Vec::new(), by_address: BTreeMap::new(), addresses: 0, loss_per_mille }
    }

    /// Puts a box somewhere, or somewhere else.
    pub(crate) fn put(&mut self, name: Name, site: Site) {
        let host = match site {
            _ if site.is_v6() => self.v6(),
            Site::Public => self.v4([0x2d, 0]),
            _ => self.v4([192, 168]),
        };
        let mut left = site.routers(&mut || IpAddr::from([0, 0, 0, 0])).len();
        let routers = site.routers(&mut || {
            left -= 1;
            if site.is_v6() { host } else { self.v4(if left == 0 { [0x2d, 1] } else { [100, 64] }) }
        });
        let outermost = routers.last().map_or(host, Router::outside);
        self.by_address.retain(|_, owner| *owner != name);
        self.by_address.insert(outermost, name);
        let place = Place { site, host, routers };
        if name == self.places.len() {
            self.places.push(place);
        } else {
            self.places[name] = place;
        }
    }

    fn v4(&mut self, start: [u8; 2]) -> IpAddr {
        self.addresses += 1;
        let [_, _, a, b] = self.addresses.to_be_bytes();
        Ipv4Addr::new(start[0], start[1], a, b).into()
    }

    fn v6(&mut self) -> IpAddr {
        self.addresses += 1;
        let [_, _, a, b] = self.addresses.to_be_bytes();
        Ipv6Addr::new(0x2a00, 1, 0, 0, 0, 0, u16::from(a), u16::from(b)).into()
    }

    /// Through the box's own routers; gives the source that the world sees.
    pub(crate) fn leave(
        &mut self,
        name: Name,
        port: u16,
        to: SocketAddr,
        len: usize,
        now: Duration,
        dice: &mut Dice,
    ) -> Option<SocketAddr> {
        let place = &mut self.places[name];
        if place.host.is_ipv4() != to.is_ipv4() {
            return None;
        }
        let mut source = SocketAddr::new(place.host, port);
        for router in &mut place.routers {
            source = router.out(source, to, len, now, dice)?;
        }
        (!dice.chance(self.loss_per_mille)).then_some(source)
    }

    /// Through the routers of whoever has that address; gives the box and its port.
    pub(crate) fn arrive(
        &self,
        to: SocketAddr,
        from: SocketAddr,
        len: usize,
        now: Duration,
    ) -> Option<(Name, u16)> {
        let name = *self.by_address.get(&to.ip())?;
        let mut to = to;
        for router in self.places[name].routers.iter().rev() {
            to = router.let_in(from, to.port(), len, now)?;
        }
        Some((name, to.port()))
    }

    /// One way, without queues: 3 to 40 ms, the same for a pair, and a little chance.
    pub(crate) fn delay(one: IpAddr, other: IpAddr, dice: &mut Dice) -> Duration {
        let sum = |ip: IpAddr| match ip {
            IpAddr::V4(ip) => ip.octets().iter().map(|byte| u64::from(*byte)).sum::<u64>(),
            IpAddr::V6(ip) => ip.octets().iter().map(|byte| u64::from(*byte)).sum(),
        };
        let steady =
            3000 + sum(one).wrapping_mul(7919).wrapping_add(sum(other).wrapping_mul(104_729)) % 35_000;
        Duration::from_micros(steady + dice.within(0..2000))
    }
}
