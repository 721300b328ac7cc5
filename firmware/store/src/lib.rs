//! The bytes of live streams, in RAM or on disk, under a budget; and those who wait for them.
//!
//! ```text
//! parts  -> Live (stream::Window + objects) -> playlists, objects, waiting for either
//! tags   -> Live (FLV ring)                 -> readers
//! ```
//! A [`Live`] is one stream. Its decisions are `stream::Window`'s; what is here holds bytes, counts them against the
//! budgets of the stream and of the box, and wakes whoever waits. It refuses to parse media and to speak HTTP.

mod audience;
mod books;
mod disk;
mod flv;
mod live;
mod numbers;
mod object;
mod row;
#[cfg(test)]
mod scratch;

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use stream::window::WindowLimits;
use stream::{StreamName, Ticks};

use crate::books::Books;
use crate::disk::Disk;
use crate::disk::keeper::Keeper;
use crate::numbers::Numbers;

pub use flv::{FlvError, FlvReader};
pub use live::{ItemTaken, Live, ObjectError, PlaylistError, Producer, PushError, Rendered, Served, Stats};
pub use object::{Object, ObjectReader};
pub use row::{BlockTaken, Item, Place, Sealer};

/// Where media is kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Keep {
    /// In RAM only: a restart begins with nothing.
    Ram,
    /// In this directory, which is the store's alone; the newest parts of each stream in RAM as well.
    Disk { directory: PathBuf, ram_bytes_max_per_stream: u64 },
}

/// What a box keeps, and where.
#[derive(Clone, Debug)]
pub struct StoreConfig {
    pub keep: Keep,
    /// All media of all streams together. The oldest segment of the largest stream goes first.
    pub box_bytes_max: u64,
    /// Of each stream.
    pub limits: WindowLimits,
    /// The most that the FLV ring of one stream holds, on top of the limits.
    pub flv_bytes_max: usize,
    pub streams_max: usize,
    /// Where the reserved sequence numbers are kept, one small file per stream.
    pub numbers_dir: PathBuf,
}

impl StoreConfig {
    /// In RAM, with the defaults.
    #[must_use]
    pub fn in_ram(numbers_dir: PathBuf) -> Self {
        Self {
            keep: Keep::Ram,
            box_bytes_max: 512 << 20,
            limits: WindowLimits::default(),
            flv_bytes_max: 16 << 20,
            streams_max: 64,
            numbers_dir,
        }
    }

    /// On disk, with the defaults: an hour of each stream as far as 2 GiB reach, 8 GiB for the box.
    #[must_use]
    pub fn on_disk(numbers_dir: PathBuf, directory: PathBuf) -> Self {
        let limits =
            WindowLimits { duration: Ticks::from_secs(3600), bytes: 2 << 30, ..WindowLimits::default() };
        let keep = Keep::Disk { directory, ram_bytes_max_per_stream: 16 << 20 };
        Self { keep, box_bytes_max: 8 << 30, limits, ..Self::in_ram(numbers_dir) }
    }
}

#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    #[error("making the directory {path} failed")]
    Directory {
        path: PathBuf,
        #[source]
        source: io::Error,
    },
    #[error("reserving sequence numbers in {path} failed")]
    Numbers {
        path: PathBuf,
        #[source]
        source: io::Error,
    },
    #[error("starting the thread that writes media failed")]
    Keeper(#[source] io::Error),
    #[error(transparent)]
    Name(#[from] stream::BadStreamName),
    #[error("the store has as many streams as it may have")]
    TooManyStreams,
}

/// All streams of a box.
#[derive(Debug)]
pub struct Store {
    config: StoreConfig,
    books: Arc<Books>,
    keeper: Option<Arc<Keeper>>,
}

impl Store {
    /// Blocks on the disk.
    pub fn open(config: StoreConfig) -> Result<Self, StoreError> {
        make_directory(&config.numbers_dir)?;
        let keeper = match &config.keep {
            Keep::Ram => None,
            Keep::Disk { directory, .. } => {
                make_directory(directory)?;
                Some(Arc::new(Keeper::start(directory.clone()).map_err(StoreError::Keeper)?))
            }
        };
        let books = Arc::new(Books::new(config.box_bytes_max));
        Ok(Self { config, books, keeper })
    }

    /// The stream of this name, made if it is not there, with what the disk still has of it. Making one blocks on
    /// the disk.
    pub fn live(&self, name: &str) -> Result<Arc<Live>, StoreError> {
        let name: StreamName = name.parse()?;
        let live = self.books.find_or_make(&name, self.config.streams_max, || {
            let path = self.config.numbers_dir.join(format!("{name}.msn"));
            let (numbers, next_msn) =
                Numbers::open(path.clone()).map_err(|source| StoreError::Numbers { path, source })?;
            let disk = match (&self.config.keep, &self.keeper) {
                (Keep::Disk { directory, .. }, Some(keeper)) => {
                    Some(Disk::new(Arc::clone(keeper), directory.join(name.as_str())))
                }
                _ => None,
            };
            let numbers = Some(numbers);
            Ok(Live::new(name.clone(), &self.config, numbers, next_msn, disk, Arc::clone(&self.books)))
        })?;
        self.books.settle();
        Ok(live)
    }

    /// The stream of this name as one that is published at another box: in RAM alone, numbered by its origin. One that
    /// is there already is given as it is.
    pub fn carried(&self, name: &StreamName) -> Result<Arc<Live>, StoreError> {
        self.books.find_or_make(name, self.config.streams_max, || {
            Ok(Live::new(name.clone(), &self.config, None, 0, None, Arc::clone(&self.books)))
        })
    }

    /// Writes down where the streams are, so that the next start goes on there. To be called when nothing is
    /// published any more. Blocks until the disk has everything.
    pub fn close(&self) {
        self.lives().iter().for_each(|live| live.close());
        self.flush();
    }

    /// Blocks until the disk has, or has lost, all that was given to it.
    pub fn flush(&self) {
        if let Some(keeper) = &self.keeper {
            keeper.flush();
        }
    }

    /// Files that the disk did not take since the start.
    #[must_use]
    pub fn files_lost(&self) -> u64 {
        self.keeper.as_ref().map_or(0, |keeper| keeper.lost())
    }

    #[must_use]
    pub fn get(&self, name: &StreamName) -> Option<Arc<Live>> {
        self.books.find(name)
    }

    /// All streams, in the order of their names.
    #[must_use]
    pub fn lives(&self) -> Vec<Arc<Live>> {
        self.books.all()
    }

    #[must_use]
    pub fn names(&self) -> Vec<StreamName> {
        self.lives().iter().map(|live| live.name().clone()).collect()
    }

    /// Forgets a stream: its viewers get an end, its media goes. Its sequence numbers stay reserved.
    pub fn remove(&self, name: &StreamName) {
        if let Some(live) = self.books.remove(name) {
            live.clear();
        }
    }

    /// Bytes of media kept at this moment.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.books.bytes()
    }

    #[must_use]
    pub fn bytes_max(&self) -> u64 {
        self.config.box_bytes_max
    }
}

impl Drop for Store {
    /// Streams know the books and the books know the streams: this is where they part.
    fn drop(&mut self) {
        self.books.forget_all();
    }
}

fn make_directory(path: &Path) -> Result<(), StoreError> {
    std::fs::create_dir_all(path).map_err(|source| StoreError::Directory { path: path.to_owned(), source })
}

#[cfg(test)]
mod tests;
