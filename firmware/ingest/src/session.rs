//! One publisher's RTMP connection as a state machine: bytes in, events and bytes out.
//!
//! ```text
//!             C0 C1 C2            connect                 handle_accept
//! Handshake ----------> Greeting ---------> ConnectAsked ---------------> Connected
//!                                                                             | publish
//!                                                         handle_accept       v
//!                                            Publishing <--------------- PublishAsked
//!                     goodbye |
//!                             v
//!    any -- handle_refusal -> Finished: the rest of the input is dropped
//! ```
//!
//! It opens no socket, reads no clock and decides nothing: at `connect` and `publish` it stops taking input until
//! it is told yes or no. After each call drain [`Session::poll_event`] and [`Session::poll_output`]. It serves no
//! players and takes one publication per connection. RTMP means Adobe's RTMP 1.0 of 2012 and Enhanced RTMP v2.

use std::collections::VecDeque;
use std::fmt;

use bytes::{Bytes, BytesMut};
use stream::{Millis, TrackKind};

use self::amf::AmfReader;
use self::command::Command;
use self::handshake::Handshake;
use self::traffic::{ACK_WINDOW_BYTES, Traffic};
use crate::flv::Tag;
use crate::{Limits, Refusal};

mod aggregate;
pub(crate) mod amf;
mod answer;
pub mod chunk;
mod command;
mod error;
mod event;
mod handshake;
pub mod message_type;
mod metadata;
mod pace;
mod play;
#[cfg(test)]
mod tests;
mod traffic;
mod user_control;
mod writer;

pub use amf::AmfError;
pub use chunk::{ChunkError, ChunkReader, Message};
pub use error::SessionError;
pub use event::SessionEvent;
pub use handshake::HandshakeError;
pub use play::{Play, PlayError, PlayEvent, PlayRequest};

/// Events that may wait to be polled; then no more input is taken.
const EVENTS_MAX: usize = 256;

#[derive(Debug)]
enum State {
    Handshake(Handshake),
    Greeting,
    ConnectAsked { transaction: f64, enhanced: bool },
    Connected,
    PublishAsked { stream_id: u32 },
    Publishing { stream_id: u32 },
    Finished,
}

pub struct Session {
    limits: Limits,
    state: State,
    reader: ChunkReader,
    output: BytesMut,
    events: VecDeque<SessionEvent>,
    traffic: Traffic,
    opened: Millis,
    heard: Millis,
    /// When the silent peer was asked for a sign of life.
    pinged: Option<Millis>,
    commands: u32,
    skipped: u64,
}

impl fmt::Debug for Session {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Session")
            .field("state", &self.state)
            .field("received_bytes", &self.traffic.received_bytes())
            .finish_non_exhaustive()
    }
}

impl Session {
    #[must_use]
    pub fn new(limits: &Limits, now: Millis) -> Self {
        Self {
            limits: *limits,
            state: State::Handshake(Handshake::new()),
            reader: ChunkReader::new(limits.command_bytes, limits.chunk_bytes, limits.chunk_streams),
            output: BytesMut::new(),
            events: VecDeque::new(),
            traffic: Traffic::new(limits, now),
            opened: now,
            heard: now,
            pinged: None,
            commands: 0,
            skipped: 0,
        }
    }

    /// Takes bytes from the socket and says how many. Fewer than given means: drain the events, answer what was
    /// asked, and come again with the rest; come again, even with nothing, as long as there were events.
    pub fn handle_input(&mut self, now: Millis, input: &[u8]) -> Result<usize, SessionError> {
        let mut used = 0;
        while self.takes_input() {
            let (taken, more) = self.step(&input[used..])?;
            used += taken;
            if !more {
                break;
            }
        }
        self.account(now, used)?;
        Ok(used)
    }

    /// Yes to the connect or publish that was asked for.
    pub fn handle_accept(&mut self) {
        match self.state {
            State::ConnectAsked { transaction, enhanced } => {
                answer::connect_accepted(transaction, enhanced, ACK_WINDOW_BYTES, &mut self.output);
                self.state = State::Connected;
            }
            State::PublishAsked { stream_id } => {
                answer::publish_accepted(stream_id, &mut self.output);
                self.reader.set_message_bytes_max(self.limits.message_bytes);
                self.state = State::Publishing { stream_id };
            }
            State::Handshake(_)
            | State::Greeting
            | State::Connected
            | State::Publishing { .. }
            | State::Finished => {}
        }
    }

    /// Sends the peer away, at whatever point: tells it why as far as the protocol has a place for it there.
    pub fn handle_refusal(&mut self, refusal: &Refusal) {
        match self.state {
            State::ConnectAsked { transaction, .. } => {
                answer::connect_refused(transaction, refusal, &mut self.output);
            }
            State::Connected => answer::stream_refused(0, refusal, &mut self.output),
            State::PublishAsked { stream_id } | State::Publishing { stream_id } => {
                answer::stream_refused(stream_id, refusal, &mut self.output);
            }
            State::Handshake(_) | State::Greeting | State::Finished => {}
        }
        self.events.clear();
        self.state = State::Finished;
    }

    /// What is due at [`Session::poll_timeout`]. While publishing, nobody is dropped who was not asked before.
    pub fn handle_timeout(&mut self, now: Millis) -> Result<(), SessionError> {
        if now < self.poll_timeout() {
            return Ok(());
        }
        match (&self.state, self.pinged) {
            (State::Publishing { .. }, None) => {
                self.pinged = Some(now);
                answer::user_control(user_control::PING_REQUEST, now.0 as u32, &mut self.output);
                Ok(())
            }
            (State::Publishing { .. }, Some(_)) => Err(SessionError::Idle(self.limits.idle_ms)),
            (_, _) if now.since(self.heard) >= self.limits.idle_ms => {
                Err(SessionError::Idle(self.limits.idle_ms))
            }
            (_, _) => Err(SessionError::PreambleTooSlow(self.limits.preamble_ms)),
        }
    }

    /// When [`Session::handle_timeout`] wants to be called.
    #[must_use]
    pub fn poll_timeout(&self) -> Millis {
        let Limits { idle_ms, ping_ms, preamble_ms, .. } = self.limits;
        match (&self.state, self.pinged) {
            (State::Publishing { .. }, None) => self.heard.plus(ping_ms),
            (State::Publishing { .. }, Some(asked)) => asked.plus(idle_ms.saturating_sub(ping_ms)),
            (_, _) => self.heard.plus(idle_ms).min(self.opened.plus(preamble_ms)),
        }
    }

    pub fn poll_event(&mut self) -> Option<SessionEvent> {
        self.events.pop_front()
    }

    /// Bytes for the peer.
    pub fn poll_output(&mut self) -> Option<Bytes> {
        if self.output.is_empty() { None } else { Some(self.output.split().freeze()) }
    }

    /// Messages that were of no use: unknown types, unreadable data messages, broken aggregates.
    #[must_use]
    pub const fn skipped(&self) -> u64 {
        self.skipped
    }

    fn takes_input(&self) -> bool {
        let asking = matches!(self.state, State::ConnectAsked { .. } | State::PublishAsked { .. });
        !asking && self.events.len() < EVENTS_MAX
    }

    /// One packet of the handshake or one message: bytes taken, and whether to go on.
    fn step(&mut self, input: &[u8]) -> Result<(usize, bool), SessionError> {
        match &mut self.state {
            State::Handshake(handshake) => {
                let taken =
                    handshake.handle_input(input, &mut self.output).map_err(SessionError::Handshake)?;
                if taken.done {
                    self.state = State::Greeting;
                }
                Ok((taken.bytes, taken.bytes > 0))
            }
            State::Finished => Ok((input.len(), false)),
            State::Greeting
            | State::ConnectAsked { .. }
            | State::Connected
            | State::PublishAsked { .. }
            | State::Publishing { .. } => {
                let (taken, message) = self.reader.handle_input(input).map_err(SessionError::Chunk)?;
                let more = message.is_some();
                if let Some(message) = message {
                    self.handle_message(message)?;
                }
                Ok((taken, more))
            }
        }
    }

    /// Limits and acknowledgements that hang on the number of bytes.
    fn account(&mut self, now: Millis, bytes: usize) -> Result<(), SessionError> {
        if bytes > 0 {
            self.heard = self.heard.max(now);
            self.pinged = None;
        }
        if !self.traffic.handle_bytes(now, bytes) {
            return Err(SessionError::TooFast { bits_per_second: self.limits.bits_per_second });
        }
        let publishing = matches!(self.state, State::Publishing { .. } | State::Finished);
        if !publishing && self.traffic.received_bytes() > self.limits.preamble_bytes {
            return Err(SessionError::PreambleTooLong(self.limits.preamble_bytes));
        }
        if !matches!(self.state, State::Handshake(_))
            && let Some(received_bytes) = self.traffic.take_acknowledgement()
        {
            answer::acknowledgement(received_bytes, &mut self.output);
        }
        Ok(())
    }

    fn handle_message(&mut self, message: Message) -> Result<(), SessionError> {
        match message.type_id {
            message_type::SET_CHUNK_SIZE => {
                self.reader.handle_chunk_size(control_number(&message)?).map_err(SessionError::Chunk)?;
            }
            message_type::ABORT => self.reader.handle_abort(control_number(&message)?),
            message_type::WINDOW_ACK_SIZE => self.traffic.handle_window(control_number(&message)?),
            message_type::ACKNOWLEDGEMENT | message_type::SET_PEER_BANDWIDTH => {}
            message_type::USER_CONTROL => self.handle_user_control(&message.body),
            message_type::AUDIO => self.handle_media(TrackKind::Audio, message.stamp_ms, message.body),
            message_type::VIDEO => self.handle_media(TrackKind::Video, message.stamp_ms, message.body),
            message_type::DATA_AMF0 => self.handle_data(&message.body),
            message_type::DATA_AMF3 => self.handle_data(message.body.get(1..).unwrap_or_default()),
            message_type::COMMAND_AMF0 => self.handle_command(message.stream_id, &message.body)?,
            // One byte says that AMF0 follows, which even clients of object encoding 3 send.
            message_type::COMMAND_AMF3 => {
                self.handle_command(message.stream_id, message.body.get(1..).unwrap_or_default())?;
            }
            message_type::AGGREGATE => self.handle_aggregate(&message),
            _ => self.skipped += 1,
        }
        Ok(())
    }

    /// Only a ping is answered; stream events and buffer lengths concern players.
    fn handle_user_control(&mut self, body: &[u8]) {
        if let Some((&[high, low], rest)) = body.split_first_chunk()
            && u16::from_be_bytes([high, low]) == user_control::PING_REQUEST
            && let Some(time) = rest.first_chunk()
        {
            answer::user_control(user_control::PING_RESPONSE, u32::from_be_bytes(*time), &mut self.output);
        }
    }

    fn handle_media(&mut self, kind: TrackKind, stamp_ms: u32, body: Bytes) {
        if matches!(self.state, State::Publishing { .. }) {
            self.events.push_back(SessionEvent::Tag(Tag { kind, stamp_ms, body }));
        } else {
            self.skipped += 1;
        }
    }

    fn handle_data(&mut self, body: &[u8]) {
        let publishing = matches!(self.state, State::Publishing { .. });
        match metadata::parse(&mut AmfReader::new(body)) {
            Ok(Some(metadata)) if publishing => self.events.push_back(SessionEvent::Metadata(metadata)),
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

    fn handle_command(&mut self, stream_id: u32, body: &[u8]) -> Result<(), SessionError> {
        self.commands += 1;
        if self.commands > self.limits.commands {
            return Err(SessionError::TooManyCommands(self.limits.commands));
        }
        let command = Command::parse(&mut AmfReader::new(body)).map_err(SessionError::Command)?;
        match (command, &self.state) {
            (Command::Connect { transaction, app, enhanced }, State::Greeting) => {
                self.state = State::ConnectAsked { transaction, enhanced };
                self.events.push_back(SessionEvent::Connect { app });
            }
            (Command::Connect { .. }, _) => return Err(SessionError::OutOfPlace("connect")),
            (_, State::Greeting) => return Err(SessionError::OutOfPlace("a command before connect")),
            (Command::CreateStream { transaction }, _) => {
                answer::create_stream(transaction, &mut self.output);
            }
            (Command::ReleaseStream { transaction }, _) => answer::done(transaction, &mut self.output),
            (Command::FcPublish { transaction }, _) => answer::fc_publish(transaction, &mut self.output),
            (Command::Publish { key }, State::Connected) => {
                self.state = State::PublishAsked { stream_id };
                self.events.push_back(SessionEvent::Publish { key });
            }
            (Command::Publish { .. }, _) => return Err(SessionError::OutOfPlace("publish")),
            (Command::Play, _) => return Err(SessionError::Play),
            (Command::Goodbye { unpublish }, State::Publishing { .. }) => {
                if unpublish {
                    answer::fc_unpublish(&mut self.output);
                }
                self.state = State::Finished;
                self.events.push_back(SessionEvent::Finished);
            }
            // An encoder that tidies up a stream of its last life before it publishes.
            (Command::Goodbye { .. }, _) => {}
            (Command::Unknown, _) => self.skipped += 1,
        }
        Ok(())
    }
}

/// The 32 bits that are the whole body of most control messages.
fn control_number(message: &Message) -> Result<u32, SessionError> {
    let bytes = message.body.first_chunk().ok_or(SessionError::Control(message.type_id))?;
    Ok(u32::from_be_bytes(*bytes))
}
