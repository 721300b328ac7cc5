//! Making a box as it was when it was new: its identity, keys, streams, settings, PIN and what it was told are gone.
//!
//! It is decided once, by a mark on the box's own disk, and carried out at a start, before anything of the box runs: a
//! power cut before the mark leaves all, and one after it leaves a start that goes on where this one was cut off. On the
//! card it takes the box's name in a file: neither an empty file nor a copy that lies about resets anything.

use std::fs::{self, File};
use std::io::{ErrorKind, Read as _};
use std::path::Path;

use anyhow::{Context as _, Result};

use super::erase;
use super::wish::Mistake;
use crate::secrets;

/// On the card, and as an editor that hides endings saves it.
const NAMES: [&str; 2] = ["relaybox-reset.txt", "relaybox-reset.txt.txt"];
/// Beside what the box keeps of the card.
const MARK: &str = "reset";
/// A name has 63 letters.
const BYTES_MAX: u64 = 256;

/// Whether the card asks for it, by the name of this box.
pub(super) fn is_asked(card: &Path, name: &str) -> Result<Result<bool, Mistake>> {
    let Some(path) = NAMES.into_iter().map(|name| card.join(name)).find(|path| path.is_file()) else {
        return Ok(Ok(false));
    };
    let mut bytes = Vec::new();
    let file = File::open(&path).with_context(|| format!("reading {}", path.display()))?;
    file.take(BYTES_MAX).read_to_end(&mut bytes).with_context(|| format!("reading {}", path.display()))?;
    Ok(if is_name(&bytes, name) {
        Ok(true)
    } else {
        let mistake = Mistake::whole(
            format!("it does not hold this box's name, {name}"),
            format!(
                "To have the box forget everything, write {name} into the file, and nothing else. To leave the box as it is, \
                 remove the file."
            ),
        );
        Err(mistake.of_file(NAMES[0]))
    })
}

/// As people type it, and as editors save it.
fn is_name(bytes: &[u8], name: &str) -> bool {
    let text = String::from_utf8_lossy(bytes);
    text.trim_start_matches('\u{feff}').trim().eq_ignore_ascii_case(name)
}

pub(super) fn is_marked(kept: &Path) -> bool {
    kept.join(MARK).exists()
}

/// From here on there is no way back.
pub(super) fn mark(kept: &Path) -> Result<()> {
    // Empty: on a disk that is full there is room for no more than a name.
    secrets::replace(&kept.join(MARK), b"", 0o600)
}

/// What is there when it is called a second time is less; at the end there is no mark.
pub(super) fn carry_out(card: Option<&Path>, kept: &Path, data_dir: &Path) -> Result<()> {
    for name in NAMES {
        let Some(path) = card.map(|card| card.join(name)).filter(|path| path.is_file()) else { continue };
        erase(&path)?;
    }
    empty(data_dir, None)?;
    empty(kept, Some(MARK))?;
    fs::remove_file(kept.join(MARK)).context("removing the mark of the reset")?;
    sync(kept)?;
    println!("the box forgot everything, and begins anew");
    Ok(())
}

/// All that is in a folder. The folder stays: it is a mount, or has an owner.
fn empty(dir: &Path, but: Option<&str>) -> Result<()> {
    let entries = match fs::read_dir(dir) {
        Ok(entries) => entries,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(error).with_context(|| format!("reading {}", dir.display())),
    };
    for entry in entries {
        let entry = entry.with_context(|| format!("reading {}", dir.display()))?;
        if but.is_some_and(|but| entry.file_name() == but) {
            continue;
        }
        let path = entry.path();
        let kind = entry.file_type().with_context(|| format!("looking at {}", path.display()))?;
        let removed = if kind.is_dir() { fs::remove_dir_all(&path) } else { fs::remove_file(&path) };
        removed.with_context(|| format!("removing {}", path.display()))?;
    }
    sync(dir)
}

fn sync(dir: &Path) -> Result<()> {
    File::open(dir).and_then(|dir| dir.sync_all()).with_context(|| format!("syncing {}", dir.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_boxs_name_is_its_name() {
        assert!(is_name(b"attic", "attic") && is_name(b"\xef\xbb\xbfAttic\r\n", "attic"));
        for other in [&b""[..], b"\n", b"cellar", b"attic cellar", b"\xff\xfea\0"] {
            assert!(!is_name(other, "attic"), "{other:?}");
        }
    }
}
