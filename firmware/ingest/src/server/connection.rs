//! One publisher's socket, from accept to close: reads, feeds the session, answers, passes on.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::time::{Sleep, sleep, sleep_until, timeout};
use tracing::{debug, info};

use super::gate::{Gate, Waiting};
use super::publishing::Publishing;
use super::socket::Stride;
use crate::flv::Demux;
use crate::session::{Session, SessionError, SessionEvent};
use crate::{CloseReason, ConnectRequest, Event, PublishRequest, Refusal};

/// One read takes at most so much.
const READ_BYTES: usize = 64 << 10;
/// What is read and thrown away while the peer reads the last answer.
const LINGER_BYTES_MAX: usize = 4 << 20;

pub(super) struct Connection {
    id: u64,
    peer: SocketAddr,
    tls: bool,
    gate: Arc<Gate>,
    session: Session,
    demux: Demux,
    app: String,
    publishing: Option<Publishing>,
    events: Vec<Event>,
    stride: Stride,
    waiting: Option<Waiting>,
}

/// What woke the connection.
enum Wake {
    Read(std::io::Result<usize>),
    Timer,
    Revoked(CloseReason),
}

impl Connection {
    pub(super) fn new(
        id: u64,
        peer: SocketAddr,
        tls: bool,
        gate: Arc<Gate>,
        stride: Stride,
        waiting: Waiting,
    ) -> Self {
        Self {
            id,
            peer,
            tls,
            session: Session::new(&gate.limits, gate.now()),
            gate,
            demux: Demux::new(),
            app: String::new(),
            publishing: None,
            events: Vec::new(),
            stride,
            waiting: Some(waiting),
        }
    }

    /// Everything, to the close of the socket.
    pub(super) async fn run<S: AsyncRead + AsyncWrite + Unpin>(mut self, mut socket: S) {
        let mut buffer = vec![0; READ_BYTES];
        let why = self.converse(&mut socket, &mut buffer).await;
        self.end(&mut socket, why).await;
        linger(&mut socket, &mut buffer, self.gate.limits.linger_ms).await;
    }

    /// Reads and answers until there is a reason to end.
    async fn converse<S>(&mut self, socket: &mut S, buffer: &mut [u8]) -> CloseReason
    where
        S: AsyncRead + AsyncWrite + Unpin,
    {
        let mut due = self.session.poll_timeout();
        let timer = sleep_until(self.gate.instant(due));
        tokio::pin!(timer);
        loop {
            let handled = match self.wake(socket, buffer, timer.as_mut()).await {
                Wake::Read(Ok(0)) => Err(CloseReason::Disconnected),
                Wake::Read(Ok(bytes)) => {
                    let handled = self.handle_read(&buffer[..bytes]);
                    self.stride.set(self.publishing.as_ref().and_then(Publishing::stride));
                    handled
                }
                Wake::Read(Err(error)) => {
                    debug!(%error, "read failed");
                    Err(CloseReason::Disconnected)
                }
                Wake::Timer => {
                    self.session.handle_timeout(self.gate.now()).map_err(|error| close_reason(&error))
                }
                Wake::Revoked(why) => Err(why),
            };
            if let Err(why) = handled {
                return why;
            }
            if !self.flush(socket).await {
                return CloseReason::Disconnected;
            }
            // Reading mostly moves the deadline further away: then the timer is re-armed when it fires, not before.
            let next = self.session.poll_timeout();
            if next < due || timer.is_elapsed() {
                due = next;
                timer.as_mut().reset(self.gate.instant(due));
            }
        }
    }

    async fn wake<S: AsyncRead + Unpin>(
        &mut self,
        socket: &mut S,
        buffer: &mut [u8],
        timer: std::pin::Pin<&mut Sleep>,
    ) -> Wake {
        let revoked = async {
            match &mut self.publishing {
                Some(publishing) => publishing.revoked().await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            biased;
            why = revoked => Wake::Revoked(why),
            read = socket.read(buffer) => Wake::Read(read),
            () = timer => Wake::Timer,
        }
    }

    /// Feeds one read to the session and what comes of it to the publication.
    fn handle_read(&mut self, bytes: &[u8]) -> Result<(), CloseReason> {
        let result = self.feed(bytes);
        let accepted = match &mut self.publishing {
            Some(publishing) if !self.events.is_empty() => {
                publishing.accept(&mut self.events).map_err(CloseReason::Refused)
            }
            Some(_) | None => Ok(()),
        };
        self.events.clear();
        result.and(accepted)
    }

    fn feed(&mut self, bytes: &[u8]) -> Result<(), CloseReason> {
        let now = self.gate.now();
        let mut rest = bytes;
        loop {
            let taken = self.session.handle_input(now, rest).map_err(|error| close_reason(&error))?;
            rest = &rest[taken..];
            let mut answered = false;
            while let Some(event) = self.session.poll_event() {
                answered = true;
                self.handle_event(event)?;
            }
            if taken == 0 && !answered {
                return Ok(());
            }
        }
    }

    fn handle_event(&mut self, event: SessionEvent) -> Result<(), CloseReason> {
        match event {
            SessionEvent::Connect { app } => {
                let request = ConnectRequest { peer: self.peer, app: &app, tls: self.tls };
                self.gate.admit(request).map_err(CloseReason::Refused)?;
                self.app = app;
                self.session.handle_accept();
            }
            SessionEvent::Publish { key } => {
                let request = PublishRequest { peer: self.peer, app: &self.app, key: &key, tls: self.tls };
                let publishing = self.gate.open(self.id, request).map_err(CloseReason::Refused)?;
                self.publishing = Some(publishing);
                self.waiting = None;
                self.session.handle_accept();
                info!(tls = self.tls, "publishing");
            }
            SessionEvent::Tag(tag) => {
                self.demux.handle_tag(&tag, &mut self.events).map_err(CloseReason::Refused)?;
            }
            SessionEvent::Metadata(metadata) => self.events.push(Event::Metadata(metadata)),
            SessionEvent::Finished => return Err(CloseReason::Finished),
        }
        Ok(())
    }

    /// Tells all sides why it is over.
    async fn end<S: AsyncWrite + Unpin>(&mut self, socket: &mut S, why: CloseReason) {
        if let Some(mut publishing) = self.publishing.take() {
            let skipped = self.session.skipped() + self.demux.skipped();
            info!(?why, skipped, "publication ended");
            publishing.close(why.clone());
        }
        let refusal = match why {
            CloseReason::Refused(refusal) => {
                debug!(reason = %refusal, "refused");
                self.gate.desk.refused(self.peer, &refusal);
                if refusal.is_wrong_attempt() {
                    sleep(Duration::from_millis(self.gate.limits.refusal_ms)).await;
                }
                Some(refusal)
            }
            CloseReason::TakenOver => Some(Refusal::TakenOver),
            CloseReason::ShuttingDown => Some(Refusal::ShuttingDown),
            CloseReason::Finished | CloseReason::Disconnected | CloseReason::Idle => None,
        };
        if let Some(refusal) = refusal {
            self.session.handle_refusal(&refusal);
        }
        self.flush(socket).await;
        let _ = timeout(Duration::from_millis(self.gate.limits.write_ms), socket.shutdown()).await;
    }

    /// False if the peer does not take it.
    async fn flush<S: AsyncWrite + Unpin>(&mut self, socket: &mut S) -> bool {
        let Some(output) = self.session.poll_output() else { return true };
        let write = async {
            socket.write_all(&output).await?;
            socket.flush().await
        };
        match timeout(Duration::from_millis(self.gate.limits.write_ms), write).await {
            Ok(Ok(())) => true,
            Ok(Err(error)) => {
                debug!(%error, "write failed");
                false
            }
            Err(_) => {
                debug!("the peer does not read");
                false
            }
        }
    }
}

fn close_reason(error: &SessionError) -> CloseReason {
    match error {
        SessionError::Idle(_) => CloseReason::Idle,
        other => CloseReason::Refused(Refusal::from(other)),
    }
}

/// Reads on until the peer closes: a socket closed with bytes unread is reset, and the peer would lose the answer
/// that tells it why.
async fn linger<S: AsyncRead + Unpin>(socket: &mut S, buffer: &mut [u8], linger_ms: u64) {
    let drain = async {
        let mut drained = 0;
        while drained < LINGER_BYTES_MAX {
            match socket.read(buffer).await {
                Ok(0) | Err(_) => break,
                Ok(bytes) => drained += bytes,
            }
        }
    };
    let _ = timeout(Duration::from_millis(linger_ms), drain).await;
}
