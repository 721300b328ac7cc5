//! A server under measurement: started with its output in a file, its processor time and memory read from /proc with
//! all its children, ended by its id.

use std::fs::File;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use rustix::process::{Pid, Signal, kill_process};

use crate::machine;

/// How long a server may take to listen, and to end when asked.
const PATIENCE: Duration = Duration::from_secs(30);
const GLANCE: Duration = Duration::from_millis(20);

#[derive(Debug)]
pub(crate) struct Process {
    name: &'static str,
    child: Child,
    log: PathBuf,
}

/// What a server and its children used during a window.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Usage {
    pub(crate) cpu_s: f64,
    pub(crate) wall_s: f64,
    /// Cores that programs which have nothing to do with the measurement kept busy.
    pub(crate) others_cores: f64,
}

impl Process {
    pub(crate) fn start(name: &'static str, program: &Path, args: &[String], dir: &Path) -> Result<Process> {
        let log = dir.join(format!("{name}.log"));
        let out = File::create(&log).with_context(|| format!("could not write {}", log.display()))?;
        // `setpriv` ties it to our life, so that nothing is left behind even when we are killed.
        let child = Command::new("setpriv")
            .args(["--pdeathsig", "TERM", "--"])
            .arg(program)
            .args(args)
            .current_dir(dir)
            .stdin(Stdio::null())
            .stdout(out.try_clone().context("could not share the log")?)
            .stderr(out)
            .process_group(0)
            .spawn()
            .with_context(|| format!("could not start {name}"))?;
        Ok(Process { name, child, log })
    }

    /// Waits until the server is as far as `condition` wants it.
    pub(crate) fn await_ready<T>(&mut self, mut condition: impl FnMut() -> Option<T>) -> Result<T> {
        let begun = Instant::now();
        loop {
            if let Some(found) = condition() {
                return Ok(found);
            }
            if self.child.try_wait().ok().flatten().is_some() || begun.elapsed() > PATIENCE {
                let log = std::fs::read_to_string(&self.log).unwrap_or_default();
                bail!("{} does not answer; its log is {}:\n{}", self.name, self.log.display(), log.trim());
            }
            std::thread::sleep(GLANCE);
        }
    }

    /// Runs `work`, and says what it cost this server. A child that came or went meanwhile spoils the window.
    pub(crate) fn window<T>(&self, work: impl FnOnce() -> Result<T>) -> Result<(T, Usage)> {
        window(&[self], work)
    }

    /// Proportional set size of the server and its children.
    pub(crate) fn pss_mb(&self) -> Result<f64> {
        let mut kb = 0;
        for pid in self.family()? {
            let path = format!("/proc/{pid}/smaps_rollup");
            let text = std::fs::read_to_string(&path).with_context(|| format!("could not read {path}"))?;
            kb += pss_kb(&text).with_context(|| format!("{path} says nothing of memory"))?;
        }
        Ok(kb as f64 * 1024.0 / 1e6)
    }

    /// Its id and those of all below it, in order.
    fn family(&self) -> Result<Vec<u32>> {
        let mut ids = vec![self.child.id()];
        let mut next = 0;
        while let Some(pid) = ids.get(next).copied() {
            next += 1;
            let tasks = std::fs::read_dir(format!("/proc/{pid}/task"));
            for task in tasks.with_context(|| format!("{} is gone", self.name))?.flatten() {
                let children = std::fs::read_to_string(task.path().join("children")).unwrap_or_default();
                ids.extend(children.split_whitespace().filter_map(|id| id.parse::<u32>().ok()));
            }
        }
        ids.sort_unstable();
        Ok(ids)
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        if let Some(pid) = i32::try_from(self.child.id()).ok().and_then(Pid::from_raw) {
            // One that has just ended can't be signalled, which is what was wanted.
            kill_process(pid, Signal::TERM).ok();
        }
        let begun = Instant::now();
        while matches!(self.child.try_wait(), Ok(None)) {
            if begun.elapsed() > PATIENCE {
                self.child.kill().ok();
                self.child.wait().ok();
                return;
            }
            std::thread::sleep(GLANCE);
        }
    }
}

/// Runs `work`, and says what it cost these together. A child that came or went meanwhile spoils the window.
pub(crate) fn window<T>(processes: &[&Process], work: impl FnOnce() -> Result<T>) -> Result<(T, Usage)> {
    let own = std::process::id();
    let families = || processes.iter().map(|process| process.family()).collect::<Result<Vec<_>>>();
    let before = families()?;
    let all = before.concat();
    let (begun, busy, used, own_used) = (Instant::now(), machine::busy_s()?, cpu_s(&all)?, cpu_s(&[own])?);
    let done = work()?;
    let usage_s = cpu_s(&all)? - used;
    let wall_s = begun.elapsed().as_secs_f64();
    let others = machine::busy_s()? - busy - usage_s - (cpu_s(&[own])? - own_used);
    for ((process, before), after) in processes.iter().zip(before).zip(families()?) {
        if after != before {
            let log = process.log.display();
            bail!("a child of {} came or went during the window; its log is {log}", process.name);
        }
    }
    let others_cores = (others / wall_s).max(0.0);
    Ok((done, Usage { cpu_s: usage_s, wall_s, others_cores }))
}

fn cpu_s(pids: &[u32]) -> Result<f64> {
    let mut ticks = 0;
    for pid in pids {
        let path = format!("/proc/{pid}/stat");
        let text = std::fs::read_to_string(&path).with_context(|| format!("could not read {path}"))?;
        ticks += cpu_ticks(&text).with_context(|| format!("{path} is not as it should be"))?;
    }
    Ok(ticks as f64 / machine::ticks_per_s())
}

/// Fields 14 and 15, utime and stime; the second field, a name in brackets, may hold anything.
fn cpu_ticks(stat: &str) -> Option<u64> {
    let (_, after_name) = stat.rsplit_once(')')?;
    let mut fields = after_name.split_whitespace().skip(11);
    let user: u64 = fields.next()?.parse().ok()?;
    let system: u64 = fields.next()?.parse().ok()?;
    Some(user + system)
}

fn pss_kb(rollup: &str) -> Option<u64> {
    let line = rollup.lines().find_map(|line| line.strip_prefix("Pss:"))?;
    line.split_whitespace().next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn processor_time_is_read_behind_any_name() {
        let stat = "7 (a) b (c) S 1 7 7 0 -1 4194560 900 0 0 0 31 12 5 6 20 0 4 0 100 1 1";
        assert_eq!(cpu_ticks(stat), Some(43));
        assert_eq!(cpu_ticks("7 no name"), None);
    }

    #[test]
    fn memory_is_the_proportional_share() {
        assert_eq!(pss_kb("Rss:   900 kB\nPss:    310 kB\nPss_Anon: 200 kB\n"), Some(310));
    }
}
