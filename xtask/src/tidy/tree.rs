//! The files of the tree, as git sees them: what is tracked, and what is new and not ignored.

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::{Context as _, Result};

use crate::command;

/// Larger files are data, and nobody reads them line by line.
const TEXT_BYTES_MAX: u64 = 1 << 20;

/// Paths from the root, with `/`, and the text of each file that is text.
#[derive(Clone, Debug, Default)]
pub(super) struct Tree(BTreeMap<String, String>);

impl Tree {
    pub(super) fn read(root: &Path) -> Result<Tree> {
        let mut list = command::program("git");
        list.args(["ls-files", "-z", "--cached", "--others", "--exclude-standard"]).current_dir(root);
        let mut files = BTreeMap::new();
        for path in command::output(&mut list)?.split_terminator('\0') {
            let full = root.join(path);
            // Listed and gone is a file that is being deleted; a link is judged where it leads.
            let Ok(meta) = full.symlink_metadata() else { continue };
            if !meta.is_file() || meta.len() > TEXT_BYTES_MAX {
                continue;
            }
            let bytes = std::fs::read(&full).with_context(|| format!("could not read {path}"))?;
            if let Ok(text) = String::from_utf8(bytes) {
                files.insert(path.to_owned(), text);
            }
        }
        Ok(Tree(files))
    }

    #[cfg(test)]
    pub(super) fn of(files: &[(&str, &str)]) -> Tree {
        Tree(files.iter().map(|(path, text)| ((*path).to_owned(), (*text).to_owned())).collect())
    }

    pub(super) fn len(&self) -> usize {
        self.0.len()
    }

    pub(super) fn get(&self, path: &str) -> Option<&str> {
        self.0.get(path).map(String::as_str)
    }

    pub(super) fn files(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0.iter().map(|(path, text)| (path.as_str(), text.as_str()))
    }

    /// Files whose name ends in one of these.
    pub(super) fn ending(&self, ends: &'static [&'static str]) -> impl Iterator<Item = (&str, &str)> {
        self.files().filter(move |(path, _)| ends.iter().any(|end| path.ends_with(end)))
    }
}
