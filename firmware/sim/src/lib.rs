//! A deterministic fleet: boxes with their real [`mesh::Agent`], routers that translate and filter as real ones do, a
//! network that delays and loses, and a coordinator, all on a clock that only the simulation moves.
//!
//! Everything follows from a seed, so a run that fails is run again by its number. It refuses to read the real clock
//! or the real network. WireGuard is modelled by its messages alone: who has a session with whom,
//! not how. [`crowd`] is another world, of boxes with their real [`swarm::Fetch`] that carry a stream.

mod coordinator;
pub mod crowd;
mod datagram;
mod dice;
mod fleet;
mod member;
mod network;
mod router;

pub use dice::Dice;
pub use fleet::{Fleet, Plan, Reach};
pub use router::Site;
