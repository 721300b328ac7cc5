//! Rules about manifests: versions stand in the root alone, and every crate takes the workspace's lints.

use anyhow::{Context as _, Result};
use toml::{Table as Toml, Value};

use super::Breach;
use super::imports::{Graph, Table};
use super::tree::Tree;

const DEPENDENCIES: [&str; 3] = ["dependencies", "dev-dependencies", "build-dependencies"];

pub(super) fn check(table: &Table, graph: &Graph, tree: &Tree) -> Result<Vec<Breach>> {
    let mut breaches = Vec::new();
    for room in &graph.rooms {
        let path = format!("{}/Cargo.toml", room.path);
        // A member that git does not see yet is judged when it does.
        let Some(text) = tree.get(&path) else { continue };
        let manifest: Toml = toml::from_str(text).with_context(|| format!("{path} is not TOML"))?;
        breaches.extend(one(&path, &manifest, table.allows_unsafe(&path)));
    }
    Ok(breaches)
}

fn one(path: &str, manifest: &Toml, own_lints: bool) -> Vec<Breach> {
    let mut breaches = Vec::new();
    for (name, dependency) in dependencies(manifest) {
        if !inherits(dependency) && !is_itself(dependency) {
            breaches
                .push(Breach::in_file(path, format!("{name}: versions stand in the workspace root alone")));
        }
    }
    for key in ["version", "edition", "license", "rust-version"] {
        if !manifest.get("package").and_then(|package| package.get(key)).is_some_and(inherits) {
            breaches.push(Breach::in_file(
                path,
                format!("package.{key} is the workspace's: `{key}.workspace = true`"),
            ));
        }
    }
    if !own_lints && !manifest.get("lints").is_some_and(inherits) {
        breaches.push(Breach::in_file(path, "takes the workspace's lints: `[lints] workspace = true`"));
    }
    breaches
}

/// All dependencies of all kinds, also those of one target only.
fn dependencies(manifest: &Toml) -> Vec<(&str, &Value)> {
    let targets = manifest.get("target").and_then(Value::as_table);
    let targets = targets.into_iter().flat_map(Toml::values).filter_map(Value::as_table);
    let tables = std::iter::once(manifest).chain(targets);
    let tables = tables.flat_map(|table| DEPENDENCIES.iter().filter_map(|kind| table.get(*kind)?.as_table()));
    tables.flat_map(|table| table.iter().map(|(name, value)| (name.as_str(), value))).collect()
}

fn inherits(value: &Value) -> bool {
    value.get("workspace").and_then(Value::as_bool) == Some(true)
}

/// A crate that turns on features of its own for its tests.
fn is_itself(dependency: &Value) -> bool {
    dependency.get("path").and_then(Value::as_str) == Some(".") && dependency.get("version").is_none()
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str = "
        [package]\nname = \"store\"\nversion.workspace = true\nedition.workspace = true
        license.workspace = true\nrust-version.workspace = true
        [lints]\nworkspace = true
        [dependencies]\nbytes = { workspace = true, features = [\"std\"] }\n";

    fn check(text: &str, expected: &[&str]) {
        let found = one("a/Cargo.toml", &toml::from_str(text).unwrap(), false);
        assert_eq!(found.iter().map(ToString::to_string).collect::<Vec<_>>(), expected);
    }

    #[test]
    fn a_planted_version_is_found_wherever_it_stands() {
        check(GOOD, &[]);
        check(
            &format!("{GOOD}[dev-dependencies]\nstore = {{ path = \".\", features = [\"script\"] }}\n"),
            &[],
        );
        let planted = format!(
            "{GOOD}serde = \"1\"\n[dev-dependencies]\nx = {{ path = \"../x\" }}\n[target.'cfg(unix)'.dependencies]\nnix = {{ version = \"1\" }}\n"
        );
        check(
            &planted,
            &[
                "a/Cargo.toml: serde: versions stand in the workspace root alone",
                "a/Cargo.toml: x: versions stand in the workspace root alone",
                "a/Cargo.toml: nix: versions stand in the workspace root alone",
            ],
        );
    }

    #[test]
    fn lints_and_edition_of_its_own_are_found() {
        check(
            &GOOD
                .replace("[lints]\nworkspace = true", "")
                .replace("edition.workspace = true", "edition = \"2021\""),
            &[
                "a/Cargo.toml: package.edition is the workspace's: `edition.workspace = true`",
                "a/Cargo.toml: takes the workspace's lints: `[lints] workspace = true`",
            ],
        );
    }
}
