//! Letting this machine's kernel run the programs of another architecture, by QEMU: a root of that architecture is made by
//! its own programs.

use std::fs;
use std::path::Path;

use anyhow::{Context as _, Result};

use crate::apt::{self, Consent, Purpose};
use crate::command;
use crate::deb::{self, Arch};

const TABLE: &str = "/proc/sys/fs/binfmt_misc";

/// Does what systemd does where it runs: the kernel is told of the emulator, once, until the machine is started anew.
pub(super) fn ensure(arch: Arch, consent: Consent) -> Result<()> {
    if deb::native()? == arch {
        return Ok(());
    }
    apt::require(&[Purpose::Cross], consent)?;
    let name = match arch {
        Arch::Arm64 => "qemu-aarch64",
        Arch::Amd64 => "qemu-x86_64",
    };
    let table = Path::new(TABLE);
    if !table.join("register").exists() {
        command::run(command::program("mount").args(["-t", "binfmt_misc", "binfmt_misc", TABLE]))
            .context("the kernel can't be told of an emulator")?;
    }
    if table.join(name).exists() {
        return Ok(());
    }
    let path = format!("/usr/lib/binfmt.d/{name}.conf");
    let line = fs::read_to_string(&path).with_context(|| format!("reading {path}"))?;
    eprintln!("telling the kernel of the emulator: {path}");
    fs::write(table.join("register"), line.trim()).context("the kernel does not take the emulator")
}
