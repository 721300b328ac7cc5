//! The API from outside: what is read, what is refused, and that every refusal says what to do.

#![expect(clippy::unwrap_used, reason = "a test ends at its first surprise")]

mod enrolment;
mod heartbeats;
#[path = "../../../trust/tests/trust/mesh.rs"]
mod mesh;
mod problems;
mod pushes;
mod relaying;
mod requests;
mod strictness;
mod stun;
