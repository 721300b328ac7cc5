//! The import table, `imports.toml`, held against what cargo says the crates really import.
//!
//! Every kind of dependency counts, also optional ones and those of tests: an edge is an edge.

mod graph;

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::{Context as _, Result};
use serde::Deserialize;

use super::Breach;
use super::tree::Tree;
pub(super) use graph::{Dependency, Graph, Room};

const TABLE: &str = "imports.toml";

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Table {
    cores: Cores,
    rooms: BTreeMap<String, Rule>,
    #[serde(default)]
    alone: Vec<Alone>,
}

/// What cores may take from outside.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Cores {
    packages: Vec<String>,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Rule {
    path: String,
    kind: Kind,
    imports: Vec<String>,
    #[serde(default, rename = "unsafe")]
    allows_unsafe: bool,
}

#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "lowercase")]
enum Kind {
    Core,
    Shell,
    Binary,
    Dev,
}

/// Packages that belong to some rooms alone. A `*` at the end of a name stands for anything.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Alone {
    packages: Vec<String>,
    rooms: Vec<String>,
    reach: Reach,
}

#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "lowercase")]
enum Reach {
    /// Only naming it in the manifest counts
    Direct,
    /// Getting it through another package counts too
    Any,
}

impl Table {
    pub(super) fn read(path: &Path) -> Result<Table> {
        let text =
            std::fs::read_to_string(path).with_context(|| format!("could not read {}", path.display()))?;
        Table::parse(&text)
    }

    pub(super) fn parse(text: &str) -> Result<Table> {
        toml::from_str(text).with_context(|| format!("{TABLE} is not as it should be"))
    }

    /// Whether the file lies in a room that may have unsafe code.
    pub(super) fn allows_unsafe(&self, file: &str) -> bool {
        self.rooms.values().any(|rule| rule.allows_unsafe && is_below(file, &rule.path))
    }
}

impl Alone {
    fn covers(&self, package: &str) -> bool {
        self.packages.iter().any(|pattern| match pattern.strip_suffix('*') {
            Some(start) => package.starts_with(start),
            None => package == pattern,
        })
    }
}

/// Edges among our rooms, and packages outside the room they belong to.
pub(super) fn check(table: &Table, graph: &Graph) -> Vec<Breach> {
    let mut breaches = Vec::new();
    for room in &graph.rooms {
        let manifest = format!("{}/Cargo.toml", room.path);
        let Some(rule) = table.rooms.get(&room.name) else {
            breaches.push(Breach::in_file(&manifest, format!("the room `{}` is not in {TABLE}", room.name)));
            continue;
        };
        if rule.path != room.path {
            breaches
                .push(Breach::in_file(&manifest, format!("{TABLE} has `{}` at {}", room.name, rule.path)));
        }
        for dependency in room.dependencies.iter().filter(|dependency| dependency.is_ours) {
            // A crate may turn on features of its own for its tests.
            if dependency.package != room.name && !rule.imports.contains(&dependency.package) {
                let what = format!("`{}` may not import `{}`", room.name, dependency.package);
                breaches.push(Breach::in_file(&manifest, what));
            }
        }
        for alone in table.alone.iter().filter(|alone| !alone.rooms.contains(&room.name)) {
            breaches.extend(trespasses(alone, room, &manifest));
        }
    }
    breaches
}

fn trespasses(alone: &Alone, room: &Room, manifest: &str) -> Vec<Breach> {
    let rooms = alone.rooms.join(", ");
    let named = room.dependencies.iter().filter(|dependency| alone.covers(&dependency.package));
    let named: Vec<_> = named
        .map(|dependency| Breach::in_file(manifest, format!("`{}` is for {rooms} alone", dependency.package)))
        .collect();
    if !named.is_empty() || alone.reach == Reach::Direct {
        return named;
    }
    let reached = room.reaches.iter().find(|package| alone.covers(package));
    let reached = reached
        .map(|package| format!("reaches `{package}` through another package; it is for {rooms} alone"));
    reached.map(|what| Breach::in_file(manifest, what)).into_iter().collect()
}

/// Cores take only what is listed, without std, and say so in their sources.
pub(super) fn check_cores(table: &Table, graph: &Graph, tree: &Tree) -> Vec<Breach> {
    let is_core = |room: &&Room| table.rooms.get(&room.name).is_some_and(|rule| rule.kind == Kind::Core);
    let mut breaches = Vec::new();
    for room in graph.rooms.iter().filter(is_core) {
        let manifest = format!("{}/Cargo.toml", room.path);
        let shipped =
            room.dependencies.iter().filter(|dependency| !dependency.is_ours && !dependency.is_for_tests);
        for Dependency { package, default_features, features, .. } in shipped {
            if !table.cores.packages.contains(package) {
                breaches.push(Breach::in_file(
                    &manifest,
                    format!("`{package}` is not among the packages of cores"),
                ));
            } else if *default_features || features.iter().any(|feature| feature == "std") {
                breaches.push(Breach::in_file(&manifest, format!("a core takes `{package}` without std")));
            }
        }
        let library = format!("{}/src/lib.rs", room.path);
        if !tree.get(&library).is_some_and(|text| text.lines().any(|line| line == "#![no_std]")) {
            breaches.push(Breach::in_file(&library, "a core is `#![no_std]`"));
        }
        let clippy = format!("{}/clippy.toml", room.path);
        if !tree.get(&clippy).is_some_and(|text| text.contains("disallowed-methods")) {
            breaches.push(Breach::in_file(
                &clippy,
                "a core has a list of what clippy forbids: clocks, randomness, I/O",
            ));
        }
    }
    breaches
}

fn is_below(file: &str, folder: &str) -> bool {
    file.strip_prefix(folder).is_some_and(|rest| rest.starts_with('/'))
}

#[cfg(test)]
mod tests;
