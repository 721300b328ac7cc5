//! A stream that goes from box to box: its signed row, made at the origin, followed at a relay.

use std::sync::Arc;

use bytes::Bytes;
use stream::seal::{BLOCK_BYTES, BlockHash, EpochSeal, MarkSeal, PART_BYTES_MAX, PartSeal, Seal};
use stream::seal::{INIT_BYTES_MAX, Mark};
use stream::window::WindowError;
use stream::{EpochRecord, ObjectName, PartHeader};
use tokio::sync::watch;
use tokio::time::Instant;

use super::followed_flv::FlvStep;
use super::{Live, State};
use crate::object::Object;
use crate::row::{BlockTaken, Item, PENDING_MAX, Place, Progress, Sealer};

/// How long the window waits for an item that others have jumped over.
const HOLE_MAX: std::time::Duration = std::time::Duration::from_millis(1500);
/// Parts that a viewer should find at the place where it comes in.
const BACKLOG_PARTS: u32 = 3;

/// What signs, and the number of the next item.
#[derive(Debug)]
pub(super) struct Press {
    sealer: Arc<dyn Sealer>,
    serial: u64,
}

/// What came of an item.
#[derive(Clone, Debug)]
pub enum ItemTaken {
    Fresh(Arc<Item>),
    /// It was there.
    Known(Arc<Item>),
    /// The window is beyond it.
    Old,
}

impl Live {
    /// From now on every item is signed by this; the first gets the serial `first`, which must be above all that the
    /// stream ever had.
    pub fn seal_with(&self, sealer: Arc<dyn Sealer>, first: u64) {
        self.lock().press = Some(Press { sealer, serial: first });
    }

    /// Takes an item of which the signature, and for an epoch the hash of `init`, was checked.
    pub fn take_item(&self, seal: Seal, sealed: Bytes, init: Option<Bytes>) -> ItemTaken {
        let mut state = self.lock();
        let serial = seal.stamp().serial;
        if let Some(known) = state.row.pending.get(&serial) {
            return ItemTaken::Known(Arc::clone(known));
        }
        if state.row.taken.is_some_and(|taken| serial <= taken) {
            let name = match &seal {
                Seal::Part(part) => ObjectName::Part(part.header.epoch, part.header.msn, part.header.part),
                Seal::Epoch(_) | Seal::Mark(_) => return ItemTaken::Old,
            };
            return state.row.find(name).map_or(ItemTaken::Old, |item| ItemTaken::Known(Arc::clone(item)));
        }
        let item = Arc::new(Item::new(seal, sealed, init, false));
        state.row.push(Arc::clone(&item));
        state.row.pending.insert(serial, Arc::clone(&item));
        while state.row.pending.len() > PENDING_MAX {
            if let Some((_, oldest)) = state.row.pending.pop_first() {
                oldest.give_up();
            }
        }
        self.advance(state);
        ItemTaken::Fresh(item)
    }

    /// Takes a block whose hash was checked.
    pub fn take_block(&self, item: &Item, index: usize, bytes: Bytes) -> BlockTaken {
        let taken = item.put(index, bytes);
        match taken {
            BlockTaken::Last => self.advance(self.lock()),
            BlockTaken::Fresh => self.carried.send_modify(|_| {}),
            BlockTaken::Again => {}
        }
        taken
    }

    /// The part's missing blocks will not come: it is a gap here.
    pub fn give_up(&self, item: &Item) {
        if item.give_up() {
            self.advance(self.lock());
        }
    }

    /// The same media as FLV: for those who watch that, and for who comes next.
    fn follow_flv(&self, tags: Vec<FlvStep>) {
        for step in tags {
            match step {
                FlvStep::Begin { head, inline } => self.flv.begin(head, inline),
                FlvStep::Tags(tags) => self.flv.push(tags),
                FlvStep::End => self.flv.end(),
            }
        }
    }

    /// Lets the window take what can be taken, in order.
    fn advance(&self, mut state: std::sync::MutexGuard<'_, State>) {
        let mut moved = false;
        while let Some((&serial, item)) = state.row.pending.first_key_value() {
            let item = Arc::clone(item);
            let begins = state.window.newest().is_none();
            let hole = state.row.taken.is_some_and(|taken| serial != taken + 1);
            if hole && !begins && item.came.elapsed() < HOLE_MAX {
                break;
            }
            let followed = match (&item.seal, item.progress()) {
                (Seal::Part(_), Progress::Coming) => break,
                (Seal::Part(part), Progress::Whole(bytes)) => state.follow_whole(part, bytes),
                (Seal::Part(part), Progress::Gap | Progress::Kept) => state.follow_gap(part),
                (Seal::Epoch(epoch), _) => state.follow_epoch(epoch, item.init.clone().unwrap_or_default()),
                (Seal::Mark(mark), _) => {
                    if mark.mark == Mark::Ended {
                        state.flv.steps.push(FlvStep::End);
                    }
                    state.window.follow_mark(mark.mark, mark.msn, &mark.stamp)
                }
            };
            match followed {
                Ok(()) if item.is_gap() => self.gaps.fetch_add(1, std::sync::atomic::Ordering::Relaxed),
                Ok(()) => {
                    item.kept();
                    let parts = u64::from(item.part().is_some());
                    self.parts.fetch_add(parts, std::sync::atomic::Ordering::Relaxed)
                }
                Err(error) => {
                    tracing::debug!(stream.id = %self.name, %error, serial, "an item does not fit");
                    item.give_up();
                    0
                }
            };
            state.row.pending.remove(&serial);
            state.row.taken = Some(serial);
            state.fed = Instant::now();
            moved = true;
        }
        if moved {
            state.trim_row();
            let tags = std::mem::take(&mut state.flv.steps);
            self.commit(state);
            self.follow_flv(tags);
        } else {
            drop(state);
        }
        self.carried.send_modify(|_| {});
    }

    /// Changes whenever an item or a block came.
    #[must_use]
    pub fn watch_row(&self) -> watch::Receiver<()> {
        self.carried.subscribe()
    }

    /// The items at `place` and after it, in the order in which they came, and the place behind them.
    #[must_use]
    pub fn walk(&self, place: Place) -> (Vec<Arc<Item>>, Place) {
        self.lock().row.walk(place)
    }

    /// Where a child begins: at the first part that is not before `from` (segment and part), which may be yet to come, or
    /// without it where a viewer can; with the epoch's item. None while there is nothing.
    #[must_use]
    pub fn row_start(&self, from: Option<(u64, u32)>) -> Option<(Arc<Item>, Place)> {
        let state = self.lock();
        let row = &state.row;
        let newest = row.newest_part();
        if let (Some(from), Some(newest)) = (from, newest.and_then(|newest| newest.part())) {
            let number = |item: &Item| item.part().map(|part| (part.header.msn, part.header.part));
            let place = row.place(|item| number(item).is_some_and(|number| number >= from));
            let place = place.unwrap_or_else(|| row.end());
            return Some((Arc::clone(row.epoch(newest.epoch())?), place));
        }
        let wanted = newest.and_then(|_| {
            let newest = newest?.part()?;
            // A segment that has just begun is no place to begin.
            let back = u64::from(newest.header.part + 1 < BACKLOG_PARTS);
            let opening = |back: u64| {
                let msn = newest.header.msn.checked_sub(back)?;
                row.find(ObjectName::Part(newest.header.epoch, msn, 0))
            };
            opening(back).or_else(|| opening(0))
        });
        match wanted {
            Some(first) => {
                let place = row.place(|item| std::ptr::eq(item, Arc::as_ptr(first)))?;
                Some((Arc::clone(row.epoch(first.part()?.epoch())?), place))
            }
            None => {
                let epoch = state.window.epoch().and_then(|id| row.epoch(id)).cloned()?;
                Some((epoch, row.end()))
            }
        }
    }

    /// The signed item of a part, or of an epoch by its initialization section's name.
    #[must_use]
    pub fn sealed(&self, name: ObjectName) -> Option<Arc<Item>> {
        let state = self.lock();
        match name {
            ObjectName::Init(epoch) => state.row.epoch(epoch).cloned(),
            ObjectName::Part(..) => state.row.find(name).cloned(),
            ObjectName::Segment(..) => None,
        }
    }

    /// The newest part whose item is known.
    #[must_use]
    pub fn newest_part(&self) -> Option<Arc<Item>> {
        self.lock().row.newest_part().cloned()
    }

    /// A block of a part, if this box has it.
    #[must_use]
    pub fn block(&self, item: &Item, index: usize) -> Option<Object> {
        if let Some(bytes) = item.coming_block(index) {
            return Some(Object::whole([crate::object::Blob::Ram(bytes)]));
        }
        let (part, ObjectName::Part(epoch, msn, nth)) = (item.part()?, item.name()?) else { return None };
        let len = part.block_bytes(index)? as u64;
        let from = (index * BLOCK_BYTES) as u64;
        let blob = self.lock().memory.part(epoch, msn, nth)?.clone();
        match Object::whole([blob]) {
            Object::Whole { reader, .. } => {
                Some(Object::Whole { bytes: len, reader: reader.slice(from..from + len) })
            }
            Object::Growing(_) => None,
        }
    }

    /// Parts that did not come in time.
    #[must_use]
    pub fn gaps(&self) -> u64 {
        self.gaps.load(std::sync::atomic::Ordering::Relaxed)
    }
}

impl State {
    fn follow_whole(&mut self, part: &PartSeal, bytes: Bytes) -> Result<(), WindowError> {
        self.window.follow_part(part.header.clone(), &part.stamp)?;
        self.flv.handle_part(&bytes);
        self.memory.put_part(&part.header, bytes);
        Ok(())
    }

    fn follow_gap(&mut self, part: &PartSeal) -> Result<(), WindowError> {
        let header = PartHeader { gap: true, bytes: 0, ..part.header.clone() };
        self.window.follow_part(header.clone(), &part.stamp)?;
        self.memory.put_gap(&header);
        Ok(())
    }

    fn follow_epoch(&mut self, epoch: &EpochSeal, init: Bytes) -> Result<(), WindowError> {
        match self.window.follow_epoch(epoch.record.clone(), &epoch.stamp) {
            Ok(()) => {}
            Err(WindowError::KnownEpoch) => return Ok(()),
            Err(error) => return Err(error),
        }
        self.flv.handle_epoch(&epoch.record, &init);
        self.memory.put_init(&epoch.record, init);
        self.part_target_ms = u64::try_from(epoch.record.part_target.millis()).unwrap_or(0);
        Ok(())
    }

    pub(super) fn trim_row(&mut self) {
        if let Some(oldest) = self.window.oldest_msn() {
            self.row.trim(oldest);
        }
    }

    /// Signs an item about what the window has just done, and puts it into the row. Nothing without a press.
    fn press(&mut self, make: impl FnOnce(stream::seal::Stamp) -> Option<Seal>, init: Option<Bytes>) {
        let Some(press) = &mut self.press else { return };
        let Some(seal) = self.window.stamp(press.serial).and_then(make) else { return };
        press.serial += 1;
        let sealed = press.sealer.seal(&seal.encode());
        self.row.push(Arc::new(Item::new(seal, sealed, init, true)));
        self.trim_row();
    }

    pub(super) fn seal_epoch(&mut self, record: &EpochRecord, init: &Bytes) {
        let init_bytes =
            u32::try_from(init.len()).ok().filter(|len| (1..=INIT_BYTES_MAX as u32).contains(len));
        let Some(init_bytes) = init_bytes else { return };
        if self.press.is_some() {
            let (record, init_hash) = (record.clone(), BlockHash::of(init));
            let make = |stamp| Some(Seal::Epoch(EpochSeal { stamp, record, init_bytes, init_hash }));
            self.press(make, Some(init.clone()));
        }
    }

    pub(super) fn seal_part(&mut self, header: &PartHeader, blocks: Option<Vec<BlockHash>>) {
        let Some(blocks) = blocks else { return };
        let header = header.clone();
        self.press(|stamp| Some(Seal::Part(PartSeal { stamp, header, blocks })), None);
    }

    /// Once, however often it is said.
    pub(super) fn seal_mark(&mut self, mark: Mark, msn: u64) {
        if self.row.ends_with(mark, msn) {
            return;
        }
        self.press(|stamp| Some(Seal::Mark(MarkSeal { stamp, mark, msn })), None);
    }

    pub(super) fn has_press(&self) -> bool {
        self.press.is_some()
    }
}

/// The hashes of a part's blocks; none for a part that is too large to be carried.
pub(super) fn hashes(bytes: &Bytes) -> Option<Vec<BlockHash>> {
    let fits = !bytes.is_empty() && bytes.len() <= PART_BYTES_MAX;
    fits.then(|| bytes.chunks(BLOCK_BYTES).map(BlockHash::of).collect())
}
