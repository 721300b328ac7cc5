//! The two traits by which the daemon decides who publishes and takes what is published.

use std::fmt;
use std::net::SocketAddr;
use std::time::Duration;

use tokio::sync::watch;

use crate::{CloseReason, Event, Refusal};

/// A publisher's `connect`.
#[derive(Clone, Copy, Debug)]
pub struct ConnectRequest<'a> {
    pub peer: SocketAddr,
    /// Without a trailing slash and without a query. May hold a key that was pasted into the wrong field:
    /// keep it out of logs.
    pub app: &'a str,
    pub tls: bool,
}

/// A publisher's `publish`.
#[derive(Clone, Copy)]
pub struct PublishRequest<'a> {
    pub peer: SocketAddr,
    pub app: &'a str,
    /// Secret. Compare it with [`crate::server::same_key`].
    pub key: &'a str,
    pub tls: bool,
}

impl fmt::Debug for PublishRequest<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PublishRequest")
            .field("peer", &self.peer)
            .field("app", &self.app)
            .field("key", &"(secret)")
            .field("tls", &self.tls)
            .finish()
    }
}

/// Turns to `Some` when the publication has to end before its publisher wishes, with the reason. A sender
/// that is dropped means the same as [`CloseReason::ShuttingDown`].
pub type Revocation = watch::Receiver<Option<CloseReason>>;

/// Decides who may publish. Its calls run on the connection's task and must not block.
pub trait Desk: Send + Sync + 'static {
    /// Is there such an application? Asked at `connect`, so that the refusal is the one OBS understands.
    fn admit(&self, request: ConnectRequest<'_>) -> Result<(), Refusal>;

    /// Opens the publication, revoking an older one of the same key.
    fn open(&self, request: PublishRequest<'_>) -> Result<Box<dyn Publication>, Refusal>;

    /// Called once for each connection that is sent away, whoever decided it.
    fn refused(&self, peer: SocketAddr, reason: &Refusal);
}

/// One publisher's stream, from `publish` to its end.
pub trait Publication: Send {
    /// Takes what one read from the socket brought, in order; leaves `events` empty. A refusal is told to the
    /// publisher and ends the publication.
    fn accept(&mut self, events: &mut Vec<Event>) -> Result<(), Refusal>;

    /// None if every unit is wanted as soon as it is there. Otherwise reads are put off, to the next multiple of this
    /// on the listener's clock: what came together is read together, with one wake-up for all publications.
    fn stride(&self) -> Option<Duration> {
        None
    }

    /// Called exactly once, last.
    fn closed(&mut self, why: CloseReason);

    fn revoked(&self) -> Revocation;
}
