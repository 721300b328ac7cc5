//! One encoding, one signature, one meaning: for every kind of statement.

use std::fmt::Debug;

use proptest::prelude::*;
use trust::clock::{Nonce, SignedTime};
use trust::key::{PublicKey, SecretKey};
use trust::map::{Delta, Map, MapEpoch};
use trust::*;

use crate::mesh::{Mesh, NOW, list, name, secs};

/// Every bit flipped, every length cut, bytes behind it, and both texts.
fn check<T>(statement: T, secret: &SecretKey<T::Signer>)
where
    T: Statement + Clone + Debug + PartialEq,
{
    let (mesh, key) = (*statement.mesh(), secret.public());
    let signed = Signed::sign(statement.clone(), secret).unwrap();
    let bytes = signed.to_bytes();
    assert!(bytes.len() <= T::BYTES_MAX);
    assert_eq!(bytes[0], T::KIND as u8);

    let read = Signed::<T>::from_bytes(&bytes).unwrap();
    assert_eq!(read.verify(&mesh, &key), Ok(&statement));
    assert_eq!(signed.to_string().parse::<Signed<T>>().unwrap(), signed);
    let json = serde_json::to_string(&signed).unwrap();
    assert_eq!(serde_json::from_str::<Signed<T>>(&json).unwrap(), signed);

    for bit in 0..bytes.len() * 8 {
        let mut bent = bytes.clone();
        bent[bit / 8] ^= 1 << (bit % 8);
        assert!(!believed::<T>(&bent, &mesh, &key), "{:?}: bit {bit}", T::KIND);
    }
    for length in 0..bytes.len() {
        assert!(!believed::<T>(&bytes[..length], &mesh, &key), "{:?}: {length} bytes", T::KIND);
    }
    for at in [2, bytes.len() - 64, bytes.len()] {
        let mut longer = bytes.clone();
        longer.insert(at, 0);
        assert!(!believed::<T>(&longer, &mesh, &key), "{:?}: a byte at {at}", T::KIND);
    }
    let other = Mesh::new(0xee);
    assert_eq!(read.verify(&other.id(), &key), Err(VerifyError::Foreign { mesh }));
    let thief = SecretKey::<T::Signer>::from_seed(&[0xee; 32]);
    assert_eq!(read.verify(&mesh, &thief.public()), Err(VerifyError::Forged));
    let forged = Signed::sign(statement, &thief).unwrap();
    assert_eq!(forged.verify(&mesh, &key), Err(VerifyError::Forged));
}

fn believed<T: Statement>(bytes: &[u8], mesh: &MeshId, key: &PublicKey<T::Signer>) -> bool {
    Signed::<T>::from_bytes(bytes).is_ok_and(|signed| signed.verify(mesh, key).is_ok())
}

#[test]
fn certificates_and_invites() {
    let mesh = Mesh::new(1);
    let joined = mesh.join(1);
    check(mesh.certificate().claims().clone(), &mesh.root);
    check(mesh.invite(1).signed.claims().clone(), &mesh.root);
    check(joined.chain.certificate.claims().clone(), &mesh.invite(1).secret);
    check(joined.binding(&mesh, 1, 1).claims().clone(), &joined.secret);
    check(mesh.viewer(1, joined.key()).claims().clone(), &mesh.root);
    let link = AccessToken { label: Some(name("ana")), not_before: Some(NOW), ..mesh.link("demo") };
    check(link, &mesh.stream_secret(1));
}

#[test]
fn memberships_revocations_and_times() {
    let mesh = Mesh::new(1);
    check(mesh.membership(&mesh.join(1)).claims().clone(), &mesh.coordinator);
    let targets = [
        Revoked::Invite(mesh.invite(1).signed.id()),
        Revoked::Box(mesh.join(1).key()),
        Revoked::Coordinator(mesh.coordinator.public()),
    ];
    for target in targets {
        check(mesh.revocation(3, target).claims().clone(), &mesh.root);
    }
    check(SignedTime { mesh: mesh.id(), nonce: Nonce([9; 32]), now: NOW }, &mesh.coordinator);
}

#[test]
fn maps_and_deltas() {
    let mesh = Mesh::new(1);
    let recipient = mesh.join(9).key();
    let entries = [mesh.entry(&mesh.join(1)), mesh.entry(&mesh.join(2))];
    check(mesh.map(recipient, 7, entries[..1].to_vec()).claims().clone(), &mesh.coordinator);
    check(mesh.delta(recipient, 7, 8, &entries[..1], &entries[1..]), &mesh.coordinator);
}

/// A statement that is written as a signed time is, and is none.
#[derive(Clone, Debug, serde::Serialize, serde::Deserialize)]
struct Lookalike {
    mesh: MeshId,
    nonce: Nonce,
    now: UnixSeconds,
}

impl Statement for Lookalike {
    type Signer = key::role::Coordinator;
    const KIND: Kind = Kind::Membership;
    const BYTES_MAX: usize = 160;
    fn mesh(&self) -> &MeshId {
        &self.mesh
    }
}

/// The same fields under the same key, as another kind: the label is what tells them apart.
#[test]
fn a_signature_for_one_kind_is_none_for_another() {
    let mesh = Mesh::new(1);
    let time = SignedTime { mesh: mesh.id(), nonce: Nonce([9; 32]), now: NOW };
    let bytes = Signed::sign(time, &mesh.coordinator).unwrap().to_bytes();
    for kind in 0..=u8::MAX {
        let mut bent = bytes.clone();
        bent[0] = kind;
        assert_eq!(Signed::<SignedTime>::from_bytes(&bent).is_ok(), kind == Kind::Time as u8);
    }
    let mut bent = bytes;
    bent[0] = Kind::Membership as u8;
    let lookalike = Signed::<Lookalike>::from_bytes(&bent).unwrap();
    let found = lookalike.verify(&mesh.id(), &mesh.coordinator.public()).map(drop);
    assert_eq!(found, Err(VerifyError::Forged));
}

#[test]
fn what_is_wrong_with_bytes_is_told() {
    let mesh = Mesh::new(1);
    let bytes = mesh.revocation(3, Revoked::Invite(mesh.invite(1).signed.id())).to_bytes();
    let check = |bend: &dyn Fn(&mut Vec<u8>), expected| {
        let mut bent = bytes.clone();
        bend(&mut bent);
        assert_eq!(Signed::<Revocation>::from_bytes(&bent), Err(expected));
    };
    check(&|bytes| bytes.clear(), DecodeError::TooShort);
    check(&|bytes| bytes.truncate(65), DecodeError::TooShort);
    check(&|bytes| bytes[0] = 2, DecodeError::OtherKind { found: 2 });
    check(&|bytes| bytes[1] = 2, DecodeError::OtherVersion { found: 2 });
    check(&|bytes| bytes.resize(161, 0), DecodeError::TooLong { bytes: 161, max: 160 });
    check(&|bytes| bytes.push(0), DecodeError::Trailing);
    check(&|bytes| bytes[18] = 0, DecodeError::OutOfBounds("serials begin at 1"));
    check(&|bytes| bytes[19] = 9, DecodeError::Malformed);
    // The serial 3, written with a byte more than it needs.
    let padded = |bytes: &mut Vec<u8>| drop(bytes.splice(18..19, [0x83, 0]));
    check(&padded, DecodeError::NotCanonical);
}

#[test]
fn what_breaks_a_bound_is_not_signed() {
    let mesh = Mesh::new(1);
    let refused = |bend: &dyn Fn(&mut Invite)| {
        let mut invite = mesh.invite(1).signed.claims().clone();
        bend(&mut invite);
        matches!(Signed::sign(invite, &mesh.root), Err(DecodeError::OutOfBounds(_)))
    };
    assert!(!refused(&|_| ()));
    assert!(refused(&|invite| invite.limits.boxes = 0));
    assert!(refused(&|invite| invite.limits.boxes = 33));
    assert!(refused(&|invite| invite.limits.streams = 65));
    assert!(refused(&|invite| invite.expires = invite.issued));
    assert!(refused(&|invite| invite.expires = secs(90 * 86_400)));
    let entries = vec![mesh.entry(&mesh.join(1)), mesh.entry(&mesh.join(2))];
    let mut map = mesh.map(mesh.join(9).key(), 1, entries).claims().clone();
    let mut swapped = map.entries.to_vec();
    swapped.reverse();
    map.entries = list(swapped);
    assert!(matches!(Signed::sign(map, &mesh.coordinator), Err(DecodeError::OutOfBounds(_))));
}

#[test]
fn the_largest_map_is_within_its_bounds() {
    let mesh = Mesh::new(1);
    let long = "a-name-of-thirty-two-characters1";
    let invited = mesh.invite_for(1, long, Limits { boxes: 32, streams: 64 });
    let joined = mesh.join_as(&invited, 1, long);
    let mut entry = mesh.entry(&joined);
    let endpoint = |port: u16| Endpoint::new(format!("[2001:db8::1]:{port}").parse().unwrap()).unwrap();
    entry.endpoints = list((0..8).map(|n| endpoint(65_000 + n)).collect());
    entry.wireguard = list(vec![joined.binding(&mesh, u32::MAX - 1, 1), joined.binding(&mesh, u32::MAX, 1)]);
    let head = mesh.map(joined.key(), u64::MAX, vec![]).to_bytes().len();
    let bytes = mesh.map(joined.key(), u64::MAX, vec![entry]).to_bytes().len() - head;
    assert!(bytes <= peer::Entry::BYTES_MAX, "{bytes}");
    assert!(head + map::PEERS_MAX * bytes < Map::BYTES_MAX);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn any_invite_comes_back(
        seed: [u8; 32], friend in "[a-z0-9]([a-z0-9-]{0,30}[a-z0-9])?", boxes in 1u8..=32,
        streams in 0u8..=64, issued in 0u64..4_000_000_000, valid in 1u64..=7_776_000,
    ) {
        let mesh = Mesh::new(1);
        let invite = Invite {
            mesh: mesh.id(),
            key: InviteSecret::from_seed(&seed).public(),
            name: name(&friend),
            kind: InviteKind::Box,
            limits: Limits { boxes, streams },
            issued: UnixSeconds::new(issued),
            expires: UnixSeconds::new(issued + valid),
        };
        let signed = Signed::sign(invite.clone(), &mesh.root).unwrap();
        let read = Signed::<Invite>::from_bytes(&signed.to_bytes()).unwrap();
        prop_assert_eq!(read.verify(&mesh.id(), &mesh.root_key()), Ok(&invite));
    }

    #[test]
    fn any_binding_comes_back(key: [u8; 32], generation in 1u32.., boot: u32, at in 0u64..=253_402_300_799) {
        prop_assume!(key != [0; 32]);
        let (mesh, joined) = (Mesh::new(1), Mesh::new(1).join(1));
        let (key, valid_from) = (WireGuardKey::from_bytes(key).unwrap(), UnixSeconds::new(at));
        let binding = WireGuardBinding { mesh: mesh.id(), key, generation, boot, valid_from };
        let signed = Signed::sign(binding.clone(), &joined.secret).unwrap();
        let read = Signed::<WireGuardBinding>::from_bytes(&signed.to_bytes()).unwrap();
        prop_assert_eq!(read.verify(&mesh.id(), &joined.key()), Ok(&binding));
    }

    #[test]
    fn what_can_be_read_is_written_back(bytes: Vec<u8>, kind in 1u8..=13) {
        let bytes = [&[kind, 1], &bytes[..]].concat();
        fn check<T: Statement>(bytes: &[u8]) {
            if let Ok(signed) = Signed::<T>::from_bytes(bytes) {
                assert_eq!(signed.to_bytes(), bytes);
            }
        }
        check::<Invite>(&bytes);
        check::<Membership>(&bytes);
        check::<Map>(&bytes);
        check::<Delta>(&bytes);
        check::<Viewer>(&bytes);
        check::<AccessToken>(&bytes);
    }

    #[test]
    fn epochs_rise(at in 0u64..=253_402_300_799, count in 0u64..1_000_000) {
        let first = MapEpoch::first(UnixSeconds::new(at));
        prop_assert!(MapEpoch(first.0 + count) < MapEpoch::first(UnixSeconds::new(at + 1)) || at == 253_402_300_799);
        prop_assert!(first.next() > first);
    }
}
