//! Plain tunnels in place of the mesh: `relayd tunnel` with endpoints that the lab tells it, so that worlds, counters
//! and verdicts are tried with real packets of a real daemon before any path logic is.
//!
//! Only pairs whose routers keep ports can be connected this way, or have one side that is open.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::path::PathBuf;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, anyhow, bail};
use data_encoding::BASE64;

use super::cell::{Fleet, Limits, Overlay, Running};
use super::kind::Kind;
use super::plan::Site;
use super::world::World;
use crate::child::Child;
use crate::stop::Stop;

const PORT: u16 = 51820;
const ECHO_PORT: u16 = 7;
/// Pairs of keys that everybody may know: private, public.
const KEYS: [(&str, &str); 3] = [
    ("gMGxSHVNsu/M5/XblcWgJdRDsdUkG1z+bdRqXbImwEk=", "d8E7QEdzfDhLtsDnAQ7Pn8zKwq2TBBXsiJ/9HfVs7C4="),
    ("uAeXYN8R/nbUsiL0MYlmBIbPKHPR7z6c48+c1P7AJ3I=", "nWLKL5+FkDyohnZWpPP8FKqMV8iN4CZXmKsimik2zlk="),
    ("oIDs8JLnyb4/cpRsrH4Ag58qAyye+rUkiwpYmtGWrXU=", "jxxnNsu8IhDizJw+IeYjmwuhIFr61bpihSXVHeriNjk="),
];
const ADDRESSES: [&str; 3] = ["fd00:7::1", "fd00:7::2", "fd00:7::3"];

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

struct Up<'a> {
    tunnels: &'a Tunnels,
    world: &'a World,
    daemons: BTreeMap<String, Child>,
    _forwarder: Option<Forwarder>,
}

impl Running for Up<'_> {
    fn logs(&self) -> String {
        self.daemons.values().map(Child::log_tail).collect()
    }

    fn restart(&mut self, name: &str) -> Result<()> {
        self.daemons.get_mut(name).with_context(|| format!("there is no tunnel {name}"))?.kill();
        let daemon = self.tunnels.start(self.world, self.world.site(name))?;
        self.daemons.insert(name.to_owned(), daemon);
        Ok(())
    }

    fn known(&self, _: &str) -> Result<Vec<String>> {
        bail!("plain tunnels have no map")
    }

    fn kill_coordinator(&mut self) {}

    fn invite_viewer(&self, _: &str, _: &str) -> Result<String> {
        bail!("plain tunnels invite nobody")
    }

    fn revoke(&self, _: &str) -> Result<()> {
        bail!("plain tunnels know nobody")
    }

    fn wireguard(&self, name: &str) -> Result<([u8; 32], u16)> {
        let key = BASE64.decode(KEYS[place(self.world, name)].1.as_bytes()).ok().context("a constant key")?;
        Ok((key.try_into().map_err(|_| anyhow!("a key of another length"))?, PORT))
    }
}

impl Overlay for Tunnels {
    fn limits(&self) -> Limits {
        Limits { connect: Duration::from_secs(10), settle: Duration::from_secs(2) }
    }

    fn bring_up<'a>(&'a self, world: &'a World, _stop: &Stop) -> Result<Fleet<'a>> {
        let forwarder = match self.way {
            Way::Straight => None,
            Way::ByCarol => Some(Forwarder::start(world)?),
        };
        let began = Instant::now();
        let mut daemons = BTreeMap::new();
        let mut addresses = BTreeMap::new();
        for site in self.ends(world) {
            let place = ADDRESSES[place(world, &site.name)].parse().expect("a constant address");
            addresses.insert(site.name.clone(), place);
            daemons.insert(site.name.clone(), self.start(world, site)?);
        }
        let running = Box::new(Up { tunnels: self, world, daemons, _forwarder: forwarder });
        Ok(Fleet { addresses, began, port: ECHO_PORT, running })
    }
}

impl Tunnels {
    /// The sites with a tunnel.
    fn ends<'a>(&self, world: &'a World) -> &'a [Site] {
        let most = match self.way {
            Way::Straight => KEYS.len(),
            Way::ByCarol => 2,
        };
        &world.sites()[..most.min(world.sites().len())]
    }

    fn start(&self, world: &World, site: &Site) -> Result<Child> {
        let conf = world.dir().join(format!("tun-{}.conf", site.name));
        std::fs::write(&conf, self.configuration(world, site)).context("writing a tunnel's file")?;
        let mut command = world.namespace(&site.host).command(&self.relayd, &world.hosts());
        command.arg("tunnel").arg(&conf);
        let log = world.dir().join(format!("tun-{}.log", site.name));
        Child::start(&format!("the tunnel of {}", site.name), &command, &log)
    }

    fn configuration(&self, world: &World, site: &Site) -> String {
        let own = place(world, &site.name);
        let mut text = format!(
            "[Interface]\nPrivateKey = {}\nListenPort = {PORT}\nAddress = {}/64\n",
            KEYS[own].0, ADDRESSES[own],
        );
        for other in self.ends(world).iter().filter(|other| other.name != site.name) {
            let endpoint = match self.way {
                Way::Straight => endpoint(other, site),
                Way::ByCarol => third(world, site),
            };
            let number = place(world, &other.name);
            let (key, address) = (KEYS[number].1, ADDRESSES[number]);
            text += &format!("[Peer]\nPublicKey = {key}\nAllowedIPs = {address}/128\n");
            if let Some(at) = endpoint {
                text += &format!("Endpoint = {at}\nPersistentKeepalive = 1\n");
            }
        }
        text
    }
}

/// The number of a site in its world.
fn place(world: &World, name: &str) -> usize {
    let place = world.sites().iter().position(|site| site.name == name);
    place.unwrap_or_else(|| panic!("there is no site {name}"))
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
