//! What must not stand in the tree: paths of one developer's machine, and hosts of package registries.
//!
//! A registry is named by its client's own settings, so that a mirror serves as well. Lock files of cargo are left
//! out: cargo writes the name of its index into them on every machine.

use super::Breach;
use super::tree::Tree;

/// Written in two pieces, so that this file does not find itself.
const STRANGERS: [(&str, &str); 9] = [
    (concat!("/wo", "rk/"), "a path of one machine"),
    (concat!("/fa", "rm/"), "a path of one machine"),
    (concat!("/ro", "ot/"), "a path of one machine"),
    (concat!("/ho", "me/"), "a path of one machine"),
    (concat!("registry", ".npm"), "the host of a registry"),
    (concat!("deb", ".deb"), "the host of a registry"),
    (concat!("pypi", ".o"), "the host of a registry"),
    (concat!("static", ".crate"), "the host of a registry"),
    (concat!("index", ".crate"), "the host of a registry"),
];

pub(super) fn check(tree: &Tree) -> Vec<Breach> {
    let mut breaches = Vec::new();
    for (path, text) in tree.files().filter(|(path, _)| !path.ends_with("Cargo.lock")) {
        for (index, line) in text.lines().enumerate() {
            for (stranger, what) in STRANGERS {
                if stands_in(line, stranger) {
                    breaches.push(Breach::on_line(path, index + 1, format!("{what}: `{stranger}`")));
                }
            }
        }
    }
    breaches
}

/// Whether the text is there, and where it begins with a slash, as the beginning of a path.
fn stands_in(line: &str, stranger: &str) -> bool {
    let continues = |before: &str| before.ends_with(|c: char| c.is_alphanumeric() || "_-.})".contains(c));
    let mut found = line.match_indices(stranger);
    found.any(|(at, _)| !stranger.starts_with('/') || !continues(&line[..at]))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_planted_path_and_a_planted_host_are_found() {
        let script = format!("cd {}x\nfine\ncurl https://{}js.org\n", STRANGERS[0].0, STRANGERS[4].0);
        let found =
            check(&Tree::of(&[("a.sh", &script), ("Cargo.lock", &script), ("b.md", "the work at hand\n")]));
        let inner = format!("config=$dir{}x\n", STRANGERS[3].0);
        assert_eq!(check(&Tree::of(&[("c.sh", &inner)])), [], "a folder of that name elsewhere");
        let places: Vec<_> = found.iter().map(|breach| (breach.path.as_str(), breach.line)).collect();
        assert_eq!(places, [("a.sh", 1), ("a.sh", 3)]);
    }
}
