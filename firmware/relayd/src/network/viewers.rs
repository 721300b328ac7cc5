//! Viewers with the ordinary WireGuard app, of whom this box is the gateway: from the root's words to the data plane's
//! peers, and the IPv4 address under which they find the box. What they may reach is the filter's to say.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr};
use std::path::Path;

use anyhow::{Context as _, Result};
use dataplane::{Handle, HandleError, Network, PeerConfig, Prefix};
use trust::viewer::Gateway;
use trust::{Viewer, WireGuardKey};

use super::{MTU, Plan, public};
use crate::control::hour::Hour;
use crate::control::kept::Kept;
use crate::control::talk::Heard;
use crate::control::viewers::Guests;

/// Who is let in.
pub(super) struct Door {
    guests: Guests,
    let_in: BTreeMap<WireGuardKey, Viewer>,
}

impl Door {
    /// As it was kept.
    pub(super) fn open(plan: &Plan) -> Result<Self> {
        let revocations = plan.kept.revocations();
        let gateway = Gateway { root: &plan.kept.root, key: plan.kept.key(), revocations: &revocations };
        let guests = Guests::open(&plan.dir, &gateway, plan.hour.now())?;
        Ok(Self { guests, let_in: BTreeMap::new() })
    }

    /// Lets in whom the root let in, and lets go whose time is over.
    pub(super) async fn reconcile(&mut self, plan: &Plan, heard: &Heard, handle: &Handle) {
        let now = plan.hour.now();
        let gateway =
            Gateway { root: &plan.kept.root, key: plan.kept.key(), revocations: &heard.revocations };
        if self.guests.handle_entries(&gateway, now, &heard.viewers)
            && let Err(error) = self.guests.save().await
        {
            tracing::error!(error = format!("{error:#}"), "the viewers are not kept");
        }
        let accepted = self.guests.accepted(&gateway, now);
        let wanted: BTreeMap<_, _> =
            accepted.into_iter().map(|viewer| (viewer.key, viewer.clone())).collect();
        if wanted == self.let_in {
            return;
        }
        for (key, had) in &self.let_in {
            if wanted.get(key) != Some(had) {
                said(&had.name, handle.remove_peer(public(key)).await);
            }
        }
        for (key, viewer) in &wanted {
            if self.let_in.get(key) != Some(viewer) {
                tracing::info!(viewer = %viewer.name, "a viewer may come in");
                said(&viewer.name, handle.add_peer(config(viewer)).await);
            }
        }
        dress(&plan.interface, &wanted);
        self.let_in = wanted;
    }
}

fn config(viewer: &Viewer) -> PeerConfig {
    let addresses = [IpAddr::V6(viewer.address.into()), IpAddr::V4(viewer.address_v4)];
    let prefixes = addresses.into_iter().filter_map(host);
    PeerConfig {
        public_key: public(&viewer.key),
        preshared_key: None,
        allowed_ips: prefixes.collect(),
        endpoint: None,
        keepalive: None,
        mesh: None,
    }
}

/// The prefix of one host.
fn host(address: IpAddr) -> Option<Prefix> {
    Prefix::new(address, if address.is_ipv4() { 32 } else { 128 }).ok()
}

/// Gives the interface the viewers' side of the box, on a thread of its own, since the kernel may take its time.
fn dress(interface: &str, viewers: &BTreeMap<WireGuardKey, Viewer>) {
    let Some(own) = viewers.values().next().map(|viewer| viewer.gateway_v4) else { return };
    let interface = interface.to_owned();
    let routes: Vec<_> = viewers.values().filter_map(|viewer| host(viewer.address_v4.into())).collect();
    let work = move || {
        if let Err(error) = put_on(&interface, own, routes) {
            tracing::warn!(error = format!("{error:#}"), "viewers can't find this box by IPv4");
        }
    };
    if let Err(error) = std::thread::Builder::new().name("viewers".to_owned()).spawn(work) {
        tracing::warn!(%error, "viewers can't find this box by IPv4");
    }
}

/// What the running daemon would put on the interface, for those viewers that are known by now: the box's address among
/// them, if there are any.
pub(super) fn dress_beforehand(interface: &str, dir: &Path, kept: &Kept) -> Result<Option<Ipv4Addr>> {
    let (now, revocations) = (Hour::new(dir, 0).now(), kept.revocations());
    let gateway = Gateway { root: &kept.root, key: kept.key(), revocations: &revocations };
    let guests = Guests::open(dir, &gateway, now)?;
    let accepted = guests.accepted(&gateway, now);
    let Some(own) = accepted.first().map(|viewer| viewer.gateway_v4) else { return Ok(None) };
    put_on(interface, own, accepted.iter().filter_map(|viewer| host(viewer.address_v4.into())).collect())?;
    Ok(Some(own))
}

fn put_on(interface: &str, own: Ipv4Addr, routes: Vec<Prefix>) -> Result<()> {
    let taken = if_addrs::get_if_addrs().context("reading the host's addresses")?;
    let overlap = taken.iter().find(|other| {
        let others = match &other.addr {
            if_addrs::IfAddr::V4(v4) => Prefix::new(v4.ip.into(), v4.prefixlen).ok(),
            if_addrs::IfAddr::V6(_) => None,
        };
        other.name != interface && others.is_some_and(|others| others.contains(own.into()))
    });
    if let Some(overlap) = overlap {
        anyhow::bail!(
            "the viewers' network overlaps with that of {}: make their configurations with another --prefix",
            overlap.name
        );
    }
    let mut network = Network::open(interface)?;
    network.bring_up(MTU, &[(own.into(), 32)])?;
    network.add_routes(routes)?;
    Ok(())
}

fn said(name: &trust::Name, done: Result<(), HandleError>) {
    if let Err(error) = done {
        tracing::warn!(viewer = %name, error = format!("{:#}", anyhow::Error::from(error)), "the data plane");
    }
}
