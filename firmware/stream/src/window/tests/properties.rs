//! What holds for each sequence of epochs, parts, abandonments and ends.

use alloc::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;

use super::*;

#[derive(Clone, Debug)]
enum Step {
    Epoch { target_ms: i64, audio: bool },
    Segment { parts: Vec<(i64, bool)>, whole: bool },
    Abandon,
    End,
}

fn step() -> impl Strategy<Value = Step> {
    let parts = proptest::collection::vec((20_i64..=200, prop::bool::weighted(0.05)), 1..40);
    prop_oneof![
        1 => (prop_oneof![9 => Just(200_i64), 1 => Just(240)], prop::bool::weighted(0.9))
            .prop_map(|(target_ms, audio)| Step::Epoch { target_ms, audio }),
        20 => (parts, prop::bool::weighted(0.9)).prop_map(|(parts, whole)| Step::Segment { parts, whole }),
        1 => Just(Step::Abandon),
        1 => Just(Step::End),
    ]
}

/// What was seen of one playlist URI.
#[derive(Default)]
struct Seen {
    head: String,
    msn: u64,
    discontinuity_sequence: u64,
    /// Media sequence number -> discontinuity sequence number and URI: never another for the same.
    segments: BTreeMap<u64, (u64, String)>,
    ended: bool,
}

#[derive(Default)]
struct Witness {
    pushed: BTreeSet<String>,
    evicted: BTreeSet<String>,
    names: BTreeSet<PlaylistName>,
    seen: BTreeMap<PlaylistName, Seen>,
    next_msn: u64,
    full: BTreeMap<PlaylistName, String>,
}

impl Witness {
    fn look(&mut self, window: &mut Window) {
        while let Some(name) = window.poll_evicted() {
            assert!(self.evicted.insert(name.to_string()), "{name} was evicted twice");
        }
        assert!(window.next_msn() >= self.next_msn);
        self.next_msn = window.next_msn();
        self.names.extend(window.current());
        for name in self.names.clone() {
            if let Answer::Ready(text) = window.media(name, &Reload::default()) {
                let delta = window.render(name, true).unwrap();
                self.check_delta(name, &text, &delta);
                self.check_playlist(name, &text);
                self.full.insert(name, text);
            }
        }
    }

    fn check_playlist(&mut self, name: PlaylistName, text: &str) {
        let seen = self.seen.entry(name).or_default();
        let value = |tag: &str| text.lines().find_map(|line| line.strip_prefix(tag)).unwrap();
        let head =
            [value("#EXT-X-TARGETDURATION:"), value("#EXT-X-PART-INF:"), value("#EXT-X-SERVER-CONTROL:")]
                .join(" ");
        assert!(seen.head.is_empty() || seen.head == head, "{name}: {} became {head}", seen.head);
        let msn: u64 = value("#EXT-X-MEDIA-SEQUENCE:").parse().unwrap();
        let discontinuity_sequence: u64 = value("#EXT-X-DISCONTINUITY-SEQUENCE:").parse().unwrap();
        assert!(msn >= seen.msn && discontinuity_sequence >= seen.discontinuity_sequence);
        let target: f64 = value("#EXT-X-TARGETDURATION:").parse().unwrap();
        let part_target: f64 = value("#EXT-X-PART-INF:PART-TARGET=").parse().unwrap();
        let (mut at, mut discontinuities, mut parts, mut map) = (msn, discontinuity_sequence, 0.0, "");
        let ended = text.contains("#EXT-X-ENDLIST");
        assert!(ended || !seen.ended, "{name} came back from its end");
        for line in text.lines() {
            if line == "#EXT-X-DISCONTINUITY" {
                discontinuities += 1;
            } else if let Some(uri) = line.strip_prefix("#EXT-X-MAP:URI=") {
                map = uri.trim_matches('"');
                assert!(!self.evicted.contains(map));
            } else if let Some(part) = line.strip_prefix("#EXT-X-PART:DURATION=") {
                let duration: f64 = part.split(',').next().unwrap().parse().unwrap();
                assert!(duration <= part_target, "{line}");
                parts += duration;
                let uri = part.split('"').nth(1).unwrap();
                assert!(self.pushed.contains(uri) && !self.evicted.contains(uri), "{uri}");
            } else if let Some(duration) = line.strip_prefix("#EXTINF:") {
                let duration: f64 = duration.trim_end_matches(',').parse().unwrap();
                assert!(duration.round() <= target, "{line} in a target duration of {target}");
                assert!(
                    parts == 0.0 || (parts - duration).abs() < 0.001,
                    "{line} is not the {parts} of its parts"
                );
                parts = 0.0;
            } else if !line.starts_with('#') {
                assert!(!self.evicted.contains(line) && line[..16] == map[..16], "{line}");
                let now = (discontinuities, line.into());
                let before = seen.segments.entry(at).or_insert_with(|| now.clone());
                assert_eq!(*before, now, "segment {at} of {name}");
                at += 1;
            }
        }
        *seen =
            Seen { head, msn, discontinuity_sequence, ended, segments: core::mem::take(&mut seen.segments) };
    }

    /// A client that has the last full playlist makes the newest one of it and a delta update: the segments that the
    /// update skips are taken from before (RFC 8216bis 6.3.7).
    fn check_delta(&self, name: PlaylistName, text: &str, delta: &str) {
        let Some((head, tail)) = delta.split_once("#EXT-X-SKIP:SKIPPED-SEGMENTS=") else {
            assert_eq!(delta, text);
            return;
        };
        let (skipped, tail) = tail.split_once('\n').unwrap();
        let skipped: usize = skipped.parse().unwrap();
        let Some(old) = self.full.get(&name) else { return };
        let dropped = media_sequence(text) - media_sequence(old);
        let (bodies, new_bodies) = (segments(old), segments(text));
        // What the skipped segments said, but for parts, which leave as they grow old, and for the first one's
        // EXT-X-MAP, which stands at the top of each playlist.
        let from_old = bodies.iter().skip(dropped as usize).take(skipped);
        let bare = |lines: &String| {
            let kept = lines
                .lines()
                .filter(|line| !line.starts_with("#EXT-X-PART:") && !line.starts_with("#EXT-X-MAP"));
            kept.collect::<Vec<_>>().join("\n")
        };
        let merged: Vec<String> = from_old.map(bare).collect();
        if merged.len() < skipped {
            return; // the old playlist is too old for this update: the client asks for a full one
        }
        assert_eq!(merged, new_bodies.iter().take(skipped).map(bare).collect::<Vec<_>>());
        let full_tail: String = new_bodies.iter().skip(skipped).cloned().collect();
        assert_eq!(tail, full_tail);
        assert_eq!(
            head.replace("VERSION:9", "VERSION:6"),
            text.split_inclusive('\n').take(8).collect::<String>()
        );
    }
}

fn media_sequence(text: &str) -> u64 {
    text.lines().find_map(|line| line.strip_prefix("#EXT-X-MEDIA-SEQUENCE:")).unwrap().parse().unwrap()
}

/// The lines of each segment, and last what stands behind them all.
fn segments(text: &str) -> Vec<String> {
    let mut out = alloc::vec![String::new()];
    for line in text.split_inclusive('\n').skip(8) {
        out.last_mut().unwrap().push_str(line);
        if !line.starts_with('#') {
            out.push(String::new());
        }
    }
    out
}

fn play(steps: Vec<Step>, limits: WindowLimits) {
    let mut window = Window::new(limits, 3);
    let mut witness = Witness::default();
    let (mut epoch, mut at) = (EpochId(0), Ticks::ZERO);
    for step in steps {
        match step {
            Step::Epoch { target_ms, audio } => {
                epoch = EpochId(epoch.0 + 1);
                at = Ticks::ZERO;
                window.begin_epoch(record(epoch, Ticks::from_millis(target_ms), audio, 0)).unwrap();
            }
            Step::Segment { parts, whole } => {
                for (nth, (ms, gap)) in parts.iter().enumerate() {
                    let (opens_segment, last) = (nth == 0, whole && nth + 1 == parts.len());
                    let duration = Ticks::from_millis(*ms);
                    let cut = CutPart {
                        epoch,
                        start: at,
                        duration,
                        independent: opens_segment,
                        opens_segment,
                        last,
                    };
                    let bytes = if *gap { 0 } else { 1000 };
                    let header = PartHeader { gap: *gap, ..window.number(&cut, bytes) };
                    let names = [
                        ObjectName::Part(epoch, header.msn, header.part),
                        ObjectName::Segment(epoch, header.msn),
                    ];
                    if window.push_part(header).is_ok() {
                        witness.pushed.extend(names.map(|name| name.to_string()));
                    }
                    at += duration;
                    witness.look(&mut window);
                }
            }
            Step::Abandon => window.abandon_segment(),
            Step::End => window.end(),
        }
        witness.look(&mut window);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    #[test]
    fn playlists_keep_their_promises(
        steps in proptest::collection::vec(step(), 1..60),
        ceiling in 2_u32..9,
        seconds in 1_i64..40,
        kilobytes in 20_u64..2000,
    ) {
        let limits = WindowLimits {
            duration: Ticks::from_secs(seconds),
            bytes: kilobytes * 1000,
            target_duration_s_max: ceiling,
            ..WindowLimits::default()
        };
        play(steps, limits);
    }
}
