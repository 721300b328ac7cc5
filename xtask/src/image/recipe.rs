//! What an image is made of, as `image/` and `board/` say it. All that differs between boards is data that is read here.

use std::path::PathBuf;

use anyhow::{Context as _, Result, bail, ensure};
use serde::Deserialize;
use serde::de::DeserializeOwned;

use crate::command;
use crate::deb::Arch;

const MIB: u64 = 1 << 20;

/// What partition tables keep for themselves at each end of the disk, in MiB.
const EDGE_MIB: u64 = 1;

/// `image/recipe.toml`: the same for each board.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Recipe {
    pub(crate) suite: String,
    pub(crate) packages: Vec<String>,
    pub(crate) tools: Vec<String>,
    pub(crate) carved: Vec<Carved>,
    pub(crate) without: Vec<String>,
    pub(crate) within: Vec<String>,
    pub(crate) enabled: Vec<String>,
    pub(crate) masked: Vec<String>,
}

/// A package of which a few files are wanted.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Carved {
    pub(crate) package: String,
    /// Whether what depends on it is content with these files.
    #[serde(default)]
    pub(crate) stands_for: bool,
    pub(crate) files: Vec<String>,
}

/// `board/ID/board.toml`.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Board {
    #[serde(skip)]
    pub(crate) id: String,
    pub(crate) arch: Arch,
    /// `NAME`, or `NAME/SUITE` for what is ported back.
    pub(crate) packages: Vec<String>,
    /// Files for the slot, beside those of every board.
    #[serde(default)]
    pub(crate) carved: Vec<Carved>,
    pub(crate) boot: Boot,
    /// None where firmware starts the kernel by itself.
    pub(crate) grub: Option<Grub>,
    /// None for what is no Raspberry Pi.
    pub(crate) imager: Option<Imager>,
    pub(crate) qemu: Option<Qemu>,
}

/// What the kernel is told, and what firmware finds on the loader's partition beside GRUB.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Boot {
    pub(crate) consoles: Vec<String>,
    /// Whether the two FAT partitions stand in the old partition table as well, for firmware that reads no other.
    #[serde(default)]
    pub(crate) hybrid: bool,
    #[serde(default)]
    pub(crate) files: Vec<Files>,
}

/// Files that are copied to the loader's partition as they are.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Files {
    /// Whose they are; the slot's without one.
    pub(crate) package: Option<String>,
    /// The folder that they lie in.
    pub(crate) from: String,
    pub(crate) names: Vec<String>,
    /// The folder that they are for; the top without one.
    #[serde(default)]
    pub(crate) to: String,
    /// Whether they are packed with gzip, which keeps their names.
    #[serde(default)]
    pub(crate) packed: bool,
}

/// How GRUB is made for it.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Grub {
    pub(crate) format: String,
    pub(crate) package: String,
    pub(crate) file: String,
    pub(crate) modules: Vec<String>,
}

/// What Raspberry Pi Imager is told.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Imager {
    pub(crate) description: String,
    pub(crate) devices: Vec<Device>,
}

/// A board as Imager lets people choose it.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Device {
    pub(crate) name: String,
    pub(crate) tag: String,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Qemu {
    pub(crate) program: String,
    pub(crate) machine: String,
    pub(crate) cpu: String,
    /// UEFI for it, and where that keeps its variables; none where what firmware would start is started at once.
    pub(crate) firmware: Option<PathBuf>,
    pub(crate) variables: Option<PathBuf>,
    /// What is started at once: a file of the loader's partition, and its device tree.
    pub(crate) loader: Option<String>,
    pub(crate) device_tree: Option<String>,
    pub(crate) boot_s_max: u64,
}

/// `image/partitions.toml`.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Partitions {
    pub(crate) disk: String,
    #[serde(rename = "partition")]
    pub(crate) all: Vec<Partition>,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Partition {
    pub(crate) name: String,
    pub(crate) role: Role,
    pub(crate) kind: String,
    pub(crate) id: String,
    mib: u64,
}

/// What lies in a partition.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Role {
    /// GRUB and the boot counter
    Loader,
    /// What a friend's computer shows
    Card,
    /// The first slot
    Root,
    /// The second one, empty
    Spare,
    Data,
}

impl Partition {
    pub(crate) fn bytes(&self) -> u64 {
        self.mib * MIB
    }
}

impl Partitions {
    pub(crate) fn read() -> Result<Partitions> {
        let partitions: Partitions = read("image/partitions.toml")?;
        for role in [Role::Loader, Role::Card, Role::Root, Role::Spare, Role::Data] {
            let count = partitions.all.iter().filter(|partition| partition.role == role).count();
            ensure!(count == 1, "image/partitions.toml has {count} partitions of the role {role:?}, not one");
        }
        ensure!(partitions.all.last().is_some_and(|last| last.role == Role::Data), "only the last can grow");
        Ok(partitions)
    }

    /// Each with its first byte.
    pub(crate) fn placed(&self) -> impl Iterator<Item = (u64, &Partition)> {
        self.all.iter().scan(EDGE_MIB * MIB, |next, partition| {
            let start = *next;
            *next += partition.bytes();
            Some((start, partition))
        })
    }

    pub(crate) fn disk_bytes(&self) -> u64 {
        2 * EDGE_MIB * MIB + self.all.iter().map(Partition::bytes).sum::<u64>()
    }

    pub(crate) fn of(&self, role: Role) -> Result<&Partition> {
        self.all.iter().find(|partition| partition.role == role).context("a partition is missing")
    }

    /// What `sfdisk` is told.
    pub(crate) fn script(&self) -> String {
        let mut text = format!("label: gpt\nlabel-id: {}\nunit: sectors\nsector-size: 512\n", self.disk);
        for (start, Partition { name, kind, id, mib, .. }) in self.placed() {
            let (start, size) = (start / 512, mib * MIB / 512);
            text.push_str(&format!("start={start}, size={size}, type={kind}, uuid={id}, name=\"{name}\"\n"));
        }
        text
    }
}

impl Recipe {
    pub(crate) fn read() -> Result<Recipe> {
        read("image/recipe.toml")
    }
}

impl Board {
    pub(crate) fn read(id: &str) -> Result<Board> {
        let known = known()?;
        if !known.iter().any(|board| board == id) {
            bail!("there is no board {id}; there are {}", known.join(", "));
        }
        let board: Board = read(&format!("board/{id}/board.toml"))?;
        Ok(Board { id: id.to_owned(), ..board })
    }

    /// The folder of what is its own.
    pub(crate) fn folder(&self) -> PathBuf {
        command::root().join("board").join(&self.id)
    }

    /// The packages of which single files are taken, each once: into the slot, for the loader, and GRUB.
    pub(crate) fn carved_packages(&self, recipe: &Recipe) -> Vec<String> {
        let slot = recipe.carved.iter().chain(&self.carved).map(|carved| carved.package.clone());
        let firmware = self.boot.files.iter().filter_map(|files| files.package.clone());
        let grub = self.grub.iter().map(|grub| grub.package.clone());
        let mut all: Vec<String> = slot.chain(firmware).chain(grub).collect();
        all.sort();
        all.dedup();
        all
    }

    /// Puts in what is known only now: ids of partitions, consoles, and what this board does before its kernel starts.
    pub(crate) fn fill(&self, partitions: &Partitions, text: &str) -> Result<String> {
        let id = |role| Ok::<_, anyhow::Error>(partitions.of(role)?.id.as_str());
        let own = std::fs::read_to_string(self.folder().join("slot.cfg")).unwrap_or_default();
        let consoles: Vec<String> =
            self.boot.consoles.iter().map(|console| format!("console={console}")).collect();
        let filled = text
            .replace("@BOARD@", own.trim_end())
            .replace("@DATA@", id(Role::Data)?)
            .replace("@ROOT_A@", id(Role::Root)?)
            .replace("@ROOT_B@", id(Role::Spare)?)
            .replace("@LOADER@", id(Role::Loader)?)
            .replace("@CARD@", id(Role::Card)?)
            .replace("@CONSOLES@", &consoles.join(" "));
        ensure!(!filled.contains('@'), "what is not known is asked for: {filled}");
        Ok(filled)
    }

    /// The folder of its libraries.
    pub(crate) fn libraries(&self) -> &'static str {
        match self.arch {
            Arch::Amd64 => "usr/lib/x86_64-linux-gnu",
            Arch::Arm64 => "usr/lib/aarch64-linux-gnu",
        }
    }
}

/// The boards of this tree.
pub(crate) fn known() -> Result<Vec<String>> {
    let dir = command::root().join("board");
    let entries = std::fs::read_dir(&dir).with_context(|| format!("reading {}", dir.display()))?;
    let mut boards: Vec<String> = entries
        .flatten()
        .filter(|entry| entry.path().join("board.toml").is_file())
        .map(|entry| entry.file_name().to_string_lossy().into_owned())
        .collect();
    boards.sort();
    Ok(boards)
}

fn read<T: DeserializeOwned>(path: &str) -> Result<T> {
    let full = command::root().join(path);
    let text = std::fs::read_to_string(&full).with_context(|| format!("could not read {path}"))?;
    toml::from_str(&text).with_context(|| format!("{path} is not as it should be"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_tree_says_is_well_formed() {
        Recipe::read().unwrap();
        for id in known().unwrap() {
            Board::read(&id).unwrap();
        }
        assert!(Board::read("toaster").unwrap_err().to_string().contains("efi-x86_64"));
    }

    /// What a Raspberry Pi's settings name is among the files that the board brings; the image itself is looked at by
    /// `image-test`.
    #[test]
    fn settings_name_what_a_board_brings() {
        for (id, kernel, initrd) in [("rpi", "u-boot.bin", None), ("rpi5", "a/vmlinuz", Some("a/initrd.img"))]
        {
            let board = Board::read(id).unwrap();
            let text = std::fs::read_to_string(board.folder().join("boot/config.txt")).unwrap();
            let brought: Vec<String> = board
                .boot
                .files
                .iter()
                .flat_map(|files| files.names.iter().map(|name| format!("{}/{name}", files.to)))
                .map(|path| path.trim_start_matches('/').to_owned())
                .collect();
            for path in initrd.iter().chain([&kernel]) {
                let name = path.trim_start_matches("a/");
                assert!(brought.iter().any(|own| own == path), "{id}: {path}");
                assert!(text.lines().any(|line| line.contains(name)), "{id}: {name}");
            }
            assert_eq!(text.contains("os_prefix=a/\n"), initrd.is_some(), "{id}");
        }
    }

    #[test]
    fn a_board_does_its_own_before_the_kernel() {
        let partitions = Partitions::read().unwrap();
        let slot = std::fs::read_to_string(command::root().join("image/slot.cfg")).unwrap();
        let filled = |id: &str| Board::read(id).unwrap().fill(&partitions, &slot).unwrap();
        assert!(filled("rpi").contains("\n    devicetree ($device)/boot/dtb/$tree\n"));
        assert!(!filled("efi-arm64").contains("devicetree"));
        assert!(filled("rpi").contains(" console=ttyS1,115200 console=tty0 "));
        let error = Board::read("rpi").unwrap().fill(&partitions, "@WHAT@").unwrap_err();
        assert!(error.to_string().contains("@WHAT@"), "{error}");
    }

    /// Boxes out there have it: only an ADR that says how they live with it may change these lines.
    #[test]
    fn the_partition_table_is_what_boxes_have() {
        let partitions = Partitions::read().unwrap();
        let found: Vec<(String, u64, u64)> = partitions
            .placed()
            .map(|(start, partition)| (partition.name.clone(), start >> 20, partition.bytes() >> 20))
            .collect();
        let expected = [
            ("boot", 1, 128),
            ("card", 129, 32),
            ("root-a", 161, 1024),
            ("root-b", 1185, 1024),
            ("data", 2209, 64),
        ];
        assert_eq!(found, expected.map(|(name, start, mib)| (name.to_owned(), start, mib)));
        assert_eq!(partitions.disk_bytes() >> 20, 2274);
        assert!(partitions.script().contains("start=2048, size=262144, type=c12a7328-"));
    }
}
