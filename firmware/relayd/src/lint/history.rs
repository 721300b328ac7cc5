//! The rules that a media playlist can break from one version to the next (RFC 8216bis 6.2.1, 6.2.2).

use std::collections::BTreeMap;

use crate::lint::m3u8::{Breach, MediaPlaylist, Part, Segment, ServerControl};
use crate::lint::rule::Rule;

/// A lint sees changes late by its own polling and fetching, in seconds.
const WATCH_SLACK: f64 = 0.5;

/// What is remembered of one media playlist URI: no more than its last version, and when it last grew.
#[derive(Debug)]
pub(crate) struct History {
    target_duration: Option<u64>,
    part_target: Option<f64>,
    control: ServerControl,
    media_sequence: u64,
    ended: bool,
    edge: (u64, usize),
    segments: BTreeMap<u64, Segment>,
    parts: BTreeMap<(u64, usize), Part>,
    /// In seconds of the caller's clock.
    segment_at: f64,
    part_at: f64,
    /// The stall that goes on was reported.
    stalled: bool,
}

impl History {
    pub(crate) fn new(first: &MediaPlaylist, now: f64) -> Self {
        let mut out = Self {
            target_duration: first.target_duration,
            part_target: first.part_target,
            control: first.control.clone(),
            media_sequence: first.media_sequence,
            ended: first.ended,
            edge: edge(first),
            segments: BTreeMap::new(),
            parts: BTreeMap::new(),
            segment_at: now,
            part_at: now,
            stalled: false,
        };
        out.remember(first);
        out
    }

    pub(crate) fn update(&mut self, playlist: &MediaPlaylist, now: f64) -> Vec<Breach> {
        let mut out = Vec::new();
        self.check_head(playlist, &mut out);
        self.check_segments(playlist, &mut out);
        self.check_parts(playlist, &mut out);
        self.check_pace(playlist, now, &mut out);
        self.remember(playlist);
        out
    }

    fn check_head(&self, playlist: &MediaPlaylist, out: &mut Vec<Breach>) {
        let (before, after) = (self.target_duration, playlist.target_duration);
        if before != after {
            out.push(Breach::new(Rule::TargetChanged, format!("from {before:?} to {after:?}")));
        }
        if self.part_target != playlist.part_target || self.control != playlist.control {
            let what = format!(
                "PART-TARGET or SERVER-CONTROL from {:?}, {:?} to {:?}, {:?}",
                self.part_target, self.control, playlist.part_target, playlist.control
            );
            out.push(Breach::new(Rule::PartTargetChanged, what));
        }
        let (before, after) = (self.media_sequence, playlist.media_sequence);
        if after < before {
            out.push(Breach::new(Rule::SequenceBack, format!("from {before} back to {after}")));
        }
        let known = self.edge;
        if edge(playlist) < known && !playlist.ended {
            let what = format!("segment {} with {} parts was the edge before", known.0, known.1);
            out.push(Breach::new(Rule::StaleAnswer, what));
        }
        let rest: f64 = playlist.segments.iter().map(|segment| segment.duration).sum();
        if after > before && !playlist.ended && rest < 3.0 * playlist.target() {
            let what = format!("{rest:.1} s stayed, target duration {}", playlist.target());
            out.push(Breach::new(Rule::WindowShort, what));
        }
        let grew = self.segments.keys().last().is_some_and(|last| playlist.next_msn() > last + 1);
        if self.ended && (!playlist.ended || grew) {
            out.push(Breach::new(Rule::EndUndone, "segments or no EXT-X-ENDLIST after EXT-X-ENDLIST"));
        }
    }

    fn check_segments(&self, playlist: &MediaPlaylist, out: &mut Vec<Breach>) {
        for now in &playlist.segments {
            let Some(before) = self.segments.get(&now.msn) else { continue };
            let msn = now.msn;
            if before.uri != now.uri || before.range != now.range {
                let elsewhere =
                    self.segments.values().find(|other| other.uri == now.uri && other.range == now.range);
                out.push(match elsewhere {
                    Some(other) => {
                        let what = format!("{} was segment {} and is {msn}", now.uri, other.msn);
                        Breach::new(Rule::SequenceBack, what)
                    }
                    None => {
                        let what = format!("segment {msn} was {} and is {}", before.uri, now.uri);
                        Breach::new(Rule::SegmentChanged, what)
                    }
                });
                continue;
            }
            if (before.duration, before.gap, &before.map) != (now.duration, now.gap, &now.map) {
                let what = format!("segment {msn}: EXTINF, EXT-X-GAP or EXT-X-MAP changed");
                out.push(Breach::new(Rule::SegmentChanged, what));
            }
            let (was, is) = (before.discontinuity_number, now.discontinuity_number);
            if was != is {
                out.push(Breach::new(
                    Rule::DiscontinuitySequence,
                    format!("segment {msn}: {was} became {is}"),
                ));
            }
        }
    }

    fn check_parts(&self, playlist: &MediaPlaylist, out: &mut Vec<Breach>) {
        for (key, now) in listed_parts(playlist) {
            if self.parts.get(&key).is_some_and(|before| before != now) {
                let what = format!("part {} of segment {} became {now:?}", key.1, key.0);
                out.push(Breach::new(Rule::SegmentChanged, what));
            }
        }
    }

    fn check_pace(&mut self, playlist: &MediaPlaylist, now: f64, out: &mut Vec<Breach>) {
        let grew = self.segments.keys().last().is_none_or(|last| playlist.next_msn() > last + 1);
        let limit = 1.5 * playlist.target();
        let waited = now - self.segment_at;
        if waited > limit + WATCH_SLACK && !playlist.ended && !self.stalled {
            self.stalled = true;
            out.push(Breach::new(Rule::SegmentLate, format!("none for {waited:.1} s, {limit} s allowed")));
        }
        if grew {
            (self.segment_at, self.stalled) = (now, false);
        }
        let last = listed_parts(playlist).last().map(|(key, _)| key);
        let known = self.parts.keys().last().copied();
        if last > known {
            let limit = playlist.part_target.unwrap_or(0.0);
            let waited = now - self.part_at;
            if known.is_some() && waited > limit + WATCH_SLACK {
                out.push(Breach::new(Rule::PartLate, format!("none for {waited:.2} s, {limit} s allowed")));
            }
            self.part_at = now;
        }
    }

    fn remember(&mut self, playlist: &MediaPlaylist) {
        self.media_sequence = playlist.media_sequence;
        self.target_duration = playlist.target_duration;
        self.part_target = playlist.part_target;
        self.control = playlist.control.clone();
        self.ended = playlist.ended;
        self.edge = edge(playlist);
        self.segments = playlist.segments.iter().map(|segment| (segment.msn, segment.clone())).collect();
        self.parts = listed_parts(playlist).map(|(key, part)| (key, part.clone())).collect();
    }
}

/// The segment that grows, and how many parts it has.
fn edge(playlist: &MediaPlaylist) -> (u64, usize) {
    (playlist.next_msn(), playlist.open_parts.len())
}

/// Each part with its segment's number and its index in it.
pub(crate) fn listed_parts(playlist: &MediaPlaylist) -> impl Iterator<Item = ((u64, usize), &Part)> {
    let closed = playlist.segments.iter().map(|segment| (segment.msn, &segment.parts));
    let open = (playlist.next_msn(), &playlist.open_parts);
    closed
        .chain([open])
        .flat_map(|(msn, parts)| parts.iter().enumerate().map(move |(index, part)| ((msn, index), part)))
}
