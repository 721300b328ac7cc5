//! From the peers that are to be, and those that are, to the changes between them. Plain functions.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use trust::{BoxKey, Endpoint, Name, Peer, Ula, UnixSeconds, WireGuardKey};

/// A peer as the data plane has to know it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Wanted {
    pub(crate) name: Name,
    pub(crate) call: WireGuardKey,
    /// How often the box has started.
    pub(crate) boot: u32,
    pub(crate) address: Ula,
    pub(crate) endpoints: Vec<SocketAddr>,
}

/// What has to be done, in this order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Change {
    Remove {
        call: WireGuardKey,
    },
    /// It has another key; sessions of the old one go on for a while.
    Rekey {
        old: WireGuardKey,
        new: WireGuardKey,
    },
    /// Its places or its address changed.
    Update(BoxKey),
    /// The box started again: its session is dropped, so that one whose clock went back is not locked out.
    Renew(BoxKey),
    Add(BoxKey),
}

pub(crate) type Peers = BTreeMap<BoxKey, Wanted>;

pub(crate) fn wanted(accepted: &[Peer], now: UnixSeconds) -> Peers {
    let entry = |peer: &Peer| {
        let wanted = Wanted {
            name: peer.identity().name().clone(),
            call: *peer.keys().to_call(now),
            boot: peer.keys().newest().boot,
            address: peer.address(),
            endpoints: peer.endpoints().iter().map(Endpoint::address).collect(),
        };
        (*peer.identity().key(), wanted)
    };
    accepted.iter().map(entry).collect()
}

pub(crate) fn changes(have: &Peers, wanted: &Peers) -> Vec<Change> {
    let gone = have.iter().filter(|(key, _)| !wanted.contains_key(key));
    let mut changes: Vec<_> = gone.map(|(_, had)| Change::Remove { call: had.call }).collect();
    for (key, want) in wanted {
        let Some(had) = have.get(key) else {
            changes.push(Change::Add(*key));
            continue;
        };
        if had.call != want.call {
            changes.push(Change::Rekey { old: had.call, new: want.call });
        }
        if had.boot != want.boot {
            changes.push(Change::Renew(*key));
        } else if had.endpoints != want.endpoints || had.address != want.address {
            changes.push(Change::Update(*key));
        }
    }
    changes
}

#[cfg(test)]
mod tests {
    use trust::{BoxSecret, MeshPrefix, RootSecret};

    use super::*;

    fn key(n: u8) -> BoxKey {
        BoxSecret::from_seed(&[n; 32]).public()
    }

    fn peer(n: u8) -> Wanted {
        let prefix = MeshPrefix::of(&trust::MeshId::of(&RootSecret::from_seed(&[1; 32]).public()));
        Wanted {
            name: "ana".parse().unwrap(),
            call: WireGuardKey::from_bytes([n; 32]).unwrap(),
            boot: 1,
            address: prefix.of_box(&key(n), 0),
            endpoints: vec!["192.0.2.1:7".parse().unwrap()],
        }
    }

    #[test]
    fn only_what_differs_is_done() {
        let check = |have: &[(u8, Wanted)], wanted: &[(u8, Wanted)], expected: &[Change]| {
            let peers = |of: &[(u8, Wanted)]| of.iter().cloned().map(|(n, peer)| (key(n), peer)).collect();
            assert_eq!(changes(&peers(have), &peers(wanted)), expected);
        };
        let call = |n: u8| WireGuardKey::from_bytes([n; 32]).unwrap();
        check(&[], &[(1, peer(1))], &[Change::Add(key(1))]);
        check(&[(1, peer(1))], &[(1, peer(1))], &[]);
        check(&[(1, peer(1))], &[], &[Change::Remove { call: call(1) }]);
        check(&[(1, peer(1))], &[(1, Wanted { boot: 2, ..peer(1) })], &[Change::Renew(key(1))]);
        check(&[(1, peer(1))], &[(1, Wanted { endpoints: vec![], ..peer(1) })], &[Change::Update(key(1))]);
        check(
            &[(1, peer(1))],
            &[(1, Wanted { call: call(9), ..peer(1) })],
            &[Change::Rekey { old: call(1), new: call(9) }],
        );
    }
}
