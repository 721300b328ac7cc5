//! What the box keeps to itself: stream keys and the PIN, each in a file that only the box's user can read.
//!
//! Files are replaced whole (written beside, synced, renamed), so that a power cut leaves the old one or the new one.

use std::collections::BTreeMap;
use std::fmt;
use std::fs::{self, OpenOptions};
use std::io::Write;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, fchown};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use ingest::server::same_key;
use serde::{Deserialize, Serialize};
use stream::StreamName;

use crate::settings::Settings;

/// Streams a box may have.
pub(crate) const STREAMS_MAX: usize = 64;
/// Bits of a made key: 30 characters of base 32 without look-alikes.
const KEY_CHARACTERS: usize = 24;
const KEY_ALPHABET: &[u8; 32] = b"abcdefghijkmnpqrstuvwxyz23456789";
const KEY_BYTES_MAX: usize = 128;
const PIN_DIGITS: usize = 6;
const ROOT: u32 = 0;

/// A secret text that no log shows.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub(crate) struct Secret(String);

impl Secret {
    pub(crate) fn new(text: &str) -> Self {
        Self(text.to_owned())
    }

    pub(crate) fn expose(&self) -> &str {
        &self.0
    }

    pub(crate) fn matches(&self, given: &str) -> bool {
        same_key(given, &self.0)
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("(secret)")
    }
}

/// The streams of this box and their keys.
#[derive(Debug)]
pub(crate) struct Keys {
    path: PathBuf,
    streams: BTreeMap<String, Secret>,
}

impl Keys {
    pub(crate) fn open(data_dir: &Path) -> Result<Self> {
        let path = data_dir.join("streams.toml");
        let streams = match fs::read_to_string(&path) {
            Ok(text) => toml::from_str(&text).with_context(|| format!("in {}", path.display()))?,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => BTreeMap::new(),
            Err(error) => return Err(error).with_context(|| format!("reading {}", path.display())),
        };
        Ok(Self { path, streams })
    }

    pub(crate) fn names(&self) -> impl Iterator<Item = &str> {
        self.streams.keys().map(String::as_str)
    }

    pub(crate) fn key(&self, name: &StreamName) -> Option<&Secret> {
        self.streams.get(name.as_str())
    }

    /// The stream a key belongs to. Looks at every key, so that the time tells nothing.
    pub(crate) fn find(&self, given: &str) -> Option<StreamName> {
        let mut found = None;
        for (name, key) in &self.streams {
            if key.matches(given) {
                found = Some(name);
            }
        }
        found.and_then(|name| name.parse().ok())
    }

    /// Gives the stream this key, or one that is made, and keeps it before it is told.
    pub(crate) fn set(&mut self, name: &StreamName, key: Option<&str>) -> Result<Secret> {
        ensure!(
            self.streams.contains_key(name.as_str()) || self.streams.len() < STREAMS_MAX,
            "the box has {STREAMS_MAX} streams already"
        );
        let key = match key {
            Some(key) => {
                let plain = key.bytes().all(|b| b.is_ascii_graphic());
                ensure!(
                    !key.is_empty() && key.len() <= KEY_BYTES_MAX && plain,
                    "a key is 1 to {KEY_BYTES_MAX} visible ASCII characters"
                );
                Secret(key.to_owned())
            }
            None => make_key()?,
        };
        let others = self.streams.iter().any(|(other, theirs)| other != name.as_str() && *theirs == key);
        ensure!(!others, "another stream has this key");
        let before = self.streams.insert(name.as_str().to_owned(), key.clone());
        if let Err(error) = self.save() {
            match before {
                Some(before) => self.streams.insert(name.as_str().to_owned(), before),
                None => self.streams.remove(name.as_str()),
            };
            return Err(error);
        }
        Ok(key)
    }

    pub(crate) fn remove(&mut self, name: &StreamName) -> Result<bool> {
        let Some(before) = self.streams.remove(name.as_str()) else { return Ok(false) };
        if let Err(error) = self.save() {
            self.streams.insert(name.as_str().to_owned(), before);
            return Err(error);
        }
        Ok(true)
    }

    fn save(&self) -> Result<()> {
        let text = toml::to_string(&self.streams).context("writing down the keys")?;
        replace(&self.path, text.as_bytes(), 0o600)
    }
}

/// Those that are kept, those of the command line, and new ones for streams of the settings that have none.
pub(crate) fn keys(settings: &Settings, given: &[(String, String)]) -> Result<Keys> {
    let mut keys = Keys::open(&settings.data_dir)?;
    for (name, key) in given {
        tracing::warn!(
            stream.id = name,
            "a key on the command line can be read by every user of this machine"
        );
        let name = name.parse().with_context(|| format!("--stream {name}"))?;
        keys.set(&name, Some(key)).with_context(|| format!("--stream {name}"))?;
    }
    for name in &settings.streams {
        if keys.key(name).is_none() {
            keys.set(name, None)?;
            let path = settings.data_dir.join("streams.toml");
            println!("Made a key for the stream {name}. It is kept in {}.", path.display());
        }
    }
    Ok(keys)
}

/// Reads the PIN, or makes it; true if it is new.
pub(crate) fn pin(data_dir: &Path) -> Result<(Secret, bool)> {
    let path = data_dir.join("pin");
    match fs::read_to_string(&path) {
        Ok(text) => {
            let pin = text.trim();
            let digits = pin.len() >= 4 && pin.bytes().all(|b| b.is_ascii_digit());
            ensure!(
                digits,
                "{}: a PIN is at least four digits; remove the file to get a new one",
                path.display()
            );
            Ok((Secret(pin.to_owned()), false))
        }
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            let pin: String =
                random_below::<PIN_DIGITS>(10)?.iter().map(|digit| char::from(b'0' + digit)).collect();
            match replace(&path, format!("{pin}\n").as_bytes(), 0o600) {
                Err(error) if is_full(&error) => {
                    tracing::error!(
                        error = format!("{error:#}"),
                        "the PIN is good until the box starts again"
                    );
                }
                written => written?,
            }
            Ok((Secret(pin), true))
        }
        Err(error) => Err(error).with_context(|| format!("reading {}", path.display())),
    }
}

fn make_key() -> Result<Secret> {
    let picks = random_below::<KEY_CHARACTERS>(32)?;
    Ok(Secret(picks.iter().map(|pick| char::from(KEY_ALPHABET[usize::from(*pick)])).collect()))
}

/// Evenly distributed numbers below `bound`.
fn random_below<const N: usize>(bound: u8) -> Result<[u8; N]> {
    let even = u8::MAX - u8::MAX % bound;
    let mut picks = [0; N];
    for pick in &mut picks {
        // Each byte is good with a probability of at least one half: this ends.
        *pick = loop {
            let mut byte = [0];
            getrandom::fill(&mut byte).context("the system has no randomness")?;
            if byte[0] < even {
                break byte[0] % bound;
            }
        };
    }
    Ok(picks)
}

/// Replaces a file whole, or leaves it as it was. What root writes belongs to whom the folder belongs, from the first moment
/// on: a daemon that can't read its own PIN after a power cut never starts again.
pub(crate) fn replace(path: &Path, content: &[u8], mode: u32) -> Result<()> {
    let beside = path.with_extension("new");
    let write = || -> std::io::Result<()> {
        // A leftover may have other permissions.
        let _ = fs::remove_file(&beside);
        let mut file = OpenOptions::new().write(true).create_new(true).mode(mode).open(&beside)?;
        file.write_all(content)?;
        let folder = path.parent().map(fs::File::open).transpose()?;
        if let Some(folder) = &folder
            && file.metadata()?.uid() == ROOT
        {
            let owner = folder.metadata()?;
            fchown(&file, Some(owner.uid()), Some(owner.gid()))?;
        }
        file.sync_all()?;
        fs::rename(&beside, path)?;
        folder.map_or(Ok(()), |folder| folder.sync_all())
    };
    let written = write();
    if written.is_err() {
        // A disk that is full does not get fuller by what it refused.
        let _ = fs::remove_file(&beside);
    }
    written.with_context(|| format!("writing {}", path.display()))
}

/// Whether a disk has no room left, or none for this user.
pub(crate) fn is_full(error: &anyhow::Error) -> bool {
    use std::io::ErrorKind::{QuotaExceeded, StorageFull};
    let causes = error.chain().filter_map(|cause| cause.downcast_ref::<std::io::Error>());
    causes.into_iter().any(|cause| matches!(cause.kind(), StorageFull | QuotaExceeded))
}

/// [`replace`] for tasks: another thread waits for the disk.
pub(crate) async fn keep(path: PathBuf, content: Vec<u8>, mode: u32) -> Result<()> {
    tokio::task::spawn_blocking(move || replace(&path, &content, mode))
        .await
        .context("waiting for the disk")?
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    fn scratch(name: &str) -> PathBuf {
        let dir = std::env::temp_dir().join(format!("relayd-secrets-{name}-{}", std::process::id()));
        fs::create_dir_all(&dir).unwrap();
        dir
    }

    #[test]
    fn keys_are_kept_for_their_owner_only() {
        let dir = scratch("keys");
        let name: StreamName = "demo".parse().unwrap();
        let key = Keys::open(&dir).unwrap().set(&name, None).unwrap();
        let again = Keys::open(&dir).unwrap();
        assert_eq!(again.find(key.expose()), Some(name));
        assert_eq!(again.find("wrong"), None);
        assert_eq!(again.find(""), None);
        assert_eq!(fs::metadata(dir.join("streams.toml")).unwrap().permissions().mode() & 0o777, 0o600);
        fs::remove_dir_all(dir).unwrap();
    }

    /// Only root can see it; for others it says no more than that files are written.
    #[test]
    fn what_root_writes_belongs_to_the_folders_owner() {
        let dir = scratch("owner");
        let is_root = fs::metadata(&dir).unwrap().uid() == ROOT;
        if is_root {
            std::os::unix::fs::chown(&dir, Some(4711), Some(4712)).unwrap();
        }
        let path = dir.join("pin");
        replace(&path, b"1234\n", 0o600).unwrap();
        let (meta, of_dir) = (fs::metadata(&path).unwrap(), fs::metadata(&dir).unwrap());
        assert_eq!((meta.uid(), meta.gid()), (of_dir.uid(), of_dir.gid()));
        assert_eq!(meta.permissions().mode() & 0o777, 0o600);
        fs::remove_dir_all(dir).unwrap();
    }

    #[test]
    fn two_streams_never_share_a_key() {
        let dir = scratch("shared");
        let mut keys = Keys::open(&dir).unwrap();
        keys.set(&"a".parse().unwrap(), Some("secret")).unwrap();
        assert!(keys.set(&"b".parse().unwrap(), Some("secret")).is_err());
        assert!(keys.set(&"b".parse().unwrap(), Some("two words")).is_err());
        fs::remove_dir_all(dir).unwrap();
    }

    #[test]
    fn the_pin_is_made_once() {
        let dir = scratch("pin");
        let (made, is_new) = pin(&dir).unwrap();
        let (read, again) = pin(&dir).unwrap();
        assert_eq!((made.expose(), is_new, again), (read.expose(), true, false));
        assert_eq!(format!("{made:?}"), "(secret)");
        fs::remove_dir_all(dir).unwrap();
    }
}
