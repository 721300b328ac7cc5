//! `cargo xtask cross`: the daemon for the box's architecture, built in a Debian chroot, then started under emulation.
//!
//! The chroot gives the compilers and the box's own libraries, whatever the machine has. The proof is the same as the
//! demo's: the emulated daemon takes the test picture through RTMP and serves it, and it is read back and decoded.

mod chroot;

use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};

use crate::apt::{Consent, Purpose};
use crate::build::SHIPPED;
use crate::child::Child;
use crate::origin::{Origin, STREAM};
use crate::source::Source;
use crate::stop::Stop;
use crate::viewer::{Reader, Viewer};
use crate::{apt, command, web};
use chroot::Chroot;
pub(crate) use chroot::{Breadth, debian, entered, sources_here};

/// Emulation is slow to start and to answer.
const START_LIMIT: Duration = Duration::from_secs(60);
const PICTURE_LIMIT: Duration = Duration::from_secs(60);

/// How many parts have to be read back before they are judged.
const PARTS_MIN: u64 = 40;

/// Where things lie inside of the chroot.
mod inside {
    pub(super) const SOURCES: &str = "/build/relaybox";
    pub(super) const CARGO_HOME: &str = "/build/cargo-home";
    pub(super) const TARGET: &str = "/build/target";
    pub(super) const OUT: &str = "/build/out";
    pub(super) const DATA: &str = "/build/data";
    pub(super) const STAGE: &str = "/build/stage";
}

#[derive(clap::Args, Debug)]
pub(crate) struct Args {
    /// Install missing Debian packages without a question
    #[arg(long)]
    yes: bool,
    /// Only make the chroot
    #[arg(long)]
    chroot_only: bool,
    /// Build nothing, and start what was built before
    #[arg(long)]
    no_build: bool,
    /// Only build these crates, and start nothing
    #[arg(long, value_name = "CRATE")]
    package: Vec<String>,
}

pub(crate) fn run(args: &Args) -> Result<()> {
    ensure!(rustix::process::geteuid().is_root(), "a chroot is for root alone: run this one with sudo");
    apt::require(&[Purpose::Web, Purpose::Publish, Purpose::Cross], Consent::from_yes(args.yes))?;
    let chroot = Chroot::ensure(&command::root().join("cross.toml"), &command::target().join("cross"))?;
    if args.chroot_only {
        return Ok(());
    }
    if !args.package.is_empty() {
        return build(&chroot, &args.package);
    }
    if !args.no_build {
        web::ensure()?;
        build(&chroot, &["relayd".to_owned(), "media".to_owned()])?;
    }
    let out = lay_out(&chroot)?;
    start(&chroot, &out)
}

/// Builds in the chroot, without a network: what is missing was fetched before.
fn build(chroot: &Chroot, packages: &[String]) -> Result<()> {
    command::run(command::cargo().args(["fetch", "--locked"]))?;
    let home = cargo_home()?;
    let target = command::target().join("cross/target");
    std::fs::create_dir_all(&target).with_context(|| format!("could not make {}", target.display()))?;
    let mut words =
        vec!["cargo", "build", "--profile", "dist", "--locked", "--offline", "--target", &chroot.plan.target];
    for package in packages {
        words.extend(["--package", package]);
    }
    let mounts = [(command::root(), inside::SOURCES), (&home, inside::CARGO_HOME), (&target, inside::TARGET)];
    let env = [("CARGO_HOME", inside::CARGO_HOME), ("CARGO_TARGET_DIR", inside::TARGET)];
    // Others use this machine too.
    let entered = chroot.unshared(&mounts, inside::SOURCES, &env, &words);
    let line = format!("in the chroot: {}", words.join(" "));
    command::run_as(&line, command::program("nice").arg("unshare").args(entered))
}

fn cargo_home() -> Result<PathBuf> {
    if let Some(home) = std::env::var_os("CARGO_HOME") {
        return Ok(home.into());
    }
    let home = std::env::home_dir().context("no home folder")?;
    Ok(home.join(".cargo"))
}

/// What was built for the box's architecture.
pub(crate) struct Shipped {
    pub(crate) binaries: PathBuf,
    chroot: Chroot,
}

impl Shipped {
    /// Runs a program of the chroot, which knows the box's libraries, in this folder.
    pub(crate) fn run(&self, folder: &Path, words: &[&str]) -> Result<String> {
        let arch = [("DEB_HOST_ARCH", self.chroot.plan.foreign.as_str())];
        let entered = self.chroot.unshared(&[(folder, inside::STAGE)], inside::STAGE, &arch, words);
        command::output(command::program("unshare").args(entered))
    }
}

/// Builds all that is shipped.
pub(crate) fn shipped(consent: Consent) -> Result<Shipped> {
    ensure!(rustix::process::geteuid().is_root(), "a chroot is for root alone: run this one with sudo");
    apt::require(&[Purpose::Web, Purpose::Cross, Purpose::Deb], consent)?;
    let chroot = Chroot::ensure(&command::root().join("cross.toml"), &command::target().join("cross"))?;
    web::ensure()?;
    build(&chroot, &SHIPPED.map(str::to_owned))?;
    let binaries = command::target().join("cross/target").join(&chroot.plan.target).join("dist");
    Ok(Shipped { binaries, chroot })
}

/// Puts the binaries beside each other in the chroot. The media child is started through a script, since the kernel
/// need not know the emulator: a script is of the machine's own architecture.
fn lay_out(chroot: &Chroot) -> Result<PathBuf> {
    use std::os::unix::fs::PermissionsExt;
    let out = chroot.path(inside::OUT);
    std::fs::create_dir_all(&out).with_context(|| format!("could not make {}", out.display()))?;
    let built = command::target().join("cross/target").join(&chroot.plan.target).join("dist");
    let copy = |from: &str, to: &str| {
        std::fs::copy(built.join(from), out.join(to)).with_context(|| format!("the build left no {from}"))
    };
    copy("relayd", "relayd")?;
    copy("relaybox-media", "relaybox-media.emulated")?;
    let script = out.join("relaybox-media");
    let text =
        format!("#!/bin/sh\nexec {} {}/relaybox-media.emulated \"$@\"\n", chroot.emulator(), inside::OUT);
    std::fs::write(&script, text).context("could not write the script for the media child")?;
    std::fs::set_permissions(&script, PermissionsExt::from_mode(0o755))
        .context("could not make it executable")?;
    Ok(out)
}

/// Starts what was built, publishes to it and reads back.
fn start(chroot: &Chroot, out: &Path) -> Result<()> {
    let relayd = format!("{}/relayd", inside::OUT);
    let media = format!("{}/relaybox-media", inside::OUT);
    let say = |words: &[&str]| {
        command::output(command::program("unshare").args(chroot.unshared(&[], inside::OUT, &[], words)))
    };
    println!("under emulation: {}", say(&[chroot.emulator(), &relayd, "--version"])?.trim());
    println!("under emulation: {}", say(&[&media, "--version"])?.trim());
    // Without input it starts and ends, and leaves GStreamer's list of plugins behind: making that takes half a minute
    // here, in which the daemon would take the child for dead.
    say(&[&media])?;
    let stop = Stop::on_signals()?;
    let data = chroot.path(inside::DATA);
    let any = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
    let origin = Origin::start_as(&data, any, any, START_LIMIT, &stop, |arguments| {
        let arguments = arguments.iter().map(|word| word.replace(&*data.to_string_lossy(), inside::DATA));
        let words: Vec<String> =
            [chroot.emulator().to_owned(), relayd.clone()].into_iter().chain(arguments).collect();
        let words: Vec<&str> = words.iter().map(String::as_str).collect();
        let mut daemon = command::program("unshare");
        daemon.args(chroot.unshared(&[], inside::OUT, &[], &words));
        daemon
    })?;
    let health = Reader::new(PICTURE_LIMIT).fetch_text(&format!("{}/healthz", origin.http_url()))?;
    println!("under emulation: healthy: {}", health.trim());
    let source = Source { width: 640, height: 360, ..Source::default() };
    let publisher = Child::start(
        "the publisher (ffmpeg)",
        &source.publisher(&origin.publish_url()),
        &out.join("publisher.log"),
    )?;
    let viewer = Viewer::start(&origin.http_url(), STREAM, out);
    stop.wait_until(PICTURE_LIMIT, || viewer.tally().parts >= PARTS_MIN);
    let finished = viewer.finish();
    drop(publisher);
    let (tally, verdict) = finished.with_context(|| origin.child.log_tail())?;
    println!("under emulation: {} parts read back; {verdict}", tally.parts);
    verdict.demand(true)
}
