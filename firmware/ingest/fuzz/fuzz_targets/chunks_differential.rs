//! The chunk reader beside rml_rtmp's on well-formed chunk streams.
//!
//! Left out are the points at which rml_rtmp panics or reads other than this crate means to: chunks of another
//! message in between, an extended delta below 16777215, a Type 3 chunk that begins a message behind an extended
//! Type 0, and encoders that don't repeat the extended timestamp.
#![no_main]

use std::collections::BTreeMap;

use arbitrary::Arbitrary;
use ingest::script::{Form, Script};
use ingest::session::ChunkReader;
use libfuzzer_sys::fuzz_target;
use rml_rtmp::chunk_io::ChunkDeserializer;

#[derive(Arbitrary, Debug)]
struct Step {
    chunk_stream: u8,
    form: u8,
    time_ms: Time,
    length: u16,
    fill: u8,
    type_id: u8,
    chunk_bytes: Option<u16>,
}

#[derive(Arbitrary, Debug)]
enum Time {
    Short(u16),
    /// Around the border between the two fields.
    Border(u8),
    Any(u32),
}

impl Time {
    fn ms(&self) -> u32 {
        match self {
            Self::Short(ms) => u32::from(*ms),
            Self::Border(offset) => 0xFF_FF80 + u32::from(*offset),
            Self::Any(ms) => *ms,
        }
    }
}

/// What the writer has to remember to stay well-formed.
struct Sent {
    length: usize,
    type_id: u8,
    extended: Option<u32>,
    full: bool,
}

type Messages = Vec<(u8, u32, u32, Vec<u8>)>;

fn write(steps: &[Step]) -> Script {
    let mut script = Script::new();
    let mut sent: BTreeMap<u32, Sent> = BTreeMap::new();
    for step in steps {
        if let Some(bytes) = step.chunk_bytes.filter(|bytes| *bytes > 0) {
            script.set_chunk_size(u32::from(bytes));
        }
        let id = 3 + u32::from(step.chunk_stream) % 5 * 80;
        let time_ms = step.time_ms.ms();
        let extended = (time_ms >= 0xFF_FFFF).then_some(time_ms);
        // Control messages would act on one reader only.
        let type_id = 8 + step.type_id % 2;
        let (length, previous) = (usize::from(step.length) % 2000, sent.get(&id));
        let (form, length, type_id, extended) = match (step.form % 4, previous) {
            (1, Some(_)) => (Form::SameStream(time_ms), length, type_id, extended),
            (2, Some(before)) => (Form::SameLength(time_ms), before.length, before.type_id, extended),
            (3, Some(before)) if before.extended.is_none() || !before.full => {
                (Form::Same(before.extended), before.length, before.type_id, before.extended)
            }
            _ => (Form::Full(time_ms), length, type_id, extended),
        };
        let full = match form {
            Form::Full(_) => true,
            Form::Same(_) => previous.is_some_and(|before| before.full),
            Form::SameStream(_) | Form::SameLength(_) => false,
        };
        sent.insert(id, Sent { length, type_id, extended, full });
        script.message(id, form, type_id, &vec![step.fill; length]);
    }
    script
}

fn read_ours(bytes: &[u8]) -> Messages {
    let mut reader = ChunkReader::new(1 << 24, 0xFF_FFFF, 64);
    let (mut rest, mut messages) = (bytes, Messages::new());
    while let (used, Some(message)) = reader.handle_input(rest).expect("well-formed chunks are read") {
        rest = &rest[used..];
        if message.type_id == 1 {
            let size = u32::from_be_bytes(*message.body.first_chunk().expect("four bytes"));
            reader.handle_chunk_size(size).expect("a size in range");
        }
        messages.push((message.type_id, message.stream_id, message.stamp_ms, message.body.to_vec()));
    }
    messages
}

fn read_theirs(bytes: &[u8]) -> Messages {
    let mut reader = ChunkDeserializer::new();
    let (mut rest, mut messages) = (bytes, Messages::new());
    while let Some(message) = reader.get_next_message(rest).expect("well-formed chunks are read") {
        rest = &[];
        if message.type_id == 1 {
            let size = u32::from_be_bytes(message.data[..4].try_into().expect("four bytes"));
            reader.set_max_chunk_size(size as usize).expect("a size in range");
        }
        messages.push((
            message.type_id,
            message.message_stream_id,
            message.timestamp.value,
            message.data.to_vec(),
        ));
    }
    messages
}

fuzz_target!(|steps: Vec<Step>| {
    let script = write(&steps[..steps.len().min(64)]);
    assert_eq!(read_ours(script.bytes()), read_theirs(script.bytes()));
});
