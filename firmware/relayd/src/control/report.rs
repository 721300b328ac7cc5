//! What the box tells about itself, as far as the machine shows it. What can't be read is left out.

use std::fs;
use std::sync::Arc;

use trust::map::MapEpoch;
use trust::{Digest, List, UnixSeconds};
use wire::Heartbeat;
use wire::enrol::{Board, Version};
use wire::heartbeat::StreamReport;

use super::talk::Told;
use crate::front::Front;

/// What the daemon knows of its streams.
pub(crate) type Streams = Box<dyn Fn() -> Vec<StreamReport> + Send + Sync>;

/// What only the daemon can tell.
pub(crate) struct Doings {
    pub(crate) streams: Streams,
    pub(crate) front: Arc<Front>,
}

pub(crate) fn version() -> Version {
    Version::cut(env!("CARGO_PKG_VERSION"))
}

/// The board's own name, where the firmware tells one (Devicetree specification 2.3.2).
pub(crate) fn board() -> Board {
    let model = fs::read_to_string("/proc/device-tree/model").unwrap_or_default();
    let model = model.trim_end_matches('\0').trim();
    Board::cut(if model.is_empty() { std::env::consts::ARCH } else { model })
}

pub(super) fn heartbeat(
    boot: u32,
    map_epoch: Option<MapEpoch>,
    revocations: Digest,
    told: Told,
    doings: &Doings,
) -> Heartbeat {
    let mut streams = (doings.streams)();
    streams.truncate(StreamReport::PER_BOX_MAX);
    Heartbeat {
        version: version(),
        board: board(),
        uptime_s: first_number("/proc/uptime").map_or(0, |(seconds, _)| seconds),
        boot,
        load_milli: first_number("/proc/loadavg").map_or(0, |(whole, milli)| {
            u32::try_from(whole.saturating_mul(1000)).unwrap_or(u32::MAX).saturating_add(milli)
        }),
        temperature_milli_c: temperature(),
        map_epoch,
        revocations,
        endpoints: told.endpoints,
        paths: told.paths,
        streams: List::try_from(streams).unwrap_or_default(),
        watch: doings.front.urls(),
    }
}

/// Whole part and thousandths of a file's first number, without a detour over floating point.
fn first_number(path: &str) -> Option<(u64, u32)> {
    let text = fs::read_to_string(path).ok()?;
    decimal(text.split_whitespace().next()?)
}

fn decimal(text: &str) -> Option<(u64, u32)> {
    let (whole, rest) = text.split_once('.').unwrap_or((text, ""));
    let digits: String = rest.chars().chain("000".chars()).take(3).collect();
    Some((whole.parse().ok()?, digits.parse().ok()?))
}

fn temperature() -> Option<i32> {
    fs::read_to_string("/sys/class/thermal/thermal_zone0/temp").ok()?.trim().parse().ok()
}

/// Seconds of a time in milliseconds.
pub(crate) fn seconds(unix_ms: i64) -> UnixSeconds {
    UnixSeconds::new(u64::try_from(unix_ms / 1000).unwrap_or(0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_of_the_kernel_are_read_exactly() {
        assert_eq!(decimal("12345.67"), Some((12_345, 670)));
        assert_eq!(decimal("0.08"), Some((0, 80)));
        assert_eq!(decimal("3"), Some((3, 0)));
        assert_eq!(decimal("x"), None);
    }
}
