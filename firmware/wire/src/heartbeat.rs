//! What a box tells about itself: defined here once, for the coordinator's page, its API, and `relayd status`.
//!
//! Whole numbers with their units in the names; no floating point. Refuses to carry anything that is decided on: a
//! heartbeat informs.

use serde::{Deserialize, Serialize};
use trust::map::{MapEpoch, PEERS_MAX};
use trust::peer::ENDPOINTS_MAX;
use trust::{Access, BoxKey, Digest, Endpoint, Limits, List, StreamKey, UnixSeconds};

use crate::enrol::{Board, Version};
use crate::problem::Code;
use crate::stun;
use crate::watch::{WatchUrl, WatchUrls};
use stream::StreamName;

/// POST to [`crate::path::HEARTBEAT`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Heartbeat {
    pub version: Version,
    pub board: Board,
    /// Since the board started.
    pub uptime_s: u64,
    /// As counted by the box, from 1 on.
    pub boot: u32,
    /// Average of the last minute, times 1000.
    pub load_milli: u32,
    /// In thousandths of a degree Celsius; absent on boards that have no sensor.
    pub temperature_milli_c: Option<i32>,
    /// The map that the box has; absent before the first.
    pub map_epoch: Option<MapEpoch>,
    /// [`trust::Revocations::digest`] of those that the box has.
    pub revocations: Digest,
    /// Where the box can be reached, best first.
    pub endpoints: List<Endpoint, ENDPOINTS_MAX>,
    /// One per peer.
    pub paths: List<PeerPath, PEERS_MAX>,
    /// Those that are published at this box, and those that it carries for others.
    pub streams: List<StreamReport, { StreamReport::PER_BOX_MAX }>,
    /// Under which addresses the box serves viewers, best first; none at a box that does not say.
    #[serde(default)]
    pub watch: WatchUrls,
}

/// How a box reaches a peer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PeerPath {
    pub peer: BoxKey,
    pub kind: PathKind,
    /// The other end of the path; absent when there is none.
    pub endpoint: Option<Endpoint>,
    /// Of the last probe.
    pub round_trip_ms: Option<u32>,
    /// Since the last WireGuard handshake.
    pub handshake_age_s: Option<u32>,
    /// Since the box started.
    pub sent_bytes: u64,
    pub received_bytes: u64,
}

/// What kind of path it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum PathKind {
    /// Without anybody between.
    Direct,
    /// Over UDP through another box.
    RelayedUdp,
    /// Over TLS through the coordinator.
    RelayedTls,
    /// Over a network that was there before.
    External,
    /// Not reached.
    None,
    /// Of a kind that this software does not know.
    #[serde(other)]
    Other,
}

/// A stream as one box sees it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StreamReport {
    pub name: StreamName,
    /// At which box it is published.
    pub owner: BoxKey,
    pub live_since: UnixSeconds,
    /// Measured over the last ten seconds.
    pub bitrate_bps: u64,
    /// Viewers at this box, other boxes not counted.
    pub viewers: u32,
    /// Who may watch it.
    #[serde(default)]
    pub access: Access,
    /// With which the stream is signed, by its owner's word; absent where it is not, and in what others say.
    #[serde(default)]
    pub key: Option<StreamKey>,
}

impl StreamReport {
    /// Those that it may own, and as many that it carries.
    pub const PER_BOX_MAX: usize = 2 * Limits::STREAMS_MAX as usize;
}

/// The answer to a heartbeat.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct HeartbeatResponse {
    pub now: UnixSeconds,
    /// The newest map for this box: it asks for a whole one when push has not brought it.
    pub map_epoch: MapEpoch,
    /// Of the coordinator's revocations: where it differs, both sides send theirs.
    pub revocations: Digest,
    /// Seconds until the next heartbeat.
    pub next_s: u32,
    /// What the box, or its friend, has to do something about.
    pub notices: List<Code, 16>,
    /// Where the box learns from which address it is seen; none at a coordinator that does not say.
    #[serde(default)]
    pub stun_ports: stun::Ports,
    /// Where viewers find the watch page; none at a coordinator that does not say.
    #[serde(default)]
    pub watch: Option<WatchUrl>,
}
