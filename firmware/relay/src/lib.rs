//! Takes a stream's blocks from parents, and gives them to children: HTTP between boxes (docs/relay-protocol.md).
//!
//! ```text
//! parents ─ feeds, pulls ─> Carrier (swarm::Fetch decides) ─ checked items and blocks ─> store::Live ─> viewers
//!                                                                                          │
//!                                          children <─ feeds, pulls ─ greet() <────────────┘
//! ```
//! What is signed is checked before it is kept, and so before it is served or given on. Refuses to choose parents, to
//! know how boxes are reached, and to say who may have a stream: the daemon does.

mod carrier;
mod dial;
mod feed;
mod greet;
mod hello;
mod tally;
mod turns;
mod uplink;

#[cfg(test)]
mod tests;

use std::future::Future;
use std::io;
use std::sync::Arc;

use bytes::Bytes;
use store::Live;
use stream::StreamName;
use swarm::part::{StripeCount, Stripes};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::watch;
use trust::key::Fingerprint;
use trust::{BoxKey, StreamCertificate};

pub use carrier::{Carrier, CarrierConfig, Parent, Report};
pub use greet::greet;
pub use hello::{Judge, read_hello, write_hello};
pub use tally::{Flow, Tally};
pub use uplink::Uplink;

/// How boxes are reached.
pub trait Ways: Clone + Send + Sync + 'static {
    type Stream: AsyncRead + AsyncWrite + Unpin + Send + 'static;

    /// A connection to the box with this key, and to nobody else.
    fn connect(&self, key: &BoxKey) -> impl Future<Output = io::Result<Self::Stream>> + Send;
}

/// What a box shows for a stream, believed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Shown {
    pub certificate: StreamCertificate,
    /// As it goes from box to box.
    pub hello: Bytes,
}

/// A stream that this box can give.
#[derive(Clone, Debug)]
pub struct Given {
    pub live: Arc<Live>,
    /// Of the stripes asked for those that there is room for; one at least, where any was asked for.
    pub stripes: Stripes,
    /// So many stripes of the same stream that were not planned have to make room for it.
    pub evicts: u32,
    /// [`write_hello`]'s, or the one that came with the stream; none until it has come. A change is told to children.
    pub hello: watch::Receiver<Option<Shown>>,
}

/// How much of a stream is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Share {
    /// These stripes of so many, for as long as it lasts; none for items alone. What is planned goes before what isn't;
    /// what is to come instead of what goes to another child takes that one's place.
    Feed { stripes: Stripes, of: StripeCount, planned: bool, instead: Option<Fingerprint> },
    /// Blocks by name.
    Blocks,
}

/// Why a child gets nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refused {
    /// 404: this box does not carry it.
    NotHere,
    /// 503: it has no room for another child.
    NoRoom,
}

/// What this box has for others.
pub trait House: Send + Sync + 'static {
    /// Turns true when this box is about to stop.
    fn leaving(&self) -> watch::Receiver<bool>;

    /// The stream, for this child.
    ///
    /// # Errors
    /// [`Refused`].
    fn give(&self, name: &StreamName, child: &BoxKey, share: Share) -> Result<Given, Refused>;
}
