//! The sockets: accepts publishers over TCP or TLS and drives one session for each.
//!
//! Decides nothing about keys and stores no media. All bounds come from [`Limits`]; they hold per call of
//! [`serve`], so a second listener for TLS has its own.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};
use tokio_rustls::TlsAcceptor;
use tracing::{Instrument, debug, error, info_span, warn};

use self::connection::Connection;
use self::gate::{Gate, Waiting};
use self::socket::{Socket, Stride};
use crate::{Desk, Limits};

mod attempts;
mod connection;
mod gate;
mod publishing;
mod socket;

/// Pause after a failed accept, which means that the machine is out of descriptors or memory.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Serves publishers until it is dropped. Dropping it closes all connections; their publications are closed
/// as [`crate::CloseReason::ShuttingDown`].
pub async fn serve(listener: TcpListener, tls: Option<TlsAcceptor>, desk: Arc<dyn Desk>, limits: Limits) {
    let gate = Arc::new(Gate::new(desk, limits));
    let ids = AtomicU64::new(1);
    let mut connections = JoinSet::new();
    // Said once per crowd, not once per connection.
    let mut full = false;
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            Some(ended) = connections.join_next(), if !connections.is_empty() => {
                if let Err(panic) = ended {
                    error!(%panic, "connection task failed");
                }
                continue;
            }
        };
        match accepted {
            Ok(_) if connections.len() >= limits.connections => {
                if !full {
                    full = true;
                    warn!(connections = connections.len(), "too many connections: further ones are closed");
                }
            }
            Ok((socket, peer)) => {
                full = false;
                let Some(waiting) = gate.wait(peer.ip()) else {
                    debug!(%peer, "too many connections of this address that do not publish");
                    continue;
                };
                let connection_id = ids.fetch_add(1, Ordering::Relaxed);
                let span = info_span!("publisher", connection.id = connection_id);
                let task = run(socket, peer, tls.clone(), Arc::clone(&gate), connection_id, waiting);
                connections.spawn(task.instrument(span));
            }
            Err(error) => {
                warn!(%error, "accept failed");
                sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

async fn run(
    socket: TcpStream,
    peer: SocketAddr,
    tls: Option<TlsAcceptor>,
    gate: Arc<Gate>,
    id: u64,
    waiting: Waiting,
) {
    debug!(%peer, tls = tls.is_some(), "connected");
    if let Err(error) = socket.set_nodelay(true) {
        debug!(%error, "TCP_NODELAY can't be set");
    }
    let stride = Stride::default();
    let socket = Socket::new(socket, Arc::clone(&gate), stride.clone());
    let connection = Connection::new(id, peer, tls.is_some(), Arc::clone(&gate), stride, waiting);
    let Some(tls) = tls else { return connection.run(socket).await };
    match timeout(Duration::from_millis(gate.limits.preamble_ms), tls.accept(socket)).await {
        Ok(Ok(socket)) => Box::pin(connection.run(socket)).await,
        Ok(Err(error)) => debug!(%error, "TLS handshake failed"),
        Err(_) => debug!("TLS handshake took too long"),
    }
}

/// Compares a key with the right one in a time that does not depend on where they differ.
#[must_use]
pub fn same_key(given: &str, right: &str) -> bool {
    let mut difference = given.len() ^ right.len();
    for (index, byte) in given.bytes().enumerate() {
        // An empty right key never matches: the lengths differ.
        let other = right.as_bytes().get(index % right.len().max(1)).copied().unwrap_or(0);
        difference |= usize::from(std::hint::black_box(byte ^ other));
    }
    difference == 0 && !right.is_empty()
}

#[cfg(test)]
mod tests {
    use super::same_key;

    #[test]
    fn only_the_same_key_is_the_same() {
        assert!(same_key("abc", "abc"));
        for (given, right) in
            [("abd", "abc"), ("ab", "abc"), ("abcabc", "abc"), ("", "abc"), ("abc", ""), ("", "")]
        {
            assert!(!same_key(given, right), "{given:?} {right:?}");
        }
    }
}
