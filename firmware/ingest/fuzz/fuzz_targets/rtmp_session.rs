//! Any bytes, in pieces of any size, into a session and on into the demultiplexer: no panic, no endless loop, and
//! the same events as fed whole.
#![no_main]

use std::sync::LazyLock;

use arbitrary::Arbitrary;
use ingest::flv::Demux;
use ingest::script::Script;
use ingest::session::{Session, SessionEvent};
use ingest::{Event, Limits};
use libfuzzer_sys::fuzz_target;
use stream::Millis;

#[derive(Arbitrary, Debug)]
struct Input<'a> {
    /// Begin behind a whole `publish`, where the bytes matter most.
    publishing: bool,
    piece: u8,
    bytes: &'a [u8],
}

static PREAMBLE: LazyLock<Vec<u8>> = LazyLock::new(|| Script::publisher("live", "key").take());
const LIMITS: fn() -> Limits = || Limits { message_bytes: 64 << 10, ..Limits::default() };

struct Run {
    session: Session,
    demux: Demux,
    seen: Vec<SessionEvent>,
    events: Vec<Event>,
    failed: bool,
}

impl Run {
    fn new() -> Self {
        let session = Session::new(&LIMITS(), Millis(0));
        Self { session, demux: Demux::new(), seen: Vec::new(), events: Vec::new(), failed: false }
    }

    fn feed(&mut self, piece: &[u8]) {
        let mut rest = piece;
        while !self.failed {
            let Ok(used) = self.session.handle_input(Millis(0), rest) else {
                self.failed = true;
                break;
            };
            rest = &rest[used..];
            let mut any = false;
            while let Some(event) = self.session.poll_event() {
                any = true;
                if let SessionEvent::Tag(tag) = &event {
                    let _ = self.demux.handle_tag(tag, &mut self.events);
                }
                self.seen.push(event);
                self.session.handle_accept();
            }
            while self.session.poll_output().is_some() {}
            if used == 0 && !any {
                assert!(rest.is_empty(), "input is left though nothing is asked");
                break;
            }
        }
    }
}

fuzz_target!(|input: Input<'_>| {
    let preamble: &[u8] = if input.publishing { &PREAMBLE } else { &[] };
    let mut whole = Run::new();
    let mut split = Run::new();
    for run in [&mut whole, &mut split] {
        run.feed(preamble);
    }
    whole.feed(input.bytes);
    for piece in input.bytes.chunks(usize::from(input.piece).max(1)) {
        split.feed(piece);
    }
    // At an error the one run may have polled less before it; up to there both agree.
    let common = whole.seen.len().min(split.seen.len());
    assert_eq!(whole.seen[..common], split.seen[..common]);
    if !whole.failed && !split.failed {
        assert_eq!((whole.seen.len(), &whole.events), (split.seen.len(), &split.events));
    }
});
