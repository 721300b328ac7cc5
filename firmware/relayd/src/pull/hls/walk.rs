//! Which segments of a playlist are new, one look after the other. Plain data; fetches nothing.

use crate::lint::MediaPlaylist;

/// Behind the live edge at first: RFC 8216 6.3.3 says not nearer than three target durations.
const BEGIN_BEHIND: usize = 3;
/// Of one look: a server that was away may come back with more.
const PIECES_MAX: usize = 16;

/// A segment to fetch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Piece {
    pub(super) uri: String,
    /// First byte and length.
    pub(super) range: Option<(u64, u64)>,
    /// Its timeline has nothing to do with the one before.
    pub(super) fresh: bool,
}

/// Where the reader is. A playlist that was left behind by a stream that is over looks like a live one until it is
/// looked at again: nothing is taken before it has grown.
#[derive(Debug, Default)]
pub(super) struct Walk {
    place: Place,
    /// A discontinuity was stepped over.
    fresh: bool,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Place {
    #[default]
    Nowhere,
    /// The playlist ended at this media sequence number at the first look.
    Seen(u64),
    /// This one comes next.
    Next(u64),
}

impl Walk {
    /// Whether a segment was taken.
    pub(super) const fn has_begun(&self) -> bool {
        matches!(self.place, Place::Next(_))
    }

    pub(super) fn next(&mut self, playlist: &MediaPlaylist) -> Vec<Piece> {
        let end = playlist.next_msn();
        let edge = end.saturating_sub(BEGIN_BEHIND as u64);
        let begin = match self.place {
            Place::Seen(seen) if seen != end => edge,
            Place::Nowhere | Place::Seen(_) => {
                self.place = Place::Seen(end);
                return Vec::new();
            }
            // Numbers that went back: the server began anew.
            Place::Next(next) if next > end => {
                self.fresh = true;
                edge
            }
            Place::Next(next) => next,
        };
        let first_ever = !self.has_begun();
        self.place = Place::Next(end);
        let new = playlist.segments.iter().filter(|segment| segment.msn >= begin);
        let skipped = new.clone().count().saturating_sub(PIECES_MAX);
        let mut pieces = Vec::new();
        for (index, segment) in new.enumerate() {
            self.fresh |= segment.discontinuity && !(first_ever && index == 0);
            if segment.gap || index < skipped {
                continue;
            }
            pieces.push(Piece {
                uri: segment.uri.clone(),
                range: segment.range.map(|range| (range.offset, range.length)),
                fresh: std::mem::take(&mut self.fresh),
            });
        }
        pieces
    }
}

#[cfg(test)]
mod tests {
    use crate::lint::{Playlist, parse};

    use super::*;

    fn look(walk: &mut Walk, first: u64, segments: &str) -> Vec<(String, bool)> {
        let mut text = format!("#EXTM3U\n#EXT-X-TARGETDURATION:2\n#EXT-X-MEDIA-SEQUENCE:{first}\n");
        for name in segments.split_whitespace() {
            text += match name {
                "|" => "#EXT-X-DISCONTINUITY\n",
                "-" => "#EXT-X-GAP\n",
                _ => "",
            };
            if name.len() > 1 {
                text += &format!("#EXTINF:2,\n{name}.ts\n");
            }
        }
        let Some(Playlist::Media(playlist)) = parse(&text).0 else { panic!("{text}") };
        walk.next(&playlist).into_iter().map(|piece| (piece.uri.replace(".ts", ""), piece.fresh)).collect()
    }

    fn old(names: &[&str]) -> Vec<(String, bool)> {
        names.iter().map(|name| ((*name).to_owned(), false)).collect()
    }

    #[test]
    fn it_begins_behind_the_edge_and_takes_each_once() {
        let mut walk = Walk::default();
        assert_eq!(look(&mut walk, 4, "s4 s5 s6 s7 s8"), [], "nobody knows yet whether it goes on");
        assert_eq!(look(&mut walk, 4, "s4 s5 s6 s7 s8"), []);
        assert!(!walk.has_begun());
        assert_eq!(look(&mut walk, 5, "s5 s6 s7 s8 s9"), old(&["s7", "s8", "s9"]));
        assert_eq!(look(&mut walk, 5, "s5 s6 s7 s8 s9"), []);
        assert_eq!(look(&mut walk, 7, "s7 s8 s9 s10 s11"), old(&["s10", "s11"]));
        // What fell out of the window while nobody looked is not asked for.
        assert_eq!(look(&mut walk, 20, "s20 s21"), old(&["s20", "s21"]));
    }

    #[test]
    fn another_timeline_is_said_once() {
        let mut walk = Walk::default();
        assert_eq!(look(&mut walk, 0, "| s0"), []);
        assert_eq!(look(&mut walk, 0, "| s0 s1"), old(&["s0", "s1"]));
        let fresh = |name: &str| (name.to_owned(), true);
        assert_eq!(look(&mut walk, 0, "s0 s1 | s2 s3"), [fresh("s2"), old(&["s3"])[0].clone()]);
        assert_eq!(look(&mut walk, 3, "s3 | - s4 s5"), [fresh("s5")], "a gap that begins it is stepped over");
        assert_eq!(look(&mut walk, 0, "t0 t1"), [fresh("t0"), old(&["t1"])[0].clone()], "began anew");
    }

    #[test]
    fn one_look_is_bounded() {
        let mut walk = Walk::default();
        look(&mut walk, 0, "s0");
        assert_eq!(look(&mut walk, 0, "s0 s1").len(), 2);
        let many: Vec<String> = (0..40).map(|n| format!("s{n}")).collect();
        let pieces = look(&mut walk, 0, &many.join(" "));
        assert_eq!((pieces.len(), pieces[0].0.as_str()), (PIECES_MAX, "s24"));
    }
}
