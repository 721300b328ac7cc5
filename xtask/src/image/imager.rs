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

    type Kind = fn(&Value) -> bool;

    /// What Imager's schema asks of a list (doc/json-schema/os-list-schema.json of its tree at 72ad1179): these keys, of
    /// these kinds. Of what stands beside the list it takes no key that it does not know.
    const REQUIRED: [(&str, Kind); 9] = [
        ("name", Value::is_string),
        ("description", Value::is_string),
        ("icon", Value::is_string),
        ("url", Value::is_string),
        ("extract_size", Value::is_u64),
        ("extract_sha256", Value::is_string),
        ("image_download_size", Value::is_u64),
        ("release_date", Value::is_string),
        ("devices", is_words),
    ];

    fn is_words(value: &Value) -> bool {
        value.as_array().is_some_and(|words| !words.is_empty() && words.iter().all(Value::is_string))
    }

    fn keys(value: &Value) -> Vec<&str> {
        value.as_object().unwrap().keys().map(String::as_str).collect()
    }

    /// Of files, for each board that Imager knows.
    #[test]
    fn a_list_is_as_imagers_schema_has_it() {
        let dir = std::env::temp_dir().join(format!("xtask-imager-{}", std::process::id()));
        std::fs::create_dir_all(&dir).unwrap();
        let (disk, packed) = (dir.join("disk"), dir.join("disk.xz"));
        std::fs::write(&disk, "abc").unwrap();
        std::fs::write(&packed, "").unwrap();
        let url = "https://x.example/relaybox.img.xz";
        for (id, tags) in [("rpi", ["pi4-64bit", "pi3-64bit"].as_slice()), ("rpi5", &["pi5-64bit"])] {
            let board = Board::read(id).unwrap();
            let release = Release { board: &board, version: "0.1.0", day: "2026-11-23", url };
            let text = of(&release, &disk, &packed).unwrap().unwrap();
            let list: Value = serde_json::from_str(&text).unwrap();
            assert_eq!(keys(&list), ["imager", "os_list"]);
            assert_eq!(keys(&list["imager"]), ["devices"]);
            let [entry] = list["os_list"].as_array().unwrap().as_slice() else { panic!("{text}") };
            for (key, is_right) in REQUIRED {
                assert!(is_right(&entry[key]), "{id}: {key} is {}", entry[key]);
            }
            assert_eq!(entry["devices"], json!(tags), "{id}");
            for device in list["imager"]["devices"].as_array().unwrap() {
                assert!(device["name"].is_string() && device["description"].is_string(), "{device}");
                assert!(is_words(&device["tags"]) && device["matching_type"] == "exclusive", "{device}");
            }
            // FIPS 180-2, B.1: of "abc".
            let sum = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
            assert_eq!((&entry["extract_size"], &entry["extract_sha256"]), (&json!(3), &json!(sum)));
            assert_eq!(entry["image_download_size"], json!(0), "of the packed image, not of the disk");
        }
        let pc = Board::read("efi-x86_64").unwrap();
        let release = Release { board: &pc, version: "0.1.0", day: "2026-11-23", url };
        assert_eq!(of(&release, &disk, &packed).unwrap(), None, "Imager knows no PC");
        std::fs::remove_dir_all(&dir).unwrap();
    }

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
