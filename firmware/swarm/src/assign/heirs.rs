//! Who takes a box's children when it is gone. Whoever gives to it has a place free then for each stripe that it took, and
//! these are counted out: children that all turned to the same one would fill its line beyond what it can give, and make
//! everybody late who has it from there. Refuses to name anybody who lost the stripe, too.

use alloc::collections::BTreeMap;
use alloc::vec::Vec;
use core::cmp::Reverse;

use super::{Assigner, BoxId, DEPTH_MAX};

/// Children of a box, in all stripes, that have an heir named.
const HEIRS_MAX: usize = 64;
/// Boxes with a slot free that are looked at.
const SPARE_LOOK_AT: usize = 16;

/// Somebody takes a stripe of a box that is gone to this child.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Legacy {
    pub(super) child: BoxId,
    pub(super) stripe: u8,
    pub(super) heir: BoxId,
}

impl Assigner {
    /// For each stripe of a box: who has a place for it, should the one fail from which it comes. Nobody where that is the
    /// origin.
    #[must_use]
    pub fn heirs(&self, id: BoxId) -> Vec<Option<BoxId>> {
        let mut left: BTreeMap<BoxId, Vec<Legacy>> = BTreeMap::new();
        let parents = self.parents(id);
        for parent in parents.iter().copied().flatten().filter(|parent| *parent != self.origin) {
            left.entry(parent).or_insert_with(|| self.legacies(parent));
        }
        let heir = |(stripe, parent): (u8, Option<BoxId>)| {
            let mine = |legacy: &&Legacy| (legacy.child, legacy.stripe) == (id, stripe);
            left.get(&parent?)?.iter().find(mine).map(|legacy| legacy.heir)
        };
        (0..).zip(parents).map(heir).collect()
    }

    /// Who gives what a box gives, should it go: for each stripe first whoever gave it to that box, to the strongest
    /// child; for the others the nearest to the origin of those with a place, that child too; and at last whoever has a
    /// slot free. Whoever is an heir stands before those who have it from there.
    pub(super) fn legacies(&self, gone: BoxId) -> Vec<Legacy> {
        // A place for each stripe that it took, whatever stripe that was.
        let mut places: Vec<Option<BoxId>> = self.parents(gone);
        let mut spare: BTreeMap<BoxId, u16> = BTreeMap::new();
        for id in self.forest.spare().take(SPARE_LOOK_AT).filter(|id| *id != gone) {
            spare.insert(id, self.free(id));
        }
        let (mut legacies, mut others) = (Vec::new(), Vec::new());
        for stripe in self.load.stripes.all().iter() {
            let mut children = self.forest.children(gone, stripe);
            children.sort_by_key(|child| Reverse(self.forest.strength(*child)));
            let mut children = children.into_iter();
            let own = places.get_mut(usize::from(stripe)).and_then(Option::take);
            if let Some(heir) = own {
                match children.next() {
                    Some(child) => legacies.push(Legacy { child, stripe, heir }),
                    None => places.push(Some(heir)),
                }
            }
            others.extend(children.map(|child| (child, stripe)));
        }
        for (child, stripe) in others {
            if legacies.len() >= HEIRS_MAX {
                break;
            }
            let height = self.forest.height(child, stripe);
            let fits = |heir: BoxId| {
                let depth = self.depth_without(gone, heir, stripe, &legacies)?;
                (depth.saturating_add(height) < DEPTH_MAX).then_some(depth)
            };
            let place = (0..).zip(&places).filter_map(|(at, place)| Some((at, (*place)?)));
            let place = place.filter_map(|(at, heir)| Some((fits(heir)?, at, heir)));
            if let Some((_, at, heir)) = place.min() {
                places.remove(at);
                legacies.push(Legacy { child, stripe, heir });
                continue;
            }
            let free = spare.iter().filter(|(_, free)| **free > 0);
            let free = free.filter_map(|(id, _)| Some((fits(*id)?, *id)));
            if let Some((_, heir)) = free.min() {
                spare.entry(heir).and_modify(|free| *free -= 1);
                legacies.push(Legacy { child, stripe, heir });
            }
        }
        legacies
    }

    /// How far from the origin a box is in a stripe then; none if it hasn't got it, or by way of `gone`.
    fn depth_without(&self, gone: BoxId, id: BoxId, stripe: u8, legacies: &[Legacy]) -> Option<u8> {
        let left = |child: BoxId| {
            let mut mine = legacies.iter().filter(|legacy| (legacy.child, legacy.stripe) == (child, stripe));
            mine.next().map(|legacy| legacy.heir)
        };
        let (mut at, mut depth) = (id, 0_u8);
        while at != self.origin {
            at = left(at).or_else(|| self.forest.parent(at, stripe))?;
            depth = depth.checked_add(1).filter(|depth| at != gone && *depth <= DEPTH_MAX)?;
        }
        Some(depth)
    }
}
