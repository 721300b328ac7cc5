//! Checking what parents give, and keeping what is right.

use std::sync::Arc;

use bytes::Bytes;
use store::{BlockTaken, ItemTaken};
use stream::EpochId;
use stream::seal::{PartSeal, Seal};
use swarm::fetch::{Block, Fault, FeedId, Header, ParentId, Shape};
use swarm::part::PartId;
use wire::feed::BlockFrame;

use super::{Carrier, PARTS_MAX, SEEN_MAX, STALE_MS, belongs, id_of};
use crate::hello::read_hello;
use crate::{Judge, Shown, Tally, Ways};

impl<W: Ways, J: Judge> Carrier<W, J> {
    pub(super) fn handle_hello(&mut self, feed: FeedId, bytes: &Bytes) {
        let name = self.config.name.as_str();
        let judged = read_hello(bytes).and_then(|hello| self.judge.judge(&hello, &self.config.origin, name));
        let Some(line) = self.feeds.get_mut(&feed) else { return };
        let known =
            self.hello.borrow().as_ref().map(|shown| (shown.certificate.key, shown.certificate.issued));
        match (judged, known) {
            // A stream that got another key is another stream, for as long as this one is carried.
            (Ok(certificate), Some((key, _))) if certificate.key != key => {
                self.forged(feed, "another key for the stream");
            }
            (Ok(certificate), known) => {
                line.greeted = true;
                if known.is_none_or(|(_, issued)| certificate.issued > issued) {
                    self.hello.send_replace(Some(Shown { certificate, hello: bytes.clone() }));
                }
            }
            (Err(why), _) => self.forged(feed, &why),
        }
    }

    fn forged(&mut self, feed: FeedId, why: &str) {
        if let Some(line) = self.feeds.get(&feed) {
            let parent = line.parent;
            self.fault(parent, Fault::Forged, why);
        }
    }

    fn fault(&mut self, parent: ParentId, fault: Fault, why: &str) {
        tracing::warn!(stream.id = %self.config.name, ?fault, why, "a parent gave what is not right");
        Tally::count(&self.config.tally.forged);
        let now = self.now();
        self.fetch.handle_bad(parent, fault, now);
    }

    pub(super) fn handle_seal(&mut self, feed: FeedId, sealed: Bytes) {
        let Some(key) = self.hello.borrow().as_ref().map(|shown| shown.certificate.key) else { return };
        let Some((item, _)) = sealed.split_last_chunk::<64>() else {
            return self.forged(feed, "an item without a signature");
        };
        let Ok(seal) = Seal::decode(item) else {
            return self.forged(feed, "an item that can't be read");
        };
        let serial = seal.stamp().serial;
        if self.seen.get(&serial) != Some(&sealed) {
            if trust::stream::unseal(&sealed, &key).is_err() {
                return self.forged(feed, "an item that the origin did not sign");
            }
            self.seen.insert(serial, sealed.clone());
            while self.seen.len() > SEEN_MAX {
                self.seen.pop_first();
            }
        }
        let Some(line) = self.feeds.get_mut(&feed) else { return };
        match seal {
            Seal::Epoch(epoch) => line.epoch = Some((epoch, sealed)),
            Seal::Part(part) => {
                let parent = line.parent;
                self.handle_part(parent, part, sealed);
            }
            Seal::Mark(_) => drop(self.config.live.take_item(seal, sealed, None)),
        }
    }

    pub(super) fn handle_init(&mut self, feed: FeedId, id: EpochId, bytes: Bytes) {
        let Some(line) = self.feeds.get_mut(&feed) else { return };
        match line.epoch.take() {
            Some((epoch, sealed)) if belongs(&epoch, id, &bytes) => {
                drop(self.config.live.take_item(Seal::Epoch(epoch), sealed, Some(bytes)));
            }
            Some(_) | None => self.forged(feed, "an initialization section that is not the epoch's"),
        }
    }

    fn handle_part(&mut self, parent: ParentId, part: PartSeal, sealed: Bytes) {
        let header = &part.header;
        let id = PartId { msn: header.msn, part: header.part, epoch: header.epoch };
        let duration_ms = u64::try_from(header.duration.millis()).unwrap_or(0);
        let blocks = u16::try_from(part.blocks.len()).unwrap_or(u16::MAX);
        if self.is_stale(&part) {
            let now = self.now();
            return self.fetch.handle_bad(parent, Fault::Stale, now);
        }
        let now = self.now();
        if let Some(key) = self.key_of(parent) {
            tracing::trace!(msn = id.msn, part = id.part, blocks, box.id = %key.fingerprint(), "item");
        }
        match self.fetch.handle_header(parent, id, Shape { blocks, duration_ms }, now) {
            Header::Fresh => {}
            Header::Known | Header::Old | Header::Refused => return,
        }
        if let ItemTaken::Fresh(item) | ItemTaken::Known(item) =
            self.config.live.take_item(Seal::Part(part), sealed, None)
        {
            self.parts.insert(id, item);
            while self.parts.len() > PARTS_MAX {
                self.parts.pop_first();
            }
        }
    }

    /// Signed once, but long over: given as if it were live.
    fn is_stale(&self, part: &PartSeal) -> bool {
        let epoch = self.config.live.sealed(stream::ObjectName::Init(part.epoch()));
        let ends = epoch.as_ref().and_then(|item| item.epoch()).map(|epoch| part.ends_unix_ms(&epoch.record));
        ends.is_some_and(|ends| ends < self.judge.unix_ms() - STALE_MS)
    }

    pub(super) fn handle_block(&mut self, parent: ParentId, block: BlockFrame) {
        let (id, now) = (id_of(block.part), self.now());
        // What comes twice is acknowledged twice.
        self.config.uplink.handle_received(block.bytes.len());
        match self.fetch.expects(parent, id, block.index) {
            Block::Fresh => {}
            Block::Again | Block::Old => return,
            Block::NotAsked => return self.fetch.handle_stray(parent, now),
        }
        let Some(item) = self.parts.get(&id).map(Arc::clone) else { return };
        let index = usize::from(block.index);
        if !item.part().is_some_and(|part| part.is_block(index, &block.bytes)) {
            return self.fault(parent, Fault::Forged, "a block that is not the part's");
        }
        let len = block.bytes.len() as u64;
        if let Some(key) = self.key_of(parent) {
            tracing::trace!(msn = id.msn, part = id.part, block = index, box.id = %key.fingerprint(), "block");
        }
        self.fetch.handle_block(parent, id, block.index, now);
        let taken = self.config.live.take_block(&item, index, block.bytes);
        if taken != BlockTaken::Again {
            Tally::count(&self.config.tally.verified);
            self.config.tally.note_came(self.config.stripes.of(id, block.index), taken == BlockTaken::Last);
        }
        if let Some(key) = self.key_of(parent) {
            self.config.tally.with(&key, |flow| flow.received += len);
        }
    }
}
