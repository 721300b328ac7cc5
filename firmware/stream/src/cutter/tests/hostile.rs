//! Publishers that no encoder is like: stamps that stand still, holes, a track that stays away at full rate.

use super::*;

fn lines(commands: &[Command]) -> Vec<String> {
    text(commands).lines().map(Into::into).collect()
}

#[test]
fn stamps_that_stand_still_fill_parts_of_a_thousand_units() {
    let mut units = programme(30, 60, 1100, false);
    let end = units.last().unwrap().dts;
    units.extend((1..5000).map(|tick| video(end + Ticks(tick), false)));
    let commands = run(&mut cutter(true, false), units);
    let (mut most, mut count) = (0, 0);
    for command in &commands {
        match command {
            Command::Put(_) => count += 1,
            Command::Part(_) => (most, count) = (count.max(most), 0),
            Command::Begin(_) | Command::Cut(_) | Command::Finish => {}
        }
    }
    assert_eq!(most, 1000);
}

/// What was handed on early, behind a cut, counts as waiting no more: a day of parts is one epoch.
#[test]
fn what_was_handed_on_does_not_wait() {
    let mut cutter = cutter(true, true);
    let heavy = Bytes::from_static(&[0; 64 << 10]);
    let units = programme(30, 60, 120_000, true).into_iter().map(|mut unit| {
        if unit.kind == TrackKind::Audio {
            unit.data = heavy.clone();
        }
        unit
    });
    let commands = run(&mut cutter, units.collect());
    assert!(commands.iter().filter(|command| matches!(command, Command::Part(_))).count() > 590);
    assert!(!commands.contains(&Command::Finish), "the epoch was ended");
}

#[test]
fn what_waits_for_the_other_track_is_bounded() {
    let mut cutter = cutter(true, true);
    run(&mut cutter, programme(30, 60, 1100, true));
    // A mebibyte a frame: after sixteen of them the epoch ends, well before the two seconds of a lost track.
    let heavy = |n: i64| TimedUnit {
        data: Bytes::from_static(&[0; 1 << 20]),
        ..video(Ticks::from_millis(1100 + 33 * n), false)
    };
    assert_eq!(run(&mut cutter, (0..15).map(heavy).collect()), []);
    let commands = run(&mut cutter, (15..17).map(heavy).collect());
    assert_eq!(commands.iter().filter(|command| **command == Command::Finish).count(), 1);
}

#[test]
fn an_epoch_whose_video_stays_away_ends_with_its_last_frame() {
    let mut units = programme(30, 60, 7000, true);
    units.retain(|unit| unit.kind == TrackKind::Audio || unit.dts < Ticks::from_millis(2900));
    let lines = lines(&run(&mut cutter(true, true), units));
    let at = lines.iter().position(|line| line == "finish").unwrap();
    assert_eq!(lines[at - 1..at + 2], ["2800 +100 L", "finish", "epoch audio part target 17453"]);
}

#[test]
fn a_hole_in_audio_alone_begins_an_epoch() {
    let units = (0..200).filter(|n| !(100..120).contains(n)).map(|n| audio(n * 1024)).collect();
    let lines = lines(&run(&mut cutter(false, true), units));
    let at = lines.iter().position(|line| line == "finish").unwrap();
    // Frame 92 opened a segment at 1963 ms, and frame 99 ends at 2133 ms.
    assert_eq!(lines[at - 1], "1963 +171 S I L");
    assert_eq!(lines[at + 1..at + 3], ["epoch audio part target 17453", "0 +192 S I"]);
}

#[test]
fn an_epoch_of_audio_alone_begins_behind_a_hole_in_what_was_kept() {
    let units = (0..75).filter(|n| !(10..40).contains(n)).map(|n| audio(n * 1024)).collect();
    let commands = run(&mut cutter(false, true), units);
    let first = commands.iter().find_map(|command| match command {
        Command::Begin(plan) => Some(plan.lead.millis()),
        _ => None,
    });
    // What spans the second is there with frame 47; frames 40 to 47 lie behind the hole.
    assert_eq!(first, Some(149));
}

#[test]
fn units_of_a_new_configuration_are_not_in_the_old_epoch() {
    let mut cutter = cutter(true, true);
    let mut units = programme(30, 60, 2300, true);
    let rest = units.split_off(100);
    run(&mut cutter, units);
    let slower = AudioFormat { sample_rate: 44_100, channels: 2, frame_samples: 1024 };
    cutter.handle_config(TrackConfig { audio: Some(slower), ..audio_config() });
    let commands = run(&mut cutter, rest);
    let begins = commands.iter().position(|command| matches!(command, Command::Begin(_)));
    let is_audio =
        |command: &&Command| matches!(command, Command::Put(placed) if placed.kind == TrackKind::Audio);
    let of_old = commands[..begins.unwrap_or(commands.len())].iter().filter(is_audio).count();
    // Audio that waited goes out with the end of the epoch: what came before the change.
    assert!(of_old <= 1, "{of_old} units");
}

#[test]
fn a_restart_does_not_mix_configurations() {
    let mut cutter = cutter(true, true);
    run(&mut cutter, programme(30, 60, 2300, true));
    cutter.handle_config(TrackConfig { record: Bytes::from_static(b"other"), ..video_config() });
    cutter.handle_restart();
    // Nothing is left that the new configuration could begin with; audio does not wait for it.
    let commands: Vec<Command> = core::iter::from_fn(|| cutter.poll_command()).collect();
    assert_eq!(commands.iter().filter(|command| matches!(command, Command::Begin(_))).count(), 1);
    assert!(text(&commands).starts_with("epoch audio part target 17453\n"), "{}", text(&commands));
}
