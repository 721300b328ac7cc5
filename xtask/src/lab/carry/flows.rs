//! Who gives whom how much, by what routers counted: no daemon is asked.

use std::collections::BTreeMap;
use std::fmt;

use anyhow::{Context as _, Result};

use crate::lab::meter::Reading;
use crate::lab::plan::{COORDINATOR_V4, COORDINATOR_V6};
use crate::lab::world::World;

/// Media comes in full packets; what acknowledges them is far shorter, even a few at once.
const FULL_PACKET: u16 = 1000;
/// Who gives less than this share of what a box gets is no parent of it: a stripe of four is a quarter.
const PARENT_SHARE_MIN: f64 = 0.06;
/// How often shares are followed towards the origin, at most.
const HOPS_MAX: usize = 32;

/// Lets each router count full packets that come in, by who sent them.
pub(crate) fn count(world: &World) -> Result<()> {
    let rules = format!(
        "table inet carried {{
  set in4 {{ type ipv4_addr . inet_proto; size 4096; flags dynamic; counter; }}
  chain forward {{
    type filter hook forward priority filter + 10; policy accept;
    iifname \"wan\" meta length > {FULL_PACKET} update @in4 {{ ip saddr . meta l4proto }}
  }}
}}
"
    );
    world.sites().iter().try_for_each(|site| world.namespace(&site.edge).nft(&rules)).context("counting")
}

/// Who else than a box gave: the coordinator's relay, as a way between two boxes.
const COORDINATOR: &str = "(coordinator)";

/// Bytes since the beginning, by who got them and who sent them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Counted(BTreeMap<(String, String), u64>);

impl Counted {
    pub(crate) fn take(world: &World) -> Result<Counted> {
        let mut counted = BTreeMap::new();
        for to in world.sites() {
            let reading = Reading::take_from(world.namespace(&to.edge), "carried")?;
            for from in world.sites().iter().filter(|from| from.name != to.name) {
                counted.insert((to.name.clone(), from.name.clone()), reading.udp(&from.public));
            }
            let relayed = reading.tcp(&[COORDINATOR_V4.into(), COORDINATOR_V6.into()]);
            counted.insert((to.name.clone(), COORDINATOR.to_owned()), relayed);
        }
        Ok(Counted(counted))
    }

    pub(crate) fn since(&self, earlier: &Counted) -> Flows {
        let before = |key| earlier.0.get(key).copied().unwrap_or(0);
        Flows(self.0.iter().map(|(key, now)| (key.clone(), now.saturating_sub(before(key)))).collect())
    }
}

/// What went from whom to whom in some time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Flows(BTreeMap<(String, String), u64>);

impl Flows {
    fn got(&self, to: &str) -> u64 {
        self.0.iter().filter(|((child, _), _)| child == to).map(|(_, bytes)| bytes).sum()
    }

    /// What a box gave others.
    pub(crate) fn sent(&self, from: &str) -> u64 {
        self.0.iter().filter(|((_, parent), _)| parent == from).map(|(_, bytes)| bytes).sum()
    }

    /// Whom a box has it from, and which share; the most first.
    pub(crate) fn parents(&self, to: &str) -> Vec<(&str, f64)> {
        let got = self.got(to).max(1) as f64;
        let from = self.0.iter().filter(|((child, _), _)| child == to);
        let mut parents: Vec<_> = from
            .map(|((_, parent), bytes)| (parent.as_str(), *bytes as f64 / got))
            .filter(|(_, share)| *share >= PARENT_SHARE_MIN)
            .collect();
        parents.sort_by(|(_, one), (_, other)| other.total_cmp(one));
        parents
    }

    /// Boxes that have a part of what they get from this one, through others too.
    pub(crate) fn below<'a>(&'a self, name: &str, boxes: &[&'a str]) -> Vec<&'a str> {
        let mut below: Vec<&str> = Vec::new();
        loop {
            let more: Vec<&str> = boxes
                .iter()
                .filter(|child| **child != name && !below.contains(child))
                .filter(|child| {
                    self.parents(child).iter().any(|(parent, _)| *parent == name || below.contains(parent))
                })
                .copied()
                .collect();
            if more.is_empty() {
                return below;
            }
            below.extend(more);
        }
    }

    /// The share of all that boxes got which came from others than the origin.
    pub(crate) fn share_of_friends(&self, origin: &str) -> f64 {
        let to_boxes = self.0.iter().filter(|((to, _), _)| to != origin);
        let all: u64 = to_boxes.clone().map(|(_, bytes)| bytes).sum();
        let friends: u64 = to_boxes.filter(|((_, from), _)| from != origin).map(|(_, bytes)| bytes).sum();
        friends as f64 / all.max(1) as f64
    }

    /// How many boxes a byte passed on its way to each, in the mean: 1 straight from the origin.
    pub(crate) fn hops(&self, origin: &str, boxes: &[&str]) -> BTreeMap<String, f64> {
        let mut hops: BTreeMap<String, f64> = boxes.iter().map(|name| ((*name).to_owned(), 1.0)).collect();
        hops.insert(origin.to_owned(), 0.0);
        for _ in 0..HOPS_MAX {
            let before = hops.clone();
            for name in boxes.iter().filter(|name| **name != origin) {
                let parents = self.parents(name);
                let whole: f64 = parents.iter().map(|(_, share)| share).sum();
                let far = |parent: &str| 1.0 + before.get(parent).copied().unwrap_or(1.0);
                let sum: f64 = parents.iter().map(|(parent, share)| share * far(parent)).sum();
                hops.insert((*name).to_owned(), if whole > 0.0 { sum / whole } else { 0.0 });
            }
        }
        hops.remove(origin);
        hops
    }

    /// How many boxes some byte passes at most: a box with a parent that is no origin is at depth 2 or deeper.
    pub(crate) fn is_deep(&self, origin: &str, boxes: &[&str]) -> bool {
        let friend = |parent: &str| parent != origin && boxes.contains(&parent);
        boxes.iter().any(|name| self.parents(name).iter().any(|(parent, _)| friend(parent)))
    }

    /// A line for each box.
    pub(crate) fn tree(&self, origin: &str, boxes: &[&str]) -> String {
        let hops = self.hops(origin, boxes);
        let line = |name: &&str| {
            let share = |(parent, share): &(&str, f64)| format!("{:.0} % from {parent}", share * 100.0);
            let parents = self.parents(name).iter().map(share).collect::<Vec<_>>().join(", ");
            let hops = hops.get(*name).copied().unwrap_or_default();
            format!("    {name:<5} {hops:.1} hops: {parents}\n")
        };
        boxes.iter().filter(|name| **name != origin).map(line).collect()
    }
}

impl fmt::Display for Flows {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for ((to, from), bytes) in self.0.iter().filter(|(_, bytes)| **bytes > 0) {
            writeln!(f, "    {from} -> {to} {} kB", bytes / 1000)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BOXES: [&str; 4] = ["ana", "bob", "eve", "dan"];

    /// Ana gives bob all and eve half; bob gives eve the other half; dan has all from eve.
    fn flows() -> Flows {
        let rows = [
            ("bob", "ana", 1000),
            ("eve", "ana", 500),
            ("eve", "bob", 500),
            ("dan", "eve", 1000),
            // Acknowledgements of several packets at once, perhaps.
            ("bob", "eve", 20),
        ];
        Flows(rows.into_iter().map(|(to, from, bytes)| ((to.to_owned(), from.to_owned()), bytes)).collect())
    }

    #[test]
    fn hops_are_the_mean_over_bytes() {
        let hops = flows().hops("ana", &BOXES);
        assert_eq!((hops["bob"], hops["eve"], hops["dan"]), (1.0, 1.5, 2.5));
        assert!(flows().is_deep("ana", &BOXES));
    }

    #[test]
    fn friends_are_all_but_the_origin() {
        let share = flows().share_of_friends("ana");
        assert!((share - 1520.0 / 3020.0).abs() < 1e-9, "{share}");
        assert_eq!(flows().parents("bob"), [("ana", 1000.0 / 1020.0)]);
    }

    #[test]
    fn who_is_below_a_box_may_be_far_below() {
        assert_eq!(flows().below("bob", &BOXES), ["eve", "dan"]);
        assert!(flows().below("dan", &BOXES).is_empty());
    }

    #[test]
    fn counters_that_went_on_are_what_came_since() {
        let counted = |bytes| Counted([(("bob".to_owned(), "ana".to_owned()), bytes)].into());
        let flows = counted(700).since(&counted(200));
        assert_eq!(flows.to_string(), "    ana -> bob 0 kB\n");
        assert_eq!((flows.got("bob"), flows.sent("ana")), (500, 500));
    }
}
