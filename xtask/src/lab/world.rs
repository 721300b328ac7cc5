//! Builds a plan out of namespaces, cables and rules, and takes all of it away again.
//!
//! It knows nothing of boxes and coordinators; it starts what belongs to a router alone (the server for port mappings).

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};

use anyhow::{Context as _, Result};

use super::kind::Kind;
use super::mapper;
use super::netns::{self, Namespace};
use super::plan::{self, Plan, Site, Wanted};
use crate::child::Child;

/// Everything goes when this does: first the programs, then the namespaces, then the directory.
#[derive(Debug)]
pub(crate) struct World {
    mappers: Vec<Child>,
    namespaces: BTreeMap<String, Namespace>,
    dir: Scratch,
    plan: Plan,
}

/// A directory of one world, which stays when it is to be looked at.
#[derive(Debug)]
struct Scratch {
    path: PathBuf,
    keep: bool,
}

/// How directories of worlds are called; the id of the process that made them follows.
const SCRATCH: &str = "relaybox-lab-";

/// Removes the namespaces and directories of runs that were killed.
pub(crate) fn remove_leftovers() {
    let count = netns::remove_leftovers();
    if count > 0 {
        eprintln!("removed {count} namespaces that a killed run had left");
    }
    let Ok(entries) = fs::read_dir(std::env::temp_dir()) else { return };
    for entry in entries.flatten() {
        let name = entry.file_name().into_string().unwrap_or_default();
        let maker = name.strip_prefix(SCRATCH).and_then(|rest| rest.split('-').next()?.parse().ok());
        // One that was kept on purpose has no namespace either, but a file that says so.
        if maker.is_some_and(|pid| !netns::is_ours(pid)) && !entry.path().join(KEPT).exists() {
            fs::remove_dir_all(entry.path()).ok();
        }
    }
}

/// In a directory that somebody wants to look at.
const KEPT: &str = "kept";

impl Drop for Scratch {
    fn drop(&mut self) {
        if self.keep {
            fs::write(self.path.join(KEPT), "").ok();
        } else {
            // A leftover in the temporary directory does no harm.
            fs::remove_dir_all(&self.path).ok();
        }
    }
}

impl World {
    pub(crate) fn new(wanted: &[Wanted], keep: bool) -> Result<World> {
        World::build(Plan::new(wanted), keep)
    }

    /// `keep` leaves the directory with its logs.
    pub(crate) fn build(plan: Plan, keep: bool) -> Result<World> {
        static RUNS: AtomicU32 = AtomicU32::new(0);
        let run = RUNS.fetch_add(1, Ordering::Relaxed);
        let path = std::env::temp_dir().join(format!("{SCRATCH}{}-{run}", std::process::id()));
        fs::create_dir_all(&path).with_context(|| format!("making {}", path.display()))?;
        let dir = Scratch { path, keep };
        let mut world = World { mappers: Vec::new(), namespaces: BTreeMap::new(), dir, plan };
        world.write_hosts()?;
        for node in &world.plan.nodes {
            let namespace = Namespace::new(run, &node.name)?;
            switches(&namespace, node.forwards)?;
            world.namespaces.insert(node.name.clone(), namespace);
        }
        world.lay_cables()?;
        for node in &world.plan.nodes {
            world.furnish(node).with_context(|| format!("furnishing {}", node.name))?;
        }
        world.start_mappers()?;
        Ok(world)
    }

    pub(crate) fn dir(&self) -> &Path {
        &self.dir.path
    }

    pub(crate) fn sites(&self) -> &[Site] {
        &self.plan.sites
    }

    pub(crate) fn site(&self, name: &str) -> &Site {
        let found = self.plan.sites.iter().find(|site| site.name == name);
        found.unwrap_or_else(|| panic!("this world has no site {name}"))
    }

    pub(crate) fn namespace(&self, name: &str) -> &Namespace {
        self.namespaces.get(name).unwrap_or_else(|| panic!("this world has no namespace {name}"))
    }

    /// All routers between a box and the internet.
    pub(crate) fn routers(&self, site: &Site) -> impl Iterator<Item = &Namespace> {
        let home = plan::home_router(&site.name);
        [self.namespaces.get(&site.edge), self.namespaces.get(&home)].into_iter().flatten()
    }

    /// What boxes see in place of /etc/hosts.
    pub(crate) fn hosts(&self) -> PathBuf {
        self.dir.path.join("hosts")
    }

    fn write_hosts(&self) -> Result<()> {
        let lines = format!(
            "127.0.0.1 localhost\n::1 localhost\n{} {name}\n{} {name}\n",
            plan::COORDINATOR_V4,
            plan::COORDINATOR_V6,
            name = plan::COORDINATOR
        );
        fs::write(self.hosts(), lines).context("writing hosts")
    }

    fn lay_cables(&self) -> Result<()> {
        let real = |name: &String| self.namespace(name).name().to_owned();
        let lines = self.plan.cables.iter().map(|((a, port_a), (b, port_b))| {
            let (a, b) = (real(a), real(b));
            format!("link add name {port_a} netns {a} type veth peer name {port_b} netns {b}\n")
        });
        // In a namespace of ours, since not everybody may change the machine's own.
        self.namespace(plan::INTERNET).ip(&lines.collect::<String>())
    }

    fn furnish(&self, node: &plan::Node) -> Result<()> {
        let namespace = self.namespace(&node.name);
        let mut lines = "link set dev lo up\n".to_owned();
        let ends = self.plan.cables.iter().flat_map(|(a, b)| [a, b]);
        for (_, port) in ends.filter(|(owner, _)| *owner == node.name) {
            lines += &format!("link set dev {port} up\n");
        }
        for (port, address) in &node.addresses {
            lines += &format!("address add {address} dev {port}\n");
        }
        for (destination, gateway) in &node.routes {
            lines += &format!("route add {destination} via {gateway}\n");
        }
        namespace.ip(&lines)?;
        if !node.rules.is_empty() {
            namespace.nft(&node.rules)?;
        }
        Ok(())
    }

    fn start_mappers(&mut self) -> Result<()> {
        for site in self.plan.sites.iter().filter(|site| site.kind == Kind::Mapper) {
            let mapper = mapper::start(self.namespace(&site.edge), site, &self.dir.path)?;
            self.mappers.push(mapper);
        }
        Ok(())
    }
}

/// Settings that interfaces take over when they are made.
fn switches(namespace: &Namespace, forwards: bool) -> Result<()> {
    // Nobody else has an address of ours, and until a router is sure of that it would pass nothing on by IPv6.
    let mut switches = vec![("ipv6/conf/all/accept_dad", "0"), ("ipv6/conf/default/accept_dad", "0")];
    if forwards {
        switches.extend([("ipv4/ip_forward", "1"), ("ipv6/conf/all/forwarding", "1")]);
    }
    namespace.inside(|| {
        for (switch, value) in switches {
            let path = Path::new("/proc/sys/net").join(switch);
            fs::write(&path, value).with_context(|| format!("writing {}", path.display()))?;
        }
        Ok(())
    })
}

impl Drop for World {
    fn drop(&mut self) {
        self.mappers.clear();
    }
}
