//! The box's own streams: each signed with its own key, which the box certifies.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use relay::{Shown, Tally, write_hello};
use serve::Offload;
use store::{Live, Sealer};
use stream::StreamName;
use tokio::sync::watch;
use trust::{Access, BoxSecret, Chain, MeshId, Signed, StreamCertificate, StreamSecret};

use super::lock;
use crate::control::hour::Hour;
use crate::status::unix_ms;

/// One stream that was published here since the start.
struct Origin {
    shows: watch::Sender<Option<Shown>>,
    tally: Arc<Tally>,
    watched: Watched,
}

/// What viewers of other boxes got since the start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Watched {
    bytes: u64,
    /// As the coordinator counted last; none before its first word, from which on it counts.
    told: Option<u64>,
}

impl Watched {
    fn note(&mut self, told: u64) {
        let before = self.told.replace(told).unwrap_or(told);
        // A coordinator that started anew began at nothing.
        self.bytes += told.checked_sub(before).unwrap_or(told);
    }
}

pub(crate) struct Origins {
    chain: Chain,
    identity: BoxSecret,
    mesh: MeshId,
    hour: Hour,
    streams: Mutex<BTreeMap<StreamName, Origin>>,
}

struct Seals(StreamSecret);

impl std::fmt::Debug for Seals {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Seals").field(&self.0.public()).finish()
    }
}

impl Sealer for Seals {
    fn seal(&self, item: &[u8]) -> Bytes {
        trust::stream::seal(item, &self.0).into()
    }
}

impl Origins {
    pub(super) fn new(chain: Chain, identity: BoxSecret, mesh: MeshId, hour: Hour) -> Self {
        Self { chain, identity, mesh, hour, streams: Mutex::default() }
    }

    /// From now on the stream is signed, and may be asked for. Once per start and stream.
    pub(crate) fn sign(&self, live: &Live, secret: &StreamSecret, access: Access) {
        let name = live.name();
        if lock(&self.streams).contains_key(name) {
            return self.allow(name, secret, access);
        }
        // Above every number of an earlier start: one item takes far longer than a microsecond.
        let first = u64::try_from(unix_ms()).unwrap_or(0).saturating_mul(1000);
        live.seal_with(Arc::new(Seals(secret.clone())), first);
        let origin =
            Origin { shows: watch::Sender::new(None), tally: Arc::default(), watched: Watched::default() };
        lock(&self.streams).insert(name.clone(), origin);
        self.allow(name, secret, access);
    }

    /// Certifies the stream anew: who may watch it is part of the certificate.
    pub(crate) fn allow(&self, name: &StreamName, secret: &StreamSecret, access: Access) {
        let streams = lock(&self.streams);
        let Some(origin) = streams.get(name) else { return };
        let before = origin.shows.borrow().as_ref().map(|shown| shown.certificate.clone());
        if before.as_ref().is_some_and(|before| before.access == access && before.key == secret.public()) {
            return;
        }
        let mut issued = self.hour.now();
        if let Some(before) = before.filter(|before| before.issued >= issued) {
            issued = before.issued.plus(std::time::Duration::from_secs(1));
        }
        let (stream, key) = (name.as_str().into(), secret.public());
        let certificate = StreamCertificate { mesh: self.mesh, stream, key, access, issued };
        let shown = Signed::sign(certificate.clone(), &self.identity)
            .ok()
            .and_then(|signed| write_hello(self.chain.clone(), signed).ok())
            .map(|hello| Shown { certificate, hello });
        if shown.is_none() {
            tracing::error!(stream.id = %name, "the stream can't be certified: other boxes won't take it");
        }
        origin.shows.send_replace(shown);
    }

    pub(super) fn shown(&self, name: &StreamName) -> Option<watch::Receiver<Option<Shown>>> {
        lock(&self.streams).get(name).map(|origin| origin.shows.subscribe())
    }

    /// Those of which something was published since the start.
    pub(super) fn live(&self) -> Vec<(StreamName, Arc<Tally>)> {
        let streams = lock(&self.streams);
        streams.iter().map(|(name, origin)| (name.clone(), Arc::clone(&origin.tally))).collect()
    }

    /// From the coordinator.
    pub(super) fn note_watched(&self, name: &StreamName, told: u64) {
        if let Some(origin) = lock(&self.streams).get_mut(name) {
            origin.watched.note(told);
        }
    }

    /// What friends saved this box, once they took something.
    pub(crate) fn offload(&self, name: &StreamName) -> Option<Offload> {
        let streams = lock(&self.streams);
        let origin = streams.get(name)?;
        let offload = Offload { watched_bytes: origin.watched.bytes, given_bytes: origin.tally.sent() };
        Some(offload).filter(|offload| offload.given_bytes > 0)
    }

    pub(super) fn tallies(&self) -> Vec<(StreamName, Arc<Tally>, u64)> {
        let streams = lock(&self.streams);
        streams.iter().map(|(name, origin)| (name.clone(), Arc::clone(&origin.tally), 0)).collect()
    }

    pub(super) fn tally(&self, name: &StreamName) -> Arc<Tally> {
        lock(&self.streams).get(name).map(|origin| Arc::clone(&origin.tally)).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_watched_goes_on_over_a_restart_of_the_coordinator() {
        let mut watched = Watched::default();
        for (told, bytes) in [(700, 0), (1_000, 300), (1_000, 300), (50, 350), (90, 390)] {
            watched.note(told);
            assert_eq!(watched.bytes, bytes, "{told}");
        }
    }
}
