//! What a box is worth as a parent: one measure for the coordinator and for a box on its own. Plain functions.

use crate::part::StripeCount;

/// Bits on the line for each thousand bits of media, beyond them. A packet of 1420 bytes inside of WireGuard carries
/// 1348 of TCP over IPv6, and is 1494 long on an Ethernet.
pub const OVERHEAD_PER_MILLE: u64 = 110;
/// The same where packets are as short as a path may make them: 1280 bytes inside carry 1208, and become 1360 with
/// WireGuard, UDP and IPv6 around them. Whoever has to keep a limit counts with it.
const LIMITED_PER_MILLE: u64 = 130;
/// Of media that comes, what goes out to acknowledge it, and to ask: measured 43 in the lab, with pieces of four packets.
const ACKNOWLEDGED_PER_MILLE: u64 = 50;
/// Each feed brings all headers: about 540 bytes, five times a second. As if no feed had more than one stripe.
pub const HEADERS_BPS: u64 = 22_000;
/// Of a line, what is planned with. On a line that is full for a moment longer, everything comes late for ever.
pub const USED_PER_MILLE: u64 = 950;
/// A box that is there for so long is no newcomer: most who leave early leave before.
const SETTLED_S: u64 = 600;
/// A round trip of so many milliseconds halves a box's worth.
const FAR_MS: u64 = 100;

/// What is known of a box.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Facts {
    /// As its line was measured, in bits per second.
    pub uplink_bps: u64,
    /// What the friend allows, in bits per second; with the guard's word, if that is less.
    pub limit_bps: Option<u64>,
    /// Since it came.
    pub age_s: u64,
    /// Of the time since it first came, how much it was there.
    pub present_per_mille: u16,
}

/// What so much media is on the line at most: bytes for bytes, bits for bits.
#[must_use]
pub const fn on_the_line(media: u64) -> u64 {
    media.saturating_mul(1000 + LIMITED_PER_MILLE) / 1000
}

/// What goes out where so much media comes in.
#[must_use]
pub const fn acknowledges(media: u64) -> u64 {
    media.saturating_mul(ACKNOWLEDGED_PER_MILLE) / 1000
}

/// What one stripe costs on the giver's line, in bits per second.
#[must_use]
pub fn stripe_bps(bitrate_bps: u64, stripes: StripeCount) -> u64 {
    let media = bitrate_bps.saturating_mul(1000 + OVERHEAD_PER_MILLE) / 1000;
    media.div_ceil(u64::from(stripes.get())).saturating_add(HEADERS_BPS)
}

impl Facts {
    /// Whole stripes that it can give at a time.
    #[must_use]
    pub fn slots(&self, stripe_bps: u64) -> u16 {
        let allowed = self.limit_bps.map_or(self.uplink_bps, |limit| limit.min(self.uplink_bps));
        u16::try_from(allowed / 1000 * USED_PER_MILLE / stripe_bps.max(1)).unwrap_or(u16::MAX)
    }

    /// How likely it is to stay, 1 to 1000: by how much it was there, and less for a newcomer.
    #[must_use]
    pub fn steadiness(&self) -> u32 {
        let settled = 400 + 600 * self.age_s.min(SETTLED_S) / SETTLED_S;
        u32::try_from(settled * u64::from(self.present_per_mille.min(1000)) / 1000).unwrap_or(0).max(1)
    }

    /// Worth as a parent, greater is better, at least 1: what it has left, how likely it stays, and how near it is.
    #[must_use]
    pub fn worth(&self, free: u16, round_trip_ms: u64) -> u32 {
        let room = u64::from(free.min(64)) + 1;
        let near = 1000 * FAR_MS / (FAR_MS + round_trip_ms);
        u32::try_from(room * u64::from(self.steadiness()) * near / 1000).unwrap_or(u32::MAX).max(1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whole_stripes_within_line_and_limit() {
        // 6 Mbit/s and 11 % in eight, and headers.
        let stripe = stripe_bps(6_000_000, StripeCount::USUAL);
        assert_eq!(stripe, 854_500);
        let facts =
            |uplink_bps, limit_bps| Facts { uplink_bps, limit_bps, age_s: 0, present_per_mille: 1000 };
        assert_eq!(facts(5_000_000, None).slots(stripe), 5);
        assert_eq!(facts(20_000_000, None).slots(stripe), 22);
        assert_eq!(facts(20_000_000, Some(3_000_000)).slots(stripe), 3, "the friend's limit");
        assert_eq!(facts(800_000, Some(3_000_000)).slots(stripe), 0);
        assert_eq!(facts(u64::MAX, None).slots(1), u16::MAX);
    }

    #[test]
    fn steady_near_and_idle_ones_are_worth_more() {
        let old = Facts { uplink_bps: 1, limit_bps: None, age_s: 600, present_per_mille: 1000 };
        let new = Facts { age_s: 0, ..old };
        let shaky = Facts { present_per_mille: 500, ..old };
        assert_eq!((old.steadiness(), new.steadiness(), shaky.steadiness()), (1000, 400, 500));
        assert!(old.worth(3, 20) > new.worth(3, 20) && old.worth(3, 20) > old.worth(3, 200));
        assert!(old.worth(3, 20) > old.worth(1, 20));
        assert_eq!(old.worth(3, 100), 2000, "half of four thousand");
        assert_eq!(shaky.worth(0, u64::MAX / 2), 1);
    }
}
