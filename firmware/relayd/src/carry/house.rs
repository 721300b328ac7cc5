//! What other boxes may have from here, how they are reached, and whom to believe about a stream.

use std::io;
use std::sync::Arc;

use relay::{Given, House, Judge, Refused, Share, Ways};
use stream::StreamName;
use tokio::sync::watch;
use trust::{BoxKey, StreamCertificate};
use wire::feed::Hello;

use super::room::comes;
use super::{Carriers, lock};
use crate::inside::{ConnectError, Stream};

pub(crate) struct Holder(pub(super) Arc<Carriers>);

impl House for Holder {
    fn leaving(&self) -> watch::Receiver<bool> {
        self.0.leaving.subscribe()
    }

    fn give(&self, name: &StreamName, child: &BoxKey, mut share: Share) -> Result<Given, Refused> {
        let carriers = &self.0;
        let (live, hello) = match carriers.origins.shown(name) {
            Some(shown) => (carriers.store.get(name).ok_or(Refused::NotHere)?, shown),
            None => {
                let carried = lock(&carriers.carried);
                let carried = carried.get(name).ok_or(Refused::NotHere)?;
                if let Share::Feed { stripes, .. } = &mut share
                    && !stripes.is_empty()
                {
                    *stripes = stripes.both(comes(&carried.tally));
                    if stripes.is_empty() {
                        return Err(Refused::NoRoom);
                    }
                }
                (Arc::clone(&carried.live), carried.shown.clone())
            }
        };
        let (stripes, evicts) = carriers.room(name, child, share)?;
        Ok(Given { live, stripes, evicts, hello })
    }
}

/// The ways to peers.
#[derive(Clone)]
pub(super) struct Roads(pub(super) Arc<Carriers>);

impl Ways for Roads {
    type Stream = Stream;

    async fn connect(&self, key: &BoxKey) -> io::Result<Stream> {
        self.0.inside.connect(key).await.map_err(|error| {
            let kind = match error {
                ConnectError::NoPeer | ConnectError::Nowhere => io::ErrorKind::NotFound,
                ConnectError::Silent => io::ErrorKind::TimedOut,
                ConnectError::Refused(_) | ConnectError::NotThatBox(_) => io::ErrorKind::ConnectionRefused,
            };
            io::Error::new(kind, error)
        })
    }
}

/// By the words of the mesh's root, and of the coordinator about whose the stream's name is.
pub(super) struct Court(pub(super) Arc<Carriers>);

impl Judge for Court {
    fn judge(&self, hello: &Hello, origin: &BoxKey, name: &str) -> Result<StreamCertificate, String> {
        let heard = self.0.heard.borrow();
        let identity = hello
            .chain
            .verify(&self.0.kept.root, &heard.revocations)
            .map_err(|error| format!("its origin is no box of this mesh: {error}"))?;
        if identity.key() != origin {
            return Err("it was published at another box than the coordinator says".to_owned());
        }
        let certificate = hello
            .certificate
            .verify(identity.mesh(), identity.key())
            .map_err(|error| format!("the stream's certificate: {error}"))?;
        if &*certificate.stream != name {
            return Err("the certificate is another stream's".to_owned());
        }
        Ok(certificate.clone())
    }

    fn unix_ms(&self) -> i64 {
        i64::try_from(self.0.hour.now().get()).unwrap_or(i64::MAX).saturating_mul(1000)
    }
}
