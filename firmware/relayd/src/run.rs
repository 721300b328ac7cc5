//! `relayd run`: opens the doors, wires the rooms, and waits for a signal.

use std::fs;
use std::io::IsTerminal;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::{Arc, OnceLock};
use std::time::Instant;

use anyhow::{Context, Result, bail};
use clap::Parser;
use dataplane::Outgoing;
use media::{Packager, PackagerConfig};
use serde::Serialize;
use store::{Store, StoreConfig};
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;
use wire::heartbeat::StreamReport;

use crate::admission::Admission;
use crate::announce::{Service, announce};
use crate::backstage::Office;
use crate::carry::Carriers;
use crate::control::kept::{self, Kept};
use crate::control::report::{self, Doings};
use crate::control::seek::Seeks;
use crate::control::steward::Steward;
use crate::control::talk::Told;
use crate::front::Front;
use crate::giving::Giving;
use crate::inside::{Door, Meters, Neighbourhood};
use crate::intake::Intake;
use crate::joined::joined;
use crate::publish::{Greeting, Roster};
use crate::pull::{PullFragment, Pulls};
use crate::secrets::{keys, replace};
use crate::settings::{Fragment, HttpFragment, IngestFragment, Settings, Standalone};
use crate::status::unix_ms;
use crate::watchdog::{self, Pulse, Watchdog};
use crate::{carry, control, inside, network, setup, tls};

#[derive(Debug, Parser)]
pub(crate) struct Args {
    /// Settings in TOML; flags override them.
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// No coordinator and no mesh: this box alone.
    #[arg(long)]
    standalone: bool,
    /// Where keys, the PIN and sequence numbers are kept.
    #[arg(long, value_name = "DIR")]
    data_dir: Option<PathBuf>,
    #[arg(long, value_name = "ADDR")]
    rtmp: Option<SocketAddr>,
    #[arg(long, value_name = "ADDR")]
    rtmps: Option<SocketAddr>,
    #[arg(long, value_name = "ADDR")]
    http: Option<SocketAddr>,
    #[arg(long, value_name = "ADDR")]
    https: Option<SocketAddr>,
    /// A stream of this box; without KEY one is made and kept.
    #[arg(long, value_name = "NAME[:KEY]")]
    stream: Vec<String>,
    /// A stream to take from another server: rtmp(s)://HOST/APP/STREAM or http(s)://HOST/....m3u8
    #[arg(long, value_name = "NAME=URL")]
    pull: Vec<String>,
}

/// Where the box listens, for people and programs: `addresses.json` in the data directory.
#[derive(Debug, Serialize)]
struct Addresses {
    rtmp: SocketAddr,
    rtmps: Option<SocketAddr>,
    http: SocketAddr,
    https: Option<SocketAddr>,
}

pub(crate) fn run(args: Args) -> Result<()> {
    let filter = tracing_subscriber::EnvFilter::try_from_default_env().unwrap_or_else(|_| "info".into());
    // It warns of each bad packet, of which a server that is pulled from may send any number.
    let filter = filter.add_directive("mpeg2ts_reader=off".parse().context("a directive")?);
    let colours = std::io::stderr().is_terminal();
    tracing_subscriber::fmt().with_env_filter(filter).with_ansi(colours).with_writer(std::io::stderr).init();
    let (settings, given) = settings(args)?;
    loop {
        let runtime =
            tokio::runtime::Builder::new_multi_thread().enable_all().build().context("the runtime")?;
        let ended = runtime.block_on(serve(&settings, &given));
        // Blocking calls that are left over must not hold up the end.
        runtime.shutdown_timeout(std::time::Duration::from_secs(1));
        match ended? {
            End::Asked => return Ok(()),
            End::Joined => tracing::info!("this box came into a mesh, and begins anew as a member"),
        }
    }
}

/// Why it serves no more.
enum End {
    /// By a signal.
    Asked,
    /// It was by itself until it joined, and is a member.
    Joined,
}

/// The settings, and the keys that stood on the command line.
fn settings(args: Args) -> Result<(Settings, Vec<(String, String)>)> {
    let mut given = Vec::new();
    let mut streams = Vec::new();
    for stream in args.stream {
        match stream.split_once(':') {
            None => streams.push(stream),
            Some((name, key)) => {
                given.push((name.to_owned(), key.to_owned()));
                streams.push(name.to_owned());
            }
        }
    }
    if !args.pull.is_empty() {
        tracing::warn!("an address on the command line can be read by every user of this machine");
    }
    let pull = args.pull.iter().map(|said| PullFragment::flag(said)).collect::<Result<_>>()?;
    let flags = Fragment {
        standalone: args.standalone.then_some(Standalone::Yes),
        data_dir: args.data_dir,
        ingest: IngestFragment { rtmp: args.rtmp, rtmps: args.rtmps, ..IngestFragment::default() },
        http: HttpFragment { http: args.http, https: args.https, ..HttpFragment::default() },
        streams,
        pull,
        ..Fragment::default()
    };
    Ok((Settings::read(args.config.as_deref(), flags)?, given))
}

async fn serve(settings: &Settings, given: &[(String, String)]) -> Result<End> {
    let data_dir = &settings.data_dir;
    fs::create_dir_all(data_dir).with_context(|| format!("making {}", data_dir.display()))?;
    ensure_place(settings)?;
    let keys = keys(settings, given)?;
    let (pin, is_new) = setup::pin(settings)?;
    if is_new {
        println!(
            "The PIN of this box is {}. It is kept in {}.",
            pin.expose(),
            data_dir.join("pin").display()
        );
    }
    let numbers = data_dir.join("numbers");
    let kept = match &settings.cache_dir {
        None => StoreConfig::in_ram(numbers),
        Some(directory) => StoreConfig::on_disk(numbers, directory.clone()),
    };
    let config = StoreConfig { box_bytes_max: settings.box_bytes_max, limits: settings.window, ..kept };
    let store = Arc::new(Store::open(config).context("opening the store")?);
    for name in keys.names() {
        store.live(name).with_context(|| format!("stream {name}"))?;
    }
    let config = PackagerConfig {
        registry: Some(data_dir.join("gstreamer-registry.bin")),
        ..PackagerConfig::new(settings.packager()?)
    };
    let intake = Intake::start()?;
    let packager = {
        let _there = intake.handle().enter();
        Packager::new(config)
    };
    let roster = Arc::new(Roster::new(keys, Arc::clone(&store), packager, settings.cutter));
    let pulls = Arc::new(Pulls::open(&settings.pulls, settings.ingest)?);
    let pulse = Pulse::default();
    let lobby = Arc::new(Lobby::new(settings)?);
    let member = match settings.standalone {
        Standalone::Yes => None,
        Standalone::No | Standalone::UntilJoined => member(settings, &roster, &pulse, &lobby).await?,
    };
    let admission = Arc::new(admission(settings, member.as_ref())?);
    let _ = lobby.admission.set(Arc::clone(&admission));
    let carrying = match &member {
        Some((_, plan)) => Some(carrying(settings, plan, &store)?),
        None => None,
    };
    if let Some((carriers, _)) = &carrying {
        let _ = lobby.carriers.set(Arc::clone(carriers));
    }
    if let (Some((carriers, _)), Some((_, plan))) = (&carrying, &member) {
        roster.greet(greeting(carriers, &admission, plan));
    }
    let pin = Arc::new(setup::Pin::new(pin));
    let doors = Doors::open(settings, &intake).await?;
    let _ = lobby.front.http.set(doors.addresses.http);
    let office = Office {
        name: settings.name.clone(),
        roster: Arc::clone(&roster),
        admission,
        carriers: carrying.as_ref().map(|(carriers, _)| Arc::clone(carriers)),
        pulls: Arc::clone(&pulls),
        notices: settings.notices.clone(),
        setup: setup::Desk::new(settings, Arc::clone(&pin)),
        pin,
        started: Instant::now(),
        rtmp: doors.addresses.rtmp,
        rtmps: doors.addresses.rtmps,
        https: doors.addresses.https,
    };
    let policy = serve::Policy {
        hosts: settings.hosts.clone(),
        api_open: settings.api_open,
        metrics_open: settings.metrics_open,
    };
    let limits = serve::Limits::default();
    let server = Arc::new(serve::Server::new(Arc::clone(&store), Arc::new(office), policy, limits));
    let member = member.map(|(steward, plan)| Membership { steward, plan, carrying });
    // They have no door of their own, and end with the set.
    let mut pulling = tokio::task::JoinSet::new();
    pulls.begin(&roster, &mut pulling, intake.handle());
    let ended = doors.attend(settings, roster, server, &intake, member, pulse).await;
    drop(pulling);
    drop(intake);
    store.close();
    ended
}

/// A box is by itself because somebody said so, or belongs to a mesh.
fn ensure_place(settings: &Settings) -> Result<()> {
    if settings.standalone != Standalone::No || Kept::read(&kept::directory(&settings.data_dir))?.is_some() {
        return Ok(());
    }
    bail!(
        "this box belongs to no mesh: bring it into one with `relayd join INVITE`, or run it by itself with --standalone \
         (standalone = true in the settings)"
    )
}

/// The talk with the coordinator and the network, of a box that belongs to a mesh.
async fn member(
    settings: &Settings,
    roster: &Arc<Roster>,
    pulse: &Pulse,
    lobby: &Arc<Lobby>,
) -> Result<Option<(Steward, network::Plan)>> {
    let doings = Doings { streams: streams(settings, roster, lobby)?, front: Arc::clone(&lobby.front) };
    let (told, tells) = watch::channel(Told::default());
    let Some((steward, heard)) = Steward::open(&settings.data_dir, doings, tells).await? else {
        return Ok(None);
    };
    let meters = Meters::default();
    let plan = network::Plan {
        seeks: Seeks::open(steward.second_desk()?, meters.clone()),
        meters,
        dir: kept::directory(&settings.data_dir),
        mode: settings.mesh_mode,
        interface: settings.mesh_interface.clone(),
        port: settings.mesh_port,
        relay: settings.relays,
        http: settings.http.port(),
        kept: steward.kept().clone(),
        hour: steward.hour().clone(),
        heard,
        told,
        neighbourhood: watch::Sender::new(Neighbourhood::default()),
        outgoing: Outgoing::default(),
        pulse: pulse.clone(),
    };
    Ok(Some((steward, plan)))
}

/// What a box of a mesh runs besides.
struct Membership {
    steward: Steward,
    plan: network::Plan,
    carrying: Option<(Arc<Carriers>, Door)>,
}

/// Taking streams of other boxes, and giving one's own.
fn carrying(settings: &Settings, plan: &network::Plan, store: &Arc<Store>) -> Result<(Arc<Carriers>, Door)> {
    let neighbourhood = plan.neighbourhood.subscribe();
    let (inside, door) = inside::open(neighbourhood, plan.meters.clone(), plan.seeks.clone());
    let carriers = Carriers::new(carry::Parts {
        store: Arc::clone(store),
        kept: plan.kept.clone(),
        hour: plan.hour.clone(),
        heard: plan.heard.clone(),
        told: plan.told.subscribe(),
        inside,
        keys: control::keys::Keys::open(&plan.dir)?,
        giving: Arc::new(Giving::open(&settings.data_dir, settings.upload_bps_max)?),
        guarded: settings.guards_line,
        outgoing: plan.outgoing.clone(),
    })?;
    Ok((carriers, door))
}

/// What a publication means to the mesh: it is signed, and the coordinator hears of it at once.
fn greeting(carriers: &Arc<Carriers>, admission: &Arc<Admission>, plan: &network::Plan) -> Greeting {
    let (coming, begins, admission) = (Arc::clone(carriers), Arc::clone(carriers), Arc::clone(admission));
    let told = plan.told.clone();
    Greeting {
        coming: Box::new(move |name| coming.yield_to_publisher(name)),
        begins: Box::new(move |live| match admission.secret(live.name()) {
            Ok(secret) => begins.origins.sign(live, &secret, admission.access(live.name())),
            Err(error) => {
                tracing::error!(
                    error = format!("{error:#}"),
                    "the stream has no key: other boxes won't take it"
                );
            }
        }),
        changed: Arc::new(move || told.send_modify(|told| told.publications += 1)),
    }
}

/// What heartbeats tell of before it is all there.
struct Lobby {
    front: Arc<Front>,
    admission: OnceLock<Arc<Admission>>,
    carriers: OnceLock<Arc<Carriers>>,
}

impl Lobby {
    fn new(settings: &Settings) -> Result<Self> {
        let kept = match settings.standalone {
            Standalone::Yes => None,
            Standalone::No | Standalone::UntilJoined => Kept::read(&kept::directory(&settings.data_dir))?,
        };
        let mesh = kept.map(|kept| (settings.mesh_interface.clone(), kept.membership.claims().address));
        let front = Front { public: settings.public_url.clone(), mesh, http: OnceLock::new() };
        Ok(Self { front: Arc::new(front), admission: OnceLock::new(), carriers: OnceLock::new() })
    }
}

/// By the time of the mesh, where there is one.
fn admission(settings: &Settings, member: Option<&(Steward, network::Plan)>) -> Result<Admission> {
    match member {
        Some((steward, plan)) => {
            let hour = steward.hour().clone();
            let heard = plan.heard.clone();
            let admission =
                Admission::open(settings, Some(steward.kept().mesh()), Box::new(move || hour.now()))?;
            Ok(admission.with_watch_page(move || heard.borrow().watch.clone()))
        }
        None => Admission::open(settings, None, Box::new(|| report::seconds(unix_ms()))),
    }
}

/// What heartbeats tell of the streams that are published here.
fn streams(settings: &Settings, roster: &Arc<Roster>, lobby: &Arc<Lobby>) -> Result<report::Streams> {
    let Some(kept) = Kept::read(&kept::directory(&settings.data_dir))? else { return Ok(Box::new(Vec::new)) };
    let (owner, roster, lobby) = (*kept.key(), Arc::clone(roster), Arc::clone(lobby));
    Ok(Box::new(move || {
        let lives = roster.store().lives();
        let own = lives.iter().filter(|live| roster.keys().key(live.name()).is_some()).filter_map(|live| {
            let slot = roster.slot(live.name());
            let facts = slot.status.facts();
            Some(StreamReport {
                name: live.name().clone(),
                owner,
                live_since: report::seconds(facts.since_unix_ms.filter(|_| facts.publishing)?),
                bitrate_bps: facts.bitrate_bps,
                viewers: u32::try_from(live.viewers()).unwrap_or(u32::MAX),
                access: lobby.admission.get()?.access(live.name()),
                key: lobby.carriers.get().and_then(|carriers| carriers.key(live.name())),
            })
        });
        let carried = lobby.carriers.get().map(|carriers| carriers.carried()).unwrap_or_default();
        let carried = carried.into_iter().map(|(name, owner, live)| StreamReport {
            name,
            owner,
            live_since: trust::UnixSeconds::new(0),
            bitrate_bps: 0,
            viewers: u32::try_from(live.viewers()).unwrap_or(u32::MAX),
            access: trust::Access::default(),
            key: None,
        });
        let reports = own.chain(carried);
        reports.collect()
    }))
}

/// The open ports.
struct Doors {
    addresses: Addresses,
    rtmp: TcpListener,
    rtmps: Option<TcpListener>,
    http: TcpListener,
    https: Option<TcpListener>,
}

impl Doors {
    async fn open(settings: &Settings, intake: &Intake) -> Result<Self> {
        let publishers = intake.handle();
        let (rtmp, rtmp_at) = publishers.spawn(listen("rtmp", settings.rtmp)).await??;
        let (http, http_at) = listen("http", settings.http).await?;
        let rtmps = publishers.spawn(listen_if("rtmps", settings.rtmps)).await??;
        let https = listen_if("https", settings.https).await?;
        let addresses = Addresses {
            rtmp: rtmp_at,
            rtmps: rtmps.as_ref().map(|(_, at)| *at),
            http: http_at,
            https: https.as_ref().map(|(_, at)| *at),
        };
        let json = serde_json::to_vec(&addresses).context("writing down the addresses")?;
        let path = settings.data_dir.join("addresses.json");
        // For programs on this machine, and nothing that is served depends on it.
        if fs::read(&path).is_ok_and(|before| before == json) {
            tracing::debug!("the addresses are the same as before");
        } else if let Err(error) = replace(&path, &json, 0o644) {
            tracing::error!(
                error = format!("{error:#}"),
                "programs on this machine are not told the addresses"
            );
        }
        Ok(Self { addresses, rtmp, rtmps: rtmps.map(|(l, _)| l), http, https: https.map(|(l, _)| l) })
    }

    /// Serves until a signal comes or a door falls shut.
    async fn attend(
        self,
        settings: &Settings,
        roster: Arc<Roster>,
        server: Arc<serve::Server>,
        intake: &Intake,
        member: Option<Membership>,
        pulse: Pulse,
    ) -> Result<End> {
        let waits = settings.standalone == Standalone::UntilJoined && member.is_none();
        // A fault in the control plane never stops a stream: it has a task of its own, which nobody waits for.
        let mut control = tokio::task::JoinSet::new();
        let mut carried = None;
        if let Some(Membership { steward, plan, carrying }) = member {
            control.spawn(steward.run());
            control.spawn(network::run(plan));
            if let Some((carriers, door)) = carrying {
                carried = Some(Arc::clone(&carriers));
                control.spawn(carriers.receive(door));
            }
        }
        let mut tasks = tokio::task::JoinSet::new();
        let services = [
            Service { kind: "_rtmp._tcp.local.", at: self.addresses.rtmp, path: "/live" },
            Service { kind: "_http._tcp.local.", at: self.addresses.http, path: "/" },
        ];
        let announced = announce(&settings.name, &services).unwrap_or_else(|error| {
            tracing::warn!(error = format!("{error:#}"), "the box can't be found by its name");
            None
        });
        if self.rtmps.is_some() || self.https.is_some() {
            let acceptors = tls::acceptors(settings)?;
            if let Some(listener) = self.rtmps {
                let desk = Arc::clone(&roster) as _;
                let serving = ingest::serve(listener, Some(acceptors.rtmp), desk, settings.ingest);
                tasks.spawn_on(serving, intake.handle());
            }
            if let Some(listener) = self.https {
                tasks.spawn(serve::serve_https(listener, acceptors.http, Arc::clone(&server)));
            }
        }
        tasks.spawn_on(ingest::serve(self.rtmp, None, roster, settings.ingest), intake.handle());
        tasks.spawn(serve::serve_http(self.http, server));
        let mut terminate = signal(SignalKind::terminate()).context("signals")?;
        watchdog::ready();
        control.spawn(Watchdog { http: self.addresses.http, intake: intake.handle().clone(), pulse }.run());
        tokio::select! {
            _ = tokio::signal::ctrl_c() => {}
            _ = terminate.recv() => {}
            () = joined(&settings.data_dir), if waits => return Ok(End::Joined),
            ended = tasks.join_next() => bail!("a server task ended: {ended:?}"),
        }
        drop(announced);
        watchdog::ending();
        tracing::info!("ends");
        if let Some(carriers) = carried {
            carriers.leave().await;
        }
        Ok(End::Asked)
    }
}

async fn listen(what: &'static str, address: SocketAddr) -> Result<(TcpListener, SocketAddr)> {
    let listener = TcpListener::bind(address).await.with_context(|| {
        format!("opening {address} for {what}: is another program using it? Choose with --{what}")
    })?;
    let at = listener.local_addr().context("the port just opened")?;
    tracing::info!(what, address = %at, "listening");
    Ok((listener, at))
}

async fn listen_if(
    what: &'static str,
    address: Option<SocketAddr>,
) -> Result<Option<(TcpListener, SocketAddr)>> {
    match address {
        Some(address) => listen(what, address).await.map(Some),
        None => Ok(None),
    }
}
