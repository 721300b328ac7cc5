//! Streams that are live, by the word of their owners' heartbeats, and how they are carried, by the word of the boxes.

use std::collections::BTreeMap;
use std::sync::PoisonError;
use std::time::Instant;

use serde::Serialize;
use stream::StreamName;
use trust::{BoxKey, Name, UnixSeconds};

use super::{App, Overview};
use crate::carriers::Look;

#[derive(Debug, Serialize)]
pub(super) struct StreamView {
    pub(super) name: StreamName,
    pub(super) owner: Name,
    pub(super) live_since: UnixSeconds,
    pub(super) bitrate_bps: u64,
    /// At all boxes together.
    pub(super) viewers: u64,
    pub(super) carried_by: Vec<Name>,
    /// Of all that boxes take, how much comes from other boxes than the owner, in thousandths; none while nobody takes
    /// anything.
    pub(super) from_boxes_milli: Option<u32>,
    /// Those that take it from others or give it to them, the nearest to the owner first; itself among them.
    pub(super) tree: Vec<TreeView>,
}

/// One box in a stream's tree.
#[derive(Debug, Serialize)]
pub(super) struct TreeView {
    pub(super) name: Name,
    /// From the owner; none while a stripe has no way to it.
    pub(super) hops: Option<u8>,
    pub(super) takes: Vec<TakeView>,
    /// Stripes, each counted once for each box that takes it.
    pub(super) gives: u32,
    /// What that is, by the stream's bitrate.
    pub(super) gives_bps: u64,
    pub(super) uplink_bps: Option<u64>,
    /// Of all streams, as the box measured it.
    pub(super) sending_bps: u64,
    pub(super) viewers: u32,
}

#[derive(Debug, Serialize)]
pub(super) struct TakeView {
    pub(super) parent: Name,
    /// From 0 on.
    pub(super) stripes: Vec<u8>,
}

impl App {
    /// Streams of boxes that are connected, by name.
    pub(super) fn live(&self, overview: &Overview) -> Vec<StreamView> {
        let names: BTreeMap<BoxKey, &Name> =
            overview.boxes.iter().map(|view| (view.key, &view.name)).collect();
        let carriers = self.carriers.lock().unwrap_or_else(PoisonError::into_inner);
        let mut streams: BTreeMap<StreamName, StreamView> = BTreeMap::new();
        let there = overview.boxes.iter().filter(|view| view.connected);
        let reports = there.clone().filter_map(|view| Some((view, view.heartbeat.as_ref()?)));
        for (view, heartbeat) in reports.clone() {
            for report in heartbeat.streams.iter().filter(|report| report.owner == view.key) {
                let looks = carriers.look(&report.name, &view.key, Instant::now());
                streams.entry(report.name.clone()).or_insert_with(|| StreamView {
                    name: report.name.clone(),
                    owner: view.name.clone(),
                    live_since: report.live_since,
                    bitrate_bps: report.bitrate_bps,
                    viewers: 0,
                    carried_by: Vec::new(),
                    from_boxes_milli: from_boxes_milli(&looks, &view.key),
                    tree: tree(&looks, &names, report.bitrate_bps),
                });
            }
        }
        drop(carriers);
        for (view, heartbeat) in reports {
            for report in heartbeat.streams.iter() {
                let Some(stream) = streams.get_mut(&report.name) else { continue };
                if names.get(&report.owner).is_none_or(|owner| **owner != stream.owner) {
                    continue;
                }
                stream.viewers += u64::from(report.viewers);
                if report.owner != view.key {
                    stream.carried_by.push(view.name.clone());
                }
            }
        }
        streams.into_values().collect()
    }
}

fn from_boxes_milli(looks: &[Look], owner: &BoxKey) -> Option<u32> {
    let takes = looks.iter().flat_map(|look| &look.takes);
    let (all, boxes) = takes.fold((0, 0), |(all, boxes), (parent, stripes)| {
        let count = stripes.count_ones();
        (all + count, boxes + if parent == owner { 0 } else { count })
    });
    (boxes * 1000).checked_div(all)
}

fn tree(looks: &[Look], names: &BTreeMap<BoxKey, &Name>, bitrate_bps: u64) -> Vec<TreeView> {
    let name = |key: &BoxKey| names.get(key).map(|name| (*name).clone());
    let take = |(parent, stripes): &(BoxKey, u16)| {
        let stripes = (0..16_u8).filter(|stripe| stripes & (1 << stripe) != 0);
        Some(TakeView { parent: name(parent)?, stripes: stripes.collect() })
    };
    let view = |look: &Look| {
        Some(TreeView {
            name: name(&look.key)?,
            hops: look.hops,
            takes: look.takes.iter().filter_map(take).collect(),
            gives: look.gives,
            gives_bps: bitrate_bps.saturating_mul(look.gives.into()) / u64::from(crate::carriers::STRIPES),
            uplink_bps: look.uplink_bps,
            sending_bps: look.sending_bps,
            viewers: look.viewers,
        })
    };
    let mut tree: Vec<_> = looks.iter().filter_map(view).collect();
    tree.sort_by_key(|view| (view.hops.unwrap_or(u8::MAX), view.name.clone()));
    // An owner from whom nobody takes anything is no tree.
    if tree.len() > 1 { tree } else { Vec::new() }
}
