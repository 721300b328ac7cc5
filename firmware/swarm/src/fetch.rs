//! A child's machine for one stream: which stripes come from which parent, what is pulled, whom not to ask again.
//!
//! It is told what the shell saw and when, and says what the shell has to do: one event, then [`Fetch::poll_command`]
//! until it is empty, then wait until [`Fetch::poll_timeout`]. It refuses to see bytes, and to take anybody's word
//! for them: a header or block counts only after the shell checked it against the origin's signature.
//!
//! ```text
//! candidates ──> plan: a parent for each stripe ──Open──> feeds ── headers ──> flights ── all blocks there ──> over
//!     ^           ^ two parents at least                   │ blocks              │  │ ^
//!     │           │                                        v                     │  │ └── blocks ── pulls, by name
//!     │           └─ fault, loss, leaving <── silent, starved, slow, forged      │  └── late, skipped, no feed ──> Pull
//!     └── out for a time, or for good                                            └── deadline ──> GiveUp (a GAP)
//!
//! a stripe:  nobody ──Open──> opening ──opened──> live ──other parent──> live, and opening there ──opened──> live there
//!               ^                │ lost, too long    │ lost, fault                                             │
//!               └────────────────┴───────────────────┘                     the old feed goes on until the parts
//!                                                                          before are whole, at most a second
//! ```
//!
//! What counts as late, with `bound` = two parts and the round trip to the parent, 300 ms to 2 s:
//!
//! | what was seen | what is done |
//! |---|---|
//! | a block is missing, its stripe has no feed | pulled at once |
//! | its feed brought a later block, a part's length ago | pulled |
//! | its feed brought nothing of the stripe for `bound`, or the part is behind by two | pulled |
//! | nothing at all from a parent for `bound`, others have news | its stripes move, at once; demoted as silent |
//! | nothing of a stripe for three `bound`, others bring blocks | its stripes move; demoted as starved |
//! | a parent's blocks are pulled from others too often | its stripes move; demoted as slow |
//! | nothing from anybody for four parts | headers are asked of one more parent |
//! | a pull is not answered in a part and two round trips, or the deadline nears | a second holder is asked, no third |
//!
//! A parent far from the origin is not late for being that: what a stripe's feed usually takes is added. And all that is
//! pulled is bounded, to a quarter of what feeds bring and some parts: where lines are full, asking twice fills them more.

mod face;
mod feed;
mod flight;
mod health;
mod parent;
mod plan;
mod pull;
#[cfg(test)]
mod tests;

use alloc::collections::{BTreeMap, BTreeSet, VecDeque};
use alloc::vec;
use alloc::vec::Vec;

use stream::Millis;

use crate::part::{BLOCKS_MAX, BlockIndex, PartId, Stripes};
pub use face::{Block, Candidate, Command, Config, Demand, FeedId, Header, ParentId, Pulled, Shape, Status};
use feed::{Feed, Phase};
use flight::Flight;
use parent::Parent;
pub use parent::{Fault, Loss};

/// Candidates that are taken, best score first.
pub const CANDIDATES_MAX: usize = 32;
/// Parents that are remembered; of those that are no candidates the lowest id is forgotten first, a banned one last.
pub const PARENTS_MAX: usize = 128;
/// Parts in flight; the oldest is given up for one more.
pub const FLIGHTS_MAX: usize = 128;
/// Parts that are over and still known as such; what is before them is old.
pub const OVER_MAX: usize = 256;
/// Pulls of one parent at a time.
pub const PULLS_PER_PARENT: u8 = 4;
/// Blocks of one pull.
pub const PULL_BLOCKS_MAX: u16 = 64;
/// The shell ends a pull as failed after this.
pub const PULL_MS_MAX: u64 = 3_000;
/// At least this between two [`Command::Starved`].
pub const STARVED_MS: u64 = 2_000;
/// Where many begin at once, what each has to give comes to itself late: a child is patient until so many parts in a row
/// came without a pull,
const SETTLED_PARTS: u32 = 10;
/// and at most for so long.
const SETTLING_MS: u64 = 8_000;
/// A part that is so much of the time in which one is waited for behind the newest is given up at once.
const OUTRUN_PERCENT: u64 = 150;
/// While nothing else is due.
const IDLE_MS: u64 = 1_000;

#[derive(Clone, Copy, Debug, Default)]
struct Stripe {
    /// Opened, and the one that counts.
    live: Option<FeedId>,
    /// Will be that.
    coming: Option<FeedId>,
    /// Who gave it last.
    fed_by: Option<ParentId>,
}

/// See the module's page.
#[derive(Debug)]
pub struct Fetch {
    config: Config,
    demand: Demand,
    part_ms: u64,
    parents: BTreeMap<ParentId, Parent>,
    feeds: BTreeMap<FeedId, Feed>,
    feeds_made: u32,
    stripes: Vec<Stripe>,
    flights: BTreeMap<PartId, Flight>,
    over: BTreeSet<PartId>,
    /// The last one that left `over`: this and what is before is old.
    floor: Option<PartId>,
    newest: Option<PartId>,
    /// The newest headers and when each was first seen: who hasn't got them is behind.
    news: VecDeque<(PartId, Millis)>,
    last_deadline: Millis,
    /// Blocks of a part, smoothed, in sixteenths.
    blocks_ewma: u32,
    /// Blocks that may be pulled, in quarters.
    credit: u32,
    /// Parents whose headers are asked for beyond the usual, since all were quiet.
    extra: u8,
    extra_at: Millis,
    starved_at: Option<Millis>,
    /// When the first header came since something is wanted.
    began: Option<Millis>,
    /// Parts in a row since then that came without a pull.
    calm: u32,
    settling: bool,
    commands: VecDeque<Command>,
    next: Millis,
}

impl Fetch {
    #[must_use]
    pub fn new(config: Config) -> Self {
        Self {
            config,
            demand: Demand::Blocks { from: None },
            part_ms: config.part_ms.clamp(PART_MS_MIN, PART_MS_MAX),
            parents: BTreeMap::new(),
            feeds: BTreeMap::new(),
            feeds_made: 0,
            stripes: vec![Stripe::default(); usize::from(config.stripes.get())],
            flights: BTreeMap::new(),
            over: BTreeSet::new(),
            floor: None,
            newest: None,
            news: VecDeque::new(),
            last_deadline: Millis(0),
            blocks_ewma: 16 * 16,
            credit: 4 * CREDIT_MIN,
            extra: 0,
            extra_at: Millis(0),
            starved_at: None,
            began: None,
            calm: 0,
            settling: true,
            commands: VecDeque::new(),
            next: Millis(0),
        }
    }

    /// All who may be asked, whenever anything of it changed. What comes from one that is no candidate any more moves
    /// to another, if there is one.
    pub fn handle_parents(&mut self, candidates: &[Candidate], now: Millis) {
        let mut best: Vec<_> = candidates.to_vec();
        best.sort_by_key(|candidate| (core::cmp::Reverse(candidate.score), candidate.id));
        best.truncate(CANDIDATES_MAX);
        self.parents.values_mut().for_each(|parent| parent.listed = false);
        for candidate in best {
            let parent = self.parents.entry(candidate.id).or_insert_with(Parent::new);
            parent.listed = true;
            parent.score = candidate.score;
            parent.round_trip_ms = candidate.round_trip_ms;
            parent.assigned = candidate.stripes;
            parent.barred = candidate.barred;
            parent.heir = candidate.heir;
        }
        self.forget_parents(now);
        self.step(now);
    }

    pub fn handle_demand(&mut self, demand: Demand, now: Millis) {
        if demand == self.demand {
            return;
        }
        self.demand = demand;
        self.flights.clear();
        self.over.clear();
        self.parents.values_mut().for_each(|parent| parent.pulls = 0);
        (self.floor, self.newest) = (None, None);
        self.news.clear();
        (self.began, self.calm, self.settling) = (None, 0, true);
        self.step(now);
    }

    /// The head of the response is there: the parent gives these stripes. For the others it has no room.
    pub fn handle_opened(&mut self, id: FeedId, given: Stripes, now: Millis) {
        let Some(feed) = self.feeds.get_mut(&id) else { return };
        let Phase::Opening { .. } = feed.phase else { return };
        feed.phase = Phase::Open { since: now };
        let (parent, refused, from) = (feed.parent, feed.asked.without(given), feed.from);
        (feed.asked, feed.wanted) = (feed.asked.both(given), feed.wanted.both(given));
        let wanted = feed.wanted;
        self.hear(parent, now);
        for index in refused.iter() {
            if let Some(stripe) = self.stripes.get_mut(usize::from(index)) {
                stripe.coming = stripe.coming.filter(|coming| *coming != id);
            }
        }
        if let Some(parent) = self.parents.get_mut(&parent) {
            if refused.is_empty() {
                parent.handle_room();
            } else {
                parent.handle_loss(Loss::Refused, true, now);
            }
        }
        for index in wanted.iter() {
            let Some(stripe) = self.stripes.get_mut(usize::from(index)) else { continue };
            stripe.coming = None;
            stripe.fed_by = Some(parent);
            if let Some(old) = stripe.live.replace(id) {
                self.release(old, index, from, now);
            }
        }
        self.step(now);
    }

    /// A feed ended, or never began. Those that were closed are passed over.
    pub fn handle_lost(&mut self, id: FeedId, why: Loss, now: Millis) {
        let Some(feed) = self.feeds.get(&id) else { return };
        if !feed.is_retiring() {
            self.lose(feed.parent, why, now);
        }
        self.drop_feed(id);
        self.step(now);
    }

    /// A header that passed its check.
    pub fn handle_header(&mut self, from: ParentId, part: PartId, shape: Shape, now: Millis) -> Header {
        if shape.blocks > BLOCKS_MAX {
            return Header::Refused;
        }
        self.hear(from, now);
        self.began = self.began.or(Some(now));
        self.feeds.values_mut().filter(|feed| feed.parent == from).for_each(|feed| feed.handle_header(part));
        if let Some(parent) = self.parents.get_mut(&from) {
            parent.newest = parent.newest.max(Some(part));
        }
        if self.floor.is_some_and(|floor| part <= floor) {
            return Header::Old;
        }
        if self.over.contains(&part) || self.flights.contains_key(&part) {
            return Header::Known;
        }
        self.part_ms = shape.duration_ms.clamp(PART_MS_MIN, PART_MS_MAX);
        let mut deadline = now.plus(self.config.depth_ms);
        if self.newest < Some(part) {
            self.newest = Some(part);
            deadline = deadline.max(self.last_deadline.plus(self.part_ms / 2));
            self.last_deadline = deadline;
            self.news.truncate(NEWS_MAX - 1);
            self.news.push_front((part, now));
        }
        if shape.blocks == 0 || self.demand == Demand::Headers {
            self.end(part);
        } else {
            if self.flights.len() >= FLIGHTS_MAX
                && let Some(oldest) = self.flights.keys().next().copied()
            {
                self.give_up(oldest);
            }
            let wanted = Millis(deadline.0 - self.config.depth_ms);
            let flight = Flight::new(part, self.config.stripes, shape.blocks, now, (wanted, deadline));
            self.flights.insert(part, flight);
            self.end_outrun();
            self.blocks_ewma = (self.blocks_ewma * 7 + u32::from(shape.blocks) * 16) / 8;
        }
        self.step(now);
        Header::Fresh
    }

    /// What a block would be, before it is worth the check.
    #[must_use]
    pub fn expects(&self, from: ParentId, part: PartId, block: BlockIndex) -> Block {
        let Some(flight) = self.flights.get(&part) else {
            let over = self.over.contains(&part) || self.floor.is_some_and(|floor| part <= floor);
            return if over { Block::Old } else { Block::NotAsked };
        };
        let stripe = self.config.stripes.of(part, block);
        let pulled = || flight.asked.get(&from).is_some_and(|asked| asked.blocks.contains(block));
        let fed = || {
            let mut feeds = self.feeds.values().filter(|feed| feed.parent == from);
            feeds.any(|feed| feed.asked.contains(stripe) && feed.covers(part))
        };
        if block >= flight.blocks || !(pulled() || fed()) {
            Block::NotAsked
        } else if flight.has(block) {
            Block::Again
        } else {
            Block::Fresh
        }
    }

    /// A block that passed its check; as [`Fetch::expects`] says.
    pub fn handle_block(&mut self, from: ParentId, part: PartId, block: BlockIndex, now: Millis) -> Block {
        let what = self.expects(from, part, block);
        if matches!(what, Block::NotAsked) {
            return what;
        }
        self.hear(from, now);
        if let Some(parent) = self.parents.get_mut(&from) {
            parent.gave = Some(now);
            parent.handle_fed();
        }
        self.credit(from, part, block, what, now);
        if let (Block::Fresh, Some(flight)) = (what, self.flights.get_mut(&part)) {
            let most = 4 * CREDIT_MIN.max(CREDIT_PARTS * self.blocks_ewma / 16);
            self.credit = (self.credit + 1).min(most);
            flight.take(block);
            if flight.is_whole() {
                let pulled = !flight.pulled.is_empty();
                self.calm = if pulled { 0 } else { self.calm.saturating_add(1) };
                self.thank(part);
                self.end(part);
            }
        }
        what
    }

    /// A block came that [`Fetch::expects`] calls not asked for.
    pub fn handle_stray(&mut self, from: ParentId, now: Millis) {
        if self.parents.get_mut(&from).is_some_and(|parent| parent.handle_stray(now)) {
            self.handle_bad(from, Fault::NotAsked, now);
        }
    }

    /// What came failed its check, or was against the rules.
    pub fn handle_bad(&mut self, from: ParentId, fault: Fault, now: Millis) {
        self.demote(from, fault, now);
        self.step(now);
    }

    /// The parent holds all blocks of these stripes of a part, it says.
    pub fn handle_have(&mut self, from: ParentId, part: PartId, whole: Stripes, now: Millis) {
        self.hear(from, now);
        let Some(parent) = self.parents.get_mut(&from) else { return };
        parent.newest = parent.newest.max(Some(part));
        if let Some(flight) = self.flights.get_mut(&part) {
            let claims = flight.claims.entry(from).or_default();
            *claims = claims.and(whole);
        }
    }

    /// The parent lives; this is the newest part that it can give headers of.
    pub fn handle_alive(&mut self, from: ParentId, newest: Option<PartId>, now: Millis) {
        self.hear(from, now);
        if let Some(parent) = self.parents.get_mut(&from) {
            parent.newest = parent.newest.max(newest);
        }
    }

    /// The parent will go soon: its stripes move while it still gives.
    pub fn handle_leaving(&mut self, from: ParentId, now: Millis) {
        if let Some(parent) = self.parents.get_mut(&from) {
            parent.handle_leaving(now);
        }
        self.step(now);
    }

    pub fn handle_timeout(&mut self, now: Millis) {
        if now >= self.next {
            self.step(now);
        }
    }

    /// When [`Fetch::handle_timeout`] is due.
    #[must_use]
    pub const fn poll_timeout(&self) -> Millis {
        self.next
    }

    /// Bounded by what one event can cause.
    pub fn poll_command(&mut self) -> Option<Command> {
        self.commands.pop_front()
    }

    #[must_use]
    pub fn status(&self, now: Millis) -> Status {
        let owner = |stripe: &Stripe| stripe.live.and_then(|id| Some(self.feeds.get(&id)?.parent));
        let out = self.parents.iter().filter(|(_, parent)| parent.is_out(now));
        Status {
            owners: self.stripes.iter().map(owner).collect(),
            out: out.map(|(id, _)| *id).collect(),
            feeds: self.feeds.len(),
            flights: self.flights.len(),
            pulls: self.flights.values().map(|flight| flight.asked.len()).sum(),
        }
    }

    /// Everything that time or an event may have made due.
    fn step(&mut self, now: Millis) {
        self.next = now.plus(IDLE_MS);
        let new = self.began.is_none_or(|began| now.since(began) < SETTLING_MS);
        // Once it is over it doesn't come back.
        self.settling &= new && self.calm < SETTLED_PARTS;
        self.end_late(now);
        self.judge(now);
        self.arrange(now);
        self.pull(now);
    }

    /// Whether it is time; if not, the machine wakes then.
    fn due(&mut self, at: Millis, now: Millis) -> bool {
        if now < at {
            self.next = self.next.min(at);
        }
        now >= at
    }

    fn hear(&mut self, from: ParentId, now: Millis) {
        if let Some(parent) = self.parents.get_mut(&from) {
            parent.heard = Some(now);
        }
    }

    fn end_late(&mut self, now: Millis) {
        let late: Vec<_> = self.flights.values().map(|flight| (flight.deadline, flight.id)).collect();
        for (deadline, part) in late {
            if self.due(deadline, now) {
                self.give_up(part);
            }
        }
    }

    /// After a time without any line many parts are heard of at once. What is far behind is no longer waited for: to ask
    /// for all of it would fill the lines of others for something that viewers are to jump over.
    fn end_outrun(&mut self) {
        let parts_max = usize::try_from(OUTRUN_PERCENT * self.config.depth_ms / 100 / self.part_ms);
        while let (Some(oldest), Ok(parts_max)) = (self.flights.keys().next().copied(), parts_max)
            && self.flights.len() + self.over.range(oldest..).count() > parts_max
        {
            self.give_up(oldest);
        }
    }

    fn give_up(&mut self, part: PartId) {
        self.commands.push_back(Command::GiveUp { part });
        self.end(part);
    }

    /// The part is whole, given up, or of no interest.
    fn end(&mut self, part: PartId) {
        for id in self.flights.remove(&part).iter().flat_map(|flight| flight.asked.keys()) {
            if let Some(parent) = self.parents.get_mut(id) {
                parent.pulls = parent.pulls.saturating_sub(1);
            }
        }
        self.over.insert(part);
        if self.over.len() > OVER_MAX
            && let Some(oldest) = self.over.pop_first()
        {
            self.floor = self.floor.max(Some(oldest));
        }
    }

    /// A parent did wrong: nothing more is asked of it, and its feeds are closed.
    fn demote(&mut self, id: ParentId, fault: Fault, now: Millis) {
        let Some(parent) = self.parents.get_mut(&id) else { return };
        if parent.is_banned() {
            return;
        }
        let until = parent.handle_fault(fault, now);
        self.commands.push_back(Command::Demote { parent: id, fault, until });
        for flight in self.flights.values_mut() {
            flight.asked.get_mut(&id).into_iter().for_each(|asked| asked.forsaken = true);
            flight.claims.remove(&id);
        }
        self.close_all(id);
    }

    fn forget_parents(&mut self, now: Millis) {
        let fed: BTreeSet<_> = self.feeds.values().map(|feed| feed.parent).collect();
        while self.parents.len() > PARENTS_MAX {
            let gone = self.parents.iter().filter(|(id, parent)| !parent.listed && !fed.contains(id));
            let worth = |(id, parent): &(&ParentId, &Parent)| (parent.is_banned(), parent.is_out(now), **id);
            let Some((id, _)) = gone.min_by_key(worth) else { return };
            let id = *id;
            self.parents.remove(&id);
        }
    }
}

/// Blocks that can be pulled at least, and in parts, before others came by feeds. Each that did adds a quarter.
const CREDIT_MIN: u32 = 240;
const CREDIT_PARTS: u32 = 24;
/// Headers whose time is remembered.
const NEWS_MAX: usize = 64;
/// What is taken for the length of a part, whatever headers say.
const PART_MS_MIN: u64 = 50;
const PART_MS_MAX: u64 = 2_000;
