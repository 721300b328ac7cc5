//! A mesh in a scratch directory: one coordinator, an operator, and boxes. Everything ends when it is dropped.

use std::fs::{self, File};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

/// A condition comes true within this time, or the test fails. Machines may be busy.
const PATIENCE: Duration = Duration::from_secs(30);

pub(crate) struct House {
    pub(crate) dir: PathBuf,
    service: Option<Child>,
}

/// Waits for what has to come true, and says how long it took.
pub(crate) fn wait_for<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> (T, Duration) {
    let start = Instant::now();
    loop {
        if let Some(found) = look() {
            return (found, start.elapsed());
        }
        assert!(start.elapsed() < PATIENCE, "waited in vain for {what}");
        std::thread::sleep(Duration::from_millis(10));
    }
}

pub(crate) fn text(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

fn coordinator() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_coordinator-lite"));
    command.stdin(Stdio::null());
    command
}

/// Beside the directory in which cargo puts test binaries.
fn relayd() -> Command {
    let own = std::env::current_exe().unwrap();
    let relayd = own.parent().unwrap().parent().unwrap().join("relayd");
    assert!(relayd.is_file(), "{} is missing: cargo build -p relayd", relayd.display());
    let mut command = Command::new(relayd);
    command.stdin(Stdio::null());
    command
}

impl House {
    /// A mesh that was made, with nothing running.
    pub(crate) fn made(name: &str) -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        let dir = std::env::temp_dir().join(format!("mesh-{name}-{}-{count}", std::process::id()));
        let _ = fs::remove_dir_all(&dir);
        fs::create_dir_all(&dir).unwrap();
        let house = Self { dir, service: None };
        let made = house.operate(&["init"], &[]);
        assert!(made.status.success(), "{}", text(&made));
        house
    }

    pub(crate) fn running(name: &str) -> Self {
        let mut house = Self::made(name);
        house.start();
        house
    }

    pub(crate) fn data_dir(&self) -> PathBuf {
        self.dir.join("service")
    }

    pub(crate) fn root_dir(&self) -> PathBuf {
        self.dir.join("operator")
    }

    pub(crate) fn box_dir(&self, name: &str) -> PathBuf {
        self.dir.join(format!("box-{name}"))
    }

    /// A command of the operator that knows both directories.
    pub(crate) fn operate(&self, command: &[&str], rest: &[&str]) -> Output {
        let mut run = coordinator();
        run.args(command).arg("--data-dir").arg(self.data_dir());
        run.arg("--root-dir").arg(self.root_dir()).args(rest);
        run.output().unwrap()
    }

    /// A command that does without the root.
    pub(crate) fn look(&self, command: &[&str], rest: &[&str]) -> Output {
        coordinator().args(command).arg("--data-dir").arg(self.data_dir()).args(rest).output().unwrap()
    }

    /// Starts the service, at the address it had before.
    pub(crate) fn start(&mut self) {
        self.start_with(&[]);
    }

    pub(crate) fn start_with(&mut self, more: &[&str]) {
        let listen = self.data_dir().join("listen");
        let before = fs::read_to_string(&listen).unwrap_or_else(|_| "127.0.0.1:0".into());
        let _ = fs::remove_file(&listen);
        let log = File::options().create(true).append(true).open(self.dir.join("service.log")).unwrap();
        let service = coordinator()
            .args(["serve", "--heartbeat-s", "1", "--listen", before.trim()])
            .args(["--stun", "127.0.0.1:0,127.0.0.1:0", "--data-dir"])
            .arg(self.data_dir())
            .args(more)
            .stdout(log.try_clone().unwrap())
            .stderr(log)
            .spawn()
            .unwrap();
        self.service = Some(service);
        wait_for("the service", || {
            let ended = self.service.as_mut().unwrap().try_wait().unwrap();
            assert!(ended.is_none(), "the service ended: {}", self.log());
            let at: SocketAddr = fs::read_to_string(&listen).ok()?.trim().parse().ok()?;
            std::net::TcpStream::connect(at).ok()
        });
    }

    /// As a power cut would.
    pub(crate) fn kill(&mut self) {
        let mut service = self.service.take().unwrap();
        service.kill().unwrap();
        service.wait().unwrap();
    }

    pub(crate) fn log(&self) -> String {
        fs::read_to_string(self.dir.join("service.log")).unwrap_or_default()
    }

    pub(crate) fn address(&self) -> SocketAddr {
        fs::read_to_string(self.data_dir().join("listen")).unwrap().trim().parse().unwrap()
    }

    pub(crate) fn invite(&self, name: &str, rest: &[&str]) -> String {
        let rest = [&["--name", name, "--quiet"], rest].concat();
        let made = self.operate(&["invite"], &rest);
        assert!(made.status.success(), "{}", text(&made));
        String::from_utf8(made.stdout).unwrap().trim().to_owned()
    }

    /// `relayd join`, as the box of this name.
    pub(crate) fn join(&self, name: &str, invite: &str, rest: &[&str]) -> Output {
        self.joining(name, invite, rest).output().unwrap()
    }

    pub(crate) fn joining(&self, name: &str, invite: &str, rest: &[&str]) -> Command {
        let mut command = relayd();
        command.args(["join", invite, "--data-dir"]).arg(self.box_dir(name)).args(rest);
        command
    }

    pub(crate) fn joined(&self, name: &str) {
        let joined = self.join(name, &self.invite(name, &[]), &[]);
        assert!(joined.status.success(), "{}", text(&joined));
    }

    pub(crate) fn leave(&self, name: &str, rest: &[&str]) -> Output {
        relayd().args(["leave", "--data-dir"]).arg(self.box_dir(name)).args(rest).output().unwrap()
    }

    pub(crate) fn status(&self, name: &str) -> String {
        text(&relayd().args(["status", "--data-dir"]).arg(self.box_dir(name)).output().unwrap())
    }

    /// `relayd run` of a box that joined.
    pub(crate) fn run(&self, name: &str) -> Running {
        let dir = self.box_dir(name);
        let config = dir.join("relayd.toml");
        // No stream is published here, so the packager is never started.
        // The loopback interface is none that can be taken: the talk with the coordinator is what is tried here.
        fs::write(&config, "[media]\npackager = \"/bin/true\"\n[mesh]\ninterface = \"lo\"\n").unwrap();
        let log = dir.join("log");
        let out = File::options().create(true).append(true).open(&log).unwrap();
        let child = relayd()
            .args(["run", "--rtmp", "127.0.0.1:0", "--http", "127.0.0.1:0", "--config"])
            .arg(config)
            .arg("--data-dir")
            .arg(&dir)
            .env("RUST_LOG", "info,relayd=debug")
            .stdout(out.try_clone().unwrap())
            .stderr(out)
            .spawn()
            .unwrap();
        Running { child, log, dir }
    }
}

impl Drop for House {
    fn drop(&mut self) {
        if let Some(mut service) = self.service.take() {
            let _ = service.kill();
            let _ = service.wait();
        }
        if !std::thread::panicking() {
            let _ = fs::remove_dir_all(&self.dir);
        }
    }
}

/// A box that runs.
pub(crate) struct Running {
    child: Child,
    log: PathBuf,
    dir: PathBuf,
}

impl Running {
    pub(crate) fn log(&self) -> String {
        fs::read_to_string(&self.log).unwrap_or_default()
    }

    pub(crate) fn wait_for_log(&mut self, text: &str) -> Duration {
        let ((), took) = wait_for(text, || {
            let ended = self.child.try_wait().unwrap();
            assert!(ended.is_none(), "the box ended: {}", self.log());
            self.log().contains(text).then_some(())
        });
        took
    }

    pub(crate) fn mesh(&self) -> String {
        read(&self.dir.join("mesh/mesh.json"))
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

pub(crate) fn read(path: &Path) -> String {
    fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}
