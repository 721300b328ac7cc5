//! Files that are written whole or not at all, readable by their owner alone where they hold a secret.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};

/// For secrets, and for the database: its owner alone.
pub(crate) const OWNER: u32 = 0o600;
/// For what may be seen by every user of the machine.
pub(crate) const ALL: u32 = 0o644;
/// No file of ours that is read whole is longer.
const BYTES_MAX: u64 = 1 << 20;

/// Replaces a file whole: a power cut leaves the old one or the new one.
pub(crate) fn replace(path: &Path, content: &[u8], mode: u32) -> Result<()> {
    let mut beside = path.as_os_str().to_owned();
    beside.push(".new");
    let beside = PathBuf::from(beside);
    let write = || -> io::Result<()> {
        let _ = fs::remove_file(&beside);
        let mut file = OpenOptions::new().write(true).create_new(true).mode(mode).open(&beside)?;
        file.write_all(content)?;
        file.sync_all()?;
        settle(&beside, path)
    };
    write().with_context(|| format!("writing {}", path.display()))
}

/// Gives a file its name, and has the disk know it.
pub(crate) fn settle(beside: &Path, path: &Path) -> io::Result<()> {
    File::open(beside)?.sync_all()?;
    fs::rename(beside, path)?;
    match path.parent().filter(|parent| !parent.as_os_str().is_empty()) {
        Some(parent) => File::open(parent)?.sync_all(),
        None => Ok(()),
    }
}

/// Makes an empty file that only its owner can read, in place of whatever had the name.
pub(crate) fn create_empty(path: &Path) -> io::Result<()> {
    let _ = fs::remove_file(path);
    OpenOptions::new().write(true).create_new(true).mode(OWNER).open(path).map(drop)
}

/// The file's text without white space at its ends; none when there is no such file.
pub(crate) fn read(path: &Path) -> Result<Option<String>> {
    let file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error).with_context(|| format!("reading {}", path.display())),
    };
    let mut text = String::new();
    let read = file.take(BYTES_MAX).read_to_string(&mut text);
    read.with_context(|| format!("reading {}", path.display()))?;
    Ok(Some(text.trim().to_owned()))
}

/// Makes a directory that only its owner can enter, if it is not there.
pub(crate) fn private_dir(path: &Path) -> Result<()> {
    if path.is_dir() {
        return Ok(());
    }
    let make = || -> io::Result<()> {
        fs::create_dir_all(path)?;
        fs::set_permissions(path, fs::Permissions::from_mode(0o700))
    };
    make().with_context(|| format!("making {}", path.display()))
}

/// Gives the files in `directory` to the directory's owner: root runs the operator's commands, and the service has to
/// write on as its own user.
pub(crate) fn hand_over(directory: &Path) -> Result<()> {
    if !rustix::process::geteuid().is_root() {
        return Ok(());
    }
    let owner = fs::metadata(directory).with_context(|| format!("reading {}", directory.display()))?;
    let (uid, gid) = (owner.uid(), owner.gid());
    if uid == 0 {
        return Ok(());
    }
    for entry in fs::read_dir(directory).with_context(|| format!("reading {}", directory.display()))? {
        let path = entry.with_context(|| format!("reading {}", directory.display()))?.path();
        std::os::unix::fs::lchown(&path, Some(uid), Some(gid))
            .with_context(|| format!("giving {} to the service's user", path.display()))?;
    }
    Ok(())
}

/// Bytes of the file system that hold nothing yet and that we may use.
pub(crate) fn free_bytes(path: &Path) -> Result<u64> {
    let stat = rustix::fs::statvfs(path).with_context(|| format!("looking at {}", path.display()))?;
    Ok(stat.f_bavail.saturating_mul(stat.f_frsize))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_is_its_owners_also_where_another_file_was() {
        let dir = crate::scratch::Scratch::new("file");
        let path = dir.path().join("secret");
        replace(&path, b"one\n", ALL).unwrap();
        replace(&path, b"two\n", OWNER).unwrap();
        assert_eq!(read(&path).unwrap().as_deref(), Some("two"));
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, OWNER);
        assert_eq!(read(&dir.path().join("none")).unwrap(), None);
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1, "nothing is left over");
    }
}
