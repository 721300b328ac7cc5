//! How peers are reached: from the data plane's counters to what heartbeats tell, and what people read. Plain functions.

use std::time::Duration;

use dataplane::PeerStats;
use trust::{BoxKey, Endpoint};
use wire::heartbeat::{PathKind, PeerPath};

use super::reconcile::Wanted;
use super::standing::PeerStanding;

fn kind(stats: &PeerStats) -> PathKind {
    stats.mesh.as_ref().and_then(|mesh| mesh.path).map_or(PathKind::None, |path| path.kind())
}

pub(super) fn millis(duration: Duration) -> u32 {
    u32::try_from(duration.as_millis()).unwrap_or(u32::MAX)
}

fn seconds(duration: Duration) -> u32 {
    u32::try_from(duration.as_secs()).unwrap_or(u32::MAX)
}

pub(super) fn path(key: &BoxKey, stats: &PeerStats) -> PeerPath {
    PeerPath {
        peer: *key,
        kind: kind(stats),
        endpoint: stats.endpoint.and_then(|at| Endpoint::new(at).ok()),
        round_trip_ms: stats.mesh.as_ref().and_then(|mesh| mesh.round_trip).map(millis),
        handshake_age_s: stats.handshake_age.map(seconds),
        sent_bytes: stats.sent_bytes,
        received_bytes: stats.received_bytes,
    }
}

pub(super) fn shown(
    peer: &Wanted,
    stats: &PeerStats,
    names: impl Fn(mesh::PeerId) -> Option<String>,
) -> PeerStanding {
    let path = stats.mesh.as_ref().and_then(|mesh| mesh.path);
    let words = match path {
        None => "none".to_owned(),
        Some(mesh::Path::Direct { to, .. }) => format!("direct to {to}"),
        Some(mesh::Path::Box(id)) => {
            format!("through {}", names(id).unwrap_or_else(|| "another box".to_owned()))
        }
        Some(mesh::Path::Tls) => "through the coordinator".to_owned(),
    };
    PeerStanding {
        name: peer.name.clone(),
        address: peer.address,
        kind: kind(stats),
        path: words,
        endpoint: stats.endpoint,
        router: stats.mesh.as_ref().map(|mesh| mesh.nat).unwrap_or_default(),
        why_not: stats.mesh.as_ref().and_then(|mesh| mesh.why_not).map(|why| why.to_string()),
        round_trip_ms: stats.mesh.as_ref().and_then(|mesh| mesh.round_trip).map(millis),
        packet_bytes_max: stats.mesh.as_ref().filter(|mesh| mesh.path.is_some()).map(|mesh| mesh.mtu),
        handshake_age_s: stats.handshake_age.map(seconds),
        sent_bytes: stats.sent_bytes,
        received_bytes: stats.received_bytes,
    }
}
