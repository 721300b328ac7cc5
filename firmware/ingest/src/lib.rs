//! RTMP(S) sockets, and what is pulled from other servers, to access units.
//!
//! ```text
//! socket -> server -> session (handshake, chunks, commands) -> flv (tag bodies) -> Desk / Publication
//! another RTMP server -> session::Play -> flv -+-> whoever pulls
//! segments of HLS -> ts -----------------------+
//! ```
//!
//! `session`, `flv` and `ts` do no I/O and read no clock, so that every byte order can be tried on them; `server` is
//! the only part that knows sockets. What is not done here: repairing timestamps (that is `stream::timeline`),
//! deciding who may publish (that is the [`Desk`]), transcoding.

mod desk;
mod event;
pub mod flv;
mod limits;
mod refusal;
#[cfg(any(test, feature = "script"))]
pub mod script;
pub mod server;
pub mod session;
pub mod ts;

pub use desk::{ConnectRequest, Desk, Publication, PublishRequest, Revocation};
pub use event::{Event, Metadata};
pub use limits::Limits;
pub use refusal::{CloseReason, Refusal};
pub use server::serve;
