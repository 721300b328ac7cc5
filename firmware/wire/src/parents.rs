//! Who gives a stream to whom: a box that carries one says how it stands, and hears from whom to take it.
//!
//! Asked when a box begins to carry a stream, when it runs out of parents, and then every [`ParentsResponse::next_s`].
//! Who does not ask when it is due is soon named to nobody, as is one that several call silent until it asks again, and
//! forgotten after [`ParentsRequest::HELD_S`]. Refuses to be believed about media: what a
//! parent gives is checked, whoever named it.

use serde::{Deserialize, Serialize};
use stream::StreamName;
use trust::{BoxKey, List};

/// Boxes named in one request or answer.
pub const PARENTS_MAX: usize = 32;

/// POST to [`crate::path::PARENTS`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ParentsRequest {
    pub stream: StreamName,
    /// What this box can give others on its line, in bits per second, as measured or as its friend allows; absent while
    /// nobody knows.
    pub uplink_bps: Option<u64>,
    /// Of all streams together, what it gives others just now, in bits per second.
    pub sending_bps: u64,
    /// At this box.
    pub viewers: u32,
    /// Bytes of the stream's media that its viewers got since it began to carry it; 0 of the owner.
    #[serde(default)]
    pub watched_bytes: u64,
    /// From whom it takes what.
    pub takes: List<Take, PARENTS_MAX>,
    /// Who failed it lately, and is not to be named again soon.
    pub failed: List<BoxKey, PARENTS_MAX>,
    /// Parents from which it heard nothing any more in the last seconds, while others went on: they may be gone.
    #[serde(default)]
    pub silent: List<BoxKey, PARENTS_MAX>,
    /// Boxes that it reaches only through others, while it reaches more of them straight: what one of these gives it goes out on
    /// a third household's line as well.
    #[serde(default)]
    pub relayed: List<BoxKey, PARENTS_MAX>,
    /// It stops: nobody is to take anything from it any more.
    #[serde(default)]
    pub leaving: bool,
}

impl ParentsRequest {
    pub const HELD_S: u32 = 30;
}

/// Stripes that come from one parent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Take {
    pub parent: BoxKey,
    /// Bit i is stripe i.
    pub stripes: u16,
}

/// The answer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ParentsResponse {
    /// At which box the stream is published. It alone signs it.
    pub owner: BoxKey,
    /// Whether it is published just now, as far as the coordinator knows.
    pub live: bool,
    /// Into how many stripes the stream is cut.
    pub stripes: u8,
    /// Best first, the box itself never among them.
    pub parents: List<ParentEntry, PARENTS_MAX>,
    /// Seconds until the box asks again, if nothing happens.
    pub next_s: u32,
    /// What viewers of all boxes but the owner's got while the coordinator looked on. It begins anew when nobody carries
    /// the stream any more, or with another start of the coordinator.
    #[serde(default)]
    pub watched_bytes: u64,
}

/// A box that may be asked for the stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ParentEntry {
    pub key: BoxKey,
    /// Greater is better.
    pub score: u32,
    /// What is to come from it; 0 for one that stands by.
    pub stripes: u16,
    /// What must not come from it, since it takes that from this box or from one below.
    pub barred: u16,
    /// What it gives to those who are to give it to this box: it is asked first where one of them fails, and has a place
    /// for that, which nobody else needs then.
    #[serde(default)]
    pub heir: u16,
}
