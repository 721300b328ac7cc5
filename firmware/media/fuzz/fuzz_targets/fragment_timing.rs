//! True times into fragments of any form: no panic, and a fragment that is written holds the same media, all of it
//! where the runs say it is.
#![no_main]

use arbitrary::Arbitrary;
use libfuzzer_sys::fuzz_target;

#[path = "../../src/child/timing.rs"]
mod timing;

use timing::{Timed, Truth};

const RUN_DATA_OFFSET: u32 = 0x1;

#[derive(Arbitrary, Debug)]
struct Input<'a> {
    fragment: Fragment<'a>,
    offsets: bool,
    track_id: u8,
    samples: Vec<(u16, u16, i16)>,
    /// Be right about how many samples there are.
    right_count: bool,
    /// Bytes that are overwritten: where, and with what.
    damage: Vec<(u16, u8)>,
}

#[derive(Arbitrary, Debug)]
enum Fragment<'a> {
    Raw(&'a [u8]),
    /// As the muxer makes it, with any flags.
    Muxed {
        tracks: [Track; 2],
        more: &'a [u8],
        media: &'a [u8],
    },
}

#[derive(Arbitrary, Debug)]
struct Track {
    absent: bool,
    header_flags: u8,
    run_flags: u16,
    default_duration: u16,
    /// For each sample, as many of these as the flags say.
    fields: Vec<[u16; 4]>,
}

fn boxed(name: &[u8; 4], content: &[&[u8]]) -> Vec<u8> {
    let body = content.concat();
    [&(body.len() as u32 + 8).to_be_bytes()[..], name, &body].concat()
}

fn words(values: &[u32]) -> Vec<u8> {
    values.iter().flat_map(|value| value.to_be_bytes()).collect()
}

impl Track {
    fn boxes(&self, id: u32) -> Vec<u8> {
        if self.absent {
            return Vec::new();
        }
        let header_flags = u32::from(self.header_flags) & 0x3b;
        let mut header = vec![header_flags, id];
        // The base data offset has 64 bits (ISO/IEC 14496-12, 8.8.7).
        let fields = (header_flags & 0x3a).count_ones() + 2 * (header_flags & 0x1);
        header.extend((0..fields).map(|_| u32::from(self.default_duration)));
        let run_flags = u32::from(self.run_flags) & 0xf05 | RUN_DATA_OFFSET;
        let mut run = vec![run_flags, self.fields.len() as u32, 0x1000 * id];
        run.extend((run_flags & 0x4 != 0).then_some(0));
        let per_sample = (run_flags >> 8).count_ones() as usize;
        run.extend(
            self.fields.iter().flat_map(|fields| &fields[..per_sample]).map(|field| u32::from(*field)),
        );
        boxed(b"traf", &[&boxed(b"tfhd", &[&words(&header)]), &boxed(b"trun", &[&words(&run)])])
    }
}

impl Fragment<'_> {
    fn bytes(&self) -> Vec<u8> {
        match self {
            Self::Raw(bytes) => bytes.to_vec(),
            Self::Muxed { tracks: [first, second], more, media } => {
                let moof = boxed(b"moof", &[&first.boxes(1), &second.boxes(2), &boxed(b"free", &[more])]);
                [moof, boxed(b"mdat", &[media])].concat()
            }
        }
    }
}

/// Names and contents of the boxes in a row, as far as they go.
fn boxes(mut data: &[u8]) -> Vec<([u8; 4], &[u8])> {
    let mut found = Vec::new();
    while let Some((head, _)) = data.split_first_chunk::<8>() {
        let length = u32::from_be_bytes([head[0], head[1], head[2], head[3]]) as usize;
        let Some(content) = data.get(8..length) else { break };
        found.push(([head[4], head[5], head[6], head[7]], content));
        data = &data[length..];
    }
    found
}

/// Where each run says its media is, from the end of the movie fragment.
fn media_offsets(fragment: &[u8]) -> Vec<i64> {
    let Some((_, moof)) = boxes(fragment).into_iter().find(|(name, _)| name == b"moof") else {
        return Vec::new();
    };
    let runs = boxes(moof).into_iter().filter(|(name, _)| name == b"traf").flat_map(|(_, traf)| boxes(traf));
    let runs = runs.filter(|(name, body)| name == b"trun" && body.len() >= 12);
    runs.map(|(_, body)| {
        let offset = u32::from_be_bytes([body[8], body[9], body[10], body[11]]);
        i64::from(offset) - moof.len() as i64
    })
    .collect()
}

fuzz_target!(|input: Input<'_>| {
    let mut before = input.fragment.bytes();
    for (at, value) in &input.damage {
        if let Some(byte) = before.get_mut(usize::from(*at)) {
            *byte = *value;
        }
    }
    let track_id = u32::from(input.track_id) % 4;
    let Ok(count) = timing::samples(&before, track_id) else {
        let mut same = before.clone();
        assert!(timing::write(&mut same, track_id, Truth::Durations, &[]).is_err());
        return;
    };
    let mut dts = 0;
    let mut samples: Vec<Timed> = Vec::new();
    let asked = if input.right_count { count.min(1000) } else { input.samples.len() };
    for (step, duration, offset) in input.samples.iter().cycle().take(asked) {
        samples.push(Timed { dts, duration: u32::from(*duration), offset: i32::from(*offset) });
        dts += u64::from(*step);
    }
    let truth = if input.offsets { Truth::Offsets } else { Truth::Durations };
    let mut after = before.clone();
    if timing::write(&mut after, track_id, truth, &samples).is_err() {
        return;
    }
    assert!(count == samples.len() || count == 0, "{count} samples were told {}", samples.len());
    assert_eq!(timing::samples(&after, track_id).expect("what was written can be read"), count);
    assert!(after.len() >= before.len());
    let media = |fragment: &[u8]| -> Vec<Vec<u8>> {
        boxes(fragment)
            .into_iter()
            .filter(|(name, _)| name != b"moof")
            .map(|(_, body)| body.to_vec())
            .collect()
    };
    assert_eq!(media(&after), media(&before));
    assert_eq!(media_offsets(&after), media_offsets(&before));
    let again = timing::write(&mut after.clone(), track_id, Truth::Durations, &samples);
    assert!(truth == Truth::Offsets || again.is_ok());
});
