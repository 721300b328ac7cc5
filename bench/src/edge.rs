//! A stream that is published at one place and watched at another: two namespaces with a cable between them, the origin and
//! a coordinator in one, a box of ours and nginx with a cache in the other.
//!
//! Our boxes take the network as it is (`mesh.mode = "external"`), so that no tunnel is measured here.

use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, Result, anyhow, ensure};

use crate::http::Connection;
use crate::m3u8::{self, Media};
use crate::plan::Plan;
use crate::process::Process;
use crate::publisher::Publisher;
use crate::servers;
use crate::source;
use crate::tunnel::{self, Lab, Side};

/// Where things listen, in their namespaces.
const SERVICE_PORT: u16 = 8443;
const HTTP_PORT: u16 = 8080;
const RTMP_PORT: u16 = 1935;
const CACHE_PORT: u16 = 8081;
/// Of boxes, for each other (docs/relay-protocol.md).
const BOX_PORT: u16 = 7468;
const CONNECT_LIMIT: Duration = Duration::from_millis(300);
/// From the beginning of a box until it is one of the mesh: several heartbeats, of a second each.
const JOINED: Duration = Duration::from_secs(3);
const TABLE: &str = "hits";

/// Everything ends in this order.
pub(crate) struct Stage {
    pub(crate) publisher: Publisher,
    pub(crate) ours: Option<Process>,
    pub(crate) peer: Process,
    origin: Process,
    _coordinator: Process,
    lab: Lab,
    dir: PathBuf,
    relayd: PathBuf,
}

/// The origin's place.
const ORIGIN: Side = Side::A;
/// That of both edges.
const EDGE: Side = Side::B;

pub(crate) const OURS: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST), HTTP_PORT);
pub(crate) const PEER: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST), CACHE_PORT);

fn address(side: Side) -> Ipv4Addr {
    match side {
        Side::A => Ipv4Addr::new(11, 0, 0, 1),
        Side::B => Ipv4Addr::new(11, 0, 0, 2),
    }
}

/// As in the multivariant playlist's address.
pub(crate) fn index() -> String {
    format!("/live/{}/index.m3u8", servers::stream_name(0))
}

impl Stage {
    /// With a line of so many Mbit/s from the origin, if one is named.
    pub(crate) fn set(plan: &Plan, kbps: u32, line_mbps: Option<u32>) -> Result<Stage> {
        let source = Arc::new(source::source(kbps, &plan.dir)?);
        let relayd = plan.relayd.clone();
        let coordinator = relayd.with_file_name("coordinator-lite");
        ensure!(coordinator.is_file(), "no {}", coordinator.display());
        let (lab, dir) = (Lab::new()?, servers::fresh(&plan.dir.join("edge"))?);
        for side in [ORIGIN, EDGE] {
            lab.ip(side, &["address", "add", &format!("{}/24", address(side)), "dev", "out"])?;
        }
        let service = serve(&lab, &coordinator, &dir)?;
        for (side, name) in [(ORIGIN, "origin"), (EDGE, "edge")] {
            join(&lab, &coordinator, &relayd, &dir, side, name)?;
        }
        let origin = relay(&lab, &relayd, &dir, ORIGIN, "origin")?;
        let peer = cache(&lab, &dir)?;
        count_hits(&lab)?;
        let (rtmp, name) = (SocketAddr::from((Ipv4Addr::LOCALHOST, RTMP_PORT)), servers::stream_name(0));
        let publish = move || Publisher::start(rtmp, &name, &source, Duration::ZERO);
        let publisher = inside(&lab, ORIGIN, publish)??;
        if let Some(mbps) = line_mbps {
            let rate = format!("{mbps}mbit");
            let mut tc = Command::new("tc");
            tc.args([
                "-n",
                &lab.namespace(ORIGIN),
                "qdisc",
                "replace",
                "dev",
                "out",
                "root",
                "tbf",
                "rate",
                &rate,
            ]);
            tunnel::run(tc.args(["burst", "16kb", "latency", "200ms"]))?;
        }
        Ok(Stage { publisher, ours: None, peer, origin, _coordinator: service, lab, dir, relayd })
    }

    /// Starts our edge anew, with nothing in it.
    pub(crate) fn cool(&mut self) -> Result<()> {
        self.ours = None;
        self.ours = Some(relay(&self.lab, &self.relayd, &self.dir, EDGE, "edge")?);
        std::thread::sleep(JOINED);
        Ok(())
    }

    /// Does something from where viewers of both edges are.
    pub(crate) fn at_edge<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> Result<T> + Send + 'static,
    ) -> Result<T> {
        inside(&self.lab, EDGE, work)?
    }

    /// The address of the media playlist, and what it says, once it has so many segments.
    pub(crate) fn playlist_at_edge(&mut self, segments_min: usize) -> Result<(String, Media)> {
        let lab = &self.lab;
        let ours = self.ours.as_mut().context("our edge does not run")?;
        ours.await_ready(|| {
            let look =
                move || fetch_playlist(OURS).ok().filter(|(_, media)| media.segments.len() >= segments_min);
            inside(lab, EDGE, look).ok()?
        })
    }

    /// The path of the newest part, when it is this one of its segment.
    pub(crate) fn newest_part(&mut self, part: u32) -> Result<String> {
        let lab = &self.lab;
        self.origin.await_ready(|| {
            let look = move || {
                let (playlist, media) =
                    fetch_playlist(SocketAddr::from((Ipv4Addr::LOCALHOST, HTTP_PORT))).ok()?;
                let next = (media.next.msn, media.next.part);
                // Asked so, it is cut part by part.
                let query = format!("{playlist}?_HLS_msn={}&_HLS_part={}", next.0, next.1);
                let server = SocketAddr::from((Ipv4Addr::LOCALHOST, HTTP_PORT));
                let media = m3u8::media(&Connection::open(server).ok()?.fetch_text(&query).ok()?);
                let newest = media.newest_part.filter(|_| media.next.part == part + 1)?;
                Some(m3u8::resolve(&playlist, &newest))
            };
            inside(lab, ORIGIN, look).ok()?
        })
    }

    /// Connections that were opened from the edges' place to the origin's, by either edge.
    pub(crate) fn hits(&self) -> Result<u64> {
        let name = self.lab.namespace(EDGE);
        let mut list = Command::new("ip");
        list.args(["netns", "exec", &name, "nft", "list", "counter", "inet", TABLE, "opened"]);
        let text =
            String::from_utf8_lossy(&list.output().context("could not start nft")?.stdout).into_owned();
        let packets = text.split_whitespace().skip_while(|word| *word != "packets").nth(1);
        packets.and_then(|packets| packets.parse().ok()).with_context(|| format!("no counter in: {text}"))
    }
}

fn inside<T: Send + 'static>(lab: &Lab, side: Side, work: impl FnOnce() -> T + Send + 'static) -> Result<T> {
    tunnel::inside(lab, side, None, work)?.join().map_err(|_| anyhow!("a thread in a namespace panicked"))
}

fn fetch_playlist(server: SocketAddr) -> Result<(String, Media)> {
    let mut connection = Connection::open(server)?;
    let text = connection.fetch_text(&index())?;
    let playlist = m3u8::resolve(&index(), m3u8::variant(&text).context("no variant")?);
    let media = m3u8::media(&connection.fetch_text(&playlist)?);
    Ok((playlist, media))
}

fn words(words: &[&str]) -> Vec<String> {
    words.iter().map(|word| (*word).to_owned()).collect()
}

fn text(path: &Path) -> String {
    path.to_string_lossy().into_owned()
}

/// What `ip` has to be told so that a program runs in a namespace.
fn in_namespace(lab: &Lab, side: Side, program: &Path) -> Vec<String> {
    words(&["netns", "exec", &lab.namespace(side), &text(program)])
}

fn answers(lab: &Lab, side: Side, at: SocketAddr) -> Option<()> {
    let connect = move || TcpStream::connect_timeout(&at, CONNECT_LIMIT).ok().map(drop);
    inside(lab, side, connect).ok()?
}

/// A program that does something and ends; what it says.
fn ask(lab: &Lab, side: Side, program: &Path, args: &[String]) -> Result<String> {
    let mut command = Command::new("ip");
    let said = command.args(in_namespace(lab, side, program)).args(args).output();
    let said = said.with_context(|| format!("could not start {}", program.display()))?;
    ensure!(said.status.success(), "{}: {}", program.display(), String::from_utf8_lossy(&said.stderr));
    Ok(String::from_utf8_lossy(&said.stdout).trim().to_owned())
}

fn kept(dir: &Path) -> Vec<String> {
    words(&["--data-dir", &text(&dir.join("service")), "--root-dir", &text(&dir.join("operator"))])
}

fn serve(lab: &Lab, coordinator: &Path, dir: &Path) -> Result<Process> {
    let at = SocketAddr::from((address(ORIGIN), SERVICE_PORT));
    ask(
        lab,
        ORIGIN,
        coordinator,
        &[words(&["init", "--url", &format!("https://{at}")]), kept(dir)].concat(),
    )?;
    let mut args = in_namespace(lab, ORIGIN, coordinator);
    args.extend(words(&["serve", "--heartbeat-s", "1", "--listen", &at.to_string()]));
    args.extend(words(&["--data-dir", &text(&dir.join("service"))]));
    let mut service = Process::start("coordinator-lite", Path::new("ip"), &args, dir)?;
    service.await_ready(|| answers(lab, ORIGIN, at))?;
    Ok(service)
}

fn join(lab: &Lab, coordinator: &Path, relayd: &Path, dir: &Path, side: Side, name: &str) -> Result<()> {
    let invite = [words(&["invite", "--name", name, "--quiet"]), kept(dir)].concat();
    let invite = ask(lab, ORIGIN, coordinator, &invite)?;
    let own = text(&servers::fresh(&dir.join(name))?);
    ask(lab, side, relayd, &words(&["join", &invite, "--data-dir", &own])).map(drop)
}

/// A box of the mesh; the origin's has the stream's key.
fn relay(lab: &Lab, relayd: &Path, dir: &Path, side: Side, name: &'static str) -> Result<Process> {
    let own = dir.join(name);
    let config = own.join("relayd.toml");
    let media = if side == ORIGIN { "" } else { "[media]\npackager = \"/bin/true\"\n" };
    let settings = "[mesh]\nmode = \"external\"\ninterface = \"out\"\n[relay]\nguard_line = false\n";
    std::fs::write(&config, format!("{media}{settings}")).context("could not write relayd.toml")?;
    let mut args = in_namespace(lab, side, relayd);
    args.extend(words(&[
        "run",
        "--rtmp",
        &format!("[::]:{RTMP_PORT}"),
        "--http",
        &format!("[::]:{HTTP_PORT}"),
    ]));
    args.extend(words(&["--config", &text(&config), "--data-dir", &text(&own)]));
    if side == ORIGIN {
        let stream = servers::stream_name(0);
        args.extend(words(&["--stream", &format!("{stream}:{stream}")]));
    }
    let mut process = Process::start(name, Path::new("ip"), &args, dir)?;
    let at = SocketAddr::from((Ipv4Addr::LOCALHOST, HTTP_PORT));
    process.await_ready(|| answers(lab, side, at))?;
    Ok(process)
}

/// nginx with one worker, which asks the origin once for whatever many want.
fn cache(lab: &Lab, dir: &Path) -> Result<Process> {
    let dir = servers::fresh(&dir.join("nginx"))?;
    let (place, origin) = (dir.display(), SocketAddr::from((address(ORIGIN), HTTP_PORT)));
    let temporary: String = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"]
        .map(|kind| format!("    {kind}_temp_path {place}/{kind};\n"))
        .concat();
    let config = format!(
        "user root;\ndaemon off;\nworker_processes 1;\nworker_rlimit_nofile 8192;\npid {place}/pid;
error_log {place}/error.log error;
events {{ worker_connections 4096; }}
http {{
{temporary}    access_log off;\n    sendfile on;\n    tcp_nopush on;\n    tcp_nodelay on;
    keepalive_requests 1000000000;
    proxy_cache_path {place}/cache levels=1:2 keys_zone=edge:10m max_size=1g inactive=10m use_temp_path=off;
    server {{ listen 127.0.0.1:{CACHE_PORT}; location / {{
        proxy_pass http://{origin}; proxy_cache edge; proxy_cache_valid 200 10m;
        proxy_cache_lock on; proxy_cache_lock_timeout 30s; proxy_cache_lock_age 30s; }} }}
}}
"
    );
    let file = dir.join("nginx.conf");
    std::fs::write(&file, config).context("could not write nginx.conf")?;
    let mut args = in_namespace(lab, EDGE, Path::new("nginx"));
    args.extend(words(&["-p", &text(&dir), "-c", &text(&file)]));
    let mut process = Process::start("nginx", Path::new("ip"), &args, &dir)?;
    process.await_ready(|| answers(lab, EDGE, PEER))?;
    Ok(process)
}

/// By the answers to what opens a connection: what was not answered was no hit.
fn count_hits(lab: &Lab) -> Result<()> {
    let rules = format!(
        "add table inet {TABLE}; add counter inet {TABLE} opened; \
         add chain inet {TABLE} input {{ type filter hook input priority -10; policy accept; }}; \
         add rule inet {TABLE} input iifname out tcp sport {{ {BOX_PORT}, {HTTP_PORT} }} \
         tcp flags & (syn | ack) == syn | ack counter name opened"
    );
    let mut nft = Command::new("ip");
    tunnel::run(nft.args(["netns", "exec", &lab.namespace(EDGE), "nft", &rules]))
}
