//! Names of what is fetched: parts, blocks, stripes. Plain values; refuses to know what is in them.

use alloc::vec;
use alloc::vec::Vec;

pub use wire::feed::PartName as PartId;

/// Stripes of a stream, at most.
pub const STRIPES_MAX: u8 = 16;
/// Blocks of a part, at most.
pub const BLOCKS_MAX: u16 = {
    assert!(stream::seal::BLOCKS_MAX <= u16::MAX as usize);
    stream::seal::BLOCKS_MAX as u16
};

/// A block's place in its part, from 0.
pub type BlockIndex = u16;

/// How many stripes a stream is cut into: 1 to [`STRIPES_MAX`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct StripeCount(u8);

impl StripeCount {
    /// What is used unless somebody asks for another. With fewer, a line of 5 Mbit/s could give only two thirds of
    /// itself to a stream of 6; with more, each feed's headers weigh more.
    pub const USUAL: Self = Self(8);

    /// `None` when there would be none, or more than [`STRIPES_MAX`].
    #[must_use]
    pub const fn new(count: u8) -> Option<Self> {
        if count == 0 || count > STRIPES_MAX { None } else { Some(Self(count)) }
    }

    #[must_use]
    pub const fn get(self) -> u8 {
        self.0
    }

    /// The stripe of a block: its index and its part's index, modulo the count. Parts have few blocks (nine and a
    /// bit at 6 Mbit/s), so without the part's index the first stripe of four would carry a third of the stream.
    #[must_use]
    pub fn of(self, part: PartId, block: BlockIndex) -> u8 {
        let count = u32::from(self.0);
        // Less than the count, which is a u8.
        u8::try_from((part.part % count + u32::from(block)) % count).unwrap_or(0)
    }

    /// All stripes.
    #[must_use]
    pub const fn all(self) -> Stripes {
        Stripes(u16::MAX >> (STRIPES_MAX - self.0))
    }
}

/// A set of stripes: bit i is stripe i.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Stripes(pub u16);

impl Stripes {
    pub const NONE: Self = Self(0);

    /// One stripe; none at all where it is [`STRIPES_MAX`] or above.
    #[must_use]
    pub const fn one(stripe: u8) -> Self {
        if stripe < STRIPES_MAX { Self(1 << stripe) } else { Self::NONE }
    }

    #[must_use]
    pub const fn contains(self, stripe: u8) -> bool {
        self.0 & Self::one(stripe).0 != 0
    }

    #[must_use]
    pub const fn with(self, stripe: u8) -> Self {
        Self(self.0 | Self::one(stripe).0)
    }

    #[must_use]
    pub const fn and(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    #[must_use]
    pub const fn without(self, other: Self) -> Self {
        Self(self.0 & !other.0)
    }

    /// Those that are in both.
    #[must_use]
    pub const fn both(self, other: Self) -> Self {
        Self(self.0 & other.0)
    }

    /// The first so many of them.
    #[must_use]
    pub fn first(self, count: u32) -> Self {
        self.iter().zip(0..count).fold(Self::NONE, |some, (stripe, _)| some.with(stripe))
    }

    #[must_use]
    pub const fn is_empty(self) -> bool {
        self.0 == 0
    }

    #[must_use]
    pub const fn len(self) -> u32 {
        self.0.count_ones()
    }

    pub fn iter(self) -> impl Iterator<Item = u8> {
        (0..STRIPES_MAX).filter(move |stripe| self.contains(*stripe))
    }
}

/// A set of blocks of one part.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Blocks {
    words: Vec<u64>,
    len: u16,
}

impl Blocks {
    /// An empty set with room for so many blocks, at most [`BLOCKS_MAX`].
    #[must_use]
    pub fn room(blocks: u16) -> Self {
        Self { words: vec![0; usize::from(blocks.min(BLOCKS_MAX)).div_ceil(64)], len: 0 }
    }

    /// Whether it was not in the set before. A block beyond the room is not taken.
    pub fn insert(&mut self, block: BlockIndex) -> bool {
        let bit = 1 << (block % 64);
        match self.words.get_mut(usize::from(block / 64)) {
            Some(word) if *word & bit == 0 => {
                *word |= bit;
                self.len += 1;
                true
            }
            Some(_) | None => false,
        }
    }

    #[must_use]
    pub fn contains(&self, block: BlockIndex) -> bool {
        self.words.get(usize::from(block / 64)).is_some_and(|word| word & (1 << (block % 64)) != 0)
    }

    #[must_use]
    pub const fn len(&self) -> u16 {
        self.len
    }

    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// In order.
    pub fn iter(&self) -> impl Iterator<Item = BlockIndex> {
        (0..BLOCKS_MAX).take(self.words.len() * 64).filter(|block| self.contains(*block))
    }
}

#[cfg(test)]
mod tests {
    use stream::EpochId;

    use super::*;

    #[test]
    fn parts_are_ordered_by_their_numbers_before_their_epoch() {
        let part = |msn, part, epoch| PartId { msn, part, epoch: EpochId(epoch) };
        assert!(part(3, 9, 7) < part(4, 0, 1));
        assert!(part(4, 0, 7) < part(4, 1, 1));
    }

    #[test]
    fn stripes_take_turns() {
        let four = StripeCount::new(4).unwrap();
        let of = |part, blocks| {
            let part = PartId { msn: 8, part, epoch: EpochId(1) };
            (0..blocks).map(|block| four.of(part, block)).collect::<Vec<_>>()
        };
        assert_eq!(of(0, 9), [0, 1, 2, 3, 0, 1, 2, 3, 0]);
        assert_eq!((of(1, 3), of(u32::MAX, 3)), (vec![1, 2, 3], vec![3, 0, 1]));
        assert_eq!(four.all().iter().collect::<Vec<_>>(), [0, 1, 2, 3]);
        assert_eq!(StripeCount::new(16).unwrap().all(), Stripes(u16::MAX));
        assert_eq!(StripeCount::new(1).unwrap().all(), Stripes(1));
        assert_eq!((StripeCount::new(0), StripeCount::new(17)), (None, None));
        assert_eq!(Stripes::one(16), Stripes::NONE);
    }

    #[test]
    fn a_block_is_in_a_set_once() {
        let mut blocks = Blocks::room(70);
        assert!(blocks.insert(69) && !blocks.insert(69) && blocks.insert(0));
        assert!(!blocks.insert(128), "beyond the room");
        assert_eq!((blocks.len(), blocks.contains(69), blocks.contains(68)), (2, true, false));
        assert_eq!(blocks.iter().collect::<Vec<_>>(), [0, 69]);
    }
}
