//! The timestamp cases as byte scripts, each fed whole and byte by byte.

use proptest::prelude::*;

use super::*;
use crate::script::{Form, Habit, Script};

const VIDEO: u8 = 9;
const AUDIO: u8 = 8;

fn reader() -> ChunkReader {
    ChunkReader::new(1 << 20, 0xFF_FFFF, 8)
}

/// Messages as (type, timestamp, length), and the error that ended it.
fn read_in(pieces: &mut dyn Iterator<Item = &[u8]>) -> (Vec<(u8, u32, usize)>, Option<ChunkError>) {
    let mut reader = reader();
    let mut messages = Vec::new();
    for piece in pieces {
        let mut rest = piece;
        loop {
            match reader.handle_input(rest) {
                Ok((used, Some(message))) => {
                    rest = &rest[used..];
                    if message.type_id == 1 {
                        let size = u32::from_be_bytes(*message.body.first_chunk().unwrap());
                        reader.handle_chunk_size(size).unwrap();
                    } else {
                        messages.push((message.type_id, message.stamp_ms, message.body.len()));
                    }
                }
                Ok((used, None)) => {
                    assert_eq!(used, rest.len());
                    break;
                }
                Err(error) => return (messages, Some(error)),
            }
        }
    }
    (messages, None)
}

fn check(script: &Script, expected: &[(u8, u32, usize)]) {
    let (messages, error) = read_in(&mut std::iter::once(script.bytes()));
    assert_eq!((&messages[..], error), (expected, None), "fed whole");
    for size in [1, 2, 3, 7] {
        let (messages, error) = read_in(&mut script.bytes().chunks(size));
        assert_eq!((&messages[..], error), (expected, None), "fed by {size}");
    }
}

fn check_error(script: &Script, expected: ChunkError) {
    assert_eq!(read_in(&mut std::iter::once(script.bytes())).1, Some(expected));
    assert_eq!(read_in(&mut script.bytes().chunks(1)).1, Some(expected));
}

#[test]
fn a_type_3_chunk_that_begins_a_message_repeats_the_delta() {
    let mut script = Script::new();
    script.message(4, Form::Full(1000), VIDEO, &[7; 2]).message(4, Form::SameStream(33), VIDEO, &[7; 2]);
    script.message(4, Form::Same(None), VIDEO, &[7; 2]).message(4, Form::Same(None), VIDEO, &[7; 2]);
    script.message(4, Form::SameLength(40), VIDEO, &[7; 2]).message(4, Form::Same(None), VIDEO, &[7; 2]);
    let stamps = [1000, 1033, 1066, 1099, 1139, 1179];
    check(&script, &stamps.map(|stamp| (VIDEO, stamp, 2)));
}

#[test]
fn a_type_3_chunk_behind_a_full_header_adds_its_timestamp() {
    let mut script = Script::new();
    script.message(4, Form::Full(23), AUDIO, &[7; 2]).message(4, Form::Same(None), AUDIO, &[7; 2]);
    check(&script, &[(AUDIO, 23, 2), (AUDIO, 46, 2)]);
}

#[test]
fn a_type_3_chunk_within_a_message_adds_nothing() {
    let mut script = Script::new();
    script.message(4, Form::Full(1000), VIDEO, &[7; 400]).message(4, Form::SameStream(33), VIDEO, &[7; 300]);
    script.message(4, Form::Same(None), VIDEO, &[7; 300]);
    check(&script, &[(VIDEO, 1000, 400), (VIDEO, 1033, 300), (VIDEO, 1066, 300)]);
}

#[test]
fn the_24_bit_field_ends_at_16777214() {
    let mut script = Script::new();
    for stamp in [16_777_214, 16_777_215, 16_777_216] {
        script.message(4, Form::Full(stamp), VIDEO, &[7; 2]);
    }
    check(&script, &[(VIDEO, 16_777_214, 2), (VIDEO, 16_777_215, 2), (VIDEO, 16_777_216, 2)]);
}

#[test]
fn an_extended_timestamp_is_found_whether_later_chunks_repeat_it_or_not() {
    for habit in [Habit::Repeats, Habit::Omits] {
        let mut script = Script::new();
        script.habit(habit).message(4, Form::Full(16_777_300), VIDEO, &[7; 300]);
        script.message(4, Form::SameStream(40), VIDEO, &[7; 300]);
        script.message(4, Form::Full(0xFFFF_FF00), VIDEO, &[7; 129]).message(
            4,
            Form::SameLength(0x1F0),
            VIDEO,
            &[7; 129],
        );
        let expected = [
            (VIDEO, 16_777_300, 300),
            (VIDEO, 16_777_340, 300),
            (VIDEO, 0xFFFF_FF00, 129),
            (VIDEO, 0xF0, 129),
        ];
        check(&script, &expected);
    }
}

#[test]
fn a_payload_that_begins_like_the_extended_timestamp_is_kept_whole() {
    // The first three bytes of the second chunk's payload equal those of 0x01020304.
    let body = [&[7; 128][..], &[1, 2, 3, 9, 9]].concat();
    let mut script = Script::new();
    script.habit(Habit::Omits).message(4, Form::Full(0x0102_0304), VIDEO, &body);
    script.message(4, Form::SameStream(1), VIDEO, &[1]);
    check(&script, &[(VIDEO, 0x0102_0304, 133), (VIDEO, 0x0102_0305, 1)]);

    // One byte is left for the second chunk, and it equals the first of the timestamp's.
    let mut script = Script::new();
    script.habit(Habit::Omits).message(4, Form::Full(0x0102_0304), VIDEO, &[1; 129]);
    script.message(4, Form::SameStream(1), VIDEO, &[1]);
    check(&script, &[(VIDEO, 0x0102_0304, 129), (VIDEO, 0x0102_0305, 1)]);
}

#[test]
fn an_extended_delta_is_a_delta() {
    let mut script = Script::new();
    script.message(4, Form::Full(11_000), VIDEO, &[7; 2]).message(
        4,
        Form::SameStream(16_776_216),
        VIDEO,
        &[7; 2],
    );
    script.begin(4, Form::SameLength(0x0200_0000), 2, VIDEO, 1).raw(&[7; 2]);
    script.message(4, Form::Same(Some(0x0200_0000)), VIDEO, &[7; 2]);
    check(
        &script,
        &[(VIDEO, 11_000, 2), (VIDEO, 16_787_216, 2), (VIDEO, 50_341_648, 2), (VIDEO, 83_896_080, 2)],
    );
}

#[test]
fn an_extended_field_may_hold_a_small_value() {
    let mut script = Script::new();
    script.raw(b"\x04\xff\xff\xff\0\0\x01\x09\x01\0\0\0\0\0\x03\xe8a");
    script.raw(b"\x44\xff\xff\xff\0\0\x01\x09\0\0\0\x05b");
    check(&script, &[(VIDEO, 1000, 1), (VIDEO, 1005, 1)]);
}

#[test]
fn time_wraps_at_32_bits_and_a_wrapped_delta_goes_back() {
    let mut script = Script::new();
    script.message(4, Form::Full(0xFFFF_FFF0), VIDEO, &[7]).message(4, Form::SameStream(33), VIDEO, &[7]);
    script.message(4, Form::Same(None), VIDEO, &[7]).message(4, Form::SameStream(0xFFFF_FFDF), VIDEO, &[7]);
    check(&script, &[(VIDEO, 0xFFFF_FFF0, 1), (VIDEO, 17, 1), (VIDEO, 50, 1), (VIDEO, 17, 1)]);
}

#[test]
fn a_same_stamp_after_an_extended_one_does_not_double_it() {
    let mut script = Script::new();
    script.message(4, Form::Full(0x0102_0304), AUDIO, &[7]).message(4, Form::Same(None), AUDIO, &[7]);
    script.message(4, Form::Same(Some(0x0102_0304)), AUDIO, &[7]);
    check(&script, &[(AUDIO, 0x0102_0304, 1); 3]);
}

#[test]
fn audio_may_come_between_the_chunks_of_a_video_message() {
    let mut script = Script::new();
    script.begin(6, Form::Full(1000), 200, VIDEO, 1).raw(&[7; 128]);
    script.message(4, Form::Full(1001), AUDIO, &[8; 3]);
    script.set_chunk_size(64);
    script.continuation(6, None).raw(&[7; 64]).continuation(6, None).raw(&[7; 8]);
    check(&script, &[(AUDIO, 1001, 3), (VIDEO, 1000, 200)]);
}

#[test]
fn chunk_stream_ids_have_three_lengths() {
    let mut script = Script::new();
    for id in [2, 63, 64, 319, 320, 65_599] {
        script.message(id, Form::Full(id), AUDIO, &[7]);
    }
    check(&script, &[2, 63, 64, 319, 320, 65_599].map(|id| (AUDIO, id, 1)));
}

#[test]
fn a_message_may_be_empty() {
    let mut script = Script::new();
    script.message(4, Form::Full(5), AUDIO, &[]).message(4, Form::Same(None), AUDIO, &[]);
    check(&script, &[(AUDIO, 5, 0), (AUDIO, 10, 0)]);
}

#[test]
fn a_chunk_stream_may_begin_with_type_1_but_not_with_less() {
    let mut script = Script::new();
    script.message(4, Form::SameStream(7), AUDIO, &[7]);
    check(&script, &[(AUDIO, 7, 1)]);
    for form in [Form::SameLength(7), Form::Same(None)] {
        let mut script = Script::new();
        check_error(script.message(4, form, AUDIO, &[7]), ChunkError::NoHeader(4));
    }
}

#[test]
fn a_header_within_a_message_has_to_say_the_same() {
    let mut script = Script::new();
    script.begin(6, Form::Full(1000), 200, VIDEO, 1).raw(&[7; 128]);
    script.begin(6, Form::SameStream(33), 200, VIDEO, 1).raw(&[7; 72]);
    check(&script, &[(VIDEO, 1000, 200)]);

    let mut script = Script::new();
    script.begin(6, Form::Full(1000), 200, VIDEO, 1).raw(&[7; 128]);
    check_error(script.begin(6, Form::Full(1033), 300, VIDEO, 1), ChunkError::Interrupted(6));
}

#[test]
fn an_aborted_message_is_dropped() {
    let mut reader = reader();
    let mut script = Script::new();
    script.begin(6, Form::Full(1000), 200, VIDEO, 1).raw(&[7; 128]);
    assert_eq!(reader.handle_input(script.bytes()), Ok((script.bytes().len(), None)));
    reader.handle_abort(6);
    reader.handle_abort(7);
    let bytes = Script::new().message(6, Form::SameStream(33), VIDEO, &[7; 3]).take();
    let (used, message) = reader.handle_input(&bytes).unwrap();
    assert_eq!((used, message.map(|message| (message.stamp_ms, message.body.len()))), (11, Some((1033, 3))));
}

#[test]
fn sizes_and_numbers_are_bounded() {
    let mut script = Script::new();
    let too_long = ChunkError::MessageTooLong { length: 1_048_577, length_max: 1_048_576 };
    check_error(script.begin(4, Form::Full(0), 1_048_577, VIDEO, 1), too_long);

    let mut script = Script::new();
    for id in 2..5 {
        script.begin(id, Form::Full(0), 1 << 20, VIDEO, 1).raw(&[7; 128]);
    }
    check_error(&script, ChunkError::TooMuchUnfinished(2_097_152));

    let mut script = Script::new();
    for id in 2..11 {
        script.message(id, Form::Full(0), VIDEO, &[]);
    }
    check_error(&script, ChunkError::TooManyStreams(8));
}

#[test]
fn chunk_sizes_are_bounded() {
    let mut small = ChunkReader::new(1 << 20, 70_000, 8);
    assert_eq!(small.handle_chunk_size(1), Ok(()));
    assert_eq!(small.handle_chunk_size(70_000), Ok(()));
    for bytes in [0, 70_001, 0x7FFF_FFFF, 0x8000_0001] {
        assert_eq!(small.handle_chunk_size(bytes), Err(ChunkError::ChunkSize { bytes, bytes_max: 70_000 }));
    }
    // The protocol's own maximum is a way to say "whole messages".
    assert_eq!(reader().handle_chunk_size(0x7FFF_FFFF), Ok(()));
}

/// Steps between stamps: usual ones, none, back, and over the borders of 24 and 32 bits.
fn step() -> impl Strategy<Value = u32> {
    prop_oneof![0..100_u32, Just(0), Just(0_u32.wrapping_sub(33)), 16_777_000..16_777_300_u32, any::<u32>(),]
}

proptest! {
    /// Writes stamps as an encoder does, in the shortest header that fits, on two interleaved chunk streams.
    #[test]
    fn stamps_survive_the_shortest_headers(
        first: u32,
        steps in prop::collection::vec((step(), 0..3_usize, any::<bool>()), 1..40),
        omits: bool,
        piece in 1..300_usize,
    ) {
        let mut script = Script::new();
        script.habit(if omits { Habit::Omits } else { Habit::Repeats });
        let mut expected = Vec::new();
        // Of each stream: the last stamp, the last delta if a header carried one, and the last length.
        let mut last: [Option<(u32, Option<u32>, usize)>; 2] = [None; 2];
        let mut stamp = first;
        for (step, size, audio) in steps {
            stamp = stamp.wrapping_add(step);
            let (length, type_id) = ([5, 200, 300][size], if audio { AUDIO } else { VIDEO });
            let of_stream = &mut last[usize::from(audio)];
            let (form, delta) = match *of_stream {
                None => (Form::Full(stamp), None),
                Some((before, delta, length_before)) => {
                    let now = stamp.wrapping_sub(before);
                    let form = if length != length_before {
                        Form::SameStream(now)
                    } else if delta != Some(now) {
                        Form::SameLength(now)
                    } else {
                        Form::Same((now >= 0xFF_FFFF && !omits).then_some(now))
                    };
                    (form, Some(now))
                }
            };
            *of_stream = Some((stamp, delta, length));
            expected.push((type_id, stamp, length));
            script.message(if audio { 4 } else { 600 }, form, type_id, &vec![0xA5; length]);
        }
        let whole = read_in(&mut std::iter::once(script.bytes()));
        prop_assert_eq!(&whole, &(expected, None));
        prop_assert_eq!(read_in(&mut script.bytes().chunks(piece)), whole);
    }
}
