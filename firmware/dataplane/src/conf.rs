//! An ordinary wg-quick file, read strictly: every mistake has its line.
//!
//! What belongs to another program (DNS, hooks, policy routing) is ignored with a remark, since a file that works
//! elsewhere should work here. What is no setting of WireGuard at all is an error.

mod value;

use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use crate::allowed::Prefix;
use crate::exchange::PEERS_MAX;
use crate::key::{PresharedKey, PrivateKey, PublicKey};

pub use value::BadValue;

/// The longest file, bytes.
pub const FILE_BYTES_MAX: usize = 1 << 20;

/// The MTU that fits every usual link outside: 1500 less IPv6, UDP and WireGuard's own 32 bytes.
pub const MTU_DEFAULT: u16 = 1420;
/// The smallest MTU of IPv4 that anything sets (RFC 791, 3.1).
pub const MTU_MIN: u16 = 576;
/// The largest MTU: jumbo frames.
pub const MTU_MAX: u16 = 9200;

/// A file that makes sense.
#[derive(Clone, Debug)]
pub struct Conf {
    pub private_key: PrivateKey,
    /// The interface's own addresses, with the length of their networks.
    pub addresses: Vec<(IpAddr, u8)>,
    /// Any port when it isn't given.
    pub listen_port: Option<u16>,
    pub mtu: u16,
    pub peers: Vec<PeerConf>,
    /// What was left aside, by line.
    pub remarks: Vec<Remark>,
}

/// One `[Peer]`.
#[derive(Clone, Debug)]
pub struct PeerConf {
    pub public_key: PublicKey,
    pub preshared_key: Option<PresharedKey>,
    pub allowed_ips: Vec<Prefix>,
    pub endpoint: Option<Endpoint>,
    pub keepalive: Option<Duration>,
}

/// Where a peer is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Endpoint {
    Address(SocketAddr),
    /// A host name, which is to be looked up, and a port.
    Name(String, u16),
}

/// Something in the file that has no effect.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Remark {
    pub line: usize,
    pub text: String,
}

/// What is wrong with a file, and where.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConfError {
    /// Counted from 1; 0 when it is the file as a whole.
    pub line: usize,
    pub problem: Problem,
}

/// What is wrong.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Problem {
    #[error("the file is longer than {FILE_BYTES_MAX} bytes")]
    TooLong,
    #[error("there is no [Interface]")]
    NoInterface,
    #[error("a second [Interface]; the first is in line {0}")]
    SecondInterface(usize),
    #[error("[{0}] is unknown: only [Interface] and [Peer] are")]
    Section(String),
    #[error("neither `Key = Value` nor `[Section]`")]
    NoSetting,
    #[error("stands before the first [Interface] or [Peer]")]
    Homeless,
    #[error("{key} is unknown in [{section}]")]
    Key { key: String, section: &'static str },
    #[error("{0} stands twice in this section")]
    Twice(&'static str),
    #[error("{key}: {value}")]
    Value { key: &'static str, value: BadValue },
    #[error("this [{section}] has no {key}")]
    Missing { key: &'static str, section: &'static str },
    #[error("an MTU below 1280 carries no IPv6, but an address of IPv6 is given")]
    MtuWithoutV6,
    #[error("this peer's key is that of the peer in line {0}")]
    PeerTwice(usize),
    #[error("this peer's key is the interface's own")]
    OwnKey,
    #[error("{prefix} belongs to the peer in line {line} already")]
    PrefixTwice { prefix: Prefix, line: usize },
    #[error("more than {PEERS_MAX} peers")]
    TooManyPeers,
}

impl fmt::Display for ConfError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.line {
            0 => self.problem.fmt(f),
            line => write!(f, "line {line}: {}", self.problem),
        }
    }
}

impl std::error::Error for ConfError {}

/// A section as it stands, before anything is missed in it.
enum Section {
    Interface,
    Peer,
}

#[derive(Default)]
struct Interface {
    line: usize,
    private_key: Option<PrivateKey>,
    addresses: Vec<(IpAddr, u8)>,
    listen_port: Option<u16>,
    mtu: Option<(usize, u16)>,
}

#[derive(Default)]
struct Peer {
    line: usize,
    public_key: Option<PublicKey>,
    preshared_key: Option<PresharedKey>,
    allowed_ips: Vec<(usize, Prefix)>,
    endpoint: Option<Endpoint>,
    keepalive: Option<Option<Duration>>,
}

#[derive(Default)]
struct Reader {
    interface: Option<Interface>,
    peers: Vec<Peer>,
    remarks: Vec<Remark>,
}

/// Reads a whole file.
///
/// # Errors
/// The first mistake from the top; then what is missing, and what can't be together.
pub fn read(text: &str) -> Result<Conf, ConfError> {
    if text.len() > FILE_BYTES_MAX {
        return Err(ConfError { line: 0, problem: Problem::TooLong });
    }
    let mut reader = Reader::default();
    let mut section = None;
    for (number, line) in text.trim_start_matches('\u{feff}').lines().enumerate() {
        let line_number = number + 1;
        let at = |problem| ConfError { line: line_number, problem };
        let line = line.split('#').next().unwrap_or_default().trim();
        if line.is_empty() {
            continue;
        }
        if let Some(name) = line.strip_prefix('[').and_then(|line| line.strip_suffix(']')) {
            section = Some(reader.begin(name.trim(), line_number).map_err(at)?);
            continue;
        }
        let (key, value) = line.split_once('=').ok_or(at(Problem::NoSetting))?;
        let (key, value) = (key.trim(), value.trim());
        match section {
            None => return Err(at(Problem::Homeless)),
            Some(Section::Interface) => reader.interface_setting(key, value, line_number).map_err(at)?,
            Some(Section::Peer) => reader.peer_setting(key, value, line_number).map_err(at)?,
        }
    }
    reader.finish()
}

impl Reader {
    fn begin(&mut self, name: &str, line: usize) -> Result<Section, Problem> {
        if name.eq_ignore_ascii_case("interface") {
            if let Some(first) = &self.interface {
                return Err(Problem::SecondInterface(first.line));
            }
            self.interface = Some(Interface { line, ..Interface::default() });
            Ok(Section::Interface)
        } else if name.eq_ignore_ascii_case("peer") {
            if self.peers.len() == PEERS_MAX {
                return Err(Problem::TooManyPeers);
            }
            self.peers.push(Peer { line, ..Peer::default() });
            Ok(Section::Peer)
        } else {
            Err(Problem::Section(name.to_owned()))
        }
    }

    fn interface_setting(&mut self, key: &str, value: &str, line: usize) -> Result<(), Problem> {
        let Some(interface) = &mut self.interface else { return Err(Problem::Homeless) };
        match key.to_ascii_lowercase().as_str() {
            "privatekey" => once(&mut interface.private_key, "PrivateKey", value::key(value)),
            "listenport" => once(&mut interface.listen_port, "ListenPort", value::port(value)),
            "mtu" => once(&mut interface.mtu, "MTU", value::mtu(value).map(|mtu| (line, mtu))),
            "address" => {
                for part in value.split(',') {
                    interface
                        .addresses
                        .push(value::address(part.trim()).map_err(|value| bad("Address", value))?);
                }
                Ok(())
            }
            "dns" => self.ignore(line, "DNS is not set up here: it is the host's"),
            "table" => self.ignore(line, "Table has no effect: routes go into the main table"),
            "fwmark" => self.ignore(line, "FwMark has no effect"),
            "saveconfig" => self.ignore(line, "SaveConfig has no effect: the file is never written"),
            "preup" | "postup" | "predown" | "postdown" => {
                self.ignore(line, "commands before and after are not run")
            }
            _ => Err(Problem::Key { key: key.to_owned(), section: "Interface" }),
        }
    }

    fn peer_setting(&mut self, key: &str, value: &str, line: usize) -> Result<(), Problem> {
        let Some(peer) = self.peers.last_mut() else { return Err(Problem::Homeless) };
        match key.to_ascii_lowercase().as_str() {
            "publickey" => once(&mut peer.public_key, "PublicKey", value::key(value)),
            "presharedkey" => once(&mut peer.preshared_key, "PresharedKey", value::key(value)),
            "endpoint" => once(&mut peer.endpoint, "Endpoint", value::endpoint(value)),
            "persistentkeepalive" => {
                once(&mut peer.keepalive, "PersistentKeepalive", value::keepalive(value))
            }
            "allowedips" => {
                for part in value.split(',').map(str::trim).filter(|part| !part.is_empty()) {
                    let prefix = value::prefix(part).map_err(|value| bad("AllowedIPs", value))?;
                    peer.allowed_ips.push((line, prefix));
                }
                Ok(())
            }
            _ => Err(Problem::Key { key: key.to_owned(), section: "Peer" }),
        }
    }

    fn ignore(&mut self, line: usize, text: &str) -> Result<(), Problem> {
        self.remarks.push(Remark { line, text: text.to_owned() });
        Ok(())
    }

    fn finish(self) -> Result<Conf, ConfError> {
        let interface = self.interface.ok_or(ConfError { line: 0, problem: Problem::NoInterface })?;
        let missing = Problem::Missing { key: "PrivateKey", section: "Interface" };
        let private_key =
            interface.private_key.ok_or(ConfError { line: interface.line, problem: missing })?;
        if let Some((line, mtu)) = interface.mtu
            && mtu < crate::packet::MTU_MIN
            && interface.addresses.iter().any(|(address, _)| address.is_ipv6())
        {
            return Err(ConfError { line, problem: Problem::MtuWithoutV6 });
        }
        let own = private_key.public();
        let mut owners: Vec<(Prefix, usize)> = Vec::new();
        let mut keys: Vec<(PublicKey, usize)> = Vec::new();
        let mut peers = Vec::new();
        for peer in self.peers {
            let at = |problem| ConfError { line: peer.line, problem };
            let missing = Problem::Missing { key: "PublicKey", section: "Peer" };
            let public_key = peer.public_key.ok_or(at(missing))?;
            if public_key == own {
                return Err(at(Problem::OwnKey));
            }
            if let Some((_, line)) = keys.iter().find(|(key, _)| *key == public_key) {
                return Err(at(Problem::PeerTwice(*line)));
            }
            keys.push((public_key, peer.line));
            owners.extend(peer.allowed_ips.iter().map(|(_, prefix)| (*prefix, peer.line)));
            peers.push(PeerConf {
                public_key,
                preshared_key: peer.preshared_key,
                allowed_ips: peer.allowed_ips.iter().map(|(_, prefix)| *prefix).collect(),
                endpoint: peer.endpoint,
                keepalive: peer.keepalive.flatten(),
            });
        }
        unshared(owners)?;
        let mtu = interface.mtu.map_or(MTU_DEFAULT, |(_, mtu)| mtu);
        let (addresses, listen_port) = (interface.addresses, interface.listen_port);
        Ok(Conf { private_key, addresses, listen_port, mtu, peers, remarks: self.remarks })
    }
}

/// The same prefix for two peers would silently be the second one's alone.
fn unshared(mut owners: Vec<(Prefix, usize)>) -> Result<(), ConfError> {
    owners.sort();
    match owners.windows(2).find(|pair| pair[0].0 == pair[1].0 && pair[0].1 != pair[1].1) {
        Some(pair) => {
            let problem = Problem::PrefixTwice { prefix: pair[0].0, line: pair[0].1 };
            Err(ConfError { line: pair[1].1, problem })
        }
        None => Ok(()),
    }
}

fn once<T>(place: &mut Option<T>, key: &'static str, value: Result<T, BadValue>) -> Result<(), Problem> {
    let value = value.map_err(|value| bad(key, value))?;
    if place.replace(value).is_some() { Err(Problem::Twice(key)) } else { Ok(()) }
}

fn bad(key: &'static str, value: BadValue) -> Problem {
    Problem::Value { key, value }
}

#[cfg(test)]
mod tests;
