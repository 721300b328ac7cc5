//! `invite --card NAME`: the invite as the file that a friend puts on the box's card, or put there at once, into an image
//! that is not written yet, so that a friend types nothing.
//!
//! Refuses to replace a file, and touches nothing of an image but that one file.

use std::fs::{self, File};
use std::io::{Read as _, Seek as _, SeekFrom, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context as _, Result, bail, ensure};
use clap::Args;
use trust::{Name, UnixSeconds};

use crate::{clock, file};

/// As the box looks for it.
const FILE: &str = "relaybox.toml";
/// The partition of an image that a friend sees, as docs/adr/0014-image.md calls it.
const PARTITION: &str = "card";

/// UEFI specification, 5.3: the header's block, entries of 128 bytes, 128 of them as everybody makes it.
const BLOCK_BYTES: u64 = 512;
const ENTRY_BYTES: usize = 128;
const ENTRIES: usize = 128;

#[derive(Debug, Default, Args)]
#[group(id = "card-file")]
pub(crate) struct Options {
    /// Whom it is for, as a file for a box from an image: NAME/relaybox.toml
    #[arg(long, value_name = "NAME", conflicts_with_all = ["name", "quiet", "viewer"])]
    pub(super) card: Option<Name>,
    /// Put the file into this image, and nowhere else. It takes mtools
    #[arg(long, value_name = "IMAGE", requires = "card")]
    pub(super) into: Option<PathBuf>,
    /// The most that the box gives others, in kbit/s; without it the box finds out itself
    #[arg(long, value_name = "KBPS", requires = "card")]
    upload_kbps_max: Option<u32>,
}

/// Where it went.
pub(super) fn deliver(options: &Options, name: &Name, invite: &str, expires: UnixSeconds) -> Result<String> {
    let pin = pin()?;
    let text = text(name, invite, &pin, options.upload_kbps_max, expires);
    let place = match &options.into {
        Some(image) => {
            put_into(image, &text)?;
            format!("{} of {}", FILE, image.display())
        }
        None => {
            let dir = PathBuf::from(name.as_str());
            file::private_dir(&dir)?;
            let path = dir.join(FILE);
            file::replace(&path, text.as_bytes(), file::OWNER)?;
            path.display().to_string()
        }
    };
    Ok(format!("{place}; the box's PIN is {pin}"))
}

/// Said before an invite is signed: nothing is made that could not be delivered.
pub(super) fn check(options: &Options, name: &Name) -> Result<()> {
    match &options.into {
        Some(image) => start_of_card(image).map(drop),
        None => {
            let path = Path::new(name.as_str()).join(FILE);
            ensure!(!path.exists(), "{} is there already: remove it first", path.display());
            Ok(())
        }
    }
}

fn text(name: &Name, invite: &str, pin: &str, upload_kbps_max: Option<u32>, expires: UnixSeconds) -> String {
    let limit = match upload_kbps_max {
        Some(kbps) => format!("upload_kbps_max = {kbps}"),
        None => "# upload_kbps_max = 3000".to_owned(),
    };
    let text = format!(
        "# For the box of {name}: put this file on the card's drive RELAYBOX, the card into the box, and plug it in.\n\
         # The invite is good for one box until {expires}. The box takes the file off the card.\n\
         invite = \"{invite}\"\n\
         # For what only you may do on the box's page.\n\
         pin = \"{pin}\"\n\
         # The box is http://relaybox.local at home. With two of them, give each its own name.\n\
         # name = \"relaybox\"\n\
         # The most that the box gives to friends, in kbit/s; without it the box finds out itself.\n\
         {limit}\n"
    );
    text.replace('\n', "\r\n")
}

/// Six digits, evenly distributed.
fn pin() -> Result<String> {
    const PINS: u32 = 1_000_000;
    const EVEN: u32 = u32::MAX - u32::MAX % PINS;
    loop {
        // Almost every number is good: this ends.
        let number = u32::from_le_bytes(clock::random()?);
        if number < EVEN {
            return Ok(format!("{:06}", number % PINS));
        }
    }
}

fn put_into(image: &Path, text: &str) -> Result<()> {
    let start = start_of_card(image)?;
    let mut mcopy = Command::new("mcopy");
    mcopy.arg("-i").arg(format!("{}@@{start}", image.display())).args(["-o", "-", &format!("::/{FILE}")]);
    let mut mcopy = match mcopy.stdin(Stdio::piped()).stderr(Stdio::piped()).spawn() {
        Ok(started) => started,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            bail!("an image is changed by mcopy, which is not here: sudo apt install mtools")
        }
        Err(error) => return Err(error).context("starting mcopy"),
    };
    let written = mcopy.stdin.take().context("mcopy takes no input")?.write_all(text.as_bytes());
    let done = mcopy.wait_with_output().context("waiting for mcopy")?;
    ensure!(done.status.success(), "mcopy: {}", String::from_utf8_lossy(&done.stderr).trim());
    written.context("telling mcopy what to write")
}

/// The first byte of the partition that a friend sees.
fn start_of_card(image: &Path) -> Result<u64> {
    let mut file = File::open(image).with_context(|| format!("opening {}", image.display()))?;
    let mut head = [0; 8];
    let read = |file: &mut File, at: u64, bytes: &mut [u8]| -> std::io::Result<()> {
        file.seek(SeekFrom::Start(at))?;
        file.read_exact(bytes)
    };
    let no_image = || format!("{} is no image of a box", image.display());
    read(&mut file, 0, &mut head).with_context(no_image)?;
    ensure!(
        !head.starts_with(b"\xfd7zXZ\x00"),
        "{} is packed: unpack it first (unxz --keep), and write what comes out to the card",
        image.display()
    );
    read(&mut file, BLOCK_BYTES, &mut head).with_context(no_image)?;
    ensure!(&head == b"EFI PART", no_image());
    let mut entries = vec![0; ENTRY_BYTES * ENTRIES];
    read(&mut file, 2 * BLOCK_BYTES, &mut entries).with_context(no_image)?;
    let name: Vec<u8> = PARTITION.encode_utf16().chain([0]).flat_map(u16::to_le_bytes).collect();
    let entry = entries.chunks_exact(ENTRY_BYTES).find(|entry| entry[56..].starts_with(&name));
    let first: [u8; 8] = entry.with_context(no_image)?[32..40].try_into().context("eight bytes")?;
    let start = u64::from_le_bytes(first).checked_mul(BLOCK_BYTES).with_context(no_image)?;
    let length = fs::metadata(image).with_context(no_image)?.len();
    ensure!(start < length, no_image());
    Ok(start)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scratch::Scratch;

    #[test]
    fn the_file_says_what_the_box_reads() {
        let text = text(&"ana".parse().unwrap(), "RELAYBOX1ABC", "004711", Some(3000), UnixSeconds::new(0));
        let lines: Vec<&str> = text.split("\r\n").filter(|line| !line.starts_with('#')).collect();
        assert_eq!(lines, ["invite = \"RELAYBOX1ABC\"", "pin = \"004711\"", "upload_kbps_max = 3000", ""]);
    }

    #[test]
    fn only_an_image_of_a_box_is_touched() {
        let dir = Scratch::new("card");
        let path = dir.path().join("box.img");
        let said = |bytes: &[u8]| {
            fs::write(&path, bytes).unwrap();
            start_of_card(&path).map_err(|error| format!("{error:#}"))
        };
        assert!(said(b"\xfd7zXZ\x00 and so on").unwrap_err().contains("unxz"));
        assert!(said(&[0; 9000]).unwrap_err().contains("is no image of a box"));
        let mut disk = vec![0; 40_000];
        disk[512..520].copy_from_slice(b"EFI PART");
        assert!(said(&disk).unwrap_err().contains("is no image of a box"), "no such partition");
        let entry = 1024 + 128;
        disk[entry + 32..entry + 40].copy_from_slice(&70u64.to_le_bytes());
        disk[entry + 56..entry + 64].copy_from_slice(b"c\0a\0r\0d\0");
        assert_eq!(said(&disk), Ok(35_840));
    }
}
