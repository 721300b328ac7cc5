//! The rule alone: who is named, in which order, and what is barred.

use wire::parents::Take;

use super::*;

const OWNER: u8 = 0;
const MBIT: u64 = 1_000_000;

fn key(n: u8) -> BoxKey {
    trust::BoxSecret::from_seed(&[n; 32]).public()
}

fn name(text: &str) -> StreamName {
    text.parse().unwrap()
}

/// With so much uplink, and stripes by parent.
fn says(uplink_bps: u64, takes: &[(u8, u16)]) -> ParentsRequest {
    let takes = takes.iter().map(|(parent, stripes)| Take { parent: key(*parent), stripes: *stripes });
    ParentsRequest {
        stream: name("show"),
        uplink_bps: Some(uplink_bps),
        sending_bps: 0,
        viewers: 0,
        takes: takes.collect::<Vec<_>>().try_into().unwrap(),
        failed: List::new(),
        leaving: false,
    }
}

struct Mesh {
    carriers: Carriers,
    now: Instant,
    out: Vec<u8>,
    near: Vec<(u8, u32)>,
}

impl Mesh {
    fn new() -> Self {
        Self { carriers: Carriers::default(), now: Instant::now(), out: Vec::new(), near: Vec::new() }
    }

    fn pass(&mut self, seconds: u64) {
        self.now += Duration::from_secs(seconds);
    }

    fn say(&mut self, n: u8, said: ParentsRequest) {
        self.carriers.handle_request(&key(n), said, self.now).unwrap();
    }

    fn entries(&self, n: u8) -> Vec<ParentEntry> {
        let asking = Asking {
            key: &key(n),
            owner: &key(OWNER),
            is_peer: &|other| !self.out.iter().any(|out| key(*out) == *other),
            round_trip_ms: &|other| self.near.iter().find(|(n, _)| key(*n) == *other).map(|(_, ms)| *ms),
        };
        self.carriers.parents(&name("show"), &asking, self.now).to_vec()
    }

    /// By their numbers, which are below 100.
    fn parents(&self, n: u8) -> Vec<u8> {
        let number = |entry: &ParentEntry| (0..100).find(|n| key(*n) == entry.key).unwrap();
        self.entries(n).iter().map(number).collect()
    }
}

#[test]
fn the_first_box_takes_it_from_the_owner_and_the_owner_from_nobody() {
    let mut mesh = Mesh::new();
    assert_eq!(mesh.parents(1), [OWNER], "also before it said anything");
    mesh.say(1, says(5 * MBIT, &[]));
    assert_eq!((mesh.parents(1), mesh.parents(OWNER)), (vec![OWNER], vec![]));
}

#[test]
fn boxes_take_it_from_those_that_began_before_them_most_left_first() {
    let mut mesh = Mesh::new();
    mesh.say(OWNER, says(8 * MBIT, &[]));
    mesh.say(1, says(5 * MBIT, &[]));
    mesh.say(2, ParentsRequest { sending_bps: 17 * MBIT, ..says(20 * MBIT, &[]) });
    mesh.say(3, says(40 * MBIT, &[]));
    assert_eq!(mesh.parents(3), [OWNER, 1, 2]);
    assert_eq!(mesh.parents(2), [OWNER, 1], "and never from who came later");
    assert_eq!(mesh.parents(9), [3, OWNER, 1, 2], "who did not begin yet comes last");
    mesh.say(OWNER, ParentsRequest { sending_bps: 7 * MBIT, ..says(8 * MBIT, &[]) });
    assert_eq!(mesh.parents(3), [1, 2, OWNER]);
}

#[test]
fn scores_are_what_is_left_and_halve_at_a_tenth_of_a_second() {
    let mut mesh = Mesh::new();
    mesh.near = vec![(1, 0), (2, 100), (OWNER, 300)];
    mesh.say(1, ParentsRequest { sending_bps: 2 * MBIT, ..says(5 * MBIT, &[]) });
    mesh.say(2, says(5 * MBIT, &[]));
    let entries = mesh.entries(9);
    assert_eq!(entries.iter().map(|entry| entry.score).collect::<Vec<_>>(), [3000, 2500, 1250]);
    assert_eq!(mesh.parents(9), [1, 2, OWNER]);
    mesh.say(1, ParentsRequest { sending_bps: 9 * MBIT, ..says(5 * MBIT, &[]) });
    assert_eq!(mesh.entries(9).last().unwrap().score, 0, "it gives more than it was measured to have");
}

#[test]
fn a_line_that_nobody_measured_is_a_usual_one() {
    let mut mesh = Mesh::new();
    mesh.say(1, ParentsRequest { uplink_bps: None, sending_bps: 3 * MBIT, ..says(0, &[]) });
    // 5 and 2 Mbit/s, at 50 ms: two thirds of them.
    assert_eq!(mesh.entries(9).iter().map(|entry| entry.score).collect::<Vec<_>>(), [3333, 1333]);
}

#[test]
fn who_failed_it_is_not_named_but_the_owner_is_the_last_to_ask() {
    let mut mesh = Mesh::new();
    mesh.say(1, says(5 * MBIT, &[]));
    mesh.say(2, says(2 * MBIT, &[]));
    let failed = vec![key(1), key(OWNER)].try_into().unwrap();
    mesh.say(3, ParentsRequest { failed, ..says(5 * MBIT, &[]) });
    assert_eq!(mesh.parents(3), [2, OWNER]);
    assert_eq!(mesh.entries(3).last().unwrap().score, 0);
    assert_eq!(mesh.parents(4), [1, 3, OWNER, 2], "others did not say so");
}

#[test]
fn what_a_candidate_has_from_the_asking_box_is_barred() {
    let mut mesh = Mesh::new();
    // 1 and 2 began first; they lost the owner, and were told of 3 by somebody else.
    mesh.say(1, says(9 * MBIT, &[(3, 0b0001), (OWNER, 0b1110)]));
    mesh.say(2, says(8 * MBIT, &[(1, 0b0011), (3, 0b0100), (OWNER, 0b1000)]));
    mesh.say(3, says(5 * MBIT, &[(OWNER, 0b1111)]));
    let barred: Vec<_> = mesh.entries(3).iter().map(|entry| entry.barred).collect();
    assert_eq!(mesh.parents(3), [1, 2, OWNER]);
    assert_eq!(barred, [0b0001, 0b0101, 0]);
    // All of it: of no use. Stripes that there are not count for nothing.
    mesh.say(1, says(9 * MBIT, &[(3, 0xffff)]));
    assert_eq!(mesh.parents(3), [2, OWNER]);
}

#[test]
fn circles_that_boxes_tell_of_end() {
    let mut mesh = Mesh::new();
    mesh.say(1, says(5 * MBIT, &[(2, 0b1111), (1, 0b1111)]));
    mesh.say(2, says(4 * MBIT, &[(1, 0b1111), (3, 0b1000)]));
    mesh.say(3, says(5 * MBIT, &[]));
    assert_eq!(mesh.parents(3), [1, OWNER, 2]);
    assert_eq!(mesh.entries(3).iter().map(|entry| entry.barred).collect::<Vec<_>>(), [0b1000, 0, 0b1000]);
}

#[test]
fn who_leaves_is_revoked_or_silent_is_not_named() {
    let mut mesh = Mesh::new();
    (1..=3).for_each(|n| mesh.say(n, says(9 * MBIT, &[])));
    assert_eq!(mesh.parents(9), [1, 2, 3, OWNER]);
    mesh.say(1, ParentsRequest { leaving: true, ..says(9 * MBIT, &[]) });
    mesh.out = vec![2];
    assert_eq!(mesh.parents(9), [3, OWNER]);
    mesh.pass(29);
    assert_eq!(mesh.parents(9), [3, OWNER]);
    mesh.pass(1);
    assert_eq!(mesh.parents(9), [OWNER]);
    // Whoever comes again comes last.
    (1..=2).for_each(|n| mesh.say(n, says(9 * MBIT, &[])));
    mesh.say(3, says(9 * MBIT, &[]));
    assert_eq!(mesh.parents(3), [1, OWNER]);
}

#[test]
fn the_owner_has_a_place_among_the_best() {
    let mut mesh = Mesh::new();
    mesh.say(OWNER, says(0, &[]));
    (1..60).for_each(|n| mesh.say(n, says(9 * MBIT, &[])));
    let parents = mesh.parents(99);
    assert_eq!((parents.len(), parents.last()), (32, Some(&OWNER)));
}

#[test]
fn memory_is_bounded() {
    let mut mesh = Mesh::new();
    for n in 0..PER_BOX_MAX {
        mesh.say(1, ParentsRequest { stream: name(&format!("s{n}")), ..says(0, &[]) });
    }
    let more = ParentsRequest { stream: name("more"), ..says(0, &[]) };
    assert_eq!(mesh.carriers.handle_request(&key(1), more.clone(), mesh.now), Err(Full::Box));
    // 32 streams share 160 requests in two minutes.
    assert_eq!((mesh.carriers.next_s(&key(1)), mesh.carriers.next_s(&key(2))), (24, 5));
    mesh.pass(30);
    mesh.say(1, more);
    assert_eq!((mesh.carriers.streams.len(), mesh.carriers.next_s(&key(1))), (1, 5));
    let crowd = |mesh: &mut Mesh, stream: &str, seed: u8| {
        for n in 0..u16::MAX {
            let mut seed = [seed; 32];
            seed[..2].copy_from_slice(&n.to_be_bytes());
            let key = trust::BoxSecret::from_seed(&seed).public();
            let said = ParentsRequest { stream: name(stream), ..says(0, &[]) };
            if let Err(full) = mesh.carriers.handle_request(&key, said, mesh.now) {
                return (n, full);
            }
        }
        panic!("never full");
    };
    assert_eq!(crowd(&mut mesh, "one", 1), (4096, Full::Stream));
    assert_eq!(crowd(&mut mesh, "two", 2), (4095, Full::All), "and the one that is left");
}
