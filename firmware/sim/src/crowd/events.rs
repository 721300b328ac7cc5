//! What happens when, in the order in which it was planned. Microseconds.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use swarm::fetch::{FeedId, Loss, Pulled};
use swarm::{PartId, Stripes};

#[derive(Clone, Copy, Debug)]
pub(super) enum Event {
    /// The origin made one.
    Part,
    /// Somebody comes; somebody goes.
    Come,
    Go,
    /// One that said so goes.
    Gone {
        id: u32,
    },
    Wake {
        id: u32,
    },
    /// What the coordinator says reaches a box.
    Told {
        id: u32,
    },
    /// A child says that a parent is silent; or nothing was heard of it.
    Silent {
        id: u32,
        by: u32,
    },
    Unheard {
        id: u32,
    },
    Starved {
        id: u32,
    },
    /// At the parent.
    Open {
        parent: u32,
        child: u32,
        feed: FeedId,
        stripes: Stripes,
        from: PartId,
    },
    Close {
        parent: u32,
        child: u32,
        feed: FeedId,
    },
    Pull {
        parent: u32,
        child: u32,
        n: u64,
        blocks: u32,
    },
    /// The parent's system notices that a child is gone.
    Cleared {
        parent: u32,
        child: u32,
    },
    /// At the child.
    Opened {
        child: u32,
        feed: FeedId,
        stripes: Stripes,
    },
    Lost {
        child: u32,
        feed: FeedId,
        why: Loss,
    },
    /// A part is whole at a parent.
    Have {
        child: u32,
        from: u32,
        n: u64,
    },
    Header {
        child: u32,
        from: u32,
        feed: FeedId,
        n: u64,
    },
    Block {
        child: u32,
        from: u32,
        n: u64,
        block: u16,
    },
    Pulled {
        child: u32,
        from: u32,
        n: u64,
        end: Pulled,
    },
    Leaving {
        child: u32,
        from: u32,
    },
}

#[derive(Debug)]
struct Planned(u64, u64, Event);

impl PartialEq for Planned {
    fn eq(&self, other: &Self) -> bool {
        (self.0, self.1) == (other.0, other.1)
    }
}
impl Eq for Planned {}
impl PartialOrd for Planned {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}
impl Ord for Planned {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        (self.0, self.1).cmp(&(other.0, other.1))
    }
}

#[derive(Debug, Default)]
pub(super) struct Events {
    heap: BinaryHeap<Reverse<Planned>>,
    planned: u64,
}

impl Events {
    pub(super) fn plan(&mut self, at: u64, event: Event) {
        self.planned += 1;
        self.heap.push(Reverse(Planned(at, self.planned, event)));
    }

    pub(super) fn pop(&mut self, until: u64) -> Option<(u64, Event)> {
        if self.heap.peek()?.0.0 > until {
            return None;
        }
        self.heap.pop().map(|Reverse(Planned(at, _, event))| (at, event))
    }
}
