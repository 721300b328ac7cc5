//! File systems and the partition table, put together into one disk. The programs that make them come from the lock and
//! run in a chroot of their own, so that the same bytes come out wherever it is built.

use std::fs::{self, File};
use std::io::{Read as _, Seek as _, SeekFrom, Write as _};
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, ensure};

use super::recipe::{Partition, Partitions, Role};
use crate::{command, cross};

/// Where the work lies for the tools.
pub(super) const INSIDE: &str = "/mnt";

/// Of the FAT that a friend sees.
const CARD_ID: &str = "52424f58";
const ROOT_ID: &str = "4b7be5d6-1f6b-4d0a-9c57-2d9e6a1f0ca1";
const DATA_ID: &str = "4b7be5d6-1f6b-4d0a-9c57-2d9e6a1f0cd1";

/// What is zero is not written: a hole.
const BLOCK_BYTES: usize = 4096;

/// The chroot with the programs, and the folder that they work in.
pub(super) struct Tools<'a> {
    pub(super) root: &'a Path,
    pub(super) work: &'a Path,
    pub(super) epoch: u64,
}

impl Tools<'_> {
    pub(super) fn run(&self, words: &[&str]) -> Result<String> {
        let epoch = self.epoch.to_string();
        let env = [("SOURCE_DATE_EPOCH", epoch.as_str()), ("TZ", "UTC"), ("MTOOLS_SKIP_CHECK", "1")];
        let mounts = [(self.work, INSIDE)];
        let entered = cross::entered(self.root, &mounts, INSIDE, &env, words);
        command::output(command::program("unshare").args(entered))
            .with_context(|| format!("making the disk: {}", words.join(" ")))
    }

    /// An empty file of this size, in which a file system is made.
    pub(super) fn empty(&self, name: &str, bytes: u64) -> Result<PathBuf> {
        let path = self.work.join(name);
        let file = File::create(&path).with_context(|| format!("making {}", path.display()))?;
        file.set_len(bytes).with_context(|| format!("making {}", path.display()))?;
        Ok(path)
    }

    /// What a friend sees of the box when its card is in a computer.
    pub(super) fn card(&self, partition: &Partition) -> Result<PathBuf> {
        let path = self.empty("card.fat", partition.bytes())?;
        self.run(&["mkfs.vfat", "--invariant", "-F", "16", "-i", CARD_ID, "-n", "RELAYBOX", "card.fat"])?;
        let from = command::root().join("image/card");
        let mut names: Vec<_> = fs::read_dir(&from)
            .with_context(|| format!("reading {}", from.display()))?
            .flatten()
            .map(|entry| entry.file_name().to_string_lossy().into_owned())
            .collect();
        names.sort();
        for name in names {
            let text = fs::read_to_string(from.join(&name)).with_context(|| format!("reading {name}"))?;
            // As editors of other systems like it.
            fs::write(self.work.join(&name), text.replace('\n', "\r\n"))
                .with_context(|| format!("writing {name}"))?;
            self.run(&["mcopy", "-i", "card.fat", &name, "::/"])?;
        }
        Ok(path)
    }

    /// A slot: read-only, so without a journal.
    pub(super) fn root(&self, archive: &Path, partition: &Partition) -> Result<PathBuf> {
        ensure!(archive.parent() == Some(self.work), "the archive lies with the rest");
        let name = archive.file_name().context("the archive has a name")?.to_string_lossy();
        let path = self.empty("root.ext4", partition.bytes())?;
        let seed = format!("hash_seed={ROOT_ID},root_owner=0:0,nodiscard");
        self.run(&[
            "mke2fs",
            "-q",
            "-t",
            "ext4",
            "-b",
            "4096",
            "-m",
            "0",
            "-L",
            "root",
            "-U",
            ROOT_ID,
            "-E",
            &seed,
            "-O",
            "^has_journal,^metadata_csum_seed,^orphan_file,^resize_inode",
            "-d",
            &name,
            "root.ext4",
        ])
        .context("is the root larger than its slot?")?;
        Ok(path)
    }

    /// What the box keeps. It grows at the first start.
    pub(super) fn data(&self, partition: &Partition) -> Result<PathBuf> {
        // As `image/root/etc/sysusers.d/relaybox.conf` numbers the daemon.
        let folders = [
            ("./", 0, 0o755),
            ("./box/", 0, 0o700),
            ("./relaybox/", 970, 0o700),
            ("./relaybox-clock/", 970, 0o700),
        ];
        let archive =
            folders.iter().map(|(name, owner, mode)| folder_in_tar(name, *owner, *mode, self.epoch));
        let mut archive: Vec<u8> = archive.flatten().collect();
        archive.extend([0; 1024]);
        fs::write(self.work.join("data.tar"), archive)
            .context("writing the folders of the data partition")?;
        let path = self.empty("data.ext4", partition.bytes())?;
        let seed = format!("hash_seed={DATA_ID},root_owner=0:0,nodiscard");
        self.run(&[
            "mke2fs",
            "-q",
            "-t",
            "ext4",
            "-b",
            "4096",
            "-m",
            "1",
            "-L",
            "data",
            "-U",
            DATA_ID,
            "-E",
            &seed,
            "-J",
            "size=16",
            "-O",
            "^metadata_csum_seed,^orphan_file",
            "-d",
            "data.tar",
            "data.ext4",
        ])?;
        Ok(path)
    }

    /// All of it, as it is written to a card.
    pub(super) fn assemble(
        &self,
        partitions: &Partitions,
        parts: &[(Role, PathBuf)],
        name: &str,
    ) -> Result<PathBuf> {
        let path = self.empty(name, partitions.disk_bytes())?;
        fs::write(self.work.join("table"), partitions.script()).context("writing the partition table")?;
        self.run(&["sh", "-c", "sfdisk --quiet \"$1\" < table", "sh", name])?;
        let mut disk = File::options().write(true).open(&path).context("opening the disk")?;
        for (start, partition) in partitions.placed() {
            let Some((_, part)) = parts.iter().find(|(role, _)| *role == partition.role) else { continue };
            let bytes = part.metadata().with_context(|| format!("looking at {}", part.display()))?.len();
            ensure!(bytes <= partition.bytes(), "{} is larger than {}", part.display(), partition.name);
            copy_sparse(part, &mut disk, start).with_context(|| format!("writing {}", partition.name))?;
        }
        Ok(path)
    }

    pub(super) fn compress(&self, name: &str) -> Result<PathBuf> {
        // Two threads whatever the machine: the number is part of the result.
        self.run(&["xz", "--force", "--keep", "--threads=2", "-6", "--check=crc64", name])?;
        Ok(self.work.join(format!("{name}.xz")))
    }
}

/// The head of a folder in a tar archive (POSIX.1-1988, ustar).
fn folder_in_tar(name: &str, owner: u32, mode: u32, time: u64) -> Vec<u8> {
    let mut head = vec![0u8; 512];
    let mut put = |at: usize, text: &str| head[at..at + text.len()].copy_from_slice(text.as_bytes());
    put(0, name);
    put(100, &format!("{mode:07o}\0{owner:07o}\0{owner:07o}\0{:011o}\0{time:011o}\0        5", 0));
    put(257, "ustar\x0000");
    let sum: u32 = head.iter().map(|byte| u32::from(*byte)).sum();
    head[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
    head
}

fn copy_sparse(from: &Path, disk: &mut File, start: u64) -> Result<()> {
    let mut file = File::open(from).with_context(|| format!("opening {}", from.display()))?;
    let mut block = vec![0; BLOCK_BYTES];
    let mut at = start;
    loop {
        let read = file.read(&mut block).context("reading")?;
        if read == 0 {
            return Ok(());
        }
        if block[..read].iter().any(|byte| *byte != 0) {
            disk.seek(SeekFrom::Start(at)).context("seeking")?;
            disk.write_all(&block[..read]).context("writing")?;
        }
        at += read as u64;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tar_reads_the_folder() {
        let path = std::env::temp_dir().join(format!("xtask-folder-{}.tar", std::process::id()));
        let mut bytes = folder_in_tar("./relaybox/", 970, 0o700, 86_400);
        bytes.extend([0; 1024]);
        fs::write(&path, bytes).unwrap();
        let mut tar = command::program("tar");
        let said =
            command::output(tar.args(["--list", "-vv", "--numeric-owner", "--utc", "--file"]).arg(&path))
                .unwrap();
        fs::remove_file(&path).unwrap();
        let words: Vec<&str> = said.split_whitespace().collect();
        assert_eq!(words, ["drwx------", "970/970", "0", "1970-01-02", "00:00", "./relaybox/"], "{said}");
    }
}
