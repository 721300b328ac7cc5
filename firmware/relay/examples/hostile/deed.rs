//! What can be done wrong, one thing at a time.

use std::collections::BTreeMap;
use std::str::FromStr;
use std::time::{Duration, Instant};

use bytes::Bytes;
use swarm::part::{StripeCount, Stripes};
use wire::feed::{BlockFrame, Frame, PartName};

use crate::book::Entry;

/// A block comes so much later than it could.
const SLOW: Duration = Duration::from_millis(1500);
/// Everything does.
const STALE: Duration = Duration::from_secs(4);
/// Parts of the past come at the pace of those of the present.
const PART: Duration = Duration::from_millis(200);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Deed {
    /// One byte of each block is another. Whoever asks for one by name gets it right.
    ForgesBlocks,
    /// One byte of each signature is another.
    ForgesItems,
    /// The first epoch that it ever had, as if it were live: all of it was signed once.
    Replays,
    /// No block comes; whoever asks for one by name gets it.
    Withholds,
    /// Blocks come late; whoever asks for one by name gets it at once.
    Slows,
    /// Items and blocks come, seconds after all others have them.
    IsStale,
    /// It says that it has all blocks as soon as it has heard of a part; none comes, also not to who asks by name.
    Lies,
}

impl FromStr for Deed {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        Ok(match text {
            "forges-blocks" => Self::ForgesBlocks,
            "forges-items" => Self::ForgesItems,
            "replays" => Self::Replays,
            "withholds" => Self::Withholds,
            "slows" => Self::Slows,
            "is-stale" => Self::IsStale,
            "lies" => Self::Lies,
            _ => return Err(format!("`{text}` is no deed")),
        })
    }
}

/// What one child is to be told, and when.
pub(crate) struct Script {
    pub(crate) of: StripeCount,
    pub(crate) stripes: Stripes,
    /// What is before it is not told.
    pub(crate) first: (u64, u32),
    /// By when it is due, and then as it was put in.
    pub(crate) queue: BTreeMap<(Instant, u64), Vec<u8>>,
    pub(crate) count: u64,
    /// The newest part that was told.
    pub(crate) newest: Option<PartName>,
}

impl Script {
    /// Puts what comes of an entry into the queue; true if that is wrong.
    pub(crate) fn take(&mut self, entry: &Entry, deed: Option<Deed>) -> bool {
        let now = Instant::now();
        let stale = deed == Some(Deed::IsStale);
        let (said_at, given_at) = match deed {
            Some(Deed::Slows) => (now, now + SLOW),
            Some(Deed::IsStale) => (now + STALE, now + STALE),
            _ => (now, now),
        };
        match entry {
            Entry::Epoch { id, sealed, init } => {
                self.say(said_at, &Frame::Seal(sealed.clone()));
                self.say(said_at, &Frame::Init { epoch: *id, bytes: init.clone() });
                stale
            }
            Entry::Mark { sealed } => {
                self.say(said_at, &Frame::Seal(sealed.clone()));
                stale
            }
            Entry::Part { name, .. } if (name.msn, name.part) < self.first => false,
            Entry::Part { name, sealed } => {
                self.newest = self.newest.max(Some(*name).filter(|_| !stale));
                let bends = deed == Some(Deed::ForgesItems);
                self.say(said_at, &Frame::Seal(if bends { bent(sealed) } else { sealed.clone() }));
                if deed == Some(Deed::Lies) {
                    self.say(said_at, &Frame::Have { part: *name, stripes: self.stripes.0 });
                }
                bends || stale
            }
            Entry::Block { part, .. } if (part.msn, part.part) < self.first => false,
            Entry::Block { part, index, bytes, last } => {
                let mine = self.stripes.contains(self.of.of(*part, *index));
                let bytes = if deed == Some(Deed::ForgesBlocks) { bent(bytes) } else { bytes.clone() };
                let withheld = matches!(deed, Some(Deed::Withholds | Deed::Lies));
                if mine && !withheld {
                    self.say(given_at, &Frame::Block(BlockFrame { part: *part, index: *index, bytes }));
                }
                if *last && !withheld {
                    self.say(given_at, &Frame::Have { part: *part, stripes: self.stripes.0 });
                }
                mine && deed.is_some()
            }
        }
    }

    /// The past, a part at a time.
    pub(crate) fn replay(&mut self, past: &[Entry]) {
        self.first = (0, 0);
        let mut at = Instant::now();
        for entry in past {
            match entry {
                Entry::Part { sealed, .. } => {
                    at += PART;
                    self.say(at, &Frame::Seal(sealed.clone()));
                }
                Entry::Block { part, index, bytes, .. } => {
                    if self.stripes.contains(self.of.of(*part, *index)) {
                        let block = BlockFrame { part: *part, index: *index, bytes: bytes.clone() };
                        self.say(at, &Frame::Block(block));
                    }
                }
                Entry::Epoch { id, sealed, init } => {
                    self.say(at, &Frame::Seal(sealed.clone()));
                    self.say(at, &Frame::Init { epoch: *id, bytes: init.clone() });
                }
                Entry::Mark { .. } => {}
            }
        }
    }

    /// The next that is due.
    pub(crate) fn poll(&mut self) -> Option<Vec<u8>> {
        let due = self.queue.first_entry().filter(|next| next.key().0 <= Instant::now());
        due.map(std::collections::btree_map::OccupiedEntry::remove)
    }

    fn say(&mut self, at: Instant, frame: &Frame) {
        self.count += 1;
        self.queue.insert((at, self.count), frame.to_bytes());
    }
}

/// The same but for one bit of the last byte.
fn bent(bytes: &Bytes) -> Bytes {
    let mut bent = bytes.to_vec();
    if let Some(last) = bent.last_mut() {
        *last ^= 1;
    }
    bent.into()
}
