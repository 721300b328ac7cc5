//! A box that is made new from its page: everything that it knew is gone after the start that follows.

use std::time::Duration;

use anyhow::{Context as _, Result, ensure};

use super::guest::Guest;
use super::trial::{Trial, answers};

/// Until the loader speaks again, and until the screen shows what it has to show.
const AGAIN_LIMIT: Duration = Duration::from_secs(120);
/// One file of each place: what the card said, the PIN, what the daemon writes about itself.
const KEPT: &str = "cat /data/box/relaybox.toml /var/lib/relaybox/pin";

pub(super) fn trial(trial: &Trial<'_>, guest: &mut Guest) -> Result<()> {
    let before = guest.sh(KEPT)?;
    let pin = guest.sh("cat /var/lib/relaybox/pin")?;
    let refused = ask(guest, "/api/v1/setup/reset", "", "{\"name\":\"relaybox\"}")?;
    ensure!(refused.contains(" 401 "), "without the PIN a reset gets: {refused}");
    let opened = ask(guest, "/api/v1/session", "", &format!("{{\"pin\":\"{}\"}}", pin.trim()))?;
    let cookie = opened.lines().find_map(|line| line.strip_prefix("set-cookie: ")?.split(';').next());
    let cookie = format!("Cookie: {}\\r\\n", cookie.with_context(|| format!("the PIN gets: {opened}"))?);
    let wrong = ask(guest, "/api/v1/setup/reset", &cookie, "{\"name\":\"cellar\"}")?;
    ensure!(wrong.contains(" 422 ") && wrong.contains("type relaybox"), "another name gets: {wrong}");
    let loads = guest.loads();
    let right = ask(guest, "/api/v1/setup/reset", &cookie, "{\"name\":\"relaybox\"}")?;
    ensure!(right.contains(" 202 "), "the right name gets: {right}");
    guest.wait("the box starts again", AGAIN_LIMIT, trial.stop, |guest| {
        ensure!(guest.loads() > loads, "it still runs");
        Ok(())
    })?;
    let limit = Duration::from_secs(trial.qemu.boot_s_max);
    let took = guest.wait("its page is back", limit, trial.stop, |_| answers(trial.street, "relaybox"))?;
    let after = guest.sh("ls /data/box; cat /var/lib/relaybox/pin; ls /var/lib/relaybox/new")?;
    ensure!(after.contains("/var/lib/relaybox/new"), "it does not take itself for a new one: {after}");
    ensure!(!after.contains(pin.trim()) && !after.contains("reset"), "it remembers: {before}{after}");
    // Half blocks among the screen's letters, as UCS-4 (vcs(4)).
    guest.wait("the screen shows a code for a phone's camera", AGAIN_LIMIT, trial.stop, |guest| {
        guest.sh("od -A n -v -t x4 /dev/vcsu1 | grep --quiet -e 00002580 -e 00002584").map(drop)
    })?;
    println!("{}: made new from its page; back after {} s", trial.board.id, took.as_secs());
    Ok(())
}

fn ask(guest: &mut Guest, path: &str, more: &str, body: &str) -> Result<String> {
    let head = format!(
        "POST {path} HTTP/1.1\\r\\nHost: 127.0.0.1\\r\\nConnection: close\\r\\nContent-Type: application/json\\r\\n{more}\
         Content-Length: {}\\r\\n\\r\\n",
        body.len()
    );
    guest.sh(&format!(
        "exec 5<> /dev/tcp/127.0.0.1/80; printf '{head}' >&5; printf %s '{body}' >&5; timeout 20 cat <&5"
    ))
}
