//! Reads what a router counted, and says which way the bytes between two boxes went.
//!
//! This is the lab's only witness: what a daemon says about its own paths is never asked here.

use std::collections::BTreeMap;
use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

use anyhow::{Context as _, Result};
use serde_json::Value;

use super::netns::Namespace;
use crate::command;

/// Which way packets go between two boxes, from worst to best.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum PathType {
    /// TCP to the coordinator.
    RelayedTls,
    /// UDP to a third box.
    RelayedUdp,
    /// UDP to the other box's public address.
    Direct,
}

pub(crate) const PATH_TYPES: [PathType; 3] = [PathType::RelayedTls, PathType::RelayedUdp, PathType::Direct];

impl PathType {
    /// As it stands in docs/nat.md.
    pub(crate) fn name(self) -> &'static str {
        match self {
            PathType::RelayedTls => "relayed-tls",
            PathType::RelayedUdp => "relayed-udp",
            PathType::Direct => "direct",
        }
    }
}

impl fmt::Display for PathType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

impl FromStr for PathType {
    type Err = String;

    fn from_str(text: &str) -> Result<PathType, String> {
        let found = PATH_TYPES.into_iter().find(|path| path.name() == text);
        found.ok_or_else(|| format!("`{text}` is no type of path"))
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Protocol {
    Tcp,
    Udp,
}

/// Bytes by the far end's address and protocol, both directions together.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Reading(BTreeMap<(IpAddr, Protocol), u64>);

impl Reading {
    /// What this router has forwarded so far.
    pub(crate) fn take(router: &Namespace) -> Result<Reading> {
        Reading::parse(&listing(router, "tally")?, |_| true)
    }

    /// What another table with such sets counted.
    pub(crate) fn take_from(router: &Namespace, table: &str) -> Result<Reading> {
        Reading::parse(&listing(router, table)?, |_| true)
    }

    /// The same of what came in from the internet.
    pub(crate) fn take_inbound(router: &Namespace) -> Result<Reading> {
        Reading::parse(&listing(router, "tally")?, |set| set.starts_with("in"))
    }

    /// Of sets with such names.
    fn parse(text: &str, wanted: fn(&str) -> bool) -> Result<Reading> {
        let listing: Value = serde_json::from_str(text).context("what nft lists")?;
        let mut bytes = BTreeMap::new();
        let objects = listing["nftables"].as_array().context("nft lists nothing")?;
        let sets = objects.iter().map(|object| &object["set"]);
        let sets = sets.filter(|set| set["name"].as_str().is_some_and(wanted));
        for element in sets.filter_map(|set| set["elem"].as_array()).flatten() {
            let element = &element["elem"];
            let key = &element["val"]["concat"];
            let count = element["counter"]["bytes"].as_u64().context("an element without a counter")?;
            let address: IpAddr = key[0].as_str().unwrap_or_default().parse().context("an address")?;
            let protocol = match key[1].as_str() {
                Some("udp") => Protocol::Udp,
                Some("tcp") => Protocol::Tcp,
                // ICMP and the like carry no path.
                Some(_) | None => continue,
            };
            *bytes.entry((address, protocol)).or_default() += count;
        }
        Ok(Reading(bytes))
    }

    /// What came since an earlier reading.
    pub(crate) fn since(&self, earlier: &Reading) -> Reading {
        let more = |(key, now): (&(IpAddr, Protocol), &u64)| {
            let before = earlier.0.get(key).copied().unwrap_or(0);
            (*key, now.saturating_sub(before))
        };
        Reading(self.0.iter().map(more).filter(|(_, bytes)| *bytes > 0).collect())
    }

    /// Bytes of UDP to and from these.
    pub(crate) fn udp(&self, addresses: &[IpAddr]) -> u64 {
        self.bytes(addresses, Protocol::Udp)
    }

    /// Bytes of TCP to and from these.
    pub(crate) fn tcp(&self, addresses: &[IpAddr]) -> u64 {
        self.bytes(addresses, Protocol::Tcp)
    }

    fn bytes(&self, addresses: &[IpAddr], protocol: Protocol) -> u64 {
        addresses.iter().filter_map(|address| self.0.get(&(*address, protocol))).sum()
    }
}

fn listing(router: &Namespace, table: &str) -> Result<String> {
    command::output(router.tool("nft").args(["-j", "list", "table", "inet", table]))
}

/// Packets and bytes of a counter with a name, in what nft lists.
pub(crate) fn counter(text: &str, name: &str) -> Result<(u64, u64)> {
    let listing: Value = serde_json::from_str(text).context("what nft lists")?;
    let objects = listing["nftables"].as_array().context("nft lists nothing")?;
    let found = objects.iter().map(|object| &object["counter"]).find(|counter| counter["name"] == name);
    let found = found.with_context(|| format!("no counter {name}"))?;
    let number = |field: &str| found[field].as_u64().with_context(|| format!("a counter without {field}"));
    Ok((number("packets")?, number("bytes")?))
}

impl fmt::Display for Reading {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0.is_empty() {
            return f.write_str("nothing");
        }
        let all =
            self.0.iter().map(|((address, protocol), bytes)| format!("{protocol:?} {address} {bytes} B"));
        f.write_str(&all.collect::<Vec<_>>().join(", "))
    }
}

/// Who is who at the far end, as one of the two routers sees it.
#[derive(Clone, Debug)]
pub(crate) struct Ends {
    pub(crate) other: Vec<IpAddr>,
    pub(crate) third: Vec<IpAddr>,
    pub(crate) coordinator: Vec<IpAddr>,
}

/// What share of a volume has to go one way before we call it the way, in percent.
const MOST: u64 = 80;

/// Which way a volume of bytes went past this router. `None` when no way carried most of it.
pub(crate) fn way(seen: &Reading, ends: &Ends, volume: u64) -> Option<PathType> {
    let carried = |path| match path {
        PathType::Direct => seen.bytes(&ends.other, Protocol::Udp),
        PathType::RelayedUdp => seen.bytes(&ends.third, Protocol::Udp),
        PathType::RelayedTls => seen.bytes(&ends.coordinator, Protocol::Tcp),
    };
    PATH_TYPES.into_iter().find(|path| carried(*path) * 100 >= volume * MOST)
}

#[cfg(test)]
mod tests {
    use super::*;

    const LISTING: &str = r#"{"nftables": [{"metainfo": {"version": "1.0.6"}},
        {"table": {"family": "inet", "name": "tally", "handle": 1}},
        {"set": {"family": "inet", "name": "out4", "table": "tally", "size": 4096, "elem": [
            {"elem": {"val": {"concat": ["11.0.0.6", "udp"]}, "counter": {"packets": 3, "bytes": 300}}},
            {"elem": {"val": {"concat": ["11.0.2.2", "tcp"]}, "counter": {"packets": 9, "bytes": 900}}},
            {"elem": {"val": {"concat": ["11.0.0.1", "icmp"]}, "counter": {"packets": 9, "bytes": 900}}}]}},
        {"set": {"family": "inet", "name": "in4", "table": "tally", "size": 4096, "elem": [
            {"elem": {"val": {"concat": ["11.0.0.6", "udp"]}, "counter": {"packets": 1, "bytes": 50}}}]}},
        {"set": {"family": "inet", "name": "in6", "table": "tally", "size": 4096}}]}"#;

    fn ends() -> Ends {
        let address = |text: &str| vec![text.parse().unwrap()];
        Ends { other: address("11.0.0.6"), third: address("11.0.1.10"), coordinator: address("11.0.2.2") }
    }

    #[test]
    fn both_directions_count_and_other_protocols_do_not() {
        let reading = Reading::parse(LISTING, |_| true).unwrap();
        assert_eq!(reading.to_string(), "Udp 11.0.0.6 350 B, Tcp 11.0.2.2 900 B");
        let inbound = Reading::parse(LISTING, |set| set.starts_with("in")).unwrap();
        assert_eq!(inbound.to_string(), "Udp 11.0.0.6 50 B");
    }

    #[test]
    fn a_counter_is_found_by_its_name() {
        let listing = r#"{"nftables": [{"counter": {"family": "inet", "name": "came", "table": "asked", "handle": 2,
            "packets": 12, "bytes": 3400}}, {"chain": {"name": "input"}}]}"#;
        assert_eq!(counter(listing, "came").unwrap(), (12, 3400));
        assert!(counter(listing, "opened").is_err());
    }

    #[test]
    fn the_way_is_the_one_that_carried_the_volume() {
        let before = Reading::parse(LISTING, |_| true).unwrap();
        let mut after = before.clone();
        let add = |reading: &mut Reading, address: &str, protocol, bytes| {
            *reading.0.entry((address.parse().unwrap(), protocol)).or_default() += bytes;
        };
        add(&mut after, "11.0.2.2", Protocol::Tcp, 100);
        add(&mut after, "11.0.0.6", Protocol::Udp, 950);
        let seen = after.since(&before);
        assert_eq!(way(&seen, &ends(), 1000), Some(PathType::Direct));
        assert_eq!(way(&seen, &ends(), 2000), None, "half of the volume is not the way");
        assert_eq!(way(&before.since(&before), &ends(), 1000), None);
        let mut relayed = before.clone();
        add(&mut relayed, "11.0.1.10", Protocol::Udp, 1000);
        assert_eq!(way(&relayed.since(&before), &ends(), 1000), Some(PathType::RelayedUdp));
        let mut tls = before.clone();
        add(&mut tls, "11.0.2.2", Protocol::Tcp, 1000);
        assert_eq!(way(&tls.since(&before), &ends(), 1000), Some(PathType::RelayedTls));
        let mut other_tcp = before.clone();
        add(&mut other_tcp, "11.0.0.6", Protocol::Tcp, 1000);
        assert_eq!(
            way(&other_tcp.since(&before), &ends(), 1000),
            None,
            "TCP between boxes is no path of ours"
        );
    }
}
