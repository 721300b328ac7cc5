//! Golden cuts: what comes out for a publisher's units, a line per part.

use std::format;
use std::string::String;
use std::vec::Vec;

use bytes::Bytes;
use proptest::prelude::*;

use super::*;
use crate::track::{AudioFormat, Codec};

mod hostile;

fn video_config() -> TrackConfig {
    TrackConfig { codec: Codec::H264, record: Bytes::from_static(b"avcc"), audio: None }
}

fn audio_config() -> TrackConfig {
    let format = AudioFormat { sample_rate: 48_000, channels: 2, frame_samples: 1024 };
    TrackConfig { codec: Codec::Aac, record: Bytes::from_static(b"asc"), audio: Some(format) }
}

fn video(dts: Ticks, keyframe: bool) -> TimedUnit {
    TimedUnit {
        kind: TrackKind::Video,
        dts,
        pts: dts,
        samples: 0,
        frame_samples: 0,
        keyframe,
        jumped: false,
        data: Bytes::new(),
    }
}

fn audio(samples: i64) -> TimedUnit {
    let dts = Ticks::from_samples(samples, 48_000);
    let frame_samples = 1024;
    TimedUnit {
        kind: TrackKind::Audio,
        dts,
        pts: dts,
        samples,
        frame_samples,
        keyframe: true,
        jumped: false,
        data: Bytes::new(),
    }
}

/// Frames at `fps` with a keyframe each `group` frames, and 48 kHz audio, for `ms`.
fn programme(fps: i64, group: i64, ms: i64, with_audio: bool) -> Vec<TimedUnit> {
    let mut units: Vec<TimedUnit> = (0..ms * fps / 1000)
        .map(|n| video(Ticks::from_millis((n * 1000 + fps / 2) / fps), n % group == 0))
        .collect();
    if with_audio {
        units.extend((0..ms * 48 / 1024).map(|n| audio(n * 1024)));
    }
    units.sort_by_key(|unit| unit.dts);
    units
}

fn run(cutter: &mut Cutter, units: Vec<TimedUnit>) -> Vec<Command> {
    let mut commands = Vec::new();
    for unit in units {
        cutter.handle_unit(unit);
        commands.extend(core::iter::from_fn(|| cutter.poll_command()));
    }
    commands
}

fn cutter(with_video: bool, with_audio: bool) -> Cutter {
    let mut cutter = Cutter::new(Settings::default());
    if with_video {
        cutter.handle_config(video_config());
    }
    if with_audio {
        cutter.handle_config(audio_config());
    }
    cutter
}

/// A line per epoch and part: start and duration in ms, S opens a segment, I independent, L last.
fn text(commands: &[Command]) -> String {
    let mut out = String::new();
    for command in commands {
        match command {
            Command::Begin(plan) => {
                let tracks = match (&plan.tracks.video, &plan.tracks.audio) {
                    (Some(_), Some(_)) => "video+audio",
                    (Some(_), None) => "video",
                    (None, _) => "audio",
                };
                out += &format!("epoch {tracks} part target {}\n", plan.part_target.0);
            }
            Command::Part(part) => {
                out += &format!("{} +{}", (part.start - EPOCH_ORIGIN).millis(), part.duration.millis());
                out += if part.opens_segment { " S" } else { "" };
                out += if part.independent { " I" } else { "" };
                out += if part.last { " L\n" } else { "\n" };
            }
            Command::Finish => out += "finish\n",
            Command::Put(_) | Command::Cut(_) => {}
        }
    }
    out
}

fn check(commands: &[Command], expected: &str) {
    let expected: Vec<&str> = expected.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
    let text = text(commands);
    assert_eq!(text.lines().collect::<Vec<_>>(), expected, "\n{text}");
}

#[test]
fn thirty_frames_a_second_make_parts_of_six() {
    let commands = run(&mut cutter(true, true), programme(30, 60, 2300, true));
    check(
        &commands,
        "epoch video+audio part target 18018
         0 +200 S I
         200 +200
         400 +200
         600 +200
         800 +200
         1000 +200
         1200 +200
         1400 +200
         1600 +200
         1800 +200 L
         2000 +200 S I",
    );
}

#[test]
fn twenty_four_frames_a_second_make_parts_of_five() {
    let commands = run(&mut cutter(true, false), programme(24, 48, 1500, false));
    // 5 frames are 18750 ticks; a thousandth more lets 23.976 frames a second in.
    check(
        &commands,
        "epoch video part target 18769
         0 +208 S I
         208 +209
         417 +208
         625 +208
         833 +209
         1042 +208
         1250 +208",
    );
}

#[test]
fn slow_video_has_parts_of_one_frame() {
    let commands = run(&mut cutter(true, false), programme(5, 10, 2300, false));
    assert!(text(&commands).starts_with("epoch video part target 18018\n0 +200 S I\n200 +200\n"));
    let commands = run(&mut cutter(true, false), programme(2, 4, 5000, false));
    assert!(text(&commands).starts_with("epoch video part target 45045\n0 +500 S I\n500 +500\n"));
}

#[test]
fn a_long_group_is_one_segment() {
    let commands = run(&mut cutter(true, true), programme(30, 250, 9000, true));
    let opened: Vec<i64> = commands
        .iter()
        .filter_map(|command| match command {
            Command::Part(part) if part.opens_segment => Some((part.start - EPOCH_ORIGIN).millis()),
            _ => None,
        })
        .collect();
    assert_eq!(opened, [0, 8333]);
}

#[test]
fn short_groups_are_gathered_and_keyframes_inside_do_not_cut() {
    let commands = run(&mut cutter(true, true), programme(30, 20, 2300, true));
    let parts = text(&commands);
    assert!(parts.contains("600 +200\n"), "{parts}");
    assert!(parts.contains("2000 +200 S I\n"), "{parts}");
}

#[test]
fn audio_alone_is_published_after_a_wait() {
    let units = (0..150).map(|n| audio(n * 1024)).collect();
    let commands = run(&mut cutter(true, true), units);
    assert!(text(&commands).starts_with("epoch audio part target 17453\n0 +192 S I\n192 +192 I\n"));
}

#[test]
fn a_late_track_begins_an_epoch_at_the_next_keyframe() {
    let mut units = programme(30, 60, 6100, true);
    units.retain(|unit| unit.kind == TrackKind::Video || unit.dts > Ticks::from_secs(3));
    let epochs: Vec<String> = text(&run(&mut cutter(true, true), units))
        .lines()
        .filter(|line| line.starts_with("epoch") || line.starts_with("finish"))
        .map(Into::into)
        .collect();
    assert_eq!(epochs, ["epoch video part target 18018", "finish", "epoch video+audio part target 18018"]);
}

#[test]
fn a_lost_track_costs_one_epoch_and_no_picture() {
    let mut units = programme(30, 60, 7000, true);
    units.retain(|unit| unit.kind == TrackKind::Video || unit.dts < Ticks::from_secs(3));
    let commands = run(&mut cutter(true, true), units);
    let text = text(&commands);
    let (before, after) = text.split_once("finish\n").unwrap();
    assert!(before.starts_with("epoch video+audio"), "{text}");
    assert!(before.ends_with("2800 +200\n3000 +33 L\n") || before.ends_with(" L\n"), "{text}");
    assert!(after.starts_with("epoch video part target 18018\n0 +200 S I\n"), "{text}");
}

#[test]
fn a_track_that_is_lost_over_several_short_groups_costs_no_picture_either() {
    let mut units = programme(30, 15, 7000, true);
    units.retain(|unit| unit.kind == TrackKind::Video || unit.dts < Ticks::from_secs(3));
    let commands = run(&mut cutter(true, true), units);
    let frames = commands
        .iter()
        .filter(|command| matches!(command, Command::Put(placed) if placed.kind == TrackKind::Video));
    // Some are played twice, none is left out.
    assert!(frames.count() >= 210);
}

#[test]
fn a_changed_configuration_holds_from_the_next_keyframe() {
    let mut cutter = cutter(true, true);
    let mut units = programme(30, 60, 5000, true);
    let rest = units.split_off(150);
    let mut commands = run(&mut cutter, units);
    cutter.handle_config(TrackConfig { record: Bytes::from_static(b"other"), ..video_config() });
    commands.extend(run(&mut cutter, rest));
    let lines = text(&commands);
    assert!(
        lines.contains("1800 +200 L\nfinish\nepoch video+audio part target 18018\n0 +200 S I\n"),
        "{lines}"
    );
}

#[test]
fn after_a_restart_the_epoch_begins_with_the_last_keyframe() {
    let mut cutter = cutter(true, true);
    run(&mut cutter, programme(30, 60, 3000, true));
    cutter.handle_restart();
    let commands: Vec<Command> = core::iter::from_fn(|| cutter.poll_command()).collect();
    let Some(Command::Begin(plan)) = commands.first() else { panic!("{commands:?}") };
    // The newest unit lies just under a second behind the keyframe at 2 s.
    assert!((900..1000).contains(&plan.lead.millis()), "{plan:?}");
    check(
        &commands,
        "epoch video+audio part target 18018
         0 +200 S I
         200 +200
         400 +200
         600 +200",
    );
}

#[test]
fn the_end_closes_what_is_open() {
    let mut cutter = cutter(true, true);
    run(&mut cutter, programme(30, 60, 1100, true));
    cutter.handle_end();
    let commands: Vec<Command> = core::iter::from_fn(|| cutter.poll_command()).collect();
    check(&commands, "1000 +100 L\nfinish");
}

/// Each track only grows, and a cut lies between its units.
fn check_order(commands: &[Command]) -> Result<(), TestCaseError> {
    const BEFORE: i64 = -1 << 40;
    let (mut audio_at, mut video_at) = (BEFORE, BEFORE);
    let mut has_video = false;
    for command in commands {
        match command {
            Command::Begin(plan) => {
                (audio_at, video_at) = (BEFORE, BEFORE);
                has_video = plan.tracks.video.is_some();
            }
            Command::Put(placed) => {
                let last = if placed.kind == TrackKind::Audio { &mut audio_at } else { &mut video_at };
                prop_assert!(placed.dts > *last);
                *last = placed.dts;
            }
            Command::Cut(cut) if !has_video => prop_assert!(audio_at < cut.at),
            Command::Cut(cut) => {
                prop_assert!(video_at < cut.at);
                // Where two cuts lie closer than an audio frame, the one behind the first went out with it.
                prop_assert!(Ticks::from_samples(audio_at - 1024, 48_000).0 < cut.at);
                let behind = cut.audio_at.map(|at| Ticks::from_samples(at, 48_000).0);
                prop_assert!(behind.is_none_or(|behind| behind >= cut.at));
            }
            Command::Part(_) | Command::Finish => {}
        }
    }
    Ok(())
}

proptest! {
    /// However frames are paced, parts follow each other without a hole, and hold 85 to 100 % of the target unless
    /// they are the last of a segment or independent.
    #[test]
    fn parts_are_whole_and_full(
        fps in 1i64..70,
        group in 1i64..200,
        dropped in prop::collection::vec(0usize..400, 0..60),
    ) {
        let mut units = programme(fps, group, 12_000, true);
        for index in dropped {
            if index < units.len() && units[index].kind == TrackKind::Video && index > 20 {
                units.remove(index);
            }
        }
        let commands = run(&mut cutter(true, true), units);
        check_order(&commands)?;
        let (mut next, mut target, mut opens) = (None, 0, true);
        for command in &commands {
            match command {
                Command::Begin(plan) => {
                    next = None;
                    target = plan.part_target.0;
                    opens = true;
                }
                Command::Part(part) => {
                    prop_assert_eq!(next.unwrap_or(part.start), part.start);
                    prop_assert_eq!(part.opens_segment, opens);
                    prop_assert!(part.duration.0 > 0 && part.duration.0 <= target);
                    if !part.last && !part.independent {
                        prop_assert!(part.duration.0 * 100 >= target * 85, "{} of {target}", part.duration.0);
                    }
                    prop_assert!(!part.opens_segment || part.independent);
                    next = Some(part.start + part.duration);
                    opens = part.last;
                }
                Command::Put(_) | Command::Cut(_) | Command::Finish => {}
            }
        }
    }
}
