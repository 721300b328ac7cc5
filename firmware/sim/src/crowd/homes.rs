//! The lines of homes: a mix that is taken from published measurements, and nothing made up but what is said so.
//!
//! | line | share | uplink, Mbit/s | source |
//! |---|---|---|---|
//! | ADSL | 9 % | 0.8 | 2 to 3 million of 27.3 million lines in the UK (ISPreview, 2023; Uswitch, 2022) |
//! | FTTC, 40/10 | 28 % | 9 | half of 15.6 million lines (ISPreview, 2023); its product less 10 % |
//! | FTTC, 80/20 | 29 % | 18 | the other half; its product less 10 % |
//! | cable, FTTP | 34 % | 20 to 110, as many below 50 as above | the rest; products sold in 2023 |
//!
//! How the two kinds of FTTC divide, and how the last row is spread, is not in those sources: it is chosen so that the
//! median is what Ofcom measured at routers in March 2023, 18.4 Mbit/s up (UK home broadband performance, published in
//! September 2023; 10.7 a year before). Ookla's and the FCC's reports give medians for products, not for homes.

use crate::Dice;

/// One home's uplink in bits per second.
pub(super) fn uplink(dice: &mut Dice) -> u64 {
    let (low, high) = match dice.within(0..100) {
        0..9 => (700, 900),
        9..37 => (8_000, 9_500),
        37..66 => (17_000, 19_000),
        66..83 => (20_000, 50_000),
        _ => (50_000, 110_000),
    };
    dice.within(low..high) * 1000
}

/// Where it is, on a map whose unit is a millisecond there and back.
pub(super) fn place(dice: &mut Dice) -> (i32, i32) {
    let mut along = || i32::try_from(dice.within(0..40)).unwrap_or(0);
    (along(), along())
}

/// There and back between two homes, in milliseconds: their own lines take 12 together.
pub(super) fn round_trip(one: (i32, i32), other: (i32, i32)) -> u64 {
    let (x, y) = (one.0 - other.0, one.1 - other.1);
    12 + u64::try_from(x * x + y * y).unwrap_or(0).isqrt()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_is_what_was_measured() {
        let mut dice = Dice::new(1);
        let mut uplinks: Vec<_> = (0..10_001).map(|_| uplink(&mut dice)).collect();
        uplinks.sort_unstable();
        let median = uplinks[5_000] / 100_000;
        assert!((175..=190).contains(&median), "{median}00 kbit/s");
    }
}
