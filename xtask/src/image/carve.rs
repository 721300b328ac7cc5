//! The package `relaybox-carved`: single files of Debian's packages, without all that those would bring along. It stands
//! for them, so that dpkg knows what is installed and `relayd`'s own package goes in unchanged.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, ensure};

use super::lock::Locked;
use super::pool::Pool;
use super::recipe::{Board, Recipe};
use crate::command;

pub(super) fn pack(
    recipe: &Recipe,
    board: &Board,
    locked: &[Locked],
    pool: &Pool,
    epoch: u64,
    dir: &Path,
) -> Result<PathBuf> {
    let (whole, tree) = (dir.join("carved.whole"), dir.join("carved.tree"));
    for folder in [&whole, &tree] {
        if folder.exists() {
            fs::remove_dir_all(folder).with_context(|| format!("clearing {}", folder.display()))?;
        }
    }
    let mut provides = Vec::new();
    for carved in recipe.carved.iter().chain(&board.carved) {
        let package = locked.iter().find(|package| package.name == carved.package);
        let package = package.with_context(|| format!("{} is not locked", carved.package))?;
        command::output(command::program("dpkg-deb").arg("--extract").arg(pool.path(package)).arg(&whole))?;
        for wanted in &carved.files {
            let wanted = wanted.replace("LIB", board.libraries());
            take(&whole, &tree, &wanted)
                .with_context(|| format!("from {} {}", package.name, package.version))?;
        }
        // Whoever got a file of it got its license as well.
        take(&whole, &tree, &format!("usr/share/doc/{}/copyright", package.name)).ok();
        if carved.stands_for {
            provides.push(format!("{} (= {})", package.name, package.version));
        }
        fs::remove_dir_all(&whole).with_context(|| format!("clearing {}", whole.display()))?;
    }
    let control = tree.join("DEBIAN");
    fs::create_dir(&control).context("a folder for the control file")?;
    let text = format!(
        "Package: relaybox-carved\nVersion: 1\nArchitecture: {}\nMaintainer: The Relaybox maintainers \
         <maintainers@relaybox.invalid>\nProvides: {}\nConflicts: grub-common\nSection: net\nPriority: optional\n\
         Description: the few files of larger packages that a box uses\n",
        board.arch.name(),
        provides.join(", ")
    );
    fs::write(control.join("control"), text).context("writing the control file")?;
    let package = dir.join(format!("relaybox-carved_{}.deb", board.arch.name()));
    let mut build = command::program("dpkg-deb");
    build.args(["--root-owner-group", "-Zgzip", "-z1", "--build"]).arg(&tree).arg(&package);
    command::output(build.env("SOURCE_DATE_EPOCH", epoch.to_string()))?;
    fs::remove_dir_all(&tree).with_context(|| format!("clearing {}", tree.display()))?;
    Ok(package)
}

/// Moves what has this name; a star at its end stands for any rest.
fn take(from: &Path, to: &Path, wanted: &str) -> Result<()> {
    let (folder, name) = wanted.rsplit_once('/').context("a path has a folder")?;
    let mut found = 0;
    for entry in fs::read_dir(from.join(folder)).with_context(|| format!("it has no {folder}"))? {
        let entry = entry.with_context(|| format!("reading {folder}"))?;
        let own = entry.file_name().to_string_lossy().into_owned();
        let matches = name.strip_suffix('*').map_or(own == name, |start| own.starts_with(start));
        if matches {
            let target = to.join(folder);
            folders(to, folder)?;
            fs::rename(entry.path(), target.join(own)).with_context(|| format!("taking {wanted}"))?;
            found += 1;
        }
    }
    ensure!(found > 0, "it has no {wanted}");
    Ok(())
}

/// Folders that everybody may enter, whatever our umask says.
fn folders(to: &Path, folder: &str) -> Result<()> {
    use std::os::unix::fs::DirBuilderExt as _;
    let path = to.join(folder);
    let made = fs::DirBuilder::new().recursive(true).mode(0o755).create(&path);
    made.with_context(|| format!("making {}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_named_is_taken() {
        let dir = std::env::temp_dir().join(format!("xtask-carve-{}", std::process::id()));
        fs::create_dir_all(dir.join("from/lib")).unwrap();
        for name in ["a.so.0", "a.so.0.1", "b.so"] {
            fs::write(dir.join("from/lib").join(name), "").unwrap();
        }
        take(&dir.join("from"), &dir.join("to"), "lib/a.so.0*").unwrap();
        assert_eq!(fs::read_dir(dir.join("to/lib")).unwrap().count(), 2);
        let error = take(&dir.join("from"), &dir.join("to"), "lib/c.so").unwrap_err();
        assert_eq!(error.to_string(), "it has no lib/c.so");
        fs::remove_dir_all(&dir).unwrap();
    }
}
