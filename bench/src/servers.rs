//! Starting Relaybox and its peers on free ports of loopback, each with what it needs and nothing more.

use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};
use serde::Deserialize;

use crate::process::Process;

/// Where Debian puts nginx's RTMP module.
const RTMP_MODULE: &str = "/usr/lib/nginx/modules/ngx_rtmp_module.so";
const CONNECT_LIMIT: Duration = Duration::from_millis(200);

/// A server that takes streams and gives them.
#[derive(Debug)]
pub(crate) struct Server {
    pub(crate) process: Process,
    pub(crate) rtmp: SocketAddr,
    pub(crate) http: SocketAddr,
    /// Ends after the process, in order of the fields.
    pub(crate) root: Option<Root>,
}

/// What nginx serves, removed with the server.
#[derive(Debug)]
pub(crate) struct Root(PathBuf);

impl Root {
    pub(crate) fn place(&self, name: &str, bytes: &[u8]) -> Result<()> {
        std::fs::write(self.0.join(name), bytes).with_context(|| format!("could not place {name}"))
    }
}

impl Drop for Root {
    fn drop(&mut self) {
        std::fs::remove_dir_all(&self.0).ok();
    }
}

#[derive(Deserialize)]
struct Addresses {
    rtmp: SocketAddr,
    http: SocketAddr,
}

/// The name of stream `number`, and its key as well.
pub(crate) fn stream_name(number: usize) -> String {
    format!("s{number}")
}

pub(crate) fn relayd(binary: &Path, dir: &Path, streams: usize) -> Result<Server> {
    let dir = fresh(&dir.join("relayd"))?;
    let mut args: Vec<String> =
        ["run", "--standalone", "--rtmp", "127.0.0.1:0", "--http", "127.0.0.1:0"].map(str::to_owned).into();
    args.extend(["--data-dir".to_owned(), dir.to_string_lossy().into_owned()]);
    for number in 0..streams {
        let name = stream_name(number);
        args.extend(["--stream".to_owned(), format!("{name}:{name}")]);
    }
    let mut process = Process::start("relayd", binary, &args, &dir)?;
    let Addresses { rtmp, http } = process.await_ready(|| {
        let text = std::fs::read(dir.join("addresses.json")).ok()?;
        serde_json::from_slice(&text).ok()
    })?;
    Ok(Server { process, rtmp, http, root: None })
}

/// nginx with one worker and sendfile; with `rtmp` it takes streams and cuts HLS of 2 s over the same 60 s that we
/// keep. Files that it serves lie on the disk's file system, from whose page cache sendfile is cheapest; those that it
/// writes lie on one in memory if there is one.
pub(crate) fn nginx(dir: &Path, rtmp: bool) -> Result<Server> {
    let dir = fresh(&dir.join("nginx"))?;
    let memory = Path::new("/dev/shm");
    let root = if rtmp && memory.is_dir() {
        memory.join(format!("relaybox-bench-{}", std::process::id()))
    } else {
        dir.join("root")
    };
    let root = Root(fresh(&root)?);
    let (rtmp_port, http_port) = (free_port()?, free_port()?);
    let config = nginx_config(&dir, &root.0, http_port, rtmp.then_some(rtmp_port));
    let file = dir.join("nginx.conf");
    std::fs::write(&file, config).context("could not write nginx.conf")?;
    let args = ["-p", &text(&dir), "-c", &text(&file)].map(str::to_owned);
    let mut process = Process::start("nginx", Path::new("nginx"), &args, &dir)?;
    let (rtmp, http) = listening(&mut process, rtmp.then_some(rtmp_port), http_port)?;
    Ok(Server { process, rtmp, http, root: Some(root) })
}

fn nginx_config(dir: &Path, root: &Path, http: u16, rtmp: Option<u16>) -> String {
    let (dir, root) = (dir.display(), root.display());
    let user = if rustix::process::geteuid().is_root() { "user root;\n" } else { "" };
    let (module, rtmp) = match rtmp {
        None => (String::new(), String::new()),
        Some(port) => (
            format!("load_module {RTMP_MODULE};\n"),
            format!(
                "rtmp {{ access_log off; server {{ listen 127.0.0.1:{port}; chunk_size 4096; application live {{
                live on; hls on; hls_path {root}; hls_fragment 2s; hls_playlist_length 60s; }} }} }}\n"
            ),
        ),
    };
    let temporary: String = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"]
        .map(|kind| format!("    {kind}_temp_path {dir}/{kind};\n"))
        .concat();
    format!(
        "{module}{user}daemon off;\nworker_processes 1;\npid {dir}/pid;\nerror_log {dir}/error.log error;
events {{ worker_connections 1024; }}
http {{
{temporary}    access_log off;\n    sendfile on;\n    tcp_nopush on;\n    tcp_nodelay on;
    keepalive_requests 1000000000;
    types {{ application/vnd.apple.mpegurl m3u8; video/mp4 mp4; }}
    server {{ listen 127.0.0.1:{http}; root {root}; }}
}}
{rtmp}"
    )
}

/// node-media-server from the npm lock file beside this crate, installed below `dir`.
pub(crate) fn node_media_server(manifest_dir: &Path, dir: &Path) -> Result<Server> {
    let dir = dir.join("node-media-server");
    std::fs::create_dir_all(&dir).with_context(|| format!("could not make {}", dir.display()))?;
    for file in ["package.json", "package-lock.json"] {
        let from = manifest_dir.join("node-media-server").join(file);
        std::fs::copy(&from, dir.join(file)).with_context(|| format!("no {}", from.display()))?;
    }
    let program = dir.join("node_modules/node-media-server/bin/app.js");
    if !program.is_file() {
        let mut npm = Command::new("npm");
        npm.args(["ci", "--ignore-scripts", "--no-audit", "--no-fund"])
            .current_dir(&dir)
            .stdin(Stdio::null());
        ensure!(npm.status().context("could not start npm")?.success(), "npm ci failed");
    }
    let (rtmp, http) = (free_port()?, free_port()?);
    let config = serde_json::json!({
        "bind": "127.0.0.1",
        "auth": { "play": false, "publish": false, "secret": "unused" },
        "store": { "path": dir.join("data"), "maxHistory": 100 },
        "rtmp": { "port": rtmp },
        "http": { "port": http },
    });
    let file = dir.join("config.json");
    std::fs::write(&file, config.to_string()).context("could not write config.json")?;
    let args = [text(&program), "--no-admin".to_owned(), "-c".to_owned(), text(&file)];
    let mut process = Process::start("node-media-server", Path::new("node"), &args, &dir)?;
    let (rtmp, http) = listening(&mut process, Some(rtmp), http)?;
    Ok(Server { process, rtmp, http, root: None })
}

fn listening(process: &mut Process, rtmp: Option<u16>, http: u16) -> Result<(SocketAddr, SocketAddr)> {
    let answers = |port| TcpStream::connect_timeout(&local(port), CONNECT_LIMIT).is_ok();
    process.await_ready(|| (answers(http) && rtmp.is_none_or(answers)).then_some(()))?;
    Ok((local(rtmp.unwrap_or_default()), local(http)))
}

fn local(port: u16) -> SocketAddr {
    SocketAddr::from((Ipv4Addr::LOCALHOST, port))
}

/// A port that was free a moment ago, for servers that can't choose one themselves.
fn free_port() -> Result<u16> {
    let listener = TcpListener::bind(local(0)).context("no free port")?;
    Ok(listener.local_addr().context("no free port")?.port())
}

pub(crate) fn fresh(dir: &Path) -> Result<PathBuf> {
    if dir.exists() {
        std::fs::remove_dir_all(dir).with_context(|| format!("could not empty {}", dir.display()))?;
    }
    std::fs::create_dir_all(dir).with_context(|| format!("could not make {}", dir.display()))?;
    Ok(dir.to_owned())
}

fn text(path: &Path) -> String {
    path.to_string_lossy().into_owned()
}

/// What the peers call themselves, for the report.
pub(crate) fn versions() -> Result<String> {
    let said = Command::new("nginx").arg("-v").output().context("could not start nginx")?;
    let nginx = String::from_utf8_lossy(&said.stderr).trim().replace("nginx version: nginx/", "nginx ");
    let module = Command::new("dpkg-query")
        .args(["--show", "--showformat", "nginx-rtmp ${Version}", "libnginx-mod-rtmp"])
        .output()
        .context("could not start dpkg-query")?;
    let node = Command::new("node").arg("--version").output().context("could not start node")?;
    if !Path::new(RTMP_MODULE).is_file() {
        bail!("nginx's RTMP module is missing: {RTMP_MODULE}");
    }
    let words = |bytes: &[u8]| String::from_utf8_lossy(bytes).trim().to_owned();
    Ok(format!("{nginx}, {}, Node.js {}", words(&module.stdout), words(&node.stdout)))
}
