//! Frames between the parent and the packaging child: no panic, what is true comes back as it was, and it makes no
//! difference in what pieces it comes.
#![no_main]

use std::fmt::Debug;

use arbitrary::{Arbitrary, Result, Unstructured};
use bytes::{Bytes, BytesMut};
use libfuzzer_sys::fuzz_target;
use serde::{Deserialize, Serialize};

#[allow(dead_code, reason = "the module is the crate's, whose other parts use the rest")]
#[path = "../../src/message.rs"]
mod message;

use message::{
    AudioTrack, Command, FRAME_BYTES_MAX, Item, Output, Sample, VideoTrack, WireCodec, put_header, take_frame,
};

#[derive(Debug)]
struct Input<'a> {
    outputs: bool,
    steps: Vec<Step<'a>>,
    /// Lengths of the pieces, over and over.
    pieces: Vec<u8>,
}

#[derive(Debug)]
enum Step<'a> {
    Raw(&'a [u8]),
    /// A header of any bytes in a frame whose lengths are true.
    Framed(&'a [u8]),
    Command(Command, &'a [u8]),
    Output(Output, &'a [u8]),
}

impl<'a> Arbitrary<'a> for Input<'a> {
    fn arbitrary(u: &mut Unstructured<'a>) -> Result<Self> {
        let outputs = u.arbitrary()?;
        let pieces = u.arbitrary()?;
        let mut steps = Vec::new();
        while !u.is_empty() && steps.len() < 32 {
            steps.push(match u.int_in_range(0..=5)? {
                0 => Step::Raw(u.arbitrary()?),
                1 => Step::Framed(u.arbitrary()?),
                _ if outputs => Step::Output(output(u)?, u.arbitrary()?),
                _ => Step::Command(command(u)?, u.arbitrary()?),
            });
        }
        Ok(Self { outputs, steps, pieces })
    }
}

fn command(u: &mut Unstructured<'_>) -> Result<Command> {
    let job = u.arbitrary()?;
    Ok(match u.int_in_range(0..=4)? {
        0 => {
            let video = VideoTrack { codec: codec(u)?, record_bytes: u.arbitrary()? };
            let audio = AudioTrack {
                codec: codec(u)?,
                record_bytes: u.arbitrary()?,
                sample_rate: u.arbitrary()?,
                channels: u.arbitrary()?,
            };
            let (has_video, has_audio) = u.arbitrary()?;
            let (video, audio): (bool, bool) = (has_video, has_audio).then_tracks(video, audio);
            Command::Begin { job, video, audio }
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
