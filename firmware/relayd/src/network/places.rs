//! The host's own addresses, and how they change. Refuses those that nobody else could send to.

use std::net::IpAddr;

use trust::peer::ENDPOINTS_MAX;

/// More are of no use to anybody.
const ADDRESSES_MAX: usize = 16;

/// Addresses of interfaces that are up, but for that of the tunnel itself. Link-local ones mean nothing to others.
pub(crate) fn addresses(but: &str) -> Vec<IpAddr> {
    let interfaces = if_addrs::get_if_addrs().unwrap_or_else(|error| {
        tracing::debug!(%error, "the host's addresses can't be read");
        Vec::new()
    });
    let others = interfaces.iter().filter(|interface| interface.name != but).map(if_addrs::Interface::ip);
    let mut addresses: Vec<_> = others.filter(is_place).collect();
    addresses.sort_unstable();
    addresses.dedup();
    addresses.truncate(ADDRESSES_MAX);
    addresses
}

/// Addresses of one interface, those that others could send to.
pub(crate) fn addresses_on(interface: &str) -> Vec<IpAddr> {
    let interfaces = if_addrs::get_if_addrs().unwrap_or_default();
    let ours = interfaces.iter().filter(|found| found.name == interface).map(if_addrs::Interface::ip);
    let mut addresses: Vec<_> = ours.filter(is_place).collect();
    addresses.sort_unstable();
    addresses.dedup();
    addresses.truncate(ENDPOINTS_MAX);
    addresses
}

fn is_place(ip: &IpAddr) -> bool {
    match ip {
        IpAddr::V4(ip) => !ip.is_link_local() && !ip.is_loopback() && !ip.is_unspecified(),
        IpAddr::V6(ip) => !ip.is_unicast_link_local() && !ip.is_loopback() && !ip.is_unspecified(),
    }
}
