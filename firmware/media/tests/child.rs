//! The packaging child with real H.264 and AAC: what comes out at each cut, read box by box.

#![expect(clippy::unwrap_used, reason = "a test ends at its first surprise")]

use std::io::{Read, Write};
use std::process::{Child, ChildStdin, ChildStdout, Command as Process, Stdio};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use media::message::{
    AudioTrack, Command, Item, Output, Sample, VideoTrack, WireCodec, put_header, take_frame,
};

struct Source {
    avcc: Vec<u8>,
    asc: Vec<u8>,
    units: Vec<Unit>,
}

struct Unit {
    video: bool,
    cts_ms: u64,
    keyframe: bool,
    data: Vec<u8>,
}

/// Six seconds of 30 frames a second, a keyframe each two seconds, 48 kHz stereo, as an FLV file's tags.
fn source(b_frames: bool) -> Source {
    let tune: &[&str] = if b_frames { &["-bf", "2"] } else { &["-tune", "zerolatency"] };
    let flv = Process::new("ffmpeg")
        .args(["-v", "error", "-f", "lavfi", "-i", "testsrc2=s=320x180:r=30", "-f", "lavfi"])
        .args([
            "-i",
            "sine=r=48000",
            "-t",
            "6",
            "-pix_fmt",
            "yuv420p",
            "-c:v",
            "libx264",
            "-preset",
            "ultrafast",
        ])
        .args(tune)
        .args(["-g", "60", "-sc_threshold", "0", "-c:a", "aac", "-f", "flv", "-"])
        .output()
        .unwrap();
    assert!(flv.status.success(), "{}", String::from_utf8_lossy(&flv.stderr));
    let mut source = Source { avcc: Vec::new(), asc: Vec::new(), units: Vec::new() };
    let mut rest = &flv.stdout[13..];
    while rest.len() > 11 {
        let length = u32::from_be_bytes([0, rest[1], rest[2], rest[3]]) as usize;
        let body = &rest[11..11 + length];
        match (rest[0], body) {
            (9, [_, 0, ..]) => source.avcc = body[5..].to_vec(),
            (9, [flags, 1, a, b, c, data @ ..]) => source.units.push(Unit {
                video: true,
                cts_ms: u32::from_be_bytes([0, *a, *b, *c]).into(),
                keyframe: flags >> 4 == 1,
                data: data.to_vec(),
            }),
            (8, [_, 0, ..]) => source.asc = body[2..].to_vec(),
            (8, [_, 1, data @ ..]) => {
                source.units.push(Unit { video: false, cts_ms: 0, keyframe: true, data: data.to_vec() });
            }
            _ => {}
        }
        rest = &rest[11 + length + 4..];
    }
    source
}

struct Packager {
    child: Child,
    input: ChildStdin,
    output: Receiver<(Output, Bytes)>,
}

/// Reads beside the writer, as the real parent does: a child that can't write does not read either.
fn read(mut output: ChildStdout, frames: &Sender<(Output, Bytes)>) {
    let mut buffer = BytesMut::new();
    let mut chunk = [0; 65536];
    loop {
        let count = output.read(&mut chunk).unwrap();
        buffer.extend_from_slice(&chunk[..count]);
        while let Some(frame) = take_frame(&mut buffer).unwrap() {
            if frames.send(frame).is_err() {
                return;
            }
        }
        if count == 0 {
            return;
        }
    }
}

impl Packager {
    fn start() -> Self {
        let mut child = Process::new(env!("CARGO_BIN_EXE_relaybox-media"))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let input = child.stdin.take().unwrap();
        let stdout = child.stdout.take().unwrap();
        let (frames, output) = channel();
        std::thread::spawn(move || read(stdout, &frames));
        Self { child, input, output }
    }

    fn send(&mut self, command: &Command, payload: &[u8]) {
        let mut frame = BytesMut::new();
        put_header(&mut frame, command, payload.len()).unwrap();
        frame.extend_from_slice(payload);
        self.input.write_all(&frame).unwrap();
    }

    fn receive(&mut self) -> (Output, Bytes) {
        self.output.recv_timeout(Duration::from_secs(20)).unwrap()
    }
}

impl Drop for Packager {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// What a fragment's boxes say of each track: track id, base media decode time, sum of sample durations, samples.
fn tracks(fragment: &[u8]) -> Vec<(u32, u64, u64, u32)> {
    let mut found = Vec::new();
    let moof = child_boxes(fragment).into_iter().find(|(name, _)| name == b"moof").unwrap().1;
    for (name, traf) in child_boxes(moof) {
        if &name != b"traf" {
            continue;
        }
        let (mut id, mut tfdt, mut duration, mut samples, mut default) = (0, 0, 0, 0, 0);
        for (name, body) in child_boxes(traf) {
            let word = |at: usize| u32::from_be_bytes(body[at..at + 4].try_into().unwrap());
            match &name {
                b"tfhd" => {
                    id = word(4);
                    let flags = word(0) & 0xff_ffff;
                    let mut at = 8;
                    at += if flags & 1 != 0 { 8 } else { 0 };
                    at += if flags & 2 != 0 { 4 } else { 0 };
                    if flags & 8 != 0 {
                        default = word(at);
                    }
                }
                b"tfdt" if body[0] == 1 => tfdt = u64::from(word(4)) << 32 | u64::from(word(8)),
                b"tfdt" => tfdt = word(4).into(),
                b"trun" => {
                    let flags = word(0) & 0xff_ffff;
                    let count = word(4);
                    let mut at = 8;
                    at += if flags & 1 != 0 { 4 } else { 0 };
                    at += if flags & 4 != 0 { 4 } else { 0 };
                    for _ in 0..count {
                        duration += u64::from(if flags & 0x100 != 0 { word(at) } else { default });
                        at += 4 * (flags >> 8 & 0xf).count_ones() as usize;
                    }
                    samples += count;
                }
                _ => {}
            }
        }
        found.push((id, tfdt, duration, samples));
    }
    found
}

fn child_boxes(mut data: &[u8]) -> Vec<([u8; 4], &[u8])> {
    let mut boxes = Vec::new();
    while data.len() >= 8 {
        let length = u32::from_be_bytes(data[..4].try_into().unwrap()) as usize;
        boxes.push((data[4..8].try_into().unwrap(), &data[8..length]));
        data = &data[length..];
    }
    boxes
}

/// A unit on its track's own clock, and its bytes.
type Placed<'a> = (Sample, &'a [u8]);

/// Video, audio.
fn items(source: &Source) -> (Vec<Placed<'_>>, Vec<Placed<'_>>) {
    let (mut video, mut audio) = (Vec::new(), Vec::new());
    for unit in &source.units {
        let bytes = unit.data.len() as u32;
        if unit.video {
            let dts = video.len() as u64 * 3000;
            let pts = dts + (unit.cts_ms * 90 + 1500) / 3000 * 3000;
            video.push((Sample { dts, pts, duration: 3000, keyframe: unit.keyframe, bytes }, &unit.data[..]));
        } else {
            let dts = audio.len() as u64 * 1024;
            audio.push((Sample { dts, pts: dts, duration: 1024, keyframe: true, bytes }, &unit.data[..]));
        }
    }
    (video, audio)
}

/// Cuts each six frames, a segment at each keyframe, audio at the first unit at or after the cut.
fn package(source: &Source) -> (Vec<Bytes>, Bytes) {
    let mut packager = Packager::start();
    let video = VideoTrack { codec: WireCodec::H264, record_bytes: source.avcc.len() as u32 };
    let audio = AudioTrack {
        codec: WireCodec::Aac,
        record_bytes: source.asc.len() as u32,
        sample_rate: 48_000,
        channels: 2,
    };
    let records = [source.avcc.clone(), source.asc.clone()].concat();
    packager.send(&Command::Begin { job: 1, video: Some(video), audio: Some(audio) }, &records);
    let (video, audio) = items(source);
    let mut audio = audio.into_iter().peekable();
    for (index, part) in video.chunks(6).enumerate() {
        let mut batch = (Vec::new(), Vec::new());
        let mut put = |item: Item, data: &[u8]| {
            batch.0.push(item);
            batch.1.extend_from_slice(data);
        };
        let next = video.get((index + 1) * 6);
        let end = next.map_or(u64::MAX, |_| (index as u64 + 1) * 9600);
        while let Some((sample, data)) = audio.next_if(|(sample, _)| sample.dts < end) {
            put(Item::Audio(sample), data);
        }
        for (sample, data) in part {
            put(Item::Video(*sample), data);
        }
        if let (Some((video, _)), Some((audio, _))) = (next, audio.peek()) {
            let cut = Item::Cut { segment: video.keyframe, at: video.dts, audio_at: Some(audio.dts) };
            put(cut, &[]);
        }
        packager.send(&Command::Batch { job: 1, items: batch.0 }, &batch.1);
    }
    packager.send(&Command::Finish { job: 1 }, &[]);
    let (mut fragments, mut init) = (Vec::new(), Bytes::new());
    loop {
        match packager.receive() {
            (Output::Init { width, height, .. }, bytes) => {
                assert_eq!((width, height), (320, 180));
                init = bytes;
            }
            (Output::Fragment { job: 1 }, bytes) => fragments.push(bytes),
            (Output::Finished { job: 1 }, _) => return (fragments, init),
            other => panic!("{other:?}"),
        }
    }
}

fn both_tracks_are_closed_at_each_cut(b_frames: bool) {
    let (fragments, init) = package(&source(b_frames));
    assert_eq!(&init[4..8], b"ftyp");
    assert_eq!(fragments.len(), 30);
    let mut audio_end = 0;
    for (index, fragment) in fragments.iter().enumerate() {
        let tracks = tracks(fragment);
        let [(_, video_at, video_ticks, frames), (_, audio_at, audio_samples, _)] = tracks[..] else {
            panic!("part {index}: {tracks:?}");
        };
        assert_eq!((video_at, video_ticks, frames), (index as u64 * 18_000, 18_000, 6), "part {index}");
        assert_eq!(audio_at, audio_end, "part {index}");
        let lead = audio_at as i64 - index as i64 * 9600;
        assert!((0..1024).contains(&lead), "part {index}: audio starts {lead} samples after video");
        audio_end += audio_samples;
    }
}

#[test]
fn parts_hold_both_tracks() {
    both_tracks_are_closed_at_each_cut(false);
}

#[test]
fn parts_hold_both_tracks_with_b_frames() {
    both_tracks_are_closed_at_each_cut(true);
}

#[test]
fn a_bad_job_fails_alone() {
    let mut packager = Packager::start();
    let video = VideoTrack { codec: WireCodec::H264, record_bytes: 4 };
    packager.send(&Command::Begin { job: 1, video: Some(video), audio: None }, &[1, 2]);
    let (output, _) = packager.receive();
    assert!(matches!(output, Output::Failed { job: 1, .. }), "{output:?}");
    packager.send(&Command::Ping { nonce: 9 }, &[]);
    assert_eq!(packager.receive().0, Output::Pong { nonce: 9 });
}

/// What the filter refuses is a test beside it; this one says that the child has it.
#[test]
fn the_child_is_confined() {
    let mut packager = Packager::start();
    packager.send(&Command::Ping { nonce: 1 }, &[]);
    assert_eq!(packager.receive().0, Output::Pong { nonce: 1 });
    let status = std::fs::read_to_string(format!("/proc/{}/status", packager.child.id())).unwrap();
    assert!(status.lines().any(|line| line == "Seccomp:\t2"), "{status}");
}
