//! Connections between boxes: who connects is known by its key before a byte is read, and a box that is no peer any
//! more is cut off.
//!
//! ```text
//! map, revocations ─> network ─ Neighbourhood ─┬─> Inside::connect(key) ─> Stream
//!        ^                                     └─> Door::accept() ─> key, Stream
//!        └─ Seeks <─ connect: one that is not in the map
//! ```
//! In the mesh's own network an address proves a key: the data plane drops whatever comes from an address that is not
//! the peer's that sealed it. In any other network each connection is mutual TLS. Refuses strangers, and says nothing to
//! them. What is said on a connection is not its business.

mod certificate;
mod door;
mod meter;
mod stream;

use std::collections::BTreeMap;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::{TcpSocket, TcpStream};
use tokio::sync::watch;
use tokio::time::timeout;
use trust::{BoxKey, Name};

pub(crate) use certificate::Certificate;
pub(crate) use door::Door;
pub(crate) use meter::{Bytes, Meters};
pub(crate) use stream::Stream;

use crate::control::seek::Seeks;

/// How long all places of a box together may take to answer.
const CONNECT_MAX: Duration = Duration::from_secs(5);

/// This box among the others, as it stands just now.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Neighbourhood {
    /// Where this box listens for others; nowhere while there is no network.
    pub(crate) own: Vec<SocketAddr>,
    /// The peers that are accepted.
    pub(crate) boxes: BTreeMap<BoxKey, Neighbour>,
    pub(crate) proof: Proof,
}

/// What proves whose box somebody is.
#[derive(Clone, Debug, Default)]
pub(crate) enum Proof {
    /// Its address.
    #[default]
    Address,
    /// Its certificate. This one is our own.
    Certificate(Arc<Certificate>),
}

impl PartialEq for Proof {
    fn eq(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Address, Self::Address) => true,
            (Self::Certificate(one), Self::Certificate(other)) => Arc::ptr_eq(one, other),
            (Self::Address, Self::Certificate(_)) | (Self::Certificate(_), Self::Address) => false,
        }
    }
}

impl Eq for Proof {}

/// Another box.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Neighbour {
    pub(crate) name: Name,
    /// Where it listens, best first.
    pub(crate) places: Vec<SocketAddr>,
}

/// Why a box is not connected.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ConnectError {
    #[error("it is no peer of this box")]
    NoPeer,
    #[error("there is no way to it from here")]
    Nowhere,
    #[error("it does not answer within {} s", CONNECT_MAX.as_secs())]
    Silent,
    #[error("it refuses")]
    Refused(#[source] io::Error),
    #[error("what answers there is not that box, or does not take this one")]
    NotThatBox(#[source] io::Error),
}

/// The way to other boxes; cheap to clone.
#[derive(Clone, Debug)]
pub(crate) struct Inside {
    neighbourhood: watch::Receiver<Neighbourhood>,
    meters: Meters,
    seeks: Seeks,
}

/// Both ways. Has to be called on the runtime; the door is watched until it is dropped.
pub(crate) fn open(
    neighbourhood: watch::Receiver<Neighbourhood>,
    meters: Meters,
    seeks: Seeks,
) -> (Inside, Door) {
    let door = Door::open(neighbourhood.clone(), meters.clone());
    (Inside::to(neighbourhood, meters, seeks), door)
}

impl Inside {
    pub(crate) const fn to(
        neighbourhood: watch::Receiver<Neighbourhood>,
        meters: Meters,
        seeks: Seeks,
    ) -> Self {
        Self { neighbourhood, meters, seeks }
    }

    /// Connects to the box with this key, and to nobody else. One that is no peer is asked for first.
    ///
    /// # Errors
    /// [`ConnectError`], within [`CONNECT_MAX`].
    pub(crate) async fn connect(&self, key: &BoxKey) -> Result<Stream, ConnectError> {
        let connected = async {
            self.find(key).await?;
            self.connect_known(key).await
        };
        timeout(CONNECT_MAX, connected).await.unwrap_or(Err(ConnectError::Silent))
    }

    /// The same to see whether a peer is there: nobody is asked for.
    ///
    /// # Errors
    /// [`ConnectError`], within [`CONNECT_MAX`].
    pub(crate) async fn probe(&self, key: &BoxKey) -> Result<Stream, ConnectError> {
        timeout(CONNECT_MAX, self.connect_known(key)).await.unwrap_or(Err(ConnectError::Silent))
    }

    async fn connect_known(&self, key: &BoxKey) -> Result<Stream, ConnectError> {
        let (own, places, proof) = {
            let neighbourhood = self.neighbourhood.borrow();
            let neighbour = neighbourhood.boxes.get(key).ok_or(ConnectError::NoPeer)?;
            (neighbourhood.own.clone(), neighbour.places.clone(), neighbourhood.proof.clone())
        };
        self.first(key, &own, &places, &proof).await
    }

    /// Sees to it that the box is a peer, and that it knows this one.
    async fn find(&self, key: &BoxKey) -> Result<(), ConnectError> {
        if self.neighbourhood.borrow().boxes.contains_key(key) {
            self.seeks.handle_connecting(key);
            return Ok(());
        }
        if !self.seeks.find(key).await {
            return Err(ConnectError::NoPeer);
        }
        let mut neighbourhood = self.neighbourhood.clone();
        let there = neighbourhood.wait_for(|now| now.boxes.contains_key(key)).await;
        there.map(drop).map_err(|_| ConnectError::NoPeer)
    }

    /// The first of its places that answers.
    async fn first(
        &self,
        key: &BoxKey,
        own: &[SocketAddr],
        places: &[SocketAddr],
        proof: &Proof,
    ) -> Result<Stream, ConnectError> {
        let mut failed = ConnectError::Nowhere;
        for place in places {
            let Some(from) = own.iter().find(|own| own.is_ipv4() == place.is_ipv4()) else { continue };
            let tcp = match reach(*from, *place).await {
                Ok(tcp) => tcp,
                Err(error) => {
                    failed = ConnectError::Refused(error);
                    continue;
                }
            };
            let (there, meter) = (self.neighbourhood.clone(), self.meters.of(key));
            match proof {
                Proof::Address => return Ok(Stream::plain(tcp, *key, place.ip(), there, meter, None)),
                Proof::Certificate(own) => match own.connect(tcp, *key).await {
                    Ok(tls) => return Ok(Stream::sealed(tls, *key, there, meter, None)),
                    Err(error) => failed = ConnectError::NotThatBox(error),
                },
            }
        }
        Err(failed)
    }
}

/// From the box's own address: it is what the other side knows it by.
async fn reach(from: SocketAddr, to: SocketAddr) -> io::Result<TcpStream> {
    let socket = if from.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() }?;
    socket.bind(SocketAddr::new(from.ip(), 0))?;
    let tcp = socket.connect(to).await?;
    stream::settle(&tcp)?;
    Ok(tcp)
}

#[cfg(test)]
mod tests;
