//! Any bytes of a server, in pieces of any size, into the viewer's side of a session and on into the demultiplexer: no
//! panic, no endless loop, and the same events as fed whole.
#![no_main]

use std::sync::LazyLock;

use arbitrary::Arbitrary;
use ingest::flv::Demux;
use ingest::script::Script;
use ingest::session::{Play, PlayEvent, PlayRequest};
use ingest::{Event, Limits};
use libfuzzer_sys::fuzz_target;
use stream::Millis;

#[derive(Arbitrary, Debug)]
struct Input<'a> {
    /// Begin where the server has said yes to everything.
    playing: bool,
    piece: u8,
    bytes: &'a [u8],
}

static PREAMBLE: LazyLock<Vec<u8>> = LazyLock::new(|| Script::server().take());

struct Run {
    play: Play,
    demux: Demux,
    seen: Vec<PlayEvent>,
    events: Vec<Event>,
    failed: bool,
}

impl Run {
    fn new() -> Self {
        let limits = Limits { message_bytes: 64 << 10, ..Limits::default() };
        let (app, stream) = ("live".to_owned(), "demo".to_owned());
        let request = PlayRequest { app, tc_url: "rtmp://a/live".to_owned(), stream };
        let play = Play::new(request, &limits, Millis(0));
        Self { play, demux: Demux::new(), seen: Vec::new(), events: Vec::new(), failed: false }
    }

    fn feed(&mut self, piece: &[u8]) {
        let mut rest = piece;
        while !self.failed {
            let Ok(used) = self.play.handle_input(Millis(0), rest) else {
                self.failed = true;
                break;
            };
            rest = &rest[used..];
            let mut any = false;
            while let Some(event) = self.play.poll_event() {
                any = true;
                if let PlayEvent::Tag(tag) = &event {
                    let _ = self.demux.handle_tag(tag, &mut self.events);
                }
                self.seen.push(event);
            }
            while self.play.poll_output().is_some() {}
            if used == 0 && !any {
                assert!(rest.is_empty(), "input is left though nothing happened");
                break;
            }
        }
    }
}

fuzz_target!(|input: Input<'_>| {
    let preamble: &[u8] = if input.playing { &PREAMBLE } else { &[] };
    let mut whole = Run::new();
    let mut split = Run::new();
    for run in [&mut whole, &mut split] {
        run.feed(preamble);
    }
    whole.feed(input.bytes);
    for piece in input.bytes.chunks(usize::from(input.piece).max(1)) {
        split.feed(piece);
    }
    let common = whole.seen.len().min(split.seen.len());
    assert_eq!(whole.seen[..common], split.seen[..common]);
    if !whole.failed && !split.failed {
        assert_eq!((whole.seen.len(), &whole.events), (split.seen.len(), &split.events));
    }
});
