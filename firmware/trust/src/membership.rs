//! The short-lived line: the coordinator's word that a box is a member just now, and under which address.
//!
//! ```text
//! issued        +10 d                  +30 d              +44 d
//!   │   Fresh     │        Renew         │      Grace       │   Lapsed
//! ```
//! Grace is for a coordinator that is away: peers go on accepting, pages say so. Refuses statements from the future,
//! since a stolen key would make them last for ever.

use core::time::Duration;

use serde::{Deserialize, Serialize};

use crate::digest::{InviteId, MeshId};
use crate::key::{BoxKey, role};
use crate::statement::{Kind, Statement};
use crate::time::UnixSeconds;
use crate::ula::Ula;

const DAY: Duration = Duration::from_secs(86_400);

/// The coordinator's word about a box.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Membership {
    pub mesh: MeshId,
    pub key: BoxKey,
    /// By which the box came in: ties this to one chain.
    pub invite: InviteId,
    /// Inside of the mesh's prefix.
    pub address: Ula,
    pub issued: UnixSeconds,
}

/// How a membership stands at a moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum MembershipState {
    /// Issued more than [`Membership::CLOCKS_APART_MAX`] after `now`: not accepted.
    Early,
    /// Accepted; nothing to do.
    Fresh,
    /// Accepted; the box asks for another one.
    Renew,
    /// Expired, and still accepted: the coordinator may be away.
    Grace,
    /// Not accepted any more.
    Lapsed,
}

impl Membership {
    /// 10 days after it was issued a box asks for another one.
    pub const RENEW_AFTER: Duration = Duration::from_secs(10 * DAY.as_secs());
    /// 30 days after it was issued it expires.
    pub const EXPIRES_AFTER: Duration = Duration::from_secs(30 * DAY.as_secs());
    /// For 14 days more it is accepted.
    pub const GRACE: Duration = Duration::from_secs(14 * DAY.as_secs());
    /// How far a peer's clock may be behind the coordinator's: one day.
    pub const CLOCKS_APART_MAX: Duration = DAY;

    #[must_use]
    pub const fn expires(&self) -> UnixSeconds {
        self.issued.plus(Self::EXPIRES_AFTER)
    }

    /// The first second at which no peer accepts it.
    #[must_use]
    pub const fn lapses(&self) -> UnixSeconds {
        self.expires().plus(Self::GRACE)
    }

    #[must_use]
    pub fn state(&self, now: UnixSeconds) -> MembershipState {
        if self.issued > now.plus(Self::CLOCKS_APART_MAX) {
            MembershipState::Early
        } else if now < self.issued.plus(Self::RENEW_AFTER) {
            MembershipState::Fresh
        } else if now < self.expires() {
            MembershipState::Renew
        } else if now < self.lapses() {
            MembershipState::Grace
        } else {
            MembershipState::Lapsed
        }
    }
}

impl Statement for Membership {
    type Signer = role::Coordinator;
    const KIND: Kind = Kind::Membership;
    const BYTES_MAX: usize = 176;

    fn mesh(&self) -> &MeshId {
        &self.mesh
    }
}

impl MembershipState {
    /// Whether a peer takes packets from the box.
    #[must_use]
    pub const fn is_accepted(self) -> bool {
        match self {
            Self::Fresh | Self::Renew | Self::Grace => true,
            Self::Early | Self::Lapsed => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::key::{BoxSecret, InviteSecret, RootSecret};

    #[test]
    fn a_membership_ages_by_days() {
        let mesh = MeshId::of(&RootSecret::from_seed(&[1; 32]).public());
        let membership = Membership {
            mesh,
            key: BoxSecret::from_seed(&[2; 32]).public(),
            invite: InviteId::of(&InviteSecret::from_seed(&[3; 32]).public()),
            address: crate::ula::MeshPrefix::of(&mesh).nth(0),
            issued: UnixSeconds::new(1_000_000_000),
        };
        let check = |seconds: i64, expected| {
            let now = 1_000_000_000_u64.checked_add_signed(seconds).unwrap();
            assert_eq!(membership.state(UnixSeconds::new(now)), expected, "{seconds} s");
        };
        check(-86_401, MembershipState::Early);
        check(-86_400, MembershipState::Fresh);
        check(0, MembershipState::Fresh);
        check(863_999, MembershipState::Fresh);
        check(864_000, MembershipState::Renew);
        check(2_591_999, MembershipState::Renew);
        check(2_592_000, MembershipState::Grace);
        check(3_801_599, MembershipState::Grace);
        check(3_801_600, MembershipState::Lapsed);
        assert_eq!(membership.state(UnixSeconds::MAX), MembershipState::Lapsed);
    }
}
