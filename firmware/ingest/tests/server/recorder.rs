//! A desk that writes down what happens, with two streams: keys "first-key" and "second-key" of "live".

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use ingest::server::same_key;
use ingest::{
    CloseReason, ConnectRequest, Desk, Event, Limits, Metadata, Publication, PublishRequest, Refusal,
    Revocation,
};
use stream::{AccessUnit, Codec, TrackConfig, TrackKind};
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio_rustls::TlsAcceptor;

pub(crate) const KEYS: [&str; 2] = ["first-key", "second-key"];
/// Long enough for a loaded machine; no test waits for it unless it fails.
const PATIENCE: Duration = Duration::from_secs(60);

#[derive(Debug, Default)]
pub(crate) struct Record {
    pub(crate) opened: Vec<&'static str>,
    pub(crate) closed: Vec<(&'static str, CloseReason)>,
    pub(crate) refused: Vec<Refusal>,
    pub(crate) configs: Vec<TrackConfig>,
    pub(crate) units: Vec<AccessUnit>,
    pub(crate) metadata: Vec<Metadata>,
}

impl Record {
    pub(crate) fn units_of(&self, kind: TrackKind) -> impl Iterator<Item = &AccessUnit> {
        self.units.iter().filter(move |unit| unit.kind == kind)
    }

    pub(crate) fn config_of(&self, codec: Codec) -> Option<&TrackConfig> {
        self.configs.iter().find(|config| config.codec == codec)
    }
}

#[derive(Debug, Default)]
pub(crate) struct Recorder {
    record: watch::Sender<Record>,
    current: Mutex<BTreeMap<&'static str, watch::Sender<Option<CloseReason>>>>,
}

#[derive(Clone, Debug)]
struct Recording {
    recorder: Arc<Recorder>,
    key: &'static str,
    revocation: Revocation,
}

/// A running server; ends with it.
#[derive(Debug)]
pub(crate) struct House {
    pub(crate) address: SocketAddr,
    recorder: Arc<Recorder>,
    server: JoinHandle<()>,
}

impl House {
    pub(crate) async fn open(limits: Limits, tls: Option<TlsAcceptor>) -> Self {
        let recorder = Arc::new(Recorder::default());
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("loopback has free ports");
        let address = listener.local_addr().expect("a bound socket has an address");
        let desk = Arc::new(Front(Arc::clone(&recorder)));
        let server = tokio::spawn(ingest::serve(listener, tls, desk, limits));
        Self { address, recorder, server }
    }

    /// What `look` finds in the record, as soon as it finds something.
    pub(crate) async fn until<T>(&self, what: &str, mut look: impl FnMut(&Record) -> Option<T>) -> T {
        let mut changes = self.recorder.record.subscribe();
        let found = async {
            loop {
                let found = look(&changes.borrow_and_update());
                match found {
                    Some(found) => return found,
                    None => changes.changed().await.expect("the recorder lives"),
                }
            }
        };
        match tokio::time::timeout(PATIENCE, found).await {
            Ok(found) => found,
            Err(_) => panic!("still no {what}: {:?}", self.recorder.record.borrow()),
        }
    }

    pub(crate) async fn first_refusal(&self) -> Refusal {
        self.until("refusal", |record| record.refused.first().cloned()).await
    }

    pub(crate) async fn closed(&self, count: usize) -> Vec<(&'static str, CloseReason)> {
        self.until("close", |record| (record.closed.len() >= count).then(|| record.closed.clone())).await
    }

    pub(crate) fn shut_down(&self) {
        self.server.abort();
    }
}

impl Drop for House {
    fn drop(&mut self) {
        self.shut_down();
    }
}

struct Front(Arc<Recorder>);

impl Desk for Front {
    fn admit(&self, request: ConnectRequest<'_>) -> Result<(), Refusal> {
        if request.app == "live" { Ok(()) } else { Err(Refusal::UnknownApplication) }
    }

    fn open(&self, request: PublishRequest<'_>) -> Result<Box<dyn Publication>, Refusal> {
        let key = KEYS.into_iter().find(|key| same_key(request.key, key)).ok_or(Refusal::WrongKey)?;
        let (sender, revocation) = watch::channel(None);
        if let Some(older) = self.0.current.lock().expect("no holder panicked").insert(key, sender) {
            older.send_replace(Some(CloseReason::TakenOver));
        }
        self.0.record.send_modify(|record| record.opened.push(key));
        Ok(Box::new(Recording { recorder: Arc::clone(&self.0), key, revocation }))
    }

    fn refused(&self, _peer: SocketAddr, reason: &Refusal) {
        self.0.record.send_modify(|record| record.refused.push(reason.clone()));
    }
}

impl Publication for Recording {
    fn accept(&mut self, events: &mut Vec<Event>) -> Result<(), Refusal> {
        self.recorder.record.send_modify(|record| {
            for event in events.drain(..) {
                match event {
                    Event::Config(config) => record.configs.push(config),
                    Event::Unit(unit) => record.units.push(unit),
                    Event::Metadata(metadata) => record.metadata.push(metadata),
                }
            }
        });
        Ok(())
    }

    fn closed(&mut self, why: CloseReason) {
        self.recorder.record.send_modify(|record| record.closed.push((self.key, why)));
    }

    fn revoked(&self) -> Revocation {
        self.revocation.clone()
    }
}
