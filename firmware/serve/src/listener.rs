//! Sockets: accepting within bounds, TLS, and one HTTP connection each.
//!
//! HTTP/2 is spoken over TLS only, where ALPN chooses it; browsers have it nowhere else.

use std::collections::HashMap;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use hyper::rt::{Read, Write};
use hyper::server::conn::{http1, http2};
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::task::JoinSet;
use tokio::time::timeout;
use tokio_rustls::TlsAcceptor;

use crate::Server;
use crate::answer::answer;
use crate::guard::Guard;
use crate::metrics::Turned;
use crate::policy::Caller;

/// Time for a request's head; also how long a connection may be idle between requests.
const HEAD_TIME_MAX: Duration = Duration::from_secs(30);
const HANDSHAKE_TIME_MAX: Duration = Duration::from_secs(10);
/// Bytes of a request's head, and of answers buffered before the socket is asked to take them.
const BUFFER_BYTES_MAX: usize = 64 << 10;
const STREAMS_MAX: u32 = 64;
/// After accepting failed for want of descriptors or memory.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
const BUSY: &[u8] = b"HTTP/1.1 503 Service Unavailable\r\nContent-Type: application/problem+json\r\n\
    Content-Length: 111\r\nRetry-After: 5\r\nConnection: close\r\n\r\n\
    {\"type\":\"about:blank\",\"title\":\"Service Unavailable\",\"status\":503,\"detail\":\"the box has too many connections\"}\r\n";

/// How many connections a box takes.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    pub connections_max: usize,
    /// From one address; this machine itself is free.
    pub peer_connections_max: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self { connections_max: 4096, peer_connections_max: 256 }
    }
}

/// Who is connected.
#[derive(Debug)]
pub(crate) struct Doors {
    limits: Limits,
    free: Arc<Semaphore>,
    peers: Mutex<HashMap<IpAddr, usize>>,
}

impl Doors {
    pub(crate) fn new(limits: Limits) -> Self {
        let free = Arc::new(Semaphore::new(limits.connections_max));
        Self { limits, free, peers: Mutex::default() }
    }
}

/// A place for one connection, given back when dropped.
struct Place {
    server: Arc<Server>,
    peer: IpAddr,
    _permit: OwnedSemaphorePermit,
}

impl Place {
    fn take(server: &Arc<Server>, peer: IpAddr) -> Result<Self, Turned> {
        let doors = &server.doors;
        let permit = Arc::clone(&doors.free).try_acquire_owned().map_err(|_| Turned::BoxLimit)?;
        let mut peers = doors.peers.lock().unwrap_or_else(PoisonError::into_inner);
        let count = peers.get(&peer).copied().unwrap_or(0);
        if count >= doors.limits.peer_connections_max && !peer.is_loopback() {
            return Err(Turned::PeerLimit);
        }
        peers.insert(peer, count + 1);
        Ok(Self { server: Arc::clone(server), peer, _permit: permit })
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut peers = self.server.doors.peers.lock().unwrap_or_else(PoisonError::into_inner);
        match peers.get_mut(&self.peer) {
            Some(count) if *count > 1 => *count -= 1,
            Some(_) | None => drop(peers.remove(&self.peer)),
        }
    }
}

/// Serves until dropped, which also ends all its connections.
pub async fn serve_http(listener: TcpListener, server: Arc<Server>) {
    serve(listener, None, server).await;
}

/// The same over TLS. The acceptor's ALPN protocols should be `h2` and `http/1.1`.
pub async fn serve_https(listener: TcpListener, acceptor: TlsAcceptor, server: Arc<Server>) {
    serve(listener, Some(acceptor), server).await;
}

/// Serves one HTTP/1.1 connection that came in by other means than a listener, without its bounds.
pub async fn serve_io<I>(io: I, peer: IpAddr, server: Arc<Server>)
where
    I: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let _open = server.metrics.connection();
    http1_connection(TokioIo::new(io), Caller { peer, tls: false }, &server).await;
}

async fn serve(listener: TcpListener, tls: Option<TlsAcceptor>, server: Arc<Server>) {
    let mut connections = JoinSet::new();
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            // A task that panicked has said so already, and ends with its connection.
            Some(_) = connections.join_next() => continue,
        };
        match accepted {
            Ok((stream, address)) => welcome(stream, address, tls.clone(), &server, &mut connections),
            Err(error) => {
                tracing::warn!(%error, "accepting a connection failed");
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

fn welcome(
    stream: TcpStream,
    address: SocketAddr,
    tls: Option<TlsAcceptor>,
    server: &Arc<Server>,
    connections: &mut JoinSet<()>,
) {
    let peer = address.ip().to_canonical();
    match Place::take(server, peer) {
        Ok(place) => {
            connections.spawn(connection(stream, peer, tls, place));
        }
        Err(why) => {
            server.metrics.turned(why);
            if tls.is_none() {
                // As far as the socket takes it at once; the rest is not worth waiting for.
                let _ = stream.try_write(BUSY);
            }
        }
    }
}

async fn connection(stream: TcpStream, peer: IpAddr, tls: Option<TlsAcceptor>, place: Place) {
    let server = &place.server;
    let _open = server.metrics.connection();
    if let Err(error) = stream.set_nodelay(true) {
        tracing::debug!(%error, "TCP_NODELAY failed");
    }
    let caller = Caller { peer, tls: tls.is_some() };
    let guard = Guard::new(stream, Arc::clone(server));
    let Some(tls) = tls else {
        return http1_connection(TokioIo::new(guard), caller, server).await;
    };
    match timeout(HANDSHAKE_TIME_MAX, tls.accept(guard)).await {
        Ok(Ok(stream)) => {
            let h2 = stream.get_ref().1.alpn_protocol() == Some(b"h2");
            let io = TokioIo::new(stream);
            if h2 {
                http2_connection(io, caller, server).await;
            } else {
                http1_connection(io, caller, server).await;
            }
        }
        Ok(Err(error)) => turned_at_tls(server, &error),
        Err(_) => turned_at_tls(server, &io::ErrorKind::TimedOut.into()),
    }
}

fn turned_at_tls(server: &Server, error: &io::Error) {
    server.metrics.turned(Turned::Tls);
    tracing::debug!(%error, "a TLS handshake failed");
}

async fn http1_connection<I>(io: I, caller: Caller, server: &Arc<Server>)
where
    I: Read + Write + Unpin + Send + 'static,
{
    let service = service_fn(|request| answer(Arc::clone(server), caller, request));
    let served = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_TIME_MAX)
        .max_buf_size(BUFFER_BYTES_MAX)
        .serve_connection(io, service)
        .await;
    if let Err(error) = served {
        tracing::trace!(%error, "a connection broke off");
    }
}

async fn http2_connection<I>(io: I, caller: Caller, server: &Arc<Server>)
where
    I: Read + Write + Unpin + Send + 'static,
{
    let service = {
        let server = Arc::clone(server);
        service_fn(move |request| answer(Arc::clone(&server), caller, request))
    };
    let served = http2::Builder::new(TokioExecutor::new())
        .timer(TokioTimer::new())
        .max_concurrent_streams(STREAMS_MAX)
        .max_header_list_size(16 << 10)
        .max_send_buf_size(256 << 10)
        .keep_alive_interval(HEAD_TIME_MAX)
        .keep_alive_timeout(HANDSHAKE_TIME_MAX)
        .serve_connection(io, service)
        .await;
    if let Err(error) = served {
        tracing::trace!(%error, "a connection broke off");
    }
}
