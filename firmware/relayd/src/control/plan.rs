//! When to do what: plain functions of time and luck, which both come from the caller.

use std::time::Duration;

use trust::{Membership, MembershipState, UnixSeconds};

/// How long to wait after failures in a row. Refuses to grow beyond [`Backoff::LONGEST`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Backoff {
    failures: u32,
}

impl Backoff {
    const FIRST: Duration = Duration::from_secs(1);
    pub(crate) const LONGEST: Duration = Duration::from_secs(300);

    /// Between half of the wait and the whole of it, by `luck`: boxes that lost one coordinator don't come back at once.
    pub(crate) fn handle_failure(&mut self, luck: u32) -> Duration {
        let wait = Self::FIRST.saturating_mul(1 << self.failures.min(16)).min(Self::LONGEST);
        self.failures = self.failures.saturating_add(1);
        wait / 2 + wait / 2 * (luck % 1000) / 1000
    }

    pub(crate) fn handle_success(&mut self) {
        self.failures = 0;
    }
}

/// Whether to ask for another membership.
pub(super) fn renews(membership: &Membership, now: UnixSeconds) -> bool {
    match membership.state(now) {
        MembershipState::Early | MembershipState::Fresh => false,
        MembershipState::Renew | MembershipState::Grace | MembershipState::Lapsed => true,
    }
}

#[cfg(test)]
mod tests {
    use trust::{BoxSecret, InviteId, InviteSecret, MeshId, MeshPrefix, RootSecret};

    use super::*;

    #[test]
    fn waits_double_up_to_five_minutes() {
        let mut backoff = Backoff::default();
        let waits: Vec<u64> = (0..12).map(|_| backoff.handle_failure(0).as_millis() as u64).collect();
        assert_eq!(
            waits,
            [500, 1000, 2000, 4000, 8000, 16_000, 32_000, 64_000, 128_000, 150_000, 150_000, 150_000]
        );
        assert_eq!(backoff.handle_failure(999), Duration::from_millis(299_850));
        backoff.handle_success();
        assert_eq!(backoff.handle_failure(500), Duration::from_millis(750));
    }

    #[test]
    fn a_membership_is_renewed_from_its_tenth_day() {
        let mesh = MeshId::of(&RootSecret::from_seed(&[1; 32]).public());
        let membership = Membership {
            mesh,
            key: BoxSecret::from_seed(&[2; 32]).public(),
            invite: InviteId::of(&InviteSecret::from_seed(&[3; 32]).public()),
            address: MeshPrefix::of(&mesh).nth(0),
            issued: UnixSeconds::new(1_800_000_000),
        };
        let check = |day: u64, expected: bool| {
            let now = UnixSeconds::new(1_800_000_000 + day * 86_400);
            assert_eq!(renews(&membership, now), expected, "day {day}");
        };
        check(0, false);
        check(9, false);
        check(10, true);
        check(31, true);
        check(60, true);
    }
}
