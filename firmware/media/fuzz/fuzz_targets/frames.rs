//! Frames between the parent and the packaging child: no panic, what is true comes back as it was, and it makes no
//! difference in what pieces it comes.
#![no_main]

use std::fmt::Debug;

use arbitrary::{Arbitrary, Result, Unstructured};
use bytes::{BufMut, Bytes, BytesMut};
use libfuzzer_sys::fuzz_target;
use serde::Serialize;
use serde::de::DeserializeOwned;

#[allow(dead_code, reason = "it is the crate's module, and not all of it is reached from here")]
#[path = "../../src/message.rs"]
mod message;

use message::{
    AudioTrack, Command, FRAME_BYTES_MAX, Item, Output, Sample, VideoTrack, WireCodec, put_header, read_frame,
    take_frame,
};

const STEPS_MAX: usize = 32;

#[derive(Debug)]
enum Input<'a> {
    Commands(Conversation<'a, Command>),
    Outputs(Conversation<'a, Output>),
}

#[derive(Debug)]
struct Conversation<'a, T> {
    steps: Vec<Step<'a, T>>,
    /// Lengths of the pieces it comes in, over and over.
    pieces: &'a [u8],
}

#[derive(Debug)]
enum Step<'a, T> {
    True(T, &'a [u8]),
    /// A header of any bytes, in a frame whose lengths are true.
    Framed(&'a [u8]),
    Raw(&'a [u8]),
}

impl<'a> Arbitrary<'a> for Input<'a> {
    fn arbitrary(u: &mut Unstructured<'a>) -> Result<Self> {
        if u.arbitrary()? {
            conversation(u, command).map(Self::Commands)
        } else {
            conversation(u, output).map(Self::Outputs)
        }
    }
}

fn conversation<'a, T>(
    u: &mut Unstructured<'a>,
    message: fn(&mut Unstructured<'a>) -> Result<T>,
) -> Result<Conversation<'a, T>> {
    let pieces = u.arbitrary()?;
    let mut steps = Vec::new();
    while !u.is_empty() && steps.len() < STEPS_MAX {
        steps.push(match u.int_in_range(0..=4)? {
            0 => Step::Raw(u.arbitrary()?),
            1 => Step::Framed(u.arbitrary()?),
            _ => Step::True(message(u)?, u.arbitrary()?),
        });
    }
    Ok(Conversation { steps, pieces })
}

fn command(u: &mut Unstructured<'_>) -> Result<Command> {
    let job = u.arbitrary()?;
    Ok(match u.int_in_range(0..=4)? {
        0 => {
            let video = VideoTrack { codec: codec(u)?, record_bytes: u.arbitrary()? };
            let (codec, record_bytes) = (codec(u)?, u.arbitrary()?);
            let audio =
                AudioTrack { codec, record_bytes, sample_rate: u.arbitrary()?, channels: u.arbitrary()? };
            let (has_video, has_audio): (bool, bool) = u.arbitrary()?;
            Command::Begin { job, video: has_video.then_some(video), audio: has_audio.then_some(audio) }
        }
        1 => {
            let items = (0..u.int_in_range(0..=8)?).map(|_| item(u)).collect::<Result<Vec<Item>>>()?;
            Command::Batch { job, items }
        }
        2 => Command::Finish { job },
        3 => Command::Drop { job },
        _ => Command::Ping { nonce: u.arbitrary()? },
    })
}

fn item(u: &mut Unstructured<'_>) -> Result<Item> {
    Ok(match u.int_in_range(0..=2)? {
        0 => Item::Video(sample(u)?),
        1 => Item::Audio(sample(u)?),
        _ => Item::Cut { segment: u.arbitrary()?, at: u.arbitrary()?, audio_at: u.arbitrary()? },
    })
}

fn sample(u: &mut Unstructured<'_>) -> Result<Sample> {
    let (dts, pts, duration, keyframe, bytes) = u.arbitrary()?;
    Ok(Sample { dts, pts, duration, keyframe, bytes })
}

fn codec(u: &mut Unstructured<'_>) -> Result<WireCodec> {
    use WireCodec::{Aac, Av1, H264, Hevc, Opus};
    u.choose(&[H264, Hevc, Av1, Aac, Opus]).copied()
}

fn output(u: &mut Unstructured<'_>) -> Result<Output> {
    let job = u.arbitrary()?;
    Ok(match u.int_in_range(0..=4)? {
        0 => Output::Init { job, width: u.arbitrary()?, height: u.arbitrary()? },
        1 => Output::Fragment { job },
        2 => Output::Finished { job },
        3 => Output::Failed { job, reason: u.arbitrary()? },
        _ => Output::Pong { nonce: u.arbitrary()? },
    })
}

fn frame<T: Serialize>(header: &T, payload: &[u8]) -> BytesMut {
    let mut out = BytesMut::new();
    put_header(&mut out, header, payload.len()).expect("a small frame can be written");
    out.put_slice(payload);
    out
}

/// Frames as one side reads them, until it gives the other up.
#[derive(Debug, PartialEq)]
struct Reader<T> {
    buffer: BytesMut,
    frames: Vec<(T, Bytes)>,
    failed: bool,
}

impl<T: DeserializeOwned> Reader<T> {
    fn new() -> Self {
        Self { buffer: BytesMut::new(), frames: Vec::new(), failed: false }
    }

    fn feed(&mut self, piece: &[u8]) {
        if self.failed {
            return;
        }
        self.buffer.extend_from_slice(piece);
        loop {
            match take_frame(&mut self.buffer) {
                Ok(Some(frame)) => self.frames.push(frame),
                Ok(None) => break,
                Err(_) => {
                    self.failed = true;
                    return;
                }
            }
        }
        assert!(self.buffer.capacity() <= 2 * (4 + FRAME_BYTES_MAX), "{} bytes", self.buffer.capacity());
    }
}

fn check<T>(conversation: &Conversation<'_, T>)
where
    T: Clone + Debug + PartialEq + Serialize + DeserializeOwned,
{
    let (mut bytes, mut sent, mut honest) = (BytesMut::new(), Vec::new(), true);
    for step in &conversation.steps {
        match step {
            Step::True(message, payload) => {
                bytes.extend(frame(message, payload));
                if honest {
                    sent.push((message.clone(), Bytes::copy_from_slice(payload)));
                }
            }
            Step::Framed(header) => {
                honest = false;
                bytes.put_u32_le(2 + header.len() as u32);
                bytes.put_u16_le(header.len() as u16);
                bytes.put_slice(header);
            }
            Step::Raw(raw) => {
                honest &= raw.is_empty();
                bytes.put_slice(raw);
            }
        }
    }
    let mut whole = Reader::<T>::new();
    whole.feed(&bytes);
    assert_eq!(whole.frames[..sent.len()], sent);
    assert!(!honest || whole.buffer.is_empty() && whole.frames.len() == sent.len() && !whole.failed);

    let mut split = Reader::new();
    let (mut rest, mut lengths) = (&bytes[..], conversation.pieces.iter().cycle());
    while !rest.is_empty() {
        let length = lengths.next().map_or(rest.len(), |length| usize::from(*length).clamp(1, rest.len()));
        let (piece, behind) = rest.split_at(length);
        split.feed(piece);
        rest = behind;
    }
    assert_eq!((split.failed, &split.frames), (whole.failed, &whole.frames));
    assert!(whole.failed || split.buffer == whole.buffer);

    // Who waits for whole frames gets the same ones; the end within a frame is a fault to them.
    let (mut input, mut pulled) = (&bytes[..], Vec::new());
    let failed = loop {
        match read_frame::<T>(&mut input) {
            Ok(Some(frame)) => pulled.push(frame),
            Ok(None) => break false,
            Err(_) => break true,
        }
    };
    assert_eq!((failed, &pulled), (whole.failed || !whole.buffer.is_empty(), &whole.frames));

    // What was understood can be said again.
    for (message, payload) in &whole.frames {
        let again = take_frame::<T>(&mut frame(message, payload)).expect("our own frame");
        assert_eq!(again.as_ref(), Some(&(message.clone(), payload.clone())));
    }
}

fuzz_target!(|input: Input<'_>| {
    match &input {
        Input::Commands(conversation) => check(conversation),
        Input::Outputs(conversation) => check(conversation),
    }
});
