//! Boxes that give each other a stream over pipes in memory, in virtual time: the origin signs, everybody checks.

mod world;

use std::time::Duration;

use store::Object;
use stream::ObjectName;
use swarm::fetch::Fault;
use tokio::time::sleep;

use crate::Report;
use world::{Deed, World, until};

#[tokio::test(start_paused = true)]
async fn a_stream_goes_over_two_hops_and_stays_the_same() {
    let world = World::new(3);
    world.publish(0);
    world.carry(1, &[0]);
    world.carry(2, &[1]);
    world.push(0, 40).await;
    until("the parts are at the second hop", || world.parts(2) >= 35).await;
    assert_eq!(world.live(2).gaps(), 0);
    for at in [1, 2] {
        world.compare(0, at).await;
        assert_eq!(world.bytes(at, 3), world.bytes(0, 3));
    }
    // What went on was not taken from the origin twice.
    assert!(world.tally(2).flows().iter().all(|(key, flow)| *key == world.key(1) || flow.received == 0));
    assert!(world.tally(1).sent() > 0);
}

#[tokio::test(start_paused = true)]
async fn stripes_come_from_several_parents_and_one_may_vanish() {
    let world = World::new(4);
    world.publish(0);
    world.carry(1, &[0]);
    world.carry(2, &[0]);
    world.push(0, 10).await;
    world.carry(3, &[1, 2]);
    world.push(0, 15).await;
    let flows = world.tally(3).flows();
    let giving = |key| flows.iter().any(|(from, flow)| *from == key && flow.received > 0);
    assert!(giving(world.key(1)) && giving(world.key(2)), "both give: {flows:?}");
    world.kill(1);
    world.push(0, 30).await;
    until("the rest comes from the other", || world.parts(3) >= 40).await;
    assert_eq!(world.live(3).gaps(), 0);
    world.compare(0, 3).await;
}

#[tokio::test(start_paused = true)]
async fn what_one_has_no_room_for_comes_from_another() {
    let world = World::new(4);
    world.publish(0);
    world.carry(1, &[0]);
    world.carry(2, &[0]);
    world.push(0, 10).await;
    world.limit(1, 1);
    world.carry(3, &[1, 2]);
    world.push(0, 40).await;
    until("all of it comes", || world.parts(3) >= 40).await;
    assert_eq!(world.live(3).gaps(), 0);
    world.compare(0, 3).await;
    let takes = |at| {
        let flows = world.tally(3).flows();
        flows.iter().find(|(from, _)| *from == world.key(at)).map_or(0, |(_, flow)| flow.takes.count_ones())
    };
    assert_eq!((takes(1), takes(2)), (1, 7), "of eight");
    let gives = world.tally(1).flows().iter().map(|(_, flow)| flow.gives().len()).sum::<u32>();
    assert_eq!(gives, 1, "and it knows what it gives");
}

#[tokio::test(start_paused = true)]
async fn who_leaves_is_left_before_it_is_gone() {
    let world = World::new(4);
    world.publish(0);
    world.carry(1, &[0]);
    world.carry(2, &[0]);
    world.push(0, 10).await;
    world.carry(3, &[1, 2]);
    world.push(0, 15).await;
    let pulled = world.tally(3).pulled.load(std::sync::atomic::Ordering::Relaxed);
    let left = world.clone();
    let leaves = tokio::spawn(async move { left.leave(1).await });
    world.push(0, 20).await;
    leaves.await.unwrap();
    until("the other gives all", || world.parts(3) >= 35).await;
    assert_eq!(world.live(3).gaps(), 0);
    let after = world.tally(3).pulled.load(std::sync::atomic::Ordering::Relaxed);
    assert!(after - pulled <= 4, "nothing much had to be asked for by name: {}", after - pulled);
}

#[tokio::test(start_paused = true)]
async fn a_forger_is_dropped_and_nothing_of_it_is_kept() {
    for deed in [Deed::BendsBlocks, Deed::BendsItems, Deed::ForeignHello] {
        let mut world = World::new(3);
        world.publish(0);
        world.carry(1, &[0]);
        world.push(0, 10).await;
        world.corrupt(1, deed);
        world.carry(2, &[0, 1]);
        world.push(0, 30).await;
        until("the honest one gives all", || world.parts(2) >= 35).await;
        assert_eq!(world.live(2).gaps(), 0, "{deed:?}");
        world.compare(0, 2).await;
        let reports = world.reports(2);
        let demoted = Report::Demoted { parent: world.key(1), fault: Fault::Forged };
        assert!(reports.contains(&demoted), "{deed:?}: {reports:?}");
        assert!(world.tally(2).forged.load(std::sync::atomic::Ordering::Relaxed) > 0);
    }
}

#[tokio::test(start_paused = true)]
async fn who_has_nothing_says_so_and_a_stranger_stream_is_not_there() {
    let world = World::new(2);
    world.carry(1, &[0]);
    sleep(Duration::from_secs(3)).await;
    assert_eq!(world.parts(1), 0);
    assert!(world.reports_now(1).contains(&Report::Starved));
    // It begins later, and is taken then.
    world.publish(0);
    world.push(0, 60).await;
    until("it is found", || world.parts(1) > 20).await;
}

#[tokio::test(start_paused = true)]
async fn the_end_goes_from_box_to_box() {
    let world = World::new(3);
    world.publish(0);
    world.carry(1, &[0]);
    world.carry(2, &[1]);
    world.push(0, 12).await;
    until("it is there", || world.parts(2) > 5).await;
    world.live(0).abandon_segment();
    world.live(0).end();
    sleep(Duration::from_secs(1)).await;
    let text = world.playlist(2).await;
    assert!(text.ends_with("#EXT-X-ENDLIST\n"), "{text}");
    world.compare(0, 2).await;
}

#[tokio::test(start_paused = true)]
async fn an_upload_limit_holds_for_all_children_together() {
    let world = World::new(4);
    world.uplink(0).set(Some(1_000_000));
    world.publish(0);
    for child in 1..4 {
        world.carry(child, &[0]);
    }
    let before = world.tally(0).sent();
    world.push(0, 50).await;
    let sent = (world.tally(0).sent() - before) * 8;
    // Ten seconds at 1 Mbit/s on the line, of which 113 carry 100.
    assert!((8_000_000..9_300_000).contains(&sent), "{sent}");
}

#[tokio::test(start_paused = true)]
async fn a_part_is_fetched_once_however_many_watch() {
    let world = World::new(2);
    world.publish(0);
    world.carry(1, &[0]);
    world.push(0, 20).await;
    until("it is there", || world.parts(1) > 10).await;
    let received: u64 = world.tally(1).flows().iter().map(|(_, flow)| flow.received).sum();
    let live = world.live(1);
    let name = ObjectName::Part(world::EPOCH, 2, 0);
    for _ in 0..500 {
        let object = live.object(name, tokio::time::Instant::now() + Duration::from_secs(1)).await;
        assert!(matches!(object, Ok(Object::Whole { .. })));
    }
    let after: u64 = world.tally(1).flows().iter().map(|(_, flow)| flow.received).sum();
    assert_eq!(received, after);
}
