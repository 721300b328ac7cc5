//! Who has to wait, who is refused, and which objects there are.

use super::*;

fn check(script: &str, cases: &[(&str, &str)]) {
    let script = Script::run(script);
    for (query, expected) in cases {
        let answer = script.window.verdict(script.current(), &Reload::parse(query).unwrap());
        let answer = match answer {
            Verdict::Ready { delta: false } => "ready",
            Verdict::Ready { delta: true } => "delta",
            Verdict::Wait => "wait",
            Verdict::BadRequest(why) => why.split(' ').next().unwrap(),
            Verdict::NotFound => "not found",
            Verdict::Held => "held",
        };
        assert_eq!(answer, *expected, "{query}");
    }
}

#[test]
fn with_an_open_segment() {
    check(
        "epoch a\n group 200 200 200\n open 200 200",
        &[
            ("", "ready"),
            ("_HLS_skip=YES", "delta"),
            ("_HLS_msn=0", "ready"),
            ("_HLS_msn=7", "ready"),
            ("_HLS_msn=8", "wait"),
            ("_HLS_msn=9", "wait"),
            ("_HLS_msn=10", "_HLS_msn"),
            ("_HLS_msn=18446744073709551615", "_HLS_msn"),
            ("_HLS_msn=7&_HLS_part=2", "ready"),
            // Past its segment's end: the first part of segment 8.
            ("_HLS_msn=7&_HLS_part=3", "ready"),
            ("_HLS_msn=8&_HLS_part=1", "ready"),
            ("_HLS_msn=8&_HLS_part=2", "wait"),
            // Last part 1, and 3 s / 0.2 s = 15 more.
            ("_HLS_msn=8&_HLS_part=16", "wait"),
            ("_HLS_msn=8&_HLS_part=17", "_HLS_part"),
            ("_HLS_msn=9&_HLS_part=14", "wait"),
            ("_HLS_msn=9&_HLS_part=15", "_HLS_part"),
            ("_HLS_msn=10&_HLS_part=0", "_HLS_msn"),
        ],
    );
}

#[test]
fn between_segments() {
    check(
        "epoch a\n group 200\n group 200 200 200",
        &[
            ("_HLS_msn=8", "ready"),
            ("_HLS_msn=9", "wait"),
            ("_HLS_msn=10", "wait"),
            ("_HLS_msn=11", "_HLS_msn"),
            ("_HLS_msn=7&_HLS_part=90", "ready"),
            ("_HLS_msn=8&_HLS_part=2", "ready"),
            ("_HLS_msn=8&_HLS_part=3", "wait"),
            ("_HLS_msn=8&_HLS_part=17", "wait"),
            ("_HLS_msn=8&_HLS_part=18", "_HLS_part"),
            ("_HLS_msn=9&_HLS_part=0", "wait"),
        ],
    );
}

#[test]
fn long_parts_have_an_advance_limit_of_three() {
    check(
        "epoch a 1000\n group 1000\n open 1000",
        &[("_HLS_msn=8&_HLS_part=3", "wait"), ("_HLS_msn=8&_HLS_part=4", "_HLS_part")],
    );
}

#[test]
fn before_the_first_group_is_whole_everybody_is_held() {
    check("epoch a\n open 200 200", &[("", "held"), ("_HLS_msn=90", "held")]);
    // A group that was cut off promises nothing about the next one.
    check("epoch a\n open 200 200\n abandon\n epoch b\n open 200", &[("", "held")]);
    let script = Script::run("epoch a\n open 200");
    assert_eq!(script.window.multivariant(), Err(NotReady::Held));
    assert_eq!(Window::new(WindowLimits::default(), 0).multivariant(), Err(NotReady::Empty));
}

#[test]
fn after_the_end_nobody_waits() {
    check("epoch a\n group 200\n end", &[("_HLS_msn=90&_HLS_skip=YES", "ready"), ("", "ready")]);
    let script = Script::run("epoch a\n group 200");
    let unknown = PlaylistName { epoch: EpochId(0xa), n: 1 };
    assert_eq!(script.window.media(unknown, &Reload::default()), Answer::NotFound);
}

#[test]
fn objects() {
    let mut script = Script::run("epoch a\n group 200 200\n gap 200\n open 200");
    let check = |script: &Script, cases: &[(&str, ObjectState)]| {
        for (name, expected) in cases {
            let name = alloc::format!("00000000000000{name}").parse().unwrap();
            assert_eq!(script.window.object(name), *expected, "{name}");
        }
    };
    use ObjectState::{Never, Pending, Ready, Unknown};
    check(
        &script,
        &[
            ("0a/init.mp4", Ready),
            ("0b/init.mp4", Unknown),
            ("0a/7.m4s", Ready),
            ("0b/7.m4s", Unknown),
            ("0a/7.1.m4s", Ready),
            ("0a/7.2.m4s", Never),
            ("0a/8.m4s", Never),
            ("0a/8.0.m4s", Never),
            ("0a/9.m4s", Pending),
            ("0a/9.0.m4s", Ready),
            ("0a/9.1.m4s", Pending),
            ("0a/9.2.m4s", Unknown),
            ("0a/10.0.m4s", Unknown),
        ],
    );
    // The publisher is gone: what was hinted is never made.
    script.play("abandon");
    check(&script, &[("0a/9.m4s", Ready), ("0a/9.1.m4s", Never), ("0a/10.0.m4s", Unknown)]);
    assert!(!script.media("").contains("PRELOAD-HINT"));
    assert!(script.media("").ends_with("\n#\n"), "never a segment on the last line");
}
