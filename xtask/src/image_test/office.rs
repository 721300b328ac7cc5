//! The coordinator beside the booted image, and what its operator does.

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};

use super::street::{OFFICE, Street};
use crate::child::Child;
use crate::command;
use crate::stop::Stop;

const PORT: u16 = 8443;
/// A box that is there was heard of within this time.
const FRESH: Duration = Duration::from_secs(15);
const START_LIMIT: Duration = Duration::from_secs(20);
/// An address for documentation (RFC 5737).
const FOREIGN: &str = "https://203.0.113.9:8443";

pub(super) struct Office<'a> {
    _service: Child,
    street: &'a Street,
    coordinator: PathBuf,
    dir: PathBuf,
}

impl<'a> Office<'a> {
    /// Makes a mesh and starts its coordinator.
    pub(super) fn open(
        street: &'a Street,
        coordinator: &Path,
        dir: &Path,
        stop: &Stop,
    ) -> Result<Office<'a>> {
        let (coordinator, dir) = (coordinator.to_owned(), dir.join("office"));
        let operate = |words: &[&str]| {
            let mut command = street.in_the_office(&coordinator);
            command.args(words).arg("--data-dir").arg(dir.join("service"));
            command
        };
        let url = format!("https://{OFFICE}:{PORT}");
        let mut init = operate(&["init", "--url", &url]);
        command::output(init.arg("--root-dir").arg(dir.join("operator")))?;
        let serve = operate(&["serve", "--heartbeat-s", "1", "--listen", &format!("{OFFICE}:{PORT}")]);
        let mut service = Child::start("coordinator-lite", &serve, &dir.join("service.log"))?;
        let listens = || std::fs::metadata(dir.join("service/url")).is_ok() || service.ended().is_some();
        stop.wait_until(START_LIMIT, listens);
        if service.ended().is_some() {
            return Err(service.failure());
        }
        Ok(Office { _service: service, street, coordinator, dir })
    }

    /// `invite --name NAME`, as one line.
    pub(super) fn invite(&self, name: &str) -> Result<String> {
        let mut invite = self.operate(&["invite", "--name", name, "--quiet"]);
        let made = command::output(invite.arg("--root-dir").arg(self.dir.join("operator")))?;
        Ok(made.trim().to_owned())
    }

    /// An invite of a mesh that is none of this one's; its coordinator is never started.
    pub(super) fn foreign_invite(&self, name: &str) -> Result<String> {
        let operate = |words: &[&str]| {
            let mut command = self.street.in_the_office(&self.coordinator);
            command.args(words).arg("--data-dir").arg(self.dir.join("foreign"));
            command.arg("--root-dir").arg(self.dir.join("foreigner"));
            command
        };
        command::output(&mut operate(&["init", "--url", FOREIGN]))?;
        Ok(command::output(&mut operate(&["invite", "--name", name, "--quiet"]))?.trim().to_owned())
    }

    /// `invite --card NAME --into IMAGE`.
    pub(super) fn invite_into(&self, name: &str, image: &Path) -> Result<()> {
        let mut invite = self.operate(&["invite", "--card", name]);
        invite.arg("--into").arg(image).arg("--root-dir").arg(self.dir.join("operator"));
        command::output(&mut invite).map(drop)
    }

    /// The coordinator's word that the box is there; its address in the mesh.
    pub(super) fn sees(&self, name: &str) -> Result<String> {
        let line = self.line(name)?;
        let heard =
            heard(&line).with_context(|| format!("the coordinator has not heard of it yet: {line}"))?;
        ensure!(heard <= FRESH, "the coordinator has not heard of it since: {line}");
        line.split_whitespace().nth(1).map(str::to_owned).context("it has no address")
    }

    /// The address of a box that may be off.
    pub(super) fn knows(&self, name: &str) -> Result<String> {
        self.line(name)?.split_whitespace().nth(1).map(str::to_owned).context("it has no address")
    }

    fn line(&self, name: &str) -> Result<String> {
        let list = command::output(&mut self.operate(&["box", "list"]))?;
        let line = list.lines().find(|line| line.split_whitespace().next() == Some(name));
        line.map(str::to_owned).with_context(|| format!("the coordinator knows no box {name}"))
    }

    fn operate(&self, words: &[&str]) -> std::process::Command {
        let mut command = self.street.in_the_office(&self.coordinator);
        command.args(words).arg("--data-dir").arg(self.dir.join("service"));
        command
    }
}

/// How long ago a box was heard of, in the list that operators see; none if that is minutes ago, or never was.
fn heard(line: &str) -> Option<Duration> {
    let words: Vec<&str> = line.split_whitespace().collect();
    let at = words.windows(2).position(|pair| pair == ["s", "ago"])?;
    words.get(at.checked_sub(1)?)?.parse().ok().map(Duration::from_secs)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_list_says_when_a_box_was_heard_of() {
        assert_eq!(heard("ana  fd52::1  fresh  3 s ago  0.1 %  0.0 %"), Some(Duration::from_secs(3)));
        assert_eq!(heard("ana  fd52::1  fresh  never  0.0 %  0.0 %"), None);
        assert_eq!(heard("ana  fd52::1  fresh  5 min ago  0.0 %  0.0 %"), None);
    }
}
