//! A stream is packaged some parts at a time while nobody watches it, or whole segments are watched; as soon as somebody
//! waits for parts, each comes by itself, and nothing is missing.

use std::time::{Duration, Instant};

use crate::laboratory::{Laboratory, until};
use crate::programme::{Coding, Publisher, code};
use crate::verdict::{check_media, check_sync, playlist};

/// Reading the metrics is not watching.
fn stored(lab: &Laboratory) -> u64 {
    let text = String::from_utf8(lab.fetch("/metrics")).unwrap();
    let line =
        text.lines().find_map(|line| line.strip_prefix("relaybox_stream_parts_total{stream=\"demo\"} "));
    line.map_or(0, |count| count.parse().unwrap())
}

/// How many parts came between two looks, where any came.
fn jumps(lab: &Laboratory, time: Duration) -> Vec<u64> {
    let start = Instant::now();
    let mut before = stored(lab);
    let mut jumps = Vec::new();
    while start.elapsed() < time {
        std::thread::sleep(Duration::from_millis(20));
        let now = stored(lab);
        if now > before {
            jumps.push(now - before);
        }
        before = now;
    }
    jumps
}

#[test]
fn who_waits_for_parts_gets_each_when_it_is_whole() {
    let tags = code(Coding { seconds: 14, ..Coding::default() });
    let lab = Laboratory::start("");
    let mut publisher = Publisher::at_speed(lab.rtmp, "secret", 1);
    let sending = std::thread::spawn(move || {
        publisher.send(&tags);
        publisher.finish();
    });
    until("the first parts are stored", || (stored(&lab) > 0).then_some(()));
    let mean = |jumps: &[u64]| jumps.iter().sum::<u64>() as f64 / jumps.len() as f64;
    let unwatched = jumps(&lab, Duration::from_secs(4));
    let seen = playlist(&lab);
    let by_segments = jumps(&lab, Duration::from_secs(3));
    let before = stored(&lab);
    // Blocking reload (RFC 8216bis 6.2.5.2), answered at once for what is there.
    lab.fetch(&format!("/live/demo/{}?_HLS_msn={}", seen.name, seen.first_msn));
    until("what had waited is stored", || (stored(&lab) > before).then_some(()));
    let by_parts = jumps(&lab, Duration::from_secs(3));
    println!("{unwatched:?} unwatched, {by_segments:?} by segments, {by_parts:?} by parts");
    assert!(mean(&unwatched) > 2.0 * mean(&by_parts), "{unwatched:?}, then {by_parts:?}");
    assert!(mean(&by_segments) > 2.0 * mean(&by_parts), "{by_segments:?}, then {by_parts:?}");
    sending.join().unwrap();
    let whole = until("all of it is listed", || {
        let now = playlist(&lab);
        let listed: f64 = now.segments.iter().map(|segment| segment.duration_s).sum();
        (listed > 13.8).then_some(now)
    });
    let files = check_media(&lab, &whole);
    check_sync(&files[0], 13);
}
