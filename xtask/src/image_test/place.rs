//! A FAT of the card while the box is off: what stands there, and what can still be read of what stood.

use std::collections::BTreeSet;
use std::fs::File;
use std::io::{Read as _, Seek as _, SeekFrom, Write as _};
use std::path::{Path, PathBuf};
use std::process::Stdio;

use anyhow::{Context as _, Result, ensure};

use crate::command;
use crate::image::{Partitions, Role};

pub(super) struct Place {
    card: PathBuf,
    start: u64,
    bytes: u64,
}

impl Place {
    pub(super) fn find(card: &Path, role: Role) -> Result<Place> {
        let partitions = Partitions::read()?;
        let found = partitions.placed().find(|(_, partition)| partition.role == role);
        let (start, partition) = found.context("there is no such partition")?;
        Ok(Place { card: card.to_owned(), start, bytes: partition.bytes() })
    }

    /// Whether these words stand anywhere in it, in a file or in what once was one.
    pub(super) fn holds(&self, words: &str) -> Result<bool> {
        let mut file = File::open(&self.card).context("opening the card")?;
        file.seek(SeekFrom::Start(self.start)).context("seeking on the card")?;
        let mut bytes = Vec::new();
        file.take(self.bytes).read_to_end(&mut bytes).context("reading the card")?;
        Ok(bytes.windows(words.len()).any(|window| window == words.as_bytes()))
    }

    pub(super) fn read(&self, name: &str) -> Result<String> {
        command::output(command::program("mtype").args(["-i", &self.image(), &format!("::/{name}")]))
    }

    pub(super) fn copy_out(&self, name: &str, to: &Path) -> Result<()> {
        let mut mcopy = command::program("mcopy");
        command::output(mcopy.args(["-n", "-o", "-i", &self.image(), &format!("::/{name}")]).arg(to))
            .map(drop)
    }

    /// The paths of all that is there, without a slash at the beginning.
    pub(super) fn names(&self) -> Result<BTreeSet<String>> {
        let said = command::output(command::program("mdir").args(["-/", "-b", "-i", &self.image(), "::/"]))?;
        let files = said.lines().filter(|line| !line.ends_with('/'));
        Ok(files.map(|line| line.trim_start_matches("::/").to_owned()).collect())
    }

    pub(super) fn put(&self, name: &str, text: &str) -> Result<()> {
        let mut mcopy = command::program("mcopy");
        mcopy.args(["-i", &self.image(), "-o", "-", &format!("::/{name}")]).stdin(Stdio::piped());
        let mut mcopy = mcopy.spawn().context("starting mcopy")?;
        mcopy.stdin.take().context("no input")?.write_all(text.as_bytes()).context("telling mcopy")?;
        ensure!(mcopy.wait().context("waiting for mcopy")?.success(), "mcopy could not write {name}");
        Ok(())
    }

    pub(super) fn remove(&self, name: &str) -> Result<()> {
        let mut mdel = command::program("mdel");
        command::output(mdel.args(["-i", &self.image(), &format!("::/{name}")])).map(drop)
    }

    /// So many bytes of zeros in it.
    pub(super) fn tear(&self, at: u64, bytes: usize) -> Result<()> {
        let mut file = File::options().write(true).open(&self.card).context("opening the card")?;
        file.seek(SeekFrom::Start(self.start + at)).context("seeking on the card")?;
        file.write_all(&vec![0; bytes]).context("writing to the card")
    }

    /// Nothing is left of it, up to a MiB before the end of the card, where its table lies once more.
    pub(super) fn empty(&self) -> Result<()> {
        let mut punch = command::program("fallocate");
        punch.arg("--punch-hole").args(["--offset", &self.start.to_string()]);
        punch.args(["--length", &self.grown()?.to_string()]).arg(&self.card);
        command::output(&mut punch).map(drop)
    }

    pub(super) fn is_empty(&self) -> Result<()> {
        let mut cmp = command::program("cmp");
        cmp.args(["--bytes", &self.grown()?.to_string(), "--ignore-initial", &format!("{}:0", self.start)]);
        command::output(cmp.arg(&self.card).arg("/dev/zero")).map(drop)
    }

    /// How long it is once it took what the card has, less than a MiB.
    fn grown(&self) -> Result<u64> {
        let whole = self.card.metadata().context("looking at the card")?.len();
        whole.checked_sub(self.start + (1 << 20)).context("the card is too short")
    }

    fn image(&self) -> String {
        format!("{}@@{}", self.card.display(), self.start)
    }
}
