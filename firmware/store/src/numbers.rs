//! Media sequence numbers that never go back, not even when the box restarts with an empty memory.
//!
//! A small file per stream names the first number that is *not* reserved. A process uses only numbers below it and
//! moves it on in blocks, so that a restart begins above everything that any earlier process can have used. The
//! file is replaced atomically (write, fsync, rename, fsync of the directory); a number is never guessed from media.
//!
//! It refuses to stop a stream: if the disk takes no more writes, numbering goes on in memory and says so.

use std::fs::{self, File};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

/// Numbers reserved at once: over two hours of 2 s segments.
const BLOCK: u64 = 4096;
/// The file holds one decimal number; anything longer is not ours.
const FILE_BYTES_MAX: u64 = 64;

/// The reserved block of one stream.
#[derive(Clone, Debug)]
pub(crate) struct Numbers {
    path: Arc<Path>,
    /// The first number that is not reserved on disk.
    reserved: Arc<AtomicU64>,
    /// Somebody is at it.
    reserving: Arc<AtomicBool>,
    failures: Arc<AtomicU32>,
}

impl Numbers {
    /// Opens the file, or begins at 0 if there is none, and reserves a first block. Also gives the first number
    /// that may be used. On a disk that takes no more writes the numbers jump to where no earlier process can have been:
    /// those that it used are not written down.
    pub(crate) fn open(path: PathBuf) -> io::Result<(Self, u64)> {
        let next = match read(&path) {
            Ok(Some(next)) => next,
            Ok(None) => 0,
            Err(damage) if damage.kind() == io::ErrorKind::InvalidData => {
                let next = beyond();
                tracing::warn!(path = %path.display(), next, "sequence number file is damaged: numbering jumps");
                next
            }
            Err(error) => return Err(error),
        };
        let numbers = Self {
            path: path.into(),
            reserved: Arc::new(AtomicU64::new(next)),
            reserving: Arc::default(),
            failures: Arc::default(),
        };
        if let Err(error) = numbers.write(next) {
            let next = next.max(beyond());
            tracing::error!(path = %numbers.path.display(), %error, next, "sequence numbers can't be reserved: numbering jumps");
            // Asked again at once, and at each part from here on.
            numbers.reserved.store(next, Ordering::Release);
            return Ok((numbers, next));
        }
        Ok((numbers, next))
    }

    /// Whether the caller should move the block on before `next` and the numbers after it are used. Says so to one
    /// caller only, until [`Numbers::reserve`] is done.
    pub(crate) fn runs_low(&self, next: u64) -> bool {
        next.saturating_add(BLOCK / 2) > self.reserved.load(Ordering::Acquire)
            && !self.reserving.swap(true, Ordering::AcqRel)
    }

    /// Moves the end of the reserved block to a whole block above `next`. Blocks on the disk.
    pub(crate) fn reserve(&self, next: u64) {
        if let Err(error) = self.write(next)
            && self.failures.fetch_add(1, Ordering::Relaxed).wrapping_add(1).is_power_of_two()
        {
            let path = self.path.display();
            tracing::error!(%path, %error, "sequence numbers can't be reserved: a restart may repeat some");
        }
        self.reserving.store(false, Ordering::Release);
    }

    fn write(&self, next: u64) -> io::Result<()> {
        let reserved = next.saturating_add(BLOCK);
        replace(&self.path, format!("{reserved}\n").as_bytes())?;
        self.reserved.fetch_max(reserved, Ordering::AcqRel);
        Ok(())
    }
}

/// Seconds since 1970 are above any number that was reached from 0 with segments of a second or more, and far below 2^53,
/// the last number a JavaScript player counts exactly.
fn beyond() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |d| d.as_secs())
}

/// The number in the file; none if there is no file.
fn read(path: &Path) -> io::Result<Option<u64>> {
    match fs::metadata(path) {
        Ok(meta) if meta.len() > FILE_BYTES_MAX => return Err(io::ErrorKind::InvalidData.into()),
        Ok(_) => {}
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error),
    }
    let text = fs::read_to_string(path)?;
    text.trim_end().parse().map(Some).map_err(|_| io::ErrorKind::InvalidData.into())
}

/// Replaces a small file so that a power cut leaves either the old or the new content.
pub(crate) fn replace(path: &Path, content: &[u8]) -> io::Result<()> {
    let temporary = path.with_extension("new");
    let write = || -> io::Result<()> {
        let mut file = File::create(&temporary)?;
        file.write_all(content)?;
        file.sync_all()
    };
    if let Err(error) = write() {
        // A disk that is full does not get fuller by it.
        let _ = fs::remove_file(&temporary);
        return Err(error);
    }
    fs::rename(&temporary, path)?;
    match path.parent() {
        Some(parent) => File::open(parent)?.sync_all(),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scratch::Scratch;

    #[test]
    fn a_restart_begins_above_all_that_was_used() {
        let scratch = Scratch::new("numbers");
        let path = scratch.path().join("demo.msn");
        let (numbers, first) = Numbers::open(path.clone()).unwrap();
        assert_eq!(first, 0);
        assert!(!numbers.runs_low(2048));
        assert!(numbers.runs_low(2049));
        assert!(!numbers.runs_low(2050), "one is at it");
        numbers.reserve(2049);
        assert!(!numbers.runs_low(2050));
        drop(numbers);
        let (_, first) = Numbers::open(path.clone()).unwrap();
        assert_eq!(first, 6145);
        assert_eq!(fs::read_to_string(&path).unwrap(), "10241\n");
    }

    #[test]
    fn a_damaged_file_makes_numbers_jump_ahead() {
        for damage in ["", "twelve", "-4", "99999999999999999999999", &"1".repeat(65)] {
            let scratch = Scratch::new("numbers-damaged");
            let path = scratch.path().join("demo.msn");
            fs::write(&path, damage).unwrap();
            let (_, first) = Numbers::open(path).unwrap();
            assert!(first > 1_700_000_000, "{damage:?} gave {first}");
        }
    }

    #[test]
    fn a_disk_that_refuses_is_asked_again() {
        let scratch = Scratch::new("numbers-refused");
        let directory = scratch.path().join("numbers");
        fs::create_dir(&directory).unwrap();
        let (numbers, _) = Numbers::open(directory.join("demo.msn")).unwrap();
        fs::remove_dir_all(&directory).unwrap();
        assert!(numbers.runs_low(3000));
        numbers.reserve(3000);
        assert!(numbers.runs_low(3001));
        fs::create_dir(&directory).unwrap();
        numbers.reserve(3001);
        assert_eq!(fs::read_to_string(directory.join("demo.msn")).unwrap(), "7097\n");
        assert!(!numbers.runs_low(3002));
    }

    #[test]
    fn a_disk_that_refuses_from_the_start_stops_no_stream() {
        let scratch = Scratch::new("numbers-full");
        let path = scratch.path().join("demo.msn");
        fs::write(&path, "500\n").unwrap();
        // Nothing can be written where a folder is.
        fs::create_dir(path.with_extension("new")).unwrap();
        let (first, from) = Numbers::open(path.clone()).unwrap();
        assert!(from > 1_700_000_000, "{from} may have been used by the process before");
        assert_eq!(fs::read_to_string(&path).unwrap(), "500\n", "what was kept stays");
        assert!(first.runs_low(from), "it is tried again");
        fs::remove_dir(path.with_extension("new")).unwrap();
        first.reserve(from);
        assert!(!first.runs_low(from + 1));
        assert_eq!(Numbers::open(path).unwrap().1, from + 4096);
    }

    #[test]
    fn a_write_that_was_cut_off_leaves_the_old_number() {
        let scratch = Scratch::new("numbers-torn");
        let path = scratch.path().join("demo.msn");
        fs::write(&path, "500\n").unwrap();
        fs::write(path.with_extension("new"), "45").unwrap();
        assert_eq!(Numbers::open(path).unwrap().1, 500);
    }
}
