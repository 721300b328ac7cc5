//! What the firmware of a Raspberry Pi finds on its card, as far as that can be known without one: both partition tables, the
//! files that it looks for by name, those that its settings name, and device trees that are whole and speak of the model.
//!
//! It can't know whether the firmware takes them.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use anyhow::{Context as _, Result, ensure};

use super::place::Place;
use crate::command;
use crate::image::{self, Board, Partitions, Role};

/// What each model's ROM and second stage load by name; the newest have all of it in their own flash.
const BY_NAME: [(&str, &[&str]); 3] = [
    ("pi3-64bit", &["bootcode.bin", "start.elf", "fixup.dat"]),
    ("pi4-64bit", &["start4.elf", "fixup4.dat"]),
    ("pi5-64bit", &[]),
];

/// The models' device trees, by the tag of the board; what each calls itself; and what else has to be in it: the card's
/// controller and the wired network, of which a 3's and a Zero's hang on USB.
const TREES: [(&str, &str, &str, [&str; 2]); 5] = [
    (
        "pi3-64bit",
        "bcm2837-rpi-3-b-plus.dtb",
        "raspberrypi,3-model-b-plus",
        ["brcm,bcm2835-sdhost", "brcm,bcm2835-usb"],
    ),
    (
        "pi3-64bit",
        "bcm2837-rpi-zero-2-w.dtb",
        "raspberrypi,model-zero-2-w",
        ["brcm,bcm2835-sdhost", "brcm,bcm2835-usb"],
    ),
    (
        "pi4-64bit",
        "bcm2711-rpi-4-b.dtb",
        "raspberrypi,4-model-b",
        ["brcm,bcm2711-emmc2", "brcm,bcm2711-genet-v5"],
    ),
    (
        "pi5-64bit",
        "bcm2712-rpi-5-b.dtb",
        "raspberrypi,5-model-b",
        ["brcm,bcm2712-sdhci", "raspberrypi,rp1-gem"],
    ),
    (
        "pi5-64bit",
        "bcm2712-d-rpi-5-b.dtb",
        "raspberrypi,5-model-b",
        ["brcm,bcm2712-sdhci", "raspberrypi,rp1-gem"],
    ),
];

/// Of a flattened device tree (Devicetree Specification 0.4, 5.2).
const TREE_MAGIC: [u8; 4] = [0xd0, 0x0d, 0xfe, 0xed];
/// Of a kernel for 64-bit Arm, and where it stands (Linux, Documentation/arch/arm64/booting.rst).
const KERNEL_MAGIC: &[u8] = b"ARMd";
const KERNEL_MAGIC_AT: usize = 56;
const GZIP_MAGIC: [u8; 2] = [0x1f, 0x8b];

pub(super) fn check(board: &Board, disk: &Path) -> Result<()> {
    let partitions = Partitions::read()?;
    tables(&partitions, disk)?;
    let loader = Place::find(disk, Role::Loader)?;
    let names = loader.names().context("listing the loader's partition")?;
    let settings = Settings::parse(&loader.read("config.txt").context("there is no config.txt")?);
    let find = |name: &str| settings.found(name, &names);
    let imager = board.imager.as_ref().context("this board is no Raspberry Pi")?;
    let tags: Vec<&str> = imager.devices.iter().map(|device| device.tag.as_str()).collect();
    for (_, wanted) in BY_NAME.iter().filter(|(tag, _)| tags.contains(tag)) {
        for name in *wanted {
            ensure!(names.contains(*name), "the firmware looks for {name}, which is not there");
        }
    }
    for (_, name, model, parts) in TREES.iter().filter(|(tag, ..)| tags.contains(tag)) {
        let found = find(name).with_context(|| format!("there is no device tree {name}"))?;
        tree(&bytes(&loader, &found)?, &[model, parts[0], parts[1]])
            .with_context(|| format!("in {found}"))?;
    }
    let kernel = settings.of("kernel").context("config.txt names no kernel")?;
    let found = find(kernel).with_context(|| format!("config.txt names the kernel {kernel}: not there"))?;
    match &board.grub {
        Some(grub) => ensure!(names.contains(&grub.file), "U-Boot looks for {}: not there", grub.file),
        None => started_at_once(&partitions, &settings, &names, &loader, &found)?,
    }
    println!(
        "{}: both partition tables, {} files for the firmware, device trees and settings are as they should be",
        board.id,
        names.len()
    );
    Ok(())
}

/// A kernel that the firmware unpacks, what it is told, and its initrd.
fn started_at_once(
    partitions: &Partitions,
    settings: &Settings,
    names: &BTreeSet<String>,
    loader: &Place,
    kernel: &str,
) -> Result<()> {
    let packed = bytes(loader, kernel)?;
    ensure!(packed.starts_with(&GZIP_MAGIC), "{kernel} is not packed");
    let dir = std::env::temp_dir().join(format!("xtask-kernel-{}", std::process::id()));
    fs::write(&dir, &packed).context("keeping the kernel")?;
    let unpacked = command::program("gzip").args(["-dc"]).stdin(fs::File::open(&dir)?).output();
    fs::remove_file(&dir).context("removing the kernel")?;
    let unpacked = unpacked.context("unpacking the kernel")?.stdout;
    let magic = unpacked.get(KERNEL_MAGIC_AT..KERNEL_MAGIC_AT + KERNEL_MAGIC.len());
    ensure!(magic == Some(KERNEL_MAGIC), "{kernel} is no kernel for 64-bit Arm");
    let initrd = settings.initramfs.as_deref().context("config.txt names no initramfs")?;
    settings.found(initrd, names).with_context(|| format!("config.txt names {initrd}: not there"))?;
    let line = settings.found("cmdline.txt", names).context("there is no cmdline.txt")?;
    let (line, root) = (loader.read(&line)?, &partitions.of(Role::Root)?.id);
    ensure!(line.contains(&format!("root=PARTUUID={root} ")), "the kernel is told: {line}");
    Ok(())
}

/// The data partition took what the card has, by both tables.
pub(super) fn grown(card: &Path, bytes_min: u64) -> Result<()> {
    let partitions = Partitions::read()?;
    ensure!(image::old_table(card)? == image::entries(&partitions)?, "the old table changed");
    let data = &partitions.of(Role::Data)?.id;
    let dump = dump(card)?;
    let line = dump.iter().find(|line| line.contains(data)).context("the data partition is gone")?;
    let sectors = line.split("size=").nth(1).and_then(|rest| rest.split(',').next());
    let bytes = sectors.context("no size")?.trim().parse::<u64>().context("no size")? * 512;
    ensure!(bytes >= bytes_min, "the data partition has {bytes} bytes, and did not grow");
    Ok(())
}

/// The old table has the two FATs, and the GPT all five partitions.
fn tables(partitions: &Partitions, disk: &Path) -> Result<()> {
    let (found, expected) = (image::old_table(disk)?, image::entries(partitions)?);
    ensure!(found == expected, "the old partition table has {found:?}");
    let lines = dump(disk)?;
    for (start, partition) in partitions.placed() {
        let line = lines.iter().find(|line| line.contains(&partition.id));
        let line = line.with_context(|| format!("the GPT lacks {}", partition.name))?;
        let (start, size) = (start / 512, partition.bytes() / 512);
        let words: String = line.split_whitespace().collect();
        ensure!(
            words.contains(&format!("start={start},size={size},type={}", partition.kind)),
            "the GPT has {line}"
        );
    }
    Ok(())
}

/// The GPT as sfdisk reads it, in small letters.
fn dump(disk: &Path) -> Result<Vec<String>> {
    let said = command::output(command::program("sfdisk").arg("--dump").arg(disk))?;
    Ok(said.lines().map(str::to_lowercase).collect())
}

fn bytes(loader: &Place, name: &str) -> Result<Vec<u8>> {
    let copy = std::env::temp_dir().join(format!("xtask-firmware-{}", std::process::id()));
    loader.copy_out(name, &copy)?;
    let bytes = fs::read(&copy).with_context(|| format!("reading {name}"))?;
    fs::remove_file(&copy).with_context(|| format!("removing {}", copy.display()))?;
    Ok(bytes)
}

/// Whether a device tree is whole and has these words, each as a text of its own.
fn tree(bytes: &[u8], words: &[&str]) -> Result<()> {
    ensure!(bytes.starts_with(&TREE_MAGIC), "it is no device tree");
    let said = bytes.get(4..8).and_then(|said| said.try_into().ok()).map(u32::from_be_bytes);
    ensure!(said.map(|said| said as usize) == Some(bytes.len()), "it is cut off");
    for word in words {
        let text = [word.as_bytes(), b"\0"].concat();
        ensure!(bytes.windows(text.len()).any(|window| window == text), "nothing in it is {word}");
    }
    Ok(())
}

/// `config.txt`, as far as it names files.
struct Settings {
    prefix: String,
    pairs: Vec<(String, String)>,
    initramfs: Option<String>,
}

impl Settings {
    fn parse(text: &str) -> Settings {
        let lines = text.lines().map(str::trim).filter(|line| !line.starts_with('#'));
        let pair =
            |line: &str| Some(line.split_once('=')?).map(|(key, value)| (key.to_owned(), value.to_owned()));
        let pairs: Vec<(String, String)> = lines.clone().filter_map(pair).collect();
        // The one setting without a sign: `initramfs FILE followkernel`.
        let initramfs = lines.clone().find_map(|line| line.strip_prefix("initramfs "));
        let initramfs = initramfs.and_then(|rest| rest.split(' ').next()).map(str::to_owned);
        let settings = Settings { prefix: String::new(), pairs, initramfs };
        Settings { prefix: settings.of("os_prefix").unwrap_or_default().to_owned(), ..settings }
    }

    fn of(&self, key: &str) -> Option<&str> {
        self.pairs.iter().find(|(own, _)| own == key).map(|(_, value)| value.as_str())
    }

    /// Where the firmware finds a file that belongs to the system.
    fn found(&self, name: &str, names: &BTreeSet<String>) -> Option<String> {
        let name = format!("{}{name}", self.prefix);
        names.contains(&name).then_some(name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_name_files_below_their_prefix() {
        let settings =
            Settings::parse("# kernel=x\nos_prefix=a/\nkernel=vmlinuz\ninitramfs initrd.img followkernel\n");
        let names = BTreeSet::from(["a/vmlinuz".to_owned(), "initrd.img".to_owned()]);
        assert_eq!(settings.of("kernel"), Some("vmlinuz"));
        assert_eq!(settings.found("vmlinuz", &names).as_deref(), Some("a/vmlinuz"));
        assert_eq!(settings.initramfs.as_deref(), Some("initrd.img"));
        assert_eq!(settings.found("initrd.img", &names), None, "it lies beside the folder");
    }

    #[test]
    fn half_a_tree_is_none() {
        let whole = [&TREE_MAGIC[..], &[0, 0, 0, 12], b"a,b\0"].concat();
        tree(&whole, &["a,b"]).unwrap();
        assert_eq!(tree(&whole, &["b,c"]).unwrap_err().to_string(), "nothing in it is b,c");
        assert_eq!(tree(&whole[..10], &[]).unwrap_err().to_string(), "it is cut off");
        assert_eq!(tree(b"MZ", &[]).unwrap_err().to_string(), "it is no device tree");
    }
}
