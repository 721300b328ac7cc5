//! What the coordinator pushes for as long as a connection lasts: one frame of JSON per line. Refuses nothing that it
//! does not know: a newer coordinator may say more.

use serde::{Deserialize, Serialize};
use trust::map::{Delta, Map};
use trust::{
    CoordinatorCertificate, List, Revocation, Revocations, Signed, Statement as _, UnixSeconds, Viewer,
    Viewers,
};

/// One line on [`crate::path::PUSH`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "kebab-case")]
pub enum Frame {
    /// At the start, and when the box can't go on from what it has.
    Map { map: Signed<Map> },
    /// A change, from the epoch before.
    Delta { delta: Signed<Delta> },
    /// Sent before every other frame that waits.
    Revocations { entries: List<Signed<Revocation>, { Revocations::MAX }> },
    /// All viewers for which this box is the gateway; a box keeps those that it had besides.
    Viewers { entries: List<Signed<Viewer>, { Viewers::MAX }> },
    /// The coordinator's key or its certificate changed.
    Certificate { certificate: Signed<CoordinatorCertificate> },
    /// Nothing new: after [`Frame::SILENCE_MAX_S`] without a line the box connects again.
    Alive { now: UnixSeconds },
    /// Of a kind that this software does not know: passed over.
    #[serde(other)]
    Unknown,
}

impl Frame {
    /// A line has at most this many bytes, its line break included: a largest delta in base64, and its name.
    pub const LINE_BYTES_MAX: usize = Delta::BYTES_MAX.div_ceil(3) * 4 + 256;
    /// The coordinator says something at least every 20 s, since NATs forget.
    pub const ALIVE_EVERY_S: u32 = 20;
    /// A box that hears nothing for so long connects again.
    pub const SILENCE_MAX_S: u32 = 60;
}
