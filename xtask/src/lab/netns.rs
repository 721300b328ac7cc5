//! Network namespaces of our own: made, entered, and certainly removed.
//!
//! Their names begin with `rbx-` and the id of the process that made them, so that what a killed run left behind can be
//! told from what another run is using, and nothing else is ever touched.

use std::fs::{self, File};
use std::os::fd::AsFd as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context as _, Result, anyhow};
use rustix::process::{Pid, Signal, kill_process};
use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};

use crate::command;

const PREFIX: &str = "rbx-";
const DIR: &str = "/run/netns";

/// A namespace that goes when this does.
#[derive(Debug)]
pub(crate) struct Namespace {
    name: String,
}

impl Namespace {
    /// `run` tells worlds of one process apart.
    pub(crate) fn new(run: u32, name: &str) -> Result<Namespace> {
        let name = format!("{PREFIX}{}-{run}-{name}", std::process::id());
        let namespace = Namespace { name };
        let path = namespace.path();
        fs::create_dir_all(DIR).with_context(|| format!("making {DIR}"))?;
        File::create_new(&path).with_context(|| format!("making {}", path.display()))?;
        // Not `ip netns add`, which has to go back to where it came from: in a user namespace it may not.
        command::output(Command::new("unshare").arg(format!("--net={}", path.display())).arg("true"))?;
        Ok(namespace)
    }

    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    fn path(&self) -> PathBuf {
        Path::new(DIR).join(&self.name)
    }

    /// Does some work in the namespace. Sockets that it makes stay there, whoever uses them later.
    pub(crate) fn inside<T: Send>(&self, work: impl FnOnce() -> Result<T> + Send) -> Result<T> {
        self.handle()?.inside(work)
    }

    /// A way in for another thread.
    pub(crate) fn handle(&self) -> Result<Handle> {
        let file = File::open(self.path()).with_context(|| format!("namespace {}", self.name))?;
        Ok(Handle(file))
    }

    /// A program in the namespace, which sees `hosts` in place of /etc/hosts.
    pub(crate) fn command(&self, program: &Path, hosts: &Path) -> Command {
        let mut command = Command::new("nsenter");
        command.arg(format!("--net={}", self.path().display()));
        // A slave: the machine does not see this mount, and what the machine unmounts goes here as well.
        command.args(["--", "unshare", "--mount", "--propagation", "slave", "--", "sh", "-c"]);
        command.arg("mount --bind \"$0\" /etc/hosts && exec \"$@\"").arg(hosts).arg(program);
        command
    }

    /// A tool of the machine in the namespace.
    pub(crate) fn tool(&self, program: &str) -> Command {
        let mut command = Command::new("nsenter");
        command.arg(format!("--net={}", self.path().display())).args(["--", program]);
        command
    }

    /// `ip` with many commands at once, as lines.
    pub(crate) fn ip(&self, lines: &str) -> Result<()> {
        batch(Command::new("ip").args(["-n", &self.name, "-batch", "-"]), lines)
    }

    pub(crate) fn nft(&self, rules: &str) -> Result<()> {
        batch(self.tool("nft").args(["-f", "-"]), rules)
    }
}

/// An open namespace.
#[derive(Debug)]
pub(crate) struct Handle(File);

impl Handle {
    /// The network that a process is in.
    pub(crate) fn of_process(id: u32) -> Result<Handle> {
        let path = format!("/proc/{id}/ns/net");
        File::open(&path).map(Handle).with_context(|| format!("namespace {path}"))
    }

    /// As `Namespace::inside`.
    pub(crate) fn inside<T: Send>(&self, work: impl FnOnce() -> Result<T> + Send) -> Result<T> {
        std::thread::scope(|scope| {
            let inside = || {
                move_into_link_name_space(self.0.as_fd(), Some(LinkNameSpaceType::Network))
                    .context("entering a namespace")?;
                work()
            };
            // Only this thread moves: namespaces belong to threads.
            scope.spawn(inside).join().map_err(|_| anyhow!("the work in a namespace panicked"))?
        })
    }
}

impl Drop for Namespace {
    fn drop(&mut self) {
        remove(&self.name);
    }
}

fn batch(command: &mut Command, text: &str) -> Result<()> {
    use std::io::Write as _;
    let name = command.get_program().to_string_lossy().into_owned();
    command.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::piped());
    let mut child = command.spawn().with_context(|| format!("could not start {name}"))?;
    let mut stdin = child.stdin.take().context("no standard input")?;
    let written = stdin.write_all(text.as_bytes());
    drop(stdin);
    let done = child.wait_with_output().with_context(|| format!("waiting for {name}"))?;
    if !done.status.success() {
        let said = String::from_utf8_lossy(&done.stderr);
        return Err(anyhow!("{name} ended with {}: {}\n{text}", done.status, said.trim()));
    }
    written.with_context(|| format!("telling {name} what to do"))
}

/// Removes what runs of this command left that were killed. Says how many namespaces there were.
pub(crate) fn remove_leftovers() -> usize {
    let Ok(entries) = fs::read_dir(DIR) else { return 0 };
    let names = entries.flatten().filter_map(|entry| entry.file_name().into_string().ok());
    let left: Vec<String> = names.filter(|name| maker(name).is_some_and(|pid| !is_ours(pid))).collect();
    left.iter().for_each(|name| remove(name));
    left.len()
}

/// The process that made a namespace of this name.
fn maker(name: &str) -> Option<u32> {
    name.strip_prefix(PREFIX)?.split('-').next()?.parse().ok()
}

/// Whether the process lives and is this program, or its tests, whose name has more behind it.
pub(crate) fn is_ours(pid: u32) -> bool {
    pid == std::process::id() || alive(pid).is_some_and(|name| name.starts_with(env!("CARGO_PKG_NAME")))
}

/// The name of a process that is there and not just waiting to be forgotten (proc(5), fields 2 and 3 of stat).
fn alive(pid: u32) -> Option<String> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let (start, rest) = stat.rsplit_once(") ")?;
    let (_, name) = start.split_once('(')?;
    (!rest.starts_with(['Z', 'X'])).then(|| name.to_owned())
}

/// Ends what runs inside, and takes the name away, with which the kernel takes the rest.
fn remove(name: &str) {
    let pids = command::output(Command::new("ip").args(["netns", "pids", name])).unwrap_or_default();
    for pid in pids.split_whitespace().filter_map(|pid| pid.parse().ok()).filter_map(Pid::from_raw) {
        // It may have ended by itself.
        kill_process(pid, Signal::KILL).ok();
    }
    if let Err(error) = command::output(Command::new("ip").args(["netns", "del", name])) {
        eprintln!("{name} stays behind: {error:#}");
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::stop::Stop;

    #[test]
    fn only_names_of_ours_tell_their_maker() {
        assert_eq!(maker("rbx-4711-0-inet"), Some(4711));
        assert_eq!(maker("rb4711A"), None);
        assert_eq!(maker("rbx-probe"), None);
    }

    #[test]
    fn a_process_that_is_no_more_made_what_is_left() {
        let mut child = Command::new("true").spawn().unwrap();
        let pid = child.id();
        assert!(Stop::default().wait_until(Duration::from_secs(10), || alive(pid).is_none()));
        assert!(!is_ours(pid), "it has ended, though nobody has asked yet how");
        child.wait().unwrap();
        assert!(!is_ours(pid));
        assert!(is_ours(std::process::id()));
    }
}
