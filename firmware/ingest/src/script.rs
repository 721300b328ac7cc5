//! The bytes a publisher sends, written step by step: for tests, here and in other crates.
//!
//! Writes what it is told, right or wrong; checks nothing. Media are stubs that demultiplex but do not decode.

use bytes::BytesMut;

use crate::session::amf::Value;
use crate::session::message_type;

pub mod body;

/// A Type 3 chunk may or may not repeat the extended timestamp, depending on the encoder.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Habit {
    Repeats,
    Omits,
}

/// The header of a message's first chunk (RTMP 1.0, 5.3.1.2). Times from 16777215 on get the extended field.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// Type 0 with an absolute timestamp.
    Full(u32),
    /// Type 1 with a delta.
    SameStream(u32),
    /// Type 2 with a delta.
    SameLength(u32),
    /// Type 3. With the extended field if this is given.
    Same(Option<u32>),
}

#[derive(Clone, Debug)]
pub struct Script {
    bytes: Vec<u8>,
    chunk_bytes: usize,
    habit: Habit,
}

impl Default for Script {
    fn default() -> Self {
        Self::new()
    }
}

impl Script {
    /// Nothing yet; chunks of 128 bytes.
    #[must_use]
    pub const fn new() -> Self {
        Self { bytes: Vec::new(), chunk_bytes: 128, habit: Habit::Repeats }
    }

    /// Everything up to and including `publish`. A server answers in between; it need not be waited for.
    #[must_use]
    pub fn publisher(app: &str, key: &str) -> Self {
        let mut script = Self::new();
        script.handshake().connect(app).create_stream().publish(key);
        script
    }

    /// What a server says to a viewer, up to and including its yes to `play`.
    #[must_use]
    pub fn server() -> Self {
        let mut script = Self::new();
        script.handshake().control(message_type::WINDOW_ACK_SIZE, &5_000_000_u32.to_be_bytes());
        script.control(message_type::SET_PEER_BANDWIDTH, &[0, 0x4C, 0x4B, 0x40, 2]);
        let result = |transaction: f64, value: Value| {
            [Value::string("_result"), Value::Number(transaction), Value::Null, value]
        };
        script.command(0, &result(1.0, Self::status("status", "NetConnection.Connect.Success")));
        script.command(0, &[Value::string("onBWDone"), Value::Number(0.0), Value::Null]);
        script.command(0, &result(2.0, Value::Number(7.0)));
        script.on_status("status", "NetStream.Play.Reset").on_status("status", "NetStream.Play.Start");
        script
    }

    /// A server's word on the stream that is played.
    pub fn on_status(&mut self, level: &str, code: &str) -> &mut Self {
        let about = Self::status(level, code);
        self.command(7, &[Value::string("onStatus"), Value::Number(0.0), Value::Null, about])
    }

    pub(crate) fn status(level: &str, code: &str) -> Value {
        Value::object([
            ("level", Value::string(level)),
            ("code", Value::string(code)),
            // Servers repeat in it what was asked for.
            ("description", Value::string("about ana?key=s3cret")),
        ])
    }

    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// What was written so far; the script goes on with nothing.
    pub fn take(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.bytes)
    }

    pub const fn habit(&mut self, habit: Habit) -> &mut Self {
        self.habit = habit;
        self
    }

    pub fn raw(&mut self, bytes: &[u8]) -> &mut Self {
        self.bytes.extend_from_slice(bytes);
        self
    }

    /// C0, C1 and C2.
    pub fn handshake(&mut self) -> &mut Self {
        self.bytes.push(3);
        self.bytes.extend([0; 8]);
        self.bytes.extend([0xC1; 1528]);
        self.raw(&[0xC2; 1536])
    }

    pub fn set_chunk_size(&mut self, bytes: u32) -> &mut Self {
        self.control(message_type::SET_CHUNK_SIZE, &bytes.to_be_bytes());
        self.chunk_bytes = bytes as usize;
        self
    }

    pub fn connect(&mut self, app: &str) -> &mut Self {
        let about = Value::object([
            ("app", Value::string(app)),
            ("type", Value::string("nonprivate")),
            ("flashVer", Value::string("FMLE/3.0 (compatible; script)")),
            ("tcUrl", Value::string("rtmp://127.0.0.1/live")),
        ]);
        self.command(0, &[Value::string("connect"), Value::Number(1.0), about])
    }

    pub fn create_stream(&mut self) -> &mut Self {
        self.command(0, &[Value::string("createStream"), Value::Number(4.0), Value::Null])
    }

    pub fn publish(&mut self, key: &str) -> &mut Self {
        let name = [Value::string("publish"), Value::Number(5.0), Value::Null];
        let arguments = [Value::string(key), Value::string("live")];
        self.command(1, &[name.as_slice(), &arguments].concat())
    }

    /// A command without arguments, such as `FCUnpublish`.
    pub fn call(&mut self, name: &str, transaction: f64) -> &mut Self {
        self.command(1, &[Value::string(name), Value::Number(transaction), Value::Null])
    }

    /// `@setDataFrame` with the encoder's name, a size and a rate.
    pub fn metadata(&mut self, encoder: &str, width: f64, height: f64, frame_rate: f64) -> &mut Self {
        let about = Value::object([
            ("width", Value::Number(width)),
            ("height", Value::Number(height)),
            ("framerate", Value::Number(frame_rate)),
            ("videodatarate", Value::Number(2500.0)),
            ("encoder", Value::string(encoder)),
        ]);
        let mut body = BytesMut::new();
        for value in [Value::string("@setDataFrame"), Value::string("onMetaData"), about] {
            value.write(&mut body);
        }
        self.message(4, Form::Full(0), message_type::DATA_AMF0, &body)
    }

    pub fn video(&mut self, stamp_ms: u32, body: &[u8]) -> &mut Self {
        self.message(6, Form::Full(stamp_ms), message_type::VIDEO, body)
    }

    pub fn audio(&mut self, stamp_ms: u32, body: &[u8]) -> &mut Self {
        self.message(4, Form::Full(stamp_ms), message_type::AUDIO, body)
    }

    /// A protocol control message.
    pub fn control(&mut self, type_id: u8, body: &[u8]) -> &mut Self {
        self.message_of(0, 2, Form::Full(0), type_id, body)
    }

    /// A message of stream 1 in chunks.
    pub fn message(&mut self, chunk_stream: u32, form: Form, type_id: u8, body: &[u8]) -> &mut Self {
        self.message_of(1, chunk_stream, form, type_id, body)
    }

    /// The first chunk's header alone, for scripts that go on in their own way.
    pub fn begin(
        &mut self,
        chunk_stream: u32,
        form: Form,
        length: usize,
        type_id: u8,
        stream: u32,
    ) -> &mut Self {
        self.basic(form.type_bits(), chunk_stream);
        let time_ms = form.time_ms();
        if let Some(time_ms) = time_ms {
            self.u24(time_ms.min(0xFF_FFFF));
        }
        if matches!(form, Form::Full(_) | Form::SameStream(_)) {
            self.u24(length as u32);
            self.bytes.push(type_id);
        }
        if matches!(form, Form::Full(_)) {
            self.bytes.extend(stream.to_le_bytes());
        }
        if let Some(extended) = form.extended() {
            self.bytes.extend(extended.to_be_bytes());
        }
        self
    }

    /// A Type 3 header within a message; `extended` if the first chunk had the field and the encoder repeats it.
    pub fn continuation(&mut self, chunk_stream: u32, extended: Option<u32>) -> &mut Self {
        self.basic(3, chunk_stream);
        if let Some(extended) = extended {
            self.bytes.extend(extended.to_be_bytes());
        }
        self
    }

    /// Any command of a message stream.
    pub(crate) fn command(&mut self, stream: u32, values: &[Value]) -> &mut Self {
        let mut body = BytesMut::new();
        for value in values {
            value.write(&mut body);
        }
        self.message_of(stream, 3, Form::Full(0), message_type::COMMAND_AMF0, &body)
    }

    fn message_of(
        &mut self,
        stream: u32,
        chunk_stream: u32,
        form: Form,
        type_id: u8,
        body: &[u8],
    ) -> &mut Self {
        self.begin(chunk_stream, form, body.len(), type_id, stream);
        let extended = form.extended().filter(|_| self.habit == Habit::Repeats);
        for (index, piece) in body.chunks(self.chunk_bytes).enumerate() {
            if index > 0 {
                self.continuation(chunk_stream, extended);
            }
            self.raw(piece);
        }
        self
    }

    fn basic(&mut self, type_bits: u8, chunk_stream: u32) {
        let first = type_bits << 6;
        match chunk_stream {
            0..64 => self.bytes.push(first | chunk_stream as u8),
            64..320 => self.bytes.extend([first, (chunk_stream - 64) as u8]),
            _ => {
                let [low, high, ..] = (chunk_stream - 64).to_le_bytes();
                self.bytes.extend([first | 1, low, high]);
            }
        }
    }

    fn u24(&mut self, value: u32) {
        self.bytes.extend(&value.to_be_bytes()[1..]);
    }
}

impl Form {
    const fn type_bits(self) -> u8 {
        match self {
            Self::Full(_) => 0,
            Self::SameStream(_) => 1,
            Self::SameLength(_) => 2,
            Self::Same(_) => 3,
        }
    }

    const fn time_ms(self) -> Option<u32> {
        match self {
            Self::Full(ms) | Self::SameStream(ms) | Self::SameLength(ms) => Some(ms),
            Self::Same(_) => None,
        }
    }

    fn extended(self) -> Option<u32> {
        match self {
            Self::Full(ms) | Self::SameStream(ms) | Self::SameLength(ms) => (ms >= 0xFF_FFFF).then_some(ms),
            Self::Same(extended) => extended,
        }
    }
}
