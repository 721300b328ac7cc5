//! The box's end of the relay against the real coordinator. `coordinator-lite` and `relayd` have to be built beside this
//! test's own binary; `cargo xtask test` does so.

use std::net::Ipv6Addr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Instant;

use trust::Ula;

use super::*;
use crate::control::hour::Hour;
use crate::control::kept::{self, Kept};
use crate::control::keys::Keys;

/// What has to come, comes within this time.
const PATIENCE: Duration = Duration::from_secs(30);

struct House {
    dir: PathBuf,
    service: Option<Child>,
}

/// A box with its task running, and the data plane's half of its pair.
struct Bridged {
    address: Ula,
    half: UnixDatagram,
    connected: watch::Receiver<bool>,
    task: tokio::task::JoinHandle<()>,
}

fn program(name: &str) -> Command {
    let own = std::env::current_exe().unwrap();
    let program = own.parent().unwrap().parent().unwrap().join(name);
    assert!(program.is_file(), "{} is missing: cargo build -p {name}", program.display());
    let mut command = Command::new(program);
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null());
    command
}

fn done(command: &mut Command) -> String {
    let output = command.stderr(Stdio::inherit()).output().unwrap();
    assert!(output.status.success(), "{command:?}");
    String::from_utf8(output.stdout).unwrap().trim().to_owned()
}

impl House {
    fn running(name: &str) -> Self {
        let dir = std::env::temp_dir().join(format!("relay-{name}-{}", std::process::id()));
        let _ = std::fs::remove_dir_all(&dir);
        std::fs::create_dir_all(&dir).unwrap();
        let mut house = Self { dir, service: None };
        done(program("coordinator-lite").arg("init").args(house.data_dir()).args(house.root_dir()));
        house.start();
        house
    }

    fn data_dir(&self) -> [PathBuf; 2] {
        ["--data-dir".into(), self.dir.join("service")]
    }

    fn root_dir(&self) -> [PathBuf; 2] {
        ["--root-dir".into(), self.dir.join("operator")]
    }

    /// At the address that it had before.
    fn start(&mut self) {
        let listen = self.dir.join("service/listen");
        let before = std::fs::read_to_string(&listen).unwrap_or_else(|_| "127.0.0.1:0".into());
        let _ = std::fs::remove_file(&listen);
        let mut serve = program("coordinator-lite");
        serve.arg("serve").args(self.data_dir()).args(["--listen", before.trim()]);
        serve.args(["--stun", "127.0.0.1:0,127.0.0.1:0"]).stdout(Stdio::null());
        self.service = Some(serve.spawn().unwrap());
        let began = Instant::now();
        while !Path::new(&listen).is_file() {
            assert!(began.elapsed() < PATIENCE, "the service does not begin");
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    fn kill(&mut self) {
        let mut service = self.service.take().unwrap();
        service.kill().unwrap();
        service.wait().unwrap();
    }

    /// Joins a box, and starts its bridge.
    async fn bridged(&self, name: &str) -> Bridged {
        let mut invite = program("coordinator-lite");
        invite.arg("invite").args(self.data_dir()).args(self.root_dir()).args(["--name", name, "--quiet"]);
        let data = self.dir.join(name);
        done(program("relayd").args(["join", &done(&mut invite), "--data-dir"]).arg(&data));
        let dir = kept::directory(&data);
        let kept = Kept::read(&dir).unwrap().unwrap();
        let identity = Keys::open(&dir).unwrap().identity;
        let mesh = kept.mesh();
        let address = kept.membership.claims().address;
        let desk = Desk::new(kept.url, kept.pin, identity, mesh, Hour::new(&dir, 0)).unwrap();
        let (ours, theirs) = StdDatagram::pair().unwrap();
        theirs.set_nonblocking(true).unwrap();
        let half = UnixDatagram::from_std(theirs).unwrap();
        let (relay, connected) = Relay::new(desk, ours).unwrap();
        let mut bridged = Bridged { address, half, connected, task: tokio::spawn(relay.run()) };
        bridged.until(true).await;
        bridged
    }
}

impl Drop for House {
    fn drop(&mut self) {
        if let Some(mut service) = self.service.take() {
            let _ = service.kill();
            let _ = service.wait();
        }
        let _ = std::fs::remove_dir_all(&self.dir);
    }
}

impl Bridged {
    async fn until(&mut self, state: bool) {
        let changed = self.connected.wait_for(|connected| *connected == state);
        timeout(PATIENCE, changed).await.expect("a change of the line").unwrap();
    }

    /// As the data plane does: without waiting.
    fn try_send(&self, to: Ula, datagram: &[u8]) -> io::Result<usize> {
        self.half.try_send(&[&Ipv6Addr::from(to).octets(), datagram].concat())
    }

    async fn send(&self, to: Ula, datagram: &[u8]) {
        timeout(PATIENCE, self.half.writable()).await.unwrap().unwrap();
        self.try_send(to, datagram).unwrap();
    }

    async fn next(&self) -> (Ula, Vec<u8>) {
        let mut bytes = vec![0; 2000];
        let length = timeout(PATIENCE, self.half.recv(&mut bytes)).await.expect("a datagram").unwrap();
        let (address, datagram) = bytes[..length].split_at(16);
        let address: [u8; 16] = address.try_into().unwrap();
        (Ula::try_from(Ipv6Addr::from(address)).unwrap(), datagram.to_vec())
    }
}

impl Drop for Bridged {
    fn drop(&mut self) {
        self.task.abort();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn datagrams_go_from_data_plane_to_data_plane() {
    let house = House::running("both");
    let (ana, bob) = (house.bridged("ana").await, house.bridged("bob").await);
    for length in [1, 148, 1600] {
        let datagram = vec![length as u8; length];
        ana.send(bob.address, &datagram).await;
        assert_eq!(bob.next().await, (ana.address, datagram.clone()));
        bob.send(ana.address, &datagram).await;
        assert_eq!(ana.next().await, (bob.address, datagram));
    }
    // What can't be relayed ends nothing.
    ana.send(bob.address, &[7; 1601]).await;
    ana.send(bob.address, &[]).await;
    ana.send(bob.address, b"after").await;
    assert_eq!(bob.next().await, (ana.address, b"after".to_vec()));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_data_plane_that_takes_nothing_stops_nothing() {
    let house = House::running("full");
    let (ana, bob) = (house.bridged("ana").await, house.bridged("bob").await);
    for _ in 0..2000 {
        // Also this end may be full for a moment.
        match ana.try_send(bob.address, &[7; 1400]) {
            Err(error) => assert_eq!(error.kind(), io::ErrorKind::WouldBlock),
            Ok(length) => assert_eq!(length, 1416),
        }
    }
    bob.send(ana.address, b"still here").await;
    assert_eq!(ana.next().await, (bob.address, b"still here".to_vec()));
    assert_eq!(bob.next().await, (ana.address, vec![7; 1400]));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_line_comes_back_with_the_coordinator() {
    let mut house = House::running("back");
    let (mut ana, mut bob) = (house.bridged("ana").await, house.bridged("bob").await);
    house.kill();
    ana.until(false).await;
    bob.until(false).await;
    for _ in 0..100 {
        ana.send(bob.address, b"too early").await;
    }
    house.start();
    ana.until(true).await;
    bob.until(true).await;
    ana.send(bob.address, b"back").await;
    assert_eq!(bob.next().await, (ana.address, b"back".to_vec()));
}
