//! How closed the units are, by systemd's own measure: 0 is shut, 10 wide open.

use std::path::Path;

use anyhow::{Context as _, Result, bail, ensure};

use crate::command;

/// A unit, with a drop-in beside it or none, and the most it may have, in tenths.
const MOST: [(&str, Option<&str>, u32); 5] = [
    ("relayd.service", None, 15),
    ("coordinator-lite.service", None, 15),
    // It holds CAP_NET_ADMIN, and nothing else.
    ("relaybox-interface.service", None, 18),
    // It holds CAP_SYS_TIME, and nothing else.
    ("relaybox-clock.service", None, 18),
    // It holds CAP_NET_BIND_SERVICE, and nothing else.
    ("coordinator-lite.service", Some("coordinator-lite-port-443.conf"), 18),
];

/// Units that are no services: systemd measures none.
const UNMEASURED: [&str; 1] = ["relaybox-interface.path"];

pub(super) fn check(systemd: &Path) -> Result<()> {
    let scratch = command::target().join("packages/exposure");
    for (unit, drop_in, most) in MOST {
        if scratch.exists() {
            std::fs::remove_dir_all(&scratch).with_context(|| format!("clearing {}", scratch.display()))?;
        }
        let beside = scratch.join(format!("{unit}.d"));
        std::fs::create_dir_all(&beside).with_context(|| format!("making {}", beside.display()))?;
        let copy = |from: &str, to: &Path| {
            std::fs::copy(systemd.join(from), to).map(drop).with_context(|| format!("copying {from}"))
        };
        copy(unit, &scratch.join(unit))?;
        if let Some(drop_in) = drop_in {
            copy(drop_in, &beside.join(drop_in))?;
        }
        let found = measure(&scratch.join(unit))?;
        let name = drop_in.unwrap_or(unit);
        ensure!(found <= most, "{name}: exposure {}, more than {}", tenths(found), tenths(most));
        println!("{name}: exposure {} of {}", tenths(found), tenths(most));
    }
    every_unit_has_a_limit(systemd)
}

fn measure(unit: &Path) -> Result<u32> {
    let mut analyze = command::program("systemd-analyze");
    let said = command::output(analyze.args(["security", "--offline=true", "--no-pager"]).arg(unit))?;
    read(&said).with_context(|| format!("systemd-analyze says nothing of {}", unit.display()))
}

/// `→ Overall exposure level for relayd.service: 1.3 OK`, in tenths.
fn read(said: &str) -> Option<u32> {
    let line = said.lines().find(|line| line.contains("Overall exposure level for "))?;
    let number = line.rsplit_once(": ")?.1.split_whitespace().next()?;
    let (whole, tenth) = number.split_once('.')?;
    Some(whole.parse::<u32>().ok()? * 10 + tenth.parse::<u32>().ok()?)
}

fn every_unit_has_a_limit(systemd: &Path) -> Result<()> {
    for entry in std::fs::read_dir(systemd).with_context(|| format!("reading {}", systemd.display()))? {
        let name = entry.context("reading units")?.file_name();
        let name = name.to_string_lossy();
        let is_unit = [".service", ".path", ".socket", ".timer"].iter().any(|end| name.ends_with(end));
        let known = MOST.iter().any(|(unit, ..)| *unit == name) || UNMEASURED.contains(&&*name);
        if is_unit && !known {
            bail!("systemd/{name} has no limit of exposure: name one");
        }
    }
    Ok(())
}

fn tenths(number: u32) -> String {
    format!("{}.{}", number / 10, number % 10)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_measure_is_read_from_systemds_words() {
        let said = "✗ PrivateNetwork=  Service has access to the host's network  0.5\n\n\
                    → Overall exposure level for a.service: 1.3 OK 🙂\n";
        assert_eq!(read(said), Some(13));
        assert_eq!(read("→ Overall exposure level for b.service: 10.0 UNSAFE\n"), Some(100));
        assert_eq!(read("Failed to load unit\n"), None);
    }

    #[test]
    fn units_of_this_tree_have_limits() {
        every_unit_has_a_limit(&command::root().join("systemd")).unwrap();
    }
}
