//! What Raspberry Pi Imager reads of an image: its manifest, as `os_list` (doc/json-schema in Imager's own tree).
//!
//! It has no `init_format`: with one, Imager asks for a user and a network and writes scripts for a system that ours is not.
//! The boards are listed as well, since Imager knows none beside a list that is not its own, and hides what is for others.

use std::path::Path;

use anyhow::{Context as _, Result};
use serde_json::{Value, json};

use super::mirror::hash;
use super::recipe::{Board, Imager};
use crate::command;

/// What is said of an image.
pub(super) struct Release<'a> {
    pub(super) board: &'a Board,
    pub(super) version: &'a str,
    /// Its day, as YYYY-MM-DD.
    pub(super) day: &'a str,
    /// Where the packed image will be found.
    pub(super) url: &'a str,
}

/// None for a board that Imager does not know.
pub(super) fn of(release: &Release<'_>, disk: &Path, packed: &Path) -> Result<Option<String>> {
    let Some(imager) = &release.board.imager else { return Ok(None) };
    let bytes = |path: &Path| -> Result<u64> {
        Ok(path.metadata().with_context(|| format!("looking at {}", path.display()))?.len())
    };
    let (extract, download) = ((bytes(disk)?, hash(disk)?), (bytes(packed)?, hash(packed)?));
    let text = serde_json::to_string_pretty(&manifest(release, imager, &extract, &download, &icon()?))
        .context("writing the manifest")?;
    Ok(Some(text + "\n"))
}

fn manifest(
    Release { version, day, url, .. }: &Release<'_>,
    Imager { description, devices }: &Imager,
    extract: &(u64, String),
    download: &(u64, String),
    icon: &str,
) -> Value {
    let tags: Vec<&str> = devices.iter().map(|device| device.tag.as_str()).collect();
    let known: Vec<Value> = devices
        .iter()
        .map(|device| {
            json!({
                "name": device.name, "tags": [device.tag], "description": description, "icon": icon,
                "default": false, "matching_type": "exclusive",
            })
        })
        .collect();
    json!({
        "imager": { "devices": known },
        "os_list": [{
            "name": format!("Relaybox {version}"),
            "description": description,
            "icon": icon,
            "url": url,
            "release_date": day,
            "extract_size": extract.0,
            "extract_sha256": extract.1,
            "image_download_size": download.0,
            "image_download_sha256": download.1,
            "devices": tags,
        }],
    })
}

/// The pages' own mark, in the manifest itself: Imager fetches nothing for it.
fn icon() -> Result<String> {
    let path = command::root().join("web/src/pages/mark.svg");
    let bytes = std::fs::read(&path).with_context(|| format!("reading {}", path.display()))?;
    Ok(format!("data:image/svg+xml;base64,{}", data_encoding::BASE64.encode(&bytes)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::image::recipe::Device;

    /// The keys that Imager's schema requires of an entry, and none by which it would ask for a user.
    #[test]
    fn an_entry_has_what_imager_needs() {
        let board = Board::read("rpi").unwrap();
        let imager = Imager {
            description: "A box".to_owned(),
            devices: vec![Device { name: "Raspberry Pi 4".to_owned(), tag: "pi4-64bit".to_owned() }],
        };
        let release =
            Release { board: &board, version: "0.1.0", day: "2026-11-23", url: "https://x.example/y" };
        let made =
            manifest(&release, &imager, &(2_000, "ab".to_owned()), &(1_000, "cd".to_owned()), "data:,");
        let entry = &made["os_list"][0];
        for (key, value) in [
            ("name", json!("Relaybox 0.1.0")),
            ("description", json!("A box")),
            ("icon", json!("data:,")),
            ("url", json!("https://x.example/y")),
            ("extract_size", json!(2_000)),
            ("extract_sha256", json!("ab")),
            ("image_download_size", json!(1_000)),
            ("image_download_sha256", json!("cd")),
            ("release_date", json!("2026-11-23")),
            ("devices", json!(["pi4-64bit"])),
        ] {
            assert_eq!(entry[key], value, "{key}");
        }
        assert_eq!(entry.get("init_format"), None);
        assert_eq!(made["imager"]["devices"][0]["tags"], json!(["pi4-64bit"]));
    }
}
