//! What Raspberry Pi Imager writes beside an image when it is asked to customise it: `user-data` and `network-config`, as
//! cloud-init takes them (its `customization_generator.cpp`, version 2).
//!
//! Reads the lines that Imager writes, and no YAML in general: the name, and the house's Wi-Fi. It refuses to run anything
//! and to make users: nobody logs in to a box. What it does not use it names.

use std::fs::File;
use std::io::{ErrorKind, Read as _};
use std::path::Path;

use anyhow::{Context as _, Result};

use super::erase;
use super::wish::{self, Mistake, Wish};

const USER: &str = "user-data";
const NETWORK: &str = "network-config";
/// What Imager writes for other kinds of images, and what has no meaning here.
const OTHERS: [&str; 3] = ["firstrun.sh", "custom.toml", "meta-data"];
/// Comes with a name, and asks for nothing that a person chose.
const BESIDE_A_NAME: [&str; 4] = ["hostname", "manage_etc_hosts", "packages", "apt"];

/// What was found, and what of it is not used.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Found {
    pub(super) wish: Wish,
    /// A sentence, for a person.
    pub(super) unused: Option<String>,
}

/// None when Imager wrote nothing there.
pub(super) fn read(dir: &Path) -> Result<Option<Result<Found, Mistake>>> {
    let (user, network) = (text(&dir.join(USER))?, text(&dir.join(NETWORK))?);
    let others: Vec<&str> = OTHERS.into_iter().filter(|name| dir.join(name).is_file()).collect();
    if user.is_none() && network.is_none() && others.is_empty() {
        return Ok(None);
    }
    Ok(Some(understood(&user.unwrap_or_default(), &network.unwrap_or_default(), &others)))
}

/// Once it is kept, or nothing can be made of it.
pub(super) fn remove(dir: &Path) -> Result<()> {
    for name in [USER, NETWORK].into_iter().chain(OTHERS) {
        let path = dir.join(name);
        if path.is_file() {
            erase(&path)?;
        }
    }
    Ok(())
}

fn text(path: &Path) -> Result<Option<String>> {
    let file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error).with_context(|| format!("reading {}", path.display())),
    };
    let mut bytes = Vec::new();
    file.take(wish::BYTES_MAX as u64)
        .read_to_end(&mut bytes)
        .with_context(|| format!("reading {}", path.display()))?;
    Ok(Some(String::from_utf8_lossy(&bytes).into_owned()))
}

fn understood(user: &str, network: &str, others: &[&str]) -> Result<Found, Mistake> {
    let value = |text: &str, key: &str| {
        let lines = text.lines().filter_map(|line| line.trim().strip_prefix(key));
        lines.filter_map(|rest| rest.strip_prefix(':')).map(unquoted).next()
    };
    let mut wanted = toml::Table::new();
    let insert = |table: &mut toml::Table, key: &str, value: Option<String>| {
        if let Some(value) = value.filter(|value| !value.is_empty()) {
            table.insert(key.to_owned(), toml::Value::String(value));
        }
    };
    insert(&mut wanted, "name", value(user, "hostname"));
    if let Some(ssid) = ssid(network) {
        let mut wifi = toml::Table::new();
        insert(&mut wifi, "country", value(network, "regulatory-domain"));
        insert(&mut wifi, "password", value(network, "password"));
        insert(&mut wifi, "ssid", Some(ssid));
        wanted.insert("wifi".to_owned(), toml::Value::Table(wifi));
    }
    // Judged as if a person had typed it into our own file.
    let (wish, _) = wish::read(wanted.to_string().as_bytes()).map_err(Mistake::of_imager)?;
    let mut unused: Vec<&str> =
        user.lines().filter_map(top).filter(|key| !BESIDE_A_NAME.contains(key)).collect();
    unused.extend(others.iter().filter(|name| **name != "meta-data"));
    let unused = (!unused.is_empty()).then(|| {
        format!(
            "Of what was set in Raspberry Pi Imager, a box takes its name and the Wi-Fi. It has no users, and nobody logs in to \
             it: not used was {}.",
            unused.join(", ")
        )
    });
    Ok(Found { wish, unused })
}

/// The key of a line that begins at the margin.
fn top(line: &str) -> Option<&str> {
    let plain = |c: char| c.is_ascii_alphanumeric() || c == '_';
    line.split_once(':').map(|(key, _)| key).filter(|key| !key.is_empty() && key.chars().all(plain))
}

/// The key of the only line below `access-points:`.
fn ssid(network: &str) -> Option<String> {
    let mut lines = network.lines().skip_while(|line| line.trim() != "access-points:").skip(1);
    lines.next()?.trim().strip_suffix(':').map(unquoted)
}

/// Imager puts quotes around, and a backslash before each quote within.
fn unquoted(text: &str) -> String {
    let text = text.trim();
    let inner = text.strip_prefix('"').and_then(|text| text.strip_suffix('"'));
    inner.map_or_else(|| text.to_owned(), |inner| inner.replace("\\\"", "\""))
}

#[cfg(test)]
mod tests {
    use super::*;

    const USER_DATA: &str = "#cloud-config\nhostname: attic\nmanage_etc_hosts: true\npackages:\n- avahi-daemon\napt:\n  conf: |\n\
                             \x20   Acquire {\n      Check-Date \"false\";\n    };\n";
    const NETWORK_CONFIG: &str = "network:\n  version: 2\n  wifis:\n    wlan0:\n      dhcp4: true\n      regulatory-domain: \"DE\"\n\
                                  \x20     access-points:\n        \"our \\\"net\\\"\":\n          hidden: true\n          password: \"KEY\"\n\
                                  \x20     optional: true\n";

    fn said(user: &str, network: &str, others: &[&str]) -> String {
        match understood(user, network, others) {
            Ok(found) => format!("{:?} {}", found.wish, found.unused.unwrap_or_default()),
            Err(mistake) => format!("{mistake}. {}", mistake.mend),
        }
    }

    #[test]
    fn name_and_wifi_are_taken_from_what_imager_writes() {
        let key = "0123456789abcdef".repeat(4);
        let said = said(USER_DATA, &NETWORK_CONFIG.replace("KEY", &key), &["meta-data"]);
        let expected = format!(
            "Wish {{ name: Some(\"attic\"), upload_kbps_max: None, wifi: Some(Wifi {{ country: \"DE\", ssid: \"our \\\"net\\\"\", \
             password: Some(\"{key}\") }}) }} "
        );
        assert_eq!(said, expected);
    }

    #[test]
    fn what_is_not_used_is_named() {
        let user = format!(
            "{USER_DATA}timezone: Europe/Berlin\nenable_ssh: true\nusers:\n- name: ana\n  shell: /bin/bash\n"
        );
        assert!(said(&user, "", &[]).ends_with("not used was timezone, enable_ssh, users."));
        assert!(said("", "", &["firstrun.sh", "meta-data"]).ends_with("not used was firstrun.sh."));
        let said = said("", &NETWORK_CONFIG.replace("      regulatory-domain: \"DE\"\n", ""), &[]);
        assert!(said.contains("missing field `country`") && said.contains("Raspberry Pi Imager"), "{said}");
    }
}
