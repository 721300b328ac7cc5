//! `relayd interface`: makes the mesh's interface for the daemon's user and gives it its addresses, so that the daemon,
//! which talks to strangers, needs no right over the machine's network. A unit runs it before the daemon and whenever
//! the membership changes.
//!
//! Refuses to touch any interface but the mesh's own, and reads no packet.

use std::os::unix::fs::MetadataExt as _;
use std::path::PathBuf;

use anyhow::{Context as _, Result};
use clap::Parser;
use dataplane::Tun;

use crate::control::kept::{self, Kept};
use crate::network;
use crate::settings::{Fragment, Mode, Settings, Standalone};

#[derive(Debug, Parser)]
pub(crate) struct Args {
    /// The daemon's settings.
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    #[arg(long, value_name = "DIR")]
    data_dir: Option<PathBuf>,
    /// Take it away.
    #[arg(long)]
    remove: bool,
}

pub(crate) fn run(args: &Args) -> Result<()> {
    tracing_subscriber::fmt().with_writer(std::io::stderr).init();
    let flags = Fragment { data_dir: args.data_dir.clone(), ..Fragment::default() };
    let settings = Settings::read(args.config.as_deref(), flags)?;
    let name = &settings.mesh_interface;
    if args.remove {
        return Tun::remove(name).with_context(|| format!("removing the interface {name}"));
    }
    // In a network that was there before, the interface is somebody else's.
    if settings.standalone == Standalone::Yes || settings.mesh_mode == Mode::External {
        return Ok(());
    }
    let owner = std::fs::metadata(&settings.data_dir);
    let owner = owner.with_context(|| format!("looking at {}", settings.data_dir.display()))?.uid();
    if Tun::prepare(name, owner)? {
        tracing::info!(name, owner, "made the interface");
    }
    let dir = kept::directory(&settings.data_dir);
    network::dress_beforehand(name, &dir, Kept::read(&dir)?.as_ref())
}
