//! What is pulled, on its way to the stream's pipeline. The publication is opened with the first media, so that a server
//! which has nothing to give does not look like a publisher.

use std::sync::Arc;

use ingest::{CloseReason, Event, Publication, Revocation};
use serve::SourceState;

use super::Pulled;
use crate::publish::Roster;

/// Descriptions of a stream that come before its media; the newest counts.
const BEFORE_MAX: usize = 4;

/// Why a try is over.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum End {
    /// Nobody publishes there any more, or the server closed in the middle of it.
    Over,
    /// A publisher has the stream here.
    Held,
    /// A plain sentence without keys and without a full stop.
    Failed(String),
}

pub(super) struct Supply {
    pulled: Arc<Pulled>,
    roster: Arc<Roster>,
    running: Option<(Box<dyn Publication>, Revocation)>,
    before: Vec<Event>,
}

impl Supply {
    pub(super) fn new(pulled: Arc<Pulled>, roster: Arc<Roster>) -> Self {
        Self { pulled, roster, running: None, before: Vec::new() }
    }

    /// The server has the stream, and may send it any time.
    pub(super) fn wait(&self) {
        self.pulled.enter(SourceState::Waiting);
    }

    pub(super) const fn is_running(&self) -> bool {
        self.running.is_some()
    }

    /// Takes what came, in order; leaves `events` empty.
    pub(super) fn accept(&mut self, events: &mut Vec<Event>) -> Result<(), End> {
        if self.running.is_none() {
            self.before.append(events);
            if self.before.iter().all(|event| matches!(event, Event::Metadata(_))) {
                let old = self.before.len().saturating_sub(BEFORE_MAX);
                self.before.drain(..old);
                return Ok(());
            }
            self.begin()?;
            std::mem::swap(&mut self.before, events);
        }
        let Some((publication, _)) = &mut self.running else { return Ok(()) };
        publication.accept(events).map_err(|refusal| End::Failed(refusal.to_string()))
    }

    fn begin(&mut self) -> Result<(), End> {
        let name = &self.pulled.wanted.name;
        match self.roster.pull(name) {
            Ok(Some(publication)) => {
                let revocation = publication.revoked();
                self.running = Some((publication, revocation));
                self.pulled.enter(SourceState::Live);
                tracing::info!(stream.id = %name, host = self.pulled.wanted.source.label(), "pulled");
                Ok(())
            }
            Ok(None) => Err(End::Held),
            Err(refusal) => Err(End::Failed(refusal.to_string())),
        }
    }

    /// Waits until the publication has to end; for ever without one.
    pub(super) async fn revoked(&mut self) -> End {
        let Some((_, revocation)) = &mut self.running else { return std::future::pending().await };
        let why = revocation.wait_for(Option::is_some).await.ok().and_then(|why| (*why).clone());
        match why {
            Some(CloseReason::TakenOver) => End::Held,
            Some(CloseReason::Refused(refusal)) => End::Failed(refusal.to_string()),
            Some(CloseReason::Finished | CloseReason::Disconnected | CloseReason::Idle) => End::Over,
            Some(CloseReason::ShuttingDown) | None => End::Failed("the box is shutting down".to_owned()),
        }
    }

    pub(super) fn close(&mut self, end: &End) {
        self.close_as(match end {
            End::Over => CloseReason::Finished,
            End::Held => CloseReason::TakenOver,
            End::Failed(_) => CloseReason::Disconnected,
        });
    }

    fn close_as(&mut self, why: CloseReason) {
        if let Some((mut publication, _)) = self.running.take() {
            publication.closed(why);
        }
    }
}

impl Drop for Supply {
    fn drop(&mut self) {
        self.close_as(CloseReason::ShuttingDown);
    }
}
