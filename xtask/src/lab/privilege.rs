//! The right to make network namespaces: root has it, others get it in a user namespace of their own if the kernel lets
//! them.

use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::Command;

use anyhow::{Context as _, Result, bail};

use crate::command;

/// Says that we are inside already, so that nobody goes round in circles.
const INSIDE: &str = "RELAYBOX_LAB_INSIDE";

const DEVICE: &str = "/dev/net/tun";

/// Says in time that boxes won't be able to make their interface.
pub(crate) fn device() -> Result<()> {
    let open = std::fs::File::options().read(true).write(true).open(DEVICE);
    open.with_context(|| format!("boxes need {DEVICE}, open to you (mode 0666, as udev makes it)"))?;
    Ok(())
}

/// Returns only if this process may make namespaces; otherwise it becomes `unshare`, which runs the same command again,
/// with more in its environment.
pub(crate) fn ensure(environment: &[(&str, &Path)]) -> Result<()> {
    if rustix::process::geteuid().is_root() {
        return if std::env::var_os(INSIDE).is_some() { prepare() } else { Ok(()) };
    }
    // The network stays the machine's: whoever looks at pages from outside shall reach them.
    const OWN: [&str; 4] = ["--user", "--map-root-user", "--mount", "--"];
    let allowed = Command::new("unshare").args(OWN).args(["unshare", "--net", "true"]).output();
    let allowed = allowed.context("could not start unshare")?;
    if !allowed.status.success() {
        let why = String::from_utf8_lossy(&allowed.stderr).trim().to_owned();
        bail!("the lab needs root, or a kernel that lets you make user namespaces: {why}");
    }
    let own = std::env::current_exe().context("this program has no path")?;
    let mut again = Command::new("unshare");
    again.args(OWN).arg(own).args(std::env::args_os().skip(1)).envs(environment.iter().copied());
    Err(again.env(INSIDE, "1").exec()).context("could not start unshare")
}

/// In a mount namespace of our own, a place for names of namespaces that nobody else sees.
fn prepare() -> Result<()> {
    // As a whole, since /run/netns can't be made there if it was never there.
    command::output(Command::new("mount").args(["-t", "tmpfs", "tmpfs", "/run"]))?;
    std::fs::create_dir_all("/run/netns").context("making /run/netns")
}

/// Whether tests that build worlds can run here; says why if not.
#[cfg(test)]
pub(crate) fn can_make_worlds() -> bool {
    let is_root = rustix::process::geteuid().is_root();
    if !is_root {
        println!("skipped: namespaces need root");
        return false;
    }
    static TRIES: std::sync::atomic::AtomicU32 = std::sync::atomic::AtomicU32::new(0);
    let number = TRIES.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
    let made = super::netns::Namespace::new(number, "try");
    let tools = ["nft", "miniupnpd"].into_iter().find(|tool| !command::on_path(tool));
    match (made, tools) {
        (Err(error), _) => println!("skipped: this machine makes no network namespaces: {error:#}"),
        (Ok(_), Some(tool)) => println!("skipped: {tool} is missing: cargo xtask apt lab"),
        (Ok(_), None) => return Path::new(DEVICE).exists(),
    }
    false
}
