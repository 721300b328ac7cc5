//! A publication that is open, and closed exactly once, whatever becomes of the connection's task.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use super::gate::Gate;
use crate::{CloseReason, Event, Publication, Refusal, Revocation};

pub(super) struct Publishing {
    id: u64,
    publication: Box<dyn Publication>,
    revocation: Revocation,
    gate: Arc<Gate>,
    closed: bool,
}

impl fmt::Debug for Publishing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Publishing")
            .field("id", &self.id)
            .field("closed", &self.closed)
            .finish_non_exhaustive()
    }
}

impl Publishing {
    pub(super) fn new(
        id: u64,
        publication: Box<dyn Publication>,
        revocation: Revocation,
        gate: Arc<Gate>,
    ) -> Self {
        Self { id, publication, revocation, gate, closed: false }
    }

    pub(super) fn accept(&mut self, events: &mut Vec<Event>) -> Result<(), Refusal> {
        self.publication.accept(events)
    }

    /// How long to put off the next read.
    pub(super) fn stride(&self) -> Option<Duration> {
        self.publication.stride()
    }

    pub(super) fn close(&mut self, why: CloseReason) {
        if !self.closed {
            self.closed = true;
            self.gate.release(self.id);
            self.publication.closed(why);
        }
    }

    /// Waits until the publication has to end.
    pub(super) async fn revoked(&mut self) -> CloseReason {
        match self.revocation.wait_for(Option::is_some).await {
            Ok(why) => why.clone().unwrap_or(CloseReason::ShuttingDown),
            Err(_) => CloseReason::ShuttingDown,
        }
    }
}

impl Drop for Publishing {
    fn drop(&mut self) {
        self.close(CloseReason::ShuttingDown);
    }
}
