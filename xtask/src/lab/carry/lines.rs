//! The lines of a circle of friends: how much each can send, and how much it did by its interface.
//!
//! Only what leaves a house is slow, as at home; there is no delay but that of queues, since the kernel of a machine for
//! labs need not have netem.

use anyhow::{Context as _, Result};

use crate::command;
use crate::lab::plan::Site;
use crate::lab::world::World;

/// What a stream is said to have on the line, per 100 bytes of media: inner packets of 1280 bytes carry 1208 of them and
/// become 1360 with WireGuard, UDP and IPv6 around them.
const ON_THE_LINE_PERCENT: u64 = 113;
/// The share of its line that a box is told it has: it counts acknowledgements itself, and the rest is for what the mesh says.
const TOLD_PERCENT: u64 = 97;

/// Rates in kbit/s.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Lines {
    /// Picture and sound together.
    pub(crate) stream_kbps: u64,
    pub(crate) origin_kbps: u64,
    pub(crate) box_kbps: u64,
}

impl Lines {
    /// The proof's figures: a stream of 6 Mbit/s, 20 Mbit/s at the origin, 5 at each box.
    pub(crate) const PROOF: Lines = Lines { stream_kbps: 6000, origin_kbps: 20_000, box_kbps: 5000 };

    /// All of them smaller or larger in the same way.
    pub(crate) fn scaled(stream_kbps: u64) -> Lines {
        let scale = |kbps: u64| kbps * stream_kbps / Lines::PROOF.stream_kbps;
        Lines {
            stream_kbps,
            origin_kbps: scale(Lines::PROOF.origin_kbps),
            box_kbps: scale(Lines::PROOF.box_kbps),
        }
    }

    /// What a box with such a line is told to give at most.
    pub(crate) fn told_kbps(line_kbps: u64) -> u64 {
        line_kbps * TOLD_PERCENT / 100
    }

    /// What all lines together can send, and what so many boxes besides the origin take.
    pub(crate) fn supply_and_demand_kbps(&self, boxes: u64) -> (u64, u64) {
        let supply = self.origin_kbps + boxes * self.box_kbps;
        (supply, boxes * self.stream_kbps * ON_THE_LINE_PERCENT / 100)
    }
}

/// What leaves the house goes through this much; what waits longer than a home router lets it is lost.
pub(crate) fn shape(world: &World, site: &Site, kbps: u64) -> Result<()> {
    let mut tc = world.namespace(&site.edge).tool("tc");
    tc.args(["qdisc", "replace", "dev", "wan", "root", "tbf", "rate", &format!("{kbps}kbit")]);
    command::output(tc.args(["burst", "16kb", "latency", "200ms"])).context("a slow line").map(drop)
}

/// Bytes that left the house since the world was made.
pub(crate) fn sent_bytes(world: &World, site: &Site) -> Result<u64> {
    let text = world.namespace(&site.edge).inside(|| {
        // Of the thread, since namespaces belong to threads.
        std::fs::read_to_string("/proc/thread-self/net/dev").context("what interfaces counted")
    })?;
    parse_sent(&text).with_context(|| format!("no interface wan in: {text}"))
}

/// The ninth number behind the interface's name (proc(5), /proc/net/dev).
fn parse_sent(text: &str) -> Option<u64> {
    let line = text.lines().find_map(|line| line.trim_start().strip_prefix("wan:"))?;
    line.split_whitespace().nth(8)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_proof_has_a_quarter_more_than_it_needs() {
        let (supply, demand) = Lines::scaled(6000).supply_and_demand_kbps(6);
        assert_eq!((supply, demand), (50_000, 40_680));
        assert_eq!(Lines::scaled(1500), Lines { stream_kbps: 1500, origin_kbps: 5000, box_kbps: 1250 });
    }

    #[test]
    fn what_was_sent_is_the_ninth_number() {
        let text = "Inter-|   Receive                                                |  Transmit
 face |bytes    packets errs drop fifo frame compressed multicast|bytes    packets errs drop fifo colls
    lo:       0       0    0    0    0     0          0         0        1       0    0    0    0     0
   wan:   11776      46    0    0    0     0          0         0     4711      35    0    0    0     0
";
        assert_eq!(parse_sent(text), Some(4711));
    }
}
