//! Plain tunnels in place of the mesh: `relayd tunnel` with endpoints that the lab tells it, so that worlds, counters
//! and verdicts are tried with real packets of a real daemon before any path logic is.
//!
//! Only pairs whose routers keep ports can be connected this way, or have one side that is open.

use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::path::PathBuf;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};

use super::cell::{Limits, Overlay, Pair, Running};
use super::kind::Kind;
use super::plan::Site;
use super::world::World;
use crate::child::Child;
use crate::stop::Stop;

const PORT: u16 = 51820;
const ECHO_PORT: u16 = 7;
/// Two pairs of keys that everybody may know: private, public.
const KEYS: [(&str, &str); 2] = [
    ("gMGxSHVNsu/M5/XblcWgJdRDsdUkG1z+bdRqXbImwEk=", "d8E7QEdzfDhLtsDnAQ7Pn8zKwq2TBBXsiJ/9HfVs7C4="),
    ("uAeXYN8R/nbUsiL0MYlmBIbPKHPR7z6c48+c1P7AJ3I=", "nWLKL5+FkDyohnZWpPP8FKqMV8iN4CZXmKsimik2zlk="),
];
const ADDRESSES: [&str; 2] = ["fd00:7::1", "fd00:7::2"];

/// Which way the tunnel is led.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Way {
    /// To the other router's public address.
    Straight,
    /// To a forwarder at the third box.
    ByCarol,
}

#[derive(Debug)]
pub(crate) struct Tunnels {
    pub(crate) relayd: PathBuf,
    pub(crate) way: Way,
}

struct Up {
    daemons: Vec<Child>,
    _forwarder: Option<Forwarder>,
}

impl Running for Up {
    fn logs(&self) -> String {
        self.daemons.iter().map(Child::log_tail).collect()
    }
}

impl Overlay for Tunnels {
    fn limits(&self) -> Limits {
        Limits { connect: Duration::from_secs(10), settle: Duration::from_secs(2) }
    }

    fn bring_up<'a>(&'a self, world: &'a World, _stop: &Stop) -> Result<Pair<'a>> {
        let sites = [world.site("a"), world.site("b")];
        let forwarder = match self.way {
            Way::Straight => None,
            Way::ByCarol => Some(Forwarder::start(world)?),
        };
        let began = Instant::now();
        let mut daemons = Vec::new();
        for (index, site) in sites.into_iter().enumerate() {
            let other = match self.way {
                Way::Straight => endpoint(sites[1 - index], site),
                Way::ByCarol => third(world, site),
            };
            daemons.push(self.start(world, site, index, other)?);
        }
        let addresses = ADDRESSES.map(|text| text.parse().expect("a constant address"));
        let running = Box::new(Up { daemons, _forwarder: forwarder });
        Ok(Pair { addresses, began, port: ECHO_PORT, running })
    }
}

impl Tunnels {
    fn start(&self, world: &World, site: &Site, index: usize, other: Option<SocketAddr>) -> Result<Child> {
        let conf = world.dir().join(format!("tun-{}.conf", site.name));
        std::fs::write(&conf, configuration(index, other)).context("writing a tunnel's file")?;
        let mut command = world.namespace(&site.host).command(&self.relayd, &world.hosts());
        command.arg("tunnel").arg(&conf);
        let log = world.dir().join(format!("tun-{}.log", site.name));
        Child::start(&format!("the tunnel of {}", site.name), &command, &log)
    }
}

fn configuration(index: usize, other: Option<SocketAddr>) -> String {
    let endpoint = other.map_or(String::new(), |at| format!("Endpoint = {at}\nPersistentKeepalive = 1\n"));
    format!(
        "[Interface]\nPrivateKey = {}\nListenPort = {PORT}\nAddress = {}/64\n\
         [Peer]\nPublicKey = {}\nAllowedIPs = {}/128\n{endpoint}",
        KEYS[index].0,
        ADDRESSES[index],
        KEYS[1 - index].1,
        ADDRESSES[1 - index],
    )
}

/// Where a box can be looked for by one that has no coordinator to ask. A router that picks ports has no such place.
fn endpoint(of: &Site, by: &Site) -> Option<SocketAddr> {
    let keeps_port = match of.kind {
        Kind::Public | Kind::Easy | Kind::Mapper | Kind::Cone | Kind::Carrier | Kind::V6 => true,
        Kind::Hard | Kind::Blocked => false,
    };
    let reachable = of.public.iter().find(|address| family_of(by).contains(&address.is_ipv4()))?;
    keeps_port.then(|| SocketAddr::new(*reachable, PORT))
}

/// Whether a site has IPv4 (true), IPv6 (false), or both.
fn family_of(site: &Site) -> Vec<bool> {
    site.public.iter().map(IpAddr::is_ipv4).collect()
}

fn third(world: &World, by: &Site) -> Option<SocketAddr> {
    let carol = &world.site("carol").public;
    let address = carol.iter().find(|address| family_of(by).contains(&address.is_ipv4()))?;
    Some(SocketAddr::new(*address, PORT))
}

/// What a relay does, without asking who is who: what comes from one goes to the other.
struct Forwarder {
    stop: Stop,
    thread: Option<JoinHandle<()>>,
}

impl Forwarder {
    fn start(world: &World) -> Result<Forwarder> {
        let namespace = world.namespace(&world.site("carol").host);
        let socket = namespace.inside(|| UdpSocket::bind(("::", PORT)).context("the forwarder's socket"))?;
        socket.set_read_timeout(Some(Duration::from_millis(50))).context("a limit of time")?;
        let stop = Stop::default();
        let wanted = stop.clone();
        let thread = std::thread::spawn(move || forward(&socket, &wanted));
        Ok(Forwarder { stop, thread: Some(thread) })
    }
}

impl Drop for Forwarder {
    fn drop(&mut self) {
        self.stop.set();
        if let Some(thread) = self.thread.take() {
            thread.join().ok();
        }
    }
}

fn forward(socket: &UdpSocket, stop: &Stop) {
    let mut known: Vec<SocketAddr> = Vec::new();
    let mut buffer = [0; 65536];
    while !stop.wanted() {
        let Ok((len, from)) = socket.recv_from(&mut buffer) else { continue };
        if !known.contains(&from) && known.len() < 2 {
            known.push(from);
        }
        if let Some(to) = known.iter().find(|to| **to != from) {
            // As a network: what can't be sent is lost.
            socket.send_to(&buffer[..len], to).ok();
        }
    }
}

/// The daemon that lies beside this program, if it was built.
#[cfg(test)]
fn built() -> Option<PathBuf> {
    let named = std::env::var_os("RELAYD").map(PathBuf::from);
    let relayd = named.unwrap_or_else(|| crate::build::relayd_path(crate::build::Profile::Debug));
    let found = relayd.is_file();
    if !found {
        println!("skipped: {} is not built", relayd.display());
    }
    found.then_some(relayd)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lab::cell::{self, Outcome};
    use crate::lab::expect::Company;
    use crate::lab::meter::PathType;
    use crate::lab::privilege;

    fn outcome(way: Way, cell: &str, company: Company, expected: PathType) -> Option<Outcome> {
        let relayd = built()?;
        if !privilege::can_make_worlds() {
            return None;
        }
        let tunnels = Tunnels { relayd, way };
        let stop = Stop::default();
        Some(cell::run(&tunnels, cell.parse().unwrap(), company, expected, false, &stop).unwrap())
    }

    fn check(way: Way, cell: &str, company: Company, expected: PathType, seen: Option<PathType>) {
        let Some(outcome) = outcome(way, cell, company, expected) else { return };
        assert_eq!(outcome.seen, seen, "{outcome}\n{}", outcome.remark);
        assert_eq!(outcome.passed(), seen.is_some_and(|seen| seen >= expected));
    }

    #[test]
    fn tunnels_that_go_straight_are_seen_to() {
        for cell in ["public:easy", "easy:easy", "hard:public", "cgnat:easy", "pmp:cone", "v6:v6"] {
            check(Way::Straight, cell, Company::Alone, PathType::Direct, Some(PathType::Direct));
        }
    }

    #[test]
    fn a_tunnel_by_a_third_box_is_seen_to_be_one() {
        check(Way::ByCarol, "hard:hard", Company::Carol, PathType::RelayedUdp, Some(PathType::RelayedUdp));
        check(Way::ByCarol, "v6:easy", Company::Carol, PathType::RelayedUdp, Some(PathType::RelayedUdp));
    }

    #[test]
    fn what_can_t_be_connected_is_seen_to_be_apart() {
        check(Way::Straight, "hard:hard", Company::Alone, PathType::RelayedTls, None);
    }

    #[test]
    fn a_wrong_expectation_turns_the_run_red() {
        check(Way::ByCarol, "easy:easy", Company::Carol, PathType::Direct, Some(PathType::RelayedUdp));
    }
}
