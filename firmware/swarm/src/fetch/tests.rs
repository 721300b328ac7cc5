//! The rules, one by one, in virtual time.

mod random;
mod world;

use alloc::vec::Vec;

use stream::Millis;

use super::*;
use world::{Kind, World, candidate, config, part};

fn sorted(mut owners: Vec<u32>) -> Vec<u32> {
    owners.sort_unstable();
    owners
}

#[test]
fn stripes_are_spread_over_those_who_are_there() {
    let mut world = World::new(&[Kind::Honest; 2]);
    world.all();
    world.run(5_000);
    assert_eq!(sorted(world.owners()), [1, 1, 2, 2]);
    world.assert_smooth(200);
    assert_eq!((world.pulled_blocks, world.again, world.starved), (0, 0, 0));
    assert_eq!(world.open.len(), 2);
}

#[test]
fn an_assignment_is_followed_and_a_change_moves_only_what_changed() {
    let mut world = World::new(&[Kind::Honest; 3]);
    world.candidates(&[candidate(1, 1, &[0, 1]), candidate(2, 1, &[2, 3]), candidate(3, 9, &[])]);
    world.run(3_000);
    assert_eq!(world.owners(), [1, 1, 2, 2]);
    world.candidates(&[candidate(1, 1, &[0]), candidate(2, 1, &[2, 3]), candidate(3, 9, &[1])]);
    let before = world.opened.len();
    world.run(3_000);
    assert_eq!(world.owners(), [1, 3, 2, 2]);
    let opened: Vec<_> =
        world.opened[before..].iter().map(|(_, parent, stripes)| (parent.0, stripes.0)).collect();
    assert_eq!(opened, [(1, 0b01)], "the feed of both is replaced by one of the first stripe");
    world.assert_smooth(200);
    assert_eq!(world.pulled_blocks, 0, "nothing is missed while stripes move");
    assert_eq!(world.open.len(), 3);
}

#[test]
fn even_if_one_is_assigned_all_a_second_gives_headers() {
    let mut world = World::new(&[Kind::Honest; 2]);
    world.candidates(&[candidate(1, 1, &[0, 1, 2, 3]), candidate(2, 1, &[])]);
    world.run(3_000);
    assert_eq!(world.owners(), [1, 1, 1, 1]);
    assert!(world.open.values().any(|(parent, stripes)| parent.0 == 2 && stripes.is_empty()));
}

#[test]
fn the_best_does_not_get_everything() {
    let mut world = World::new(&[Kind::Honest; 2]);
    world.candidates(&[candidate(1, 100_000, &[]), candidate(2, 1, &[])]);
    world.run(3_000);
    assert_eq!(world.owners(), [1, 1, 1, 2]);
}

#[test]
fn a_barred_stripe_does_not_come_from_there() {
    let mut world = World::new(&[Kind::Honest; 2]);
    let barred = Candidate { barred: Stripes(0b1011), ..candidate(1, 100, &[]) };
    world.candidates(&[barred, candidate(2, 100, &[])]);
    world.run(3_000);
    assert_eq!(world.owners(), [2, 2, 1, 2]);
    let barred = Candidate { barred: Stripes(0b1111), ..barred };
    world.candidates(&[barred, candidate(2, 100, &[])]);
    world.run(3_000);
    assert_eq!(world.owners(), [2, 2, 2, 2]);
}

#[test]
fn one_that_breaks_off_is_replaced_at_once() {
    let mut world = World::new(&[Kind::Honest; 3]);
    world.all();
    world.run(5_000);
    world.set(1, Kind::Gone);
    world.run(5_000);
    assert!(!world.owners().contains(&1));
    assert_eq!(world.demoted, [], "to break off is no fault");
    world.assert_smooth(400);
}

#[test]
fn one_that_falls_mute_is_left_before_a_viewer_sees_it() {
    let mut world = World::new(&[Kind::Honest; 3]);
    world.all();
    world.run(5_000);
    world.set(1, Kind::Mute);
    let since = world.now;
    world.run(5_000);
    let (at, parent, fault) = world.demoted[0];
    assert_eq!((parent.0, fault, world.demoted.len()), (1, Fault::Silent, 1));
    assert!(at - since <= 700, "after {} ms", at - since);
    assert!(!world.owners().contains(&1));
    world.assert_smooth(800);
}

#[test]
fn who_gave_to_the_one_that_failed_gives_in_its_place() {
    let mut world = World::new(&[Kind::Honest; 4]);
    let heir = Candidate { heir: Stripes(0b0010), ..candidate(3, 1, &[]) };
    world.candidates(&[candidate(1, 1, &[0, 1]), candidate(2, 1, &[2, 3]), heir, candidate(4, 1_000, &[])]);
    world.run(3_000);
    assert!(world.instead.is_empty(), "nobody has failed");
    world.set(1, Kind::Mute);
    world.run(3_000);
    assert_eq!(world.owners(), [4, 3, 2, 2], "the best of all has the stripe of which there is no heir");
    let instead: Vec<_> = world.instead.iter().map(|(to, of, stripes)| (to.0, of.0, stripes.0)).collect();
    assert_eq!(instead, [(3, 1, 0b0010)]);
    world.assert_smooth(800);
}

#[test]
fn of_two_that_fall_mute_at_once_both_are_left_within_two_seconds() {
    let mut world = World::new(&[Kind::Honest, Kind::Honest, Kind::Honest, Kind::Honest]);
    world.candidates(&[
        candidate(1, 1, &[0, 1]),
        candidate(2, 1, &[2, 3]),
        candidate(3, 1, &[]),
        candidate(4, 1, &[]),
    ]);
    world.run(5_000);
    world.set(1, Kind::Mute);
    world.set(2, Kind::Mute);
    world.run(5_000);
    assert_eq!(sorted(world.owners()), [3, 3, 4, 4]);
    world.assert_smooth(1_600);
}

#[test]
fn a_forger_is_out_at_once_and_for_good() {
    let mut world = World::new(&[Kind::Honest, Kind::Honest, Kind::Forges]);
    world.candidates(&[candidate(1, 1, &[]), candidate(2, 1, &[]), candidate(3, 100, &[])]);
    world.run(2_000_000);
    assert_eq!(world.demoted.len(), 1);
    assert_eq!((world.demoted[0].1.0, world.demoted[0].2), (3, Fault::Forged));
    assert!(world.opened.iter().all(|(at, parent, _)| parent.0 != 3 || *at == 10_000));
    world.assert_smooth(600);
}

#[test]
fn what_is_withheld_is_pulled_and_then_moved() {
    let mut world = World::new(&[Kind::Withholds(Stripes(0b0001)), Kind::Honest, Kind::Honest]);
    world.candidates(&[candidate(1, 1, &[0, 1]), candidate(2, 1, &[2, 3]), candidate(3, 1, &[])]);
    world.run(8_000);
    let (at, parent, fault) = world.demoted[0];
    assert_eq!((parent.0, fault), (1, Fault::Starved));
    assert!(at <= 13_000, "at {at}");
    assert!(!world.owners().contains(&1));
    world.assert_smooth(900);
}

#[test]
fn a_liar_is_demoted_for_what_it_said() {
    let mut world = World::new(&[Kind::Leaves(3), Kind::Honest, Kind::Lies(Stripes(0b0011))]);
    world.candidates(&[candidate(1, 1, &[0, 1]), candidate(2, 1, &[2]), candidate(3, 100, &[3])]);
    world.run(5_000);
    assert!(world.demoted.iter().any(|(_, parent, fault)| (parent.0, *fault) == (3, Fault::Lied)));
    world.assert_smooth(900);
}

#[test]
fn one_that_is_far_behind_is_stale() {
    let mut world = World::new(&[Kind::Honest, Kind::Honest, Kind::Stale(60_000)]);
    world.boxes.get_mut(&ParentId(3)).unwrap().lag_ms = 0;
    world.now = 100_000;
    world.candidates(&[candidate(1, 1, &[0]), candidate(2, 1, &[1]), candidate(3, 1, &[2, 3])]);
    world.run(5_000);
    let (at, parent, _) = world.demoted[0];
    assert_eq!(parent.0, 3);
    assert!(at - 100_000 <= 5_000);
    assert!(!world.owners().contains(&3));
}

#[test]
fn a_slow_one_is_left_and_asked_again_after_ever_longer_times() {
    let mut world = World::new(&[Kind::Honest, Kind::Honest, Kind::Late(1_500)]);
    world.candidates(&[candidate(1, 1, &[0]), candidate(2, 1, &[1]), candidate(3, 1, &[2, 3])]);
    world.run(120_000);
    let times: Vec<_> = world.demoted.iter().map(|(at, parent, _)| (*at, parent.0)).collect();
    assert!(times.iter().all(|(_, parent)| *parent == 3), "{times:?}");
    let apart: Vec<_> = times.windows(2).map(|pair| (pair[1].0 - pair[0].0) / 10_000).collect();
    assert_eq!(apart, [1, 2, 4], "{times:?}");
    // Parts that come in a burst at the start have more time.
    world.assert_smooth(1_700);
}

#[test]
fn a_full_one_is_not_asked_for_feeds_again_soon() {
    let mut world = World::new(&[Kind::Full, Kind::Honest, Kind::Honest]);
    world.candidates(&[candidate(1, 100, &[]), candidate(2, 1, &[]), candidate(3, 1, &[])]);
    world.run(30_000);
    assert_eq!(sorted(world.owners()), [2, 2, 3, 3]);
    let dials = world.opened.iter().filter(|(_, parent, _)| parent.0 == 1).count();
    assert!(dials <= 6, "{dials} dials in 30 s");
    world.assert_smooth(600);
}

#[test]
fn one_that_leaves_is_left_without_a_pull() {
    let mut world = World::new(&[Kind::Honest; 3]);
    world.all();
    world.run(5_000);
    world.tell(|fetch, now| fetch.handle_leaving(ParentId(1), now));
    world.run(2_000);
    assert!(!world.owners().contains(&1));
    assert_eq!(world.pulled_blocks, 0);
    world.assert_smooth(250);
}

#[test]
fn when_all_misbehaved_the_least_bad_is_used() {
    let mut world = World::new(&[Kind::Honest; 2]);
    world.all();
    world.run(3_000);
    world.tell(|fetch, now| fetch.handle_bad(ParentId(1), Fault::Slow, now));
    world.tell(|fetch, now| fetch.handle_bad(ParentId(2), Fault::Slow, now));
    world.run(3_000);
    assert_eq!(world.owners(), [1, 1, 1, 1]);
    world.assert_smooth(600);
}

#[test]
fn while_nothing_comes_from_anybody_nobody_is_blamed() {
    let mut world = World::new(&[Kind::Honest; 3]);
    world.all();
    world.run(5_000);
    (1..=3).for_each(|id| world.set(id, Kind::Mute));
    world.run(2_500);
    (1..=3).for_each(|id| world.set(id, Kind::Honest));
    world.run(5_000);
    assert_eq!(world.demoted, []);
    assert_eq!(world.gaps, []);
}

#[test]
fn without_anybody_others_are_asked_for_now_and_then() {
    let mut world = World::new(&[]);
    world.all();
    world.run(9_000);
    assert_eq!(world.starved, 5);
}

#[test]
fn a_part_that_nobody_has_becomes_a_gap_at_its_deadline() {
    let mut world = World::new(&[Kind::Withholds(Stripes(1)); 3]);
    world.all();
    world.run(6_000);
    assert!(!world.gaps.is_empty());
    assert!(world.whole.is_empty());
}

#[test]
fn of_what_was_missed_for_long_only_the_end_is_waited_for() {
    let mut fetch = Fetch::new(config());
    fetch.handle_parents(&[candidate(1, 1, &[])], Millis(0));
    let shape = Shape { blocks: 4, duration_ms: 200 };
    (0..60).for_each(|n| _ = fetch.handle_header(ParentId(1), part(n), shape, Millis(0)));
    let commands = core::iter::from_fn(|| fetch.poll_command());
    let given_up = commands.filter_map(|command| match command {
        Command::GiveUp { part } => Some(part),
        _ => None,
    });
    // Half as long again as the three seconds in which a part is waited for.
    assert_eq!(given_up.collect::<Vec<_>>(), (0..60 - 22).map(part).collect::<Vec<_>>());
    assert_eq!(fetch.status(Millis(0)).flights, 22);
}

#[test]
fn headers_alone_are_taken_while_nobody_watches() {
    let mut world = World::new(&[Kind::Honest; 3]);
    world.tell(|fetch, now| fetch.handle_demand(Demand::Headers, now));
    world.all();
    world.run(3_000);
    assert_eq!((world.open.len(), world.fresh.len(), world.gaps.len()), (2, 0, 0));
    let from = Some(part(60));
    world.tell(|fetch, now| fetch.handle_demand(Demand::Blocks { from }, now));
    world.run(1_000);
    assert!((60..65).all(|n| world.whole.contains_key(&n)), "{:?}", world.whole);
    world.tell(|fetch, now| fetch.handle_demand(Demand::Headers, now));
    world.run(10_000);
    let blocks = world.fresh.len();
    world.run(3_000);
    assert_eq!((world.fresh.len(), world.open.len()), (blocks, 2));
}

#[test]
fn strays_are_a_fault_only_in_numbers() {
    let mut fetch = Fetch::new(config());
    fetch.handle_parents(&[candidate(1, 1, &[])], Millis(0));
    while fetch.poll_command().is_some() {}
    assert_eq!(fetch.expects(ParentId(1), part(3), 0), Block::NotAsked);
    (0..16).for_each(|_| fetch.handle_stray(ParentId(1), Millis(1)));
    assert_eq!(fetch.poll_command(), None);
    fetch.handle_stray(ParentId(1), Millis(1));
    let Some(Command::Demote { fault: Fault::NotAsked, .. }) = fetch.poll_command() else {
        panic!("demoted")
    };
}

#[test]
fn a_header_is_fresh_once_and_old_when_long_past() {
    let mut fetch = Fetch::new(config());
    fetch.handle_parents(&[candidate(1, 1, &[])], Millis(0));
    let shape = Shape { blocks: 1, duration_ms: 200 };
    let mut tell = |n: u64, shape| fetch.handle_header(ParentId(1), part(n), shape, Millis(n * 200));
    assert_eq!((tell(9, shape), tell(9, shape)), (Header::Fresh, Header::Known));
    assert_eq!(tell(8, shape), Header::Fresh, "late, but missing");
    assert_eq!(tell(10, Shape { blocks: 1025, ..shape }), Header::Refused);
    (11..500).for_each(|n| assert_eq!(tell(n, shape), Header::Fresh));
    assert_eq!((tell(9, shape), tell(490, shape)), (Header::Old, Header::Known));
}
