//! What QEMU counts of the writes to a card, asked by its monitor protocol (QMP). Takes no word of the guest's for it.

use std::io::{BufRead as _, BufReader, Write as _};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use serde::Deserialize;
use serde_json::Value;

/// QEMU answers between two steps of its own, also on a machine with much to do.
const ANSWER_LIMIT: Duration = Duration::from_secs(20);
/// Events that may come before an answer.
const LINES_MAX: usize = 1000;

pub(super) struct Meter {
    socket: BufReader<UnixStream>,
    card: String,
}

/// Since QEMU was started.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Written {
    pub(super) bytes: u64,
    /// Those that are done.
    pub(super) writes: u64,
}

#[derive(Deserialize)]
struct Device {
    device: String,
    stats: Stats,
}

#[derive(Deserialize)]
struct Stats {
    wr_bytes: u64,
    wr_operations: u64,
}

impl Meter {
    pub(super) fn open(socket: &Path, card: &str) -> Result<Meter> {
        let socket = UnixStream::connect(socket).context("QEMU's monitor")?;
        socket.set_read_timeout(Some(ANSWER_LIMIT)).context("a time to wait")?;
        let mut meter = Meter { socket: BufReader::new(socket), card: card.to_owned() };
        let mut greeting = String::new();
        meter.socket.read_line(&mut greeting).context("QEMU does not greet")?;
        meter.ask("qmp_capabilities")?;
        Ok(meter)
    }

    pub(super) fn written(&mut self) -> Result<Written> {
        written(self.ask("query-blockstats")?, &self.card)
    }

    fn ask(&mut self, what: &str) -> Result<Value> {
        writeln!(self.socket.get_mut(), "{{\"execute\": \"{what}\"}}").context("asking QEMU")?;
        for _ in 0..LINES_MAX {
            let mut line = String::new();
            self.socket.read_line(&mut line).context("QEMU does not answer")?;
            let mut said: Value =
                serde_json::from_str(&line).with_context(|| format!("QEMU said {line:?}"))?;
            ensure!(said.get("error").is_none(), "QEMU refuses {what}: {line}");
            if let Some(answer) = said.get_mut("return") {
                return Ok(answer.take());
            }
        }
        anyhow::bail!("QEMU speaks of other things than {what}")
    }
}

fn written(answer: Value, card: &str) -> Result<Written> {
    let devices: Vec<Device> = serde_json::from_value(answer).context("QEMU's statistics")?;
    let card = devices.into_iter().find(|device| device.device == card).context("QEMU has no such card")?;
    Ok(Written { bytes: card.stats.wr_bytes, writes: card.stats.wr_operations })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_card_is_told_from_other_disks() {
        let answer = serde_json::json!([
            {"device": "pflash1", "stats": {"wr_bytes": 7, "wr_operations": 1}, "node-name": "x"},
            {"device": "card", "stats": {"wr_bytes": 4096, "wr_operations": 3, "rd_bytes": 1}, "qdev": "y"},
        ]);
        assert_eq!(written(answer.clone(), "card").unwrap(), Written { bytes: 4096, writes: 3 });
        assert!(written(answer, "other").is_err());
    }
}
