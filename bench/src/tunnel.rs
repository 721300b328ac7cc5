//! Two network namespaces with a cable between them, and a tunnel over it: ours, or one of its peers.
//!
//! Each program gets the same keys, addresses and MTU. What goes through is for [`traffic`].

mod programs;
mod traffic;

use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use data_encoding::{BASE64, HEXLOWER};

use crate::plan::Plan;
use crate::process::Process;

pub(crate) use programs::{Programs, versions};
pub(crate) use traffic::{Flow, Udp, inside};

/// What is measured beside each other, ours first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Ours,
    WireguardGo,
    Gotatun,
    Boringtun,
}

pub(crate) const KINDS: [Kind; 4] = [Kind::Ours, Kind::WireguardGo, Kind::Gotatun, Kind::Boringtun];

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Side {
    A,
    B,
}

/// Where programs may run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Cores {
    All,
    /// Both ends of the tunnel on the second core, what sends and receives on the first.
    Apart,
}

/// The namespaces; they go with it.
#[derive(Debug)]
pub(crate) struct Lab {
    name: String,
}

/// Both ends of a tunnel that is up. The names of the fields are those of the sides.
#[derive(Debug)]
pub(crate) struct Tunnel {
    pub(crate) a: Process,
    pub(crate) b: Process,
}

/// The pairs of RFC 7748, 6.1: private, public.
const KEYS: [(&str, &str); 2] = [
    ("dwdtCnMYpX08FsFyUbJmRd9ML4frwJkqsXf7pR25LCo=", "hSDwCYkwp1R0i33ctD73Wg2/Og0mOBr066SpjqqbTmo="),
    ("XasIfmJKikt54X+Lg4AO5m87sSkmGLb9HC+LJ/+I4Os=", "3p7bfXt9wbTTW2HC7OQ1Nz+DQ8hbeGdNrfx+FG+IK08="),
];
const PORT: u16 = 51_820;
const MTU: u16 = 1420;
/// The port inside the tunnel that shows whether it is up.
const PROBE_PORT: u16 = 7_000;
const PROBE_LIMIT: Duration = Duration::from_millis(300);

impl Kind {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Kind::Ours => "relayd",
            Kind::WireguardGo => "wireguard-go",
            Kind::Gotatun => "gotatun",
            Kind::Boringtun => "boringtun",
        }
    }
}

impl Side {
    fn number(self) -> u8 {
        match self {
            Side::A => 1,
            Side::B => 2,
        }
    }

    fn keys(self) -> (&'static str, &'static str) {
        KEYS[usize::from(self.number() - 1)]
    }

    fn other(self) -> Side {
        match self {
            Side::A => Side::B,
            Side::B => Side::A,
        }
    }

    fn outside(self) -> Ipv4Addr {
        Ipv4Addr::new(192, 0, 2, self.number())
    }

    pub(crate) fn inside(self) -> Ipv4Addr {
        Ipv4Addr::new(10, 78, 0, self.number())
    }

    /// Control sockets of all programs lie in one folder, whatever the namespace: the id tells benches apart.
    fn interface(self) -> String {
        format!("rb{}{self:?}", std::process::id())
    }
}

impl Lab {
    pub(crate) fn new() -> Result<Lab> {
        ensure!(rustix::process::geteuid().is_root(), "network namespaces need root");
        let lab = Lab { name: format!("rbbench{}", std::process::id()) };
        for side in [Side::A, Side::B] {
            run(Command::new("ip").args(["netns", "add", &lab.namespace(side)]))?;
            lab.ip(side, &["link", "set", "lo", "up"])?;
        }
        let other = lab.namespace(Side::B);
        lab.ip(Side::A, &["link", "add", "out", "type", "veth", "peer", "name", "out", "netns", &other])?;
        for side in [Side::A, Side::B] {
            lab.ip(side, &["address", "add", &format!("{}/24", side.outside()), "dev", "out"])?;
            lab.ip(side, &["link", "set", "out", "up"])?;
        }
        Ok(lab)
    }

    pub(crate) fn namespace(&self, side: Side) -> String {
        format!("{}{side:?}", self.name)
    }

    pub(crate) fn ip(&self, side: Side, args: &[&str]) -> Result<()> {
        run(Command::new("ip").args(["-n", &self.namespace(side)]).args(args))
    }

    /// Starts both ends and waits until something comes through.
    pub(crate) fn tunnel(
        &self,
        programs: &Programs,
        kind: Kind,
        cores: Cores,
        plan: &Plan,
    ) -> Result<Tunnel> {
        let start = |side| self.end(programs, kind, side, cores, plan);
        let (b, mut a) = (start(Side::B)?, start(Side::A)?);
        let address = SocketAddr::from((Side::B.inside(), PROBE_PORT));
        // Ours gives itself its address, at its own time.
        let anywhere = SocketAddr::from((Ipv4Addr::UNSPECIFIED, PROBE_PORT));
        let listener = inside(self, Side::B, None, move || TcpListener::bind(anywhere))?;
        let listener = listener.join().map_err(|_| anyhow::anyhow!("the listener's thread died"))?;
        let _listener = listener.context("no port inside the tunnel")?;
        a.await_ready(|| {
            let connect = move || TcpStream::connect_timeout(&address, PROBE_LIMIT).ok().map(drop);
            inside(self, Side::A, None, connect).ok()?.join().ok()?
        })?;
        Ok(Tunnel { a, b })
    }

    fn end(&self, programs: &Programs, kind: Kind, side: Side, cores: Cores, plan: &Plan) -> Result<Process> {
        let dir = plan.dir.join("tunnel").join(kind.name()).join(format!("{side:?}"));
        std::fs::create_dir_all(&dir).with_context(|| format!("could not make {}", dir.display()))?;
        let mut args: Vec<String> = ["netns", "exec", &self.namespace(side)].map(str::to_owned).into();
        if cores == Cores::Apart {
            args.extend(["taskset", "--cpu-list", "1"].map(str::to_owned));
        }
        let interface = side.interface();
        args.extend(command(programs, kind, side, &interface, &dir)?);
        let mut process = Process::start(kind.name(), Path::new("ip"), &args, &dir)?;
        if kind != Kind::Ours {
            let socket = PathBuf::from(format!("/var/run/wireguard/{interface}.sock"));
            let mut control = process.await_ready(|| UnixStream::connect(&socket).ok())?;
            tell(&mut control, side).with_context(|| format!("{} takes no settings", kind.name()))?;
            self.ip(side, &["address", "add", &format!("{}/24", side.inside()), "dev", &interface])?;
            self.ip(side, &["link", "set", &interface, "mtu", &MTU.to_string(), "up"])?;
        }
        Ok(process)
    }
}

impl Drop for Lab {
    fn drop(&mut self) {
        for side in [Side::A, Side::B] {
            // One that was never made can't be removed.
            let _ =
                run(Command::new("ip").args(["netns", "del", &self.namespace(side)]).stderr(Stdio::null()));
        }
    }
}

fn command(programs: &Programs, kind: Kind, side: Side, interface: &str, dir: &Path) -> Result<Vec<String>> {
    let text = |path: &Path| path.to_string_lossy().into_owned();
    let foreground = |program: &Path| vec![text(program), "-f".to_owned(), interface.to_owned()];
    Ok(match kind {
        Kind::Ours => {
            let file = dir.join("tunnel.conf");
            std::fs::write(&file, conf(side))
                .with_context(|| format!("could not write {}", file.display()))?;
            let (tunnel, name) = ("tunnel".to_owned(), interface.to_owned());
            vec![text(&programs.relayd), tunnel, text(&file), "--interface".to_owned(), name]
        }
        Kind::WireguardGo => foreground(&programs.wireguard_go),
        Kind::Gotatun | Kind::Boringtun => {
            let mut args =
                foreground(if kind == Kind::Gotatun { &programs.gotatun } else { &programs.boringtun });
            // Their default is to become the user who called sudo, of whom there is none here.
            args.push("--disable-drop-privileges".to_owned());
            args
        }
    })
}

/// Only A knows where the other is.
fn conf(side: Side) -> String {
    let ((own, _), (_, other)) = (side.keys(), side.other().keys());
    let endpoint = match side {
        Side::A => format!("Endpoint = {}:{PORT}\n", Side::B.outside()),
        Side::B => String::new(),
    };
    format!(
        "[Interface]\nPrivateKey = {own}\nAddress = {}/24\nListenPort = {PORT}\nMTU = {MTU}\n\
         [Peer]\nPublicKey = {other}\nAllowedIPs = {}/32\n{endpoint}",
        side.inside(),
        side.other().inside()
    )
}

/// The same settings in the words of the control socket that all the others have: keys in hexadecimal.
fn tell(control: &mut UnixStream, side: Side) -> Result<()> {
    let hex = |key: &str| Ok::<_, anyhow::Error>(HEXLOWER.encode(&BASE64.decode(key.as_bytes())?));
    let ((own, _), (_, other)) = (side.keys(), side.other().keys());
    let mut text =
        format!("set=1\nprivate_key={}\nlisten_port={PORT}\npublic_key={}\n", hex(own)?, hex(other)?);
    text += &format!("allowed_ip={}/32\n", side.other().inside());
    if side == Side::A {
        text += &format!("endpoint={}:{PORT}\n", Side::B.outside());
    }
    text += "\n";
    control.write_all(text.as_bytes())?;
    let mut answer = [0; 64];
    let len = control.read(&mut answer)?;
    let answer = String::from_utf8_lossy(&answer[..len]);
    ensure!(answer.trim() == "errno=0", "it answers {answer:?}");
    Ok(())
}

pub(crate) fn run(command: &mut Command) -> Result<()> {
    let status = command.status().with_context(|| format!("could not start {command:?}"))?;
    ensure!(status.success(), "{command:?} failed");
    Ok(())
}
