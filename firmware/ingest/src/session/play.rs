//! One connection to another RTMP server, from the viewer's side, as a state machine: bytes in, events and bytes out.
//!
//! ```text
//!            S0 S1 S2             _result              _result              NetStream.Play.Start
//! Handshake ----------> Connecting -------> Creating ---------> Asking ------------------------> Playing
//!                                                                  the stream is over, or close |
//!    any -- an error ends the connection                                                        v
//!                                                                 Over: the rest of the input is dropped
//! ```
//!
//! It opens no socket, reads no clock and repairs nothing: what it gives are tags as a publisher's session gives them.
//! After each call drain [`Play::poll_event`] and [`Play::poll_output`]. It asks for one stream, live, and publishes
//! nothing. A server that sends nothing is asked for a sign of life: a stream that nobody publishes may be waited for.

use std::collections::VecDeque;
use std::fmt;

use bytes::{Bytes, BytesMut};
use stream::{Millis, TrackKind};

use self::handshake::Handshake;
use self::reply::Reply;
use super::amf::AmfReader;
use super::traffic::{ACK_WINDOW_BYTES, Traffic};
use super::{
    AmfError, ChunkError, ChunkReader, EVENTS_MAX, HandshakeError, Message, aggregate, answer,
    control_number, message_type, metadata, user_control,
};
use crate::flv::Tag;
use crate::{Limits, Metadata};

mod call;
mod handshake;
mod reply;
#[cfg(test)]
mod tests;

/// What is asked for. May hold keys, in any of its parts.
#[derive(Clone, PartialEq, Eq)]
pub struct PlayRequest {
    /// Without slashes at its ends.
    pub app: String,
    /// `rtmp://HOST[:PORT]/APP`: servers with virtual hosts look at it.
    pub tc_url: String,
    /// With its query, if it has one.
    pub stream: String,
}

impl fmt::Debug for PlayRequest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("PlayRequest(secret)")
    }
}

/// What a session tells its driver.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PlayEvent {
    /// The server knows what is asked for. Media comes when somebody publishes it.
    Started,
    Tag(Tag),
    Metadata(Metadata),
    /// Nobody publishes it any more, or the server closes.
    Ended,
}

/// The connection can't go on.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PlayError {
    #[error("handshake failed")]
    Handshake(#[source] HandshakeError),
    #[error("chunks can't be read")]
    Chunk(#[source] ChunkError),
    #[error("command can't be read")]
    Command(#[source] AmfError),
    #[error("control message of type {0} is cut off")]
    Control(u8),
    #[error("the server says no: {0}")]
    Refused(String),
    #[error("the server names no stream")]
    NoStream,
    #[error("more than {0} commands")]
    TooManyCommands(u32),
    #[error("more than {0} bytes before the stream begins")]
    PreambleTooLong(u64),
    #[error("the stream does not begin within {0} ms")]
    PreambleTooSlow(u64),
    #[error("faster than {bits_per_second} bit/s")]
    TooFast { bits_per_second: u64 },
    #[error("nothing came for {0} ms")]
    Idle(u64),
    #[error("no picture and no sound came for {0} ms")]
    NoMedia(u64),
}

#[derive(Debug)]
enum State {
    Handshake(Handshake),
    Connecting,
    Creating,
    Asking,
    Playing,
    Over,
}

pub struct Play {
    limits: Limits,
    request: PlayRequest,
    state: State,
    reader: ChunkReader,
    output: BytesMut,
    events: VecDeque<PlayEvent>,
    traffic: Traffic,
    opened: Millis,
    heard: Millis,
    /// When the silent server was asked for a sign of life.
    pinged: Option<Millis>,
    /// When the newest picture or sound came.
    media: Option<Millis>,
    commands: u32,
    skipped: u64,
}

impl fmt::Debug for Play {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Play").field("state", &self.state).finish_non_exhaustive()
    }
}

impl Play {
    /// Begins the handshake. Of the limits, those that concern one connection hold; `preamble_*` are for what comes
    /// before the stream begins.
    #[must_use]
    pub fn new(request: PlayRequest, limits: &Limits, now: Millis) -> Self {
        let mut output = BytesMut::new();
        Self {
            limits: *limits,
            request,
            state: State::Handshake(Handshake::begin(&mut output)),
            reader: ChunkReader::new(limits.command_bytes, limits.chunk_bytes, limits.chunk_streams),
            output,
            events: VecDeque::new(),
            traffic: Traffic::new(limits, now),
            opened: now,
            heard: now,
            pinged: None,
            media: None,
            commands: 0,
            skipped: 0,
        }
    }

    /// Takes bytes from the socket and says how many. Fewer than given means: drain the events and come again with
    /// the rest; come again, even with nothing, as long as there were events.
    pub fn handle_input(&mut self, now: Millis, input: &[u8]) -> Result<usize, PlayError> {
        if !input.is_empty() {
            self.heard = self.heard.max(now);
            self.pinged = None;
        }
        let mut used = 0;
        while self.events.len() < EVENTS_MAX {
            let (taken, more) = self.step(&input[used..])?;
            used += taken;
            if !more {
                break;
            }
        }
        self.account(now, used)?;
        Ok(used)
    }

    /// What is due at [`Play::poll_timeout`]. While playing, nobody is dropped who was not asked before.
    pub fn handle_timeout(&mut self, now: Millis) -> Result<(), PlayError> {
        if now < self.poll_timeout() {
            return Ok(());
        }
        let idle_ms = self.limits.idle_ms;
        match (&self.state, self.pinged) {
            (State::Over, _) => Ok(()),
            (State::Playing, _) if self.media.is_some_and(|media| now.since(media) >= idle_ms) => {
                Err(PlayError::NoMedia(idle_ms))
            }
            (State::Playing, None) => {
                self.pinged = Some(now);
                answer::user_control(user_control::PING_REQUEST, now.0 as u32, &mut self.output);
                Ok(())
            }
            (State::Playing, Some(_)) => Err(PlayError::Idle(idle_ms)),
            (_, _) if now.since(self.heard) >= idle_ms => Err(PlayError::Idle(idle_ms)),
            (_, _) => Err(PlayError::PreambleTooSlow(self.limits.preamble_ms)),
        }
    }

    /// When [`Play::handle_timeout`] wants to be called.
    #[must_use]
    pub fn poll_timeout(&self) -> Millis {
        let Limits { idle_ms, ping_ms, preamble_ms, .. } = self.limits;
        let alive = match (&self.state, self.pinged) {
            (State::Playing, None) => self.heard.plus(ping_ms),
            (State::Playing, Some(asked)) => asked.plus(idle_ms.saturating_sub(ping_ms)),
            (_, _) => self.heard.plus(idle_ms).min(self.opened.plus(preamble_ms)),
        };
        self.media.map_or(alive, |media| alive.min(media.plus(idle_ms)))
    }

    pub fn poll_event(&mut self) -> Option<PlayEvent> {
        self.events.pop_front()
    }

    /// Bytes for the server.
    pub fn poll_output(&mut self) -> Option<Bytes> {
        if self.output.is_empty() { None } else { Some(self.output.split().freeze()) }
    }

    /// Messages that were of no use: unknown types, unreadable data messages, broken aggregates.
    #[must_use]
    pub const fn skipped(&self) -> u64 {
        self.skipped
    }

    /// One packet of the handshake or one message: bytes taken, and whether to go on.
    fn step(&mut self, input: &[u8]) -> Result<(usize, bool), PlayError> {
        match &mut self.state {
            State::Handshake(handshake) => {
                let taken = handshake.handle_input(input, &mut self.output).map_err(PlayError::Handshake)?;
                if taken.done {
                    call::connect(&self.request, &mut self.output);
                    self.state = State::Connecting;
                }
                Ok((taken.bytes, taken.bytes > 0))
            }
            State::Over => Ok((input.len(), false)),
            State::Connecting | State::Creating | State::Asking | State::Playing => {
                let (taken, message) = self.reader.handle_input(input).map_err(PlayError::Chunk)?;
                let more = message.is_some();
                if let Some(message) = message {
                    self.handle_message(message)?;
                }
                Ok((taken, more))
            }
        }
    }

    /// Limits and acknowledgements that hang on the number of bytes.
    fn account(&mut self, now: Millis, bytes: usize) -> Result<(), PlayError> {
        if !self.traffic.handle_bytes(now, bytes) {
            return Err(PlayError::TooFast { bits_per_second: self.limits.bits_per_second });
        }
        let began = matches!(self.state, State::Playing | State::Over);
        if !began && self.traffic.received_bytes() > self.limits.preamble_bytes {
            return Err(PlayError::PreambleTooLong(self.limits.preamble_bytes));
        }
        if !matches!(self.state, State::Handshake(_))
            && let Some(received_bytes) = self.traffic.take_acknowledgement()
        {
            answer::acknowledgement(received_bytes, &mut self.output);
        }
        Ok(())
    }

    fn handle_message(&mut self, message: Message) -> Result<(), PlayError> {
        let number =
            |message: &Message| control_number(message).map_err(|_| PlayError::Control(message.type_id));
        match message.type_id {
            message_type::SET_CHUNK_SIZE => {
                self.reader.handle_chunk_size(number(&message)?).map_err(PlayError::Chunk)?;
            }
            message_type::ABORT => self.reader.handle_abort(number(&message)?),
            message_type::WINDOW_ACK_SIZE => self.traffic.handle_window(number(&message)?),
            message_type::ACKNOWLEDGEMENT | message_type::SET_PEER_BANDWIDTH => {}
            message_type::USER_CONTROL => self.handle_user_control(&message.body),
            message_type::AUDIO => self.handle_media(TrackKind::Audio, message.stamp_ms, message.body),
            message_type::VIDEO => self.handle_media(TrackKind::Video, message.stamp_ms, message.body),
            message_type::DATA_AMF0 => self.handle_data(&message.body),
            message_type::DATA_AMF3 => self.handle_data(message.body.get(1..).unwrap_or_default()),
            message_type::COMMAND_AMF0 => self.handle_command(&message.body)?,
            message_type::COMMAND_AMF3 => {
                self.handle_command(message.body.get(1..).unwrap_or_default())?;
            }
            message_type::AGGREGATE => self.handle_aggregate(&message),
            _ => self.skipped += 1,
        }
        Ok(())
    }

    fn handle_user_control(&mut self, body: &[u8]) {
        let Some((&[high, low], rest)) = body.split_first_chunk() else { return };
        match u16::from_be_bytes([high, low]) {
            user_control::PING_REQUEST => {
                if let Some(time) = rest.first_chunk() {
                    let time = u32::from_be_bytes(*time);
                    answer::user_control(user_control::PING_RESPONSE, time, &mut self.output);
                }
            }
            user_control::STREAM_EOF => self.end(),
            _ => {}
        }
    }

    fn handle_media(&mut self, kind: TrackKind, stamp_ms: u32, body: Bytes) {
        // A server that has the stream may send it without saying that it begins.
        if matches!(self.state, State::Asking) {
            self.begin();
        }
        if !matches!(self.state, State::Playing) {
            self.skipped += 1;
        } else if !body.is_empty() {
            // Servers mark the end of a sequence, and silence, by messages without a body.
            self.media = Some(self.heard);
            self.events.push_back(PlayEvent::Tag(Tag { kind, stamp_ms, body }));
        }
    }

    fn handle_data(&mut self, body: &[u8]) {
        let asked = matches!(self.state, State::Asking | State::Playing);
        match metadata::parse(&mut AmfReader::new(body)) {
            Ok(Some(metadata)) if asked => self.events.push_back(PlayEvent::Metadata(metadata)),
            Ok(_) | Err(_) => self.skipped += 1,
        }
    }

    fn handle_aggregate(&mut self, message: &Message) {
        let (tags, broken) = aggregate::split(message);
        self.skipped += u64::from(broken);
        for tag in tags {
            match tag.type_id {
                message_type::AUDIO => self.handle_media(TrackKind::Audio, tag.stamp_ms, tag.body),
                message_type::VIDEO => self.handle_media(TrackKind::Video, tag.stamp_ms, tag.body),
                message_type::DATA_AMF0 => self.handle_data(&tag.body),
                _ => self.skipped += 1,
            }
        }
    }

    fn handle_command(&mut self, body: &[u8]) -> Result<(), PlayError> {
        self.commands += 1;
        if self.commands > self.limits.commands {
            return Err(PlayError::TooManyCommands(self.limits.commands));
        }
        let reply = Reply::parse(&mut AmfReader::new(body)).map_err(PlayError::Command)?;
        match (reply, &self.state) {
            (Reply::Error { code }, _) => return Err(PlayError::Refused(code)),
            (Reply::Result { transaction: call::CONNECT, .. }, State::Connecting) => {
                call::create_stream(ACK_WINDOW_BYTES, &mut self.output);
                self.state = State::Creating;
            }
            (Reply::Result { transaction: call::CREATE_STREAM, number }, State::Creating) => {
                let stream_id = number.and_then(stream_id).ok_or(PlayError::NoStream)?;
                call::play(stream_id, &self.request.stream, &mut self.output);
                self.reader.set_message_bytes_max(self.limits.message_bytes);
                self.state = State::Asking;
            }
            (Reply::Started, State::Asking) => self.begin(),
            (Reply::Ended, State::Asking | State::Playing) => self.end(),
            (Reply::Result { .. } | Reply::Started | Reply::Ended | Reply::Unknown, _) => self.skipped += 1,
        }
        Ok(())
    }

    fn begin(&mut self) {
        self.state = State::Playing;
        self.events.push_back(PlayEvent::Started);
    }

    fn end(&mut self) {
        if matches!(self.state, State::Asking | State::Playing) {
            self.state = State::Over;
            self.events.push_back(PlayEvent::Ended);
        }
    }
}

/// A message stream's id is a number of 32 bits, sent as a double.
fn stream_id(number: f64) -> Option<u32> {
    let whole = number >= 0.0 && number <= f64::from(u32::MAX) && number.fract() == 0.0;
    whole.then_some(number as u32)
}
