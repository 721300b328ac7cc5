//! The rules that one media playlist can break by itself.
//!
//! What needs two of them is in `history`, what needs media in `content`.

use crate::lint::m3u8::{Breach, MediaPlaylist, Part, Segment};
use crate::lint::rule::Rule;

/// Decimals are compared with half of the last of five places.
const DECIMAL: f64 = 0.000_005;
/// How far EXT-X-PROGRAM-DATE-TIME may be off the durations, in seconds.
const DATE_SLACK: f64 = 0.5;

pub(crate) fn check(playlist: &MediaPlaylist) -> Vec<Breach> {
    let mut out = Vec::new();
    if playlist.target_duration.is_none() {
        out.push(Breach::new(Rule::TargetMissing, "no EXT-X-TARGETDURATION"));
    }
    let target = playlist.target();
    for Segment { msn, duration, .. } in playlist.segments.iter().filter(|s| s.duration.round() > target) {
        out.push(Breach::new(
            Rule::SegmentTooLong,
            format!("segment {msn}: EXTINF {duration}, target duration {target}"),
        ));
    }
    version(playlist, &mut out);
    control(playlist, &mut out);
    parts(playlist, &mut out);
    dates(&playlist.segments, &mut out);
    out
}

/// RFC 8216bis 8.
fn version(playlist: &MediaPlaylist, out: &mut Vec<Breach>) {
    let segments = &playlist.segments;
    let needs = [
        (3, "EXTINF with decimals", segments.iter().any(|segment| segment.duration.fract() != 0.0)),
        (4, "EXT-X-BYTERANGE", segments.iter().any(|segment| segment.range.is_some())),
        (6, "EXT-X-MAP", segments.iter().any(|segment| segment.map.is_some())),
        (9, "EXT-X-SKIP", playlist.skipped > 0),
    ];
    for (version, what, _) in needs.iter().filter(|(version, _, used)| *used && playlist.version < *version) {
        out.push(Breach::new(
            Rule::Version,
            format!("{what} needs version {version}, not {}", playlist.version),
        ));
    }
}

fn control(playlist: &MediaPlaylist, out: &mut Vec<Breach>) {
    let (control, target) = (&playlist.control, playlist.target());
    if let Some(part_target) = playlist.part_target {
        let hold_back = control.part_hold_back.unwrap_or(0.0);
        let what = format!("PART-HOLD-BACK {hold_back}, PART-TARGET {part_target}");
        if hold_back + DECIMAL < 2.0 * part_target {
            out.push(Breach::new(Rule::PartHoldBack, what));
        } else if hold_back + DECIMAL < 3.0 * part_target {
            out.push(Breach::new(Rule::PartHoldBackShort, what));
        }
    }
    if let Some(hold_back) = control.hold_back.filter(|hold_back| hold_back + DECIMAL < 3.0 * target) {
        out.push(Breach::new(Rule::HoldBack, format!("HOLD-BACK {hold_back}, target duration {target}")));
    }
    if let Some(until) = control.can_skip_until.filter(|until| until + DECIMAL < 6.0 * target) {
        out.push(Breach::new(Rule::SkipUntil, format!("CAN-SKIP-UNTIL {until}, target duration {target}")));
    }
}

fn parts(playlist: &MediaPlaylist, out: &mut Vec<Breach>) {
    if !playlist.has_parts() {
        return;
    }
    let Some(part_target) = playlist.part_target else {
        out.push(Breach::new(Rule::PartInfoMissing, "EXT-X-PART without EXT-X-PART-INF"));
        return;
    };
    let sum = |parts: &[Part]| parts.iter().map(|part| part.duration).sum::<f64>();
    let mut from_end = sum(&playlist.open_parts);
    for segment in playlist.segments.iter().rev().filter(|segment| !segment.parts.is_empty()) {
        let (msn, declared, real) = (segment.msn, segment.duration, sum(&segment.parts));
        if (declared - real).abs() > 0.01 {
            out.push(Breach::new(
                Rule::PartsSum,
                format!("segment {msn}: EXTINF {declared}, its parts {real:.5}"),
            ));
        }
    }
    for segment in playlist.segments.iter().rev() {
        if from_end > 3.0 * playlist.target() + DECIMAL && !segment.parts.is_empty() {
            let what = format!("segment {} still has parts, {from_end:.1} s from the end", segment.msn);
            out.push(Breach::new(Rule::PartsOld, what));
            break;
        }
        from_end += segment.duration;
    }
    let closed = playlist.segments.iter().map(|segment| segment.parts.as_slice());
    for parts in closed.chain([playlist.open_parts.as_slice()]) {
        part_durations(parts, part_target, out);
    }
}

/// The last part listed may be the last of its segment, which may be short.
fn part_durations(parts: &[Part], part_target: f64, out: &mut Vec<Breach>) {
    for (nth, Part { uri, duration, independent, gap, .. }) in parts.iter().enumerate() {
        let what = format!("{uri}: DURATION {duration}, PART-TARGET {part_target}");
        let last = nth + 1 == parts.len();
        if *duration > part_target + DECIMAL {
            out.push(Breach::new(Rule::PartTooLong, what));
        } else if *duration + DECIMAL < 0.85 * part_target && !(last || *independent || *gap) {
            out.push(Breach::new(Rule::PartTooShort, what));
        }
    }
}

fn dates(segments: &[Segment], out: &mut Vec<Breach>) {
    for pair in segments.windows(2) {
        let [before, after] = pair else { continue };
        let (Some(from), Some(to)) = (before.unix_ms, after.unix_ms) else { continue };
        let moved = (to - from) as f64 / 1000.0;
        if !after.discontinuity && (moved - before.duration).abs() > DATE_SLACK {
            let what = format!(
                "segment {}: {moved:.3} s after the one before, which lasts {}",
                after.msn, before.duration
            );
            out.push(Breach::new(Rule::DateTime, what));
        }
    }
}
