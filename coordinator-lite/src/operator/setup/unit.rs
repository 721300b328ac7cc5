//! The package's unit: started, and given what a port below 1024 takes.
//!
//! Touches nothing on a machine where the service was not installed by its package, or has another directory.

use std::net::{Ipv4Addr, TcpStream};
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail, ensure};

use crate::file;

const NAME: &str = "coordinator-lite.service";
/// Where the package puts it.
const FILE: &str = "/usr/lib/systemd/system/coordinator-lite.service";
const DATA_DIR: &str = "/var/lib/relaybox-coordinator";
const DROP_INS: &str = "/etc/systemd/system/coordinator-lite.service.d";
const LOW_PORT: &str = "port-443.conf";
const LOW_PORT_TEXT: &str = include_str!("../../../../systemd/coordinator-lite-port-443.conf");
/// The first port that needs no right.
const UNPRIVILEGED: u16 = 1024;
const START_LIMIT: Duration = Duration::from_secs(30);

pub(super) struct Unit;

pub(super) fn of(data_dir: &Path) -> Option<Unit> {
    let is_there = Path::new(FILE).is_file() && Path::new("/run/systemd/system").is_dir();
    (is_there && data_dir == Path::new(DATA_DIR)).then_some(Unit)
}

impl Unit {
    /// Returns once it listens.
    pub(super) fn start(&self, port: u16, changed: bool) -> Result<()> {
        if port < UNPRIVILEGED {
            let path = Path::new(DROP_INS).join(LOW_PORT);
            if file::read(&path)?.as_deref() != Some(LOW_PORT_TEXT.trim()) {
                std::fs::create_dir_all(DROP_INS).with_context(|| format!("making {DROP_INS}"))?;
                file::replace(&path, LOW_PORT_TEXT.as_bytes(), file::ALL)?;
                systemctl(&["daemon-reload"])?;
            }
        }
        systemctl(&[if changed { "restart" } else { "start" }, NAME])?;
        let began = Instant::now();
        while TcpStream::connect((Ipv4Addr::LOCALHOST, port)).is_err() {
            ensure!(
                began.elapsed() < START_LIMIT,
                "the service does not answer at port {port}: `journalctl --unit {NAME}` says why. If OPTIONS in \
                 /etc/default/coordinator-lite say --listen, that counts"
            );
            std::thread::sleep(Duration::from_millis(100));
        }
        Ok(())
    }
}

fn systemctl(args: &[&str]) -> Result<()> {
    let done = Command::new("systemctl").args(args).output().context("starting systemctl")?;
    if !done.status.success() {
        bail!("systemctl {}: {}", args.join(" "), String::from_utf8_lossy(&done.stderr).trim());
    }
    Ok(())
}
