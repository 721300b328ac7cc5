//! How much memory a box's daemon holds, its children counted in: as the kernel divides shared pages (PSS), read where it
//! runs, under its unit.
//!
//! Judges nothing but the two budgets that every release has to keep.

use anyhow::{Context as _, Result, ensure};

/// What a box does while it is measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Load {
    /// Nothing but to belong to its mesh: 40 MB.
    Idle,
    /// One stream of 6 Mbit/s: 120 MB, and what a stream may take in the cache (`stream_mib_max`, 64 MiB as shipped).
    Carrying,
}

impl Load {
    const fn kib_max(self) -> u64 {
        match self {
            Load::Idle => 40_000_000 / 1024,
            Load::Carrying => 120_000_000 / 1024 + 64 * 1024,
        }
    }
}

/// A line of shell for root there: what the kernel says of each process of the unit (proc_pid_smaps(5)).
pub(crate) const ASK: &str =
    "sed 's|.*|/proc/&/smaps_rollup|' /sys/fs/cgroup/system.slice/relayd.service/cgroup.procs | xargs cat";

/// What that line said, as one sum.
pub(crate) fn pss_kib(said: &str) -> Result<u64> {
    let mut sum = None;
    for line in said.lines().filter_map(|line| line.strip_prefix("Pss:")) {
        let kib = line.trim().strip_suffix(" kB").and_then(|kib| kib.trim().parse::<u64>().ok());
        *sum.get_or_insert(0) += kib.with_context(|| format!("no number: Pss:{line}"))?;
    }
    sum.with_context(|| format!("the kernel says nothing of its memory: {said}"))
}

/// Whether it is within the budget.
pub(crate) fn judge(load: Load, kib: u64) -> Result<()> {
    let most = load.kib_max();
    ensure!(kib <= most, "{load:?}, the daemon holds {kib} KiB (PSS), more than {most}");
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_processes_of_a_unit_count() {
        let said = "55d0-7ffd ---p 00000000 00:00 0  [rollup]\nRss: 900 kB\nPss:   310 kB\nPss_Anon: 200 kB\n\
                    55d1-7ffd ---p 00000000 00:00 0  [rollup]\nPss:    12 kB\n";
        assert_eq!(pss_kib(said).unwrap(), 322);
        assert!(pss_kib("cat: /proc/7/smaps_rollup: No such file").is_err());
    }

    #[test]
    fn the_budgets_are_40_megabytes_and_120_with_the_cache() {
        judge(Load::Idle, 39_062).unwrap();
        assert!(judge(Load::Idle, 39_063).is_err());
        judge(Load::Carrying, 182_723).unwrap();
        assert!(judge(Load::Carrying, 182_724).is_err());
    }
}
