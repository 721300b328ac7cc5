//! A strict reader of playlists (RFC 8216bis 4), written against the text and not against our renderer.
//!
//! It reads on after a mistake and names it, so that one mistake does not hide the others.

use crate::lint::rule::Rule;

mod attributes;
mod date;
mod media;
mod multivariant;

pub(crate) use media::{Map, MediaPlaylist, Part, Range, Segment, ServerControl};
pub(crate) use multivariant::{Multivariant, Variant};

/// Lines read at most.
const LINES_MAX: usize = 1 << 18;

#[derive(Clone, Debug)]
pub(crate) enum Playlist {
    Multivariant(Multivariant),
    Media(MediaPlaylist),
}

/// A broken rule, and where.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Breach {
    pub(crate) rule: Rule,
    pub(crate) what: String,
}

impl Breach {
    pub(crate) fn new(rule: Rule, what: impl Into<String>) -> Self {
        Self { rule, what: what.into() }
    }
}

/// A line of a playlist with its number, from 1.
#[derive(Clone, Copy, Debug)]
struct Line<'a> {
    number: usize,
    content: Content<'a>,
}

#[derive(Clone, Copy, Debug)]
enum Content<'a> {
    /// A tag's name without `#`, and what follows its colon.
    Tag(&'a str, &'a str),
    Uri(&'a str),
}

/// Reads a playlist. None if it is not one at all; the breaches say why.
pub(crate) fn parse(text: &str) -> (Option<Playlist>, Vec<Breach>) {
    let mut breaches = Vec::new();
    if text.lines().next() != Some("#EXTM3U") {
        breaches.push(Breach::new(Rule::Syntax, "the first line is not #EXTM3U (4.4.1.1)"));
        return (None, breaches);
    }
    let lines = lines(text, &mut breaches);
    let is = |prefix: &str| {
        lines.iter().any(|line| matches!(line.content, Content::Tag(name, _) if name.starts_with(prefix)))
    };
    let multivariant = is("EXT-X-STREAM-INF") || is("EXT-X-MEDIA") && !is("EXT-X-MEDIA-SEQUENCE");
    let media = is("EXTINF") || is("EXT-X-TARGETDURATION") || is("EXT-X-PART");
    if multivariant && media {
        breaches.push(Breach::new(Rule::Syntax, "tags of multivariant and media playlists are mixed (4.1)"));
    }
    let playlist = if multivariant {
        Playlist::Multivariant(Multivariant::parse(&lines, &mut breaches))
    } else {
        Playlist::Media(MediaPlaylist::parse(&lines, &mut breaches))
    };
    (Some(playlist), breaches)
}

fn lines<'a>(text: &'a str, breaches: &mut Vec<Breach>) -> Vec<Line<'a>> {
    let mut out = Vec::new();
    for (nth, line) in text.lines().enumerate().take(LINES_MAX) {
        let number = nth + 1;
        let content = match line.strip_prefix('#') {
            _ if line.is_empty() => continue,
            Some(tag) if tag.starts_with("EXT") => {
                let (name, value) = tag.split_once(':').unwrap_or((tag, ""));
                Content::Tag(name, value)
            }
            Some(_) => continue,
            None => Content::Uri(line),
        };
        if line != line.trim() {
            breaches.push(Breach::new(Rule::Syntax, format!("line {number} has blanks at its ends")));
        }
        if line.chars().any(char::is_control) {
            breaches.push(Breach::new(Rule::Syntax, format!("line {number} has control characters")));
        }
        out.push(Line { number, content });
    }
    out
}
