//! Sockets: accepting within bounds, TLS, and one HTTP/1.1 connection each.

use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::{Context as _, Result};
use axum::Router;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use rustls::ServerConfig;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use socket2::SockRef;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::task::JoinSet;
use tokio::time::timeout;
use tokio_rustls::TlsAcceptor;

use super::Peer;
use crate::service::Service;

const CONNECTIONS_MAX: usize = 2048;
/// From one address; this machine itself is free.
const PEER_CONNECTIONS_MAX: usize = 64;
const HANDSHAKE_TIME_MAX: Duration = Duration::from_secs(10);
/// For a request's head; also how long a connection may be idle between requests.
const HEAD_TIME_MAX: Duration = Duration::from_secs(30);
/// A peer that takes nothing for so long is gone.
const STALL_MAX_MS: u32 = 30_000;
const BUFFER_BYTES_MAX: usize = 64 << 10;
/// What the kernel takes beyond what is on its way: what waits longer waits here, where it can be dropped.
const UNSENT_BYTES_MAX: u32 = 64 << 10;
/// After accepting failed for want of descriptors or memory.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

#[derive(Debug)]
struct Doors {
    free: Arc<Semaphore>,
    peers: Mutex<HashMap<IpAddr, usize>>,
}

/// A place for one connection, given back when dropped.
#[derive(Debug)]
struct Place {
    doors: Arc<Doors>,
    peer: IpAddr,
    _permit: OwnedSemaphorePermit,
}

impl Doors {
    fn take(self: &Arc<Self>, peer: IpAddr) -> Option<Place> {
        let permit = Arc::clone(&self.free).try_acquire_owned().ok()?;
        let mut peers = self.peers.lock().unwrap_or_else(PoisonError::into_inner);
        let count = peers.entry(peer).or_insert(0);
        if *count >= PEER_CONNECTIONS_MAX && !peer.is_loopback() {
            return None;
        }
        *count += 1;
        Some(Place { doors: Arc::clone(self), peer, _permit: permit })
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut peers = self.doors.peers.lock().unwrap_or_else(PoisonError::into_inner);
        match peers.get_mut(&self.peer) {
            Some(count) if *count > 1 => *count -= 1,
            Some(_) | None => drop(peers.remove(&self.peer)),
        }
    }
}

/// With the key that invites pin.
pub(crate) fn acceptor(service: &Service) -> Result<TlsAcceptor> {
    let (certificate, key) = service.tls_files();
    acceptor_of(&certificate, &key)
}

/// With a certificate and its key in PEM files.
pub(crate) fn acceptor_of(certificate: &Path, key: &Path) -> Result<TlsAcceptor> {
    let chain = CertificateDer::pem_file_iter(certificate)
        .and_then(Iterator::collect::<Result<Vec<_>, _>>)
        .with_context(|| format!("reading the certificate {}", certificate.display()))?;
    let key =
        PrivateKeyDer::from_pem_file(key).with_context(|| format!("reading the key {}", key.display()))?;
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .context("TLS versions")?
        .with_no_client_auth()
        .with_single_cert(chain, key)
        .context("the certificate and the key do not go together")?;
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(TlsAcceptor::from(Arc::new(config)))
}

/// Serves until dropped, which also ends all its connections.
/// Plain without an acceptor.
pub(crate) async fn serve(listener: TcpListener, acceptor: Option<TlsAcceptor>, router: Router) {
    let doors = Arc::new(Doors { free: Arc::new(Semaphore::new(CONNECTIONS_MAX)), peers: Mutex::default() });
    let mut connections = JoinSet::new();
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            // A task that panicked has said so already, and ends with its connection.
            Some(_) = connections.join_next() => continue,
        };
        match accepted {
            Ok((stream, address)) => {
                let Some(place) = doors.take(address.ip().to_canonical()) else {
                    tracing::debug!("a connection too many");
                    continue;
                };
                let (acceptor, router) = (acceptor.clone(), router.clone());
                connections.spawn(connection(stream, address, acceptor, router, place));
            }
            Err(error) => {
                tracing::warn!(%error, "accepting a connection failed");
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

async fn connection(
    stream: TcpStream,
    address: SocketAddr,
    acceptor: Option<TlsAcceptor>,
    router: Router,
    place: Place,
) {
    let prepared = stream
        .set_nodelay(true)
        .and_then(|()| Ok(rustix::net::sockopt::set_tcp_user_timeout(&stream, STALL_MAX_MS)?))
        .and_then(|()| SockRef::from(&stream).set_tcp_notsent_lowat(UNSENT_BYTES_MAX));
    if let Err(error) = prepared {
        tracing::debug!(%error, "a socket's options failed");
    }
    let peer = Peer(address.ip().to_canonical());
    let router = router.layer(axum::Extension(peer));
    match acceptor {
        None => http1_connection(stream, router).await,
        Some(acceptor) => match timeout(HANDSHAKE_TIME_MAX, acceptor.accept(stream)).await {
            Ok(Ok(stream)) => http1_connection(stream, router).await,
            Ok(Err(error)) => tracing::debug!(%error, "a TLS handshake failed"),
            Err(_) => tracing::debug!("a TLS handshake took too long"),
        },
    }
    drop(place);
}

async fn http1_connection<I>(stream: I, router: Router)
where
    I: AsyncRead + AsyncWrite + Send + Unpin + 'static,
{
    let served = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_TIME_MAX)
        .max_buf_size(BUFFER_BYTES_MAX)
        .serve_connection(TokioIo::new(stream), TowerToHyperService::new(router))
        .with_upgrades()
        .await;
    if let Err(error) = served {
        tracing::trace!(%error, "a connection broke off");
    }
}
