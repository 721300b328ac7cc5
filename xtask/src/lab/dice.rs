//! Numbers that look random and are the same for the same seed (splitmix64), so that a run can be repeated.

pub(crate) struct Dice(u64);

impl Dice {
    pub(crate) fn new(seed: u64) -> Dice {
        Dice(seed)
    }

    pub(crate) fn roll(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// Any of these; panics if there is none.
    pub(crate) fn pick<T: Copy>(&mut self, from: &[T]) -> T {
        from[self.roll() as usize % from.len()]
    }

    pub(crate) fn fill(&mut self, bytes: &mut [u8]) {
        for chunk in bytes.chunks_mut(8) {
            let roll = self.roll().to_le_bytes();
            chunk.copy_from_slice(&roll[..chunk.len()]);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dice_fall_on_every_side_and_again() {
        let (mut dice, mut again) = (Dice::new(1), Dice::new(1));
        let fallen: Vec<u8> = (0..100).map(|_| dice.pick(&[1, 2, 3, 4, 5])).collect();
        assert!((1..=5).all(|side| fallen.contains(&side)));
        assert!(fallen.iter().all(|side| *side == again.pick(&[1, 2, 3, 4, 5])));
    }

    /// The first number for seed 0 in the author's own implementation (Vigna, splitmix64.c).
    #[test]
    fn it_is_splitmix64() {
        assert_eq!(Dice::new(0).roll(), 0xe220_a839_7b1d_cdaf);
    }
}
