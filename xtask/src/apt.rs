//! Which Debian packages each purpose needs, and getting them.
//!
//! This is the one place where Debian's names stand. A package counts as there when dpkg says so or when the program
//! it is wanted for is on PATH, so that a machine with its own Node.js or ffmpeg is left alone. Nothing is installed
//! without a word: on a terminal we ask.

use std::collections::BTreeSet;
use std::io::{BufRead as _, IsTerminal as _, Write as _};
use std::process::Command;

use anyhow::{Context as _, Result, bail};
use clap::ValueEnum;

use crate::command;

/// What packages are wanted for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, ValueEnum)]
pub(crate) enum Purpose {
    /// Compiling the workspace
    Build,
    /// Building the pages
    Web,
    /// Running a box that ingests
    Run,
    /// Publishing the test picture and reading media back
    Publish,
    /// Tests in network namespaces
    Lab,
    /// Tests in a browser
    Browser,
    /// Building for another architecture
    Cross,
    /// Making Debian packages
    Deb,
    /// Trying them on machines of their own
    Machine,
    /// Playing a PC with UEFI
    EmulatePc,
    /// Playing an aarch64 machine with UEFI
    EmulateArm,
    /// The network that an image is booted in
    Street,
    /// Making keys
    Keys,
    /// A server to pull streams from
    Pull,
    /// The peers of the bench
    Bench,
}

/// Whether the person in front of the machine has agreed to installing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Consent {
    Ask,
    Given,
}

impl Consent {
    pub(crate) fn from_yes(yes: bool) -> Consent {
        if yes { Consent::Given } else { Consent::Ask }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Package {
    name: &'static str,
    /// The program it is wanted for; one from elsewhere on PATH will do as well.
    program: Option<&'static str>,
}

const fn library(name: &'static str) -> Package {
    Package { name, program: None }
}

const fn tool(name: &'static str, program: &'static str) -> Package {
    Package { name, program: Some(program) }
}

impl Purpose {
    fn packages(self) -> &'static [Package] {
        match self {
            Purpose::Build => {
                const {
                    &[
                        tool("gcc", "cc"),
                        library("libc6-dev"),
                        tool("pkg-config", "pkg-config"),
                        library("libgstreamer1.0-dev"),
                        library("libgstreamer-plugins-base1.0-dev"),
                    ]
                }
            }
            Purpose::Web => const { &[tool("nodejs", "node"), tool("npm", "npm")] },
            // base: appsrc and appsink; good: aacparse; bad: the parsers of H.264, HEVC, AV1 and Opus.
            Purpose::Run => {
                const {
                    &[
                        library("gstreamer1.0-plugins-base"),
                        library("gstreamer1.0-plugins-good"),
                        library("gstreamer1.0-plugins-bad"),
                    ]
                }
            }
            Purpose::Publish => const { &[tool("ffmpeg", "ffmpeg"), library("fonts-dejavu-core")] },
            Purpose::Lab => {
                const {
                    &[
                        tool("conntrack", "conntrack"),
                        tool("iproute2", "ip"),
                        tool("miniupnpd-nftables", "miniupnpd"),
                        tool("nftables", "nft"),
                        tool("wireguard-go", "wireguard-go"),
                    ]
                }
            }
            Purpose::Browser => {
                const { &[tool("chromium", "chromium"), tool("nodejs", "node"), tool("npm", "npm")] }
            }
            Purpose::Pull => const { &[tool("nginx-light", "nginx"), library("libnginx-mod-rtmp")] },
            Purpose::Bench => {
                const {
                    &[
                        tool("nginx-light", "nginx"),
                        library("libnginx-mod-rtmp"),
                        tool("nodejs", "node"),
                        tool("npm", "npm"),
                        tool("iproute2", "ip"),
                    ]
                }
            }
            Purpose::Deb => const { &[tool("binutils", "strip"), tool("dpkg-dev", "dpkg-shlibdeps")] },
            Purpose::Machine => {
                const {
                    &[
                        tool("iproute2", "ip"),
                        tool("mmdebstrap", "mmdebstrap"),
                        tool("systemd", "systemd-analyze"),
                    ]
                }
            }
            Purpose::EmulatePc => const { &[tool("qemu-system-x86", "qemu-system-x86_64"), library("ovmf")] },
            Purpose::EmulateArm => {
                const { &[tool("qemu-system-arm", "qemu-system-aarch64"), library("qemu-efi-aarch64")] }
            }
            Purpose::Street => {
                const {
                    &[
                        tool("dnsmasq-base", "dnsmasq"),
                        tool("fdisk", "sfdisk"),
                        tool("iproute2", "ip"),
                        tool("mtools", "mcopy"),
                    ]
                }
            }
            Purpose::Keys => const { &[tool("openssl", "openssl")] },
            Purpose::Cross => {
                const {
                    &[
                        tool("arch-test", "arch-test"),
                        tool("mmdebstrap", "mmdebstrap"),
                        tool("qemu-user-static", "qemu-aarch64-static"),
                    ]
                }
            }
        }
    }
}

#[derive(clap::Args, Debug)]
pub(crate) struct Args {
    /// What the packages are for; all everyday purposes if none is given
    purposes: Vec<Purpose>,
    /// Only say what is missing; fails if anything is
    #[arg(long)]
    check: bool,
    /// Install without a question
    #[arg(long)]
    yes: bool,
}

pub(crate) fn run(args: &Args) -> Result<()> {
    let everyday =
        [Purpose::Build, Purpose::Web, Purpose::Run, Purpose::Publish, Purpose::Lab, Purpose::Browser];
    let purposes = if args.purposes.is_empty() { &everyday[..] } else { &args.purposes };
    if args.check {
        let missing = missing(purposes)?;
        if missing.is_empty() {
            println!("nothing is missing");
            return Ok(());
        }
        bail!("missing Debian packages: {}", missing.join(" "));
    }
    require(purposes, Consent::from_yes(args.yes))
}

/// Makes sure that everything for these purposes is there, and installs what is not.
pub(crate) fn require(purposes: &[Purpose], consent: Consent) -> Result<()> {
    let missing = missing(purposes)?;
    if missing.is_empty() {
        return Ok(());
    }
    eprintln!("missing Debian packages: {}", missing.join(" "));
    let by_hand = format!("apt-get install --no-install-recommends {}", missing.join(" "));
    let is_root = rustix::process::geteuid().is_root();
    if !is_root && !command::on_path("sudo") {
        bail!("only root can install them, and there is no sudo; as root: {by_hand}");
    }
    if consent == Consent::Ask && !agreed()? {
        bail!("not installed; by hand: {by_hand}");
    }
    command::run(apt_get(is_root).arg("update"))?;
    command::run(apt_get(is_root).args(["install", "--yes", "--no-install-recommends"]).args(&missing))
}

/// The packages which are not there, each once, in order of their names.
fn missing(purposes: &[Purpose]) -> Result<Vec<&'static str>> {
    let wanted: BTreeSet<Package> = purposes.iter().flat_map(|purpose| purpose.packages()).copied().collect();
    if !command::on_path("dpkg-query") {
        bail!("this is not Debian: install by hand what answers to {}", names(&wanted).join(" "));
    }
    let listed = Command::new("dpkg-query")
        .args(["--show", "--showformat", "${Package} ${db:Status-Status}\\n"])
        .args(names(&wanted))
        .output()
        .context("could not start dpkg-query")?;
    // Its exit status is 1 when it does not know one of the names, which is an answer.
    let listing = String::from_utf8_lossy(&listed.stdout);
    let installed = installed(&listing);
    let is_there =
        |package: &Package| installed.contains(package.name) || package.program.is_some_and(command::on_path);
    Ok(wanted.iter().filter(|package| !is_there(package)).map(|package| package.name).collect())
}

fn names(packages: &BTreeSet<Package>) -> Vec<&'static str> {
    packages.iter().map(|package| package.name).collect()
}

fn installed(listing: &str) -> BTreeSet<&str> {
    listing.lines().filter_map(|line| line.strip_suffix(" installed")).collect()
}

fn apt_get(is_root: bool) -> Command {
    let mut command = if is_root { command::program("apt-get") } else { command::program("sudo") };
    if !is_root {
        command.args(["DEBIAN_FRONTEND=noninteractive", "apt-get"]);
    }
    command.env("DEBIAN_FRONTEND", "noninteractive").arg("--quiet");
    command
}

/// Asks on a terminal; without one nobody can answer, and the person who started us wants it done.
fn agreed() -> Result<bool> {
    if !std::io::stdin().is_terminal() || !std::io::stderr().is_terminal() {
        return Ok(true);
    }
    eprint!("install them? [Y/n] ");
    std::io::stderr().flush().context("could not ask")?;
    let mut answer = String::new();
    std::io::stdin().lock().read_line(&mut answer).context("could not read the answer")?;
    Ok(matches!(answer.trim().to_lowercase().as_str(), "" | "y" | "yes"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_dpkg_calls_installed_counts() {
        let listing =
            "ffmpeg installed\nvlc not-installed\nnpm config-files\nlibgstreamer1.0-dev installed\n";
        assert_eq!(installed(listing), BTreeSet::from(["ffmpeg", "libgstreamer1.0-dev"]));
    }
}
