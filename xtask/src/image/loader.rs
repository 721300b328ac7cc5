//! The loader's partition: what firmware starts, and what that reads. On most boards this is GRUB with its settings and a
//! fresh environment; a Raspberry Pi's firmware has its own files there as well.

use std::fs;
use std::path::PathBuf;

use anyhow::{Context as _, Result};

use super::disk::{INSIDE, Tools};
use super::lock::Locked;
use super::pool::Pool;
use super::recipe::{Board, Files, Grub, Partitions, Role};
use super::root::SLOT;
use crate::command;

/// Modules of GRUB that every board has: to find a slot, to read and write the environment, to start a kernel.
const MODULES: [&str; 21] = [
    "all_video",
    "configfile",
    "echo",
    "ext2",
    "fat",
    "font",
    "gfxterm",
    "linux",
    "loadenv",
    "minicmd",
    "normal",
    "part_gpt",
    "part_msdos",
    "probe",
    "reboot",
    "regexp",
    "serial",
    "sleep",
    "terminal",
    "test",
    "true",
];

/// Of the file system.
const LOADER_ID: &str = "52424c44";

/// A block of GRUB's environment (GRUB manual, 16.3 and grub/lib/envblk.h).
const ENVIRONMENT_BYTES: usize = 1024;

/// What lies on the partition, before it is one.
const STAGE: &str = "loader";

pub(super) struct Loader<'a> {
    pub(super) tools: &'a Tools<'a>,
    pub(super) board: &'a Board,
    pub(super) locked: &'a [Locked],
    pub(super) pool: &'a Pool,
}

impl Loader<'_> {
    pub(super) fn make(&self, partitions: &Partitions) -> Result<PathBuf> {
        let stage = self.stage();
        if stage.exists() {
            fs::remove_dir_all(&stage).with_context(|| format!("clearing {}", stage.display()))?;
        }
        fs::create_dir(&stage).with_context(|| format!("making {}", stage.display()))?;
        for files in &self.board.boot.files {
            self.copy(files).with_context(|| format!("{} for the firmware", files.from))?;
        }
        self.write(partitions, "")?;
        if let Some(grub) = &self.board.grub {
            self.grub(grub)?;
        }
        let path = self.tools.empty("loader.fat", partitions.of(Role::Loader)?.bytes())?;
        let words =
            ["mkfs.vfat", "--invariant", "-F", "32", "-i", LOADER_ID, "-n", "RELAYBOOT", "loader.fat"];
        self.tools.run(&words)?;
        // In one order, whatever the stage's own is.
        let all = "cd loader; \
                   find . -mindepth 1 -type d | sort | while read -r name; do \
                   mmd -i ../loader.fat \"::/${name#./}\" || exit 1; done || exit 1; \
                   find . -type f | sort | while read -r name; do \
                   mcopy -i ../loader.fat \"$name\" \"::/${name#./}\" || exit 1; done";
        self.tools.run(&["sh", "-c", all])?;
        fs::remove_dir_all(&stage).with_context(|| format!("clearing {}", stage.display()))?;
        Ok(path)
    }

    fn stage(&self) -> PathBuf {
        self.tools.work.join(STAGE)
    }

    /// A folder on the partition.
    fn folder(&self, name: &str) -> Result<PathBuf> {
        let folder = self.stage().join(name);
        fs::create_dir_all(&folder).with_context(|| format!("making {}", folder.display()))?;
        Ok(folder)
    }

    /// A package's files, where they can be read.
    fn unpacked(&self, name: &str) -> Result<PathBuf> {
        let package = self.locked.iter().find(|package| package.name == name);
        let package = package.with_context(|| format!("{name} is not locked"))?;
        let to = self.tools.work.join("unpacked");
        if to.exists() {
            fs::remove_dir_all(&to).with_context(|| format!("clearing {}", to.display()))?;
        }
        command::output(command::program("dpkg-deb").arg("--extract").arg(self.pool.path(package)).arg(&to))?;
        Ok(to)
    }

    fn copy(&self, files: &Files) -> Result<()> {
        let root = match &files.package {
            Some(package) => self.unpacked(package)?,
            None => self.tools.work.join(SLOT),
        };
        let (from, to) = (root.join(&files.from), self.folder(&files.to)?);
        for name in &files.names {
            let (from, to) = (from.join(name), to.join(name));
            fs::copy(&from, &to).with_context(|| format!("copying {}", from.display()))?;
            if files.packed {
                let to = to.strip_prefix(self.tools.work).context("it lies elsewhere")?.to_string_lossy();
                self.tools.run(&["sh", "-c", "gzip -9n \"$1\" && mv \"$1.gz\" \"$1\"", "sh", &to])?;
            }
        }
        if files.package.is_some() {
            fs::remove_dir_all(&root).with_context(|| format!("clearing {}", root.display()))?;
        }
        Ok(())
    }

    /// The board's own texts, with what is known only now.
    fn write(&self, partitions: &Partitions, folder: &str) -> Result<()> {
        let from = self.board.folder().join("boot").join(folder);
        if !from.is_dir() {
            return Ok(());
        }
        for entry in fs::read_dir(&from).with_context(|| format!("reading {}", from.display()))? {
            let entry = entry.with_context(|| format!("reading {}", from.display()))?;
            let name = entry.file_name().to_string_lossy().into_owned();
            let path = entry.path();
            if path.is_dir() {
                self.write(partitions, &format!("{folder}{name}/"))?;
                continue;
            }
            let text = fs::read_to_string(&path).with_context(|| format!("reading {}", path.display()))?;
            let filled = self.board.fill(partitions, &text);
            let filled = filled.with_context(|| format!("filling in {}", path.display()))?;
            fs::write(self.folder(folder)?.join(&name), filled).with_context(|| format!("writing {name}"))?;
        }
        Ok(())
    }

    /// GRUB as firmware starts it, with its settings and a fresh environment.
    fn grub(&self, grub: &Grub) -> Result<()> {
        let modules = self.unpacked(&grub.package)?;
        let from = format!("{INSIDE}/unpacked/usr/lib/grub/{}", grub.format);
        let to = format!("{STAGE}/{}", grub.file);
        let (folder, _) = grub.file.rsplit_once('/').context("firmware looks in a folder")?;
        self.folder(folder)?;
        let mut words = vec!["grub-mkimage", "--directory", &from, "--format", &grub.format];
        words.extend(["--output", &to, "--prefix", "/grub"]);
        words.extend(MODULES.into_iter().chain(grub.modules.iter().map(String::as_str)));
        self.tools.run(&words)?;
        fs::remove_dir_all(&modules).with_context(|| format!("clearing {}", modules.display()))?;
        let folder = self.folder("grub")?;
        fs::copy(command::root().join("image/grub.cfg"), folder.join("grub.cfg"))
            .context("copying image/grub.cfg")?;
        let fresh = [("A_OK", "1"), ("A_TRY", "0"), ("B_OK", "0"), ("B_TRY", "0"), ("ORDER", "A B")];
        fs::write(folder.join("grubenv"), environment(&fresh)).context("writing GRUB's environment")
    }
}

/// A fresh environment of GRUB's: lines, and `#` to its end.
fn environment(variables: &[(&str, &str)]) -> Vec<u8> {
    let mut text = String::from("# GRUB Environment Block\n");
    for (name, value) in variables {
        text.push_str(&format!("{name}={value}\n"));
    }
    let mut bytes = text.into_bytes();
    bytes.resize(ENVIRONMENT_BYTES, b'#');
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_environment_is_one_that_grub_takes() {
        let bytes = environment(&[("A_OK", "1")]);
        assert_eq!(bytes.len(), 1024);
        assert!(bytes.starts_with(b"# GRUB Environment Block\nA_OK=1\n###"));
        assert!(bytes.ends_with(b"###"));
    }
}
