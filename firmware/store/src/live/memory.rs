//! The bytes of a stream's objects: what the window lists, and what lingers after it left.
//!
//! An object stays available for its own duration and that of the playlist after it left the window (RFC 8216bis
//! 6.2.2), as far as the stream's byte limit allows: what lingers goes first when it is reached.
//!
//! With a disk, what is written leaves the RAM when the newer parts need the room. What can't be written, because the
//! disk is too slow or full, stays, and makes the window shorter.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use bytes::Bytes;
use stream::window::{Window, WindowLimits};
use stream::{EpochId, EpochRecord, ObjectName, PartHeader};
use tokio::time::Instant;

use crate::disk::{Disk, FileState};
use crate::object::Blob;

#[derive(Debug)]
pub(super) struct Memory {
    disk: Option<Disk>,
    segments: BTreeMap<u64, Segment>,
    inits: BTreeMap<EpochId, Blob>,
    bytes: u64,
    bytes_max: u64,
    /// In the order in which they left; at most as many as the window can hold, because the bytes are bounded.
    lingering: VecDeque<(Instant, ObjectName)>,
    grace: Duration,
    ram_bytes: u64,
    ram_bytes_max: u64,
    /// Parts of which RAM may hold a copy beside the disk, oldest first.
    hot: VecDeque<(u64, u32)>,
}

#[derive(Debug)]
pub(super) struct Segment {
    pub(super) epoch: EpochId,
    /// None: a gap.
    pub(super) parts: Vec<Option<Blob>>,
}

impl Memory {
    /// Without a disk `ram_bytes_max` means nothing: the window's limit is the RAM's.
    pub(super) fn new(limits: &WindowLimits, disk: Option<Disk>, ram_bytes_max: u64) -> Self {
        let window = u64::try_from(limits.duration.millis()).unwrap_or(0);
        let segment = u64::from(limits.target_duration_s_max) * 1000;
        Self {
            disk,
            segments: BTreeMap::new(),
            inits: BTreeMap::new(),
            bytes: 0,
            bytes_max: limits.bytes,
            lingering: VecDeque::new(),
            grace: Duration::from_millis(window + segment),
            ram_bytes: 0,
            ram_bytes_max,
            hot: VecDeque::new(),
        }
    }

    pub(super) fn bytes(&self) -> u64 {
        self.bytes
    }

    #[cfg(test)]
    pub(super) fn ram_bytes(&self) -> u64 {
        self.ram_bytes
    }

    pub(super) fn put_init(&mut self, record: &EpochRecord, init: Bytes) {
        let blob = match &self.disk {
            // Initialization sections are small, and the first thing that every viewer wants.
            Some(disk) => Blob::Disk(disk.save_epoch(record, &init), Some(init)),
            None => Blob::Ram(init),
        };
        self.keep_init(record.id, blob);
    }

    pub(super) fn keep_init(&mut self, epoch: EpochId, blob: Blob) {
        self.bytes += blob.len();
        if let Some(before) = self.inits.insert(epoch, blob) {
            self.bytes -= before.len();
        }
    }

    /// The part that the window has just taken: the next one of its segment.
    pub(super) fn put_part(&mut self, header: &PartHeader, bytes: Bytes) {
        let blob = match &self.disk {
            Some(disk) => Blob::Disk(disk.save_part(header, &bytes), Some(bytes)),
            None => Blob::Ram(bytes),
        };
        self.keep_part(header, blob);
        if self.disk.is_some() {
            self.hot.push_back((header.msn, header.part));
        }
    }

    /// A part that will not come.
    pub(super) fn put_gap(&mut self, header: &PartHeader) {
        self.keep_part(header, Blob::Ram(Bytes::new()));
    }

    pub(super) fn keep_part(&mut self, header: &PartHeader, blob: Blob) {
        self.bytes += blob.len();
        self.ram_bytes += blob.ram_bytes();
        let segment = self
            .segments
            .entry(header.msn)
            .or_insert_with(|| Segment { epoch: header.epoch, parts: Vec::new() });
        segment.parts.push((!header.gap).then_some(blob));
    }

    pub(super) fn init(&self, epoch: EpochId) -> Option<&Blob> {
        self.inits.get(&epoch)
    }

    pub(super) fn segment(&self, epoch: EpochId, msn: u64) -> Option<&Segment> {
        self.segments.get(&msn).filter(|segment| segment.epoch == epoch)
    }

    pub(super) fn part(&self, epoch: EpochId, msn: u64, part: u32) -> Option<&Blob> {
        self.segment(epoch, msn)?.parts.get(part as usize)?.as_ref()
    }

    /// Lets what left the window linger, and drops what did so for long enough, or what is too much.
    pub(super) fn follow(&mut self, window: &mut Window, now: Instant) {
        self.linger(window, now);
        while self.bytes > self.bytes_max || self.lingering.front().is_some_and(|(until, _)| *until <= now) {
            if !self.drop_lingering() {
                break;
            }
        }
        self.cool(window, now);
    }

    fn linger(&mut self, window: &mut Window, now: Instant) {
        while let Some(name) = window.poll_evicted() {
            match name {
                // A part goes with its segment.
                ObjectName::Part(..) => {}
                ObjectName::Segment(..) | ObjectName::Init(_) => {
                    self.lingering.push_back((now + self.grace, name));
                }
            }
        }
    }

    /// Drops what left the window first. False if nothing lingers.
    pub(super) fn drop_lingering(&mut self) -> bool {
        let Some((_, name)) = self.lingering.pop_front() else { return false };
        match name {
            ObjectName::Segment(_, msn) | ObjectName::Part(_, msn, _) => {
                let segment = self.segments.remove(&msn);
                for blob in segment.iter().flat_map(|segment| segment.parts.iter().flatten()) {
                    self.bytes -= blob.len();
                    self.ram_bytes -= blob.ram_bytes();
                    if let (Some(disk), Blob::Disk(file, _)) = (&self.disk, blob) {
                        disk.discard(file);
                    }
                }
            }
            ObjectName::Init(epoch) => {
                let Some(blob) = self.inits.remove(&epoch) else { return true };
                self.bytes -= blob.len();
                if let (Some(disk), Blob::Disk(file, _)) = (&self.disk, &blob) {
                    disk.discard(file);
                }
            }
        }
        true
    }

    /// Lets go of copies in RAM, oldest first, as far as the room is needed. Then, if what is not on disk is still
    /// too much, of whole segments.
    fn cool(&mut self, window: &mut Window, now: Instant) {
        if self.disk.is_none() {
            return;
        }
        for _ in 0..self.hot.len() {
            if self.ram_bytes <= self.ram_bytes_max {
                return;
            }
            let Some((msn, part)) = self.hot.pop_front() else { return };
            let parts = self.segments.get_mut(&msn).map(|segment| &mut segment.parts);
            let Some(Some(Blob::Disk(file, ram))) = parts.and_then(|parts| parts.get_mut(part as usize))
            else {
                continue;
            };
            match file.state() {
                FileState::Written => self.ram_bytes -= ram.take().map_or(0, |bytes| bytes.len() as u64),
                // Its turn comes again, if it is not dropped before.
                FileState::Queued => self.hot.push_back((msn, part)),
                FileState::Lost | FileState::Doomed => {}
            }
        }
        while self.ram_bytes > self.ram_bytes_max && (self.drop_lingering() || window.shed_oldest()) {
            self.linger(window, now);
        }
    }

    pub(super) fn drop_all_lingering(&mut self) {
        while self.drop_lingering() {}
    }
}
