//! A publisher's dialogue in virtual time.

use super::*;
use crate::Metadata;
use crate::script::{Form, Script, body};

const T0: Millis = Millis(1_000_000);

/// A session with a driver that says yes to everything.
struct Dialogue {
    session: Session,
    now: Millis,
    events: Vec<SessionEvent>,
    output: Vec<u8>,
}

impl Dialogue {
    fn new(limits: &Limits) -> Self {
        Self { session: Session::new(limits, T0), now: T0, events: Vec::new(), output: Vec::new() }
    }

    fn feed(&mut self, bytes: &[u8]) -> Result<(), SessionError> {
        let mut rest = bytes;
        loop {
            let used = self.session.handle_input(self.now, rest)?;
            rest = &rest[used..];
            let mut any = false;
            while let Some(event) = self.session.poll_event() {
                any = true;
                self.events.push(event);
                self.session.handle_accept();
            }
            self.drain();
            if used == 0 && !any {
                assert!(rest.is_empty());
                return Ok(());
            }
        }
    }

    fn drain(&mut self) {
        while let Some(bytes) = self.session.poll_output() {
            self.output.extend(bytes);
        }
    }

    /// The answers behind the handshake, as (type, body).
    fn answers(&self) -> Vec<(u8, Bytes)> {
        let mut reader = ChunkReader::new(1 << 20, 0xFF_FFFF, 8);
        let mut rest = self.output.get(3073..).unwrap_or_default();
        let mut answers = Vec::new();
        while let (used, Some(message)) = reader.handle_input(rest).unwrap() {
            rest = &rest[used..];
            if message.type_id == message_type::SET_CHUNK_SIZE {
                reader.handle_chunk_size(control_number(&message).unwrap()).unwrap();
            }
            answers.push((message.type_id, message.body));
        }
        answers
    }

    /// The commands among them: name, and the last argument.
    fn commands(&self) -> Vec<(String, amf::Value)> {
        let values = |body: &[u8]| {
            let mut reader = AmfReader::new(body);
            std::iter::from_fn(move || reader.read().unwrap()).collect::<Vec<_>>().into_iter()
        };
        let commands = self.answers().into_iter().filter(|(kind, _)| *kind == message_type::COMMAND_AMF0);
        commands
            .map(|(_, body)| {
                let mut values = values(&body);
                let name = values.next().unwrap().as_str().unwrap().to_owned();
                (name, values.next_back().unwrap())
            })
            .collect()
    }
}

fn publishing(limits: &Limits) -> Dialogue {
    let mut dialogue = Dialogue::new(limits);
    dialogue.feed(Script::publisher("live", "secret").bytes()).unwrap();
    dialogue.events.clear();
    dialogue
}

fn code(value: &amf::Value) -> &str {
    value.get("code").and_then(amf::Value::as_str).unwrap_or_default()
}

fn tag(kind: TrackKind, stamp_ms: u32, body: &[u8]) -> SessionEvent {
    SessionEvent::Tag(Tag { kind, stamp_ms, body: Bytes::copy_from_slice(body) })
}

#[test]
fn a_publisher_gets_through_to_its_media() {
    let mut script = Script::publisher("live/", "secret?bandwidthtest=true");
    script.set_chunk_size(4096).metadata("obs\x07-output", 1280.0, 720.0, 29.97);
    script.video(0, &body::avc_config()).audio(0, &body::aac_config());
    script.video(40, &body::avc_frame(true, 0, &[7; 9000])).call("FCUnpublish", 6.0).video(80, &[1]);
    let expected = [
        SessionEvent::Connect { app: "live".into() },
        SessionEvent::Publish { key: "secret".into() },
        SessionEvent::Metadata(Metadata {
            encoder: Some("obs-output".into()),
            width: Some(1280),
            height: Some(720),
            frame_rate_milli: Some(29_970),
            video_bitrate_bps: Some(2_500_000),
            audio_bitrate_bps: None,
        }),
        tag(TrackKind::Video, 0, &body::avc_config()),
        tag(TrackKind::Audio, 0, &body::aac_config()),
        tag(TrackKind::Video, 40, &body::avc_frame(true, 0, &[7; 9000])),
        SessionEvent::Finished,
    ];
    for size in [1, 13, 4096, 1 << 20] {
        let mut dialogue = Dialogue::new(&Limits::default());
        for piece in script.bytes().chunks(size) {
            dialogue.feed(piece).unwrap();
        }
        assert_eq!(dialogue.events, expected, "fed by {size}");
        let names: Vec<_> = dialogue.commands().into_iter().map(|(name, _)| name).collect();
        assert_eq!(names, ["_result", "_result", "onStatus", "onFCUnpublish"]);
        let kinds: Vec<_> = dialogue.answers().iter().map(|(kind, _)| *kind).collect();
        assert_eq!(kinds, [5, 6, 1, 20, 20, 4, 20, 20], "fed by {size}");
    }
}

#[test]
fn a_refused_connect_and_a_refused_publish_say_so() {
    let mut session = Session::new(&Limits::default(), T0);
    let mut script = Script::new();
    let bytes = script.handshake().connect("nope").take();
    assert_eq!(session.handle_input(T0, &bytes), Ok(bytes.len()));
    let mut dialogue = Dialogue { session, now: T0, events: Vec::new(), output: Vec::new() };
    dialogue.session.handle_refusal(&Refusal::UnknownApplication);
    dialogue.drain();
    let [(name, info), (again, for_obs)] = &dialogue.commands()[..] else { panic!("two answers") };
    assert_eq!((name.as_str(), code(info)), ("_error", "NetConnection.Connect.Rejected"));
    assert_eq!((again.as_str(), code(for_obs)), ("onStatus", "NetConnection.Connect.InvalidApp"));

    let mut dialogue = Dialogue::new(&Limits::default());
    dialogue.feed(script.handshake().connect("live").create_stream().take().as_slice()).unwrap();
    let bytes = script.publish("wrong").video(0, &[1]).take();
    let used = dialogue.session.handle_input(T0, &bytes).unwrap();
    assert!(used < bytes.len(), "nothing is read beyond the question");
    dialogue.session.handle_refusal(&Refusal::WrongKey);
    dialogue.drain();
    let commands = dialogue.commands();
    let (name, info) = commands.last().unwrap();
    assert_eq!((name.as_str(), code(info)), ("onStatus", "NetStream.Publish.BadName"));
    assert_eq!(info.get("level").and_then(amf::Value::as_str), Some("error"));
    let text = info.get("description").and_then(amf::Value::as_str);
    assert_eq!(text, Some("wrong stream key: copy it again from the streamer's page of the box"));
    assert_eq!(dialogue.session.poll_event(), None, "the question went with the answer");
    assert_eq!(
        dialogue.session.handle_input(T0, &bytes[used..]),
        Ok(bytes.len() - used),
        "the rest is dropped"
    );
}

#[test]
fn enhanced_fields_are_answered_exactly_if_the_peer_has_them() {
    let connect = |extra: Option<(&str, amf::Value)>| {
        let mut about = vec![("app".to_owned(), amf::Value::string("live"))];
        about.extend(extra.map(|(key, value)| (key.to_owned(), value)));
        let mut command = BytesMut::new();
        for value in [amf::Value::string("connect"), amf::Value::Number(1.0), amf::Value::Object(about)] {
            value.write(&mut command);
        }
        let mut script = Script::new();
        script.handshake().message(3, Form::Full(0), message_type::COMMAND_AMF0, &command);
        let mut dialogue = Dialogue::new(&Limits::default());
        dialogue.feed(script.bytes()).unwrap();
        dialogue.commands().remove(0).1
    };
    let plain = connect(None);
    assert_eq!((code(&plain), plain.get("capsEx")), ("NetConnection.Connect.Success", None));

    let list = amf::Value::Array(vec![amf::Value::string("hvc1")]);
    let first_version = connect(Some(("fourCcList", list)));
    let names = ["avc1", "hvc1", "av01", "mp4a", "Opus"].map(amf::Value::string);
    assert_eq!(first_version.get("fourCcList"), Some(&amf::Value::Array(names.into())));

    let second_version = connect(Some(("capsEx", amf::Value::Number(15.0))));
    let hevc = second_version.get("videoFourCcInfoMap").and_then(|map| map.get("hvc1"));
    assert_eq!(hevc, Some(&amf::Value::Number(4.0)), "can forward");
    assert_eq!(second_version.get("capsEx"), Some(&amf::Value::Number(4.0)), "ModEx only");
}

#[test]
fn commands_in_the_wrapping_of_amf3_are_read() {
    let mut command = vec![0];
    command.extend(b"\x02\0\x07connect\0\x3f\xf0\0\0\0\0\0\0\x03\0\x03app\x02\0\x04live\0\0\x09");
    let mut script = Script::new();
    script.handshake().message(3, Form::Full(0), message_type::COMMAND_AMF3, &command);
    let mut dialogue = Dialogue::new(&Limits::default());
    dialogue.feed(script.bytes()).unwrap();
    assert_eq!(dialogue.events, [SessionEvent::Connect { app: "live".into() }]);
}

#[test]
fn acknowledgements_come_once_per_window() {
    let mut dialogue = publishing(&Limits::default());
    let sent = Script::publisher("live", "secret").bytes().len();
    let mut script = Script::new();
    script.control(message_type::WINDOW_ACK_SIZE, &5000_u32.to_be_bytes());
    dialogue.feed(&script.take()).unwrap();
    let before = dialogue.answers().len();
    dialogue.feed(script.set_chunk_size(10_000).video(0, &[7; 4000]).take().as_slice()).unwrap();
    dialogue.feed(&script.video(0, &[7; 1000]).take()).unwrap();
    let answers = dialogue.answers();
    // 16 for the window, 16 for the chunk size, 12 for each header of a video message.
    let acknowledged = u32::from_be_bytes(answers[before].1[..].try_into().unwrap());
    assert_eq!((answers.len(), answers[before].0, acknowledged), (before + 1, 3, sent as u32 + 32 + 4012));
}

#[test]
fn a_ping_is_answered_with_its_time() {
    let mut dialogue = publishing(&Limits::default());
    let mut script = Script::new();
    dialogue.feed(script.control(message_type::USER_CONTROL, b"\0\x06\x01\x02\x03\x04").bytes()).unwrap();
    assert_eq!(dialogue.answers().last().unwrap(), &(4, Bytes::from_static(b"\0\x07\x01\x02\x03\x04")));
}

#[test]
fn silence_is_asked_after_and_then_ends_it() {
    let limits = Limits { ping_ms: 5000, idle_ms: 15_000, ..Limits::default() };
    let mut dialogue = publishing(&limits);
    assert_eq!(dialogue.session.poll_timeout(), Millis(1_005_000));
    assert_eq!(dialogue.session.handle_timeout(Millis(1_004_999)), Ok(()));
    assert_eq!(dialogue.session.poll_output(), None);
    assert_eq!(dialogue.session.handle_timeout(Millis(1_005_000)), Ok(()));
    dialogue.drain();
    assert_eq!(dialogue.answers().last().unwrap().1[..2], [0, 6]);

    // An answer to the ping is a sign of life.
    dialogue.now = Millis(1_006_000);
    let mut script = Script::new();
    dialogue.feed(script.control(message_type::USER_CONTROL, b"\0\x07\0\0\0\0").bytes()).unwrap();
    assert_eq!(dialogue.session.poll_timeout(), Millis(1_011_000));
    assert_eq!(dialogue.session.handle_timeout(Millis(1_011_000)), Ok(()));
    assert_eq!(dialogue.session.poll_timeout(), Millis(1_021_000));
    assert_eq!(dialogue.session.handle_timeout(Millis(1_021_000)), Err(SessionError::Idle(15_000)));
}

#[test]
fn bytes_and_time_before_publishing_are_bounded() {
    let limits = Limits { preamble_bytes: 10_000, preamble_ms: 3000, ..Limits::default() };
    let mut dialogue = Dialogue::new(&limits);
    let mut script = Script::new();
    dialogue.feed(&script.handshake().connect("live").take()).unwrap();
    assert_eq!(dialogue.session.poll_timeout(), Millis(1_003_000));
    assert_eq!(dialogue.session.handle_timeout(Millis(1_003_000)), Err(SessionError::PreambleTooSlow(3000)));
    let bytes = script.audio(0, &[7; 7000]).take();
    assert_eq!(dialogue.feed(&bytes), Err(SessionError::PreambleTooLong(10_000)));

    let mut dialogue = Dialogue::new(&Limits::default());
    dialogue.feed(&script.handshake().take()).unwrap();
    let long = ChunkError::MessageTooLong { length: 65_537, length_max: 65_536 };
    assert_eq!(dialogue.feed(&script.video(0, &[7; 65_537]).take()), Err(SessionError::Chunk(long)));
}

#[test]
fn a_bitrate_above_the_limit_ends_it() {
    let limits = Limits { bits_per_second: 800_000, burst_ms: 1000, ..Limits::default() };
    let mut dialogue = publishing(&limits);
    let mut script = Script::new();
    let second = script.set_chunk_size(1 << 20).take();
    dialogue.feed(&second).unwrap();
    // 99 kB a second are within 100 kB; twice as much is not, once the burst is used up.
    for second in 1..20 {
        dialogue.now = T0.plus(second * 1000);
        dialogue.feed(&script.video(0, &[7; 99_000]).take()).unwrap();
    }
    let too_fast = SessionError::TooFast { bits_per_second: 800_000 };
    assert_eq!(dialogue.feed(&script.video(0, &[7; 99_000]).take()), Err(too_fast));
}

#[test]
fn commands_are_counted_and_in_their_place() {
    let mut dialogue = publishing(&Limits { commands: 10, ..Limits::default() });
    let mut script = Script::new();
    for _ in 0..7 {
        dialogue.feed(&script.call("_checkbw", 0.0).take()).unwrap();
    }
    assert_eq!(dialogue.feed(&script.call("_checkbw", 0.0).take()), Err(SessionError::TooManyCommands(10)));

    let check = |bytes: &[u8], expected| {
        assert_eq!(publishing(&Limits::default()).feed(bytes), Err(expected));
    };
    check(&script.connect("live").take(), SessionError::OutOfPlace("connect"));
    check(&script.publish("other").take(), SessionError::OutOfPlace("publish"));
    check(&script.call("play", 0.0).take(), SessionError::Play);
    let early = script.handshake().create_stream().take();
    let refused = Dialogue::new(&Limits::default()).feed(&early);
    assert_eq!(refused, Err(SessionError::OutOfPlace("a command before connect")));
}

#[test]
fn a_tidying_encoder_is_let_through() {
    let mut script = Script::new();
    script
        .handshake()
        .connect("live")
        .call("releaseStream", 2.0)
        .call("FCPublish", 3.0)
        .call("FCUnpublish", 3.0);
    script.call("deleteStream", 3.0).create_stream().publish("key");
    let mut dialogue = Dialogue::new(&Limits::default());
    dialogue.feed(script.bytes()).unwrap();
    assert_eq!(dialogue.events.last(), Some(&SessionEvent::Publish { key: "key".into() }));
    let names: Vec<_> = dialogue.commands().into_iter().map(|(name, _)| name).collect();
    assert_eq!(names, ["_result", "_result", "_result", "onFCPublish", "_result", "onStatus"]);
}

#[test]
fn media_before_publishing_and_odd_messages_are_skipped() {
    let mut dialogue = Dialogue::new(&Limits::default());
    let mut script = Script::new();
    dialogue
        .feed(&script.handshake().connect("live").video(0, &[1]).metadata("x", 1.0, 1.0, 1.0).take())
        .unwrap();
    dialogue.feed(&script.create_stream().publish("key").message(4, Form::Full(0), 99, &[1]).take()).unwrap();
    dialogue.feed(&script.message(4, Form::Full(0), message_type::DATA_AMF0, &[0x11]).take()).unwrap();
    assert_eq!(dialogue.session.skipped(), 4);
}

#[test]
fn events_that_nobody_polls_stop_the_input() {
    let mut dialogue = publishing(&Limits::default());
    let mut script = Script::new();
    for _ in 0..300 {
        script.audio(0, &[1]);
    }
    // 13 bytes each, and 256 may wait.
    assert_eq!(dialogue.session.handle_input(T0, script.bytes()), Ok(256 * 13));
    assert_eq!(dialogue.session.handle_input(T0, &script.bytes()[256 * 13..]), Ok(0));
    assert!(dialogue.session.poll_event().is_some());
    assert_eq!(dialogue.session.handle_input(T0, &script.bytes()[256 * 13..]), Ok(13));
}

#[test]
fn keys_stay_out_of_debug_output() {
    let event = SessionEvent::Publish { key: "secret-key".into() };
    assert!(!format!("{event:?}").contains("secret-key"));
}
