//! Requests signed by a box: which request it is, when, and once.
//!
//! The statement goes in the header [`HEADER`]. TLS keeps others from reading it; the signature says which box asks,
//! whatever stands between, and the guard takes each request once. Refuses a request whose time is off by more than
//! a minute, one that was made before the guard was, and one that it has seen.

use alloc::collections::{BTreeMap, BTreeSet};
use core::time::Duration;

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use trust::key::role;
use trust::{BoxKey, Digest, Kind, MeshId, Signed, Statement, UnixSeconds, VerifyError};

use crate::text::Text;

/// The header of a request that carries its statement, as base64url text of at most [`HEADER_BYTES_MAX`].
pub const HEADER: &str = "relaybox-request";
pub const HEADER_BYTES_MAX: usize = BoxRequest::BYTES_MAX.div_ceil(3) * 4;

/// The methods that the API has (RFC 9110 section 9.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Method {
    Get,
    Post,
    Delete,
}

/// What a box says about a request of its own.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct BoxRequest {
    pub mesh: MeshId,
    pub key: BoxKey,
    pub method: Method,
    /// Path and query, as in the request line.
    pub target: Text<{ BoxRequest::TARGET_BYTES_MAX }>,
    /// Of the body; of nothing when there is none.
    pub body: Digest,
    pub time: UnixSeconds,
    pub nonce: RequestNonce,
}

/// 16 bytes of the shell's randomness, another one for each request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct RequestNonce(pub [u8; 16]);

impl Serialize for RequestNonce {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        self.0.serialize(to)
    }
}
impl<'de> Deserialize<'de> for RequestNonce {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        Deserialize::deserialize(from).map(Self)
    }
}

impl BoxRequest {
    pub const TARGET_BYTES_MAX: usize = 256;
}

impl Statement for BoxRequest {
    type Signer = role::Box;
    const KIND: Kind = Kind::Request;
    const BYTES_MAX: usize = 448;

    fn mesh(&self) -> &MeshId {
        &self.mesh
    }
}

/// A request as it came in.
#[derive(Clone, Copy, Debug)]
pub struct Incoming<'a> {
    pub method: Method,
    pub target: &'a str,
    pub body: &'a [u8],
}

/// A request is not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RequestError {
    #[error("the request's signature was made for another request")]
    OtherRequest,
    #[error("the request's time {theirs} is too far from {ours}")]
    ClockOff { ours: UnixSeconds, theirs: UnixSeconds },
    #[error("the request was made before this coordinator started: make it again")]
    BeforeStart,
    #[error("the request's signature does not hold")]
    Signature(#[source] VerifyError),
    #[error("the request was made already")]
    Replayed,
    #[error("too many requests at a time")]
    TooMany,
}

/// Takes each request once. What it remembers is bounded, and nothing is forgotten before it is too old to come again.
#[derive(Clone, Debug)]
pub struct ReplayGuard {
    mesh: MeshId,
    started: UnixSeconds,
    seen: BTreeMap<BoxKey, BTreeSet<(UnixSeconds, RequestNonce)>>,
}

impl ReplayGuard {
    /// A box's clock may be off by a minute, either way.
    pub const CLOCKS_APART_MAX: Duration = Duration::from_secs(60);
    /// Requests of one box within the two minutes in which one counts.
    pub const REQUESTS_MAX: usize = 256;
    /// Boxes that ask within these two minutes.
    pub const BOXES_MAX: usize = 4096;

    /// Requests from before `started` are refused: this guard can't have seen them, another one may have.
    #[must_use]
    pub const fn new(mesh: MeshId, started: UnixSeconds) -> Self {
        Self { mesh, started, seen: BTreeMap::new() }
    }

    /// Takes a request of the box `known`, which the caller found by [`Signed::claims`]: a member, or the box of a
    /// chain that was verified for its enrolment. A key of anybody's making has no place in this memory.
    ///
    /// # Errors
    /// [`RequestError`]; cheap checks come before the signature, and the memory is touched last: nothing is
    /// remembered of a request whose signature does not hold.
    pub fn admit(
        &mut self,
        signed: &Signed<BoxRequest>,
        incoming: &Incoming<'_>,
        known: &BoxKey,
        now: UnixSeconds,
    ) -> Result<(), RequestError> {
        let BoxRequest { method, ref target, ref body, time, nonce, key, .. } = *signed.claims();
        if key != *known || method != incoming.method || target.as_str() != incoming.target {
            return Err(RequestError::OtherRequest);
        }
        if time.since(now).max(now.since(time)) > Self::CLOCKS_APART_MAX {
            return Err(RequestError::ClockOff { ours: now, theirs: time });
        }
        if time < self.started {
            return Err(RequestError::BeforeStart);
        }
        if *body != Digest::of(incoming.body) {
            return Err(RequestError::OtherRequest);
        }
        signed.verify(&self.mesh, &key).map_err(RequestError::Signature)?;
        self.forget(&key, now);
        if !self.seen.contains_key(&key) && self.seen.len() >= Self::BOXES_MAX {
            return Err(RequestError::TooMany);
        }
        let seen = self.seen.entry(key).or_default();
        if seen.contains(&(time, nonce)) {
            return Err(RequestError::Replayed);
        }
        if seen.len() >= Self::REQUESTS_MAX {
            return Err(RequestError::TooMany);
        }
        seen.insert((time, nonce));
        Ok(())
    }

    /// Forgets what is too old to be taken again: of all boxes when there is no more room for another one.
    fn forget(&mut self, key: &BoxKey, now: UnixSeconds) {
        let oldest = (now.minus(Self::CLOCKS_APART_MAX), RequestNonce([0; 16]));
        if let Some(seen) = self.seen.get_mut(key) {
            *seen = seen.split_off(&oldest);
        } else if self.seen.len() >= Self::BOXES_MAX {
            self.seen.retain(|_, seen| {
                *seen = seen.split_off(&oldest);
                !seen.is_empty()
            });
        }
    }
}
