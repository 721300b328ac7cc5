//! Messages to chunks: the few answers a server gives.
//!
//! Always full headers and timestamp zero: answers are rare, and the plainest form is understood by all.

use bytes::{BufMut, BytesMut};

/// The chunk size announced to the peer before the first answer that could be longer than 128 bytes.
pub(crate) const CHUNK_BYTES: u32 = 4096;

/// Chunk stream of protocol control messages (RTMP 1.0, 5.4).
const CONTROL_ID: u8 = 2;
/// Chunk stream of commands, as usual.
const COMMAND_ID: u8 = 3;

pub(crate) fn write_control(type_id: u8, body: &[u8], output: &mut BytesMut) {
    write(CONTROL_ID, type_id, 0, body, output);
}

pub(crate) fn write_command(stream_id: u32, body: &[u8], output: &mut BytesMut) {
    write(COMMAND_ID, super::message_type::COMMAND_AMF0, stream_id, body, output);
}

fn write(id: u8, type_id: u8, stream_id: u32, body: &[u8], output: &mut BytesMut) {
    output.reserve(body.len() + 16);
    output.put_u8(id);
    output.put_uint(0, 3);
    output.put_uint(body.len() as u64, 3);
    output.put_u8(type_id);
    output.put_u32_le(stream_id);
    for (index, piece) in body.chunks(CHUNK_BYTES as usize).enumerate() {
        if index > 0 {
            output.put_u8(0xC0 | id);
        }
        output.put_slice(piece);
    }
}
