//! The packaging child dies or hangs in the middle of a stream: one epoch is lost, nothing else.

use std::process::Command;
use std::time::Instant;

use crate::laboratory::{Laboratory, until};
use crate::programme::{Coding, Publisher, Tag, code};
use crate::verdict::{check_media, check_sync, playlist};

/// The bound is 2 s; a loaded test machine gets as much again.
const NEW_EPOCH_S: f64 = 4.0;

/// Streams in real time, strikes the child after four seconds, and has what came before and after judged.
fn struck(signals: &[&str]) {
    let tags = code(Coding { seconds: 12, ..Coding::default() });
    let lab = Laboratory::start("");
    let mut publisher = Publisher::at_speed(lab.rtmp, "secret", 1);
    let split = |ms: i64| tags.iter().position(|tag| tag.stamp_ms > ms).unwrap();
    publisher.send(&tags[..split(4_300)]);
    let before = playlist(&lab);
    let child = lab.packager();
    let struck = Instant::now();
    for signal in signals {
        assert!(Command::new("kill").args([*signal, &child.to_string()]).status().unwrap().success());
        until("the signal has had its effect", || has_effect(child).then_some(()));
    }
    let rest: Vec<Tag> = tags[split(4_300)..].to_vec();
    let sending = std::thread::spawn(move || {
        publisher.send(&rest);
        publisher.finish();
    });
    let after = until("a new epoch is listed", || {
        let now = playlist(&lab);
        now.text.contains("#EXT-X-DISCONTINUITY\n").then_some(now)
    });
    let took = struck.elapsed().as_secs_f64();
    assert!(took < NEW_EPOCH_S, "{took} s");
    assert_eq!(after.name, before.name, "viewers stay on their playlist");
    assert_ne!(lab.packager(), child);
    sending.join().unwrap();
    let whole = until("the rest is listed", || {
        let now = playlist(&lab);
        let listed: f64 = now.segments.iter().map(|segment| segment.duration_s).sum();
        println!("{listed} s are listed");
        // What came between the blow and the next keyframe may be lost.
        (listed > 9.0).then_some(now)
    });
    let files = check_media(&lab, &whole);
    assert_eq!(files.len(), 2, "{}", whole.text);
    check_sync(&files[1], 4);
}

/// Whether the process is stopped, gone, or has no handler for SIGSEGV any more (bit 10 of the mask, proc(5)).
fn has_effect(pid: u32) -> bool {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let field =
        |name: &str| status.lines().find_map(|line| line.strip_prefix(name)).unwrap_or_default().trim();
    let caught = u64::from_str_radix(field("SigCgt:"), 16).unwrap_or(0);
    !matches!(field("State:").chars().next(), Some('R' | 'S' | 'D')) || caught & (1 << 10) == 0
}

#[test]
fn a_crash_costs_one_epoch() {
    // The first one only takes away the handler that watches for overflown stacks, which waits for the fault to repeat.
    struck(&["-SEGV", "-SEGV"]);
}

#[test]
fn a_hang_costs_one_epoch() {
    struck(&["-STOP"]);
}
