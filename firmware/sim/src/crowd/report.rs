//! What is counted, and what is said of it.

use std::collections::BTreeMap;
use std::fmt;

use swarm::assign::{BoxId, Figures};

use super::member::Member;
use super::{Crowd, ORIGIN, PART_MS};

/// Until a box counts: it has to begin.
const BEGIN_US: u64 = 3_000_000;
const BUCKETS: usize = 600;
/// Milliseconds of a bucket.
const BUCKET_MS: u64 = 10;

/// Counted since the crowd settled.
#[derive(Clone, Debug, Default)]
pub struct Tally {
    pub parts_made: u64,
    pub parts_whole: u64,
    pub parts_given_up: u64,
    /// By how long after they were made they were whole, in steps of 10 ms.
    pub late: Vec<u64>,
    pub began_ms: Vec<u64>,
    pub pulled_blocks: u64,
    pub wasted_blocks: u64,
    pub refused: u64,
    pub starved: u64,
    /// Edges that the coordinator moved.
    pub moves: u64,
    pub faults: BTreeMap<String, u64>,
    /// Boxes that were there long enough, and those of which a part was given up, or later than 2 s.
    pub boxes: u64,
    pub boxes_harmed: u64,
    pub(super) harmed: BTreeMap<u32, u64>,
    pub(super) sent_by_gone: u64,
    pub(super) header_bytes: u64,
    pub(super) header_us: u64,
    pub(super) met: u64,
}

/// What a run came to.
#[derive(Clone, Debug)]
pub struct Report {
    pub tally: Tally,
    pub figures: Figures,
    pub depth_mean: f64,
    pub depths: Vec<u64>,
    /// Slots of all boxes and the origin, over those that are needed.
    pub supply_over_demand: f64,
    pub origin_bps: u64,
    pub bytes_all: u64,
    pub bytes_origin: u64,
    pub header_bps: u64,
    /// Other boxes that one had to know, over its life.
    pub met_mean: f64,
}

impl Crowd {
    fn counts(&self, id: u32, n: u64) -> bool {
        let made = n * PART_MS * 1000;
        self.measures && self.member(id).is_some_and(|member| made > member.since + BEGIN_US)
    }

    pub(super) fn whole(&mut self, id: u32, n: u64) {
        let (now, measures) = (self.now, self.measures);
        let Some(member) = self.member_mut(id) else { return };
        member.whole += 1;
        if member.whole == 3 {
            member.began = Some((now - member.since) / 1000);
            if let (true, Some(began)) = (measures, member.began) {
                self.tally.began_ms.push(began);
            }
        }
        if !self.counts(id, n) {
            return;
        }
        let late = (now / 1000).saturating_sub(n * PART_MS);
        self.tally.parts_whole += 1;
        self.tally.late.resize(BUCKETS, 0);
        let bucket = usize::try_from(late / BUCKET_MS).unwrap_or(BUCKETS).min(BUCKETS - 1);
        if let Some(bucket) = self.tally.late.get_mut(bucket) {
            *bucket += 1;
        }
        if late > 2_000 {
            *self.tally.harmed.entry(id).or_default() += 1;
        }
    }

    pub(super) fn missed(&mut self, id: u32, n: u64) {
        if self.counts(id, n) {
            self.tally.parts_given_up += 1;
            *self.tally.harmed.entry(id).or_default() += 1;
        }
    }

    pub(super) fn leaves_tally(&mut self, member: &Member) {
        if self.measures {
            let from = member.since.max(self.now.saturating_sub(self.plan.seconds * 1_000_000));
            self.tally.header_bytes += member.header_bytes;
            self.tally.header_us += self.now - from;
            self.tally.met += u64::try_from(member.met.len()).unwrap_or(0);
            self.tally.boxes += 1;
        }
    }

    pub(super) fn report(mut self, bytes_origin: u64, bytes_all: u64) -> Report {
        for id in (1..self.count()).rev() {
            let at = usize::try_from(id).unwrap_or(0);
            if let Some(member) = self.members.get_mut(at).and_then(Option::take) {
                self.leaves_tally(&member);
                let placed = self.assigner.parents(BoxId(id)).iter().all(Option::is_some);
                if let (true, true) = (placed, member.whole == 0 && self.now > member.since + BEGIN_US) {
                    *self.tally.harmed.entry(id).or_default() += 1;
                }
            }
        }
        self.tally.boxes_harmed = u64::try_from(self.tally.harmed.len()).unwrap_or(0);
        let figures = self.assigner.figures();
        let mut depths = Vec::new();
        for id in 1..self.count() {
            for stripe in self.stripes.all().iter() {
                let Some(depth) = self.assigner.depth(BoxId(id), stripe).map(usize::from) else { continue };
                depths.resize(depths.len().max(depth + 1), 0);
                depths[depth] += 1_u64;
            }
        }
        let edges: u64 = depths.iter().sum();
        let steps: u64 = (0..).zip(&depths).map(|(depth, count)| depth * count).sum();
        let us = self.plan.seconds.max(1);
        Report {
            depth_mean: ratio(steps, edges),
            depths,
            supply_over_demand: ratio(
                to_u64(figures.slots),
                to_u64(figures.boxes) * u64::from(self.stripes.get()),
            ),
            figures,
            origin_bps: bytes_origin * 8 / us,
            bytes_all,
            bytes_origin,
            header_bps: self.tally.header_bytes * 8_000_000 / self.tally.header_us.max(1),
            met_mean: ratio(self.tally.met, self.tally.boxes),
            tally: self.tally,
        }
    }
}

fn to_u64(count: usize) -> u64 {
    u64::try_from(count).unwrap_or(u64::MAX)
}

#[expect(clippy::cast_precision_loss, reason = "for people to read")]
fn ratio(one: u64, other: u64) -> f64 {
    one as f64 / other.max(1) as f64
}

impl Report {
    /// Of the parts that were due, how many were whole within so many milliseconds. Per mille.
    #[must_use]
    pub fn within(&self, ms: u64) -> f64 {
        let buckets = usize::try_from(ms / BUCKET_MS).unwrap_or(0);
        let whole: u64 = self.tally.late.iter().take(buckets).sum();
        1000.0 * ratio(whole, self.tally.parts_whole + self.tally.parts_given_up)
    }

    /// Milliseconds within which so many of a thousand parts were whole.
    #[must_use]
    pub fn late_ms(&self, per_mille: u64) -> u64 {
        let mut left = (self.tally.parts_whole * per_mille).div_ceil(1000);
        for (bucket, count) in (0..).zip(&self.tally.late) {
            if *count >= left {
                return (bucket + 1) * BUCKET_MS;
            }
            left -= count;
        }
        to_u64(BUCKETS) * BUCKET_MS
    }

    fn began(&self, per_mille: usize) -> u64 {
        let mut began = self.tally.began_ms.clone();
        began.sort_unstable();
        began.get(began.len().saturating_sub(1) * per_mille / 1000).copied().unwrap_or(0)
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Figures { boxes, boxes_served, slots, origin_gives, depth } = self.figures;
        writeln!(
            f,
            "boxes {boxes}, with all stripes assigned {boxes_served}; slots {slots}, supply over demand {:.2}",
            self.supply_over_demand
        )?;
        writeln!(f, "depth: mean {:.1}, most {depth}; edges by depth {:?}", self.depth_mean, self.depths)?;
        let tally = &self.tally;
        writeln!(
            f,
            "parts due {}, given up {}",
            tally.parts_whole + tally.parts_given_up,
            tally.parts_given_up
        )?;
        for ms in [500, 1000, 2000] {
            writeln!(f, "whole within {ms} ms: {:.3} of a thousand", self.within(ms))?;
        }
        let late = [500, 950, 990, 999].map(|per_mille| self.late_ms(per_mille));
        writeln!(f, "whole after, ms: p50 {}, p95 {}, p99 {}, p99.9 {}", late[0], late[1], late[2], late[3])?;
        writeln!(
            f,
            "boxes that were there {}, with a part given up or later than 2 s {}",
            tally.boxes, tally.boxes_harmed
        )?;
        writeln!(
            f,
            "from coming to the third whole part, ms: p50 {}, p95 {}",
            self.began(500),
            self.began(950)
        )?;
        writeln!(
            f,
            "origin (box {ORIGIN}) sent {} kbit/s in {origin_gives} stripes: 1 of {:.0} bytes",
            self.origin_bps / 1000,
            ratio(self.bytes_all, self.bytes_origin)
        )?;
        writeln!(
            f,
            "headers: {} bit/s to a box; boxes that one was told of: {:.1}",
            self.header_bps, self.met_mean
        )?;
        writeln!(
            f,
            "blocks pulled {}, brought in vain {}; feeds refused {}, starved {}, edges moved {}",
            tally.pulled_blocks, tally.wasted_blocks, tally.refused, tally.starved, tally.moves
        )?;
        write!(f, "faults {:?}", tally.faults)
    }
}
