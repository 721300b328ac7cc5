//! Whom a box may turn to when a parent fails it. Refuses to name the same few to everybody.

use alloc::vec::Vec;

use super::{Assigner, BoxId};
use crate::part::Stripes;

/// Boxes that are looked at for each that is named.
const LOOK_AT: usize = 16;

/// A box with room, beside those that are assigned.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StandBy {
    pub id: BoxId,
    /// Stripes that it could give.
    pub free: u16,
    /// Those it must not give, since it has them from the one who asks, or from one below.
    pub barred: Stripes,
}

impl Assigner {
    /// At most so many boxes with room that are no parents of this one; others for each box.
    #[must_use]
    pub fn stand_bys(&self, id: BoxId, count: usize) -> Vec<StandBy> {
        let parents = self.parents(id);
        let mut found: Vec<StandBy> = Vec::new();
        for nth in (0..).take(count * LOOK_AT) {
            if found.len() >= count {
                break;
            }
            // Multiplication spreads neighbours (Knuth, 6.4); the names of boxes are numbers from one on.
            let at = id.0.wrapping_mul(31).wrapping_add(nth).wrapping_mul(2_654_435_761);
            let at = (u64::from(at) * u64::from(self.forest.last_id().0.saturating_add(1))) >> 32;
            let fits = |other: &BoxId| {
                let free = self.free(*other) > 0;
                let new = found.iter().all(|one| one.id != *other);
                free && new && *other != id && !parents.contains(&Some(*other)) && *other != self.origin
            };
            let at = BoxId(u32::try_from(at).unwrap_or(0));
            if let Some(other) = self.forest.id_from(at).filter(fits) {
                found.push(StandBy { id: other, free: self.free(other), barred: self.barred(id, other) });
            }
        }
        found
    }

    /// Stripes that a box could give beyond those that it gives.
    #[must_use]
    pub fn free(&self, id: BoxId) -> u16 {
        self.forest.node(id).map_or(0, super::Node::free)
    }

    /// Stripes that a box can't take from another, since that one is below it, or gets none itself.
    #[must_use]
    pub fn barred(&self, id: BoxId, from: BoxId) -> Stripes {
        let bars = |stripe: &u8| {
            let mut up = Some(from);
            while let Some(at) = up.filter(|at| *at != id) {
                up = self.forest.parent(at, *stripe);
            }
            up == Some(id) || self.forest.depth(from, *stripe).is_none()
        };
        self.load.stripes.all().iter().filter(bars).fold(Stripes::NONE, Stripes::with)
    }
}
