//! Results as they came, kept one file per item, and the page that is made of all of them.

use std::fmt::Write as _;
use std::path::Path;
use std::process::Command;

use anyhow::{Context as _, Result};
use serde::{Deserialize, Serialize};

use crate::item::Item;
use crate::machine;
use crate::plan::Plan;
use crate::rounds::{Accept, Row, Spread};

const WRITING: &str = "writing to a string can't fail";

/// Cores kept busy by others from which on a result is marked.
const OTHERS_CORES_MAX: f64 = 0.2;

/// One item, with all that one has to know to judge or repeat it.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Outcome {
    rows: Vec<Row>,
    date: String,
    /// When the daemon was built
    built: String,
    commit: String,
    window_s_max: Option<u64>,
    machine: String,
    peers: String,
}

impl Outcome {
    pub(crate) fn new(rows: Vec<Row>, plan: &Plan, peers: String) -> Outcome {
        let (date, built) = (machine::now(), machine::written(&plan.relayd));
        let window_s_max = plan.window_s_max;
        Outcome { rows, window_s_max, date, built, commit: commit(), machine: machine::described(), peers }
    }

    pub(crate) fn keep(&self, item: Item, dir: &Path) -> Result<()> {
        let text = serde_json::to_string_pretty(self).context("could not write the outcome down")?;
        let path = dir.join(format!("{}.json", item.name()));
        std::fs::write(&path, text).with_context(|| format!("could not write {}", path.display()))
    }

    fn read(item: Item, dir: &Path) -> Option<Outcome> {
        let text = std::fs::read(dir.join(format!("{}.json", item.name()))).ok()?;
        serde_json::from_slice(&text)
            .inspect_err(|error| eprintln!("{}: what was kept can't be read: {error}", item.name()))
            .ok()
    }
}

/// The commit that is checked out, and whether the sources differ from it.
fn commit() -> String {
    let git = |args: &[&str]| {
        let said = Command::new("git").args(args).output();
        said.map(|out| String::from_utf8_lossy(&out.stdout).trim().to_owned()).unwrap_or_default()
    };
    let commit = git(&["rev-parse", "--short=12", "HEAD"]);
    let changes = git(&["status", "--porcelain", "--untracked-files=no", "--", ":/firmware", ":/Cargo.lock"]);
    if changes.is_empty() { commit } else { format!("{commit} with changes") }
}

/// The page about everything that was measured, whenever that was.
pub(crate) fn page(items: &[Item], dir: &Path) -> String {
    let mut text = String::from(HEAD);
    let outcomes: Vec<(Item, Outcome)> =
        items.iter().filter_map(|item| Some((*item, Outcome::read(*item, dir)?))).collect();
    for (item, outcome) in &outcomes {
        for row in &outcome.rows {
            writeln!(text, "{}", line(*item, row)).expect(WRITING);
        }
    }
    text.push_str("\n## Circumstances\n\n| item | commit | daemon built | measured | windows | load before | cores busy with other things |\n|---|---|---|---|---|---|---|\n");
    for (item, outcome) in &outcomes {
        let Some(first) = outcome.rows.first() else { continue };
        let busiest = outcome.rows.iter().map(|row| row.disturbance.others_cores).fold(0.0, f64::max);
        let Outcome { commit, built, date, .. } = outcome;
        let load = first.disturbance.load_before;
        let windows = outcome.window_s_max.map_or("whole".to_owned(), |most| format!("{most} s at most"));
        let name = item.name();
        writeln!(text, "| {name} | {commit} | {built} | {date} | {windows} | {load:.1} | {busiest:.2} |")
            .expect(WRITING);
    }
    if let Some((_, last)) = outcomes.last() {
        let mut peers: Vec<&str> = outcomes.iter().map(|(_, outcome)| outcome.peers.as_str()).collect();
        peers.dedup();
        writeln!(text, "\nMachine: {}.\nPeers: {}.", last.machine, peers.join(", ")).expect(WRITING);
    }
    text.push_str(METHOD);
    text
}

fn line(item: Item, row: &Row) -> String {
    let Row { what, unit, ours, peer, ratio, accept, rounds, .. } = row;
    let accept = match accept {
        Accept::Ratio(most) => format!("{most}x"),
        Accept::AtMost(most) => format!("{most} {unit}"),
        Accept::Anything => String::new(),
    };
    let verdict = match row.is_met() {
        None => "",
        Some(true) => "met",
        Some(false) => "**missed**",
    };
    let said = |spread: &Option<Spread>, unit: &str| spread.map(|it| shown(it, unit)).unwrap_or_default();
    let (name, mark, ours) = (item.name(), mark(row), shown(*ours, ""));
    let (peer, ratio) = (said(peer, ""), said(ratio, "x"));
    format!("| {name} | {what}, {unit} | {ours} | {peer} | {ratio} | {accept} | {verdict}{mark} | {rounds} |")
}

/// `!` for a machine that others used, `~` for publishers that were late.
fn mark(row: &Row) -> String {
    let disturbance = row.disturbance;
    let mut mark = String::new();
    if disturbance.load_before > machine::LOAD_MAX || disturbance.others_cores > OTHERS_CORES_MAX {
        mark.push_str(" !");
    }
    if disturbance.late > 0 {
        write!(mark, " ~{}", disturbance.late).expect(WRITING);
    }
    mark
}

fn shown(spread: Spread, unit: &str) -> String {
    let Spread { median, min, max } = spread;
    format!("{}{unit} [{}, {}]", number(median), number(min), number(max))
}

/// Three digits that say something.
fn number(value: f64) -> String {
    match value.abs() {
        size if size >= 99.95 => format!("{value:.0}"),
        size if size >= 9.995 => format!("{value:.1}"),
        _ => format!("{value:.2}"),
    }
}

const HEAD: &str = "# Beside its peers

Made by `cargo xtask bench`; `--only NAME` repeats one item, `--quick` only looks whether all of it works. Each number is
the median of the rounds with [lowest, highest]; ratios are taken within a round and are ours / peer's, so less is
better.

| item | what | ours | peer | ratio | accept | verdict | rounds |
|---|---|---|---|---|---|---|---|
";

const METHOD: &str = "
`!`: the load average was above 3 before the item began, or programs that have nothing to do with it kept more than 0.2
cores busy: trust the ratio, not the number. `~N`: N rounds count although a publisher sent a frame more than 50 ms
late, since even after as many rounds again there were not enough better ones.

## How

- Everything runs on one machine over loopback: servers, publishers, viewers. Ours and the peer's take turns, round by
  round. Processor time is user + system of the server and all its children (relayd with its media process, nginx with
  its worker) from `/proc/PID/stat`; memory is PSS from `smaps_rollup`. Publishers and viewers are threads of the bench
  and count nowhere.
- Publishers send 720p30 with a keyframe every 2 s and AAC, encoded once, each frame when it is due, in the chunk size
  that OBS uses, to ours and the peer alike. In each frame an SEI message says when it was sent.
- objects: 4 kept connections ask for the newest segment (about 2 MB, held as parts in RAM) without a pause for 20 s;
  nginx has the same bytes as a file, one worker, sendfile. relayd goes on taking and packaging the stream meanwhile, and
  that is counted against it. playlists: the same with 8 connections and the live media playlist.
- ingest: a fresh server for each round; after the streams have begun and 5 s to settle, a window of 20 s, 60 s for one
  stream. nginx-rtmp writes HLS (TS, 2 s, 60 s kept) to a file system in memory, which spares it the disk. Ours makes
  LL-HLS in fMP4 and FLV. watched: the same while each stream has a viewer of ordinary HLS, who asks for the playlist
  once a second and reads each segment, or, of ours, one of LL-HLS who takes each part as soon as there is one. What
  serving them costs is counted.
- parts: one viewer waits on each preload hint; the age of the part's newest frame when all of the part has been read,
  40 s a round.
- flv: one viewer for 10 s, then 100 for 20 s; the age of each frame when it was read; processor time contains what
  taking (and, for ours, packaging) the stream costs.
- tunnel: two network namespaces with a veth pair between them, MTU 1420 inside, the same keys for all. A fresh tunnel
  per program and round, whose turns go round; one TCP stream from A to B for 10 s after its first second, then datagrams
  of 1200 bytes for 20 s at each rate, sent in turns of 1 ms. Bits are payload that arrived; processor time is that of
  both ends. tunnel-core: both ends on the second core, what sends and receives on the first.
";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_have_three_digits() {
        let shown: Vec<String> = [0.2204, 9.4, 52.04, 412.3].map(number).into();
        assert_eq!(shown, ["0.22", "9.40", "52.0", "412"]);
    }
}
