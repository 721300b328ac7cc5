//! What boxes and coordinator say to each other: the API's types, their bounds, and every problem with what to do.
//!
//! JSON over HTTPS below [`PREFIX`]. A reader passes over fields that it does not know, so that the other side may be
//! newer; a field that is missing is an error. Every text and every list has an upper bound that is checked while it
//! is read. What has to be believed is a signed statement of [`trust`], as base64url text.
//!
//! This crate is a core: it never waits, opens, spawns, sleeps or rolls dice. It refuses to know about sockets and
//! JSON parsers; shells bring both.
#![no_std]

extern crate alloc;
#[cfg(test)]
extern crate std;

pub mod enrol;
pub mod feed;
pub mod heartbeat;
pub mod parents;
pub mod problem;
pub mod push;
pub mod relay;
pub mod request;
pub mod stun;
pub mod text;
pub mod updates;
pub mod watch;

pub use enrol::{EnrolRequest, EnrolResponse};
pub use heartbeat::{Heartbeat, HeartbeatResponse};
pub use parents::{ParentEntry, ParentsRequest, ParentsResponse};
pub use problem::{Code, Problem};
pub use push::Frame;
pub use request::{BoxRequest, Method, ReplayGuard, RequestError};
pub use text::Text;
pub use watch::{WatchUrl, WatchUrls};

/// Before each path; a change that old boxes would misread gets another number.
pub const PREFIX: &str = "/api/v1";

/// Where each request goes. All but `TIME` and `ENROL` are for members; all but `TIME` are signed by the box.
pub mod path {
    /// POST [`crate::updates::TimeRequest`] -> [`crate::updates::TimeResponse`].
    pub const TIME: &str = "/api/v1/time";
    /// POST [`crate::EnrolRequest`] -> [`crate::EnrolResponse`].
    pub const ENROL: &str = "/api/v1/enrol";
    /// POST [`crate::Heartbeat`] -> [`crate::HeartbeatResponse`].
    pub const HEARTBEAT: &str = "/api/v1/heartbeat";
    /// POST [`crate::updates::RenewRequest`] -> [`crate::updates::RenewResponse`].
    pub const RENEW: &str = "/api/v1/membership";
    /// POST [`crate::updates::BindingUpdate`] -> 204.
    pub const WIREGUARD: &str = "/api/v1/wireguard";
    /// GET -> [`crate::Frame`], one per line, for as long as the connection lasts.
    pub const PUSH: &str = "/api/v1/push";
    /// GET with `Upgrade:` [`crate::relay::PROTOCOL`] -> 101, and then frames of [`crate::relay`], both ways.
    pub const RELAY: &str = "/api/v1/relay";
    /// GET `?name=`, `?key=` or `?address=` -> [`crate::updates::LookupResponse`].
    pub const LOOKUP: &str = "/api/v1/box";
    /// POST [`crate::updates::RevocationSet`], either way -> 204; GET -> the same.
    pub const REVOCATIONS: &str = "/api/v1/revocations";
    /// POST [`crate::ParentsRequest`] -> [`crate::ParentsResponse`].
    pub const PARENTS: &str = "/api/v1/parents";
    /// POST [`trust::DoubleUse`] -> 204.
    pub const EVIDENCE: &str = "/api/v1/evidence";
}

/// A request or response body may have this many bytes: a largest answer to an enrolment, with room for later fields.
pub const BODY_BYTES_MAX: usize = 1 << 20;
