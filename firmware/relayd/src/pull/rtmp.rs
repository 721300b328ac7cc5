//! One connection to an RTMP server: reads, feeds the session, answers, passes on. Decides nothing about when to try again.

use std::error::Error;
use std::fmt::Display;
use std::sync::Arc;
use std::time::Duration;

use ingest::Event;
use ingest::flv::Demux;
use ingest::session::{Play, PlayEvent, PlayRequest};
use rustls::pki_types::ServerName;
use stream::Millis;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::{Instant, sleep_until, timeout};
use tokio_rustls::TlsConnector;

use super::Pulled;
use super::supply::{End, Supply};
use super::wanted::Source;

/// From a name to a connection, TLS included.
const CONNECT_MAX: Duration = Duration::from_secs(10);
/// One read takes at most so much.
const READ_BYTES: usize = 64 << 10;

/// To the end of the connection.
pub(super) async fn pull(
    pulled: &Pulled,
    source: &Source,
    request: &PlayRequest,
    supply: &mut Supply,
) -> End {
    let opened = Instant::now();
    let play = Play::new(request.clone(), &pulled.limits, Millis(0));
    let write_max = Duration::from_millis(pulled.limits.write_ms);
    let talk = Talk { play, demux: Demux::new(), events: Vec::new(), supply, opened, write_max };
    let connecting = async {
        let socket = TcpStream::connect((source.host.as_str(), source.port))
            .await
            .map_err(|error| failed("no connection", &error))?;
        if let Err(error) = socket.set_nodelay(true) {
            tracing::debug!(%error, "TCP_NODELAY can't be set");
        }
        Ok::<_, End>(socket)
    };
    let secured = async {
        let socket = connecting.await?;
        if !source.tls {
            return Ok((Some(socket), None));
        }
        let name = ServerName::try_from(source.host.clone()).map_err(|error| failed("TLS", &error))?;
        let connector = TlsConnector::from(Arc::clone(&pulled.trust));
        let socket = connector.connect(name, socket).await.map_err(|error| failed("TLS", &error))?;
        Ok((None, Some(socket)))
    };
    match timeout(CONNECT_MAX, secured).await {
        Ok(Ok((Some(socket), _))) => talk.run(socket).await,
        Ok(Ok((None, Some(socket)))) => Box::pin(talk.run(socket)).await,
        Ok(Ok((None, None))) => End::Over,
        Ok(Err(end)) => end,
        Err(_) => End::Failed(format!("no connection within {} s", CONNECT_MAX.as_secs())),
    }
}

struct Talk<'a> {
    play: Play,
    demux: Demux,
    events: Vec<Event>,
    supply: &'a mut Supply,
    opened: Instant,
    write_max: Duration,
}

impl Talk<'_> {
    async fn run<S: AsyncRead + AsyncWrite + Unpin>(mut self, mut socket: S) -> End {
        let mut buffer = vec![0; READ_BYTES];
        loop {
            if let Err(end) = self.flush(&mut socket).await {
                return end;
            }
            let due = self.opened + Duration::from_millis(self.play.poll_timeout().0);
            let handled = tokio::select! {
                biased;
                end = self.supply.revoked() => return end,
                read = socket.read(&mut buffer) => match read {
                    // In the middle of a stream it is how most servers say that it is over.
                    Ok(0) if self.supply.is_running() => Err(End::Over),
                    Ok(0) => Err(End::Failed("the server closes the connection".to_owned())),
                    Ok(bytes) => self.handle_read(&buffer[..bytes]),
                    Err(error) => Err(failed("the connection broke", &error)),
                },
                () = sleep_until(due) => {
                    self.play.handle_timeout(self.now()).map_err(|error| End::Failed(with_sources(&error)))
                }
            };
            if let Err(end) = handled {
                return end;
            }
        }
    }

    fn now(&self) -> Millis {
        Millis(u64::try_from(self.opened.elapsed().as_millis()).unwrap_or(u64::MAX))
    }

    /// Feeds one read to the session, and what comes of it to the publication, also if it ends with it.
    fn handle_read(&mut self, bytes: &[u8]) -> Result<(), End> {
        let fed = self.feed(bytes);
        let accepted = if self.events.is_empty() { Ok(()) } else { self.supply.accept(&mut self.events) };
        self.events.clear();
        accepted.and(fed)
    }

    fn feed(&mut self, bytes: &[u8]) -> Result<(), End> {
        let now = self.now();
        let mut rest = bytes;
        loop {
            let taken =
                self.play.handle_input(now, rest).map_err(|error| End::Failed(with_sources(&error)))?;
            rest = &rest[taken..];
            let mut any = false;
            while let Some(event) = self.play.poll_event() {
                any = true;
                self.handle_event(event)?;
            }
            if taken == 0 && !any {
                return Ok(());
            }
        }
    }

    fn handle_event(&mut self, event: PlayEvent) -> Result<(), End> {
        match event {
            PlayEvent::Started => self.supply.wait(),
            PlayEvent::Tag(tag) => self
                .demux
                .handle_tag(&tag, &mut self.events)
                .map_err(|refusal| End::Failed(refusal.to_string()))?,
            PlayEvent::Metadata(metadata) => self.events.push(Event::Metadata(metadata)),
            PlayEvent::Ended => return Err(End::Over),
        }
        Ok(())
    }

    async fn flush<S: AsyncWrite + Unpin>(&mut self, socket: &mut S) -> Result<(), End> {
        let Some(output) = self.play.poll_output() else { return Ok(()) };
        let write = async {
            socket.write_all(&output).await?;
            socket.flush().await
        };
        match timeout(self.write_max, write).await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(error)) => Err(failed("the connection broke", &error)),
            Err(_) => Err(End::Failed("the server does not read".to_owned())),
        }
    }
}

fn failed(what: &str, error: &dyn Display) -> End {
    End::Failed(format!("{what}: {error}"))
}

/// An error and its causes on one line.
fn with_sources(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text = format!("{text}: {cause}");
        source = cause.source();
    }
    text
}
