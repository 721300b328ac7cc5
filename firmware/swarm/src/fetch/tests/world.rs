//! A small world around one machine: parents of all kinds, a stream that goes on, a clock that only the test moves.

use alloc::collections::{BTreeMap, BTreeSet};
use alloc::vec::Vec;
use std::println;

use stream::{EpochId, Millis};

use crate::fetch::*;
use crate::part::{BlockIndex, Blocks, PartId, STRIPES_MAX, StripeCount, Stripes};

pub(super) const PART_MS: u64 = 200;
/// 6 Mbit/s.
pub(super) const BLOCKS: u16 = 10;
const SEGMENT: u64 = 10;

/// How a parent behaves, from a time on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Honest,
    /// Doesn't exist: dials and pulls fail.
    Gone,
    /// Swallows everything, without a reset.
    Mute,
    /// Every block fails its check.
    Forges,
    /// Headers and feeds are well, but blocks of these stripes never come, not even by name.
    Withholds(Stripes),
    /// The same, and it says that it has them.
    Lies(Stripes),
    /// No feeds, pulls only.
    Full,
    /// One of so many blocks is left out of its feeds.
    Leaves(u16),
    /// So many milliseconds late.
    Late(u64),
    /// Goes on with the parts of so many milliseconds ago, for ever.
    Stale(u64),
}

#[derive(Clone, Copy, Debug)]
enum Event {
    Opened(FeedId),
    Lost(FeedId, Loss),
    /// The feed's parent has this part.
    Part(FeedId, u64),
    FeedBlock(FeedId, u64, BlockIndex),
    PullBlock(ParentId, u64, BlockIndex),
    Pulled(ParentId, u64, Pulled),
    Alive(FeedId),
}

#[derive(Clone, Debug)]
pub(super) struct Box_ {
    pub(super) kind: Kind,
    pub(super) round_trip_ms: u64,
    /// Behind the origin.
    pub(super) lag_ms: u64,
}

#[derive(Debug)]
pub(super) struct World {
    pub(super) fetch: Fetch,
    pub(super) now: u64,
    pub(super) boxes: BTreeMap<ParentId, Box_>,
    events: BTreeMap<(u64, u64), Event>,
    planned: u64,
    pub(super) open: BTreeMap<FeedId, (ParentId, Stripes)>,
    answered: BTreeSet<FeedId>,
    asked: BTreeMap<(u64, ParentId), (u64, Blocks)>,
    pub(super) fresh: BTreeMap<u64, u16>,
    /// When each part was whole, after it was made.
    pub(super) whole: BTreeMap<u64, u64>,
    pub(super) gaps: Vec<u64>,
    pub(super) demoted: Vec<(u64, ParentId, Fault)>,
    pub(super) opened: Vec<(u64, ParentId, Stripes)>,
    /// To whom it turned, instead of whom.
    pub(super) instead: Vec<(ParentId, ParentId, Stripes)>,
    pub(super) pulled_blocks: u64,
    pub(super) again: u64,
    pub(super) starved: u64,
}

pub(super) fn part(n: u64) -> PartId {
    PartId { msn: n / SEGMENT, part: u32::try_from(n % SEGMENT).unwrap(), epoch: EpochId(1) }
}

pub(super) fn config() -> Config {
    Config { stripes: StripeCount::new(4).unwrap(), ..Config::default() }
}

fn number(part: PartId) -> u64 {
    part.msn * SEGMENT + u64::from(part.part)
}

pub(super) fn candidate(id: u32, score: u32, stripes: &[u8]) -> Candidate {
    Candidate {
        id: ParentId(id),
        score,
        round_trip_ms: 40,
        stripes: stripes.iter().fold(Stripes::NONE, |all, stripe| all.with(*stripe)),
        barred: Stripes::NONE,
        heir: Stripes::NONE,
    }
}

impl World {
    /// Boxes 1, 2, … of these kinds. The stream began 10 s before.
    pub(super) fn new(kinds: &[Kind]) -> Self {
        let boxes = (1..).zip(kinds).map(|(id, kind)| {
            (ParentId(id), Box_ { kind: *kind, round_trip_ms: 40, lag_ms: 20 + 10 * u64::from(id) })
        });
        Self {
            fetch: Fetch::new(config()),
            now: 10_000,
            boxes: boxes.collect(),
            events: BTreeMap::new(),
            planned: 0,
            open: BTreeMap::new(),
            answered: BTreeSet::new(),
            asked: BTreeMap::new(),
            fresh: BTreeMap::new(),
            whole: BTreeMap::new(),
            gaps: Vec::new(),
            demoted: Vec::new(),
            opened: Vec::new(),
            instead: Vec::new(),
            pulled_blocks: 0,
            again: 0,
            starved: 0,
        }
    }

    pub(super) fn candidates(&mut self, candidates: &[Candidate]) {
        self.fetch.handle_parents(candidates, Millis(self.now));
        self.drain();
    }

    /// All boxes, alike and unassigned.
    pub(super) fn all(&mut self) {
        let all: Vec<_> = self.boxes.keys().map(|id| candidate(id.0, 100, &[])).collect();
        self.candidates(&all);
    }

    pub(super) fn set(&mut self, id: u32, kind: Kind) {
        self.boxes.get_mut(&ParentId(id)).unwrap().kind = kind;
        if kind == Kind::Gone {
            let feeds: Vec<_> = self.open.iter().filter(|(_, (parent, _))| parent.0 == id).collect();
            let feeds: Vec<_> = feeds.into_iter().map(|(feed, _)| *feed).collect();
            feeds.into_iter().for_each(|feed| self.plan(1, Event::Lost(feed, Loss::Failed)));
        }
    }

    pub(super) fn tell(&mut self, act: impl FnOnce(&mut Fetch, Millis)) {
        act(&mut self.fetch, Millis(self.now));
        self.drain();
    }

    fn plan(&mut self, after: u64, event: Event) {
        self.planned += 1;
        self.events.insert((self.now + after, self.planned), event);
    }

    pub(super) fn run(&mut self, ms: u64) {
        let until = self.now + ms;
        loop {
            let event = self.events.first_key_value().map_or(u64::MAX, |(at, _)| at.0);
            let timeout = self.fetch.poll_timeout().0;
            let next = event.min(timeout);
            if next > until {
                break;
            }
            self.now = self.now.max(next);
            if timeout <= event {
                self.fetch.handle_timeout(Millis(self.now));
                assert!(self.fetch.poll_timeout().0 > self.now, "the machine spins at {}", self.now);
            } else if let Some((_, event)) = self.events.pop_first() {
                self.happen(event);
            }
            self.drain();
        }
        self.now = until;
    }

    fn happen(&mut self, event: Event) {
        let now = Millis(self.now);
        match event {
            Event::Opened(feed) => {
                self.answered.insert(feed);
                // One that was closed meanwhile may be answered all the same.
                let given = self.open.get(&feed).map_or(Stripes::NONE, |(_, stripes)| *stripes);
                self.fetch.handle_opened(feed, given, now);
            }
            Event::Lost(feed, why) => {
                self.open.remove(&feed);
                self.fetch.handle_lost(feed, why, now);
            }
            Event::Part(feed, n) => self.part(feed, n),
            Event::FeedBlock(feed, n, block) => {
                if let Some((parent, _)) = self.open.get(&feed).copied() {
                    self.block(parent, n, block);
                }
            }
            Event::PullBlock(parent, n, block) => self.block(parent, n, block),
            Event::Pulled(parent, n, end) => {
                self.asked.remove(&(n, parent));
                self.fetch.handle_pulled(parent, part(n), end, now);
            }
            Event::Alive(feed) => {
                let Some((parent, _)) = self.open.get(&feed).copied() else { return };
                let newest = (self.now - 100) / PART_MS - 1;
                if !matches!(self.boxes[&parent].kind, Kind::Mute | Kind::Gone | Kind::Stale(_)) {
                    self.fetch.handle_alive(parent, Some(part(newest)), now);
                }
                self.plan(1000, Event::Alive(feed));
            }
        }
    }

    fn block(&mut self, parent: ParentId, n: u64, block: BlockIndex) {
        let now = Millis(self.now);
        match self.fetch.expects(parent, part(n), block) {
            Block::Fresh if self.boxes[&parent].kind == Kind::Forges => {
                self.fetch.handle_bad(parent, Fault::Forged, now);
            }
            Block::Fresh => {
                assert_eq!(self.fetch.handle_block(parent, part(n), block, now), Block::Fresh);
                let count = self.fresh.entry(n).or_default();
                *count += 1;
                if *count == BLOCKS {
                    self.whole.insert(n, self.now - (n + 1) * PART_MS);
                }
                assert!(*count <= BLOCKS, "a block counts once");
            }
            Block::Again => {
                self.again += 1;
                self.fetch.handle_block(parent, part(n), block, now);
            }
            Block::Old => {}
            Block::NotAsked => self.fetch.handle_stray(parent, now),
        }
    }

    /// Header and blocks of one part by a feed.
    fn part(&mut self, feed: FeedId, n: u64) {
        let Some((parent, stripes)) = self.open.get(&feed).copied() else { return };
        let Box_ { kind, lag_ms, round_trip_ms } = self.boxes[&parent].clone();
        let late = if let Kind::Late(ms) | Kind::Stale(ms) = kind { ms } else { 0 };
        let there = (n + 1) * PART_MS + lag_ms + round_trip_ms / 2 + late;
        if there > self.now {
            return self.plan(there - self.now, Event::Part(feed, n));
        }
        self.plan(0, Event::Part(feed, n + 1));
        if matches!(kind, Kind::Mute | Kind::Gone) {
            return;
        }
        let shape = Shape { blocks: BLOCKS, duration_ms: PART_MS };
        self.fetch.handle_header(parent, part(n), shape, Millis(self.now));
        for block in 0..BLOCKS {
            let stripe = config().stripes.of(part(n), block);
            let held = match kind {
                Kind::Withholds(held) | Kind::Lies(held) => held.contains(stripe),
                Kind::Leaves(one_of) => (n * 7 + u64::from(block)).is_multiple_of(u64::from(one_of)),
                _ => false,
            };
            if stripes.contains(stripe) && !held {
                self.plan(u64::from(block) * 5, Event::FeedBlock(feed, n, block));
            }
        }
        if kind == Kind::Honest || matches!(kind, Kind::Lies(_)) {
            self.fetch.handle_have(parent, part(n), Stripes(u16::MAX), Millis(self.now));
        }
    }

    fn drain(&mut self) {
        while let Some(command) = self.fetch.poll_command() {
            match command {
                Command::Open { feed, parent, stripes, from, planned: _, instead } => {
                    self.instead.extend(instead.map(|of| (parent, of, stripes)));
                    self.dial(feed, parent, stripes, from);
                }
                Command::Close { feed } => {
                    assert!(self.open.remove(&feed).is_some(), "{feed:?} was open");
                    self.plan(1, Event::Lost(feed, Loss::Failed));
                }
                Command::Pull { parent, part, blocks } => self.answer(parent, number(part), blocks),
                Command::GiveUp { part } => self.gaps.push(number(part)),
                Command::Demote { parent, fault, .. } => self.demoted.push((self.now, parent, fault)),
                Command::Starved => self.starved += 1,
            }
        }
        self.check();
    }

    fn dial(&mut self, feed: FeedId, parent: ParentId, stripes: Stripes, from: Option<PartId>) {
        self.open.insert(feed, (parent, stripes));
        self.opened.push((self.now, parent, stripes));
        let Some(Box_ { kind, round_trip_ms, .. }) = self.boxes.get(&parent).cloned() else { return };
        match kind {
            Kind::Gone => self.plan(round_trip_ms, Event::Lost(feed, Loss::Failed)),
            Kind::Full => self.plan(round_trip_ms, Event::Lost(feed, Loss::Refused)),
            Kind::Mute => {}
            _ => {
                let segment = self.now / PART_MS / SEGMENT * SEGMENT - SEGMENT;
                let first = from.map_or(segment, number);
                self.plan(round_trip_ms, Event::Opened(feed));
                self.plan(round_trip_ms, Event::Part(feed, first));
                self.plan(round_trip_ms, Event::Alive(feed));
            }
        }
    }

    fn answer(&mut self, parent: ParentId, n: u64, blocks: Blocks) {
        assert!(
            self.asked.insert((n, parent), (self.now, blocks.clone())).is_none(),
            "one pull per part and parent"
        );
        self.pulled_blocks += u64::from(blocks.len());
        let Box_ { kind, round_trip_ms, lag_ms } = self.boxes[&parent].clone();
        let there = (n + 1) * PART_MS + lag_ms <= self.now + round_trip_ms / 2;
        match kind {
            Kind::Gone => self.plan(round_trip_ms, Event::Pulled(parent, n, Pulled::Failed)),
            Kind::Mute => self.plan(PULL_MS_MAX, Event::Pulled(parent, n, Pulled::Failed)),
            Kind::Stale(_) => self.plan(round_trip_ms, Event::Pulled(parent, n, Pulled::NotThere)),
            _ if !there => self.plan(round_trip_ms, Event::Pulled(parent, n, Pulled::NotThere)),
            _ => {
                for block in blocks.iter() {
                    let stripe = config().stripes.of(part(n), block);
                    let held = if let Kind::Withholds(held) | Kind::Lies(held) = kind {
                        held
                    } else {
                        Stripes::NONE
                    };
                    if !held.contains(stripe) {
                        self.plan(round_trip_ms, Event::PullBlock(parent, n, block));
                    }
                }
                self.plan(round_trip_ms, Event::Pulled(parent, n, Pulled::Whole));
            }
        }
    }

    /// What holds at every moment.
    fn check(&self) {
        let status = self.fetch.status(Millis(self.now));
        assert!(status.flights <= FLIGHTS_MAX && status.feeds <= 3 * usize::from(STRIPES_MAX), "{status:?}");
        let mut askers: BTreeMap<(u64, BlockIndex), u8> = BTreeMap::new();
        let mut pulls: BTreeMap<ParentId, u8> = BTreeMap::new();
        for ((n, parent), (since, blocks)) in &self.asked {
            // The machine counts on nothing of a parent that it demoted, and of parts that are over.
            let over = self.whole.contains_key(n) || self.gaps.contains(n);
            if over || self.demoted.iter().any(|(_, demoted, _)| demoted == parent) {
                continue;
            }
            *pulls.entry(*parent).or_default() += 1;
            let waits = self.now < since + 680;
            blocks.iter().filter(|_| waits).for_each(|block| *askers.entry((*n, block)).or_default() += 1);
        }
        assert!(askers.values().all(|count| *count <= 2), "a block is asked of two at most: {askers:?}");
        assert!(pulls.values().all(|count| *count <= PULLS_PER_PARENT), "{pulls:?}");
    }

    /// From whom each stripe comes.
    pub(super) fn owners(&self) -> Vec<u32> {
        self.fetch.status(Millis(self.now)).owners.iter().map(|id| id.map_or(0, |id| id.0)).collect()
    }

    /// No part was given up, and every part that was made long enough ago is whole within `ms`.
    pub(super) fn assert_smooth(&self, ms: u64) {
        assert_eq!(self.gaps, [], "at {}: {:?}", self.now, self.demoted);
        let first = *self.fresh.keys().next().unwrap();
        for n in first..(self.now - ms) / PART_MS - 1 {
            let took = self.whole.get(&n).copied();
            let waited = if (n + 1) * PART_MS < 10_200 { 0 } else { took.unwrap_or(u64::MAX) };
            if waited > ms {
                println!("{:?} {:?}", self.demoted, self.opened);
            }
            assert!(waited <= ms, "part {n} was whole {took:?} ms after it was made");
        }
    }
}
