//! Rules about source files: they open by saying what they are for, stay short, have a noun for a name, and are
//! safe.

use super::exceptions::Exceptions;
use super::imports::Table;
use super::tree::Tree;
use super::{Breach, code};

const LINES_MAX: usize = 500;

/// What counts as source, and has to stay short.
const SOURCES: &[&str] = &[".rs", ".ts", ".mjs", ".js", ".css", ".html", ".sh"];

/// Names that say nothing of what is inside.
const EMPTY_NAMES: [&str; 9] =
    ["utils", "util", "common", "helpers", "helper", "misc", "types", "manager", "managers"];

pub(super) fn check(table: &Table, exceptions: &Exceptions, tree: &Tree) -> Vec<Breach> {
    let mut breaches = Vec::new();
    breaches.extend(headers(tree));
    breaches.extend(lengths(exceptions, tree));
    breaches.extend(names(tree));
    breaches.extend(unsafety(table, tree));
    breaches
}

fn headers(tree: &Tree) -> Vec<Breach> {
    let bare = tree.ending(&[".rs"]).filter(|(_, text)| !text.starts_with("//! "));
    bare.map(|(path, _)| {
        Breach::on_line(path, 1, "opens without `//!`: what is it for, and what does it refuse?")
    })
    .collect()
}

fn lengths(exceptions: &Exceptions, tree: &Tree) -> Vec<Breach> {
    let mut breaches = Vec::new();
    for (path, text) in tree.ending(SOURCES) {
        let allowed =
            exceptions.long.iter().find(|long| long.path == path).map_or(LINES_MAX, |long| long.lines);
        let lines = text.lines().count();
        if lines > allowed {
            breaches.push(Breach::in_file(path, format!("{lines} lines, more than {allowed}")));
        }
    }
    for long in &exceptions.long {
        let lines = tree.get(&long.path).map_or(0, |text| text.lines().count());
        if lines <= LINES_MAX {
            breaches.push(Breach::in_file(
                &long.path,
                "needs no exception for its length: take it out of xtask/tidy.toml",
            ));
        }
        if long.reason.split_whitespace().count() < 3 {
            breaches.push(Breach::in_file(&long.path, "its exception for length carries no reason"));
        }
    }
    breaches
}

fn names(tree: &Tree) -> Vec<Breach> {
    let mut breaches = Vec::new();
    for (path, _) in tree.ending(SOURCES) {
        if path.ends_with("/mod.rs") {
            breaches.push(Breach::in_file(path, "`foo.rs` beside `foo/`, no `mod.rs`"));
        }
        let stems = path.split('/').map(|name| name.split('.').next().unwrap_or(name));
        if let Some(empty) = stems.into_iter().find(|stem| EMPTY_NAMES.contains(stem)) {
            breaches.push(Breach::in_file(
                path,
                format!("`{empty}` names nothing: if it has no noun, it has no home"),
            ));
        }
    }
    breaches
}

fn unsafety(table: &Table, tree: &Tree) -> Vec<Breach> {
    let mut breaches = Vec::new();
    for (path, text) in tree.ending(&[".rs"]).filter(|(path, _)| !table.allows_unsafe(path)) {
        for line in code::lines_with_word(&code::only(text), "unsafe") {
            breaches.push(Breach::on_line(path, line, "unsafe code outside the rooms that may have it"));
        }
    }
    breaches
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tidy::exceptions::Long;

    fn table() -> Table {
        Table::parse(
            "[cores]\npackages = []\n
             [rooms.dataplane]\npath = \"firmware/dataplane\"\nkind = \"shell\"\nimports = []\nunsafe = true\n
             [rooms.store]\npath = \"firmware/store\"\nkind = \"shell\"\nimports = []\n",
        )
        .unwrap()
    }

    fn check(files: &[(&str, &str)], expected: &[&str]) {
        let found = super::check(&table(), &Exceptions::default(), &Tree::of(files));
        assert_eq!(found.iter().map(ToString::to_string).collect::<Vec<_>>(), expected);
    }

    #[test]
    fn a_file_without_a_purpose_is_found() {
        check(
            &[("a/src/lib.rs", "//! A thing.\n"), ("a/src/b.rs", "use std::fmt;\n")],
            &["a/src/b.rs:1: opens without `//!`: what is it for, and what does it refuse?"],
        );
    }

    #[test]
    fn a_name_without_a_noun_is_found() {
        check(
            &[
                ("web/src/utils.ts", ""),
                ("a/src/commonplace.rs", "//! Fine.\n"),
                ("a/helpers/x.rs", "//! X.\n"),
                ("a/x/mod.rs", "//! X.\n"),
            ],
            &[
                "a/helpers/x.rs: `helpers` names nothing: if it has no noun, it has no home",
                "a/x/mod.rs: `foo.rs` beside `foo/`, no `mod.rs`",
                "web/src/utils.ts: `utils` names nothing: if it has no noun, it has no home",
            ],
        );
    }

    #[test]
    fn unsafe_code_is_found_where_it_may_not_be() {
        let source = "//! About unsafe.\nfn f() {\n    unsafe { g() }\n}\n";
        check(
            &[("firmware/dataplane/src/tun.rs", source), ("firmware/store/src/disk.rs", source)],
            &["firmware/store/src/disk.rs:3: unsafe code outside the rooms that may have it"],
        );
    }

    #[test]
    fn a_long_file_is_found_unless_it_has_a_reason() {
        let long = format!("//! Long.\n{}", "// x\n".repeat(600));
        check(&[("a/long.rs", &long)], &["a/long.rs: 601 lines, more than 500"]);
        let exception =
            |path: &str, lines, reason: &str| Long { path: path.into(), lines, reason: reason.into() };
        let excused = Exceptions { long: vec![exception("a/long.rs", 650, "one table of codes, in order")] };
        assert_eq!(lengths(&excused, &Tree::of(&[("a/long.rs", &long)])), []);
        let stale = Exceptions { long: vec![exception("a/short.rs", 650, "")] };
        assert_eq!(lengths(&stale, &Tree::of(&[("a/short.rs", "//! Short.\n")])).len(), 2);
    }
}
