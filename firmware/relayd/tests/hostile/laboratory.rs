//! A box under test: a real `relayd` on ports of its own, with its own directory, ended with the test.

use std::fs;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

/// What a condition may take to become true on a loaded machine.
const PATIENCE: Duration = Duration::from_secs(30);

pub(crate) struct Laboratory {
    relayd: Child,
    pub(crate) dir: PathBuf,
    pub(crate) rtmp: SocketAddr,
    pub(crate) http: SocketAddr,
}

pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) head: String,
    pub(crate) body: Vec<u8>,
}

impl Answer {
    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }
}

impl Laboratory {
    /// With one stream, `demo`, whose key is `secret`; `settings` is appended to its settings file.
    pub(crate) fn start(settings: &str) -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let dir = std::env::temp_dir().join(format!("relaybox-test-{}-{number}", std::process::id()));
        fs::create_dir_all(&dir).unwrap();
        fs::write(dir.join("relayd.toml"), format!("standalone = true\n{settings}")).unwrap();
        let (relayd, rtmp, http) = Self::spawn(&dir);
        Self { relayd, dir, rtmp, http }
    }

    fn spawn(dir: &Path) -> (Child, SocketAddr, SocketAddr) {
        let addresses = dir.join("addresses.json");
        let _ = fs::remove_file(&addresses);
        let log = fs::File::options().create(true).append(true).open(dir.join("log")).unwrap();
        let relayd = Command::new(env!("CARGO_BIN_EXE_relayd"))
            .args([
                "run",
                "--rtmp",
                "127.0.0.1:0",
                "--http",
                "127.0.0.1:0",
                "--stream",
                "demo:secret",
                "--config",
            ])
            .arg(dir.join("relayd.toml"))
            .arg("--data-dir")
            .arg(dir)
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .unwrap();
        let found = until("the box listens", || {
            let text = fs::read_to_string(&addresses).ok()?;
            let json: serde_json::Value = serde_json::from_str(&text).ok()?;
            let address = |key: &str| json[key].as_str()?.parse().ok();
            Some((address("rtmp")?, address("http")?))
        });
        (relayd, found.0, found.1)
    }

    /// Ends the box as a power cut would, and starts it again on new ports.
    pub(crate) fn restart(&mut self) {
        self.relayd.kill().unwrap();
        self.relayd.wait().unwrap();
        (self.relayd, self.rtmp, self.http) = Self::spawn(&self.dir);
    }

    /// The process that packages, once it runs.
    pub(crate) fn packager(&self) -> u32 {
        let children = format!("/proc/{0}/task/{0}/children", self.relayd.id());
        until("the packager runs", || {
            // Children are listed under the thread that started them.
            let tasks = fs::read_dir(format!("/proc/{}/task", self.relayd.id())).ok()?;
            let listed = tasks.filter_map(|task| fs::read_to_string(task.ok()?.path().join("children")).ok());
            listed
                .chain(fs::read_to_string(&children).ok())
                .find_map(|text| text.split(' ').next()?.parse().ok())
        })
    }

    pub(crate) fn get(&self, path: &str) -> Answer {
        let mut socket = TcpStream::connect(self.http).unwrap();
        socket.set_read_timeout(Some(PATIENCE)).unwrap();
        let request = format!("GET {path} HTTP/1.1\r\nHost: {}\r\nConnection: close\r\n\r\n", self.http);
        socket.write_all(request.as_bytes()).unwrap();
        let mut answer = Vec::new();
        socket.read_to_end(&mut answer).unwrap();
        let split = answer.windows(4).position(|four| four == b"\r\n\r\n").unwrap();
        let head = String::from_utf8_lossy(&answer[..split]).into_owned();
        let status = head.split(' ').nth(1).unwrap().parse().unwrap();
        let mut body = answer[split + 4..].to_vec();
        if head.to_ascii_lowercase().contains("transfer-encoding: chunked") {
            body = unchunk(&body);
        }
        Answer { status, head, body }
    }

    /// The body of a path that must be there.
    pub(crate) fn fetch(&self, path: &str) -> Vec<u8> {
        let answer = self.get(path);
        assert_eq!(answer.status, 200, "{path}: {}\n{}", answer.text(), self.log());
        answer.body
    }

    pub(crate) fn log(&self) -> String {
        fs::read_to_string(self.dir.join("log")).unwrap_or_default()
    }
}

impl Drop for Laboratory {
    fn drop(&mut self) {
        let _ = self.relayd.kill();
        let _ = self.relayd.wait();
        if !std::thread::panicking() {
            let _ = fs::remove_dir_all(&self.dir);
        }
    }
}

/// Waits until the condition gives something.
pub(crate) fn until<T>(what: &str, mut condition: impl FnMut() -> Option<T>) -> T {
    let start = Instant::now();
    loop {
        if let Some(found) = condition() {
            return found;
        }
        assert!(start.elapsed() < PATIENCE, "waited in vain until {what}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

fn unchunk(mut data: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    while let Some(end) = data.windows(2).position(|two| two == b"\r\n") {
        let size = usize::from_str_radix(std::str::from_utf8(&data[..end]).unwrap(), 16).unwrap();
        if size == 0 {
            break;
        }
        out.extend_from_slice(&data[end + 2..end + 2 + size]);
        data = &data[end + 4 + size..];
    }
    out
}
