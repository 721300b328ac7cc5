//! The programs beside which the tunnel is measured, fetched once: wireguard-go as Debian 13 packs it (Debian 12 has a
//! version of 2022 without offload), the others by `cargo install` in the versions of the root Cargo.toml.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;

use crate::plan::Plan;

/// The release of Debian whose wireguard-go is the peer.
const SUITE: &str = "trixie";

/// Names a wireguard-go to take instead.
const OVERRIDE: &str = "RELAYBOX_WIREGUARD_GO";

#[derive(Clone, Debug)]
pub(crate) struct Programs {
    pub(super) relayd: PathBuf,
    pub(super) wireguard_go: PathBuf,
    pub(super) gotatun: PathBuf,
    pub(super) boringtun: PathBuf,
}

impl Programs {
    pub(crate) fn get(plan: &Plan) -> Result<Programs> {
        let dir = kept(&plan.dir)?;
        let wireguard_go = match std::env::var_os(OVERRIDE) {
            Some(path) => PathBuf::from(path),
            None => wireguard_go(&dir)?,
        };
        Ok(Programs {
            relayd: plan.relayd.clone(),
            wireguard_go,
            gotatun: installed(&dir, &plan.manifest_dir, "gotatun-cli", "gotatun")?,
            boringtun: installed(&dir, &plan.manifest_dir, "boringtun-cli", "boringtun-cli")?,
        })
    }
}

/// What the peers call themselves, for the report.
pub(crate) fn versions(plan: &Plan) -> Result<String> {
    let programs = Programs::get(plan)?;
    let fetched = package(&kept(&plan.dir)?.join("apt")).filter(|_| std::env::var_os(OVERRIDE).is_none());
    let mut said = vec![match fetched {
        // What it says itself is the year before; the name is `wireguard-go_VERSION_ARCHITECTURE.deb`.
        Some(package) => {
            package.file_stem().map(|name| name.to_string_lossy().replace('_', " ")).unwrap_or_default()
        }
        None => says(&programs.wireguard_go)?,
    }];
    said.extend([says(&programs.gotatun)?, says(&programs.boringtun)?]);
    Ok(said.join(", "))
}

fn says(program: &Path) -> Result<String> {
    let out = Command::new(program).arg("--version").output();
    let out = out.with_context(|| format!("could not start {}", program.display()))?;
    let text = String::from_utf8_lossy(&out.stdout);
    Ok(text.lines().next().unwrap_or_default().trim().to_owned())
}

/// The package that was fetched.
fn package(apt: &Path) -> Option<PathBuf> {
    let mut files = std::fs::read_dir(apt).ok()?.flatten().map(|file| file.path());
    files.find(|path| path.extension().is_some_and(|end| end == "deb"))
}

/// Beside the folders of quick and of full runs, since neither should fetch again what the other has.
fn kept(dir: &Path) -> Result<PathBuf> {
    let dir = dir.parent().unwrap_or(dir).join("tunnels");
    std::fs::create_dir_all(&dir).with_context(|| format!("could not make {}", dir.display()))?;
    Ok(dir)
}

/// `cargo install` into a folder of ours, unless it is there already.
fn installed(dir: &Path, manifest_dir: &Path, package: &str, program: &str) -> Result<PathBuf> {
    let version = version(manifest_dir, package)?;
    let root = dir.join(format!("{package}-{version}"));
    let path = root.join("bin").join(program);
    if !path.is_file() {
        eprintln!("installing {package} {version}");
        let mut cargo = Command::new("cargo");
        cargo.args(["install", "--locked", "--version", &version, "--root"]).arg(&root).arg(package);
        run(cargo.env("CARGO_TARGET_DIR", dir.join("target")))?;
    }
    Ok(path)
}

/// As the root Cargo.toml has it in `workspace.metadata.peers`.
fn version(manifest_dir: &Path, package: &str) -> Result<String> {
    let mut cargo = Command::new("cargo");
    cargo.args(["metadata", "--no-deps", "--offline", "--format-version", "1", "--manifest-path"]);
    let out = cargo.arg(manifest_dir.join("Cargo.toml")).output().context("could not start cargo")?;
    let metadata: Value =
        serde_json::from_slice(&out.stdout).context("cargo says nothing of the workspace")?;
    let version = metadata["metadata"]["peers"][package].as_str();
    Ok(version.with_context(|| format!("the root Cargo.toml names no version of {package}"))?.to_owned())
}

/// Fetched with lists of its own, so that the machine's are left alone, from where the machine has Debian from.
fn wireguard_go(dir: &Path) -> Result<PathBuf> {
    let root = dir.join("wireguard-go");
    let program = root.join("usr/bin/wireguard-go");
    if program.is_file() {
        return Ok(program);
    }
    let apt = dir.join("apt");
    for folder in ["lists/partial", "cache/archives/partial"] {
        std::fs::create_dir_all(apt.join(folder)).context("no folder for apt")?;
    }
    let targets =
        Command::new("apt-get").args(["indextargets", "--format", "$(REPO_URI)", "Label: Debian"]).output();
    let targets = targets.context("could not start apt-get")?;
    let targets = String::from_utf8_lossy(&targets.stdout);
    let mirror = targets.lines().next().context("apt has no mirror of Debian")?;
    let sources = apt.join("sources.list");
    let keys = "/usr/share/keyrings/debian-archive-keyring.gpg";
    let text = format!("deb [signed-by={keys}] {mirror} {SUITE} main\n");
    std::fs::write(&sources, text).with_context(|| format!("could not write {}", sources.display()))?;
    let get = || {
        let mut command = Command::new("apt-get");
        for (name, path) in [
            ("Dir::Etc::sourcelist", sources.clone()),
            ("Dir::Etc::sourceparts", "-".into()),
            ("Dir::State::lists", apt.join("lists")),
            ("Dir::Cache", apt.join("cache")),
        ] {
            command.arg("-o").arg(format!("{name}={}", path.display()));
        }
        command.arg("--quiet").current_dir(&apt).env("DEBIAN_FRONTEND", "noninteractive");
        // Root's files are not for apt's own user to write.
        command.args(["-o", "APT::Sandbox::User=root"]);
        command
    };
    run(get().arg("update"))?;
    run(get().args(["download", "wireguard-go"]))?;
    let package = package(&apt).context("apt fetched nothing")?;
    run(Command::new("dpkg-deb").arg("--extract").arg(package).arg(&root))?;
    Ok(program)
}

fn run(command: &mut Command) -> Result<()> {
    let status = command.status().with_context(|| format!("could not start {command:?}"))?;
    ensure!(status.success(), "{command:?} failed");
    Ok(())
}
