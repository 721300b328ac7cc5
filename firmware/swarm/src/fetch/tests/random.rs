//! Random parents, losses and stalls: what must hold whatever they do.

use alloc::vec::Vec;

use proptest::prelude::*;

use super::world::{Kind, World, candidate};
use super::*;

fn kind() -> impl Strategy<Value = Kind> {
    prop_oneof![
        4 => Just(Kind::Honest),
        1 => Just(Kind::Gone),
        1 => Just(Kind::Mute),
        1 => Just(Kind::Forges),
        1 => (1..16_u16).prop_map(|stripes| Kind::Withholds(Stripes(stripes))),
        1 => (1..16_u16).prop_map(|stripes| Kind::Lies(Stripes(stripes))),
        1 => Just(Kind::Full),
        1 => (2..20_u16).prop_map(Kind::Leaves),
        1 => (100..1_500_u64).prop_map(Kind::Late),
        1 => (3_000..9_000_u64).prop_map(Kind::Stale),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn all_blocks_come_while_an_honest_parent_is_there(
        kinds in proptest::collection::vec(kind(), 1..7),
        honest in 0..7_usize,
        assigned in proptest::collection::vec(0..8_u32, 4),
        changes in proptest::collection::vec((500..4_000_u64, 0..7_usize, kind()), 0..6),
    ) {
        let mut kinds = kinds;
        let honest = honest.min(kinds.len());
        kinds.insert(honest, Kind::Honest);
        let mut world = World::new(&kinds);
        let all: Vec<_> = (1..).zip(&kinds).map(|(id, _)| {
            let stripes: Vec<u8> = (0..4).filter(|stripe| assigned[usize::from(*stripe)] == id).collect();
            candidate(id, 100, &stripes)
        }).collect();
        world.candidates(&all);
        for (after, who, kind) in changes {
            world.run(after);
            let who = who % kinds.len();
            if who != honest {
                world.set(u32::try_from(who).unwrap() + 1, kind);
            }
        }
        world.run(6_000);
        prop_assert_eq!(&world.gaps, &Vec::<u64>::new(), "{:?}, {:?}", world.demoted, world.opened);
        let honest = ParentId(u32::try_from(honest).unwrap() + 1);
        prop_assert!(world.demoted.iter().all(|(_, id, fault)| *id != honest || *fault != Fault::Forged));
        prop_assert!(world.open.len() <= 12, "{:?}", world.open);
    }
}
