//! How much memory a box's daemon holds, its children counted in: as the kernel divides shared pages (PSS), read where it
//! runs, under its unit.
//!
//! Judges nothing but the one budget that every release has to keep.

use anyhow::{Context as _, Result, ensure};

/// Idle in the mesh: 40 MB.
pub(crate) const IDLE_KIB_MAX: u64 = 40_000_000 / 1024;

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
pub(crate) fn judge(kib: u64) -> Result<()> {
    ensure!(kib <= IDLE_KIB_MAX, "idle in the mesh the daemon holds {kib} KiB, more than {IDLE_KIB_MAX}");
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
    fn the_budget_is_40_megabytes() {
        judge(39_062).unwrap();
        assert!(judge(39_063).is_err());
    }
}
