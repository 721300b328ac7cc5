//! How the tunnel's state reads: one line while it runs, a table at the end.

use std::fmt::Write as _;
use std::time::Duration;

use dataplane::PeerStats;
use dataplane::plane::Snapshot;

/// A peer without a handshake for this long has no session.
const SESSION: Duration = Duration::from_secs(180);

/// One line for the log.
pub(super) fn line(snapshot: &Snapshot, up: Duration) -> String {
    let alive = |peer: &&PeerStats| peer.handshake_age.is_some_and(|age| age < SESSION);
    let heard = snapshot.peers.iter().filter(alive).count();
    let received = snapshot.peers.iter().map(|peer| peer.received_bytes).sum();
    let sent = snapshot.peers.iter().map(|peer| peer.sent_bytes).sum();
    let traffic = snapshot.traffic;
    let mut text = format!(
        "up {}; {heard} of {} peers; received {}, sent {}",
        time(up),
        snapshot.peers.len(),
        bytes(received),
        bytes(sent)
    );
    let drops = snapshot.drops;
    for (count, what) in [
        (drops.malformed + drops.unknown + drops.not_authentic, "datagrams that were no peer's"),
        (drops.limited, "handshakes above a source's limit"),
        (drops.bad_packet + drops.foreign_source, "packets that a peer may not send"),
        (drops.waited, "packets that waited too long"),
        (traffic.unroutable, "packets without a peer"),
        (traffic.unsent, "datagrams that could not be sent"),
        (traffic.unwritten, "packets that the interface did not take"),
    ] {
        if count > 0 {
            let _ = write!(text, "; {count} {what}");
        }
    }
    text
}

/// What stays to be said about each peer.
pub(super) fn summary(snapshot: &Snapshot) -> String {
    let mut text = String::new();
    for peer in &snapshot.peers {
        let endpoint = peer.endpoint.map_or_else(|| "unknown".to_owned(), |endpoint| endpoint.to_string());
        let handshake =
            peer.handshake_age.map_or_else(|| "never".to_owned(), |age| format!("{} ago", time(age)));
        let _ = writeln!(
            text,
            "peer {}\n  endpoint {endpoint}\n  last handshake {handshake}, {} in all\n  received {}, sent {}",
            peer.public_key,
            peer.handshakes,
            bytes(peer.received_bytes),
            bytes(peer.sent_bytes)
        );
    }
    text
}

fn time(time: Duration) -> String {
    let seconds = time.as_secs();
    match (seconds / 86_400, seconds / 3600 % 24, seconds / 60 % 60, seconds % 60) {
        (0, 0, 0, seconds) => format!("{seconds} s"),
        (0, 0, minutes, seconds) => format!("{minutes} min {seconds} s"),
        (0, hours, minutes, _) => format!("{hours} h {minutes} min"),
        (days, hours, ..) => format!("{days} d {hours} h"),
    }
}

/// Bytes exactly while they are few, then in the largest unit that leaves a whole number before the point.
fn bytes(count: u64) -> String {
    let units = [(1 << 40, "TiB"), (1 << 30, "GiB"), (1 << 20, "MiB"), (1 << 10, "KiB")];
    match units.into_iter().find(|(unit, _)| count >= *unit) {
        Some((unit, name)) => {
            let tenths = u128::from(count) * 10 / u128::from(unit);
            format!("{}.{} {name}", tenths / 10, tenths % 10)
        }
        None => format!("{count} B"),
    }
}

#[cfg(test)]
mod tests {
    use dataplane::PublicKey;
    use dataplane::exchange::Drops;
    use dataplane::plane::Traffic;

    use super::*;

    fn snapshot() -> Snapshot {
        let peer = |n: u8, age: Option<u64>| PeerStats {
            number: mesh::PeerId(n.into()),
            public_key: PublicKey([n; 32]),
            endpoint: age.map(|_| ([192, 0, 2, n], 51820).into()),
            mesh: None,
            handshake_age: age.map(Duration::from_secs),
            handshakes: u64::from(n),
            received_bytes: 1_500_000,
            sent_bytes: 1023,
        };
        Snapshot {
            peers: vec![peer(1, Some(75)), peer(2, None)],
            drops: Drops { limited: 7, ..Drops::default() },
            traffic: Traffic::default(),
        }
    }

    #[test]
    fn reads_like_this() {
        assert_eq!(
            line(&snapshot(), Duration::from_secs(3 * 3600 + 65)),
            "up 3 h 1 min; 1 of 2 peers; received 2.8 MiB, sent 1.9 KiB; 7 handshakes above a source's limit"
        );
        assert_eq!(
            summary(&snapshot()),
            "peer AQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQE=\n  endpoint 192.0.2.1:51820\n  \
             last handshake 1 min 15 s ago, 1 in all\n  received 1.4 MiB, sent 1023 B\n\
             peer AgICAgICAgICAgICAgICAgICAgICAgICAgICAgICAgI=\n  endpoint unknown\n  \
             last handshake never, 2 in all\n  received 1.4 MiB, sent 1023 B\n"
        );
    }
}
