//! One connection to another box: bytes both ways for as long as that box is a peer. Refuses to outlive that.

use std::collections::BTreeMap;
use std::fmt;
use std::future::Future;
use std::io;
use std::net::IpAddr;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use socket2::{SockRef, TcpKeepalive};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::sync::watch;
use tokio_rustls::TlsStream;
use trust::BoxKey;

use super::Neighbourhood;
use super::meter::Meter;

/// Connections that one box may have open here: a relay's, a few that end, and a few that begin.
pub(super) const PER_BOX_MAX: usize = 32;

/// A box that is gone without a word is noticed after 15 s of silence and three questions.
const KEEPALIVE: TcpKeepalive = TcpKeepalive::new()
    .with_time(Duration::from_secs(15))
    .with_interval(Duration::from_secs(5))
    .with_retries(3);
/// How long what was sent may stay unanswered (`TCP_USER_TIMEOUT`, tcp(7)). Whoever is silent for so long has been given up
/// by who takes a stream from it, and who was given one has to make room for others.
const UNANSWERED_MAX: Duration = Duration::from_secs(1);
/// What may wait in the kernel unsent (`TCP_NOTSENT_LOWAT`, tcp(7)): nothing goes before it any more, and where the other
/// box is gone, it was for nothing.
const UNSENT_MAX: u32 = 32 << 10;

/// Small messages go out at once, and what is dead ends.
pub(super) fn settle(tcp: &TcpStream) -> io::Result<()> {
    tcp.set_nodelay(true)?;
    let socket = SockRef::from(tcp);
    socket.set_tcp_keepalive(&KEEPALIVE)?;
    socket.set_tcp_notsent_lowat(UNSENT_MAX)?;
    socket.set_tcp_user_timeout(Some(UNANSWERED_MAX))
}

/// How many connections each box has open here.
#[derive(Clone, Debug, Default)]
pub(super) struct Seats(Arc<Mutex<BTreeMap<BoxKey, usize>>>);

/// One of a box's connections.
#[derive(Debug)]
pub(super) struct Seat {
    seats: Seats,
    key: BoxKey,
}

impl Seats {
    /// None when the box has [`PER_BOX_MAX`].
    pub(super) fn take(&self, key: BoxKey) -> Option<Seat> {
        let mut seats = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let taken = seats.entry(key).or_default();
        if *taken >= PER_BOX_MAX {
            return None;
        }
        *taken += 1;
        Some(Seat { seats: self.clone(), key })
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        let mut seats = self.seats.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(taken) = seats.get_mut(&self.key) {
            *taken -= 1;
            if *taken == 0 {
                seats.remove(&self.key);
            }
        }
    }
}

/// What carries the bytes.
trait Line: AsyncRead + AsyncWrite + Unpin + Send {}
impl<T: AsyncRead + AsyncWrite + Unpin + Send> Line for T {}

/// A connection to a box whose key is known.
pub(crate) struct Stream {
    line: Box<dyn Line>,
    key: BoxKey,
    /// Ends when the box is no peer any more.
    gone: Pin<Box<dyn Future<Output = ()> + Send>>,
    is_gone: bool,
    meter: Arc<Meter>,
    _seat: Option<Seat>,
}

impl Stream {
    /// `ip` is the other side's, which proves who it is for as long as the box has it.
    pub(super) fn plain(
        tcp: TcpStream,
        key: BoxKey,
        ip: IpAddr,
        neighbourhood: watch::Receiver<Neighbourhood>,
        meter: Arc<Meter>,
        seat: Option<Seat>,
    ) -> Self {
        let has_it = move |now: &Neighbourhood| {
            now.boxes.get(&key).is_some_and(|there| there.places.iter().any(|place| place.ip() == ip))
        };
        Self::open(Box::new(tcp), key, neighbourhood, has_it, (meter, seat))
    }

    /// The other side has shown its certificate.
    pub(super) fn sealed(
        tls: TlsStream<TcpStream>,
        key: BoxKey,
        neighbourhood: watch::Receiver<Neighbourhood>,
        meter: Arc<Meter>,
        seat: Option<Seat>,
    ) -> Self {
        let is_peer = move |now: &Neighbourhood| now.boxes.contains_key(&key);
        Self::open(Box::new(tls), key, neighbourhood, is_peer, (meter, seat))
    }

    fn open(
        line: Box<dyn Line>,
        key: BoxKey,
        mut neighbourhood: watch::Receiver<Neighbourhood>,
        is_peer: impl Fn(&Neighbourhood) -> bool + Send + Sync + 'static,
        (meter, seat): (Arc<Meter>, Option<Seat>),
    ) -> Self {
        let gone = async move {
            // An error says that there is no network any more.
            let _ = neighbourhood.wait_for(|now| !is_peer(now)).await;
        };
        Self { line, key, gone: Box::pin(gone), is_gone: false, meter, _seat: seat }
    }

    /// Whose box is at the other end.
    pub(crate) fn key(&self) -> &BoxKey {
        &self.key
    }

    fn count(&self, written: &Poll<io::Result<usize>>) {
        if let Poll::Ready(Ok(bytes)) = written {
            self.meter.sent(*bytes);
        }
    }

    fn ensure_peer(&mut self, context: &mut Context<'_>) -> io::Result<()> {
        self.is_gone = self.is_gone || self.gone.as_mut().poll(context).is_ready();
        if self.is_gone {
            return Err(io::Error::new(io::ErrorKind::ConnectionAborted, "the box is no peer any more"));
        }
        Ok(())
    }
}

impl AsyncRead for Stream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        self.ensure_peer(context)?;
        let before = buffer.filled().len();
        let read = Pin::new(&mut self.line).poll_read(context, buffer);
        self.meter.received(buffer.filled().len() - before);
        read
    }
}

impl AsyncWrite for Stream {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.ensure_peer(context)?;
        let written = Pin::new(&mut self.line).poll_write(context, bytes);
        self.count(&written);
        written
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.ensure_peer(context)?;
        let written = Pin::new(&mut self.line).poll_write_vectored(context, slices);
        self.count(&written);
        written
    }

    fn is_write_vectored(&self) -> bool {
        self.line.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.line).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.line).poll_shutdown(context)
    }
}

impl fmt::Debug for Stream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Stream").field("key", &self.key).finish_non_exhaustive()
    }
}
