//! The few lines of a playlist (RFC 8216bis) that a reader of parts needs.
//!
//! Reads what is there and ignores the rest; judging a playlist is the work of `relayd lint`.

/// One part as the playlist names it.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Part {
    pub(crate) place: Place,
    pub(crate) uri: String,
    pub(crate) duration_s: f64,
    pub(crate) independent: bool,
    /// It is named, but is not there and will not be.
    pub(crate) gap: bool,
    /// Its initialization section.
    pub(crate) map: String,
}

/// Media sequence number and part number: the order of parts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Place {
    pub(crate) msn: u64,
    pub(crate) part: u32,
}

#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Media {
    pub(crate) parts: Vec<Part>,
    /// The first part which is not in it.
    pub(crate) next: Place,
    /// How far behind the newest part a player is to stay, in seconds.
    pub(crate) part_hold_back_s: Option<f64>,
    pub(crate) ended: bool,
}

/// The address of the first variant of a multivariant playlist.
pub(crate) fn first_variant(text: &str) -> Option<&str> {
    let mut lines = text.lines().skip_while(|line| !line.starts_with("#EXT-X-STREAM-INF:"));
    lines.find(|line| !line.is_empty() && !line.starts_with('#'))
}

pub(crate) fn media(text: &str) -> Media {
    let mut parts = Vec::new();
    let mut next = Place { msn: 0, part: 0 };
    let mut map = String::new();
    let mut part_hold_back_s = None;
    let mut ended = false;
    for line in text.lines() {
        if let Some(number) = line.strip_prefix("#EXT-X-MEDIA-SEQUENCE:") {
            next.msn = number.trim().parse().unwrap_or(0);
        } else if let Some(list) = line.strip_prefix("#EXT-X-SERVER-CONTROL:") {
            part_hold_back_s = attribute(list, "PART-HOLD-BACK").and_then(|value| value.parse().ok());
        } else if let Some(list) = line.strip_prefix("#EXT-X-MAP:") {
            map = attribute(list, "URI").unwrap_or_default();
        } else if let Some(list) = line.strip_prefix("#EXT-X-PART:") {
            parts.push(Part {
                place: next,
                uri: attribute(list, "URI").unwrap_or_default(),
                duration_s: attribute(list, "DURATION").and_then(|value| value.parse().ok()).unwrap_or(0.0),
                independent: attribute(list, "INDEPENDENT").as_deref() == Some("YES"),
                gap: attribute(list, "GAP").as_deref() == Some("YES"),
                map: map.clone(),
            });
            next.part += 1;
        } else if line.starts_with("#EXT-X-ENDLIST") {
            ended = true;
        } else if !line.is_empty() && !line.starts_with('#') {
            next = Place { msn: next.msn + 1, part: 0 };
        }
    }
    Media { parts, next, part_hold_back_s, ended }
}

/// The value of one attribute of a list, without its quotes; a comma within quotes does not end it.
fn attribute(list: &str, name: &str) -> Option<String> {
    let mut rest = list;
    loop {
        let (key, after) = rest.split_once('=')?;
        let (value, tail) = match after.strip_prefix('"') {
            Some(quoted) => {
                let (value, tail) = quoted.split_once('"')?;
                (value, tail.trim_start_matches(','))
            }
            None => after.split_once(',').unwrap_or((after, "")),
        };
        if key.trim() == name {
            return Some(value.to_owned());
        }
        rest = tail;
    }
}

/// The address that a reference on the page `base` means.
pub(crate) fn resolve(base: &str, reference: &str) -> String {
    if reference.contains("://") {
        return reference.to_owned();
    }
    let path_start = base.find("://").map_or(0, |scheme| scheme + 3);
    let path_start = base[path_start..].find('/').map_or(base.len(), |slash| path_start + slash);
    if reference.starts_with('/') {
        return format!("{}{reference}", &base[..path_start]);
    }
    let page = base.split(['?', '#']).next().unwrap_or(base);
    let folder = page.rfind('/').filter(|slash| *slash >= path_start).map_or(page, |slash| &page[..slash]);
    format!("{folder}/{reference}")
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIVE: &str = "#EXTM3U
#EXT-X-TARGETDURATION:2
#EXT-X-SERVER-CONTROL:CAN-BLOCK-RELOAD=YES,PART-HOLD-BACK=0.700
#EXT-X-MEDIA-SEQUENCE:41
#EXT-X-MAP:URI=\"e1/init.mp4\"
#EXTINF:2.000,
e1/41.m4s
#EXT-X-PART:DURATION=0.200,URI=\"e1/42.0.m4s\",INDEPENDENT=YES
#EXT-X-PART:DURATION=0.133,URI=\"e1/42.1.m4s\",GAP=YES
#EXTINF:0.333,
e1/42.m4s
#EXT-X-DISCONTINUITY
#EXT-X-MAP:URI=\"e2/init.mp4\"
#EXT-X-PART:DURATION=0.200,URI=\"e2/43,0.m4s\",INDEPENDENT=YES
#EXT-X-PRELOAD-HINT:TYPE=PART,URI=\"e2/43.1.m4s\"
";

    #[test]
    fn parts_are_numbered_as_the_rfc_counts_them() {
        let read = media(LIVE);
        let rows: Vec<_> = read
            .parts
            .iter()
            .map(|p| (p.place.msn, p.place.part, &p.uri[..], p.independent, &p.map[..]))
            .collect();
        assert_eq!(
            rows,
            [
                (42, 0, "e1/42.0.m4s", true, "e1/init.mp4"),
                (42, 1, "e1/42.1.m4s", false, "e1/init.mp4"),
                (43, 0, "e2/43,0.m4s", true, "e2/init.mp4"),
            ]
        );
        assert_eq!(read.parts.iter().map(|part| part.gap).collect::<Vec<_>>(), [false, true, false]);
        assert_eq!(read.part_hold_back_s, Some(0.7));
        assert_eq!(read.next, Place { msn: 43, part: 1 });
        assert!(!read.ended);
    }

    #[test]
    fn the_variant_is_the_line_after_its_description() {
        let text =
            "#EXTM3U\n#EXT-X-STREAM-INF:BANDWIDTH=2600000,CODECS=\"avc1.4d401f,mp4a.40.2\"\nab.0.m3u8\n";
        assert_eq!(first_variant(text), Some("ab.0.m3u8"));
        assert_eq!(first_variant("#EXTM3U\n"), None);
    }

    #[test]
    fn references_resolve_as_a_browser_would() {
        let base = "http://127.0.0.1:8080/live/demo/index.m3u8?x=/y/z";
        assert_eq!(resolve(base, "a.m3u8"), "http://127.0.0.1:8080/live/demo/a.m3u8");
        assert_eq!(resolve(base, "/live/a.mp4"), "http://127.0.0.1:8080/live/a.mp4");
        assert_eq!(resolve(base, "http://127.0.0.2/a"), "http://127.0.0.2/a");
        assert_eq!(resolve("http://127.0.0.1:8080", "a"), "http://127.0.0.1:8080/a");
    }
}
