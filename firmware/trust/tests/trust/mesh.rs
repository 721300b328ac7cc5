//! A mesh with secrets made of constants: for tests and fuzz targets alone. Refuses to be random.
#![allow(dead_code, reason = "each user takes its part")]

use trust::coordinator::CoordinatorCertificate;
use trust::map::{Delta, Map, MapEpoch, digest};
use trust::peer::{Authority, Entry};
use trust::ticket::{InviteSeed, TlsPin};
use trust::viewer::ViewerPrefix;
use trust::{
    AccessToken, BoxCertificate, BoxKey, BoxSecret, Chain, Coordinator, CoordinatorSecret, Invite, InviteId,
    InviteKind, InviteSecret, Limits, LinkId, List, Membership, MeshId, MeshPrefix, Name, Revocation,
    Revocations, Revoked, RootKey, RootSecret, Signed, StreamSecret, Ticket, UnixSeconds, Viewer,
    WireGuardBinding, WireGuardKey,
};

pub(crate) const NOW: UnixSeconds = UnixSeconds::new(1_800_000_000);

pub(crate) fn secs(offset: i64) -> UnixSeconds {
    UnixSeconds::new(NOW.get().saturating_add_signed(offset))
}

pub(crate) fn days(offset: i64) -> UnixSeconds {
    secs(offset * 86_400)
}

pub(crate) fn name(text: &str) -> Name {
    text.parse().expect("a name")
}

pub(crate) fn list<T, const MAX: usize>(items: Vec<T>) -> List<T, MAX> {
    items.try_into().expect("not too many")
}

/// A mesh as its operator has it.
pub(crate) struct Mesh {
    pub(crate) root: RootSecret,
    pub(crate) coordinator: CoordinatorSecret,
}

/// An invite with its secret.
#[derive(Clone)]
pub(crate) struct Invited {
    pub(crate) signed: Signed<Invite>,
    pub(crate) secret: InviteSecret,
    pub(crate) seed: InviteSeed,
}

/// A box with its secret and its chain.
#[derive(Clone)]
pub(crate) struct Joined {
    pub(crate) secret: BoxSecret,
    pub(crate) chain: Chain,
}

impl Joined {
    pub(crate) fn key(&self) -> BoxKey {
        self.secret.public()
    }

    pub(crate) fn binding(&self, mesh: &Mesh, generation: u32, boot: u32) -> Signed<WireGuardBinding> {
        let mut key = *self.key().as_bytes();
        key[0] = key[0].wrapping_add(generation.to_le_bytes()[0]);
        let key = WireGuardKey::from_bytes(key).expect("not zero");
        let valid_from = secs(i64::from(generation) * 3600);
        let binding = WireGuardBinding { mesh: mesh.id(), key, generation, boot, valid_from };
        Signed::sign(binding, &self.secret).expect("in bounds")
    }
}

impl Mesh {
    pub(crate) fn new(seed: u8) -> Self {
        let mut coordinator = [seed; 32];
        coordinator[0] = 0xc0;
        let (root, coordinator) =
            (RootSecret::from_seed(&[seed; 32]), CoordinatorSecret::from_seed(&coordinator));
        Self { root, coordinator }
    }

    pub(crate) fn id(&self) -> MeshId {
        MeshId::of(&self.root_key())
    }

    pub(crate) fn root_key(&self) -> RootKey {
        self.root.public()
    }

    pub(crate) fn certificate(&self) -> Signed<CoordinatorCertificate> {
        let certificate = CoordinatorCertificate {
            mesh: self.id(),
            key: self.coordinator.public(),
            serial: 1,
            not_before: days(-100),
            not_after: days(630),
        };
        Signed::sign(certificate, &self.root).expect("in bounds")
    }

    pub(crate) fn coordinator(&self) -> Coordinator {
        Coordinator::verify(&self.certificate(), &self.root_key(), NOW, &Revocations::new()).expect("holds")
    }

    pub(crate) fn invite_for(&self, seed: u8, friend: &str, limits: Limits) -> Invited {
        let mut bytes = [seed; 16];
        bytes[0] = 0x1a;
        let seed = InviteSeed(bytes);
        let secret = seed.secret();
        let invite = Invite {
            mesh: self.id(),
            key: secret.public(),
            name: name(friend),
            kind: InviteKind::Box,
            limits,
            issued: days(-1),
            expires: days(6),
        };
        Invited { signed: Signed::sign(invite, &self.root).expect("in bounds"), secret, seed }
    }

    pub(crate) fn invite(&self, seed: u8) -> Invited {
        self.invite_for(seed, "ana", Limits::SINGLE)
    }

    pub(crate) fn ticket(&self, invited: &Invited) -> Ticket {
        Ticket {
            url: "https://coordinator.example.org:8443".parse().expect("a URL"),
            pin: TlsPin([0x77; 32]),
            root: self.root_key(),
            invite: invited.signed.clone(),
            seed: invited.seed.clone(),
        }
    }

    pub(crate) fn join_as(&self, invited: &Invited, seed: u8, its_name: &str) -> Joined {
        let mut bytes = [seed; 32];
        bytes[0] = 0xb0;
        let secret = BoxSecret::from_seed(&bytes);
        let certificate = BoxCertificate { mesh: self.id(), key: secret.public(), name: name(its_name) };
        let certificate = Signed::sign(certificate, &invited.secret).expect("in bounds");
        Joined { secret, chain: Chain { invite: invited.signed.clone(), certificate } }
    }

    /// A box with an invite of its own.
    pub(crate) fn join(&self, seed: u8) -> Joined {
        self.join_as(&self.invite(seed), seed, "ana")
    }

    pub(crate) fn membership_of(&self, key: BoxKey, invite: InviteId) -> Membership {
        let address = MeshPrefix::of(&self.id()).of_box(&key, 0);
        Membership { mesh: self.id(), key, invite, address, issued: NOW }
    }

    pub(crate) fn membership(&self, joined: &Joined) -> Signed<Membership> {
        let membership = self.membership_of(joined.key(), joined.chain.invite.id());
        Signed::sign(membership, &self.coordinator).expect("in bounds")
    }

    pub(crate) fn entry(&self, joined: &Joined) -> Entry {
        Entry {
            chain: joined.chain.clone(),
            membership: self.membership(joined),
            wireguard: list(vec![joined.binding(self, 1, 1)]),
            endpoints: list(vec![
                trust::Endpoint::new("192.0.2.7:51820".parse().expect("an address")).expect("one host"),
            ]),
        }
    }

    pub(crate) fn revocation(&self, serial: u32, target: Revoked) -> Signed<Revocation> {
        let revocation = Revocation { mesh: self.id(), serial, target, issued: NOW };
        Signed::sign(revocation, &self.root).expect("in bounds")
    }

    /// For 30 days; its key and its addresses by number.
    pub(crate) fn viewer(&self, number: u8, gateway: BoxKey) -> Signed<Viewer> {
        let prefix = ViewerPrefix::of(&self.id());
        let viewer = Viewer {
            mesh: self.id(),
            name: name("ana-phone"),
            key: WireGuardKey::from_bytes([number + 1; 32]).expect("not zero"),
            gateway,
            address: MeshPrefix::of(&self.id()).nth(number.into()),
            address_v4: prefix.nth(number.into()).expect("in the prefix"),
            gateway_v4: prefix.gateway(),
            issued: NOW,
            expires: days(30),
        };
        Signed::sign(viewer, &self.root).expect("in bounds")
    }

    pub(crate) fn stream_secret(&self, seed: u8) -> StreamSecret {
        let mut bytes = [seed; 32];
        bytes[0] = 0x57;
        StreamSecret::from_seed(&bytes)
    }

    /// For a week.
    pub(crate) fn link(&self, stream: &str) -> AccessToken {
        let (mesh, stream) = (self.id(), stream.into());
        AccessToken { mesh, stream, id: LinkId([7; 8]), label: None, not_before: None, expires: days(7) }
    }

    pub(crate) fn revoked(&self, target: Revoked) -> Revocations {
        let mut revocations = Revocations::new();
        revocations.merge(&self.root_key(), [&self.revocation(1, target)]);
        revocations
    }

    pub(crate) fn map(&self, recipient: BoxKey, epoch: u64, mut entries: Vec<Entry>) -> Signed<Map> {
        entries.sort_by_key(|entry| *entry.key());
        let (mesh, epoch, entries) = (self.id(), MapEpoch(epoch), list(entries));
        let map = Map { mesh, recipient, epoch, issued: NOW, entries };
        Signed::sign(map, &self.coordinator).expect("in bounds")
    }

    /// From the entries before to those after, by comparing them.
    pub(crate) fn delta(
        &self,
        recipient: BoxKey,
        from: u64,
        to: u64,
        before: &[Entry],
        after: &[Entry],
    ) -> Delta {
        let mut after = after.to_vec();
        after.sort_by_key(|entry| *entry.key());
        let gone = |entry: &&Entry| !after.iter().any(|other| other.key() == entry.key());
        let mut removed: Vec<BoxKey> = before.iter().filter(gone).map(|entry| *entry.key()).collect();
        removed.sort_unstable();
        let changed = after.iter().filter(|entry| !before.contains(entry)).cloned().collect();
        Delta {
            mesh: self.id(),
            recipient,
            from: MapEpoch(from),
            to: MapEpoch(to),
            issued: NOW,
            removed: list(removed),
            changed: list(changed),
            result: digest(after.iter()),
        }
    }

    pub(crate) fn sign_delta(&self, delta: Delta) -> Signed<Delta> {
        Signed::sign(delta, &self.coordinator).expect("in bounds")
    }
}

/// What a peer needs to judge, owned.
pub(crate) struct Judge {
    pub(crate) root: RootKey,
    pub(crate) coordinator: Coordinator,
    pub(crate) revocations: Revocations,
}

impl Judge {
    pub(crate) fn of(mesh: &Mesh) -> Self {
        Self { root: mesh.root_key(), coordinator: mesh.coordinator(), revocations: Revocations::new() }
    }

    pub(crate) fn authority(&self) -> Authority<'_> {
        let Self { root, coordinator, revocations } = self;
        Authority { root, coordinator, revocations }
    }
}
