//! Two network namespaces with a cable between them, and tunnels in them.

use std::ffi::OsStr;
use std::fs::{self, File};
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Side {
    A,
    B,
}

pub(crate) struct Lab {
    name: String,
    dir: PathBuf,
}

pub(crate) struct Tunnel {
    child: Child,
    is_relayd: bool,
}

impl Lab {
    /// `None`, and a word about it, when this is not root or namespaces are forbidden even to root.
    pub(crate) fn new(name: &str) -> Option<Lab> {
        if !rustix::process::geteuid().is_root() || !Path::new("/dev/net/tun").exists() {
            println!("skipped: namespaces and /dev/net/tun need root");
            return None;
        }
        let name = format!("rb{}{name}", std::process::id());
        let (first, second) = (format!("{name}{:?}", Side::A), format!("{name}{:?}", Side::B));
        let mut add = Command::new("ip");
        if !add.args(["netns", "add", &first]).status().expect("ip of Debian's iproute2 runs").success() {
            println!("skipped: this machine makes no network namespaces");
            return None;
        }
        run("ip", &["netns", "add", &second]);
        let dir = std::env::temp_dir().join(&name);
        fs::create_dir_all(&dir).expect("a directory");
        let lab = Lab { name, dir };
        for side in [Side::A, Side::B] {
            lab.ip(side, &["link", "set", "lo", "up"]);
        }
        let (a, b) = (lab.namespace(Side::A), lab.namespace(Side::B));
        lab.ip(Side::A, &["link", "add", "out", "type", "veth", "peer", "name", "out", "netns", &b]);
        for (side, number) in [(Side::A, 1), (Side::B, 2)] {
            lab.ip(side, &["address", "add", &format!("192.0.2.{number}/24"), "dev", "out"]);
            lab.ip(side, &["address", "add", &format!("2001:db8:77::{number}/64"), "dev", "out", "nodad"]);
            lab.ip(side, &["link", "set", "out", "up"]);
        }
        assert_ne!(a, b);
        Some(lab)
    }

    fn namespace(&self, side: Side) -> String {
        format!("{}{side:?}", self.name)
    }

    pub(crate) fn ip(&self, side: Side, args: &[&str]) {
        let namespace = self.namespace(side);
        run("ip", &[&["-n", &namespace], args].concat());
    }

    pub(crate) fn has_interface(&self, side: Side) -> bool {
        let mut ip = Command::new("ip");
        ip.args(["-n", &self.namespace(side), "link", "show", "dev", &interface(side)]);
        ip.stdout(Stdio::null()).stderr(Stdio::null()).status().expect("ip runs").success()
    }

    /// Runs something in a namespace, on a thread of its own.
    pub(crate) fn inside<T: Send + 'static>(
        &self,
        side: Side,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> thread::JoinHandle<T> {
        let namespace = File::open(format!("/run/netns/{}", self.namespace(side))).expect("a namespace");
        thread::spawn(move || {
            let kind = Some(LinkNameSpaceType::Network);
            move_into_link_name_space(std::os::fd::AsFd::as_fd(&namespace), kind).expect("the namespace");
            work()
        })
    }

    fn command(&self, side: Side, program: impl AsRef<OsStr>) -> Command {
        let mut command = Command::new("ip");
        command.args(["netns", "exec", &self.namespace(side)]).arg(program);
        command
    }

    fn file(&self, side: Side, text: &str) -> PathBuf {
        let path = self.dir.join(format!("{}.conf", interface(side)));
        fs::write(&path, text).expect("a file");
        path
    }
}

impl Drop for Lab {
    fn drop(&mut self) {
        for side in [Side::A, Side::B] {
            let _ = Command::new("ip").args(["netns", "del", &self.namespace(side)]).status();
        }
        let _ = fs::remove_dir_all(&self.dir);
    }
}

impl Tunnel {
    /// Starts the daemon and waits until the tunnel is up.
    pub(crate) fn relayd(lab: &Lab, side: Side, conf: &str) -> Tunnel {
        let mut child =
            relayd(lab, side, conf).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("relayd");
        let said = BufReader::new(child.stderr.take().expect("a pipe"));
        let (up, is_up) = std::sync::mpsc::channel();
        thread::spawn(move || {
            for line in said.lines().map_while(Result::ok) {
                println!("{side:?}: {line}");
                if line.contains("tunnel is up") {
                    let _ = up.send(());
                }
            }
        });
        let tunnel = Tunnel { child, is_relayd: true };
        is_up.recv_timeout(crate::SOON).expect("the tunnel comes up");
        tunnel
    }

    /// What the daemon says when it doesn't start.
    pub(crate) fn refused(lab: &Lab, side: Side, conf: &str) -> String {
        let output = relayd(lab, side, conf).output().expect("relayd");
        assert!(!output.status.success());
        String::from_utf8(output.stderr).expect("text")
    }

    /// Starts the other program, and tells it the same file in its own words.
    pub(crate) fn wireguard_go(lab: &Lab, side: Side, program: &OsStr, conf: &str) -> Tunnel {
        let name = interface(side);
        let child = lab.command(side, program).args(["-f", &name]).spawn().expect("the program");
        let tunnel = Tunnel { child, is_relayd: false };
        let path = format!("/var/run/wireguard/{name}.sock");
        let mut control = until(|| UnixStream::connect(&path).ok());
        control.write_all(spoken(conf).as_bytes()).expect("settings");
        let mut answer = [0; 64];
        let len = control.read(&mut answer).expect("an answer");
        assert_eq!(String::from_utf8_lossy(&answer[..len]).trim(), "errno=0");
        for line in conf.lines() {
            if let Some(addresses) = line.strip_prefix("Address = ") {
                for address in addresses.split(", ") {
                    lab.ip(side, &["address", "add", address, "dev", &name]);
                }
            }
        }
        lab.ip(side, &["link", "set", &name, "mtu", "1420", "up"]);
        tunnel
    }

    /// Asks it to end, and gives what it says last.
    pub(crate) fn stop(mut self) -> String {
        self.terminate();
        let mut said = String::new();
        if let Some(mut out) = self.child.stdout.take() {
            out.read_to_string(&mut said).expect("text");
        }
        let status = self.child.wait().expect("an end");
        assert!(status.success() || !self.is_relayd, "{status}");
        said
    }

    fn terminate(&self) {
        let id = rustix::process::Pid::from_child(&self.child);
        let _ = rustix::process::kill_process(id, rustix::process::Signal::TERM);
    }
}

impl Drop for Tunnel {
    fn drop(&mut self) {
        if matches!(self.child.try_wait(), Ok(None)) {
            self.terminate();
            let _ = self.child.wait();
        }
    }
}

fn relayd(lab: &Lab, side: Side, conf: &str) -> Command {
    let program = std::env::var_os("RELAYD").unwrap_or_else(|| env!("CARGO_BIN_EXE_relayd").into());
    let mut command = lab.command(side, program);
    command.arg("tunnel").arg(lab.file(side, conf));
    command
}

/// In namespaces of one test at a time, but wireguard-go's control socket is not: names tell processes apart.
fn interface(side: Side) -> String {
    format!("rb{}{side:?}", std::process::id())
}

/// The file as wireguard-go's control socket takes it: lines of `key=value`, keys in hexadecimal.
fn spoken(conf: &str) -> String {
    let mut text = "set=1\n".to_owned();
    for (key, value) in conf.lines().filter_map(|line| line.split_once(" = ")) {
        let hex = || {
            data_encoding::HEXLOWER.encode(&data_encoding::BASE64.decode(value.as_bytes()).expect("a key"))
        };
        match key {
            "PrivateKey" => text += &format!("private_key={}\n", hex()),
            "ListenPort" => text += &format!("listen_port={value}\n"),
            "PublicKey" => text += &format!("public_key={}\n", hex()),
            "PresharedKey" => text += &format!("preshared_key={}\n", hex()),
            "Endpoint" => text += &format!("endpoint={value}\n"),
            "AllowedIPs" => value.split(", ").for_each(|prefix| text += &format!("allowed_ip={prefix}\n")),
            _ => {}
        }
    }
    text + "\n"
}

fn run(program: &str, args: &[&str]) {
    let status = Command::new(program).args(args).status().expect("the program runs");
    assert!(status.success(), "{program} {args:?}");
}

fn until<T>(mut look: impl FnMut() -> Option<T>) -> T {
    let end = Instant::now() + crate::SOON;
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(Instant::now() < end, "it does not come");
        thread::sleep(Duration::from_millis(20));
    }
}
