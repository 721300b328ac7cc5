//! The files of a package, laid out as they will lie on the machine.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};

use super::recipe::Recipe;
use crate::command;

/// Lays out anew below `stage`.
pub(super) fn lay_out(recipe: &Recipe, binaries: &Path, stage: &Path) -> Result<PathBuf> {
    if stage.exists() {
        fs::remove_dir_all(stage).with_context(|| format!("clearing {}", stage.display()))?;
    }
    folder(stage)?;
    for (name, to) in &recipe.binaries {
        place(&binaries.join(name), &below(stage, &format!("{to}/{name}")), 0o755)?;
    }
    for (from, to) in &recipe.files {
        place(&command::root().join(from), &below(stage, to), 0o644)?;
    }
    changelog(recipe, stage)?;
    Ok(stage.to_owned())
}

/// Takes the symbols out of debug builds; others have none.
pub(super) fn strip(recipe: &Recipe, stage: &Path) -> Result<()> {
    for (name, to) in &recipe.binaries {
        let mut strip = command::program("strip");
        strip.args(["--strip-all", "--remove-section=.comment"]);
        command::output(strip.arg(below(stage, &format!("{to}/{name}"))))?;
    }
    Ok(())
}

/// Where a path of the machine lies while it is packed.
pub(super) fn below(stage: &Path, path: &str) -> PathBuf {
    stage.join(path.trim_start_matches('/'))
}

/// A folder that everybody may enter, whatever our umask says.
pub(super) fn folder(path: &Path) -> Result<()> {
    if path.is_dir() {
        return Ok(());
    }
    if let Some(parent) = path.parent() {
        folder(parent)?;
    }
    fs::create_dir(path).with_context(|| format!("making {}", path.display()))?;
    fs::set_permissions(path, fs::Permissions::from_mode(0o755))
        .with_context(|| format!("opening {} to all", path.display()))
}

fn place(from: &Path, to: &Path, mode: u32) -> Result<()> {
    folder(to.parent().context("a file lies in a folder")?)?;
    fs::copy(from, to).with_context(|| format!("could not copy {} to {}", from.display(), to.display()))?;
    fs::set_permissions(to, fs::Permissions::from_mode(mode))
        .with_context(|| format!("setting the rights of {}", to.display()))
}

/// Debian wants it packed, and the same bytes each time.
fn changelog(recipe: &Recipe, stage: &Path) -> Result<()> {
    let to = below(stage, &format!("/usr/share/doc/{}/changelog", recipe.name));
    place(&command::root().join("CHANGELOG.md"), &to, 0o644)?;
    command::output(command::program("gzip").args(["--best", "--no-name"]).arg(&to)).map(drop)
}
