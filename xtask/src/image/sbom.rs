//! What is in an image, for those who look for known faults in it: CycloneDX 1.6, in JSON.

use std::fs;

use anyhow::{Context as _, Result};
use serde::Deserialize;
use serde_json::{Value, json};

use super::lock::Locked;
use super::recipe::Board;
use crate::command;

#[derive(Deserialize)]
struct CargoLock {
    package: Vec<Crate>,
}

#[derive(Deserialize)]
struct Crate {
    name: String,
    version: String,
    /// None for those of this tree.
    source: Option<String>,
    checksum: Option<String>,
}

/// Debian's packages as they are locked, and the crates that our own programs may hold.
pub(super) fn of(board: &Board, suite: &str, version: &str, installed: &[&Locked]) -> Result<String> {
    let text = fs::read_to_string(command::root().join("Cargo.lock")).context("reading Cargo.lock")?;
    let crates: CargoLock = toml::from_str(&text).context("Cargo.lock is not as it should be")?;
    let mut components: Vec<Value> = installed.iter().map(|package| debian(package, suite)).collect();
    components.extend(crates.package.iter().filter(|one| one.source.is_some()).map(rust));
    let bom = json!({
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        "version": 1,
        "metadata": { "component": {
            "type": "operating-system", "name": format!("relaybox-{}", board.id), "version": version,
        } },
        "components": components,
    });
    Ok(serde_json::to_string_pretty(&bom).context("writing the list of parts")? + "\n")
}

fn debian(Locked { name, version, arch, sha256 }: &Locked, suite: &str) -> Value {
    // A purl escapes what has a meaning in it.
    let escaped = version.replace('%', "%25").replace('+', "%2B").replace(':', "%3A");
    json!({
        "type": "library", "name": name, "version": version,
        "purl": format!("pkg:deb/debian/{name}@{escaped}?arch={arch}&distro={suite}"),
        "hashes": [{ "alg": "SHA-256", "content": sha256 }],
    })
}

fn rust(Crate { name, version, checksum, .. }: &Crate) -> Value {
    let hashes: Vec<Value> = checksum.iter().map(|sum| json!({ "alg": "SHA-256", "content": sum })).collect();
    json!({
        "type": "library", "name": name, "version": version,
        "purl": format!("pkg:cargo/{name}@{version}"), "hashes": hashes,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_package_is_named_as_scanners_look_for_it() {
        let package = Locked {
            name: "libgmp10".into(),
            version: "2:6.3.0+dfsg-3".into(),
            arch: "amd64".into(),
            sha256: "d0".into(),
        };
        assert_eq!(
            debian(&package, "trixie")["purl"],
            "pkg:deb/debian/libgmp10@2%3A6.3.0%2Bdfsg-3?arch=amd64&distro=trixie"
        );
    }
}
