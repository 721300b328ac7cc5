//! All that came from the origin, in the order in which it came.

use std::collections::BTreeMap;
use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use stream::seal::Seal;
use stream::{EpochId, StreamName};
use swarm::part::StripeCount;
use wire::feed::{Decoder, Frame, PartName};

use crate::Result;

/// Some minutes of a stream: whoever wants to hear more has to start it again.
const ENTRIES_MAX: usize = 100_000;
const READ_BYTES: usize = 64 << 10;
/// An origin that says nothing for so long is gone.
const SILENCE_MAX: Duration = Duration::from_secs(5);

#[derive(Clone, Debug)]
pub(crate) enum Entry {
    Epoch { id: EpochId, sealed: Bytes, init: Bytes },
    Part { name: PartName, sealed: Bytes },
    Mark { sealed: Bytes },
    Block { part: PartName, index: u16, bytes: Bytes, last: bool },
}

#[derive(Debug, Default)]
pub(crate) struct Pages {
    pub(crate) hello: Option<Bytes>,
    pub(crate) entries: Vec<Entry>,
}

#[derive(Debug, Default)]
pub(crate) struct Book {
    pages: Mutex<Pages>,
    written: Condvar,
    begun: AtomicBool,
}

impl Book {
    pub(crate) fn begin(&self) {
        self.begun.store(true, Ordering::Relaxed);
    }

    pub(crate) fn has_begun(&self) -> bool {
        self.begun.load(Ordering::Relaxed)
    }

    pub(crate) fn read(&self) -> MutexGuard<'_, Pages> {
        self.pages.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits for an entry of this number, or for a moment.
    pub(crate) fn wait(&self, number: usize, moment: Duration) {
        let waited =
            self.written.wait_timeout_while(self.read(), moment, |pages| pages.entries.len() <= number);
        drop(waited);
    }

    /// Blocks of a part that have come.
    pub(crate) fn blocks(&self, part: PartName) -> BTreeMap<u16, Bytes> {
        let mut found = BTreeMap::new();
        for entry in &self.read().entries {
            if let Entry::Block { part: its, index, bytes, .. } = entry
                && *its == part
            {
                found.insert(*index, bytes.clone());
            }
        }
        found
    }

    fn write(&self, entry: Entry) -> Result<()> {
        let mut pages = self.read();
        if pages.entries.len() >= ENTRIES_MAX {
            return Err("the book is full".into());
        }
        pages.entries.push(entry);
        self.written.notify_all();
        Ok(())
    }
}

/// Takes all stripes from the origin until it ends. HTTP/1.0, so that the answer is nothing but frames.
pub(crate) fn record(origin: SocketAddr, stream: &StreamName, book: &Book) -> Result<()> {
    let mut socket = TcpStream::connect(origin)?;
    socket.set_read_timeout(Some(SILENCE_MAX))?;
    let (of, all) = (StripeCount::USUAL.get(), StripeCount::USUAL.all().0);
    write!(socket, "GET /relay/1/{stream}/feed?of={of}&stripes={all} HTTP/1.0\r\nHost: relaybox\r\n\r\n")?;
    let mut bytes = vec![0; READ_BYTES];
    let mut head = Vec::new();
    let mut decoder = Decoder::default();
    let mut scribe = Scribe::default();
    loop {
        let len = socket.read(&mut bytes)?;
        if len == 0 {
            return Err("the origin ended the feed".into());
        }
        let came = bytes.get(..len).unwrap_or_default();
        if head.ends_with(b"\r\n\r\n") {
            decoder.handle_bytes(came);
        } else {
            // A head is short: byte by byte does no harm.
            for (at, byte) in came.iter().enumerate() {
                head.push(*byte);
                if head.ends_with(b"\r\n\r\n") {
                    if !head.starts_with(b"HTTP/1.0 200") && !head.starts_with(b"HTTP/1.1 200") {
                        return Err(String::from_utf8_lossy(&head).into_owned().into());
                    }
                    decoder.handle_bytes(came.get(at + 1..).unwrap_or_default());
                    break;
                }
            }
        }
        while let Some(frame) = decoder.poll_frame()? {
            scribe.take(frame, book)?;
        }
    }
}

/// Turns frames into entries.
#[derive(Debug, Default)]
struct Scribe {
    epoch: Option<Bytes>,
    /// Blocks that are still to come.
    missing: BTreeMap<PartName, usize>,
}

impl Scribe {
    fn take(&mut self, frame: Frame, book: &Book) -> Result<()> {
        match frame {
            Frame::Hello(bytes) => book.read().hello = Some(bytes),
            Frame::Seal(sealed) => {
                let item = sealed.split_last_chunk::<64>().ok_or("an item without a signature")?.0;
                match Seal::decode(item)? {
                    Seal::Epoch(_) => self.epoch = Some(sealed),
                    Seal::Mark(_) => book.write(Entry::Mark { sealed })?,
                    Seal::Part(part) => {
                        let header = &part.header;
                        let name = PartName { msn: header.msn, part: header.part, epoch: header.epoch };
                        self.missing.insert(name, part.blocks.len());
                        book.write(Entry::Part { name, sealed })?;
                    }
                }
            }
            Frame::Init { epoch: id, bytes: init } => {
                if let Some(sealed) = self.epoch.take() {
                    book.write(Entry::Epoch { id, sealed, init })?;
                }
            }
            Frame::Block(block) => {
                let missing = self.missing.entry(block.part).or_default();
                *missing = missing.saturating_sub(1);
                let last = *missing == 0;
                let (part, index, bytes) = (block.part, block.index, block.bytes);
                book.write(Entry::Block { part, index, bytes, last })?;
            }
            Frame::Have { .. } | Frame::Alive { .. } | Frame::Leaving | Frame::Unknown => {}
        }
        Ok(())
    }
}
