//! Every pair of sites, and a thousand fleets with churn: everybody reaches everybody, straight wherever routers allow.
#![expect(clippy::unwrap_used, reason = "a test may panic")]

use std::time::Duration;

use sim::{Dice, Fleet, Plan, Reach, Site};

const SETTLE: Duration = Duration::from_secs(30);

fn plan(seed: u64, sites: &[Site]) -> Plan {
    Plan { seed, sites: sites.to_vec(), loss_per_mille: 0, peers_max: 255 }
}

/// As docs/nat.md has it: the worst that is allowed between two sites, without a box between.
fn expected(one: Site, other: Site) -> Reach {
    use Site::{Blocked, Hard, V6Only};
    match (one, other) {
        (Blocked, _) | (_, Blocked) | (Hard, Hard) => Reach::Tls,
        (V6Only, V6Only) => Reach::Direct,
        (V6Only, _) | (_, V6Only) => Reach::Tls,
        _ => Reach::Direct,
    }
}

/// Whether only luck finds the way: see the birthday punch.
fn by_luck(one: Site, other: Site) -> bool {
    use Site::{Cgnat, Easy, Hard};
    matches!((one, other), (Hard, Easy | Cgnat) | (Easy | Cgnat, Hard))
}

#[test]
fn every_pair_of_sites_finds_its_best_way() {
    let (mut lucky, mut tried) = (0, 0);
    for one in Site::ALL {
        for other in Site::ALL {
            for seed in 0..4 {
                let mut fleet = Fleet::new(&plan(seed, &[one, other]));
                fleet.run_for(SETTLE);
                let (there, back) = (fleet.reach(0, 1, 3), fleet.reach(1, 0, 3));
                let told = || {
                    format!(
                        "{one:?} {other:?} seed {seed}: {}; {}",
                        fleet.describe(0, 1),
                        fleet.describe(1, 0)
                    )
                };
                let worst = there.max(back);
                if by_luck(one, other) {
                    assert!(worst <= Reach::Tls, "{}", told());
                    tried += 1;
                    lucky += u32::from(worst == Reach::Direct);
                } else {
                    assert_eq!(worst, expected(one, other), "{}", told());
                }
            }
        }
    }
    assert!(lucky * 100 >= tried * 95, "{lucky} of {tried} birthday punches hit");
}

#[test]
fn without_a_straight_way_a_box_in_between_is_better_than_the_coordinator() {
    for (one, other) in [(Site::Hard, Site::Hard), (Site::V6Only, Site::V6Only), (Site::Easy, Site::Hard)] {
        let mut fleet = Fleet::new(&plan(1, &[one, other, Site::Public]));
        fleet.run_for(SETTLE);
        let worst = fleet.reach(0, 1, 3).max(fleet.reach(1, 0, 3));
        assert!(worst <= Reach::Box, "{one:?} {other:?}: {}; {}", fleet.describe(0, 1), fleet.describe(1, 0));
    }
}

/// What a box was told before its restart it has to be told again, or the punch never begins.
#[test]
fn a_box_that_starts_again_is_reached_straight_again() {
    let straight = (0..8).filter(|seed| {
        let mut fleet = Fleet::new(&plan(*seed, &[Site::Easy, Site::Hard]));
        fleet.run_for(SETTLE);
        fleet.restart(1);
        fleet.run_for(Duration::from_secs(60));
        fleet.reach(0, 1, 3).max(fleet.reach(1, 0, 3)) == Reach::Direct
    });
    assert!(straight.count() >= 7, "one punch of many may miss");
}

#[test]
fn an_idle_fleet_is_quiet() {
    let mut fleet = Fleet::new(&plan(7, &[Site::Easy, Site::Hard, Site::Public, Site::Cgnat, Site::Blocked]));
    fleet.run_for(Duration::from_secs(400));
    let before: Vec<_> = (0..fleet.len()).map(|name| fleet.sent(name)).collect();
    fleet.run_for(Duration::from_secs(120));
    for (name, before) in before.into_iter().enumerate() {
        // Four peers with a probe and an answer each 20 s, two STUN servers, and one hard pair that is tried again.
        let sent = fleet.sent(name) - before;
        assert!(sent <= 220, "box {name} sent {sent} datagrams in two idle minutes");
    }
}

#[test]
fn without_the_coordinator_boxes_go_on_and_find_each_other_again() {
    let mut fleet = Fleet::new(&plan(3, &[Site::Easy, Site::Hard, Site::Public, Site::EasyPmp]));
    fleet.run_for(SETTLE);
    fleet.set_coordinator(false);
    fleet.run_for(Duration::from_secs(600));
    fleet.flush(0);
    fleet.run_for(SETTLE);
    fleet.restart(1);
    fleet.run_for(Duration::from_secs(60));
    for one in 0..4 {
        for other in 0..4 {
            if one != other {
                let reach = fleet.reach(one, other, 3);
                assert!(
                    reach <= Reach::Box,
                    "{}; {}",
                    fleet.describe(one, other),
                    fleet.describe(other, one)
                );
            }
        }
    }
}

#[test]
fn a_path_that_swallows_long_packets_is_not_used() {
    let mut fleet = Fleet::new(&plan(5, &[Site::Easy, Site::Public]));
    fleet.limit(0, 1300);
    fleet.run_for(SETTLE);
    assert_eq!(fleet.reach(0, 1, 3), Reach::Tls, "{}", fleet.describe(0, 1));
}

#[test]
fn a_path_that_begins_to_swallow_long_packets_is_left() {
    let mut fleet = Fleet::new(&plan(5, &[Site::Easy, Site::Public]));
    fleet.run_for(SETTLE);
    assert_eq!(fleet.reach(0, 1, 1), Reach::Direct);
    fleet.flush(0);
    fleet.run_for(SETTLE);
    assert_eq!(fleet.reach(0, 1, 3), Reach::Direct, "{}", fleet.describe(0, 1));
}

/// Of the network's packets: what lies around one inside of the tunnel, by IPv4.
const OUTSIDE: usize = 60;

/// Packets go both ways for so many seconds, each as long as its sender may make it; says how many of them were lost.
fn talk(fleet: &mut Fleet, seconds: u64) -> usize {
    let lost = (0..seconds).map(|_| {
        usize::from(fleet.reach(0, 1, 1) == Reach::None) + usize::from(fleet.reach(1, 0, 1) == Reach::None)
    });
    lost.sum()
}

#[test]
fn packets_get_as_long_as_the_path_carries() {
    for (mtu, found) in [(1500, 1420), (1479, 1408), (1460, 1392), (1400, 1328), (1340, 1280)] {
        for (one, other) in
            [(Site::Easy, Site::Easy), (Site::Public, Site::Hard), (Site::V6Only, Site::V6Only)]
        {
            let mut fleet = Fleet::new(&plan(5, &[one, other]));
            fleet.limit(1, mtu);
            fleet.run_for(SETTLE);
            assert_eq!((fleet.width(0, 1), fleet.width(1, 0)), (1280, 1280), "nobody sent a packet so far");
            assert_eq!(talk(&mut fleet, 10), 0, "{}", fleet.describe(0, 1));
            assert_eq!((fleet.width(0, 1), fleet.width(1, 0)), (found, found), "{one:?} {other:?} {mtu}");
        }
    }
}

#[test]
fn packets_through_others_stay_short() {
    for sites in [&[Site::Hard, Site::Hard][..], &[Site::Hard, Site::Hard, Site::Public]] {
        let mut fleet = Fleet::new(&plan(2, sites));
        fleet.run_for(SETTLE);
        assert_eq!(talk(&mut fleet, 10), 0);
        assert_eq!((fleet.width(0, 1), fleet.width(1, 0)), (1280, 1280));
    }
}

#[test]
fn a_path_that_begins_to_swallow_the_longest_packets_gets_shorter_ones() {
    let mut fleet = Fleet::new(&plan(5, &[Site::Easy, Site::Public]));
    fleet.run_for(SETTLE);
    talk(&mut fleet, 10);
    assert_eq!(fleet.width(0, 1), 1420);
    fleet.limit(0, 1400);
    let lost = talk(&mut fleet, 12);
    assert!((1..20).contains(&lost), "{lost} of 24 were lost");
    assert_eq!((fleet.width(0, 1), fleet.reach(0, 1, 1)), (1280, Reach::Direct));
    assert_eq!(talk(&mut fleet, 90), 0, "while longer ones are tried again");
    assert_eq!((fleet.width(0, 1), fleet.width(1, 0)), (1328, 1328));
}

/// Longer than it takes to leave a path: five seconds to the next look, 1.6 for the longest, 3.6 for the shortest, and
/// some to try others.
const LEFT_AFTER: u64 = 15;
/// What a link carries that swallows packets of 1280 bytes inside of the tunnel, and lets others through.
const NARROW: usize = 1300;

#[test]
fn a_path_that_begins_to_swallow_the_shortest_as_well_is_left_for_one_that_carries_them() {
    let pair = [Site::Easy, Site::Easy];
    let three = [Site::Easy, Site::Easy, Site::Public];
    // From long packets and from short ones; to the coordinator's line, and to a box.
    for (sites, before, found, to) in [
        (&pair[..], 1500, 1420, Reach::Tls),
        (&pair[..], 1340, 1280, Reach::Tls),
        (&three[..], 1500, 1420, Reach::Tls),
    ] {
        let mut fleet = Fleet::new(&plan(5, sites));
        fleet.limit(0, before);
        fleet.run_for(SETTLE);
        talk(&mut fleet, 20);
        assert_eq!((fleet.width(0, 1), fleet.reach(0, 1, 1)), (found, Reach::Direct));
        fleet.limit(0, NARROW);
        talk(&mut fleet, LEFT_AFTER);
        assert_eq!(talk(&mut fleet, 10), 0, "{}; {}", fleet.describe(0, 1), fleet.describe(1, 0));
        assert_eq!((fleet.reach(0, 1, 1), fleet.reach(1, 0, 1)), (to, to), "{sites:?} {before}");
        // The line is well again.
        fleet.limit(0, 1500);
        assert_eq!(talk(&mut fleet, 120), 0);
        assert_eq!((fleet.reach(0, 1, 1), fleet.reach(1, 0, 1)), (Reach::Direct, Reach::Direct));
    }
}

#[test]
fn a_box_in_between_is_left_when_its_leg_begins_to_swallow() {
    let mut fleet = Fleet::new(&plan(2, &[Site::Hard, Site::Hard, Site::Public]));
    fleet.run_for(SETTLE);
    assert_eq!((talk(&mut fleet, 10), fleet.reach(0, 1, 1)), (0, Reach::Box));
    fleet.limit(0, NARROW);
    talk(&mut fleet, LEFT_AFTER);
    assert_eq!(talk(&mut fleet, 10), 0, "{}; {}", fleet.describe(0, 1), fleet.describe(1, 0));
    assert_eq!((fleet.reach(0, 1, 1), fleet.reach(1, 0, 1)), (Reach::Tls, Reach::Tls));
}

/// Nowhere to go: the path stays, since short packets pass, and is good again when it carries long ones.
#[test]
fn without_another_way_a_path_that_swallows_is_kept() {
    let mut fleet = Fleet::new(&plan(5, &[Site::Easy, Site::Public]));
    fleet.run_for(SETTLE);
    fleet.set_coordinator(false);
    talk(&mut fleet, 10);
    fleet.limit(0, NARROW);
    talk(&mut fleet, 60);
    fleet.limit(0, 1500);
    talk(&mut fleet, 60);
    assert_eq!(talk(&mut fleet, 10), 0, "{}; {}", fleet.describe(0, 1), fleet.describe(1, 0));
    assert_eq!((fleet.reach(0, 1, 1), fleet.reach(1, 0, 1)), (Reach::Direct, Reach::Direct));
}

/// One pair on lines that lose some, of which one begins to swallow at some moment. `Err` says what was not as it should
/// be.
fn swallowed(seed: u64) -> Result<(), String> {
    let mut dice = Dice::new(seed ^ 0x5a11);
    let any = |dice: &mut Dice| {
        [Site::Easy, Site::FullCone, Site::Cgnat, Site::EasyPmp][dice.number() as usize % 4]
    };
    let sites = [any(&mut dice), any(&mut dice)];
    let loss_per_mille = [0, 20, 50][usize::try_from(dice.within(0..3)).unwrap()];
    let mut fleet = Fleet::new(&Plan { loss_per_mille, ..plan(seed, &sites) });
    fleet.run_for(SETTLE);
    let told = |fleet: &Fleet| {
        format!("{sites:?}, loss {loss_per_mille}: {}; {}", fleet.describe(0, 1), fleet.describe(1, 0))
    };
    // Loss alone is no reason to leave a path.
    for _ in 0..dice.within(1..30) {
        talk(&mut fleet, 5);
        if fleet.reach(0, 1, 6) != Reach::Direct || fleet.reach(1, 0, 6) != Reach::Direct {
            return Err(format!("left too soon: {}", told(&fleet)));
        }
    }
    fleet.limit(usize::try_from(dice.within(0..2)).unwrap(), NARROW);
    talk(&mut fleet, 2 * LEFT_AFTER);
    if fleet.reach(0, 1, 6) != Reach::Tls || fleet.reach(1, 0, 6) != Reach::Tls {
        return Err(format!("not left: {}", told(&fleet)));
    }
    Ok(())
}

#[test]
fn two_hundred_lines_that_begin_to_swallow() {
    let failed: Vec<_> = (0..200).filter_map(|seed| Some((seed, swallowed(seed).err()?))).collect();
    assert!(failed.is_empty(), "{failed:#?}");
}

/// One pair whose lines get narrower and wider, with loss. `Err` says what was not as it should be.
fn narrowed(seed: u64) -> Result<(), String> {
    let mut dice = Dice::new(seed ^ 0x51de);
    // Sites that reach each other straight, by a router whose length can be set.
    let any = |dice: &mut Dice| {
        [Site::Easy, Site::FullCone, Site::Cgnat, Site::EasyPmp][dice.number() as usize % 4]
    };
    let sites = [any(&mut dice), any(&mut dice)];
    let loss_per_mille = [0, 0, 20, 50][usize::try_from(dice.within(0..4)).unwrap()];
    let mut fleet = Fleet::new(&Plan { loss_per_mille, ..plan(seed, &sites) });
    fleet.run_for(SETTLE);
    for _ in 0..3 {
        let mtus = [0, 1].map(|_| usize::try_from(dice.within(1340..1520)).unwrap());
        fleet.limit(0, mtus[0]);
        fleet.limit(1, mtus[1]);
        let most = mtus[0].min(mtus[1]) - OUTSIDE;
        talk(&mut fleet, 30);
        for (from, to) in [(0, 1), (1, 0)] {
            let width = fleet.width(from, to);
            if width > most.max(1280) || fleet.reach(from, to, 6) != Reach::Direct {
                return Err(format!(
                    "{sites:?}, loss {loss_per_mille}: {width} of {most}; {}",
                    fleet.describe(from, to)
                ));
            }
        }
    }
    Ok(())
}

#[test]
fn three_hundred_lines_that_change() {
    let failed: Vec<_> = (0..300).filter_map(|seed| Some((seed, narrowed(seed).err()?))).collect();
    assert!(failed.is_empty(), "{failed:#?}");
}

/// One fleet with churn. `Err` says what was not as it should be.
fn churned(seed: u64) -> Result<(), String> {
    let mut dice = Dice::new(seed ^ 0x5eed);
    let any = |dice: &mut Dice| Site::ALL[usize::try_from(dice.within(0..8)).unwrap()];
    let count = dice.within(2..6);
    let sites: Vec<Site> = (0..count).map(|_| any(&mut dice)).collect();
    let loss_per_mille = [0, 0, 20, 50][usize::try_from(dice.within(0..4)).unwrap()];
    let mut fleet = Fleet::new(&Plan { loss_per_mille, ..plan(seed, &sites) });
    fleet.run_for(Duration::from_secs(dice.within(1..40)));
    for _ in 0..dice.within(1..4) {
        let name = usize::try_from(dice.within(0..count)).unwrap();
        match dice.within(0..4) {
            0 => fleet.restart(name),
            1 => fleet.roam(name, any(&mut dice)),
            2 => fleet.flush(name),
            _ => {
                fleet.set_coordinator(false);
                fleet.run_for(Duration::from_secs(dice.within(1..60)));
                fleet.set_coordinator(true);
            }
        }
        fleet.run_for(Duration::from_secs(dice.within(1..60)));
    }
    fleet.run_for(Duration::from_secs(45));
    for one in 0..fleet.len() {
        for other in 0..fleet.len() {
            if one != other && fleet.reach(one, other, 6) == Reach::None {
                return Err(format!(
                    "{sites:?}, loss {loss_per_mille}: {}; {}",
                    fleet.describe(one, other),
                    fleet.describe(other, one)
                ));
            }
        }
    }
    Ok(())
}

/// Seeds that once failed: 139, where three lost probes ended a good path, and with it the socket
/// that the other side still sent to.
const KEPT: [u64; 1] = [139];

#[test]
fn a_thousand_fleets_with_churn() {
    let from: u64 = std::env::var("RELAYBOX_SEED").map_or(0, |seed| seed.parse().unwrap());
    let count: u64 = std::env::var("RELAYBOX_SEEDS").map_or(1000, |count| count.parse().unwrap());
    let mut failed = Vec::new();
    for seed in KEPT.into_iter().chain(from..from + count) {
        if let Err(said) = churned(seed) {
            println!("seed {seed}: {said}");
            failed.push(seed);
        }
    }
    assert!(
        failed.is_empty(),
        "{} seeds failed: {failed:?}; one alone: RELAYBOX_SEED=N RELAYBOX_SEEDS=1",
        failed.len()
    );
}

#[test]
fn two_thousand_boxes() {
    let mut dice = Dice::new(11);
    let sites: Vec<Site> =
        (0..2000).map(|_| Site::ALL[usize::try_from(dice.within(0..8)).unwrap()]).collect();
    let mut fleet = Fleet::new(&Plan { peers_max: 5, ..plan(11, &sites) });
    fleet.run_for(SETTLE);
    let (mut pairs, mut reached) = (0, 0);
    for one in (0..2000).step_by(97) {
        for other in fleet.peers(one).to_vec() {
            pairs += 1;
            reached += u32::from(fleet.reach(one, other, 3) != Reach::None);
        }
    }
    assert!(pairs > 50 && reached == pairs, "{reached} of {pairs}");
}
