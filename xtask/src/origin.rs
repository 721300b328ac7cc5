//! One relayd of our own for a demo or a test: started on free ports, awaited, ended.

use std::net::{IpAddr, SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use serde::Deserialize;

use crate::child::Child;
use crate::command;
use crate::stop::Stop;

/// How long a daemon may take until it listens.
const START_LIMIT: Duration = Duration::from_secs(20);

/// The name of the one stream.
pub(crate) const STREAM: &str = "demo";

#[derive(Debug)]
pub(crate) struct Origin {
    pub(crate) child: Child,
    pub(crate) addresses: Addresses,
    pub(crate) key: String,
    pub(crate) log: PathBuf,
}

/// What relayd writes into its data folder once it listens.
#[derive(Clone, Debug, Deserialize, PartialEq, Eq)]
pub(crate) struct Addresses {
    pub(crate) rtmp: SocketAddr,
    pub(crate) http: SocketAddr,
}

impl Origin {
    /// Starts relayd with one stream and waits until it listens. Port 0 lets the system choose.
    pub(crate) fn start(
        relayd: &Path,
        data_dir: &Path,
        rtmp: SocketAddr,
        http: SocketAddr,
        stop: &Stop,
    ) -> Result<Origin> {
        Origin::start_as(data_dir, rtmp, http, START_LIMIT, stop, |arguments| {
            let mut daemon = command::program(relayd);
            daemon.args(arguments);
            daemon
        })
    }

    /// The same for a daemon that is not simply a program of this machine: `program` makes the command from the
    /// arguments.
    pub(crate) fn start_as(
        data_dir: &Path,
        rtmp: SocketAddr,
        http: SocketAddr,
        limit: Duration,
        stop: &Stop,
        program: impl FnOnce(&[String]) -> Command,
    ) -> Result<Origin> {
        std::fs::create_dir_all(data_dir)
            .with_context(|| format!("could not make {}", data_dir.display()))?;
        let file = data_dir.join("addresses.json");
        // Left by an earlier run it would tell of ports that are no more.
        std::fs::remove_file(&file).ok();
        let key = stream_key(data_dir)?;
        let log = data_dir.join("relayd.log");
        let arguments =
            format!("run --standalone --rtmp {rtmp} --http {http} --stream {STREAM}:{key} --data-dir");
        let mut arguments: Vec<String> = arguments.split(' ').map(str::to_owned).collect();
        arguments.push(data_dir.to_string_lossy().into_owned());
        let mut child = Child::start("relayd", &program(&arguments), &log)?;
        let mut addresses = None;
        stop.wait_until(limit, || {
            addresses = std::fs::read(&file).ok().and_then(|text| serde_json::from_slice(&text).ok());
            addresses.is_some() || child.ended().is_some()
        });
        let Some(addresses) = addresses else {
            return Err(child.failure().context("relayd does not listen"));
        };
        Ok(Origin { child, addresses, key, log })
    }

    /// Where the test picture is published to, from this machine.
    pub(crate) fn publish_url(&self) -> String {
        format!("rtmp://{}/live/{}", local(self.addresses.rtmp), self.key)
    }

    /// Where this machine reads from.
    pub(crate) fn http_url(&self) -> String {
        format!("http://{}", local(self.addresses.http))
    }
}

/// The same port on an address that can be connected to.
pub(crate) fn local(address: SocketAddr) -> SocketAddr {
    let ip = match address.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => IpAddr::from([127, 0, 0, 1]),
        IpAddr::V6(ip) if ip.is_unspecified() => IpAddr::from([0, 0, 0, 0, 0, 0, 0, 1]),
        ip @ (IpAddr::V4(_) | IpAddr::V6(_)) => ip,
    };
    SocketAddr::new(ip, address.port())
}

/// An address for a listener that was asked for by name, or a free one near the usual.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Wish {
    Exactly(SocketAddr),
    Usually(SocketAddr),
}

impl Wish {
    pub(crate) fn new(asked: Option<SocketAddr>, usual: SocketAddr) -> Wish {
        asked.map_or(Wish::Usually(usual), Wish::Exactly)
    }

    /// The address, or port 0 with a word about it when the usual port is taken.
    pub(crate) fn settle(self, what: &str) -> Result<SocketAddr> {
        match self {
            Wish::Exactly(address) => {
                TcpListener::bind(address).with_context(|| format!("{what} can't listen on {address}"))?;
                Ok(address)
            }
            Wish::Usually(usual) => match TcpListener::bind(usual) {
                Ok(_) => Ok(usual),
                Err(error) => {
                    eprintln!("{what}: {usual} is not free ({error}), so it takes another port");
                    Ok(SocketAddr::new(usual.ip(), 0))
                }
            },
        }
    }
}

/// The stream's key: made once per data folder, so that OBS can keep it.
fn stream_key(data_dir: &Path) -> Result<String> {
    let path = data_dir.join("demo.key");
    if let Ok(key) = std::fs::read_to_string(&path) {
        return Ok(key);
    }
    let mut seed = [0_u8; 9];
    let mut random = std::fs::File::open("/dev/urandom").context("no randomness")?;
    std::io::Read::read_exact(&mut random, &mut seed).context("no randomness")?;
    let key: String = seed.iter().map(|byte| format!("{byte:02x}")).collect();
    write_private(&path, &key)?;
    Ok(key)
}

fn write_private(path: &Path, text: &str) -> Result<()> {
    use std::io::Write as _;
    use std::os::unix::fs::OpenOptionsExt as _;
    let file = std::fs::OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(path);
    let mut file = file.with_context(|| format!("could not write {}", path.display()))?;
    file.write_all(text.as_bytes()).with_context(|| format!("could not write {}", path.display()))
}

/// The address under which others on the home network reach this machine, if it is on one. Nothing is sent.
pub(crate) fn home_address() -> Option<IpAddr> {
    let socket = std::net::UdpSocket::bind("0.0.0.0:0").ok()?;
    // An address of RFC 5737: connecting a datagram socket only picks the way out.
    socket.connect("192.0.2.1:9").ok()?;
    let ip = socket.local_addr().ok()?.ip();
    (!ip.is_loopback() && !ip.is_unspecified()).then_some(ip)
}

/// The process ids of the children of this one.
pub(crate) fn children_of(pid: u32) -> Result<Vec<u32>> {
    let mut ids = Vec::new();
    let tasks = PathBuf::from(format!("/proc/{pid}/task"));
    for task in std::fs::read_dir(&tasks).with_context(|| format!("process {pid} is gone"))? {
        // A thread may end while we look.
        let Ok(list) = std::fs::read_to_string(task?.path().join("children")) else { continue };
        for word in list.split_whitespace() {
            ids.push(word.parse().with_context(|| format!("odd process id {word}"))?);
        }
    }
    if ids.len() > 64 {
        bail!("process {pid} has {} children", ids.len());
    }
    Ok(ids)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_usual_port_gives_way_and_the_asked_one_does_not() {
        let taken = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = taken.local_addr().unwrap();
        assert_eq!(Wish::Usually(address).settle("RTMP").unwrap().port(), 0);
        let error = Wish::Exactly(address).settle("RTMP").unwrap_err();
        assert!(error.to_string().contains(&address.to_string()), "{error}");
    }

    #[test]
    fn this_machine_reaches_a_daemon_that_listens_everywhere() {
        assert_eq!(local("0.0.0.0:8080".parse().unwrap()), "127.0.0.1:8080".parse().unwrap());
        assert_eq!(local("[::]:8080".parse().unwrap()), "[::1]:8080".parse().unwrap());
        assert_eq!(local("192.0.2.7:8080".parse().unwrap()), "192.0.2.7:8080".parse().unwrap());
    }

    #[test]
    fn addresses_are_read_as_the_daemon_writes_them() {
        let text = r#"{"rtmp":"127.0.0.1:1935","http":"127.0.0.1:8080","rtmps":null,"https":null}"#;
        let read: Addresses = serde_json::from_str(text).unwrap();
        assert_eq!(read.http, "127.0.0.1:8080".parse().unwrap());
    }
}
