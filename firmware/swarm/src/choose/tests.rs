//! Own choices, alone and in a crowd that chooses on old news.

use alloc::vec::Vec;

use proptest::prelude::*;

use super::*;

const FOUR: StripeCount = StripeCount::new(4).unwrap();

fn facts() -> Facts {
    Facts { uplink_bps: 5_000_000, limit_bps: None, age_s: 600, present_per_mille: 1000 }
}

fn offer(id: u32, free: u16, above: &[u64]) -> Offer {
    let above = Some(above.iter().map(|name| Name(*name)).collect());
    Offer {
        id: ParentId(id),
        facts: facts(),
        free,
        round_trip_ms: 20,
        gives: Stripes::NONE,
        above: vec![above; 4],
    }
}

fn plan(candidates: &[Candidate]) -> Vec<(u32, u16)> {
    candidates.iter().map(|candidate| (candidate.id.0, candidate.stripes.0)).collect()
}

#[test]
fn the_nearest_to_the_origin_is_taken_as_far_as_it_has_room_and_never_alone() {
    let offers = [offer(1, 12, &[]), offer(2, 3, &[1]), offer(3, 0, &[1])];
    assert_eq!(plan(&choose(Name(9), FOUR, &offers, &[])), [(1, 0b0111), (2, 0b1000), (3, 0)]);
    let offers = [offer(1, 2, &[]), offer(2, 1, &[1]), offer(3, 9, &[1, 2])];
    assert_eq!(plan(&choose(Name(9), FOUR, &offers, &[])), [(1, 0b0011), (2, 0b0100), (3, 0b1000)]);
    assert_eq!(plan(&choose(Name(9), FOUR, &offers[..1], &[])), [(1, 0b0011)]);
}

#[test]
fn who_is_below_or_has_nothing_is_barred() {
    let mut offers = [offer(1, 9, &[7, 9]), offer(2, 9, &[7])];
    offers[1].above[2] = None;
    let chosen = choose(Name(9), FOUR, &offers, &[]);
    assert_eq!((chosen[0].barred, chosen[1].barred), (Stripes(0b1111), Stripes(0b0100)));
    assert_eq!(plan(&chosen), [(1, 0), (2, 0b1011)]);
}

#[test]
fn what_is_well_stays() {
    let offers = [offer(1, 9, &[7]), offer(2, 0, &[7])];
    let now = [Some(ParentId(2)); 4];
    assert_eq!(
        plan(&choose(Name(9), FOUR, &offers, &now)),
        [(1, 0b1000), (2, 0b0111)],
        "but for a second parent"
    );
    let far = Offer { round_trip_ms: 400, ..offer(2, 0, &[7]) };
    assert_eq!(plan(&choose(Name(9), FOUR, &[offer(1, 9, &[7]), far], &now)), [(1, 0b0111), (2, 0b1000)]);
}

/// A crowd in which each box hears of the others now and then, and chooses on what it heard last.
struct Crowd {
    parents: Vec<Vec<Option<usize>>>,
    /// What each box says of who is above it; box 0 is the origin.
    above: Vec<Vec<Option<Vec<Name>>>>,
    free: Vec<u16>,
}

impl Crowd {
    fn new(slots: &[u16]) -> Self {
        let count = slots.len();
        let mut above = vec![vec![None; 4]; count];
        above[0] = vec![Some(Vec::new()); 4];
        Self { parents: vec![vec![None; 4]; count], above, free: slots.to_vec() }
    }

    /// One box hears what its parents say, and can say who is above it.
    fn hear(&mut self, who: usize) {
        for stripe in 0..4 {
            let above = self.parents[who][stripe].and_then(|parent| {
                let above = self.above[parent][stripe].clone()?;
                let line: Vec<_> = above.into_iter().chain([Name(parent as u64)]).collect();
                (!line.contains(&Name(who as u64)) && line.len() <= 16).then_some(line)
            });
            self.above[who][stripe] = above;
        }
    }

    /// And chooses.
    fn choose(&mut self, who: usize) {
        self.hear(who);
        let others = (0..self.parents.len()).filter(|other| *other != who);
        let offers: Vec<_> = others
            .map(|other| Offer {
                above: self.above[other].clone(),
                ..offer(other as u32, self.free[other], &[])
            })
            .collect();
        let now: Vec<_> = self.parents[who].iter().map(|id| id.map(|id| ParentId(id as u32))).collect();
        for candidate in choose(Name(who as u64), FOUR, &offers, &now) {
            for stripe in 0..4_u8 {
                let at = usize::from(stripe);
                let id = candidate.id.0 as usize;
                let had = self.parents[who][at] == Some(id);
                let wants = candidate.stripes.contains(stripe);
                if had && (!wants || candidate.barred.contains(stripe)) {
                    self.free[id] += 1;
                    self.parents[who][at] = None;
                }
                if wants && !had {
                    if let Some(before) = self.parents[who][at].take() {
                        self.free[before] += 1;
                    }
                    // Somebody else may have been faster.
                    if self.free[id] > 0 {
                        self.free[id] -= 1;
                        self.parents[who][at] = Some(id);
                    }
                }
            }
        }
        self.hear(who);
    }

    fn reaches_origin(&self, who: usize, stripe: usize) -> bool {
        let mut at = who;
        for _ in 0..self.parents.len() {
            match self.parents[at][stripe] {
                None => return at == 0,
                Some(parent) => at = parent,
            }
        }
        at == 0
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn circles_do_not_last(
        slots in proptest::collection::vec(3..9_u16, 3..14),
        turns in proptest::collection::vec(1..14_usize, 0..200),
    ) {
        let mut slots = slots;
        slots[0] = 12;
        let mut crowd = Crowd::new(&slots);
        for turn in turns {
            crowd.choose(1 + turn % (slots.len() - 1));
        }
        // Everybody hears from everybody a few times.
        for _ in 0..40 {
            (1..slots.len()).for_each(|who| crowd.choose(who));
        }
        for who in 1..slots.len() {
            for stripe in 0..4 {
                if crowd.parents[who][stripe].is_some() {
                    prop_assert!(crowd.reaches_origin(who, stripe), "box {who}, stripe {stripe}: {:?}", crowd.parents);
                }
            }
        }
    }
}
