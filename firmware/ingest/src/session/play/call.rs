//! What a viewer asks of a server: the bodies of its commands, in the wording that servers know from Flash and ffmpeg.

use bytes::{BufMut, BytesMut};

use super::PlayRequest;
use crate::session::amf::Value;
use crate::session::writer::{CHUNK_BYTES, write_command, write_control};
use crate::session::{answer, message_type, user_control};

/// Transactions of the two calls that are answered.
pub(super) const CONNECT: f64 = 1.0;
pub(super) const CREATE_STREAM: f64 = 2.0;
const PLAY: f64 = 3.0;
/// Play only what is live (7.2.2.1).
const LIVE: f64 = -1.0;
/// How much a player keeps; some servers send that much ahead.
const BUFFER_MS: u32 = 1_000;
/// All that Flash knew of sounds and pictures (7.2.1.1); servers that look at it look for AAC and H.264.
const AUDIO_CODECS: f64 = 4071.0;
const VIDEO_CODECS: f64 = 252.0;

pub(super) fn connect(request: &PlayRequest, output: &mut BytesMut) {
    write_control(message_type::SET_CHUNK_SIZE, &CHUNK_BYTES.to_be_bytes(), output);
    let about = Value::object([
        ("app", Value::string(&request.app)),
        ("flashVer", Value::string("LNX 9,0,124,2")),
        ("tcUrl", Value::string(&request.tc_url)),
        ("fpad", Value::Boolean(false)),
        ("capabilities", Value::Number(15.0)),
        ("audioCodecs", Value::Number(AUDIO_CODECS)),
        ("videoCodecs", Value::Number(VIDEO_CODECS)),
        ("videoFunction", Value::Number(1.0)),
        // Enhanced RTMP: what would be of use here.
        ("fourCcList", Value::Array(answer::four_ccs().map(Value::string).collect())),
    ]);
    command(0, &[Value::string("connect"), Value::Number(CONNECT), about], output);
}

/// After the server's yes to `connect`. Some wait for the window before they send media (5.4.4).
pub(super) fn create_stream(ack_window_bytes: u32, output: &mut BytesMut) {
    write_control(message_type::WINDOW_ACK_SIZE, &ack_window_bytes.to_be_bytes(), output);
    command(0, &[Value::string("createStream"), Value::Number(CREATE_STREAM), Value::Null], output);
}

pub(super) fn play(stream_id: u32, stream: &str, output: &mut BytesMut) {
    let name = [Value::string("play"), Value::Number(PLAY), Value::Null];
    command(stream_id, &[name.as_slice(), &[Value::string(stream), Value::Number(LIVE)]].concat(), output);
    let mut buffer = BytesMut::with_capacity(10);
    buffer.put_u16(user_control::SET_BUFFER_LENGTH);
    buffer.put_u32(stream_id);
    buffer.put_u32(BUFFER_MS);
    write_control(message_type::USER_CONTROL, &buffer, output);
}

fn command(stream_id: u32, values: &[Value], output: &mut BytesMut) {
    let mut body = BytesMut::new();
    for value in values {
        value.write(&mut body);
    }
    write_command(stream_id, &body, output);
}
