//! What a stream's directory still holds after a restart: the newest unbroken run of whole, intact files.
//!
//! Everything else in there is deleted: torn files, what a missing part leaves behind, leftovers of writing. It
//! refuses to follow anything that is not a plain file or directory of the names it writes itself.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::{fs, io};

use stream::window::Memo;
use stream::{EpochId, EpochRecord, ObjectName, PartHeader};

use super::{FileState, INIT_FILE, MEMO_FILE, StoredFile, format};

/// A part is never larger than a window's budget; this only keeps a foreign file from being read whole.
const FILE_BYTES_MAX: u64 = 256 << 20;

pub(crate) struct Found {
    pub(crate) memo: Memo,
    /// Nothing can have been lost since the memo was written.
    pub(crate) trusted: bool,
    /// In the order of their segments.
    pub(crate) epochs: Vec<FoundEpoch>,
}

pub(crate) struct FoundEpoch {
    pub(crate) record: EpochRecord,
    pub(crate) init: Arc<StoredFile>,
    pub(crate) parts: Vec<(PartHeader, Arc<StoredFile>)>,
}

impl Found {
    pub(crate) fn last_msn(&self) -> Option<u64> {
        self.epochs.last()?.parts.last().map(|(header, _)| header.msn)
    }
}

/// Reads every file, to see that it is intact. None if there is nothing to go on with; then the directory is cleared.
pub(crate) fn scan(directory: &Path, boot: &str) -> io::Result<Option<Found>> {
    if !directory.is_dir() {
        return Ok(None);
    }
    let memo = fs::read(directory.join(MEMO_FILE)).ok().and_then(|file| format::read_memo(&file, boot));
    let Some((memo, trusted)) = memo else {
        fs::remove_dir_all(directory)?;
        return Ok(None);
    };
    let mut epochs = BTreeMap::new();
    let mut parts = BTreeMap::new();
    for entry in fs::read_dir(directory)? {
        let path = entry?.path();
        let epoch = file_name(&path).and_then(|name| name.parse::<EpochId>().ok());
        match epoch.filter(|_| path.is_dir()) {
            Some(epoch) => match read_epoch(&path, epoch, &mut parts)? {
                Some(found) => drop(epochs.insert(epoch, found)),
                None => fs::remove_dir_all(&path)?,
            },
            None if file_name(&path) == Some(MEMO_FILE) => {}
            None => remove(&path)?,
        }
    }
    parts.retain(|_, part| epochs.contains_key(&part.header.epoch));
    let run = newest_run(parts)?;
    let found = sort(&mut epochs, run);
    for unused in epochs.keys() {
        fs::remove_dir_all(directory.join(unused.to_string()))?;
    }
    Ok(Some(Found { memo, trusted, epochs: found }))
}

struct Part {
    header: PartHeader,
    path: PathBuf,
}

impl Part {
    fn stored(self) -> (PartHeader, Arc<StoredFile>) {
        let len = u64::from(self.header.bytes);
        (self.header, Arc::new(StoredFile::new(self.path, len, FileState::Written)))
    }
}

type Parts = BTreeMap<(u64, u32), Part>;

/// The record and the length of the initialization section, if they are intact. Adds the epoch's intact parts.
fn read_epoch(directory: &Path, epoch: EpochId, parts: &mut Parts) -> io::Result<Option<(EpochRecord, u64)>> {
    let init = fs::read(directory.join(INIT_FILE)).unwrap_or_default();
    let found = format::read_record(&init).filter(|(record, _)| record.id == epoch);
    if found.is_none() {
        return Ok(None);
    }
    for entry in fs::read_dir(directory)? {
        let path = entry?.path();
        let name = file_name(&path).unwrap_or_default();
        match format!("{epoch}/{name}").parse() {
            Ok(ObjectName::Part(_, msn, part)) => match read_part(&path, epoch, msn, part) {
                Some(header) => drop(parts.insert((msn, part), Part { header, path })),
                None => remove(&path)?,
            },
            Ok(ObjectName::Init(_)) => {}
            Ok(ObjectName::Segment(..)) | Err(_) => remove(&path)?,
        }
    }
    Ok(found)
}

fn read_part(path: &Path, epoch: EpochId, msn: u64, part: u32) -> Option<PartHeader> {
    let meta = fs::symlink_metadata(path).ok()?;
    if !meta.is_file() || meta.len() > FILE_BYTES_MAX {
        return None;
    }
    format::part(&fs::read(path).ok()?, epoch, msn, part)
}

/// The parts of the newest segments that follow each other without a hole; the files of all others go.
fn newest_run(parts: Parts) -> io::Result<Vec<Part>> {
    let mut segments: BTreeMap<u64, Vec<Part>> = BTreeMap::new();
    let mut lost = Vec::new();
    for ((msn, part), found) in parts {
        let segment = segments.entry(msn).or_default();
        let follows = segment.len() as u64 == u64::from(part)
            && segment
                .last()
                .is_none_or(|before| before.header.epoch == found.header.epoch && !before.header.last);
        if follows { segment.push(found) } else { lost.push(found) }
    }
    let mut run: Vec<Vec<Part>> = Vec::new();
    let mut next = None;
    for (msn, segment) in segments.into_iter().rev() {
        if segment.is_empty() || next.is_some_and(|next| next != msn + 1) {
            // From here down nothing joins the run.
            next = Some(0);
            lost.extend(segment);
        } else {
            next = Some(msn);
            run.push(segment);
        }
    }
    for part in lost {
        remove(&part.path)?;
    }
    Ok(run.into_iter().rev().flatten().collect())
}

/// Groups parts by epoch, and leaves the epochs without any.
fn sort(epochs: &mut BTreeMap<EpochId, (EpochRecord, u64)>, run: Vec<Part>) -> Vec<FoundEpoch> {
    let mut found: Vec<FoundEpoch> = Vec::new();
    for part in run {
        let epoch = part.header.epoch;
        if found.last().is_none_or(|last| last.record.id != epoch) {
            let Some((record, init)) = epochs.remove(&epoch) else { continue };
            let directory = part.path.parent().unwrap_or(&part.path);
            let init = StoredFile::new(directory.join(INIT_FILE), init, FileState::Written);
            found.push(FoundEpoch { record, init: Arc::new(init), parts: Vec::new() });
        }
        if let Some(last) = found.last_mut() {
            last.parts.push(part.stored());
        }
    }
    found
}

fn file_name(path: &Path) -> Option<&str> {
    path.file_name()?.to_str()
}

fn remove(path: &Path) -> io::Result<()> {
    if fs::symlink_metadata(path)?.is_dir() { fs::remove_dir_all(path) } else { fs::remove_file(path) }
}
