//! What dpkg reads of a package: its name and needs, its settings files, the scripts around it.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use anyhow::{Context as _, Result};

use super::recipe::Recipe;
use super::{Arch, tree};
use crate::{command, cross};

/// Makes the user and the folders; any of them will do.
const SYSUSERS: &str = "systemd | systemd-standalone-sysusers | systemd-sysusers";

const SCRIPTS: [&str; 3] = ["postinst", "prerm", "postrm"];

/// The packages whose libraries the binaries are linked with, with the versions that they need.
pub(super) fn libraries(recipe: &Recipe, stage: &Path, crossed: Option<&cross::Shipped>) -> Result<String> {
    let linked: Vec<String> =
        recipe.binaries.iter().map(|(name, to)| format!("{}/{name}", to.trim_start_matches('/'))).collect();
    // dpkg-shlibdeps wants to see a source package around it.
    let source = stage.join("debian");
    fs::create_dir(&source).context("a folder for dpkg-shlibdeps")?;
    fs::write(
        source.join("control"),
        format!("Source: {0}\n\nPackage: {0}\nArchitecture: any\n", recipe.name),
    )
    .context("a source for dpkg-shlibdeps")?;
    let mut words = vec!["dpkg-shlibdeps", "-O", "--ignore-missing-info"];
    words.extend(linked.iter().map(String::as_str));
    let said = match crossed {
        Some(crossed) => crossed.run(stage, &words)?,
        None => command::output(command::program(words[0]).args(&words[1..]).current_dir(stage))?,
    };
    fs::remove_dir_all(&source).context("clearing up after dpkg-shlibdeps")?;
    let depends = said.lines().find_map(|line| line.strip_prefix("shlibs:Depends="));
    Ok(depends.context("dpkg-shlibdeps names no library")?.to_owned())
}

/// The folder DEBIAN.
pub(super) fn write(recipe: &Recipe, stage: &Path, version: &str, arch: Arch, libraries: &str) -> Result<()> {
    let text = text(recipe, version, arch, libraries, installed_kib(stage)?);
    let control = stage.join("DEBIAN");
    tree::folder(&control)?;
    fs::write(control.join("control"), text).context("writing the control file")?;
    let settings: String = recipe.settings().map(|path| format!("{path}\n")).collect();
    fs::write(control.join("conffiles"), settings).context("writing the list of settings files")?;
    for script in SCRIPTS {
        let template = command::root().join("packages").join(script);
        let template = fs::read_to_string(&template)
            .with_context(|| format!("could not read {}", template.display()))?;
        let path = control.join(script);
        fs::write(&path, recipe.script(&template)).with_context(|| format!("writing {script}"))?;
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755))
            .with_context(|| format!("making {script} executable"))?;
    }
    Ok(())
}

fn text(recipe: &Recipe, version: &str, arch: Arch, libraries: &str, kib: u64) -> String {
    let needs: Vec<&str> =
        [libraries, SYSUSERS].into_iter().chain(recipe.depends.iter().map(String::as_str)).collect();
    let description: String = recipe.description.trim().lines().map(|line| format!(" {line}\n")).collect();
    format!(
        "Package: {}\nVersion: {version}\nArchitecture: {}\nMaintainer: The Relaybox maintainers <maintainers@relaybox.invalid>\n\
         Installed-Size: {kib}\nDepends: {}\nSection: net\nPriority: optional\nDescription: {}\n{description}",
        recipe.name,
        arch.name(),
        needs.join(", "),
        recipe.summary,
    )
}

/// As Debian counts it: each file rounded up, and one for each folder.
fn installed_kib(folder: &Path) -> Result<u64> {
    let mut kib = 1;
    for entry in fs::read_dir(folder).with_context(|| format!("reading {}", folder.display()))? {
        let entry = entry.with_context(|| format!("reading {}", folder.display()))?;
        let meta = entry.metadata().with_context(|| format!("looking at {}", entry.path().display()))?;
        kib += if meta.is_dir() { installed_kib(&entry.path())? } else { meta.len().div_ceil(1024) };
    }
    Ok(kib)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_control_file_reads_as_debian_wants_it() {
        let recipe = Recipe::read("coordinator-lite").unwrap();
        let text = text(&recipe, "1.2.3", Arch::Arm64, "libc6 (>= 2.36)", 9);
        let mut lines = text.lines();
        assert_eq!(lines.next(), Some("Package: coordinator-lite"));
        assert_eq!(lines.next(), Some("Version: 1.2.3"));
        assert_eq!(lines.next(), Some("Architecture: arm64"));
        assert!(text.contains(
            "\nDepends: libc6 (>= 2.36), systemd | systemd-standalone-sysusers | systemd-sysusers\n"
        ));
        assert!(
            text.lines()
                .skip_while(|line| !line.starts_with("Description: "))
                .skip(1)
                .all(|line| { line.starts_with(' ') && line.len() > 1 && line.len() <= 80 })
        );
        assert!(text.ends_with('\n') && !text.contains("\n\n"));
    }
}
