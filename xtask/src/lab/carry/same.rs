//! Whether the playlists of several boxes say the same, byte for byte, of the segments that all of them list.

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::{Context as _, Result};

use super::circle::{Circle, STREAM};
use crate::viewer::playlist;

/// A box's playlist changes with each part; boxes are asked again until they answered for the same newest one.
const TRIES: usize = 30;

const PAUSE: Duration = Duration::from_millis(50);

/// The lines of each segment that is whole, by its media sequence number.
type Segments = BTreeMap<u64, String>;

/// What was compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Compared {
    pub(crate) segments: usize,
    pub(crate) bytes: usize,
    /// Segments of which two boxes do not say the same.
    pub(crate) different: usize,
}

/// Asks these boxes until each has answered for the same part, and compares what they said then.
pub(crate) fn compare(circle: &Circle<'_>, names: &[&str]) -> Result<Option<Compared>> {
    let mut said: Vec<BTreeMap<playlist::Place, String>> = vec![BTreeMap::new(); names.len()];
    for _ in 0..TRIES {
        for (said, text) in said.iter_mut().zip(fetch(circle, names)?) {
            said.insert(playlist::media(&text).next, text);
        }
        let Some((first, others)) = said.split_first() else { break };
        let shared = first.keys().rev().find(|place| others.iter().all(|other| other.contains_key(place)));
        if let Some(place) = shared {
            let all: Vec<Segments> = said.iter().map(|said| segments(&said[place])).collect();
            return Ok(Some(held_against(&all)));
        }
        // Boxes are a part apart for as long as a part lasts.
        std::thread::sleep(PAUSE);
    }
    Ok(None)
}

/// All at once, so that they are likely to be at the same part.
fn fetch(circle: &Circle<'_>, names: &[&str]) -> Result<Vec<String>> {
    let fetch_one = |name: &str| {
        let multivariant = circle.ask(name, &format!("/live/{STREAM}/index.m3u8"))?;
        let variant = playlist::first_variant(&multivariant).context("no variant")?.to_owned();
        circle.ask(name, &format!("/live/{STREAM}/{variant}"))
    };
    std::thread::scope(|threads| {
        let asked: Vec<_> = names.iter().map(|name| threads.spawn(move || fetch_one(name))).collect();
        let answers = asked.into_iter().map(|asked| asked.join().expect("asking does not panic"));
        answers.collect()
    })
}

fn segments(text: &str) -> Segments {
    let mut found = Segments::new();
    let mut lines = String::new();
    let mut msn = None;
    for line in text.lines() {
        if let Some(number) = line.strip_prefix("#EXT-X-MEDIA-SEQUENCE:") {
            msn = number.trim().parse::<u64>().ok();
            lines.clear();
            continue;
        }
        let Some(number) = msn else { continue };
        if line.starts_with("#EXT-X-DISCONTINUITY-SEQUENCE:") {
            continue;
        }
        lines.push_str(line);
        lines.push('\n');
        if !line.is_empty() && !line.starts_with('#') {
            found.insert(number, std::mem::take(&mut lines));
            msn = Some(number + 1);
        }
    }
    // What the first listed segment needs is said again for it, wherever the list begins.
    found.pop_first();
    found
}

fn held_against(all: &[Segments]) -> Compared {
    let mut compared = Compared { segments: 0, bytes: 0, different: 0 };
    let Some((first, others)) = all.split_first() else { return compared };
    for (msn, lines) in first {
        let same: Option<Vec<bool>> =
            others.iter().map(|other| other.get(msn).map(|others| others == lines)).collect();
        let Some(same) = same else { continue };
        // A box that gave a part up has not the same parts.
        let gap = |lines: &String| lines.contains("#EXT-X-GAP") || lines.contains("GAP=YES");
        if gap(lines) || others.iter().filter_map(|other| other.get(msn)).any(gap) {
            continue;
        }
        compared.segments += 1;
        compared.bytes += lines.len();
        compared.different += usize::from(same.contains(&false));
    }
    compared
}

#[cfg(test)]
mod tests {
    use super::*;

    const EARLY: &str = "#EXTM3U\n#EXT-X-MEDIA-SEQUENCE:7\n#EXT-X-DISCONTINUITY-SEQUENCE:0\n#EXT-X-MAP:URI=\"i\"\n\
        #EXTINF:2.0,\na7\n#EXTINF:2.0,\na8\n#EXTINF:2.0,\na9\n#EXT-X-PART:DURATION=0.2,URI=\"a10.0\"\n";

    #[test]
    fn boxes_that_began_at_different_times_share_the_rest() {
        let late =
            "#EXTM3U\n#EXT-X-MEDIA-SEQUENCE:8\n#EXT-X-MAP:URI=\"i\"\n#EXTINF:2.0,\na8\n#EXTINF:2.0,\na9\n";
        let compared = held_against(&[segments(EARLY), segments(late)]);
        assert_eq!(compared, Compared { segments: 1, bytes: 16, different: 0 });
    }

    #[test]
    fn a_part_that_one_gave_up_is_no_difference() {
        let other = EARLY.replace("2.0,\na9", "2.0,\n#EXT-X-GAP\na9");
        let compared = held_against(&[segments(EARLY), segments(&other)]);
        assert_eq!((compared.segments, compared.different), (1, 0));
    }

    #[test]
    fn one_byte_is_a_difference() {
        let other = EARLY.replace("2.0,\na9", "2.1,\na9");
        let compared = held_against(&[segments(EARLY), segments(EARLY), segments(&other)]);
        assert_eq!((compared.segments, compared.different), (2, 1));
    }
}
