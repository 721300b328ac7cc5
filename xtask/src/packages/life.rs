//! A package's life on a machine without systemd: install, upgrade, remove, purge, and what is left each time.

use std::collections::BTreeSet;

use anyhow::{Result, ensure};

use super::Packages;
use super::machine::Machine;
use crate::deb::PACKAGES;

/// Every file with its kind, rights and owner; what dpkg and apt remember of themselves is theirs.
const LIST: &str = r"find / -xdev \( -path /mnt -o -path /var/lib/apt -o -path /var/cache -o -path /var/log \) -prune \
    -o -not -path '/var/lib/dpkg/*-old' -not -path '/etc/*-' -printf '%y %m %u:%g %p %l\n' && getent passwd && getent group";

/// An operator's change, which an upgrade has to leave alone.
const CHANGED: &str = "# changed by the operator";

/// What lies in each service's directory after it ran; root may not own it.
const KEPT: [(&str, &str, &str); 2] = [
    ("relayd", "relaybox", "/var/lib/relaybox"),
    ("coordinator-lite", "relaybox-coordinator", "/var/lib/relaybox-coordinator"),
];

pub(super) fn check(machine: &Machine, packages: &Packages) -> Result<()> {
    let before = list(machine)?;
    let [first, next] = &packages.versions;
    install(machine, packages, first)?;
    for (name, user, home) in KEPT {
        let found = machine.sh(&format!("stat --format '%U %G %a' {home}"))?;
        ensure!(found.trim() == format!("{user} {user} 700"), "{home} is {}", found.trim());
        machine.sh(&format!("touch {home}/kept"))?;
        let version = machine.sh(&format!("{name} --version"))?;
        ensure!(version.contains(env!("CARGO_PKG_VERSION")), "{version}");
    }
    machine
        .sh("/usr/lib/relaybox/relaybox-media --version && relayd check-config /etc/relaybox/relayd.toml")?;
    machine.sh(&format!("echo '{CHANGED}' >> /etc/relaybox/relayd.toml"))?;

    install(machine, packages, next)?;
    let versions =
        machine.sh(&format!("dpkg-query --show --showformat '${{Version}}\\n' {}", PACKAGES.join(" ")))?;
    ensure!(versions.lines().all(|version| version == next), "after the upgrade: {versions}");
    machine.sh(&format!("grep --quiet '{CHANGED}' /etc/relaybox/relayd.toml"))?;

    machine.sh(&format!("apt-get remove --yes {}", PACKAGES.join(" ")))?;
    machine.sh(
        "test ! -e /usr/bin/relayd && test ! -e /usr/lib/relaybox && test -e /etc/relaybox/relayd.toml",
    )?;
    for (_, _, home) in KEPT {
        machine.sh(&format!("test -e {home}/kept"))?;
    }

    machine.sh(&format!("apt-get purge --yes {}", PACKAGES.join(" ")))?;
    let after = list(machine)?;
    let left: Vec<&String> = after.difference(&before).collect();
    let lost: Vec<&String> = before.difference(&after).collect();
    ensure!(left.is_empty() && lost.is_empty(), "a purge leaves {left:#?} and takes {lost:#?}");
    println!("install, upgrade, remove, purge: {} files before, and the same after", before.len());
    Ok(())
}

/// As a person would, from files.
pub(super) fn install(machine: &Machine, packages: &Packages, version: &str) -> Result<()> {
    let files: Vec<String> = PACKAGES.iter().map(|name| packages.path(name, version)).collect();
    machine.sh(&format!("apt-get install --yes --no-install-recommends {}", files.join(" "))).map(drop)
}

fn list(machine: &Machine) -> Result<BTreeSet<String>> {
    Ok(machine.sh(LIST)?.lines().map(str::to_owned).collect())
}
