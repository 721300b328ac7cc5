//! Multivariant playlists (RFC 8216bis 4.4.6), as far as a lint of one variant at a time needs them.

use crate::lint::m3u8::attributes::Attributes;
use crate::lint::m3u8::{Breach, Content, Line};
use crate::lint::rule::Rule;

#[derive(Clone, Debug, Default)]
pub(crate) struct Multivariant {
    pub(crate) variants: Vec<Variant>,
}

#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Variant {
    pub(crate) uri: String,
    pub(crate) bandwidth: u64,
    pub(crate) average_bandwidth: Option<u64>,
    pub(crate) codecs: Option<String>,
    /// Audio is in playlists of its own.
    pub(crate) separate_audio: bool,
}

impl Multivariant {
    pub(super) fn parse(lines: &[Line<'_>], breaches: &mut Vec<Breach>) -> Self {
        let mut out = Self::default();
        let mut pending: Option<Variant> = None;
        for line in lines {
            match line.content {
                Content::Tag("EXT-X-STREAM-INF", value) => {
                    let number = line.number;
                    if pending.is_some() {
                        let what = format!("line {number}: the EXT-X-STREAM-INF before has no URI (4.4.6.2)");
                        breaches.push(Breach::new(Rule::Syntax, what));
                    }
                    pending = Some(variant(
                        &Attributes::parse("EXT-X-STREAM-INF", number, value, breaches),
                        breaches,
                    ));
                }
                Content::Uri(uri) => match pending.take() {
                    Some(variant) => out.variants.push(Variant { uri: uri.to_owned(), ..variant }),
                    None => {
                        let what = format!("line {}: a URI without EXT-X-STREAM-INF (4.4.6.2)", line.number);
                        breaches.push(Breach::new(Rule::Syntax, what));
                    }
                },
                Content::Tag(..) => {}
            }
        }
        if pending.is_some() || out.variants.is_empty() {
            breaches
                .push(Breach::new(Rule::Syntax, "a variant without a URI, or no variant at all (4.4.6.2)"));
        }
        out
    }
}

fn variant(attributes: &Attributes<'_>, breaches: &mut Vec<Breach>) -> Variant {
    let bandwidth = attributes.integer("BANDWIDTH", breaches);
    let resolution = attributes.bare("RESOLUTION", breaches);
    if resolution.is_some_and(|text| text.split_once('x').is_none_or(|(w, h)| !is_size(w) || !is_size(h))) {
        breaches.push(Breach::new(Rule::Syntax, "RESOLUTION is not a width and a height (4.2)"));
    }
    let _ = attributes.decimal("FRAME-RATE", breaches);
    Variant {
        uri: String::new(),
        bandwidth: attributes.require("BANDWIDTH", bandwidth, breaches).unwrap_or(0),
        average_bandwidth: attributes.integer("AVERAGE-BANDWIDTH", breaches),
        codecs: attributes.quoted("CODECS", breaches).map(str::to_owned),
        separate_audio: attributes.quoted("AUDIO", breaches).is_some(),
    }
}

fn is_size(text: &str) -> bool {
    text.parse::<u32>().is_ok_and(|size| size > 0)
}
