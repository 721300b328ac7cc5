//! A server's dialogue with us, in virtual time.

use proptest::prelude::*;

use super::*;
use crate::script::{Script, body};
use crate::session::amf::Value;

const T0: Millis = Millis(1_000_000);

fn request() -> PlayRequest {
    PlayRequest {
        app: "live".into(),
        tc_url: "rtmp://srs.example/live".into(),
        stream: "ana?key=s3cret".into(),
    }
}

struct Viewer {
    play: Play,
    now: Millis,
    events: Vec<PlayEvent>,
    output: Vec<u8>,
}

impl Viewer {
    fn new() -> Self {
        let play = Play::new(request(), &Limits::default(), T0);
        Self { play, now: T0, events: Vec::new(), output: Vec::new() }
    }

    fn feed(&mut self, bytes: &[u8]) -> Result<(), PlayError> {
        let mut rest = bytes;
        loop {
            let used = self.play.handle_input(self.now, rest)?;
            rest = &rest[used..];
            let before = self.events.len();
            self.events.extend(std::iter::from_fn(|| self.play.poll_event()));
            self.drain();
            if used == 0 && self.events.len() == before {
                assert!(rest.is_empty());
                return Ok(());
            }
        }
    }

    fn drain(&mut self) {
        while let Some(bytes) = self.play.poll_output() {
            self.output.extend(bytes);
        }
    }

    /// What was said behind the handshake, as (type, body).
    fn said(&self) -> Vec<(u8, Bytes)> {
        let mut reader = ChunkReader::new(1 << 20, 0xFF_FFFF, 8);
        let mut rest = self.output.get(3073..).unwrap_or_default();
        let mut said = Vec::new();
        while let (used, Some(message)) = reader.handle_input(rest).unwrap() {
            rest = &rest[used..];
            if message.type_id == message_type::SET_CHUNK_SIZE {
                reader.handle_chunk_size(control_number(&message).unwrap()).unwrap();
            }
            said.push((message.type_id, message.body));
        }
        said
    }

    /// The commands among it, value by value.
    fn commands(&self) -> Vec<Vec<Value>> {
        let commands = self.said().into_iter().filter(|(kind, _)| *kind == message_type::COMMAND_AMF0);
        commands
            .map(|(_, body)| {
                let mut reader = AmfReader::new(&body);
                std::iter::from_fn(|| reader.read().unwrap()).collect()
            })
            .collect()
    }
}

fn playing() -> Viewer {
    let mut viewer = Viewer::new();
    viewer.feed(Script::server().bytes()).unwrap();
    assert_eq!(viewer.events, [PlayEvent::Started]);
    viewer.events.clear();
    viewer
}

fn tag(kind: TrackKind, stamp_ms: u32, body: &[u8]) -> PlayEvent {
    PlayEvent::Tag(Tag { kind, stamp_ms, body: Bytes::copy_from_slice(body) })
}

#[test]
fn a_stream_comes_through_in_pieces_of_any_size() {
    let mut script = Script::server();
    script.set_chunk_size(4096).metadata("SRS", 1280.0, 720.0, 30.0);
    script.video(0, &body::avc_config()).audio(0, &body::aac_config()).video(40, &[]);
    script.video(40, &body::avc_frame(true, 0, &[7; 9000]));
    script.control(message_type::USER_CONTROL, &[0, 1, 0, 0, 0, 7]).video(80, &[1]);
    for size in [1, 13, 4096, 1 << 20] {
        let mut viewer = Viewer::new();
        for piece in script.bytes().chunks(size) {
            viewer.feed(piece).unwrap();
        }
        assert_eq!(viewer.events.len(), 6, "{:?}", viewer.events);
        assert_eq!(viewer.events[0], PlayEvent::Started);
        assert!(matches!(&viewer.events[1], PlayEvent::Metadata(said) if said.width == Some(1280)));
        assert_eq!(viewer.events[2], tag(TrackKind::Video, 0, &body::avc_config()));
        assert_eq!(viewer.events[3], tag(TrackKind::Audio, 0, &body::aac_config()));
        assert_eq!(viewer.events[4], tag(TrackKind::Video, 40, &body::avc_frame(true, 0, &[7; 9000])));
        assert_eq!(viewer.events[5], PlayEvent::Ended);
    }
}

#[test]
fn what_is_asked_for_is_said_in_order() {
    let viewer = playing();
    let commands = viewer.commands();
    let names: Vec<_> = commands.iter().map(|values| values[0].as_str().unwrap()).collect();
    assert_eq!(names, ["connect", "createStream", "play"]);
    let about = &commands[0][2];
    assert_eq!(about.get("app"), Some(&Value::string("live")));
    assert_eq!(about.get("tcUrl"), Some(&Value::string("rtmp://srs.example/live")));
    let codecs = ["avc1", "hvc1", "av01", "mp4a", "Opus"].map(Value::string);
    assert_eq!(about.get("fourCcList"), Some(&Value::Array(codecs.into())));
    assert_eq!(commands[2][3..], [Value::string("ana?key=s3cret"), Value::Number(-1.0)]);
    // Both halves of the handshake: C0, C1, and S1 back as C2.
    assert_eq!((viewer.output[0], &viewer.output[1..9]), (3, &[0; 8][..]));
    assert_eq!(viewer.output[1537..1545], [0; 8]);
    assert_eq!(viewer.output[1545..3073], [0xC1; 1528]);
}

#[test]
fn a_no_is_given_with_its_code_alone() {
    let refused = |level, code: &str| {
        let mut viewer = playing();
        let mut script = Script::new();
        let said = viewer.feed(script.on_status(level, code).bytes());
        said.unwrap_err().to_string()
    };
    assert_eq!(
        refused("error", "NetStream.Play.StreamNotFound"),
        "the server says no: NetStream.Play.StreamNotFound"
    );
    assert_eq!(refused("error", "no\n<b>such"), "the server says no: nobsuch");

    let mut viewer = Viewer::new();
    let mut script = Script::new();
    let no = Script::status("error", "NetConnection.Connect.Rejected");
    script.handshake().command(0, &[Value::string("_error"), Value::Number(1.0), Value::Null, no]);
    let refused = PlayError::Refused("NetConnection.Connect.Rejected".into());
    assert_eq!(viewer.feed(script.bytes()), Err(refused));
}

#[test]
fn the_end_of_the_stream_is_said_once() {
    for code in ["NetStream.Play.UnpublishNotify", "NetStream.Play.Stop", "NetStream.Play.Complete"] {
        let mut viewer = playing();
        let mut script = Script::new();
        script.on_status("status", code).on_status("status", code).video(0, &[1]);
        viewer.feed(script.bytes()).unwrap();
        assert_eq!(viewer.events, [PlayEvent::Ended], "{code}");
    }
}

#[test]
fn a_silent_server_is_asked_before_it_is_left() {
    let mut viewer = playing();
    let limits = Limits::default();
    for round in 0..3 {
        viewer.now = viewer.play.poll_timeout();
        assert_eq!(viewer.now, T0.plus((round + 1) * limits.ping_ms), "nobody publishes: it is waited for");
        viewer.output.truncate(3073);
        viewer.play.handle_timeout(viewer.now).unwrap();
        viewer.drain();
        let asked = viewer.now.0 as u32;
        let ping = [&[0, 6][..], &asked.to_be_bytes()].concat();
        assert_eq!(viewer.said(), [(message_type::USER_CONTROL, Bytes::from(ping))]);
        let mut script = Script::new();
        let pong = [&[0, 7][..], &asked.to_be_bytes()].concat();
        viewer.feed(script.control(message_type::USER_CONTROL, &pong).bytes()).unwrap();
    }
    viewer.now = viewer.play.poll_timeout();
    viewer.play.handle_timeout(viewer.now).unwrap();
    let left = viewer.play.poll_timeout();
    assert_eq!(left, viewer.now.plus(limits.idle_ms - limits.ping_ms));
    assert_eq!(viewer.play.handle_timeout(left), Err(PlayError::Idle(limits.idle_ms)));
}

#[test]
fn a_stream_that_stands_still_is_over_though_the_server_lives() {
    let mut viewer = playing();
    let mut script = Script::new();
    viewer.feed(script.video(0, &body::avc_config()).bytes()).unwrap();
    let idle_ms = Limits::default().idle_ms;
    let mut result = Ok(());
    for _ in 0..4 {
        viewer.now = viewer.play.poll_timeout();
        result = viewer.play.handle_timeout(viewer.now);
        let mut script = Script::new();
        viewer.feed(script.control(message_type::USER_CONTROL, &[0, 7, 0, 0, 0, 0]).bytes()).unwrap();
        if result.is_err() {
            break;
        }
    }
    assert_eq!((result, viewer.now), (Err(PlayError::NoMedia(idle_ms)), T0.plus(idle_ms)));
}

#[test]
fn before_the_stream_all_is_bounded() {
    let limits = Limits::default();
    let slow = Viewer::new().play.handle_timeout(T0.plus(limits.preamble_ms));
    assert_eq!(slow, Err(PlayError::PreambleTooSlow(limits.preamble_ms)));

    let mut viewer = Viewer::new();
    let mut script = Script::new();
    script.handshake().set_chunk_size(1 << 16);
    for _ in 0..5 {
        script.message(4, crate::script::Form::Full(0), message_type::DATA_AMF0, &[5; 60_000]);
    }
    assert_eq!(viewer.feed(script.bytes()), Err(PlayError::PreambleTooLong(limits.preamble_bytes)));

    let mut viewer = playing();
    let mut script = Script::new();
    for _ in 0..limits.commands {
        script.on_status("status", "NetStream.Play.Reset");
    }
    assert_eq!(viewer.feed(script.bytes()), Err(PlayError::TooManyCommands(limits.commands)));
}

#[test]
fn a_ping_is_answered() {
    let mut viewer = playing();
    viewer.output.truncate(3073);
    let mut script = Script::new();
    viewer.feed(script.control(message_type::USER_CONTROL, &[0, 6, 1, 2, 3, 4]).bytes()).unwrap();
    let pong = Bytes::from_static(&[0, 7, 1, 2, 3, 4]);
    assert_eq!(viewer.said(), [(message_type::USER_CONTROL, pong)]);
}

#[test]
fn keys_stay_out_of_debug_output() {
    let text = format!("{:?} {:?}", request(), Play::new(request(), &Limits::default(), T0));
    assert!(!text.contains("s3cret") && !text.contains("ana"), "{text}");
}

proptest! {
    /// Whatever a server sends is media, an error, or nothing: never a panic.
    #[test]
    fn any_bytes_are_taken(
        handshake in any::<bool>(),
        pieces in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..300), 0..20),
    ) {
        let mut viewer = Viewer::new();
        if handshake {
            viewer.feed(Script::server().bytes()).unwrap();
        }
        for piece in pieces {
            if viewer.feed(&piece).is_err() {
                break;
            }
        }
    }
}
