//! nginx as the server that is there already: takes RTMP, gives RTMP and HLS.

use std::fs;
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};

use crate::laboratory::until;

/// Where Debian puts nginx's RTMP module.
const RTMP_MODULE: &str = "/usr/lib/nginx/modules/ngx_rtmp_module.so";

pub(crate) struct Nginx {
    process: Child,
    dir: PathBuf,
    pub(crate) rtmp: SocketAddr,
    pub(crate) http: SocketAddr,
}

impl Nginx {
    pub(crate) fn start() -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let dir = std::env::temp_dir().join(format!("relaybox-nginx-{}-{number}", std::process::id()));
        fs::create_dir_all(dir.join("hls")).unwrap();
        let (rtmp, http) = (free(), free());
        fs::write(dir.join("nginx.conf"), config(&dir, rtmp, http)).unwrap();
        Self { process: spawn(&dir, rtmp, http), dir, rtmp, http }
    }

    /// As a power cut would.
    pub(crate) fn stop(&mut self) {
        self.process.kill().unwrap();
        self.process.wait().unwrap();
    }

    /// On the same ports.
    pub(crate) fn again(&mut self) {
        self.process = spawn(&self.dir, self.rtmp, self.http);
    }

    /// A file of ours among what it serves.
    pub(crate) fn place(&self, name: &str, text: &str) {
        fs::write(self.dir.join("hls").join(name), text).unwrap();
    }

    /// Where to publish, and where to take it from.
    pub(crate) fn url(&self, stream: &str) -> String {
        format!("rtmp://{}/live/{stream}", self.rtmp)
    }
}

impl Drop for Nginx {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
        let _ = fs::remove_dir_all(&self.dir);
    }
}

fn spawn(dir: &Path, rtmp: SocketAddr, http: SocketAddr) -> Child {
    let mut process = Command::new("nginx")
        .args(["-p", &dir.to_string_lossy(), "-c", &dir.join("nginx.conf").to_string_lossy()])
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    until("nginx listens", || {
        assert!(process.try_wait().unwrap().is_none(), "nginx ended: is libnginx-mod-rtmp there?");
        let listens = |address| TcpStream::connect(address).is_ok();
        (listens(rtmp) && listens(http)).then_some(())
    });
    process
}

/// One process, so that killing it ends it.
fn config(dir: &Path, rtmp: SocketAddr, http: SocketAddr) -> String {
    let dir = dir.display();
    let temporary: String = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"]
        .map(|kind| format!("{kind}_temp_path {dir}/{kind};\n"))
        .concat();
    format!(
        "load_module {RTMP_MODULE};
daemon off; master_process off; pid {dir}/pid; error_log {dir}/error.log error;
events {{ worker_connections 256; }}
http {{ {temporary} access_log off; types {{ application/vnd.apple.mpegurl m3u8; video/mp2t ts; }}
  server {{ listen {http}; root {dir}/hls; location /away/ {{ rewrite ^/away/(.*)$ /$1 redirect; }} }} }}
rtmp {{ access_log off; server {{ listen {rtmp}; chunk_size 4096;
  application live {{ live on; hls on; hls_path {dir}/hls; hls_fragment 2s; hls_playlist_length 20s; }} }} }}
"
    )
}

/// An address that was free a moment ago: nginx can't choose one itself.
fn free() -> SocketAddr {
    TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap().local_addr().unwrap()
}
