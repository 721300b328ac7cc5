//! What a child has still to get by its feed: blocks of its stripes, the oldest part first. Refuses to owe what comes too
//! late: on a line that is too full for all, what is late for one would make everything late for all.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use store::{Item, Live, Object};
use swarm::part::{Blocks, PartId, StripeCount, Stripes};
use tokio::time::Instant;
use wire::feed::PartName;

use super::{Block, read};
use crate::Uplink;
use crate::turns::Class;

/// Parts of which blocks may still be owed; the oldest is let go when there would be more.
const OWED_MAX: usize = 64;

/// A part whose blocks the child has not all got.
struct Owed {
    item: Arc<Item>,
    part: PartId,
    class: Class,
    /// Blocks that were here once.
    noted: Blocks,
    /// The child knows that it can pull all of it here.
    told: bool,
    /// When the child would have it, if it came at once.
    wanted: Instant,
    /// Blocks that are here and not sent, and since when.
    ready: BTreeMap<u16, Instant>,
}

pub(super) struct Debts {
    count: StripeCount,
    stripes: Stripes,
    owed: VecDeque<Owed>,
}

impl Debts {
    pub(super) const fn new(count: StripeCount, stripes: Stripes) -> Self {
        Self { count, stripes, owed: VecDeque::new() }
    }

    /// All stripes of the stream.
    pub(super) const fn all(&self) -> Stripes {
        self.count.all()
    }

    /// Its header goes out now.
    pub(super) fn owe(&mut self, item: &Arc<Item>, class: Class) {
        let Some(part) = item.part() else { return };
        if self.owed.len() == OWED_MAX {
            self.owed.pop_front();
        }
        let header = &part.header;
        let id = PartId { msn: header.msn, part: header.part, epoch: header.epoch };
        let noted = Blocks::room(u16::try_from(part.blocks.len()).unwrap_or(u16::MAX));
        // As the child counts it: what comes in a burst is watched one after the other.
        let duration = Duration::from_millis(u64::try_from(header.duration.millis()).unwrap_or(0));
        let now = Instant::now();
        let last = self.owed.iter().rfind(|owed| owed.class == class);
        let wanted = last.map_or(now, |last| now.max(last.wanted + duration / 2));
        self.owed.push_back(Owed {
            item: Arc::clone(item),
            part: id,
            class,
            noted,
            told: false,
            wanted,
            ready: BTreeMap::new(),
        });
    }

    /// Parts that have become whole here.
    pub(super) fn whole(&mut self) -> Vec<PartName> {
        let new = self.owed.iter_mut().filter(|owed| !owed.told && owed.item.is_whole());
        new.map(|owed| {
            owed.told = true;
            owed.part
        })
        .collect()
    }

    /// Notes what has come, and lets go of what is over.
    fn look(&mut self, live: &Live) {
        let (count, stripes) = (self.count, self.stripes);
        self.owed.retain_mut(|owed| {
            let all = owed.item.part().map_or(0, |seal| seal.blocks.len());
            // Asked before the blocks are looked at: one that comes between is seen the next time.
            let over = owed.item.is_whole() && owed.told;
            for index in 0..u16::try_from(all).unwrap_or(u16::MAX) {
                let owes = stripes.contains(count.of(owed.part, index)) && !owed.noted.contains(index);
                if owes && matches!(live.block(&owed.item, usize::from(index)), Some(Object::Whole { .. })) {
                    owed.noted.insert(index);
                    owed.ready.insert(index, Instant::now().max(owed.wanted));
                }
            }
            !(owed.item.is_gap() || over && owed.ready.is_empty())
        });
    }

    /// A block that is here and owed, and when it is wanted; it counts as sent. What waited here for too long is left out.
    /// What is old already comes last.
    pub(super) async fn next(&mut self, live: &Live, uplink: &Uplink) -> Option<(Block, Instant)> {
        self.look(live);
        for class in [Class::Feed, Class::Start] {
            let next = self.next_of(class, live, uplink).await;
            if next.is_some() {
                return next;
            }
        }
        None
    }

    /// One that was taken, and did not go out.
    pub(super) fn put_back(&mut self, block: &Block) {
        if let Some(owed) = self.owed.iter_mut().find(|owed| owed.part == block.part) {
            owed.ready.insert(block.index, block.ready);
        }
    }

    async fn next_of(&mut self, class: Class, live: &Live, uplink: &Uplink) -> Option<(Block, Instant)> {
        for owed in self.owed.iter_mut().filter(|owed| owed.class == class) {
            while let Some((index, ready)) = owed.ready.pop_first() {
                let waited = ready.elapsed();
                if waited > uplink.patience() {
                    continue;
                }
                let Some(bytes) = read(live, &owed.item, index).await else { continue };
                if class == Class::Feed {
                    uplink.note_late(waited);
                }
                return Some((Block { part: owed.part, index, class, ready, bytes }, owed.wanted));
            }
        }
        None
    }
}
