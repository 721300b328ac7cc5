//! Media playlists (RFC 8216bis 4.4.3 to 4.4.5).

use crate::lint::m3u8::attributes::{Attributes, decimal, integer};
use crate::lint::m3u8::{Breach, Content, Line, date};
use crate::lint::rule::Rule;

#[derive(Clone, Debug, Default)]
pub(crate) struct MediaPlaylist {
    pub(crate) version: u64,
    pub(crate) target_duration: Option<u64>,
    pub(crate) part_target: Option<f64>,
    pub(crate) control: ServerControl,
    pub(crate) media_sequence: u64,
    pub(crate) discontinuity_sequence: u64,
    pub(crate) independent_segments: bool,
    /// SKIPPED-SEGMENTS of a delta update.
    pub(crate) skipped: u64,
    pub(crate) segments: Vec<Segment>,
    /// Parts behind the last segment, of one that is still growing.
    pub(crate) open_parts: Vec<Part>,
    pub(crate) hint: Option<String>,
    pub(crate) ended: bool,
}

#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct ServerControl {
    pub(crate) can_block_reload: bool,
    pub(crate) part_hold_back: Option<f64>,
    pub(crate) hold_back: Option<f64>,
    pub(crate) can_skip_until: Option<f64>,
}

#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Segment {
    pub(crate) msn: u64,
    /// RFC 8216bis 6.2.1: EXT-X-DISCONTINUITY-SEQUENCE plus the tags up to here.
    pub(crate) discontinuity_number: u64,
    pub(crate) discontinuity: bool,
    pub(crate) uri: String,
    pub(crate) range: Option<Range>,
    pub(crate) duration: f64,
    pub(crate) parts: Vec<Part>,
    pub(crate) map: Option<Map>,
    pub(crate) gap: bool,
    pub(crate) unix_ms: Option<i64>,
}

#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Part {
    pub(crate) uri: String,
    pub(crate) range: Option<Range>,
    pub(crate) duration: f64,
    pub(crate) independent: bool,
    pub(crate) gap: bool,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Map {
    pub(crate) uri: String,
    pub(crate) range: Option<Range>,
}

/// A sub-range of a resource in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Range {
    pub(crate) length: u64,
    pub(crate) offset: u64,
}

/// Tags that were read for a segment whose URI has not come yet.
#[derive(Default)]
struct Pending {
    duration: Option<f64>,
    discontinuity: bool,
    gap: bool,
    unix_ms: Option<i64>,
    range: Option<Range>,
    parts: Vec<Part>,
}

struct Reader<'b> {
    out: MediaPlaylist,
    pending: Pending,
    map: Option<Map>,
    discontinuities: u64,
    /// Where the last sub-range ended, with its resource: what a range without an offset continues.
    range_end: Option<(String, u64)>,
    seen: Vec<&'static str>,
    breaches: &'b mut Vec<Breach>,
}

/// Tags of which there is at most one (RFC 8216bis 4.4.1, 4.4.3).
const ONCE: [&str; 8] = [
    "EXT-X-VERSION",
    "EXT-X-TARGETDURATION",
    "EXT-X-MEDIA-SEQUENCE",
    "EXT-X-DISCONTINUITY-SEQUENCE",
    "EXT-X-PLAYLIST-TYPE",
    "EXT-X-PART-INF",
    "EXT-X-SERVER-CONTROL",
    "EXT-X-SKIP",
];

impl MediaPlaylist {
    pub(super) fn parse(lines: &[Line<'_>], breaches: &mut Vec<Breach>) -> Self {
        let mut reader = Reader {
            out: Self { version: 1, ..Self::default() },
            pending: Pending::default(),
            map: None,
            discontinuities: 0,
            range_end: None,
            seen: Vec::new(),
            breaches,
        };
        for line in lines {
            match line.content {
                Content::Tag(name, value) => reader.tag(line.number, name, value),
                Content::Uri(uri) => reader.uri(line.number, uri),
            }
        }
        if reader.pending.duration.is_some() {
            reader.wrong(0, "the last EXTINF has no URI (4.4.4.1)");
        }
        reader.out.open_parts = reader.pending.parts;
        reader.out
    }

    pub(crate) fn target(&self) -> f64 {
        self.target_duration.unwrap_or(0) as f64
    }

    /// The media sequence number behind the last segment.
    pub(crate) fn next_msn(&self) -> u64 {
        self.media_sequence.saturating_add(self.skipped).saturating_add(self.segments.len() as u64)
    }

    pub(crate) fn has_parts(&self) -> bool {
        !self.open_parts.is_empty() || self.segments.iter().any(|segment| !segment.parts.is_empty())
    }
}

impl Reader<'_> {
    fn wrong(&mut self, line: usize, what: &str) {
        self.breaches.push(Breach::new(Rule::Syntax, format!("line {line}: {what}")));
    }

    fn tag(&mut self, line: usize, name: &str, value: &str) {
        if let Some(once) = ONCE.iter().find(|once| **once == name) {
            if self.seen.contains(once) {
                self.wrong(line, &format!("{name} is given twice (4.4)"));
            }
            self.seen.push(once);
        }
        match name {
            "EXT-X-VERSION" => self.out.version = self.integer(line, name, value).unwrap_or(1),
            "EXT-X-TARGETDURATION" => self.out.target_duration = self.integer(line, name, value),
            "EXT-X-MEDIA-SEQUENCE" => {
                self.before_segments(line, name);
                self.out.media_sequence = self.integer(line, name, value).unwrap_or(0);
            }
            "EXT-X-DISCONTINUITY-SEQUENCE" => {
                self.before_segments(line, name);
                if self.discontinuities > 0 {
                    self.wrong(
                        line,
                        "EXT-X-DISCONTINUITY-SEQUENCE stands behind EXT-X-DISCONTINUITY (4.4.3.3)",
                    );
                }
                self.out.discontinuity_sequence = self.integer(line, name, value).unwrap_or(0);
            }
            "EXT-X-INDEPENDENT-SEGMENTS" => self.out.independent_segments = true,
            "EXT-X-ENDLIST" => self.out.ended = true,
            "EXT-X-DISCONTINUITY" => {
                self.discontinuities += 1;
                self.pending.discontinuity = true;
            }
            "EXT-X-GAP" => self.pending.gap = true,
            "EXTINF" => self.extinf(line, value),
            "EXT-X-PROGRAM-DATE-TIME" => match date::unix_ms(value) {
                None => self.wrong(line, "EXT-X-PROGRAM-DATE-TIME is not a date and time (4.4.4.6)"),
                time => self.pending.unix_ms = time,
            },
            "EXT-X-BYTERANGE" => self.pending.range = self.range(line, value, ""),
            "EXT-X-PART-INF"
            | "EXT-X-SERVER-CONTROL"
            | "EXT-X-SKIP"
            | "EXT-X-MAP"
            | "EXT-X-PART"
            | "EXT-X-PRELOAD-HINT" => self.attributed(line, name, value),
            _ => {}
        }
    }

    fn before_segments(&mut self, line: usize, name: &str) {
        if !self.out.segments.is_empty() || !self.pending.parts.is_empty() {
            self.wrong(line, &format!("{name} stands behind the first segment (4.4.3)"));
        }
    }

    fn integer(&mut self, line: usize, name: &str, value: &str) -> Option<u64> {
        let parsed = integer(value);
        if parsed.is_none() {
            self.wrong(line, &format!("{name} is not a decimal integer"));
        }
        parsed
    }

    fn extinf(&mut self, line: usize, value: &str) {
        let (duration, _title) = value.split_once(',').unwrap_or_else(|| {
            self.wrong(line, "EXTINF has no comma (4.4.4.1)");
            (value, "")
        });
        if self.pending.duration.is_some() {
            self.wrong(line, "the EXTINF before has no URI (4.4.4.1)");
        }
        match decimal(duration) {
            None => self.wrong(line, "EXTINF has no duration (4.4.4.1)"),
            some => self.pending.duration = some,
        }
    }

    fn attributed(&mut self, line: usize, name: &str, value: &str) {
        let attributes = Attributes::parse(name, line, value, self.breaches);
        let breaches = &mut *self.breaches;
        match name {
            "EXT-X-PART-INF" => {
                let target = attributes.decimal("PART-TARGET", breaches);
                self.out.part_target = attributes.require("PART-TARGET", target, breaches);
            }
            "EXT-X-SERVER-CONTROL" => {
                self.out.control = ServerControl {
                    can_block_reload: attributes.yes("CAN-BLOCK-RELOAD", breaches),
                    part_hold_back: attributes.decimal("PART-HOLD-BACK", breaches),
                    hold_back: attributes.decimal("HOLD-BACK", breaches),
                    can_skip_until: attributes.decimal("CAN-SKIP-UNTIL", breaches),
                };
            }
            "EXT-X-SKIP" => {
                let skipped = attributes.integer("SKIPPED-SEGMENTS", breaches);
                self.out.skipped = attributes.require("SKIPPED-SEGMENTS", skipped, breaches).unwrap_or(0);
                if !self.out.segments.is_empty() {
                    self.wrong(line, "EXT-X-SKIP stands behind a segment (4.4.5.2)");
                }
            }
            "EXT-X-PRELOAD-HINT" => {
                let uri = attributes.quoted("URI", breaches);
                let kind = attributes.bare("TYPE", breaches);
                let uri = attributes.require("URI", uri, breaches);
                if attributes.require("TYPE", kind, breaches) == Some("PART") {
                    self.out.hint = uri.map(str::to_owned);
                }
            }
            "EXT-X-MAP" => self.map(line, &attributes),
            _ => self.part(line, &attributes),
        }
    }

    fn map(&mut self, line: usize, attributes: &Attributes<'_>) {
        let uri = attributes.quoted("URI", self.breaches);
        let range = attributes.quoted("BYTERANGE", self.breaches);
        let uri = attributes.require("URI", uri, self.breaches).unwrap_or_default().to_owned();
        let range = range.and_then(|range| self.range(line, range, &uri));
        self.map = Some(Map { uri, range });
    }

    fn part(&mut self, line: usize, attributes: &Attributes<'_>) {
        let (uri, duration) =
            (attributes.quoted("URI", self.breaches), attributes.decimal("DURATION", self.breaches));
        let range = attributes.quoted("BYTERANGE", self.breaches);
        let uri = attributes.require("URI", uri, self.breaches).unwrap_or_default().to_owned();
        let range = range.and_then(|range| self.range(line, range, &uri));
        let part = Part {
            range,
            duration: attributes.require("DURATION", duration, self.breaches).unwrap_or(0.0),
            independent: attributes.yes("INDEPENDENT", self.breaches),
            gap: attributes.yes("GAP", self.breaches),
            uri,
        };
        self.pending.parts.push(part);
    }

    /// `length[@offset]`; without an offset it continues the range before it of the same resource (4.4.4.2).
    fn range(&mut self, line: usize, text: &str, uri: &str) -> Option<Range> {
        let (length, offset) =
            text.split_once('@').map_or((text, None), |(length, offset)| (length, Some(offset)));
        let continued = self.range_end.as_ref().filter(|(before, _)| before == uri).map(|(_, end)| *end);
        let offset = match offset {
            Some(offset) => integer(offset),
            None => Some(continued.unwrap_or(0)),
        };
        let range = integer(length).zip(offset).map(|(length, offset)| Range { length, offset });
        match range {
            None => self.wrong(line, "a byte range is not length[@offset] (4.4.4.2)"),
            Some(range) => self.range_end = Some((uri.to_owned(), range.offset.saturating_add(range.length))),
        }
        range
    }

    fn uri(&mut self, line: usize, uri: &str) {
        let pending = std::mem::take(&mut self.pending);
        if pending.duration.is_none() {
            self.wrong(line, "a segment without EXTINF (4.4.4.1)");
        }
        let msn = self.out.next_msn();
        self.out.segments.push(Segment {
            msn,
            discontinuity_number: self.out.discontinuity_sequence.saturating_add(self.discontinuities),
            discontinuity: pending.discontinuity,
            uri: uri.to_owned(),
            range: pending.range,
            duration: pending.duration.unwrap_or(0.0),
            parts: pending.parts,
            map: self.map.clone(),
            gap: pending.gap,
            unix_ms: pending.unix_ms,
        });
    }
}
