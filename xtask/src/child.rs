//! A program in the background: started with its output in a file, ended by its id on every way out.
//!
//! Each child leads a process group of its own, so that Ctrl-C reaches only us and we choose the order in which
//! things stop; `setpriv` ties it to our life, so that nothing is left behind even when we are killed.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus, Stdio};
use std::time::Duration;

use anyhow::{Context as _, Result};
use rustix::process::{Pid, Signal, kill_process};
use std::os::unix::process::CommandExt as _;

use crate::stop::Stop;

/// How long a child may take to end by itself before it is killed.
const GRACE: Duration = Duration::from_secs(5);

/// How many lines of a log are shown when its program failed.
const TAIL_LINES: usize = 15;

#[derive(Debug)]
pub(crate) struct Child {
    name: String,
    log: PathBuf,
    process: std::process::Child,
}

impl Child {
    /// Starts the program; what it prints goes to `log`, which begins empty.
    pub(crate) fn start(name: &str, command: &Command, log: &Path) -> Result<Child> {
        let out = File::create(log).with_context(|| format!("could not write {}", log.display()))?;
        let mut tied = Command::new("setpriv");
        tied.args(["--pdeathsig", "TERM", "--"]).arg(command.get_program()).args(command.get_args());
        for (key, value) in command.get_envs() {
            match value {
                Some(value) => tied.env(key, value),
                None => tied.env_remove(key),
            };
        }
        if let Some(dir) = command.get_current_dir() {
            tied.current_dir(dir);
        }
        let process = tied
            .stdin(Stdio::null())
            .stdout(out.try_clone().context("could not share the log")?)
            .stderr(out)
            .process_group(0)
            .spawn()
            .with_context(|| format!("could not start {name}"))?;
        Ok(Child { name: name.to_owned(), log: log.to_owned(), process })
    }

    pub(crate) fn id(&self) -> u32 {
        self.process.id()
    }

    /// How it ended, if it has.
    pub(crate) fn ended(&mut self) -> Option<ExitStatus> {
        self.process.try_wait().ok().flatten()
    }

    /// An error with the end of its log, for a child that should still be running.
    pub(crate) fn failure(&mut self) -> anyhow::Error {
        let how = match self.ended() {
            Some(status) => format!("ended with {status}"),
            None => "did not do what it should".to_owned(),
        };
        anyhow::anyhow!("{} {how}; the end of {}:\n{}", self.name, self.log.display(), self.log_tail())
    }

    pub(crate) fn log_tail(&self) -> String {
        let text = std::fs::read(&self.log).unwrap_or_default();
        let text = String::from_utf8_lossy(&text);
        let lines: Vec<&str> = text.lines().collect();
        let first = lines.len().saturating_sub(TAIL_LINES);
        lines[first..].iter().map(|line| format!("    {line}\n")).collect()
    }

    /// Ends it: asks first, kills after a while. True if it ended by itself when asked.
    pub(crate) fn stop(&mut self) -> bool {
        if self.ended().is_some() {
            return true;
        }
        self.signal(Signal::TERM);
        let willing = Stop::default().wait_until(GRACE, || self.ended().is_some());
        if !willing {
            self.kill();
        }
        willing
    }

    /// Ends it at once, as a crash or a pulled plug would.
    pub(crate) fn kill(&mut self) {
        self.signal(Signal::KILL);
        self.process.wait().ok();
    }

    fn signal(&self, signal: Signal) {
        if let Some(pid) = i32::try_from(self.id()).ok().and_then(Pid::from_raw) {
            // A process that has just ended can't be signalled, which is what was wanted.
            kill_process(pid, signal).ok();
        }
    }
}

impl Drop for Child {
    fn drop(&mut self) {
        self.stop();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shell(name: &str, script: &str) -> Child {
        let log = std::env::temp_dir().join(format!("xtask-{name}-{}.log", std::process::id()));
        Child::start(name, Command::new("sh").args(["-c", script]), &log).unwrap()
    }

    #[test]
    fn a_child_that_is_asked_ends() {
        let mut child = shell("willing", "exec sleep 1000");
        assert!(child.ended().is_none());
        assert!(child.stop());
        std::fs::remove_file(&child.log).unwrap();
    }

    #[test]
    fn a_failure_shows_the_end_of_the_log() {
        let mut child = shell("failing", "echo no such port; exit 4");
        assert!(Stop::default().wait_until(Duration::from_secs(10), || child.ended().is_some()));
        let text = child.failure().to_string();
        assert!(text.contains("exit status: 4") && text.contains("    no such port\n"), "{text}");
        std::fs::remove_file(&child.log).unwrap();
    }
}
