//! What the server says: the bodies of its answers, in the wording of Flash Media Server that clients expect.

use bytes::{BufMut, BytesMut};

use super::amf::Value;
use super::writer::{CHUNK_BYTES, write_command, write_control};
use super::{message_type, user_control};
use crate::Refusal;

/// Set Peer Bandwidth's limit type (RTMP 1.0, 5.4.5).
const DYNAMIC: u8 = 2;
/// The one message stream of a connection.
const STREAM_ID: u32 = 1;

/// Enhanced RTMP v2, FourCcInfoMask: can forward.
const CAN_FORWARD: f64 = 4.0;
/// Enhanced RTMP v2, CapsExMask: ModEx is understood. Neither reconnect requests nor several tracks are.
const CAPS_EX: f64 = 4.0;
const VIDEO_FOUR_CC: [&str; 3] = ["avc1", "hvc1", "av01"];
const AUDIO_FOUR_CC: [&str; 2] = ["mp4a", "Opus"];

/// What is carried, by Enhanced RTMP's names.
pub(super) fn four_ccs() -> impl Iterator<Item = &'static str> {
    VIDEO_FOUR_CC.into_iter().chain(AUDIO_FOUR_CC)
}

pub(super) fn connect_accepted(
    transaction: f64,
    enhanced: bool,
    ack_window_bytes: u32,
    output: &mut BytesMut,
) {
    let window = ack_window_bytes.to_be_bytes();
    write_control(message_type::WINDOW_ACK_SIZE, &window, output);
    let [a, b, c, d] = window;
    write_control(message_type::SET_PEER_BANDWIDTH, &[a, b, c, d, DYNAMIC], output);
    set_chunk_size(output);

    let mut server = vec![
        ("fmsVer".to_owned(), Value::string("FMS/3,0,1,123")),
        ("capabilities".to_owned(), Value::Number(31.0)),
    ];
    let mut info = status("status", "NetConnection.Connect.Success", "Connection succeeded.");
    info.push(("objectEncoding".to_owned(), Value::Number(0.0)));
    if enhanced {
        // Clients are known to look in either of the two.
        server.extend(enhanced_fields());
        info.extend(enhanced_fields());
    }
    command(0, "_result", transaction, &[Value::Object(server), Value::Object(info)], output);
}

fn enhanced_fields() -> Vec<(String, Value)> {
    let list = four_ccs().map(Value::string).collect();
    let map = |names: &[&str]| {
        Value::Object(names.iter().map(|name| ((*name).to_owned(), Value::Number(CAN_FORWARD))).collect())
    };
    vec![
        ("fourCcList".to_owned(), Value::Array(list)),
        ("videoFourCcInfoMap".to_owned(), map(&VIDEO_FOUR_CC)),
        ("audioFourCcInfoMap".to_owned(), map(&AUDIO_FOUR_CC)),
        ("capsEx".to_owned(), Value::Number(CAPS_EX)),
    ]
}

pub(super) fn connect_refused(transaction: f64, refusal: &Refusal, output: &mut BytesMut) {
    set_chunk_size(output);
    let info = status("error", "NetConnection.Connect.Rejected", &refusal.to_string());
    command(0, "_error", transaction, &[Value::Null, Value::Object(info)], output);
    // OBS passes over an error's words, and logs those of a status with this code (librtmp, HandleInvoke).
    let info = status("error", "NetConnection.Connect.InvalidApp", &refusal.to_string());
    command(0, "onStatus", 0.0, &[Value::Null, Value::Object(info)], output);
}

pub(super) fn create_stream(transaction: f64, output: &mut BytesMut) {
    command(0, "_result", transaction, &[Value::Null, Value::Number(f64::from(STREAM_ID))], output);
}

/// The answer to a call that has no result.
pub(super) fn done(transaction: f64, output: &mut BytesMut) {
    command(0, "_result", transaction, &[Value::Null, Value::Null], output);
}

pub(super) fn fc_publish(transaction: f64, output: &mut BytesMut) {
    done(transaction, output);
    let info = status("status", "NetStream.Publish.Start", "FCPublish");
    command(0, "onFCPublish", 0.0, &[Value::Null, Value::Object(info)], output);
}

pub(super) fn fc_unpublish(output: &mut BytesMut) {
    let info = status("status", "NetStream.Unpublish.Success", "Stream is no longer published.");
    command(0, "onFCUnpublish", 0.0, &[Value::Null, Value::Object(info)], output);
}

pub(super) fn publish_accepted(stream_id: u32, output: &mut BytesMut) {
    user_control(user_control::STREAM_BEGIN, stream_id, output);
    let info = status("status", "NetStream.Publish.Start", "Stream is published.");
    command(stream_id, "onStatus", 0.0, &[Value::Null, Value::Object(info)], output);
}

pub(super) fn stream_refused(stream_id: u32, refusal: &Refusal, output: &mut BytesMut) {
    // Within a stream a code of NetConnection would be ignored.
    let code = match refusal.code() {
        code if code.starts_with("NetStream.") => code,
        _ => "NetStream.Publish.BadName",
    };
    let info = status("error", code, &refusal.to_string());
    command(stream_id, "onStatus", 0.0, &[Value::Null, Value::Object(info)], output);
}

/// Before the first answer that can be longer than 128 bytes.
fn set_chunk_size(output: &mut BytesMut) {
    write_control(message_type::SET_CHUNK_SIZE, &CHUNK_BYTES.to_be_bytes(), output);
}

pub(super) fn user_control(event: u16, value: u32, output: &mut BytesMut) {
    let mut body = BytesMut::with_capacity(6);
    body.put_u16(event);
    body.put_u32(value);
    write_control(message_type::USER_CONTROL, &body, output);
}

pub(super) fn acknowledgement(received_bytes: u32, output: &mut BytesMut) {
    write_control(message_type::ACKNOWLEDGEMENT, &received_bytes.to_be_bytes(), output);
}

fn status(level: &str, code: &str, description: &str) -> Vec<(String, Value)> {
    [("level", level), ("code", code), ("description", description)]
        .map(|(key, text)| (key.to_owned(), Value::string(text)))
        .into()
}

fn command(stream_id: u32, name: &str, transaction: f64, arguments: &[Value; 2], output: &mut BytesMut) {
    let mut body = BytesMut::new();
    Value::string(name).write(&mut body);
    Value::Number(transaction).write(&mut body);
    for argument in arguments {
        argument.write(&mut body);
    }
    write_command(stream_id, &body, output);
}
