//! Which addresses are near: the mesh's, which WireGuard vouches for, and those of the home network around the box.
//!
//! Refuses to count a carrier's shared addresses (RFC 6598) as the home: strangers have them too.

use std::net::{IpAddr, Ipv6Addr};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use trust::MeshPrefix;

/// The box's networks are looked at again after so long.
const LOOK_EVERY: Duration = Duration::from_secs(10);

pub(super) struct Home {
    mesh: Option<MeshPrefix>,
    /// Whether the home network counts.
    household: bool,
    networks: Mutex<Networks>,
}

/// Global IPv6 networks around the box, by their first 64 bits.
#[derive(Default)]
struct Networks {
    read: Option<Instant>,
    prefixes: Vec<u64>,
}

impl Home {
    pub(super) fn new(mesh: Option<MeshPrefix>, household: bool) -> Self {
        Self { mesh, household, networks: Mutex::default() }
    }

    pub(super) fn holds(&self, peer: IpAddr) -> bool {
        let peer = peer.to_canonical();
        if let (IpAddr::V6(peer), Some(mesh)) = (peer, self.mesh)
            && is_inside(peer, mesh)
        {
            return true;
        }
        self.household && (is_private(peer) || self.is_neighbour(peer))
    }

    /// In one of the box's own IPv6 networks: homes have global addresses there, and no private ones at all.
    fn is_neighbour(&self, peer: IpAddr) -> bool {
        let IpAddr::V6(peer) = peer else { return false };
        let mut networks = self.networks.lock().unwrap_or_else(PoisonError::into_inner);
        if networks.read.is_none_or(|read| read.elapsed() >= LOOK_EVERY) {
            let interfaces = if_addrs::get_if_addrs().unwrap_or_default();
            networks.prefixes = interfaces.iter().filter_map(prefix).collect();
            networks.read = Some(Instant::now());
        }
        networks.prefixes.contains(&first_half(peer))
    }
}

fn is_inside(peer: Ipv6Addr, mesh: MeshPrefix) -> bool {
    let rest = 128 - u32::from(MeshPrefix::BITS);
    peer.to_bits() >> rest == mesh.network().to_bits() >> rest
}

/// Only of links: a network wider than a /64, or a point to point one, is a carrier's.
fn prefix(interface: &if_addrs::Interface) -> Option<u64> {
    match &interface.addr {
        if_addrs::IfAddr::V6(v6) if v6.netmask.to_bits().count_ones() == 64 && is_global(v6.ip) => {
            Some(first_half(v6.ip))
        }
        if_addrs::IfAddr::V6(_) | if_addrs::IfAddr::V4(_) => None,
    }
}

/// 2000::/3 (RFC 4291 2.4).
fn is_global(ip: Ipv6Addr) -> bool {
    ip.segments()[0] & 0xe000 == 0x2000
}

fn first_half(ip: Ipv6Addr) -> u64 {
    (ip.to_bits() >> 64) as u64
}

/// RFC 1918, RFC 4193, link-local addresses and this machine itself.
fn is_private(ip: IpAddr) -> bool {
    match ip {
        IpAddr::V4(ip) => ip.is_private() || ip.is_link_local() || ip.is_loopback(),
        IpAddr::V6(ip) => ip.is_unique_local() || ip.is_unicast_link_local() || ip.is_loopback(),
    }
}

#[cfg(test)]
mod tests {
    use trust::{MeshId, RootSecret};

    use super::*;

    fn check(home: &Home, peer: &str, expected: bool) {
        assert_eq!(home.holds(peer.parse().unwrap()), expected, "{peer}");
    }

    #[test]
    fn the_house_is_near_and_the_internet_is_not() {
        let home = Home::new(None, true);
        for near in
            ["192.168.1.7", "10.9.8.7", "172.31.0.1", "169.254.1.1", "127.0.0.1", "::ffff:192.168.1.7"]
        {
            check(&home, near, true);
        }
        for near in ["fd00::1", "fe80::1", "::1"] {
            check(&home, near, true);
        }
        for far in ["8.8.8.8", "100.64.0.1", "172.32.0.1", "2001:db8::1", "::ffff:8.8.8.8", "2606:4700::1"] {
            check(&home, far, false);
        }
    }

    #[test]
    fn neighbours_are_known_by_their_network() {
        let home = Home::new(None, true);
        *home.networks.lock().unwrap() =
            Networks { read: Some(Instant::now()), prefixes: vec![0x2001_0db8_0000_0007] };
        check(&home, "2001:db8:0:7::99", true);
        check(&home, "2001:db8:0:8::99", false);
    }

    #[test]
    fn the_mesh_is_near_without_a_house() {
        let mesh = MeshPrefix::of(&MeshId::of(&RootSecret::from_seed(&[1; 32]).public()));
        let home = Home::new(Some(mesh), false);
        check(&home, &mesh.nth(7).to_string(), true);
        for far in ["192.168.1.7", "fd00::1", "127.0.0.1"] {
            check(&home, far, false);
        }
    }
}
