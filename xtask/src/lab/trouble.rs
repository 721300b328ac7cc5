//! What happens to a household's line: its router reboots, it moves, its link is narrow or loses packets.
//!
//! All of it is done to routers and cables; boxes are not told.

use std::net::IpAddr;

use anyhow::{Context as _, Result};

use super::plan::{INTERNET, Site};
use super::world::World;
use crate::command;

/// The network of a home after it moved, another one than all homes have before.
const NEW_GATEWAY: &str = "192.168.77.1";
const NEW_ADDRESS: &str = "192.168.77.31";

/// Each router between the box and the internet forgets who talked to whom, as at a reboot.
pub(crate) fn forget(world: &World, site: &Site) -> Result<()> {
    for router in world.routers(site) {
        command::output(router.tool("conntrack").arg("-F")).map(drop)?;
    }
    Ok(())
}

/// The box and its router get other addresses, private and public ones, while everything runs.
pub(crate) fn move_house(world: &World, site: &Site) -> Result<()> {
    let Some(IpAddr::V4(public)) = site.later else {
        anyhow::bail!("a home behind a router of kind {} does not move", site.kind)
    };
    let [a, b, c, _] = public.octets();
    let gateway = format!("{a}.{b}.{c}.1");
    let port = format!("to-{}", site.name);
    let flush = |device: &str| format!("address flush dev {device} scope global\n");
    let internet = flush(&port) + &format!("address add {gateway}/30 dev {port}\n");
    let router = flush("wan")
        + &flush("lan")
        + &format!("address add {public}/30 dev wan\nroute add default via {gateway}\n")
        + &format!("address add {NEW_GATEWAY}/24 dev lan\n");
    let host = flush("eth0")
        + &format!("address add {NEW_ADDRESS}/24 dev eth0\nroute add default via {NEW_GATEWAY}\n");
    world.namespace(&site.host).ip(&host).context("the box")?;
    world.namespace(&site.edge).ip(&router).context("the router")?;
    world.namespace(INTERNET).ip(&internet).context("the internet")
}

/// The link between router and internet carries packets up to this length.
pub(crate) fn narrow(world: &World, site: &Site, mtu: u16) -> Result<()> {
    world.namespace(&site.edge).ip(&format!("link set dev wan mtu {mtu}\n"))?;
    world.namespace(INTERNET).ip(&format!("link set dev to-{} mtu {mtu}\n", site.name))
}

/// Longer packets of UDP vanish in the router, both ways, and nobody is told.
pub(crate) fn swallow(world: &World, site: &Site, longer_than: u16) -> Result<()> {
    single_packets(world)?;
    trouble(world, site, &format!("meta l4proto udp meta length > {longer_than} drop"))
}

/// So many of a hundred packets vanish in the router, each way.
pub(crate) fn lose(world: &World, site: &Site, percent: u8) -> Result<()> {
    single_packets(world)?;
    trouble(world, site, &format!("numgen random mod 100 < {percent} drop"))
}

/// The router has no ear for PCP and NAT-PMP: only UPnP is left.
pub(crate) fn upnp_alone(world: &World, site: &Site) -> Result<()> {
    world.namespace(&site.edge).nft(
        "table inet deaf {
  chain input {
    type filter hook input priority filter - 10; policy accept;
    udp dport 5351 drop
  }
}
",
    )
}

/// Before the router's own filter.
fn trouble(world: &World, site: &Site, rule: &str) -> Result<()> {
    world.namespace(&site.edge).nft(&format!(
        "table inet trouble {{
  chain forward {{
    type filter hook forward priority filter - 10; policy accept;
    {rule}
  }}
}}
"
    ))
}

/// Counts packets of UDP past the router from now on: those that are longer, and all.
pub(crate) fn count_longer(world: &World, site: &Site, than: u16) -> Result<()> {
    single_packets(world)?;
    world.namespace(&site.edge).nft(&format!(
        "table inet lengths {{
  counter longer {{}}
  counter every {{}}
  chain forward {{
    type filter hook forward priority filter - 20; policy accept;
    meta l4proto udp counter name every
    meta l4proto udp meta length > {than} counter name longer
  }}
}}
"
    ))
}

/// What was counted since then, bytes: in longer packets, and in all.
pub(crate) fn longer(world: &World, site: &Site) -> Result<(u64, u64)> {
    let count = |name: &str| {
        let mut list = world.namespace(&site.edge).tool("nft");
        let said = command::output(list.args(["list", "counter", "inet", "lengths", name]))?;
        let bytes = said.split_whitespace().skip_while(|word| *word != "bytes").nth(1);
        bytes.and_then(|bytes| bytes.parse().ok()).with_context(|| format!("no count in: {said}"))
    };
    Ok((count("longer")?, count("every")?))
}

/// Boxes hand many packets to the kernel as one (GSO), which stays one on a virtual cable; a real one carries them one by
/// one, and so does this.
fn single_packets(world: &World) -> Result<()> {
    for site in world.sites() {
        world.namespace(&site.host).ip("link set dev eth0 gso_max_segs 1\n")?;
    }
    Ok(())
}
