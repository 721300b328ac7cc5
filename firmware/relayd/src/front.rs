//! The box as viewers find it: under which addresses it serves them. Told to the coordinator, which leads viewers here.
//!
//! Refuses to name an address on which nothing listens.

use std::net::{IpAddr, SocketAddr};
use std::sync::OnceLock;

use trust::{List, Ula};
use wire::{WatchUrl, WatchUrls};

use crate::network::places;

#[derive(Debug, Default)]
pub(crate) struct Front {
    /// As the operator says: with a name and a certificate, or behind somebody who has both.
    pub(crate) public: Option<WatchUrl>,
    /// The mesh's network interface, and the box's address there.
    pub(crate) mesh: Option<(String, Ula)>,
    /// Where plain HTTP is served; set once the door is open.
    pub(crate) http: OnceLock<SocketAddr>,
}

impl Front {
    /// Best first: the public one, those at home, and the mesh's.
    pub(crate) fn urls(&self) -> WatchUrls {
        let mut urls: Vec<WatchUrl> = self.public.iter().cloned().collect();
        if let Some(http) = self.http.get() {
            let interface = self.mesh.as_ref().map_or("", |(interface, _)| interface);
            let mesh = self.mesh.as_ref().map(|(_, address)| IpAddr::V6((*address).into()));
            let hosts = hosts(http.ip(), places::addresses(interface), mesh);
            urls.extend(hosts.into_iter().filter_map(|ip| url(ip, http.port())));
        }
        urls.truncate(WatchUrl::PER_BOX_MAX);
        List::try_from(urls).unwrap_or_default()
    }
}

/// A door that is open to all has every address; any other one has its own.
fn hosts(bound: IpAddr, mut found: Vec<IpAddr>, mesh: Option<IpAddr>) -> Vec<IpAddr> {
    if !bound.is_unspecified() {
        return vec![bound.to_canonical()];
    }
    found.retain(|ip| bound.is_ipv6() || ip.is_ipv4());
    // Homes know each other by IPv4 first of all.
    found.sort_by_key(|ip| match ip {
        IpAddr::V4(ip) => (!ip.is_private(), false),
        IpAddr::V6(_) => (true, true),
    });
    found.truncate(WatchUrl::PER_BOX_MAX - 2);
    found.extend(mesh.filter(|_| bound.is_ipv6()));
    found
}

fn url(ip: IpAddr, port: u16) -> Option<WatchUrl> {
    format!("http://{}", SocketAddr::new(ip, port)).parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(bound: &str, expected: &[&str]) {
        let found = ["203.0.113.7", "2001:db8::7", "192.168.1.7"].map(|ip| ip.parse().unwrap());
        let mesh = Some("fd00::7".parse().unwrap());
        let hosts: Vec<String> =
            hosts(bound.parse().unwrap(), found.into(), mesh).iter().map(ToString::to_string).collect();
        assert_eq!(hosts, expected, "{bound}");
    }

    #[test]
    fn a_door_is_told_where_it_is_open() {
        check("::", &["192.168.1.7", "203.0.113.7", "2001:db8::7", "fd00::7"]);
        check("0.0.0.0", &["192.168.1.7", "203.0.113.7"]);
        check("127.0.0.1", &["127.0.0.1"]);
        check("192.168.1.7", &["192.168.1.7"]);
    }

    #[test]
    fn nothing_is_told_before_the_door_is_open() {
        let front = Front { public: Some("https://live.example.org".parse().unwrap()), ..Front::default() };
        assert_eq!(front.urls().len(), 1);
        front.http.set("127.0.0.1:8080".parse().unwrap()).unwrap();
        let urls: Vec<String> = front.urls().iter().map(ToString::to_string).collect();
        assert_eq!(urls, ["https://live.example.org", "http://127.0.0.1:8080"]);
    }
}
