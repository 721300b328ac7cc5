//! Questions to the coordinator, signed by the box, and its answers or problems. Refuses to believe an answer that
//! has to be signed and is not.

use std::fmt;
use std::time::Instant;

use anyhow::Result;
use http::StatusCode;
use http_body_util::{BodyExt as _, Limited};
use hyper::upgrade::Upgraded;
use serde::Serialize;
use serde::de::DeserializeOwned;
use trust::clock::{Answer, ClockError, Nonce};
use trust::ticket::{CoordinatorUrl, TlsPin};
use trust::{BoxSecret, Digest, MeshId, Revocations, RootKey, Signed};
use wire::request::RequestNonce;
use wire::updates::{TimeRequest, TimeResponse};
use wire::{BoxRequest, Code, Method, Problem, Text, path};

use super::channel::{Channel, ChannelError, Opened};
use super::hour::Hour;
use super::keys::random;

const PROBLEM_BYTES_MAX: usize = 4096;

/// A question was not answered as asked.
#[derive(Debug, thiserror::Error)]
pub(crate) enum AskError {
    #[error("the coordinator can't be asked")]
    Channel(#[source] ChannelError),
    #[error("{}", Told(.0))]
    Problem(Box<Problem>),
    #[error("the coordinator's answer can't be read")]
    Unreadable(#[source] serde_json::Error),
    #[error("the coordinator answered with status {0}")]
    Status(u16),
    #[error("the coordinator's time is not to be followed")]
    Clock(#[source] ClockError),
    #[error("the question can't be signed")]
    Sign,
}

struct Told<'a>(&'a Problem);

impl fmt::Display for Told<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Problem { title, detail, .. } = self.0;
        if detail.is_empty() { f.write_str(title) } else { write!(f, "{title}: {detail}") }
    }
}

impl AskError {
    /// Nothing was heard of the coordinator.
    pub(crate) const fn is_silence(&self) -> bool {
        matches!(
            self,
            Self::Channel(ChannelError::Unreachable(..) | ChannelError::Late | ChannelError::Broken(_))
        )
    }

    pub(crate) fn code(&self) -> Code {
        match self {
            Self::Channel(ChannelError::WrongPin(_)) => Code::WrongPin,
            Self::Channel(_) => Code::TryAgain,
            Self::Problem(problem) => problem.code,
            Self::Clock(error) => Code::from(error),
            Self::Unreadable(_) | Self::Status(_) | Self::Sign => Code::Other,
        }
    }

    /// In words, by the coordinator where it said something.
    pub(crate) fn what_to_do(&self) -> String {
        match self {
            _ if self.is_silence() => {
                "Check this box's connection, and ask whoever runs the mesh whether the coordinator is up. The invite \
                 was not used: try again."
                    .to_owned()
            }
            Self::Problem(problem) => problem.what_to_do.to_string(),
            Self::Channel(_) | Self::Unreadable(_) | Self::Status(_) | Self::Clock(_) | Self::Sign => {
                self.code().what_to_do().to_owned()
            }
        }
    }
}

/// Who asks whom.
pub(crate) struct Desk {
    channel: Channel,
    identity: BoxSecret,
    mesh: MeshId,
    hour: Hour,
}

impl Desk {
    pub(crate) fn new(
        url: CoordinatorUrl,
        pin: TlsPin,
        identity: BoxSecret,
        mesh: MeshId,
        hour: Hour,
    ) -> Result<Self> {
        Ok(Self { channel: Channel::new(url, pin)?, identity, mesh, hour })
    }

    pub(crate) fn hour(&self) -> &Hour {
        &self.hour
    }

    /// Asks for the time, and follows it. True if the clock was off.
    pub(crate) async fn time(&mut self, root: &RootKey, revocations: &Revocations) -> Result<bool, AskError> {
        follow(&mut self.channel, &self.hour, root, revocations).await
    }

    pub(crate) async fn post<T: DeserializeOwned>(
        &mut self,
        path: &str,
        question: &impl Serialize,
    ) -> Result<T, AskError> {
        let (status, body) = self.signed(Method::Post, path, question).await?;
        read(status, &body)
    }

    /// For questions whose answer is that it was done.
    pub(crate) async fn tell(&mut self, path: &str, news: &impl Serialize) -> Result<(), AskError> {
        let (status, body) = self.signed(Method::Post, path, news).await?;
        if status == 204 { Ok(()) } else { read::<serde_json::Value>(status, &body).map(drop) }
    }

    pub(crate) async fn get<T: DeserializeOwned>(&mut self, target: &str) -> Result<T, AskError> {
        let signature = self.sign(Method::Get, target, &[])?;
        let asked = self.channel.ask(Method::Get, target, Some(&signature), Vec::new()).await;
        let (status, body) = asked.map_err(AskError::Channel)?;
        read(status, &body)
    }

    /// A connection that goes on in another protocol.
    pub(super) async fn upgrade(
        &mut self,
        target: &str,
        protocol: &'static str,
    ) -> Result<Upgraded, AskError> {
        let signature = self.sign(Method::Get, target, &[])?;
        let sent = self.channel.upgrade(target, &signature, protocol).await;
        let opened = sent.map_err(AskError::Channel)?;
        if opened.status() != StatusCode::SWITCHING_PROTOCOLS {
            return Err(refusal(opened).await);
        }
        hyper::upgrade::on(opened).await.map_err(|error| AskError::Channel(ChannelError::Broken(error)))
    }

    /// An answer that goes on.
    pub(super) async fn open(&mut self, target: &str) -> Result<Opened, AskError> {
        let signature = self.sign(Method::Get, target, &[])?;
        let sent = self.channel.send(Method::Get, target, Some(&signature), Vec::new()).await;
        let opened = sent.map_err(AskError::Channel)?;
        if opened.status() == StatusCode::OK { Ok(opened) } else { Err(refusal(opened).await) }
    }

    async fn signed(
        &mut self,
        method: Method,
        path: &str,
        content: &impl Serialize,
    ) -> Result<(u16, bytes::Bytes), AskError> {
        let body = serde_json::to_vec(content).map_err(AskError::Unreadable)?;
        let signature = self.sign(method, path, &body)?;
        self.channel.ask(method, path, Some(&signature), body).await.map_err(AskError::Channel)
    }

    fn sign(&self, method: Method, target: &str, body: &[u8]) -> Result<String, AskError> {
        let request = BoxRequest {
            mesh: self.mesh,
            key: self.identity.public(),
            method,
            target: target.parse::<Text<_>>().map_err(|_| AskError::Sign)?,
            body: Digest::of(body),
            time: self.hour.now(),
            nonce: RequestNonce(random().map_err(|_| AskError::Sign)?),
        };
        Signed::sign(request, &self.identity).map(|signed| signed.to_string()).map_err(|_| AskError::Sign)
    }
}

/// Asks for the time alone, which anybody may.
pub(crate) struct TimeDesk(Channel);

impl TimeDesk {
    pub(crate) fn new(url: CoordinatorUrl, pin: TlsPin) -> Result<Self> {
        Channel::new(url, pin).map(Self)
    }

    /// As [`Desk::time`].
    pub(crate) async fn follow(
        &mut self,
        hour: &Hour,
        root: &RootKey,
        revocations: &Revocations,
    ) -> Result<bool, AskError> {
        follow(&mut self.0, hour, root, revocations).await
    }
}

async fn follow(
    channel: &mut Channel,
    hour: &Hour,
    root: &RootKey,
    revocations: &Revocations,
) -> Result<bool, AskError> {
    let nonce = Nonce(random().map_err(|_| AskError::Sign)?);
    let body = serde_json::to_vec(&TimeRequest { nonce }).map_err(AskError::Unreadable)?;
    let asked = Instant::now();
    let answer = channel.ask(Method::Post, path::TIME, None, body).await;
    let round_trip = asked.elapsed();
    let (status, body) = answer.map_err(AskError::Channel)?;
    let answer: TimeResponse = read(status, &body)?;
    let answer = Answer { certificate: &answer.certificate, time: &answer.time, round_trip };
    hour.follow(&answer, &nonce, root, revocations).map_err(AskError::Clock)
}

/// Why the answer is not what was asked for.
async fn refusal(opened: Opened) -> AskError {
    let status = opened.status().as_u16();
    match Limited::new(opened.into_body(), PROBLEM_BYTES_MAX).collect().await {
        Ok(body) => {
            read::<serde_json::Value>(status, &body.to_bytes()).err().unwrap_or(AskError::Status(status))
        }
        Err(_) => AskError::Status(status),
    }
}

fn read<T: DeserializeOwned>(status: u16, body: &[u8]) -> Result<T, AskError> {
    if status < 400 {
        return serde_json::from_slice(body).map_err(AskError::Unreadable);
    }
    match serde_json::from_slice::<Problem>(body) {
        Ok(problem) => Err(AskError::Problem(Box::new(problem))),
        Err(_) => Err(AskError::Status(status)),
    }
}
