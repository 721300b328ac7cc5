//! All boxes as they are at one moment, and what is revoked. Refuses to change: another moment is another directory.

use std::cmp::Reverse;
use std::collections::BTreeMap;

use trust::peer::Entry;
use trust::{BoxKey, Limits, List, Name, Revocations, Signed, Ula, UnixSeconds, Viewer, Viewers};

use crate::store::BoxRow;

/// A box that came in.
#[derive(Clone, Debug)]
pub(crate) struct Member {
    pub(crate) entry: Entry,
    pub(crate) seen: Option<UnixSeconds>,
}

impl Member {
    pub(crate) fn key(&self) -> &BoxKey {
        self.entry.key()
    }

    pub(crate) fn name(&self) -> &Name {
        &self.entry.chain.certificate.claims().name
    }

    pub(crate) fn limits(&self) -> Limits {
        self.entry.chain.invite.claims().limits
    }
}

/// How a key stands.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Standing {
    Member,
    Revoked,
    Unknown,
}

#[derive(Clone, Debug, Default)]
pub(crate) struct Directory {
    members: BTreeMap<BoxKey, Member>,
    names: BTreeMap<Name, BoxKey>,
    addresses: BTreeMap<Ula, BoxKey>,
    revocations: Revocations,
    viewers: Vec<Signed<Viewer>>,
}

impl Directory {
    pub(crate) fn new(rows: Vec<BoxRow>, revocations: Revocations, viewers: Vec<Signed<Viewer>>) -> Self {
        let mut directory = Self { revocations, viewers, ..Self::default() };
        for row in rows {
            let (key, name) = (*row.key(), row.name().clone());
            directory.names.insert(name, key);
            directory.addresses.insert(row.entry.membership.claims().address, key);
            directory.members.insert(key, Member { entry: row.entry, seen: row.seen });
        }
        directory
    }

    pub(crate) fn standing(&self, key: &BoxKey) -> Standing {
        match self.members.get(key) {
            Some(member) if self.is_revoked(member) => Standing::Revoked,
            Some(_) => Standing::Member,
            None => Standing::Unknown,
        }
    }

    /// Whether it can be anybody's peer at `now`.
    pub(crate) fn is_peer(&self, key: &BoxKey, now: UnixSeconds) -> bool {
        self.members.get(key).is_some_and(|member| self.accepts(member, now))
    }

    fn accepts(&self, member: &Member, now: UnixSeconds) -> bool {
        member.entry.membership.claims().state(now).is_accepted() && !self.is_revoked(member)
    }

    /// Whether or not it is revoked.
    pub(crate) fn member(&self, key: &BoxKey) -> Option<&Member> {
        self.members.get(key)
    }

    pub(crate) fn by_name(&self, name: &Name) -> Option<&Member> {
        self.members.get(self.names.get(name)?)
    }

    /// By its address inside of the mesh.
    pub(crate) fn by_address(&self, address: &Ula) -> Option<&Member> {
        self.members.get(self.addresses.get(address)?)
    }

    pub(crate) fn is_revoked(&self, member: &Member) -> bool {
        self.revocations.revokes_box(member.key())
            || self.revocations.revokes_invite(&member.entry.chain.invite.id())
    }

    /// Those that can be peers at `now`, by rising key.
    pub(crate) fn peers(&self, now: UnixSeconds) -> impl Iterator<Item = &Member> {
        self.members.values().filter(move |member| self.accepts(member, now))
    }

    /// Those that may come in at this box at `now`, the newest first.
    pub(crate) fn viewers_of(
        &self,
        gateway: &BoxKey,
        now: UnixSeconds,
    ) -> List<Signed<Viewer>, { Viewers::MAX }> {
        let here = |viewer: &&Signed<Viewer>| {
            viewer.claims().gateway == *gateway && viewer.claims().holds(&self.revocations, now)
        };
        let mut here: Vec<_> = self.viewers.iter().filter(here).cloned().collect();
        here.sort_by_key(|viewer| Reverse(viewer.claims().issued));
        here.truncate(Viewers::MAX);
        here.try_into().unwrap_or_default()
    }

    pub(crate) fn revocations(&self) -> &Revocations {
        &self.revocations
    }
}
