//! Delta updates (RFC 8216bis 6.2.5.1): merged as a client would, and held against the full playlist.

use crate::lint::m3u8::{Breach, MediaPlaylist};
use crate::lint::rule::Rule;

/// Compares a delta update with the full playlist that was answered just before it.
pub(crate) fn check(full: &MediaPlaylist, delta: &MediaPlaylist) -> Vec<Breach> {
    let bad = |what: String| vec![Breach::new(Rule::Delta, what)];
    let Some(boundary) = full.control.can_skip_until else { return Vec::new() };
    if delta.ended {
        return Vec::new();
    }
    if delta.skipped == 0 {
        let behind: f64 = full.segments.iter().map(|segment| segment.duration).sum();
        // One segment may have gone, and one may reach over the boundary.
        let enough = behind > boundary + 2.0 * full.target();
        return if enough { bad(format!("nothing was skipped of {behind:.1} s")) } else { Vec::new() };
    }
    let left: f64 = delta.segments.iter().map(|segment| segment.duration).sum();
    if left + 0.01 < boundary {
        return bad(format!("only {left:.2} s are left, CAN-SKIP-UNTIL is {boundary}"));
    }
    let first = delta.media_sequence;
    let skipped = first..first.saturating_add(delta.skipped);
    if first < full.media_sequence || skipped.end > full.next_msn() {
        return bad(format!("segments {skipped:?} are skipped, {}.. were listed", full.media_sequence));
    }
    // The discontinuities among the skipped segments come from the client's copy.
    let hidden = full
        .segments
        .iter()
        .filter(|segment| skipped.contains(&segment.msn) && segment.discontinuity)
        .count();
    for after in &delta.segments {
        let Some(before) = full.segments.iter().find(|segment| segment.msn == after.msn) else { continue };
        let number = after.discontinuity_number + hidden as u64;
        if (&before.uri, before.duration, before.discontinuity_number) != (&after.uri, after.duration, number)
        {
            return bad(format!(
                "segment {} is {} in one and {} in the other",
                after.msn, before.uri, after.uri
            ));
        }
    }
    Vec::new()
}
