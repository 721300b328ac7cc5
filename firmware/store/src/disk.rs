//! Media on disk: one file per part, written beside the stream and found again after a restart.
//!
//! ```text
//! DIR/<stream>/memo                     what the playlist promised
//! DIR/<stream>/<epoch>/init.mp4         the initialization section and the epoch's record
//! DIR/<stream>/<epoch>/<msn>.<part>.m4s the part's bytes and its header
//!
//! StoredFile: Queued --written--> Written --discarded--> Doomed
//!             Queued --discarded, or the disk is too slow or full--> Doomed, Lost
//! ```
//! Files come into being whole, by rename. They are not synced one by one, which would wear a card out: each ends in a
//! checksum instead, and what a power cut left torn is dropped when it is found. It refuses to make a stream wait for
//! the disk: what can't be queued stays in RAM.

use std::fs::File;
use std::io::{self, Read as _, Seek as _, SeekFrom};
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};

use bytes::Bytes;
use stream::window::Memo;
use stream::{EpochRecord, ObjectName, PartHeader};

pub(crate) mod format;
pub(crate) mod keeper;
pub(crate) mod scan;

use keeper::{Keeper, Save};

const MEMO_FILE: &str = "memo";
const INIT_FILE: &str = "init.mp4";

/// A file of a stream: on its way to the disk, there, or given up.
#[derive(Debug)]
pub(crate) struct StoredFile {
    path: PathBuf,
    /// Of the content, without what follows it in the file.
    len: u64,
    state: AtomicU8,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum FileState {
    Queued,
    Written,
    /// To be deleted, or not to be written.
    Doomed,
    /// Not written: the queue was full or the disk refused.
    Lost,
}

impl FileState {
    fn of(value: u8) -> Self {
        match value {
            0 => Self::Queued,
            1 => Self::Written,
            2 => Self::Doomed,
            _ => Self::Lost,
        }
    }
}

impl StoredFile {
    pub(crate) fn new(path: PathBuf, len: u64, state: FileState) -> Self {
        Self { path, len, state: AtomicU8::new(state as u8) }
    }

    pub(crate) fn len(&self) -> u64 {
        self.len
    }

    pub(crate) fn state(&self) -> FileState {
        FileState::of(self.state.load(Ordering::Acquire))
    }

    /// From one state into another; false if it was in neither.
    fn change(&self, from: FileState, to: FileState) -> bool {
        self.state.compare_exchange(from as u8, to as u8, Ordering::AcqRel, Ordering::Acquire).is_ok()
    }

    /// Blocks on the disk.
    pub(crate) fn read(&self, range: Range<u64>) -> io::Result<Bytes> {
        let len = usize::try_from(range.end - range.start).map_err(|_| io::ErrorKind::InvalidInput)?;
        let mut file = File::open(&self.path)?;
        file.seek(SeekFrom::Start(range.start))?;
        let mut content = vec![0; len];
        file.read_exact(&mut content)?;
        Ok(content.into())
    }
}

/// A stream's directory.
#[derive(Clone, Debug)]
pub(crate) struct Disk {
    keeper: Arc<Keeper>,
    directory: PathBuf,
}

impl Disk {
    pub(crate) fn new(keeper: Arc<Keeper>, directory: PathBuf) -> Self {
        Self { keeper, directory }
    }

    pub(crate) fn directory(&self) -> &Path {
        &self.directory
    }

    pub(crate) fn boot(&self) -> &str {
        self.keeper.boot()
    }

    /// Queues an epoch's initialization section with its record.
    pub(crate) fn save_epoch(&self, record: &EpochRecord, init: &Bytes) -> Arc<StoredFile> {
        let path = self.directory.join(ObjectName::Init(record.id).to_string());
        self.save(path, init.clone(), format::record(record, init).into())
    }

    pub(crate) fn save_part(&self, header: &PartHeader, bytes: &Bytes) -> Arc<StoredFile> {
        let name = ObjectName::Part(header.epoch, header.msn, header.part);
        let trailer = format::trailer(header, bytes);
        self.save(self.directory.join(name.to_string()), bytes.clone(), trailer.into())
    }

    /// Queues the memo in place of the one before; none if it could not be.
    pub(crate) fn save_memo(
        &self,
        memo: &Memo,
        clean: bool,
        before: Option<&StoredFile>,
    ) -> Option<Arc<StoredFile>> {
        let content = format::memo(memo, self.keeper.boot(), clean);
        let file = self.save(self.directory.join(MEMO_FILE), content.into(), Bytes::new());
        if file.state() == FileState::Lost {
            return None;
        }
        if let Some(before) = before {
            before.change(FileState::Queued, FileState::Doomed);
        }
        Some(file)
    }

    fn save(&self, path: PathBuf, content: Bytes, trailer: Bytes) -> Arc<StoredFile> {
        let file = Arc::new(StoredFile::new(path, content.len() as u64, FileState::Queued));
        self.keeper.save(Save { file: Arc::clone(&file), content, trailer });
        file
    }

    /// The file is not needed any more.
    pub(crate) fn discard(&self, file: &StoredFile) {
        if file.change(FileState::Written, FileState::Doomed) {
            self.keeper.delete(file.path.clone());
        } else {
            // On its way: the keeper sees it before or after it writes.
            file.change(FileState::Queued, FileState::Doomed);
            if file.state() == FileState::Written {
                self.discard(file);
            }
        }
    }

    /// Nothing of the stream is needed any more.
    pub(crate) fn forget(&self, memo: Option<&StoredFile>) {
        if let Some(memo) = memo {
            memo.change(FileState::Queued, FileState::Doomed);
        }
        self.keeper.delete(self.directory.join(MEMO_FILE));
    }
}
