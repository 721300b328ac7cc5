//! Boxes that go, fail others, lie, or have what they are to give from the wrong one.

use super::*;

/// Settled, with room; and the box that most take something from.
fn settled() -> (Mesh, u8) {
    settled_with(10 * MBIT)
}

fn settled_with(uplink_bps: u64) -> (Mesh, u8) {
    let mut mesh = Mesh::with(20 * MBIT, &[uplink_bps; 8]);
    mesh.settle();
    let giver = (1..=8).max_by_key(|n| children(&mesh, *n).len()).unwrap();
    assert!(children(&mesh, giver).len() >= 3, "box {giver} has {:?}", children(&mesh, giver));
    (mesh, giver)
}

fn children(mesh: &Mesh, n: u8) -> Vec<u8> {
    mesh.boxes.keys().copied().filter(|child| mesh.takes(*child).contains_key(&n)).collect()
}

fn fail(mesh: &mut Mesh, child: u8, parent: u8) {
    let parent = mesh.key(parent);
    mesh.boxes.get_mut(&child).unwrap().failed = vec![parent].try_into().unwrap();
}

#[test]
fn who_leaves_is_named_to_nobody_from_then_on() {
    let (mut mesh, giver) = settled();
    let leaves = ParentsRequest { leaving: true, ..mesh.boxes.remove(&giver).unwrap() };
    mesh.carriers.handle_request(&key(giver), leaves, mesh.now).unwrap();
    for n in mesh.boxes.clone().into_keys() {
        let answer = mesh.ask(n);
        assert!(!mesh.names(&answer).contains(&giver));
    }
    mesh.settle();
    mesh.check_served();
}

/// A pair with a router between that lets nothing through: a third household would pay for each block.
#[test]
fn who_is_reached_through_a_third_box_gives_nothing_where_others_can() {
    let (mut mesh, giver) = settled();
    let all = children(&mesh, giver);
    let child = all[0];
    let theirs = mesh.key(giver);
    mesh.boxes.get_mut(&child).unwrap().relayed = vec![theirs].try_into().unwrap();
    mesh.settle();
    assert!(!children(&mesh, giver).contains(&child), "{:?}", mesh.takes(child));
    // It is nobody's fault: the others have it from there as before.
    assert!(!children(&mesh, giver).is_empty());
    mesh.check_served();
    // The origin's part is taken by another box, where there is one that has it from there as well.
    let child = children(&mesh, OWNER)[0];
    let theirs = mesh.key(OWNER);
    mesh.boxes.get_mut(&child).unwrap().relayed = vec![theirs].try_into().unwrap();
    mesh.settle();
    for stripe in (0..8).filter(|stripe| mesh.parent(child, *stripe) == Some(OWNER)) {
        let others = mesh.boxes.keys().filter(|n| **n != OWNER && mesh.parent(**n, stripe) == Some(OWNER));
        assert_eq!(others.count(), 1, "stripe {stripe}: {:?}", mesh.takes(child));
    }
    mesh.check_served();
}

#[test]
fn who_is_revoked_is_named_to_nobody_from_then_on() {
    let (mut mesh, giver) = settled();
    mesh.out = vec![giver];
    mesh.boxes.remove(&giver);
    for n in mesh.boxes.clone().into_keys() {
        let answer = mesh.ask(n);
        assert!(!mesh.names(&answer).contains(&giver));
    }
    mesh.settle();
    mesh.check_served();
}

#[test]
fn who_does_not_ask_when_it_is_due_is_taken_for_gone() {
    let (mut mesh, giver) = settled();
    let all = children(&mesh, giver);
    mesh.boxes.remove(&giver);
    // It spoke a second ago, and is to speak again now, as few carry the stream; four seconds later it is gone.
    for (seconds, named) in [(2, true), (1, true), (1, false)] {
        mesh.pass(seconds);
        for n in mesh.boxes.clone().into_keys() {
            let answer = mesh.ask(n);
            let is_named = mesh.names(&answer).contains(&giver);
            assert!(is_named == named || !all.contains(&n), "box {n}");
        }
    }
    mesh.settle();
    mesh.check_served();
}

fn miss(mesh: &mut Mesh, child: u8, parent: u8) -> Answer {
    let parent = mesh.key(parent);
    mesh.boxes.get_mut(&child).unwrap().silent = vec![parent].try_into().unwrap();
    let answer = mesh.ask(child);
    mesh.boxes.get_mut(&child).unwrap().silent = List::new();
    answer
}

#[test]
fn whom_two_miss_is_taken_for_gone_until_it_asks() {
    // The others have just enough without it.
    let (mut mesh, giver) = settled_with(6 * MBIT);
    let all = children(&mesh, giver);
    let answer = miss(&mut mesh, all[0], giver);
    assert!(mesh.names(&answer).contains(&giver), "one alone may have a bad way to it");
    assert_eq!(answer.next_s, 1, "perhaps another one says the same");
    // Said twice by one it is no truer.
    miss(&mut mesh, all[0], giver);
    let answer = miss(&mut mesh, all[1], giver);
    assert!(!mesh.names(&answer).contains(&giver));
    let planned = answer.parents.iter().fold(0, |planned, entry| planned | entry.stripes);
    assert_eq!(planned, ALL_STRIPES, "at once, from others");
    assert!(!all.iter().any(|child| {
        let answer = mesh.ask(*child);
        mesh.names(&answer).contains(&giver)
    }));
    mesh.ask(giver);
    mesh.settle();
    mesh.check_served();
    assert!(!children(&mesh, giver).is_empty(), "it gives again");
}

#[test]
fn what_failed_one_box_comes_from_elsewhere_and_others_stay() {
    let (mut mesh, giver) = settled_with(20 * MBIT);
    let all = children(&mesh, giver);
    fail(&mut mesh, all[0], giver);
    let answer = mesh.ask(all[0]);
    assert_eq!(mesh.entry(&answer, giver), None);
    mesh.settle();
    mesh.check_served();
    assert!(!children(&mesh, giver).contains(&all[0]) && !children(&mesh, giver).is_empty());
}

#[test]
fn the_owner_that_failed_is_the_last_that_is_named() {
    let (mut mesh, _) = settled();
    let child = children(&mesh, OWNER)[0];
    fail(&mut mesh, child, OWNER);
    let answer = mesh.ask(child);
    assert_eq!((mesh.names(&answer).last(), answer.parents.last().unwrap().score), (Some(&OWNER), 0));
    assert_eq!(answer.parents.last().unwrap().stripes, 0);
}

#[test]
#[ignore = "known fault: with eight stripes one that others have finds no giver after the owner failed"]
fn what_the_owner_failed_to_give_comes_from_those_who_have_it() {
    let (mut mesh, _) = settled_with(20 * MBIT);
    let child = children(&mesh, OWNER)[0];
    // What all others have through this box nobody else can give it.
    let is_above = |n: u8, stripe: u8| {
        let mut at = n;
        while at != OWNER && at != child {
            at = mesh.parent(at, stripe).unwrap();
        }
        at == child
    };
    let theirs = (0..8).filter(|stripe| (1..=8).any(|n| !is_above(n, *stripe)));
    let theirs = theirs.fold(0, |all, stripe| all | 1 << stripe);
    fail(&mut mesh, child, OWNER);
    mesh.ask(child);
    // One that still takes a stripe from this box gives it once it has moved: no circle closes.
    mesh.settle();
    let others = mesh.takes(child).into_iter().filter(|(parent, _)| *parent != OWNER);
    assert_eq!(others.fold(0, |all, (_, stripes)| all | stripes) & theirs, theirs, "what others have");
}

#[test]
fn whom_its_children_blame_gives_nothing_for_a_while_and_then_for_longer() {
    let (mut mesh, giver) = settled();
    for child in children(&mesh, giver) {
        fail(&mut mesh, child, giver);
        mesh.ask(child);
    }
    mesh.settle();
    mesh.check_served();
    assert_eq!(mesh.gives(giver), 0);
    let plan =
        |mesh: &Mesh| mesh.carriers.streams[&name("show")].plan.as_ref().unwrap().gives_bps(&key(giver));
    let others: Vec<u8> = mesh.boxes.keys().copied().collect();
    for n in others.iter().copied() {
        let answer = mesh.ask(n);
        assert!(!mesh.names(&answer).contains(&giver), "no box is told of it: {n}");
    }
    assert_eq!(plan(&mesh), 0);
    mesh.boxes.values_mut().for_each(|said| said.failed = List::new());
    (0..14).for_each(|_| {
        mesh.pass(5);
        others.iter().for_each(|n| drop(mesh.ask(*n)));
    });
    mesh.settle();
    let free = mesh.carriers.streams[&name("show")].plan.as_ref().unwrap().score(&key(giver), None);
    assert!(plan(&mesh) > 0 || free > 1000, "it may give again");
}

#[test]
fn who_fails_others_again_is_out_for_twice_as_long() {
    let (mut mesh, giver) = settled();
    let all = children(&mesh, giver);
    let plan = mesh.carriers.streams.get_mut(&name("show")).unwrap().plan.as_mut().unwrap();
    let start = mesh.now;
    let at = |seconds: u64| start + Duration::from_secs(seconds);
    let mut out = |blames: bool, seconds: u64| {
        for child in all.iter().filter(|_| blames) {
            plan.handle_failed(&key(*child), &key(giver), &|_, _| None, at(seconds));
        }
        plan.is_out(&key(giver), start, at(seconds))
    };
    assert!(!out(false, 0));
    assert!(out(true, 0) && out(false, 14) && !out(false, 15));
    assert!(out(true, 20) && out(false, 49) && !out(false, 50));
    assert!(out(true, 700) && out(false, 714) && !out(false, 715), "forgotten");
}

#[test]
fn who_lacks_something_itself_is_not_blamed_by_those_below() {
    let (mut mesh, giver) = settled();
    let all = children(&mesh, giver);
    fail(&mut mesh, giver, OWNER);
    mesh.ask(giver);
    for child in all {
        fail(&mut mesh, child, giver);
        mesh.ask(child);
    }
    let plan = mesh.carriers.streams[&name("show")].plan.as_ref().unwrap();
    assert!(plan.score(&key(giver), None) > 1000, "its line is as good as before");
}

#[test]
fn one_that_blames_everybody_moves_nobody_but_itself() {
    let (mut mesh, _) = settled();
    let before = mesh.boxes.clone();
    for parent in (1..=7).cycle().take(21) {
        fail(&mut mesh, 8, parent);
        mesh.ask(8);
        mesh.pass(1);
    }
    mesh.boxes.get_mut(&8).unwrap().failed = List::new();
    mesh.settle();
    mesh.check_served();
    let gave = |boxes: &BTreeMap<u8, ParentsRequest>| boxes.keys().filter(|n| mesh.gives(**n) > 0).count();
    assert!(gave(&mesh.boxes) + 1 >= gave(&before), "they give as before");
}

#[test]
fn nobody_is_told_to_take_from_one_that_still_has_it_from_him() {
    let (mut mesh, giver) = settled();
    // By its own word, all that it has is from a child of its own, and so is what that one has.
    let child = children(&mesh, giver)[0];
    let stripes = mesh.takes(child)[&giver];
    let (own, below) = (mesh.key(giver), mesh.key(child));
    mesh.boxes.get_mut(&giver).unwrap().takes =
        vec![Take { parent: below, stripes: 0xff }].try_into().unwrap();
    let said = mesh.boxes[&giver].clone();
    mesh.carriers.handle_request(&own, said, mesh.now).unwrap();
    let answer = mesh.ask(child);
    let entry = mesh.entry(&answer, giver).unwrap();
    assert_eq!((entry.stripes, entry.barred & stripes), (0, stripes));
    assert_eq!(answer.next_s, 1, "it asks again soon");
}

#[test]
fn circles_that_boxes_tell_of_end() {
    let mut mesh = Mesh::with(20 * MBIT, &[5 * MBIT; 3]);
    let takes = |mesh: &Mesh, all: &[(u8, u16)]| {
        let all = all.iter().map(|(parent, stripes)| Take { parent: mesh.key(*parent), stripes: *stripes });
        List::try_from(all.collect::<Vec<_>>()).unwrap()
    };
    let all = [takes(&mesh, &[(2, 0b1111), (1, 0b1111)]), takes(&mesh, &[(1, 0b1111), (3, 0b1000)])];
    for (n, takes) in (1..).zip(all) {
        mesh.boxes.get_mut(&n).unwrap().takes = takes;
        mesh.carriers.handle_request(&key(n), mesh.boxes[&n].clone(), mesh.now).unwrap();
    }
    let carried = &mesh.carriers.streams[&name("show")];
    assert_eq!((carried.barred(&key(1), &key(3)), carried.barred(&key(2), &key(3))), (0b1000, 0b1000));
    assert_eq!((carried.barred(&key(1), &key(2)), carried.barred(&key(3), &key(1))), (0b1111, 0));
}

/// Boxes say for a quarter of a minute what they saw once; lines are too tight to do without a box for so long.
#[test]
fn who_was_gone_and_is_back_gives_again_though_others_still_say_that_it_failed_them() {
    // Nobody has what the others need without it.
    let (mut mesh, giver) = settled_with(6 * MBIT);
    let all = children(&mesh, giver);
    let gone = mesh.boxes.remove(&giver).unwrap();
    all.iter().for_each(|child| fail(&mut mesh, *child, giver));
    for _ in 0..8 {
        mesh.pass(1);
        mesh.boxes.clone().into_keys().for_each(|n| drop(mesh.ask(n)));
    }
    assert!(children(&mesh, giver).is_empty());
    mesh.boxes.insert(giver, ParentsRequest { takes: List::new(), ..gone });
    let mut gives = Vec::new();
    for _ in 0..8 {
        mesh.pass(1);
        mesh.boxes.clone().into_keys().for_each(|n| drop(mesh.ask(n)));
        gives.push(!children(&mesh, giver).is_empty());
    }
    assert_eq!(gives[..3], [false; 3], "it fetches what it missed first");
    assert!(gives[7], "{gives:?}");
    // What is said for longer is not of the past.
    for _ in 0..20 {
        mesh.pass(1);
        mesh.boxes.clone().into_keys().for_each(|n| drop(mesh.ask(n)));
    }
    assert!(!all.iter().any(|child| children(&mesh, giver).contains(child)));
}
