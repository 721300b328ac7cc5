//! A machine of its own: namespaces over a root that it may not change, with a network of its own that leads nowhere.
//!
//! Nothing is ever mounted in this machine's own namespace, so nothing has to be unmounted, however we end: with the
//! first process the namespaces go, and with them all mounts and all processes.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};

use crate::child::Child;
use crate::command;
use crate::lab::netns::Handle;
use crate::origin::children_of;
use crate::stop::Stop;

/// Where the packages lie inside.
pub(super) const PACKAGES: &str = "/mnt";

const START_LIMIT: Duration = Duration::from_secs(60);
const END_LIMIT: Duration = Duration::from_secs(10);

/// What runs as the first process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Init {
    /// Nothing that knows of units, as where an image is built.
    Idle,
    Systemd,
}

/// `$1` the root, `$2` where the machine writes, `$3` the packages, then the first process. In a mount namespace of its
/// own already.
const ENTER: &str = r#"
set -e
lower=$1; own=$2; packages=$3; shift 3
mkdir -p "$own/upper" "$own/work" "$own/root"
root=$own/root
mount -t overlay overlay -o "lowerdir=$lower,upperdir=$own/upper,workdir=$own/work" "$root"
mount -t proc proc "$root/proc"
mount -t sysfs sysfs "$root/sys"
[ ! -d "$root/sys/fs/cgroup" ] || mount -t cgroup2 cgroup2 "$root/sys/fs/cgroup"
mount -t tmpfs -o mode=755 tmpfs "$root/dev"
mkdir -p "$root/dev/net" "$root/dev/pts" "$root/dev/shm"
for node in null zero full random urandom tty; do
    touch "$root/dev/$node"
    mount --bind "/dev/$node" "$root/dev/$node"
done
# As udev makes it: open to all, and the kernel asks for a right where one is due.
mknod -m 666 "$root/dev/net/tun" c 10 200
mount -t devpts -o newinstance,ptmxmode=0666,mode=620 devpts "$root/dev/pts"
ln -s pts/ptmx "$root/dev/ptmx"
ln -s /proc/self/fd "$root/dev/fd"
mount -t tmpfs tmpfs "$root/dev/shm"
mount -t tmpfs -o mode=755 tmpfs "$root/run"
mount -t tmpfs tmpfs "$root/tmp"
mount --bind -o ro "$packages" "$root/mnt"
[ -e "$root/etc/hosts" ] || printf '127.0.0.1 localhost\n::1 localhost\n' > "$root/etc/hosts"
ip link set lo up
ip link add home0 type veth peer name wall0
ip address add 192.0.2.7/24 dev home0
ip link set home0 up
ip link set wall0 up
hostname relaybox-machine
cd "$root"
mkdir -p .old
pivot_root . .old
umount -l /.old
rmdir /.old
# The kernel is not its own: without this right systemd loads no modules, which Debian 13 would have it try.
exec setpriv --bounding-set=-sys_module --inh-caps=-sys_module env -i container=relaybox PATH=/usr/sbin:/usr/bin:/sbin:/bin LANG=C.UTF-8 DEBIAN_FRONTEND=noninteractive "$@"
"#;

pub(super) struct Machine {
    process: Child,
    /// The first process, as we see it.
    init: u32,
    cgroup: PathBuf,
}

impl Machine {
    pub(super) fn start(
        root: &Path,
        own: &Path,
        init: Init,
        packages: &Path,
        stop: &Stop,
    ) -> Result<Machine> {
        if own.exists() {
            fs::remove_dir_all(own).with_context(|| format!("clearing {}", own.display()))?;
        }
        fs::create_dir_all(own).with_context(|| format!("making {}", own.display()))?;
        let (words, name): (&[&str], _) = match init {
            Init::Idle => (&["/usr/bin/sleep", "infinity"], "sleep"),
            Init::Systemd => (&["/lib/systemd/systemd"], "systemd"),
        };
        let cgroup = cgroup(&own.file_name().unwrap_or_default().to_string_lossy())?;
        let mut enter = command::program("setpriv");
        // The process between us and the first one does not heed the signal by which children usually end with us.
        enter.args(["--pdeathsig", "KILL", "--", "sh", "-c", "echo $$ > \"$0/cgroup.procs\" && exec \"$@\""]);
        enter.arg(&cgroup).args(["unshare", "--mount", "--pid", "--uts", "--ipc", "--net", "--cgroup"]);
        enter.args([
            "--fork",
            "--propagation=private",
            "--kill-child=KILL",
            "--",
            "sh",
            "-c",
            ENTER,
            "enter",
        ]);
        enter.arg(root).arg(own).arg(packages).args(words);
        let process = Child::start("the machine", &enter, &own.join("console.log"))?;
        let mut machine = Machine { process, init: 0, cgroup };
        let came = stop.wait_until(START_LIMIT, || {
            machine.init =
                children_of(machine.process.id()).ok().and_then(|ids| ids.first().copied()).unwrap_or(0);
            let comm = fs::read_to_string(format!("/proc/{}/comm", machine.init)).unwrap_or_default();
            comm.trim() == name || machine.process.ended().is_some()
        });
        ensure!(came && machine.process.ended().is_none(), machine.process.failure());
        if init == Init::Systemd {
            let up = stop.wait_until(START_LIMIT, || machine.sh("systemctl is-system-running").is_ok());
            ensure!(up, "systemd does not come up: {}", machine.sh("systemctl --failed || true")?);
        }
        Ok(machine)
    }

    /// Runs a line of shell inside, as root; what it prints.
    pub(super) fn sh(&self, line: &str) -> Result<String> {
        let mut enter = command::program("nsenter");
        enter.args(["--target", &self.init.to_string(), "--all", "--", "env", "-i"]);
        enter.args(["PATH=/usr/sbin:/usr/bin:/sbin:/bin", "LANG=C.UTF-8", "HOME=/tmp"]);
        enter.args(["DEBIAN_FRONTEND=noninteractive", "bash", "-c", line]);
        command::output(&mut enter).with_context(|| format!("on the machine: {line}"))
    }

    /// Its network, for a thread of this process.
    pub(super) fn network(&self) -> Result<Handle> {
        Handle::of_process(self.init)
    }

    /// A program of this machine in the other one's network.
    pub(super) fn in_its_network(&self, program: &str) -> std::process::Command {
        let mut enter = command::program("nsenter");
        enter.arg(format!("--net=/proc/{}/ns/net", self.init)).args(["--", program]);
        enter
    }
}

impl Drop for Machine {
    fn drop(&mut self) {
        self.process.kill();
        // The kernel takes a moment to bury all of them.
        Stop::default().wait_until(END_LIMIT, || remove_cgroup(&self.cgroup).is_ok());
    }
}

/// A control group for the machine, in which it is its own master.
fn cgroup(name: &str) -> Result<PathBuf> {
    let mounts = fs::read_to_string("/proc/self/mounts").context("no /proc")?;
    let mut unified = mounts.lines().filter_map(|line| {
        let mut words = line.split(' ');
        let (at, kind) = (words.nth(1)?, words.next()?);
        (kind == "cgroup2").then(|| PathBuf::from(at))
    });
    let unified = unified.next().context("this machine has no control groups of version 2")?;
    let own = unified.join(format!("relaybox-{name}-{}", std::process::id()));
    fs::create_dir(&own).with_context(|| format!("making {}", own.display()))?;
    Ok(own)
}

fn remove_cgroup(path: &Path) -> std::io::Result<()> {
    for entry in fs::read_dir(path)? {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            remove_cgroup(&entry.path())?;
        }
    }
    fs::remove_dir(path)
}
