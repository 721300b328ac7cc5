//! What a package is made of, as `packages/NAME.toml` says it.

use std::collections::BTreeMap;

use anyhow::{Context as _, Result};
use serde::Deserialize;

use crate::command;

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Recipe {
    #[serde(skip)]
    pub(super) name: String,
    pub(super) summary: String,
    pub(super) description: String,
    /// Beside the libraries that its binaries are linked with.
    pub(super) depends: Vec<String>,
    /// Who its service runs as; also the name of its file for systemd-sysusers.
    pub(super) user: String,
    pub(super) home: String,
    /// Enabled and started.
    pub(super) units: Vec<String>,
    /// Left for the operator to enable.
    #[serde(default)]
    pub(super) optional_units: Vec<String>,
    #[serde(default)]
    pub(super) removed_with_home: Vec<String>,
    #[serde(default)]
    pub(super) before_removal: Option<String>,
    pub(super) welcome: String,
    /// Binary -> folder.
    pub(super) binaries: BTreeMap<String, String>,
    /// A file of the tree -> a path on the machine.
    pub(super) files: BTreeMap<String, String>,
}

impl Recipe {
    pub(super) fn read(name: &str) -> Result<Recipe> {
        let path = command::root().join("packages").join(name).with_extension("toml");
        let text =
            std::fs::read_to_string(&path).with_context(|| format!("could not read {}", path.display()))?;
        let recipe: Recipe =
            toml::from_str(&text).with_context(|| format!("{} is not as it should be", path.display()))?;
        Ok(Recipe { name: name.to_owned(), ..recipe })
    }

    /// What dpkg leaves alone when the operator changed it.
    pub(super) fn settings(&self) -> impl Iterator<Item = &str> {
        self.files.values().map(String::as_str).filter(|path| path.starts_with("/etc/"))
    }

    /// One of the scripts in `packages/`, filled in.
    pub(super) fn script(&self, template: &str) -> String {
        let units = self.units.join(" ");
        let (optional, others) = (self.optional_units.join(" "), self.removed_with_home.join(" "));
        let before_removal = self.before_removal.as_deref().unwrap_or("true");
        let fill = [
            ("@USER@", self.user.as_str()),
            ("@HOME@", &self.home),
            ("@UNITS@", &units),
            ("@OPTIONAL@", &optional),
            ("@OTHERS@", &others),
            ("@BEFORE_REMOVAL@", before_removal),
            ("@WELCOME@", self.welcome.trim()),
        ];
        fill.into_iter().fold(template.to_owned(), |text, (word, with)| text.replace(word, with))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::deb::PACKAGES;

    #[test]
    fn packages_ship_each_file_of_systemd_once() {
        let recipes: Vec<Recipe> = PACKAGES.iter().map(|name| Recipe::read(name).unwrap()).collect();
        let shipped: Vec<&String> = recipes.iter().flat_map(|recipe| recipe.files.keys()).collect();
        for entry in std::fs::read_dir(command::root().join("systemd")).unwrap() {
            let name = format!("systemd/{}", entry.unwrap().file_name().to_string_lossy());
            assert_eq!(shipped.iter().filter(|file| ***file == name).count(), 1, "{name}");
        }
        for recipe in &recipes {
            let to = format!("/usr/lib/sysusers.d/{}.conf", recipe.user);
            assert!(recipe.files.values().any(|path| *path == to), "the scripts make the user by {to}");
            for unit in recipe.units.iter().chain(&recipe.optional_units) {
                let from = format!("systemd/{unit}");
                assert!(recipe.files.contains_key(&from), "{} starts {unit}", recipe.name);
            }
        }
    }

    #[test]
    fn a_script_has_no_gap() {
        for name in PACKAGES {
            let recipe = Recipe::read(name).unwrap();
            for script in ["postinst", "prerm", "postrm"] {
                let path = command::root().join("packages").join(script);
                let filled = recipe.script(&std::fs::read_to_string(path).unwrap());
                let body = filled.lines().filter(|line| !line.starts_with('#'));
                assert!(!body.clone().any(|line| line.contains('@')), "{name}: {filled}");
                assert!(filled.starts_with("#!/bin/sh\n"));
            }
        }
    }
}
