//! The network that a booted image finds itself in: a home's switch with a router that gives addresses and names, a
//! viewer, another household behind the same router, and no way out.

use std::fs;
use std::net::Ipv4Addr;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context as _, Result};

use super::multicast;
use crate::child::Child;
use crate::command;
use crate::lab::netns::{self, Handle, Namespace};
use crate::viewer::Reader;

/// A home as homes are (RFC 1918): a box tells who is at home by that. The coordinator stands in it, too.
const ROUTER: &str = "192.168.7.1";
pub(super) const VIEWER: Ipv4Addr = Ipv4Addr::new(192, 168, 7, 2);
pub(super) const OFFICE: Ipv4Addr = Ipv4Addr::new(192, 168, 7, 3);
/// The other household, and its way to the first one (RFC 5737).
const FAR: &str = "198.51.100.2";
const FAR_ROUTER: &str = "198.51.100.1";
/// How long an answer over the network may take.
const ANSWER_LIMIT: Duration = Duration::from_secs(10);
/// Whether the router passes anything on, which is asked in its namespace.
const FORWARD: &str = "/proc/sys/net/ipv4/ip_forward";
/// What QEMU puts the image's frames into.
pub(super) const TAP: &str = "box0";

pub(super) struct Street {
    // Before the namespaces that it runs in.
    _router: Child,
    switch: Namespace,
    viewer: Namespace,
    office: Namespace,
    far: Namespace,
}

impl Street {
    pub(super) fn open(dir: &Path) -> Result<Street> {
        netns::remove_leftovers();
        let (switch, viewer) = (Namespace::new(0, "switch")?, Namespace::new(0, "viewer")?);
        let (office, far) = (Namespace::new(0, "office")?, Namespace::new(0, "far")?);
        switch.ip(&format!(
            "link set lo up\n\
             link add lan0 type bridge mcast_snooping 0\n\
             address add {ROUTER}/24 dev lan0\n\
             link set lan0 up\n\
             tuntap add dev {TAP} mode tap\n\
             link set {TAP} master lan0 up\n\
             link add view0 type veth peer name eth0 netns {}\n\
             link set view0 master lan0 up\n\
             link add work0 type veth peer name eth0 netns {}\n\
             link set work0 master lan0 up\n\
             link add far0 type veth peer name eth0 netns {}\n\
             address add {FAR_ROUTER}/24 dev far0\n\
             link set far0 up\n",
            viewer.name(),
            office.name(),
            far.name()
        ))?;
        switch.inside(|| fs::write(FORWARD, "1").with_context(|| format!("writing {FORWARD}")))?;
        // A road for groups, since there is none to everywhere.
        viewer.ip(&format!(
            "link set lo up\naddress add {VIEWER}/24 dev eth0\nlink set eth0 up\nroute add 224.0.0.0/4 dev eth0\n"
        ))?;
        office.ip(&format!(
            "link set lo up\naddress add {OFFICE}/24 dev eth0\nlink set eth0 up\nroute add default via {ROUTER}\n"
        ))?;
        far.ip(&format!(
            "link set lo up\naddress add {FAR}/24 dev eth0\nlink set eth0 up\nroute add default via {FAR_ROUTER}\n"
        ))?;
        let leases = dir.join("leases");
        fs::write(&leases, "").with_context(|| format!("writing {}", leases.display()))?;
        let mut dnsmasq = switch.tool("dnsmasq");
        dnsmasq.args([
            "--keep-in-foreground",
            "--conf-file=/dev/null",
            "--no-resolv",
            "--no-hosts",
            "--user=root",
        ]);
        dnsmasq.args(["--interface=lan0", "--bind-interfaces", "--log-facility=-", "--log-dhcp"]);
        dnsmasq.args(["--dhcp-range=192.168.7.100,192.168.7.199,1h", "--dhcp-authoritative"]);
        dnsmasq.arg(format!("--dhcp-leasefile={}", leases.display()));
        let router = Child::start("the router (dnsmasq)", &dnsmasq, &dir.join("router.log"))?;
        Ok(Street { _router: router, switch, viewer, office, far })
    }

    /// A program where the image's network card is plugged in.
    pub(super) fn at_the_switch(&self, program: &str) -> std::process::Command {
        let mut command = self.switch.tool(program);
        command.current_dir(command::root());
        command
    }

    /// A program on the coordinator's machine.
    pub(super) fn in_the_office(&self, program: &Path) -> std::process::Command {
        self.office.tool(&program.to_string_lossy())
    }

    /// A program in the other household.
    pub(super) fn far_away(&self, program: &Path) -> std::process::Command {
        self.far.tool(&program.to_string_lossy())
    }

    /// Where a viewer is, for a thread of its own.
    pub(super) fn at_the_viewer(&self) -> Result<Handle> {
        self.viewer.handle()
    }

    /// What a viewer's device hears when it asks for `NAME.local`.
    pub(super) fn resolve(&self, name: &str) -> Result<Ipv4Addr> {
        self.viewer.inside(|| multicast::ask(name, VIEWER))
    }

    /// What a viewer's browser gets.
    pub(super) fn fetch(&self, url: &str) -> Result<String> {
        self.viewer.inside(|| Reader::new(ANSWER_LIMIT).fetch_text(url))
    }
}
