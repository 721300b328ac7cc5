//! Lines without sockets.

use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use trust::{BoxSecret, InviteSecret, MeshId, MeshPrefix, RootSecret};

use super::line::End;
use super::*;

fn relay() -> Arc<Relay> {
    Arc::new(Relay::new(Budget { relay_pair_mbps: 20, relay_friend_mbps: 40 }))
}

fn place(relay: &Arc<Relay>, seed: u8) -> (Line, oneshot::Receiver<()>) {
    let mesh = MeshId::of(&RootSecret::from_seed(&[1; 32]).public());
    let key = BoxSecret::from_seed(&[seed; 32]).public();
    let friend = InviteId::of(&InviteSecret::from_seed(&[seed; 32]).public());
    relay.take_place(key, MeshPrefix::of(&mesh).nth(u64::from(seed)), friend).unwrap()
}

fn taken(line: &Line) -> Vec<u8> {
    let mut bytes = Vec::new();
    line.take(&mut bytes);
    bytes
}

#[test]
fn what_finds_no_room_is_counted_at_who_sent_it() {
    let relay = relay();
    let ((ana, _ana), (bob, _bob)) = (place(&relay, 1), place(&relay, 2));
    let (now, datagram) = (Instant::now(), [7; 1582]);
    // 1600 bytes each on the line: 163 of them are the most below 262,144.
    for _ in 0..170 {
        ana.forward(Parcel { other: bob.address, datagram: &datagram }, now);
    }
    assert_eq!(taken(&bob).len(), 163 * 1600);
    let expected = |sent: u64, received: u64, dropped_datagrams| Relayed {
        connected: true,
        sent_bytes: sent * 1582,
        received_bytes: received * 1582,
        dropped_datagrams,
    };
    assert_eq!(relay.relayed(&ana.key), expected(163, 0, 7));
    assert_eq!(relay.relayed(&bob.key), expected(0, 163, 0));
    ana.forward(Parcel { other: ana.address, datagram: &datagram }, now);
    assert_eq!(relay.relayed(&ana.key), expected(163, 0, 8), "to itself");
    drop(bob);
    ana.forward(Parcel { other: place(&self::relay(), 2).0.address, datagram: &datagram }, now);
    assert_eq!(relay.relayed(&ana.key), expected(163, 0, 9), "to nobody");
}

#[test]
fn a_place_is_left_by_who_has_it() {
    let relay = relay();
    let (first, mut replaced) = place(&relay, 1);
    assert!(replaced.try_recv().is_err_and(|error| error == oneshot::error::TryRecvError::Empty));
    let (second, _) = place(&relay, 1);
    assert!(replaced.try_recv().is_err_and(|error| error == oneshot::error::TryRecvError::Closed));
    assert!(!first.take(&mut Vec::new()) && second.take(&mut Vec::new()));
    drop(first);
    assert!(relay.relayed(&second.key).connected);
    let key = second.key;
    drop(second);
    assert!(!relay.relayed(&key).connected);
}

#[tokio::test]
async fn a_silent_box_hears_pings_and_is_let_go() {
    let (line, _replaced) = place(&relay(), 1);
    let (ours, mut theirs) = tokio::io::duplex(1 << 16);
    let pace = Pace { ping_every: Duration::from_millis(20), silence_max: Duration::from_millis(400) };
    let carried = tokio::spawn(async move { line.carry(ours, pace).await });
    let mut pings = [1; 4];
    theirs.read_exact(&mut pings).await.unwrap();
    assert_eq!(pings, [0; 4]);
    assert!(matches!(carried.await.unwrap(), End::Silent));
}

#[tokio::test]
async fn a_line_ends_with_what_is_no_frame() {
    let (line, _replaced) = place(&relay(), 1);
    let (ours, mut theirs) = tokio::io::duplex(1 << 16);
    theirs.write_all(&[0, 0, 0, 5, 1, 2, 3, 4, 5]).await.unwrap();
    assert!(matches!(line.carry(ours, Pace::USUAL).await, End::Frame(_)));
}
