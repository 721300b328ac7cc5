//! `serve`: the service. Its first start needs nothing but a mesh, which only the operator can make.

use std::io::IsTerminal as _;
use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use clap::Parser;
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};
use tokio_rustls::TlsAcceptor;
use trust::Revocations;
use trust::ticket::CoordinatorUrl;
use wire::WatchUrl;

use crate::http::Terms;
use crate::hub::Hub;
use crate::relay::{Budget, Relay};
use crate::service::{self, Service};
use crate::store::{Database, FILE, Store};
use crate::stun::Stun;
use crate::{clock, file, http, watchdog};

#[derive(Debug, Parser)]
pub(crate) struct Args {
    #[command(flatten)]
    data: crate::DataDir,
    /// [::] and the port that `setup` was told, or 8443, when nothing is said.
    #[arg(long, value_name = "ADDR")]
    listen: Option<SocketAddr>,
    /// Where boxes learn from which address they are seen (STUN, UDP): two ports, on each of the machine's addresses that
    /// are named.
    #[arg(long, value_name = "ADDR,ADDR", value_delimiter = ',', default_value = "[::]:3478,[::]:3479")]
    stun: Vec<SocketAddr>,
    #[command(flatten)]
    budget: Budget,
    /// Boxes in the map of each box; it hears of others when it asks for them.
    #[arg(long, value_name = "N", default_value_t = 256, value_parser = clap::value_parser!(u16).range(1..=256))]
    map_boxes_max: u16,
    /// Where boxes reach the service, as it stands in invites; kept for later starts.
    #[arg(long, value_name = "https://HOST[:PORT]")]
    url: Option<CoordinatorUrl>,
    #[command(flatten)]
    viewers: WatchArgs,
    /// Seconds between the heartbeats of a box.
    #[arg(long, default_value_t = 15, value_parser = clap::value_parser!(u32).range(1..=50), hide = true)]
    heartbeat_s: u32,
    /// Do not count the attempts of strangers: for tests that make thousands.
    #[arg(long, hide = true)]
    uncounted: bool,
}

/// A door for viewers.
#[derive(Debug, clap::Args)]
struct WatchArgs {
    /// The watch page on a door of its own: plain HTTP, unless a certificate is given.
    #[arg(long, value_name = "ADDR")]
    watch: Option<SocketAddr>,
    /// PEM files of that door.
    #[arg(long, value_name = "FILE", requires_all = ["watch_key", "watch"])]
    watch_certificate: Option<PathBuf>,
    #[arg(long, value_name = "FILE", requires = "watch_certificate")]
    watch_key: Option<PathBuf>,
    /// Where viewers reach the watch page; boxes put it into the links that streamers make.
    #[arg(long, value_name = "http[s]://HOST[:PORT]")]
    watch_url: Option<WatchUrl>,
}

impl WatchArgs {
    fn acceptor(&self) -> Result<Option<TlsAcceptor>> {
        match (&self.watch_certificate, &self.watch_key) {
            (Some(certificate), Some(key)) => http::acceptor_of(certificate, key).map(Some),
            _ => Ok(None),
        }
    }

    async fn open(&self, dir: &std::path::Path) -> Result<Option<TcpListener>> {
        let Some(address) = self.watch else { return Ok(None) };
        let listener = TcpListener::bind(address).await.with_context(|| {
            format!("opening {address} for viewers: is another program using it? Choose with --watch")
        })?;
        let at = listener.local_addr().context("the port just opened")?;
        file::replace(&dir.join("watch"), format!("{at}\n").as_bytes(), file::ALL)?;
        println!("Viewers are served at {at}, below /watch/.");
        Ok(Some(listener))
    }
}

pub(crate) fn run(args: Args) -> Result<()> {
    let filter = tracing_subscriber::EnvFilter::try_from_default_env().unwrap_or_else(|_| "info".into());
    let colours = std::io::stderr().is_terminal();
    tracing_subscriber::fmt().with_env_filter(filter).with_ansi(colours).with_writer(std::io::stderr).init();
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().context("the runtime")?;
    let result = runtime.block_on(serve(args));
    runtime.shutdown_timeout(Duration::from_secs(1));
    result
}

async fn serve(args: Args) -> Result<()> {
    let dir = &args.data.data_dir;
    let service = Service::open(dir)?;
    let now = clock::now();
    if now < clock::EARLIEST {
        bail!("the clock says {now}: set it first, since boxes take the time from here");
    }
    if let Err(error) = service.mesh.coordinator(now, &Revocations::new()) {
        tracing::error!(error = format!("{error:#}"), "boxes will not believe this coordinator");
    }
    let path = dir.join(FILE);
    let opened = Database::open_existing(&path, now);
    let database = opened.with_context(|| format!("opening {}", path.display()))?;
    let listen = match args.listen {
        Some(listen) => listen,
        None => SocketAddr::from((Ipv6Addr::UNSPECIFIED, service::port(dir)?)),
    };
    let listener = TcpListener::bind(listen)
        .await
        .with_context(|| format!("opening {listen}: is another program using it? Choose with --listen"))?;
    let at = listener.local_addr().context("the port just opened")?;
    let stun = Stun::open(&args.stun)?;
    service::set_stun_ports(dir, stun.ports())?;
    let url = url(&args, at)?;
    let store = Store::start(database).context("starting the database's thread")?;
    let acceptor = http::acceptor(&service)?;
    let token = service.token()?;
    let hub = Arc::new(Hub::start(service, store, args.map_boxes_max.into()).await?);
    let terms = Terms {
        heartbeat_s: args.heartbeat_s,
        stun_ports: stun.ports().clone(),
        watch: args.viewers.watch_url.clone(),
    };
    let relay = Arc::new(Relay::new(args.budget));
    let app = Arc::new(http::App::new(Arc::clone(&hub), relay, token, terms, !args.uncounted));
    let viewers = args.viewers.open(dir).await?;
    let viewers_tls = args.viewers.acceptor()?;
    let watch_router = http::watch_router(Arc::clone(&app));
    let watching = async move {
        match viewers {
            Some(listener) => http::serve(listener, viewers_tls, watch_router).await,
            None => std::future::pending().await,
        }
    };
    file::replace(&dir.join("listen"), format!("{at}\n").as_bytes(), file::ALL)?;
    tracing::info!(address = %at, url = %url, mesh = %hub.service.mesh.id(), "serving");
    println!(
        "Serving at {at}. Invites name {url}; the operator's page is https://localhost:{}/operator",
        at.port()
    );
    let udp: Vec<String> = stun.ports().iter().map(u16::to_string).collect();
    println!("Boxes outside need TCP {} and UDP {}.", at.port(), udp.join(", "));
    let mut terminate = signal(SignalKind::terminate()).context("signals")?;
    let pin = service::pin(dir)?;
    watchdog::ready();
    tokio::select! {
        () = watchdog::watch(&hub, at, pin) => {}
        () = http::serve(listener, Some(acceptor), http::router(app)) => bail!("the listener ended"),
        () = watching => bail!("the viewers' listener ended"),
        () = stun.serve() => bail!("answering STUN ended"),
        () = hub.watch() => bail!("the watch over the database ended"),
        _ = tokio::signal::ctrl_c() => {}
        _ = terminate.recv() => {}
    }
    watchdog::ending();
    tracing::info!("ends");
    Ok(())
}

/// As given, as kept, or as this machine calls itself.
fn url(args: &Args, at: SocketAddr) -> Result<CoordinatorUrl> {
    let dir = &args.data.data_dir;
    let url = match (&args.url, service::url(dir)?) {
        (Some(url), _) => url.clone(),
        (None, Some(url)) => return Ok(url),
        (None, None) => guess(at)?,
    };
    service::set_url(dir, &url)?;
    Ok(url)
}

fn guess(at: SocketAddr) -> Result<CoordinatorUrl> {
    let host = match at.ip() {
        ip if ip.is_unspecified() => {
            rustix::system::uname().nodename().to_string_lossy().to_ascii_lowercase()
        }
        IpAddr::V4(ip) => ip.to_string(),
        IpAddr::V6(ip) => format!("[{ip}]"),
    };
    let url = format!("https://{host}:{}", at.port());
    let parsed = url.parse();
    if at.ip().is_unspecified() {
        tracing::warn!(
            url,
            "invites will name this address: if boxes can't reach it from outside, say --url"
        );
    }
    parsed.with_context(|| format!("{url} can't stand in an invite: say --url"))
}
