//! What cargo knows of our crates, cut down to what the rules ask.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use anyhow::{Context as _, Result};
use cargo_metadata::{DependencyKind, Metadata, MetadataCommand, Package, PackageId};

#[derive(Clone, Debug, Default)]
pub(in crate::tidy) struct Graph {
    pub(in crate::tidy) rooms: Vec<Room>,
}

/// One crate of the workspace.
#[derive(Clone, Debug)]
pub(in crate::tidy) struct Room {
    pub(in crate::tidy) name: String,
    /// Its folder, from the root.
    pub(in crate::tidy) path: String,
    pub(in crate::tidy) dependencies: Vec<Dependency>,
    /// Packages of others that it gets through packages of others, with every feature on.
    pub(in crate::tidy) reaches: BTreeSet<String>,
}

#[derive(Clone, Debug)]
pub(in crate::tidy) struct Dependency {
    /// The package's own name, whatever it is called in the manifest.
    pub(in crate::tidy) package: String,
    pub(in crate::tidy) is_ours: bool,
    pub(in crate::tidy) is_for_tests: bool,
    pub(in crate::tidy) default_features: bool,
    pub(in crate::tidy) features: Vec<String>,
}

impl Graph {
    pub(in crate::tidy) fn read(root: &Path) -> Result<Graph> {
        let metadata = MetadataCommand::new()
            .manifest_path(root.join("Cargo.toml"))
            .other_options(
                ["--locked", "--all-features", "--filter-platform", "x86_64-unknown-linux-gnu"]
                    .map(Into::into),
            )
            .exec()
            .context("cargo metadata failed")?;
        Graph::from_metadata(&metadata)
    }

    fn from_metadata(metadata: &Metadata) -> Result<Graph> {
        let ours: BTreeSet<&PackageId> = metadata.workspace_members.iter().collect();
        let names: BTreeMap<&PackageId, &str> =
            metadata.packages.iter().map(|package| (&package.id, package.name.as_str())).collect();
        let resolve = metadata.resolve.as_ref().context("cargo metadata resolved nothing")?;
        let edges: BTreeMap<&PackageId, &[PackageId]> =
            resolve.nodes.iter().map(|node| (&node.id, node.dependencies.as_slice())).collect();
        let mut rooms = Vec::new();
        for package in metadata.packages.iter().filter(|package| ours.contains(&package.id)) {
            let folder = package.manifest_path.parent().context("a manifest without a folder")?;
            let path =
                folder.strip_prefix(&metadata.workspace_root).context("a member outside of the workspace")?;
            let reached = walk(&package.id, &ours, &edges);
            rooms.push(Room {
                name: package.name.to_string(),
                path: path.to_string(),
                dependencies: dependencies(package, metadata),
                reaches: reached
                    .iter()
                    .filter_map(|id| names.get(id))
                    .map(|name| (*name).to_owned())
                    .collect(),
            });
        }
        Ok(Graph { rooms })
    }
}

fn dependencies(package: &Package, metadata: &Metadata) -> Vec<Dependency> {
    let is_ours =
        |name: &str| metadata.workspace_packages().iter().any(|member| member.name.as_str() == name);
    let one = |dependency: &cargo_metadata::Dependency| Dependency {
        package: dependency.name.clone(),
        is_ours: dependency.path.is_some() && is_ours(&dependency.name),
        is_for_tests: dependency.kind == DependencyKind::Development,
        default_features: dependency.uses_default_features,
        features: dependency.features.clone(),
    };
    package.dependencies.iter().map(one).collect()
}

/// Everything behind a room that is not behind another room.
fn walk<'a>(
    from: &'a PackageId,
    ours: &BTreeSet<&PackageId>,
    edges: &BTreeMap<&PackageId, &'a [PackageId]>,
) -> BTreeSet<&'a PackageId> {
    let mut seen = BTreeSet::new();
    let mut open = vec![from];
    while let Some(id) = open.pop() {
        for next in edges.get(id).copied().unwrap_or_default() {
            if !ours.contains(next) && seen.insert(next) {
                open.push(next);
            }
        }
    }
    seen
}
