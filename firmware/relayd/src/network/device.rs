//! The interface with the box's address in the mesh, and the data plane's thread, which takes it down at its end.

use std::net::IpAddr;
use std::os::unix::net::UnixDatagram;

use anyhow::{Context as _, Result};
use dataplane::{Filter, Handle, MeshConfig, Network, Plane, PlaneConfig, Prefix, Told as PlaneTold, Tun};
use tokio::sync::{mpsc, oneshot, watch};
use trust::{MeshPrefix, Ula};

use super::{MTU, Plan};
use crate::control::keys::{Keys, random};

/// `tls` is one half of a pair whose other half keeps the coordinator's line.
pub(super) fn config(
    plan: &Plan,
    keys: Keys,
    tls: UnixDatagram,
    told: watch::Sender<Option<PlaneTold>>,
    sought: mpsc::Sender<Ula>,
) -> Result<PlaneConfig> {
    let outgoing = plan.outgoing.clone();
    let inside = MeshPrefix::of(&plan.kept.mesh());
    let agent = mesh::Config { seed: random()?, inside, loopback: false };
    let address = plan.kept.membership.claims().address;
    let filter = Filter::new([mesh::RELAY_PORT], [plan.http]);
    let mesh = Some(MeshConfig { agent, address, tls, filter, told, sought, outgoing });
    let listen_port = Some(plan.port);
    Ok(PlaneConfig { private_key: keys.secret, listen_port, mtu: MTU, peers: Vec::new(), mesh })
}

/// Starts the thread; what it can't have, it says at once.
pub(super) async fn bring_up(plan: &Plan, config: PlaneConfig) -> Result<Handle> {
    let interface = plan.interface.clone();
    let address = plan.kept.membership.claims().address;
    let inside = MeshPrefix::of(&plan.kept.mesh());
    let (ready, readied) = oneshot::channel();
    let work = move || {
        let started = Tun::open(&interface).map_err(anyhow::Error::from).and_then(|tun| {
            let (plane, handle) = Plane::new(config, tun)?;
            let network = dress(&interface, address, inside)?;
            tracing::info!(interface, port = handle.port(), %address, "the mesh's network is up");
            Ok((plane, handle, network))
        });
        let (plane, network) = match started {
            Ok((plane, handle, network)) => {
                let _ = ready.send(Ok(handle));
                (plane, network)
            }
            Err(error) => return drop(ready.send(Err(error))),
        };
        if let Err(error) = plane.run() {
            let error = anyhow::Error::from(error);
            tracing::error!(error = format!("{error:#}"), "the data plane ended");
        }
        network.take_down();
    };
    std::thread::Builder::new().name("dataplane".to_owned()).spawn(work).context("a thread")?;
    readied.await.context("the data plane's thread ended")?
}

/// Gives the interface its address and the mesh's route.
pub(super) fn dress(interface: &str, address: Ula, inside: MeshPrefix) -> Result<Network> {
    let route = Prefix::new(IpAddr::V6(inside.network()), MeshPrefix::BITS)?;
    let mut network = Network::open(interface)?;
    let address = (IpAddr::V6(address.into()), 128);
    let dressed = network.bring_up(MTU, &[address]).and_then(|()| network.add_routes([route]));
    dressed.with_context(|| format!("interface {interface}"))?;
    Ok(network)
}
