//! What other parts of an image found that a person has to mend: one file each in a folder, written by root, and shown on
//! the box's page in the same words as on its screen and its card.
//!
//! Refuses to judge whether the box is well, which is `health`'s, and to show much: a folder is no log.

use std::fs::File;
use std::io::Read as _;
use std::path::{Path, PathBuf};

/// More are not shown.
const NOTICES_MAX: usize = 8;
/// Of each; the rest is cut off.
const NOTICE_BYTES_MAX: u64 = 2 << 10;
/// How many files are looked at.
const FILES_MAX: usize = 64;

/// In the order of the files' names. A folder that is not there says nothing.
pub(crate) fn read(dir: &Path) -> Vec<String> {
    let Ok(entries) = std::fs::read_dir(dir) else { return Vec::new() };
    let mut paths: Vec<PathBuf> = entries
        .take(FILES_MAX)
        .flatten()
        .filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_file()))
        .map(|entry| entry.path())
        .collect();
    paths.sort();
    paths.iter().filter_map(|path| notice(path)).take(NOTICES_MAX).collect()
}

fn notice(path: &Path) -> Option<String> {
    let mut bytes = Vec::new();
    File::open(path).ok()?.take(NOTICE_BYTES_MAX).read_to_end(&mut bytes).ok()?;
    let text = String::from_utf8_lossy(&bytes).trim().to_owned();
    (!text.is_empty()).then_some(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_are_read_in_order_and_within_bounds() {
        let dir = std::env::temp_dir().join(format!("relayd-notices-{}", std::process::id()));
        assert!(read(&dir).is_empty(), "no folder");
        std::fs::create_dir_all(dir.join("folder")).unwrap();
        for (name, text) in
            [("join", "no\n"), ("card", "line 2\n"), ("empty", "\n"), ("z", &"a".repeat(5000))]
        {
            std::fs::write(dir.join(name), text).unwrap();
        }
        let said = read(&dir);
        assert_eq!(said[..2], ["line 2", "no"]);
        assert_eq!((said.len(), said[2].len()), (3, 2048));
        for n in 0..20 {
            std::fs::write(dir.join(format!("more{n}")), "x").unwrap();
        }
        assert_eq!(read(&dir).len(), 8);
        std::fs::remove_dir_all(&dir).unwrap();
    }
}
