//! The chunk stream: chunks to messages (RTMP 1.0, 5.3).
//!
//! Payload is copied once, from the read buffer into the message; nothing is allocated per chunk. Memory is
//! bounded by what messages announce: one message at most `message_bytes`, all unfinished ones together twice that.
//!
//! Two things are read more tolerantly than the text says, because encoders in use need it:
//! - A Type 3 chunk repeats the extended timestamp (5.3.1.3), but encoders built on rtmpdump's library do not. The
//!   four bytes in its place are taken for the timestamp exactly if they equal the one before.
//! - A chunk stream may begin with a Type 1 chunk; the message stream is 0 then.

use bytes::{Bytes, BytesMut};

use self::head::{Form, HEAD_BYTES_MAX, Head, Previous};

mod head;
#[cfg(test)]
mod tests;

/// Until the peer says otherwise (5.4.1).
const CHUNK_BYTES_FIRST: u32 = 128;
/// In a 24-bit time field, it says that the 32-bit field follows.
const EXTENDED: u32 = 0xFF_FFFF;

/// A whole message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Message {
    pub type_id: u8,
    pub stream_id: u32,
    pub stamp_ms: u32,
    pub body: Bytes,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ChunkError {
    #[error("chunk stream {0} begins without a full header")]
    NoHeader(u32),
    #[error("more than {0} chunk streams")]
    TooManyStreams(usize),
    #[error("message of {length} bytes where at most {length_max} are taken")]
    MessageTooLong { length: u32, length_max: u32 },
    #[error("unfinished messages of more than {0} bytes")]
    TooMuchUnfinished(u64),
    #[error("new header within a message of chunk stream {0}")]
    Interrupted(u32),
    #[error("chunk size {bytes} is outside 1 to {bytes_max}")]
    ChunkSize { bytes: u32, bytes_max: u32 },
}

/// Reassembles messages from bytes in pieces of any size.
#[derive(Debug)]
pub struct ChunkReader {
    stage: Stage,
    streams: Vec<ChunkStream>,
    held: Held,
    chunk_bytes: u32,
    /// Announced lengths of the messages that are not whole.
    unfinished_bytes: u64,
    chunk_bytes_max: u32,
    message_bytes_max: u32,
    streams_max: usize,
}

#[derive(Clone, Copy, Debug)]
enum Stage {
    Head,
    /// Within the payload of a chunk of `streams[slot]`.
    Body {
        slot: usize,
        left: u32,
    },
}

/// Bytes taken from an earlier input that could not be understood alone: they come before the next input.
#[derive(Debug)]
struct Held {
    bytes: [u8; HEAD_BYTES_MAX],
    len: usize,
}

#[derive(Debug)]
struct ChunkStream {
    id: u32,
    stamp_ms: u32,
    /// What a Type 3 chunk adds when it begins a message.
    step_ms: u32,
    /// The extended field of the latest Type 0, 1 or 2 chunk.
    extended: Option<u32>,
    length: u32,
    type_id: u8,
    stream_id: u32,
    message: Option<BytesMut>,
}

impl ChunkReader {
    #[must_use]
    pub const fn new(message_bytes_max: u32, chunk_bytes_max: u32, streams_max: usize) -> Self {
        Self {
            stage: Stage::Head,
            streams: Vec::new(),
            held: Held { bytes: [0; HEAD_BYTES_MAX], len: 0 },
            chunk_bytes: CHUNK_BYTES_FIRST,
            unfinished_bytes: 0,
            chunk_bytes_max,
            message_bytes_max,
            streams_max,
        }
    }

    /// The peer's Set Chunk Size. All beyond 16777215 means that; the highest bit has to be zero (5.4.1).
    pub fn handle_chunk_size(&mut self, bytes: u32) -> Result<(), ChunkError> {
        let meant = if bytes <= i32::MAX as u32 { bytes.min(EXTENDED) } else { 0 };
        if meant == 0 || meant > self.chunk_bytes_max {
            return Err(ChunkError::ChunkSize { bytes, bytes_max: self.chunk_bytes_max });
        }
        self.chunk_bytes = meant;
        Ok(())
    }

    /// The peer's Abort: what came of the message is dropped (5.4.2).
    pub fn handle_abort(&mut self, id: u32) {
        if let Some(stream) = self.streams.iter_mut().find(|stream| stream.id == id)
            && stream.message.take().is_some()
        {
            self.unfinished_bytes -= u64::from(stream.length);
        }
    }

    /// For messages that begin after this call.
    pub const fn set_message_bytes_max(&mut self, bytes: u32) {
        self.message_bytes_max = bytes;
    }

    /// Takes bytes up to the end of a message or of the input, whichever comes first; says how many. Held bytes
    /// can make up a message by themselves: call it until there is no message.
    pub fn handle_input(&mut self, input: &[u8]) -> Result<(usize, Option<Message>), ChunkError> {
        let mut used = 0;
        while used < input.len() || self.held.len > 0 {
            let slot = match self.stage {
                Stage::Head => {
                    let (taken, head) = self.take_head(&input[used..])?;
                    used += taken;
                    match head {
                        Some(head) => self.begin_chunk(&head)?,
                        None => break,
                    }
                }
                Stage::Body { slot, left } => {
                    let (taken, left) = self.take_body(slot, left, &input[used..]);
                    used += taken;
                    self.stage = Stage::Body { slot, left };
                    slot
                }
            };
            if let Some(message) = self.end_chunk(slot) {
                return Ok((used, Some(message)));
            }
        }
        Ok((used, None))
    }

    /// A header, from the input alone if it is whole there, else from what is held and the input.
    fn take_head(&mut self, input: &[u8]) -> Result<(usize, Option<Head>), ChunkError> {
        if self.held.len == 0 {
            if let Some((used, head)) = self.parse_head(input)? {
                return Ok((used, Some(head)));
            }
            self.held.fill(input);
            return Ok((input.len(), None));
        }
        let before = self.held.len;
        let taken = self.held.fill(input);
        let Some((used, head)) = self.parse_head(&self.held.bytes[..self.held.len])? else {
            return Ok((taken, None));
        };
        self.held.len = before;
        self.held.drop_front(used);
        Ok((used.saturating_sub(before), Some(head)))
    }

    /// Payload from what is held, or else from the input: bytes taken from the input, and still due to the chunk.
    fn take_body(&mut self, slot: usize, left: u32, input: &[u8]) -> (usize, u32) {
        let Some(message) = &mut self.streams[slot].message else { return (0, 0) };
        let source = if self.held.len > 0 { &self.held.bytes[..self.held.len] } else { input };
        let bytes = source.len().min(left as usize);
        message.extend_from_slice(&source[..bytes]);
        let taken = if self.held.len > 0 {
            self.held.drop_front(bytes);
            0
        } else {
            bytes
        };
        (taken, left - bytes as u32)
    }

    fn parse_head(&self, bytes: &[u8]) -> Result<Option<(usize, Head)>, ChunkError> {
        head::parse(bytes, |id| {
            self.streams
                .iter()
                .find(|stream| stream.id == id)
                .map(|stream| Previous { extended: stream.extended })
        })
    }

    /// Applies a header: the slot of its chunk stream, with `stage` at the payload.
    fn begin_chunk(&mut self, head: &Head) -> Result<usize, ChunkError> {
        let slot = self.slot(head.id)?;
        let stream = &mut self.streams[slot];
        match &stream.message {
            Some(_) => stream.handle_continuation(head)?,
            None => {
                stream.handle_head(head);
                self.open_message(slot)?;
            }
        }
        let stream = &self.streams[slot];
        let got = stream.message.as_ref().map_or(0, BytesMut::len) as u32;
        self.stage = Stage::Body { slot, left: (stream.length - got).min(self.chunk_bytes) };
        Ok(slot)
    }

    fn slot(&mut self, id: u32) -> Result<usize, ChunkError> {
        if let Some(slot) = self.streams.iter().position(|stream| stream.id == id) {
            return Ok(slot);
        }
        if self.streams.len() == self.streams_max {
            return Err(ChunkError::TooManyStreams(self.streams_max));
        }
        self.streams.push(ChunkStream::new(id));
        Ok(self.streams.len() - 1)
    }

    fn open_message(&mut self, slot: usize) -> Result<(), ChunkError> {
        let stream = &mut self.streams[slot];
        let (length, length_max) = (stream.length, self.message_bytes_max);
        if length > length_max {
            return Err(ChunkError::MessageTooLong { length, length_max });
        }
        let unfinished_max = 2 * u64::from(length_max);
        self.unfinished_bytes += u64::from(length);
        if self.unfinished_bytes > unfinished_max {
            return Err(ChunkError::TooMuchUnfinished(unfinished_max));
        }
        stream.message = Some(BytesMut::with_capacity(length as usize));
        Ok(())
    }

    /// After payload came: goes on to the next header if the chunk is over; gives the message if that is, too.
    fn end_chunk(&mut self, slot: usize) -> Option<Message> {
        if !matches!(self.stage, Stage::Body { left: 0, .. }) {
            return None;
        }
        self.stage = Stage::Head;
        let stream = &mut self.streams[slot];
        let whole = stream.message.as_ref().is_some_and(|message| message.len() == stream.length as usize);
        let body = stream.message.take_if(|_| whole)?.freeze();
        self.unfinished_bytes -= u64::from(stream.length);
        Some(Message {
            type_id: stream.type_id,
            stream_id: stream.stream_id,
            stamp_ms: stream.stamp_ms,
            body,
        })
    }
}

impl Held {
    /// Takes what fits.
    fn fill(&mut self, input: &[u8]) -> usize {
        let bytes = input.len().min(HEAD_BYTES_MAX - self.len);
        self.bytes[self.len..self.len + bytes].copy_from_slice(&input[..bytes]);
        self.len += bytes;
        bytes
    }

    fn drop_front(&mut self, bytes: usize) {
        let bytes = bytes.min(self.len);
        self.bytes.copy_within(bytes..self.len, 0);
        self.len -= bytes;
    }
}

impl ChunkStream {
    const fn new(id: u32) -> Self {
        Self {
            id,
            stamp_ms: 0,
            step_ms: 0,
            extended: None,
            length: 0,
            type_id: 0,
            stream_id: 0,
            message: None,
        }
    }

    /// The header of a message's first chunk.
    fn handle_head(&mut self, head: &Head) {
        match head.form {
            Form::Full { stamp_ms, length, type_id, stream_id } => {
                self.stamp_ms = stamp_ms;
                // A Type 3 chunk that follows adds the timestamp as if it were a delta (5.3.1.2.4), and encoders
                // write first frames so. With an extended one nobody can mean that: the stamp stays.
                self.step_ms = if head.extended.is_some() { 0 } else { stamp_ms };
                (self.length, self.type_id, self.stream_id) = (length, type_id, stream_id);
                self.extended = head.extended;
            }
            Form::SameStream { delta_ms, length, type_id } => {
                self.handle_delta(delta_ms, head.extended);
                (self.length, self.type_id) = (length, type_id);
            }
            Form::SameLength { delta_ms } => self.handle_delta(delta_ms, head.extended),
            Form::Same => self.stamp_ms = self.stamp_ms.wrapping_add(self.step_ms),
        }
    }

    const fn handle_delta(&mut self, delta_ms: u32, extended: Option<u32>) {
        self.step_ms = delta_ms;
        self.stamp_ms = self.stamp_ms.wrapping_add(delta_ms);
        self.extended = extended;
    }

    /// The header of a later chunk. It has to be of Type 3; another one passes if it says nothing new about the
    /// message, since some encoders repeat the header. Its time is not looked at.
    fn handle_continuation(&mut self, head: &Head) -> Result<(), ChunkError> {
        let same = match head.form {
            Form::Full { length, type_id, .. } | Form::SameStream { length, type_id, .. } => {
                length == self.length && type_id == self.type_id
            }
            Form::SameLength { .. } => true,
            Form::Same => return Ok(()),
        };
        self.extended = head.extended;
        if same { Ok(()) } else { Err(ChunkError::Interrupted(self.id)) }
    }
}
