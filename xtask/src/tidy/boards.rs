//! Whether docs/boards.md speaks of the images as they are: it carries a mark of the files that they are made of, so that
//! whoever changes one of them has to say there what was run since, or that nothing was.

use sha2::{Digest as _, Sha256};

use super::Breach;
use super::tree::Tree;

const PAGE: &str = "docs/boards.md";
const SOURCES: [&str; 3] = ["board/", "image/", "systemd/"];
const BEFORE: &str = "Said of the files with the mark `";
/// Enough to tell two states apart.
const DIGITS: usize = 12;

pub(super) fn check(tree: &Tree) -> Vec<Breach> {
    let Some(page) = tree.get(PAGE) else { return Vec::new() };
    let found = mark(tree);
    let (line, said) = page
        .lines()
        .enumerate()
        .find_map(|(index, line)| Some((index + 1, line.strip_prefix(BEFORE)?.split('`').next()?)))
        .unwrap_or((1, "none"));
    if said == found {
        return Vec::new();
    }
    let what = format!(
        "board/, image/ or systemd/ changed since (mark {said}): say what was run since, or that nothing was, and \
         set the mark to {found}"
    );
    vec![Breach::on_line(PAGE, line, what)]
}

fn mark(tree: &Tree) -> String {
    let mut hasher = Sha256::new();
    let sources = tree.files().filter(|(path, _)| SOURCES.iter().any(|folder| path.starts_with(folder)));
    for (path, text) in sources {
        // Lengths first, so that no two trees are one text.
        hasher.update((path.len() as u64).to_le_bytes());
        hasher.update(path);
        hasher.update((text.len() as u64).to_le_bytes());
        hasher.update(text);
    }
    let mut digits = data_encoding::HEXLOWER.encode(&hasher.finalize());
    digits.truncate(DIGITS);
    digits
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_change_has_to_be_spoken_of() {
        let files = [("image/fstab", "a\n"), ("systemd/x.service", "b\n"), ("xtask/src/x.rs", "c\n")];
        let mark = mark(&Tree::of(&files));
        let page = format!("# Boards\n\n{BEFORE}{mark}`.\n");
        let with = |files: &[(&str, &str)]| check(&Tree::of(&[files, &[(PAGE, page.as_str())]].concat()));
        assert_eq!(with(&files), []);
        assert_eq!(with(&[files[0], files[1], ("xtask/src/x.rs", "d\n")]), [], "no image is made of that");
        let found = with(&[("image/fstab", "z\n"), files[1]]);
        assert_eq!(found.len(), 1);
        assert!(found[0].to_string().starts_with("docs/boards.md:3: board/, image/ or systemd/ changed"));
    }
}
