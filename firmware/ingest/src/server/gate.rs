//! What the connections of one listener share: the desk, and the counts that bound them together.

use std::collections::BTreeMap;
use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use stream::Millis;
use tokio::time::Instant;

use super::attempts::{Attempts, household};
use super::publishing::Publishing;
use crate::{ConnectRequest, Desk, Limits, PublishRequest, Refusal, Revocation};

pub(super) struct Gate {
    pub(super) desk: Arc<dyn Desk>,
    pub(super) limits: Limits,
    opened: Instant,
    attempts: Mutex<Attempts>,
    publishing: Mutex<BTreeMap<u64, Revocation>>,
    /// Connections that do not publish yet, by household.
    waiting: Mutex<BTreeMap<IpAddr, usize>>,
}

/// A place among those that do not publish yet.
#[derive(Debug)]
pub(super) struct Waiting {
    gate: Arc<Gate>,
    household: IpAddr,
}

impl Drop for Waiting {
    fn drop(&mut self) {
        let mut waiting = lock(&self.gate.waiting);
        if let Some(count) = waiting.get_mut(&self.household) {
            *count -= 1;
            if *count == 0 {
                waiting.remove(&self.household);
            }
        }
    }
}

impl fmt::Debug for Gate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Gate").field("limits", &self.limits).finish_non_exhaustive()
    }
}

impl Gate {
    pub(super) fn new(desk: Arc<dyn Desk>, limits: Limits) -> Self {
        Self {
            desk,
            limits,
            opened: Instant::now(),
            attempts: Mutex::new(Attempts::new(limits.wrong_attempts_per_minute)),
            publishing: Mutex::default(),
            waiting: Mutex::default(),
        }
    }

    /// The clock of all sessions.
    pub(super) fn now(&self) -> Millis {
        Millis(self.opened.elapsed().as_millis() as u64)
    }

    pub(super) fn instant(&self, at: Millis) -> Instant {
        self.opened + Duration::from_millis(at.0)
    }

    /// The next multiple of a stride on the clock of all sessions.
    pub(super) fn next(&self, stride: Duration) -> Instant {
        let past = self.opened.elapsed().as_nanos() % stride.as_nanos().max(1);
        Instant::now() + stride.saturating_sub(Duration::from_nanos_u128(past))
    }

    /// None if the address has too many connections that do not publish.
    pub(super) fn wait(self: &Arc<Self>, peer: IpAddr) -> Option<Waiting> {
        let household = household(peer);
        let mut waiting = lock(&self.waiting);
        let count = waiting.get(&household).copied().unwrap_or(0);
        if count >= self.limits.waiting_per_address {
            return None;
        }
        waiting.insert(household, count + 1);
        drop(waiting);
        Some(Waiting { gate: Arc::clone(self), household })
    }

    pub(super) fn admit(&self, request: ConnectRequest<'_>) -> Result<(), Refusal> {
        self.guarded(request.peer, || self.desk.admit(request))
    }

    pub(super) fn open(
        self: &Arc<Self>,
        id: u64,
        request: PublishRequest<'_>,
    ) -> Result<Publishing, Refusal> {
        let publication = self.guarded(request.peer, || self.desk.open(request))?;
        let revocation = publication.revoked();
        let mut publishing = lock(&self.publishing);
        // Counted after opening, since a takeover has just revoked the one whose place this takes.
        let others = publishing.values().filter(|revocation| is_active(revocation)).count();
        publishing.insert(id, revocation.clone());
        drop(publishing);
        let mut opened = Publishing::new(id, publication, revocation, Arc::clone(self));
        if others >= self.limits.publishers {
            opened.close(crate::CloseReason::Refused(Refusal::TooManyPublishers));
            return Err(Refusal::TooManyPublishers);
        }
        Ok(opened)
    }

    pub(super) fn release(&self, id: u64) {
        lock(&self.publishing).remove(&id);
    }

    /// Asks only while the address has attempts left.
    fn guarded<T>(&self, peer: SocketAddr, ask: impl FnOnce() -> Result<T, Refusal>) -> Result<T, Refusal> {
        if !lock(&self.attempts).charge(peer.ip(), self.now()) {
            return Err(Refusal::TooManyAttempts);
        }
        let answer = ask();
        if !answer.as_ref().is_err_and(Refusal::is_wrong_attempt) {
            lock(&self.attempts).refund(peer.ip());
        }
        answer
    }
}

fn is_active(revocation: &Revocation) -> bool {
    revocation.has_changed().is_ok() && revocation.borrow().is_none()
}

/// A panic elsewhere leaves counts that are still counts.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
