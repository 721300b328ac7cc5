//! The guide of viewers: where each box serves them and what it carries, by its last heartbeat, and which a viewer should ask.
//!
//! Refuses to lead a viewer to an address that only another household could reach: such addresses are told to nobody else.
//! What is held here is gone after a restart, and comes again with the next heartbeats.

use std::collections::BTreeMap;
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::net::{IpAddr, Ipv6Addr};
use std::time::{Duration, Instant};

use stream::StreamName;
use trust::{BoxKey, MeshPrefix, Name};
use wire::heartbeat::StreamReport;
use wire::{Heartbeat, WatchUrl};

/// Boxes that are led to; those that answer first are the first of them.
pub(crate) const BOXES_MAX: usize = 8;
/// Boxes that are remembered. A mesh has fewer.
const KNOWN_MAX: usize = 4096;
/// A box that missed this many heartbeats is not led to.
const MISSED_MAX: u32 = 3;
/// Boxes with about as many viewers are alike.
const VIEWERS_STEP: u32 = 4;
/// Load beyond which a box is a second choice: two whole processors waiting.
const LOAD_MILLI_HIGH: u32 = 2000;

/// What a box said last.
#[derive(Debug)]
struct Carrier {
    name: Name,
    /// From where it said it.
    from: IpAddr,
    at: Instant,
    load_milli: u32,
    urls: Vec<WatchUrl>,
    streams: Vec<StreamReport>,
}

/// A box that a viewer may ask.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Choice {
    pub(crate) name: Name,
    /// In the viewer's household, as far as can be seen from here.
    pub(crate) near: bool,
    /// Best first.
    pub(crate) urls: Vec<WatchUrl>,
}

#[derive(Debug, Default)]
pub(crate) struct Guide {
    boxes: BTreeMap<BoxKey, Carrier>,
}

impl Guide {
    pub(crate) fn heard(
        &mut self,
        key: BoxKey,
        name: &Name,
        from: IpAddr,
        heartbeat: &Heartbeat,
        now: Instant,
    ) {
        if self.boxes.len() >= KNOWN_MAX && !self.boxes.contains_key(&key) {
            let oldest = self.boxes.iter().min_by_key(|(_, carrier)| carrier.at).map(|(key, _)| *key);
            oldest.map(|key| self.boxes.remove(&key));
        }
        let carrier = Carrier {
            name: name.clone(),
            from,
            at: now,
            load_milli: heartbeat.load_milli,
            urls: heartbeat.watch.to_vec(),
            streams: heartbeat.streams.to_vec(),
        };
        self.boxes.insert(key, carrier);
    }

    /// A stream by its owner's word; none while it is not live.
    pub(crate) fn live(&self, stream: &StreamName, owner: &BoxKey, ask: &Asker<'_>) -> Option<&StreamReport> {
        let carrier = self.boxes.get(owner).filter(|carrier| ask.is_there(carrier))?;
        carrier.report(stream, owner)
    }

    /// Best first: the viewer's own household, also where its box does not carry the stream yet and begins when it is
    /// asked; then boxes that have air, the origin last of them; at random for each viewer among equals, so that viewers
    /// spread. The stream is live.
    pub(crate) fn choose(&self, stream: &StreamName, owner: &BoxKey, ask: &Asker<'_>) -> Vec<Choice> {
        let there = self.boxes.iter().filter(|(key, carrier)| ask.is_there(carrier) && (ask.is_member)(key));
        let mut choices: Vec<_> = there
            .filter_map(|(key, carrier)| {
                let near = ask.is_near(carrier.from);
                let report = carrier.report(stream, owner);
                let viewers = match report {
                    Some(report) => report.viewers,
                    None if near => 0,
                    None => return None,
                };
                let urls: Vec<_> =
                    carrier.urls.iter().filter(|url| ask.reaches(url, near)).cloned().collect();
                let busy = carrier.load_milli > LOAD_MILLI_HIGH;
                let rank =
                    (!near, busy, report.is_none(), key == owner, viewers / VIEWERS_STEP, ask.luck(key));
                let choice = Choice { name: carrier.name.clone(), near, urls };
                (!choice.urls.is_empty()).then_some((rank, choice))
            })
            .collect();
        choices.sort_by_key(|(rank, _)| *rank);
        choices.truncate(BOXES_MAX);
        choices.into_iter().map(|(_, choice)| choice).collect()
    }
}

impl Carrier {
    fn report(&self, stream: &StreamName, owner: &BoxKey) -> Option<&StreamReport> {
        self.streams.iter().find(|report| report.name == *stream && report.owner == *owner)
    }
}

/// A viewer who asks.
pub(crate) struct Asker<'a> {
    /// From where, as seen here; none behind a proxy, which hides it.
    pub(crate) from: Option<IpAddr>,
    pub(crate) now: Instant,
    pub(crate) heartbeat_s: u32,
    pub(crate) mesh: MeshPrefix,
    pub(crate) is_member: &'a dyn Fn(&BoxKey) -> bool,
}

impl Asker<'_> {
    fn is_there(&self, carrier: &Carrier) -> bool {
        let silence = self.now.saturating_duration_since(carrier.at);
        silence < Duration::from_secs(u64::from(self.heartbeat_s * MISSED_MAX))
    }

    /// One household has one public IPv4 address, or one IPv6 network; seen from inside of it, everybody has a private one.
    fn is_near(&self, carrier: IpAddr) -> bool {
        match (self.from, carrier) {
            (Some(IpAddr::V4(viewer)), IpAddr::V4(carrier)) => {
                viewer == carrier || is_private(viewer.into()) && is_private(carrier.into())
            }
            (Some(IpAddr::V6(viewer)), IpAddr::V6(carrier)) => {
                viewer.to_bits() >> 64 == carrier.to_bits() >> 64
                    || is_private(viewer.into()) && is_private(carrier.into())
            }
            _ => false,
        }
    }

    fn reaches(&self, url: &WatchUrl, near: bool) -> bool {
        match url.ip() {
            Some(IpAddr::V6(ip)) if self.is_inside(ip) => {
                matches!(self.from, Some(IpAddr::V6(viewer)) if self.is_inside(viewer))
            }
            Some(ip) if is_private(ip) => near,
            Some(_) => true,
            None => near || !url.host().ends_with(".local") && url.host() != "localhost",
        }
    }

    fn is_inside(&self, ip: Ipv6Addr) -> bool {
        let rest = 128 - u32::from(MeshPrefix::BITS);
        ip.to_bits() >> rest == self.mesh.network().to_bits() >> rest
    }

    /// The same at each look, so that nobody is sent to and fro.
    fn luck(&self, key: &BoxKey) -> u64 {
        let mut hasher = DefaultHasher::new();
        (self.from, key.as_bytes()).hash(&mut hasher);
        hasher.finish()
    }
}

fn is_private(ip: IpAddr) -> bool {
    match ip {
        IpAddr::V4(ip) => ip.is_private() || ip.is_link_local() || ip.is_loopback(),
        IpAddr::V6(ip) => ip.is_unique_local() || ip.is_unicast_link_local() || ip.is_loopback(),
    }
}

#[cfg(test)]
mod tests;
