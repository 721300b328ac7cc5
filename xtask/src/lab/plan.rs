//! The lab's world as a value: which namespaces there are, which cables, addresses, routes and rules.
//!
//! Decides and does nothing; `world` builds it. Homes all have the same private network and their boxes the same
//! address in it, as real homes have, so that a private address that leaks to the other side is found out.
//!
//! Public IPv4 addresses are of 11.0.0.0/16 and not of a range for documentation, since miniupnpd (and others) map no
//! port on an address that nobody could have. Nothing leaves these namespaces: they have no cable to the machine.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::kind::Kind;
use super::rules::{self, Place};

/// Links have four addresses each, in 256.
pub(crate) const SITES_MAX: usize = 16;

/// The name under which boxes look for the coordinator.
pub(crate) const COORDINATOR: &str = "coordinator.lab";

/// A namespace.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Node {
    pub(crate) name: String,
    pub(crate) forwards: bool,
    /// Interface and address with its prefix length.
    pub(crate) addresses: Vec<(String, String)>,
    /// Destination and gateway.
    pub(crate) routes: Vec<(String, String)>,
    pub(crate) rules: String,
}

/// One end of a cable: a namespace and the interface in it.
pub(crate) type End = (String, String);

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Plan {
    pub(crate) nodes: Vec<Node>,
    pub(crate) cables: Vec<(End, End)>,
    pub(crate) sites: Vec<Site>,
}

/// A box and what stands before it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Site {
    pub(crate) name: String,
    pub(crate) kind: Kind,
    /// The namespace with the public address, which counts.
    pub(crate) edge: String,
    /// The namespace of the daemon.
    pub(crate) host: String,
    /// The router's address towards the box.
    pub(crate) gateway: IpAddr,
    /// The address of the box in its home.
    pub(crate) address: IpAddr,
    /// Under which addresses others see the box.
    pub(crate) public: Vec<IpAddr>,
    /// The public address that the router gets when the box moves house; only kinds with a NAT move.
    pub(crate) later: Option<IpAddr>,
}

/// A site that is wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Wanted {
    pub(crate) name: &'static str,
    pub(crate) kind: Kind,
    /// An IPv6 address beside the IPv4 one; only for public boxes, since the kinds with IPv4 have none.
    pub(crate) dual: bool,
}

impl Wanted {
    pub(crate) const fn new(name: &'static str, kind: Kind) -> Wanted {
        Wanted { name, kind, dual: false }
    }

    /// A third box with a public address of both families.
    pub(crate) const CAROL: Wanted = Wanted { name: "carol", kind: Kind::Public, dual: true };
}

pub(crate) const COORDINATOR_V4: Ipv4Addr = Ipv4Addr::new(11, 0, 2, 2);
pub(crate) const COORDINATOR_V6: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 2, 0, 0, 0, 0, 2);

/// The namespace that routes between the public segments.
pub(crate) const INTERNET: &str = "inet";
/// The namespace of the coordinator.
pub(crate) const SERVICE: &str = "coord";
/// A namespace with three addresses per family, for looking at routers from outside.
pub(crate) const OBSERVER: &str = "observer";

/// The observer's addresses: two to be contacted, and one that never is.
pub(crate) fn observer_v4(number: u8) -> Ipv4Addr {
    Ipv4Addr::new(11, 0, 3, 10 + number)
}

pub(crate) fn observer_v6(number: u8) -> Ipv6Addr {
    Ipv6Addr::new(0x2001, 0xdb8, 3, 0, 0, 0, 0, 0x10 + u16::from(number))
}

impl Plan {
    pub(crate) fn new(wanted: &[Wanted]) -> Plan {
        assert!(wanted.len() <= SITES_MAX, "a world has at most {SITES_MAX} sites");
        let mut plan = Plan { nodes: vec![node(INTERNET, true, "")], cables: Vec::new(), sites: Vec::new() };
        plan.add_servers();
        for (index, wanted) in wanted.iter().enumerate() {
            let index = u8::try_from(index).expect("at most 16 sites");
            plan.add_site(index, *wanted);
        }
        plan
    }

    fn add_servers(&mut self) {
        let (coordinator, observer) = (SERVICE, OBSERVER);
        self.cable((INTERNET, "to-coord"), (coordinator, "eth0"));
        self.cable((INTERNET, "to-observer"), (observer, "eth0"));
        let internet = self.internet();
        internet.address("to-coord", "11.0.2.1/30");
        internet.address("to-coord", "2001:db8:2::1/64");
        internet.address("to-observer", "11.0.3.1/24");
        internet.address("to-observer", "2001:db8:3::1/64");
        let mut service = node(coordinator, false, "");
        service.address("eth0", &format!("{COORDINATOR_V4}/30"));
        service.address("eth0", &format!("{COORDINATOR_V6}/64"));
        service.route("default", "11.0.2.1");
        service.route("default", "2001:db8:2::1");
        self.nodes.push(service);
        let mut eye = node(observer, false, "");
        for number in 0..3 {
            eye.address("eth0", &format!("{}/24", observer_v4(number)));
            eye.address("eth0", &format!("{}/64", observer_v6(number)));
        }
        eye.route("default", "11.0.3.1");
        eye.route("default", "2001:db8:3::1");
        self.nodes.push(eye);
    }

    fn add_site(&mut self, index: u8, wanted: Wanted) {
        let Wanted { name, kind, dual } = wanted;
        let wan = Wan::new(index);
        let mut edge = node(&format!("{name}-nat"), true, &rules::of(kind, Place::Edge));
        let mut host = node(&format!("{name}-box"), false, "");
        let mut inner = edge.name.clone();
        let to_edge = format!("to-{name}");
        self.cable((INTERNET, &to_edge), (&edge.name, "wan"));
        let mut public = Vec::new();
        if kind != Kind::V6 {
            wan.connect_v4(self.internet(), &to_edge, &mut edge);
            public.push(IpAddr::V4(wan.router_v4));
        }
        if kind == Kind::V6 || dual {
            wan.connect_v6(self.internet(), &to_edge, &mut edge, &mut host);
            public.push(IpAddr::V6(wan.box_v6(BOX)));
        }
        let (gateway, address) = match kind {
            Kind::Public => {
                public[0] = IpAddr::V4(wan.lan_v4(2));
                wan.lend_v4(self.internet(), &mut edge, &mut host)
            }
            Kind::Easy | Kind::Mapper | Kind::Cone | Kind::Hard | Kind::Blocked => home(&mut edge, &mut host),
            Kind::Carrier => {
                inner = home_router(name);
                let mut router = behind_carrier(&inner, &mut edge);
                self.cable((&edge.name, "lan"), (&inner, "wan"));
                let addresses = home(&mut router, &mut host);
                self.nodes.push(router);
                addresses
            }
            Kind::V6 => (IpAddr::V6(wan.box_v6(1)), IpAddr::V6(wan.box_v6(BOX))),
        };
        self.cable((&inner, "lan"), (&host.name, "eth0"));
        let (edge_name, host_name) = (edge.name.clone(), host.name.clone());
        self.nodes.extend([edge, host]);
        let name = name.to_owned();
        let later = (address == IpAddr::V4(HOME_BOX)).then_some(IpAddr::V4(wan.later_v4(2)));
        self.sites.push(Site {
            name,
            kind,
            edge: edge_name,
            host: host_name,
            gateway,
            address,
            public,
            later,
        });
    }

    fn internet(&mut self) -> &mut Node {
        &mut self.nodes[0]
    }

    fn cable(&mut self, a: (&str, &str), b: (&str, &str)) {
        let own = |(node, interface): (&str, &str)| (node.to_owned(), interface.to_owned());
        self.cables.push((own(a), own(b)));
    }
}

/// The address of every box behind a NAT.
const HOME_BOX: Ipv4Addr = Ipv4Addr::new(192, 168, 1, 20);

/// The private network of every home: a router and one box.
fn home(router: &mut Node, host: &mut Node) -> (IpAddr, IpAddr) {
    let (gateway, address) = (Ipv4Addr::new(192, 168, 1, 1), HOME_BOX);
    router.address("lan", &format!("{gateway}/24"));
    host.address("eth0", &format!("{address}/24"));
    host.route("default", &gateway.to_string());
    (IpAddr::V4(gateway), IpAddr::V4(address))
}

/// The namespace of the router at home, where there is a second one.
pub(crate) fn home_router(site: &str) -> String {
    format!("{site}-home")
}

/// A router at home, on the carrier's side of whose NAT addresses are shared (RFC 6598).
fn behind_carrier(name: &str, edge: &mut Node) -> Node {
    edge.address("lan", "100.64.0.1/24");
    let mut router = node(name, true, &rules::of(Kind::Carrier, Place::Home));
    router.address("wan", "100.64.0.20/24");
    router.route("default", "100.64.0.1");
    router
}

/// The last number of a box's IPv6 address.
const BOX: u16 = 0x20;

/// The link between the internet and the site of this number.
struct Wan {
    index: u8,
    gateway_v4: Ipv4Addr,
    router_v4: Ipv4Addr,
    gateway_v6: Ipv6Addr,
    router_v6: Ipv6Addr,
}

impl Wan {
    fn new(index: u8) -> Wan {
        let v6 = |last| Ipv6Addr::new(0x2001, 0xdb8, 0, u16::from(index), 0, 0, 0, last);
        Wan {
            index,
            gateway_v4: Ipv4Addr::new(11, 0, 0, index * 4 + 1),
            router_v4: Ipv4Addr::new(11, 0, 0, index * 4 + 2),
            gateway_v6: v6(1),
            router_v6: v6(2),
        }
    }

    fn connect_v4(&self, internet: &mut Node, port: &str, edge: &mut Node) {
        internet.address(port, &format!("{}/30", self.gateway_v4));
        edge.address("wan", &format!("{}/30", self.router_v4));
        edge.route("default", &self.gateway_v4.to_string());
    }

    /// The link, and a prefix behind the router for the box.
    fn connect_v6(&self, internet: &mut Node, port: &str, edge: &mut Node, host: &mut Node) {
        internet.address(port, &format!("{}/64", self.gateway_v6));
        internet.route(&format!("{}/64", self.box_v6(0)), &self.router_v6.to_string());
        edge.address("wan", &format!("{}/64", self.router_v6));
        edge.address("lan", &format!("{}/64", self.box_v6(1)));
        edge.route("default", &self.gateway_v6.to_string());
        host.address("eth0", &format!("{}/64", self.box_v6(BOX)));
        host.route("default", &self.box_v6(1).to_string());
    }

    /// Four public addresses behind the router, one of them the box's.
    fn lend_v4(&self, internet: &mut Node, edge: &mut Node, host: &mut Node) -> (IpAddr, IpAddr) {
        let (gateway, address) = (self.lan_v4(1), self.lan_v4(2));
        internet.route(&format!("{}/30", self.lan_v4(0)), &self.router_v4.to_string());
        edge.address("lan", &format!("{gateway}/30"));
        host.address("eth0", &format!("{address}/30"));
        host.route("default", &gateway.to_string());
        (IpAddr::V4(gateway), IpAddr::V4(address))
    }

    fn lan_v4(&self, number: u8) -> Ipv4Addr {
        Ipv4Addr::new(11, 0, 1, self.index * 4 + number)
    }

    /// Far from the first one: another network of another carrier.
    fn later_v4(&self, number: u8) -> Ipv4Addr {
        Ipv4Addr::new(11, 0, 200 + self.index, number)
    }

    fn box_v6(&self, number: u16) -> Ipv6Addr {
        Ipv6Addr::new(0x2001, 0xdb8, 1, u16::from(self.index), 0, 0, 0, number)
    }
}

fn node(name: &str, forwards: bool, rules: &str) -> Node {
    Node {
        name: name.to_owned(),
        forwards,
        addresses: Vec::new(),
        routes: Vec::new(),
        rules: rules.to_owned(),
    }
}

impl Node {
    fn address(&mut self, interface: &str, address: &str) {
        self.addresses.push((interface.to_owned(), address.to_owned()));
    }

    fn route(&mut self, destination: &str, gateway: &str) {
        self.routes.push((destination.to_owned(), gateway.to_owned()));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn named<'a>(plan: &'a Plan, name: &str) -> &'a Node {
        plan.nodes.iter().find(|node| node.name == name).unwrap()
    }

    #[test]
    fn two_homes_look_alike_inside_and_differ_outside() {
        let plan = Plan::new(&[Wanted::new("a", Kind::Easy), Wanted::new("b", Kind::Easy)]);
        assert_eq!(named(&plan, "a-box").addresses, named(&plan, "b-box").addresses);
        assert_eq!(plan.sites[0].address, plan.sites[1].address);
        assert_eq!(plan.sites[0].public, ["11.0.0.2".parse::<IpAddr>().unwrap()]);
        assert_eq!(plan.sites[1].public, ["11.0.0.6".parse::<IpAddr>().unwrap()]);
    }

    #[test]
    fn a_carrier_stands_between_the_home_and_the_internet() {
        let plan = Plan::new(&[Wanted::new("a", Kind::Carrier)]);
        let cable = |a: (&str, &str), b: (&str, &str)| {
            let own = |(x, y): (&str, &str)| (x.to_owned(), y.to_owned());
            plan.cables.contains(&(own(a), own(b)))
        };
        assert!(cable(("inet", "to-a"), ("a-nat", "wan")));
        assert!(cable(("a-nat", "lan"), ("a-home", "wan")));
        assert!(cable(("a-home", "lan"), ("a-box", "eth0")));
        assert!(named(&plan, "a-home").rules.contains("masquerade persistent"));
        assert!(named(&plan, "a-nat").rules.contains("masquerade persistent"));
    }

    #[test]
    fn without_ipv4_means_without_any() {
        let plan = Plan::new(&[Wanted::new("a", Kind::V6), Wanted::CAROL]);
        for name in ["a-nat", "a-box"] {
            let node = named(&plan, name);
            assert!(node.addresses.iter().all(|(_, address)| address.contains(':')), "{node:?}");
            assert!(node.routes.iter().all(|(_, gateway)| gateway.contains(':')), "{node:?}");
        }
        assert_eq!(plan.sites[1].public.len(), 2, "carol has both families");
    }
}
