//! HTTP/1.1 over pinned TLS to the coordinator: one connection that is used again while it lasts. Every step has a
//! deadline, every answer an upper bound.

use std::io;
use std::time::Duration;

use anyhow::{Context as _, Result};
use bytes::Bytes;
use http::header::{CONNECTION, CONTENT_TYPE, HOST, HeaderValue, UPGRADE};
use http::request::Builder;
use http::{Request, Response};
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::body::Incoming;
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper_util::rt::TokioIo;
use rustls::pki_types::ServerName;
use socket2::SockRef;
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use trust::ticket::{CoordinatorUrl, TlsPin};
use wire::{BODY_BYTES_MAX, Method};

use super::pin;
use crate::by_key;

const CONNECT_MAX: Duration = Duration::from_secs(6);
/// A box that was carried elsewhere notices by this that its connection is dead, and must tell where it is soon.
const ANSWER_MAX: Duration = Duration::from_secs(6);
/// What the kernel takes beyond what is on its way: a datagram for the relay that waits longer is better dropped.
const UNSENT_BYTES_MAX: u32 = 64 << 10;

#[derive(Debug, thiserror::Error)]
pub(crate) enum ChannelError {
    #[error("{0} can't be reached")]
    Unreachable(CoordinatorUrl, #[source] io::Error),
    #[error("the server at {0} has another TLS key than the invite names")]
    WrongPin(CoordinatorUrl),
    #[error("the connection broke off")]
    Broken(#[source] hyper::Error),
    #[error("the answer is longer than any answer, or broke off")]
    Answer,
    #[error("there was no answer in time")]
    Late,
    #[error("the request can't be made")]
    Request(#[source] http::Error),
}

pub(super) struct Channel {
    url: CoordinatorUrl,
    host: String,
    port: u16,
    name: ServerName<'static>,
    connector: TlsConnector,
    open: Option<SendRequest<Full<Bytes>>>,
}

/// An answer whose body is still to come.
pub(super) type Opened = Response<Incoming>;

impl Channel {
    pub(super) fn new(url: CoordinatorUrl, pin: TlsPin) -> Result<Self> {
        let authority = url.as_str().trim_start_matches("https://");
        let (host, port) = match authority.rsplit_once(':') {
            Some((host, port)) if port.bytes().all(|b| b.is_ascii_digit()) => {
                (host, port.parse().context("the coordinator's port")?)
            }
            Some(_) | None => (authority, 443),
        };
        let host = host.trim_matches(['[', ']']).to_owned();
        let name = ServerName::try_from(host.clone()).context("the coordinator's name")?;
        let connector = pin::connector(pin)?;
        Ok(Self { url, host, port, name, connector, open: None })
    }

    /// Asks and reads the whole answer.
    pub(super) async fn ask(
        &mut self,
        method: Method,
        target: &str,
        signature: Option<&str>,
        body: Vec<u8>,
    ) -> Result<(u16, Bytes), ChannelError> {
        let asked = async {
            let answer = self.send(method, target, signature, body).await?;
            let status = answer.status().as_u16();
            let body = Limited::new(answer.into_body(), BODY_BYTES_MAX).collect().await;
            Ok((status, body.map_err(|_| ChannelError::Answer)?.to_bytes()))
        };
        let result = timeout(ANSWER_MAX, asked).await.unwrap_or(Err(ChannelError::Late));
        if result.is_err() {
            self.open = None;
        }
        result
    }

    /// Asks and hands out the answer as it begins.
    pub(super) async fn send(
        &mut self,
        method: Method,
        target: &str,
        signature: Option<&str>,
        body: Vec<u8>,
    ) -> Result<Opened, ChannelError> {
        let mut request = self.request(method, target, signature);
        if !body.is_empty() {
            request = request.header(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        }
        self.exchange(request, body).await
    }

    /// Asks to go on in another protocol.
    pub(super) async fn upgrade(
        &mut self,
        target: &str,
        signature: &str,
        protocol: &'static str,
    ) -> Result<Opened, ChannelError> {
        let request = self.request(Method::Get, target, Some(signature));
        let request = request.header(CONNECTION, "Upgrade").header(UPGRADE, protocol);
        self.exchange(request, Vec::new()).await
    }

    fn request(&self, method: Method, target: &str, signature: Option<&str>) -> Builder {
        let method = match method {
            Method::Get => http::Method::GET,
            Method::Post => http::Method::POST,
            Method::Delete => http::Method::DELETE,
        };
        let authority = self.url.as_str().trim_start_matches("https://");
        let request = Request::builder().method(method).uri(target).header(HOST, authority);
        match signature {
            Some(signature) => request.header(wire::request::HEADER, signature),
            None => request,
        }
    }

    async fn exchange(&mut self, request: Builder, body: Vec<u8>) -> Result<Opened, ChannelError> {
        let request = request.body(Full::new(Bytes::from(body))).map_err(ChannelError::Request)?;
        // One that the coordinator closed meanwhile says so at once.
        let mut open = self.open.take();
        if let Some(again) = &mut open
            && again.ready().await.is_err()
        {
            open = None;
        }
        let mut open = match open {
            Some(open) => open,
            None => self.connect().await?,
        };
        let answer = timeout(ANSWER_MAX, open.send_request(request)).await;
        let answer = answer.map_err(|_| ChannelError::Late)?.map_err(ChannelError::Broken)?;
        self.open = Some(open);
        Ok(answer)
    }

    async fn connect(&self) -> Result<SendRequest<Full<Bytes>>, ChannelError> {
        let unreachable = |error| ChannelError::Unreachable(self.url.clone(), error);
        let late = |_| unreachable(io::ErrorKind::TimedOut.into());
        let stream = timeout(CONNECT_MAX, TcpStream::connect((self.host.as_str(), self.port)));
        let stream = stream.await.map_err(late)?.map_err(unreachable)?;
        stream.set_nodelay(true).map_err(unreachable)?;
        SockRef::from(&stream).set_tcp_notsent_lowat(UNSENT_BYTES_MAX).map_err(unreachable)?;
        let stream = timeout(CONNECT_MAX, self.connector.connect(self.name.clone(), stream));
        let stream = stream.await.map_err(late)?.map_err(|error| {
            if by_key::is_mismatch(&error) {
                ChannelError::WrongPin(self.url.clone())
            } else {
                unreachable(error)
            }
        })?;
        let (sender, connection) = handshake(TokioIo::new(stream)).await.map_err(ChannelError::Broken)?;
        // Ends with its sender.
        tokio::spawn(async move {
            if let Err(error) = connection.with_upgrades().await {
                tracing::trace!(%error, "the coordinator's connection broke off");
            }
        });
        Ok(sender)
    }
}
