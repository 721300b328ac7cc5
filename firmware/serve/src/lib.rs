//! HTTP: playlists, parts, FLV, pages, API.
//!
//! ```text
//! listener (bounds, TLS) -> answer (route, method, host) -> gate -> media   by the stream's access, CORS
//!                                                        -> pages   built in, strict policy
//!                                                        -> api     this machine, open policy, or a PIN session
//! ```
//! What it serves comes from `store` and from the daemon through [`Backstage`]; it keeps nothing but sessions, and
//! refuses to decide anything about media.

mod answer;
mod api;
mod backstage;
mod body;
mod conditional;
mod gate;
mod guard;
mod guesses;
mod listener;
mod media;
mod metrics;
mod pages;
mod policy;
mod problem;
mod range;
mod route;
mod session;
mod setup;

use std::fmt;
use std::hash::RandomState;
use std::sync::Arc;

use store::Store;

use crate::guesses::Guesses;
use crate::listener::Doors;
use crate::metrics::Metrics;
use crate::session::Sessions;

pub use backstage::{
    Advice, AudioStatus, Backstage, BackstageError, BoxView, GivingView, GivingWhy, GivingWish, Health,
    HealthProblem, HistoryPoint, LinkView, LinkWish, Offload, QuietHours, RefusalView, Severity, SourceState,
    SourceView, StreamState, StreamStatus, StudioStream, StudioView, VideoStatus, Wanted, Wanting,
};
pub use listener::{Limits, serve_http, serve_https, serve_io};
pub use policy::Policy;
pub use setup::{InviteWish, Setup, SetupError, SetupView, WifiState, WifiView, WifiWish};

/// Everything that requests are answered from; one for all listeners of a box.
pub struct Server {
    store: Arc<Store>,
    backstage: Arc<dyn Backstage>,
    policy: Policy,
    doors: Doors,
    sessions: Sessions,
    guesses: Guesses,
    metrics: Metrics,
    /// Keys the hash by which HLS clients are told apart.
    client_hash: RandomState,
}

impl Server {
    #[must_use]
    pub fn new(store: Arc<Store>, backstage: Arc<dyn Backstage>, policy: Policy, limits: Limits) -> Self {
        Self {
            store,
            backstage,
            policy,
            doors: Doors::new(limits),
            sessions: Sessions::default(),
            guesses: Guesses::new(),
            metrics: Metrics::default(),
            client_hash: RandomState::new(),
        }
    }
}

impl fmt::Debug for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Server")
            .field("store", &self.store)
            .field("policy", &self.policy)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
