//! `relayd tunnel`: the data plane alone, from an ordinary wg-quick file, until a signal.
//!
//! For people who have a WireGuard network already, for interop and for benches. It asks no coordinator for anything,
//! and it runs no commands from the file.

mod report;

use std::fs;
use std::io::IsTerminal as _;
use std::net::{SocketAddr, ToSocketAddrs as _};
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, anyhow};
use clap::Parser;
use dataplane::conf::{self, Conf, Endpoint, PeerConf};
use dataplane::{Handle, Network, PeerConfig, Plane, PlaneConfig, PublicKey, Tun};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::oneshot;
use tracing::{info, warn};

/// How often the state is said.
const REPORT_EVERY: Duration = Duration::from_secs(60);

/// How often a name is looked up again whose peer has not been heard of.
const LOOKUP_EVERY: Duration = Duration::from_secs(30);

/// After how long without a handshake a peer counts as not heard of: its sessions are dead by then.
const DEAF: Duration = Duration::from_secs(180);

#[derive(Debug, Parser)]
pub(crate) struct Args {
    /// A wg-quick file.
    conf: PathBuf,
    /// The interface to make or to take; the file's name without `.conf` if it is not given.
    #[arg(long, value_name = "NAME")]
    interface: Option<String>,
}

/// A peer whose place is a name.
#[derive(Clone)]
struct Named {
    peer: PeerConfig,
    host: String,
    port: u16,
}

pub(crate) fn run(args: Args) -> Result<()> {
    let filter = tracing_subscriber::EnvFilter::try_from_default_env()
        .unwrap_or_else(|_| "info,boringtun=error".into());
    let colours = std::io::stderr().is_terminal();
    tracing_subscriber::fmt().with_env_filter(filter).with_ansi(colours).with_writer(std::io::stderr).init();
    let name = interface(&args)?;
    let conf = read(&args.conf)?;
    for remark in &conf.remarks {
        warn!("{}: line {}: {}", args.conf.display(), remark.line, remark.text);
    }
    // Before the interface is there: a lookup shall not go through it.
    let (peers, named): (Vec<_>, Vec<_>) = conf.peers.iter().map(place).unzip();
    let named: Vec<Named> = named.into_iter().flatten().collect();
    let tun = Tun::open(&name)?;
    let config = PlaneConfig {
        private_key: conf.private_key.clone(),
        listen_port: conf.listen_port,
        mtu: conf.mtu,
        peers,
        mesh: None,
    };
    let (plane, handle) = Plane::new(config, tun)?;
    let mut network = Network::open(&name)?;
    let result = network
        .bring_up(conf.mtu, &conf.addresses)
        .and_then(|()| {
            network.add_routes(conf.peers.iter().flat_map(|peer| peer.allowed_ips.iter().copied()))
        })
        .with_context(|| format!("interface {name}"))
        .and_then(|()| {
            info!(
                interface = name,
                port = handle.port(),
                peers = conf.peers.len(),
                mtu = conf.mtu,
                "tunnel is up"
            );
            attend(plane, &handle, named)
        });
    network.take_down();
    result
}

/// Runs the data plane on a thread of its own until a signal comes or it ends by itself.
fn attend(plane: Plane, handle: &Handle, named: Vec<Named>) -> Result<()> {
    let (ended, mut end) = oneshot::channel();
    let thread = thread::Builder::new().name("dataplane".to_owned()).spawn(move || {
        let result = plane.run();
        // Whoever waits may have left on a signal.
        let _ = ended.send(());
        result
    });
    let thread = thread.context("starting the data plane")?;
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_all().build().context("the runtime")?;
    let watched = runtime.block_on(watch(handle, named, &mut end));
    if let Ok(snapshot) = runtime.block_on(handle.look()) {
        print!("{}", report::summary(&snapshot));
    }
    handle.stop();
    let result = thread.join().map_err(|_| anyhow!("the data plane panicked"))?;
    runtime.shutdown_background();
    watched?;
    result.context("the data plane")
}

/// Says how peers are, and looks names up again, until a signal or the end.
async fn watch(handle: &Handle, named: Vec<Named>, end: &mut oneshot::Receiver<()>) -> Result<()> {
    let mut terminate = signal(SignalKind::terminate()).context("the signal TERM")?;
    let mut interrupt = signal(SignalKind::interrupt()).context("the signal INT")?;
    let start = tokio::time::Instant::now();
    let mut report = tokio::time::interval_at(start + REPORT_EVERY, REPORT_EVERY);
    // A name that could not be looked up at the start is tried soon.
    let mut lookup = tokio::time::interval_at(start + Duration::from_secs(1), LOOKUP_EVERY);
    let started = Instant::now();
    loop {
        tokio::select! {
            _ = terminate.recv() => return Ok(()),
            _ = interrupt.recv() => return Ok(()),
            _ = &mut *end => return Ok(()),
            _ = report.tick() => {
                if let Ok(snapshot) = handle.look().await {
                    info!("{}", report::line(&snapshot, started.elapsed()));
                }
            }
            _ = lookup.tick(), if !named.is_empty() => {
                // Lookups may take long; signals don't wait for them.
                let (handle, named) = (handle.clone(), named.clone());
                tokio::spawn(look_up_again(handle, named));
            }
        }
    }
}

/// A peer that is not heard of may have another address by now.
async fn look_up_again(handle: Handle, named: Vec<Named>) {
    let Ok(snapshot) = handle.look().await else { return };
    for Named { peer, host, port } in named {
        let is_deaf = |key: PublicKey| {
            let found = snapshot.peers.iter().find(|stats| stats.public_key == key);
            found.is_some_and(|stats| stats.handshake_age.is_none_or(|age| age > DEAF))
        };
        if !is_deaf(peer.public_key) {
            continue;
        }
        let looked_up = tokio::task::spawn_blocking({
            let host = host.clone();
            move || look_up(&host, port)
        });
        match looked_up.await.context("looking up").flatten() {
            Ok(address) => {
                let peer = PeerConfig { endpoint: Some(address), ..peer };
                if let Err(error) = handle.update_peer(peer).await {
                    warn!(%error, host, "the peer's new place was not taken");
                }
            }
            Err(error) => warn!("{error:#}"),
        }
    }
}

fn interface(args: &Args) -> Result<String> {
    if let Some(name) = &args.interface {
        return Ok(name.clone());
    }
    let stem = args.conf.file_stem().and_then(|stem| stem.to_str());
    let stem = stem
        .ok_or_else(|| anyhow!("{} gives no name for the interface: give --interface", args.conf.display()));
    stem.map(str::to_owned)
}

fn read(path: &Path) -> Result<Conf> {
    let shown = path.display();
    let size = fs::metadata(path).with_context(|| format!("cannot read {shown}"))?.len();
    if size > conf::FILE_BYTES_MAX as u64 {
        return Err(anyhow!("{shown}: longer than {} bytes", conf::FILE_BYTES_MAX));
    }
    let text = fs::read_to_string(path).with_context(|| format!("cannot read {shown}"))?;
    conf::read(&text).map_err(|error| anyhow!("{shown}: {error}"))
}

/// A peer as the data plane wants it, and its name if it has one. A name that can't be looked up yet is tried again.
fn place(peer: &PeerConf) -> (PeerConfig, Option<Named>) {
    let (endpoint, name) = match &peer.endpoint {
        None => (None, None),
        Some(Endpoint::Address(address)) => (Some(*address), None),
        Some(Endpoint::Name(host, port)) => {
            let address =
                look_up(host, *port).inspect_err(|error| warn!("{error:#}: it is tried again")).ok();
            (address, Some((host.clone(), *port)))
        }
    };
    let config = PeerConfig {
        public_key: peer.public_key,
        preshared_key: peer.preshared_key.clone(),
        allowed_ips: peer.allowed_ips.clone(),
        endpoint,
        keepalive: peer.keepalive,
        mesh: None,
    };
    if let Some(inside) = endpoint
        .filter(|at| peer.allowed_ips.iter().any(|prefix| prefix.bits() > 0 && prefix.contains(at.ip())))
    {
        warn!(peer = %peer.public_key, "the endpoint {inside} lies inside the peer's own AllowedIPs: its route would go into the tunnel");
    }
    (config.clone(), name.map(|(host, port)| Named { peer: config, host, port }))
}

fn look_up(host: &str, port: u16) -> Result<SocketAddr> {
    let mut found = (host, port).to_socket_addrs().with_context(|| format!("looking up {host}"))?;
    found.next().ok_or_else(|| anyhow!("{host} has no address"))
}
