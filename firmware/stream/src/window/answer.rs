//! What viewers get: playlists or a reason to wait, and whether an object can be had.

use alloc::string::String;

use crate::header::ObjectName;
use crate::playlist::media::Media;
use crate::playlist::multivariant::Multivariant;
use crate::playlist::{NotReady, PlaylistName, Reload, Skip, Verdict};
use crate::track::Ticks;
use crate::window::generation::{Generation, Life};
use crate::window::{Edge, ObjectState, Window};

/// The Advance Part Limit is this divided by the part target, or else three (RFC 8216bis 6.2.5.2).
const ADVANCE: Ticks = Ticks::from_secs(3);
const FAR_MSN: &str = "_HLS_msn is beyond the last media sequence number plus two";
const FAR_PART: &str = "_HLS_part is beyond the Advance Part Limit";

impl Window {
    fn generation(&self, name: PlaylistName) -> Option<&Generation> {
        self.generations.iter().find(|generation| generation.name == name)
    }

    pub(super) fn judge(&self, name: PlaylistName, reload: &Reload) -> Verdict {
        let Some(generation) = self.generation(name) else { return Verdict::NotFound };
        if generation.target_duration().is_none() {
            return Verdict::Held;
        }
        // With ENDLIST all directives are ignored (RFC 8216bis 6.2.5.1, 6.2.5.2).
        if generation.life != Life::Live {
            return Verdict::Ready { delta: false };
        }
        let ready = Verdict::Ready { delta: reload.skip != Skip::No };
        let Some(msn) = reload.msn else { return ready };
        let next = self.edge_msn();
        if msn > next.saturating_add(1) {
            return Verdict::BadRequest(FAR_MSN);
        }
        match reload.part {
            None if msn < next => ready,
            None => Verdict::Wait,
            Some(part) => self.judge_part(generation, msn, part, ready),
        }
    }

    /// The segment that is open, or else the one that comes next.
    fn edge_msn(&self) -> u64 {
        match (self.edge, self.segments.back()) {
            (Edge::Open, Some(open)) => open.msn,
            (Edge::Open | Edge::Quiet | Edge::Between | Edge::Overlong { .. }, _) => self.next_msn,
        }
    }

    fn judge_part(&self, generation: &Generation, msn: u64, part: u32, ready: Verdict) -> Verdict {
        let next = self.edge_msn();
        let at_edge = self.segments.back().filter(|segment| segment.msn == next);
        let edge_parts = at_edge.map_or(0, |open| open.parts.len() as i64);
        let part = i64::from(part);
        // How far the part is beyond the last one in the playlist, and how many parts of its segment there are.
        let (beyond, there) = if msn > next {
            (part + 1, 0)
        } else if msn == next {
            (part + 1 - edge_parts, edge_parts)
        } else {
            let last = self.segments.iter().rev().find(|segment| !segment.is_open());
            let Some(last) = last.filter(|last| last.msn == msn) else { return ready };
            let parts = last.parts.len() as i64;
            // Past its end the next segment's first part is meant.
            let there = if edge_parts > 0 { i64::MAX } else { parts };
            (part + 1 - parts - edge_parts, there)
        };
        let too_far = if generation.part_target < Ticks::from_secs(1) {
            beyond.saturating_mul(generation.part_target.0) > ADVANCE.0
        } else {
            beyond > 3
        };
        if part < there {
            ready
        } else if too_far {
            Verdict::BadRequest(FAR_PART)
        } else {
            Verdict::Wait
        }
    }

    pub(super) fn render_media(&self, name: PlaylistName, delta: bool) -> Option<String> {
        let generation = self.generation(name)?;
        let target_duration = generation.target_duration()?;
        let ended = generation.life != Life::Live;
        let segments: alloc::vec::Vec<_> = self
            .segments
            .iter()
            .filter(|segment| generation.lists(segment.msn) && !(ended && segment.is_open()))
            .collect();
        let media = Media {
            target_duration,
            part_target: generation.part_target,
            part_hold_back: self.limits.part_hold_back,
            segments,
            next_msn: self.next_msn,
            first_msn: generation.first_msn,
            discontinuities: self.discontinuities,
            epochs: &self.epochs,
            hint: self.hint().filter(|_| !ended),
            ended,
        };
        Some(media.render(delta && !ended))
    }

    pub(super) fn render_multivariant(&self) -> Result<String, NotReady> {
        let current = self.generations.back().ok_or(NotReady::Empty)?;
        current.target_duration().ok_or(NotReady::Held)?;
        let newest = self.segments.back().ok_or(NotReady::Empty)?;
        let record = self.epochs.get(&newest.epoch).ok_or(NotReady::Empty)?;
        let (peak_bps, average_bps) = (current.rates.peak_bps(), current.rates.average_bps());
        Ok(Multivariant { name: current.name, record, peak_bps, average_bps }.render())
    }

    /// The part that comes next, if it is sure that it continues what is listed.
    fn hint(&self) -> Option<ObjectName> {
        let newest = self.segments.back()?;
        let epoch = self.epoch.filter(|epoch| *epoch == newest.epoch)?;
        match self.edge {
            Edge::Open | Edge::Between => {
                let (msn, part) = self.next_number();
                Some(ObjectName::Part(epoch, msn, part))
            }
            Edge::Quiet | Edge::Overlong { .. } => None,
        }
    }

    pub(super) fn state_of(&self, name: ObjectName) -> ObjectState {
        let (epoch, msn) = match name {
            ObjectName::Init(epoch) if self.epochs.contains_key(&epoch) => return ObjectState::Ready,
            ObjectName::Init(_) => return ObjectState::Unknown,
            ObjectName::Segment(epoch, msn) | ObjectName::Part(epoch, msn, _) => (epoch, msn),
        };
        if self.hint() == Some(name) {
            return ObjectState::Pending;
        }
        let segment =
            self.segments.binary_search_by_key(&msn, |segment| segment.msn).map(|at| &self.segments[at]);
        let Some(segment) = segment.ok().filter(|segment| segment.epoch == epoch) else {
            return ObjectState::Unknown;
        };
        let open = segment.is_open();
        let part = match name {
            ObjectName::Part(_, _, part) => part,
            ObjectName::Segment(..) | ObjectName::Init(_) => {
                return match (segment.is_gap(), open) {
                    (true, _) => ObjectState::Never,
                    (false, true) => ObjectState::Pending,
                    (false, false) => ObjectState::Ready,
                };
            }
        };
        match segment.parts.get(part as usize) {
            Some(header) if header.gap => ObjectState::Never,
            Some(_) => ObjectState::Ready,
            None if open => ObjectState::Unknown,
            None => ObjectState::Never,
        }
    }
}
