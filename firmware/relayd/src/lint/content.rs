//! The rules that the media itself can break: what a playlist declares against what its segments hold.

use std::collections::BTreeMap;

use crate::lint::m3u8::{Breach, Map, Part, Segment};
use crate::lint::rule::Rule;
use crate::probe::fmp4::{self, Fmp4};
use crate::probe::media::{Kind, Media, Stamp, Track};
use crate::probe::ts;

/// What a declared duration may be off beside one frame.
const DURATION_SLACK: Stamp = Stamp(20_000_000);
/// What the starts of audio and video may be apart beside one audio frame.
const OFFSET_SLACK: Stamp = Stamp(15_000_000);
/// At the beginning of a timeline one track may really begin later than the other.
const FIRST_OFFSET_MAX: Stamp = Stamp(500_000_000);
/// What a hole or an overlap between segments may be, beside two frames.
const HOLE_SLACK: Stamp = Stamp(20_000_000);

/// What is known from the media read before.
#[derive(Debug, Default)]
pub(crate) struct Content {
    maps: BTreeMap<String, Fmp4>,
    /// Number of the last segment read, and where its tracks ended in decoding order.
    before: Option<(u64, BTreeMap<Kind, Stamp>)>,
    pub(crate) av_offset_max: Stamp,
    /// Codecs that were met.
    pub(crate) codecs: BTreeMap<Kind, String>,
}

impl Content {
    pub(crate) fn knows_map(&self, map: &Map) -> bool {
        self.maps.contains_key(&key(map))
    }

    pub(crate) fn add_map(&mut self, map: &Map, init: &[u8]) -> Result<(), Breach> {
        let parsed = Fmp4::parse(init);
        let parsed = parsed.map_err(|error| Breach::new(Rule::Media, format!("{}: {error:#}", map.uri)))?;
        self.codecs.extend(parsed.kinds().map(|(kind, codec)| (kind, codec.to_owned())));
        self.maps.insert(key(map), parsed);
        Ok(())
    }

    fn read(&self, uri: &str, map: Option<&Map>, bytes: &[u8]) -> Result<Media, Breach> {
        let media = match map.and_then(|map| self.maps.get(&key(map))) {
            Some(init) => init.read(bytes),
            None if ts::looks_like(bytes) => ts::read(bytes),
            None if map.is_none() && fmp4::looks_like(bytes) => {
                return Err(Breach::new(Rule::MapMissing, format!("{uri} is MP4")));
            }
            None => Err(anyhow::anyhow!("neither fragmented MP4 nor a transport stream")),
        };
        media.map_err(|error| Breach::new(Rule::Media, format!("{uri}: {error:#}")))
    }

    pub(crate) fn segment(&mut self, segment: &Segment, bytes: &[u8]) -> Vec<Breach> {
        let mut out = Vec::new();
        let media = match self.read(&segment.uri, segment.map.as_ref(), bytes) {
            Ok(media) => media,
            Err(breach) => return vec![breach],
        };
        for track in &media.tracks {
            self.codecs.entry(track.kind).or_insert_with(|| track.codec.clone());
        }
        let continues = !segment.discontinuity
            && self.before.as_ref().is_some_and(|(msn, _)| msn.checked_add(1) == Some(segment.msn));
        check_keyframe(&media, segment, &mut out);
        if let Some(leader) = media.leader() {
            check_duration(Rule::Duration, &segment.uri, segment.duration, leader, &mut out);
        }
        self.check_offset(&media, segment, continues, &mut out);
        self.check_continuity(&media, segment, continues, &mut out);
        out
    }

    pub(crate) fn part(&self, part: &Part, map: Option<&Map>, bytes: &[u8]) -> Vec<Breach> {
        let mut out = Vec::new();
        let media = match self.read(&part.uri, map, bytes) {
            Ok(media) => media,
            Err(breach) => return vec![breach],
        };
        let Some(video) = media.track(Kind::Video) else { return out };
        check_duration(Rule::PartDuration, &part.uri, part.duration, video, &mut out);
        if part.independent && !video.samples[0].key {
            out.push(Breach::new(Rule::FalseIndependent, part.uri.clone()));
        }
        out
    }

    /// Audio may be cut where the first picture is presented, or where it is decoded: to wait for the former costs
    /// a stream with B-frames their delay.
    fn check_offset(&mut self, media: &Media, segment: &Segment, continues: bool, out: &mut Vec<Breach>) {
        let (Some(video), Some(audio)) = (media.track(Kind::Video), media.track(Kind::Audio)) else { return };
        let (Some(presented), Some(audio_start)) = (video.start(), audio.start()) else { return };
        let (by_pts, by_dts) = (audio_start.minus(presented), audio_start.minus(video.samples[0].dts));
        let offset = if by_dts.abs() < by_pts.abs() { by_dts } else { by_pts };
        let allowed = if continues { audio.frame().plus(OFFSET_SLACK) } else { FIRST_OFFSET_MAX };
        if continues {
            self.av_offset_max = self.av_offset_max.max(offset.abs());
        }
        if offset.abs() > allowed {
            let what = format!("{}: audio begins {:+.1} ms from video", segment.uri, offset.millis());
            out.push(Breach::new(Rule::AvOffset, what));
        }
    }

    fn check_continuity(&mut self, media: &Media, segment: &Segment, continues: bool, out: &mut Vec<Breach>) {
        let before = self.before.take().map(|(_, ends)| ends).unwrap_or_default();
        let mut ends = BTreeMap::new();
        for track in &media.tracks {
            let (Some(first), Some(last)) = (track.samples.first(), track.samples.last()) else { continue };
            let end = last.dts.plus(last.duration);
            if let Some(before) = before.get(&track.kind).filter(|_| continues) {
                let hole = unwrapped(first.dts.minus(*before), &track.codec);
                let frame = track.frame();
                if hole.abs() > frame.plus(frame).plus(HOLE_SLACK) {
                    let what = format!(
                        "{}: {} begins {:+.1} ms from where it ended",
                        segment.uri,
                        track.kind,
                        hole.millis()
                    );
                    out.push(Breach::new(Rule::Continuity, what));
                }
            }
            ends.insert(track.kind, end);
        }
        self.before = Some((segment.msn, ends));
    }
}

fn key(map: &Map) -> String {
    format!("{} {:?}", map.uri, map.range)
}

/// Stamps of transport streams have 33 bits: the nearest of all distances is meant.
fn unwrapped(distance: Stamp, codec: &str) -> Stamp {
    let wrap = Stamp::from_units(i128::from(ts::WRAP), 90_000).0;
    let wraps = matches!(codec, "h264" | "hevc" | "aac" | "mp3" | "unknown");
    if wraps { Stamp((distance.0 + wrap / 2).rem_euclid(wrap) - wrap / 2) } else { distance }
}

fn check_keyframe(media: &Media, segment: &Segment, out: &mut Vec<Breach>) {
    let Some(video) = media.track(Kind::Video) else { return };
    if !video.samples[0].key {
        let first = video.samples.iter().position(|sample| sample.key);
        let what = match first {
            Some(frames) => format!("{}: the first is {frames} frames later", segment.uri),
            None => format!("{}: there is none", segment.uri),
        };
        out.push(Breach::new(Rule::NoKeyframe, what));
    }
    let lies =
        video.samples.iter().filter(|sample| sample.sync_flag.is_some_and(|flag| flag != sample.key)).count();
    if lies > 0 {
        out.push(Breach::new(
            Rule::SyncFlag,
            format!("{}: {lies} of {} samples", segment.uri, video.samples.len()),
        ));
    }
}

fn check_duration(rule: Rule, uri: &str, declared: f64, leader: &Track, out: &mut Vec<Breach>) {
    let real = leader.samples.iter().fold(Stamp(0), |sum, sample| sum.plus(sample.duration));
    let off = real.minus(Stamp::from_secs(declared)).abs();
    if off > leader.frame().plus(DURATION_SLACK) {
        out.push(Breach::new(
            rule,
            format!("{uri}: declared {declared}, its {} lasts {:.3}", leader.kind, real.secs()),
        ));
    }
}
