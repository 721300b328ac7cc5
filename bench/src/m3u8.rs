//! The few lines of a playlist (RFC 8216bis) that the bench follows.

/// Media sequence number and part number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Place {
    pub(crate) msn: u64,
    pub(crate) part: u32,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Media {
    pub(crate) segments: Vec<String>,
    /// The newest part, of a segment that may still be open.
    pub(crate) newest_part: Option<String>,
    pub(crate) hint: Option<String>,
    /// The first part which is not in it.
    pub(crate) next: Place,
}

/// The address of the first variant, as it stands in a multivariant playlist.
pub(crate) fn variant(text: &str) -> Option<&str> {
    let mut lines = text.lines().skip_while(|line| !line.starts_with("#EXT-X-STREAM-INF:"));
    lines.find(|line| !line.is_empty() && !line.starts_with('#'))
}

pub(crate) fn media(text: &str) -> Media {
    let mut media =
        Media { segments: Vec::new(), newest_part: None, hint: None, next: Place { msn: 0, part: 0 } };
    for line in text.lines() {
        if let Some(number) = line.strip_prefix("#EXT-X-MEDIA-SEQUENCE:") {
            media.next.msn = number.trim().parse().unwrap_or(0);
        } else if let Some(list) = line.strip_prefix("#EXT-X-PART:") {
            media.newest_part = uri(list);
            media.next.part += 1;
        } else if let Some(list) = line.strip_prefix("#EXT-X-PRELOAD-HINT:TYPE=PART,") {
            media.hint = uri(list);
        } else if !line.is_empty() && !line.starts_with('#') {
            media.segments.push(line.to_owned());
            media.next = Place { msn: media.next.msn + 1, part: 0 };
        }
    }
    media
}

/// The path that a relative reference in the playlist at `base` means.
pub(crate) fn resolve(base: &str, reference: &str) -> String {
    if reference.starts_with('/') {
        return reference.to_owned();
    }
    let folder = base.rfind('/').map_or("", |slash| &base[..=slash]);
    format!("{folder}{reference}")
}

fn uri(list: &str) -> Option<String> {
    let (_, rest) = list.split_once("URI=\"")?;
    Some(rest.split_once('"')?.0.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_next_part_is_the_one_behind_the_last() {
        let text = "#EXTM3U\n#EXT-X-MEDIA-SEQUENCE:7\n#EXTINF:2,\na/7.mp4\n#EXT-X-PART:DURATION=0.2,URI=\"a/8.0.mp4\"\n\
                    #EXT-X-PRELOAD-HINT:TYPE=PART,URI=\"a/8.1.mp4\"\n";
        let media = media(text);
        assert_eq!(media.next, Place { msn: 8, part: 1 });
        assert_eq!(media.hint.as_deref(), Some("a/8.1.mp4"));
        assert_eq!(media.newest_part.as_deref(), Some("a/8.0.mp4"));
        assert_eq!(media.segments, ["a/7.mp4"]);
        assert_eq!(resolve("/live/s0/x.m3u8", "a/7.mp4"), "/live/s0/a/7.mp4");
    }
}
