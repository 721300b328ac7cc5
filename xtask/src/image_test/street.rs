//! The network that a booted image finds itself in: a home's switch with a router that gives addresses and names, a
//! viewer, and no way out.

use std::fs;
use std::net::Ipv4Addr;
use std::path::Path;

use anyhow::{Context as _, Result};

use super::multicast;
use crate::child::Child;
use crate::command;
use crate::lab::netns::{self, Namespace};
use crate::viewer::Reader;

/// Networks for documentation (RFC 5737).
const ROUTER: &str = "192.0.2.1";
pub(super) const VIEWER: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 2);
pub(super) const OFFICE: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 3);
/// What QEMU puts the image's frames into.
pub(super) const TAP: &str = "box0";

pub(super) struct Street {
    // Before the namespaces that it runs in.
    _router: Child,
    switch: Namespace,
    viewer: Namespace,
    office: Namespace,
}

impl Street {
    pub(super) fn open(dir: &Path) -> Result<Street> {
        netns::remove_leftovers();
        let (switch, viewer) = (Namespace::new(0, "switch")?, Namespace::new(0, "viewer")?);
        let office = Namespace::new(0, "office")?;
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
             link set work0 master lan0 up\n",
            viewer.name(),
            office.name()
        ))?;
        // A road for groups, since there is none to everywhere.
        viewer.ip(&format!(
            "link set lo up\naddress add {VIEWER}/24 dev eth0\nlink set eth0 up\nroute add 224.0.0.0/4 dev eth0\n"
        ))?;
        office.ip(&format!("link set lo up\naddress add {OFFICE}/24 dev eth0\nlink set eth0 up\n"))?;
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
        dnsmasq.args(["--dhcp-range=192.0.2.100,192.0.2.199,1h", "--dhcp-authoritative"]);
        dnsmasq.arg(format!("--dhcp-leasefile={}", leases.display()));
        let router = Child::start("the router (dnsmasq)", &dnsmasq, &dir.join("router.log"))?;
        Ok(Street { _router: router, switch, viewer, office })
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

    /// What a viewer's device hears when it asks for `NAME.local`.
    pub(super) fn resolve(&self, name: &str) -> Result<Ipv4Addr> {
        self.viewer.inside(|| multicast::ask(name, VIEWER))
    }

    /// What a viewer's browser gets.
    pub(super) fn fetch(&self, url: &str) -> Result<String> {
        self.viewer.inside(|| Reader::new(super::ANSWER_LIMIT).fetch_text(url))
    }
}
