//! Steps that are done only when what they are made of has changed.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};
use sha2::{Digest as _, Sha256};

use super::mirror::{hash, hex};

/// A step that has to be done.
#[must_use]
pub(super) struct Step {
    stamp: PathBuf,
    inputs: String,
}

impl Step {
    /// None if the result is there, and was made of the same.
    pub(super) fn due(result: &Path, inputs: &str) -> Result<Option<Step>> {
        let stamp = stamp_of(result);
        let inputs = hex(&Sha256::digest(inputs));
        let before = fs::read_to_string(&stamp).ok();
        if before.as_deref() == Some(&inputs) && result.exists() {
            return Ok(None);
        }
        if before.is_some() {
            fs::remove_file(&stamp).with_context(|| format!("removing {}", stamp.display()))?;
        }
        Ok(Some(Step { stamp, inputs }))
    }

    pub(super) fn done(self) -> Result<()> {
        fs::write(&self.stamp, self.inputs).with_context(|| format!("writing {}", self.stamp.display()))
    }

    /// What a result was made of.
    pub(super) fn stamp(result: &Path) -> Result<String> {
        let stamp = stamp_of(result);
        fs::read_to_string(&stamp).with_context(|| format!("reading {}", stamp.display()))
    }
}

fn stamp_of(result: &Path) -> PathBuf {
    let mut name = result.as_os_str().to_owned();
    name.push(".stamp");
    name.into()
}

/// The files of a folder, as one text: names and hashes.
pub(super) fn tree(dir: &Path) -> Result<String> {
    let mut names: Vec<PathBuf> = Vec::new();
    for entry in fs::read_dir(dir).with_context(|| format!("reading {}", dir.display()))? {
        names.push(entry.with_context(|| format!("reading {}", dir.display()))?.path());
    }
    names.sort();
    let mut text = String::new();
    for path in names {
        let said = if path.is_dir() { tree(&path)? } else { hash(&path)? };
        text.push_str(&format!("{} {said}\n", path.file_name().unwrap_or_default().to_string_lossy()));
    }
    Ok(text)
}
