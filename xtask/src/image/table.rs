//! The old partition table beside the new one, for the ROM of a Raspberry Pi 3 and Zero 2 W, which reads no other.
//!
//! A *hybrid* table: the two FAT partitions stand in both, and a third entry, of the kind *GPT*, keeps other programs off
//! the rest and tells those that know better to read the GPT. That entry is the last one, since the ROM looks for its FAT
//! in the first. `systemd-repart` leaves such a table alone when it enlarges the last partition.

use std::fs::File;
use std::io::{Read as _, Seek as _, SeekFrom, Write as _};
use std::path::Path;

use anyhow::{Context as _, Result, ensure};

use super::recipe::{Partitions, Role};

const SECTOR: u64 = 512;
/// Four entries of 16 bytes, and the mark of a table (UEFI 2.10, 5.2.1).
const ENTRIES_AT: usize = 446;
const ENTRY_BYTES: usize = 16;
const MARK: [u8; 2] = [0x55, 0xaa];
/// Cylinder, head and sector of what is named by blocks alone.
const NO_GEOMETRY: [u8; 3] = [0xfe, 0xff, 0xff];

/// Kinds of partitions.
const FAT32: u8 = 0x0c;
const FAT16: u8 = 0x0e;
const GPT: u8 = 0xee;

/// An entry: its kind, first sector, number of sectors.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Entry {
    pub(crate) kind: u8,
    pub(crate) start: u32,
    pub(crate) sectors: u32,
}

/// Puts the entries into the first sector, which holds a GPT's own already.
pub(super) fn make_hybrid(partitions: &Partitions, disk: &Path) -> Result<()> {
    let mut bytes: Vec<u8> = entries(partitions)?.iter().flat_map(Entry::bytes).collect();
    bytes.resize(4 * ENTRY_BYTES, 0);
    bytes.extend(MARK);
    let mut file =
        File::options().write(true).open(disk).with_context(|| format!("opening {}", disk.display()))?;
    file.seek(SeekFrom::Start(ENTRIES_AT as u64)).context("seeking")?;
    file.write_all(&bytes).context("writing the old partition table")
}

/// What such a table has.
pub(crate) fn entries(partitions: &Partitions) -> Result<Vec<Entry>> {
    let mut entries = Vec::new();
    let mut first = u32::MAX;
    for (role, kind) in [(Role::Loader, FAT32), (Role::Card, FAT16)] {
        let found = partitions.placed().find(|(_, partition)| partition.role == role);
        let (start, partition) = found.context("a partition is missing")?;
        let sectors = |bytes: u64| u32::try_from(bytes / SECTOR).context("too far for the old table");
        let (start, sectors) = (sectors(start)?, sectors(partition.bytes())?);
        first = first.min(start);
        entries.push(Entry { kind, start, sectors });
    }
    entries.push(Entry { kind: GPT, start: 1, sectors: first - 1 });
    Ok(entries)
}

/// Those of a disk.
pub(crate) fn read(disk: &Path) -> Result<Vec<Entry>> {
    let mut sector = [0; SECTOR as usize];
    let mut file = File::open(disk).with_context(|| format!("opening {}", disk.display()))?;
    file.read_exact(&mut sector).context("reading the first sector")?;
    ensure!(sector.ends_with(&MARK), "the first sector is no partition table");
    let entries = sector[ENTRIES_AT..SECTOR as usize - MARK.len()].chunks_exact(ENTRY_BYTES);
    Ok(entries.map(Entry::parse).filter(|entry| entry.kind != 0).collect())
}

impl Entry {
    fn bytes(&self) -> Vec<u8> {
        let mut bytes = vec![0];
        bytes.extend(NO_GEOMETRY);
        bytes.push(self.kind);
        bytes.extend(NO_GEOMETRY);
        bytes.extend(self.start.to_le_bytes());
        bytes.extend(self.sectors.to_le_bytes());
        bytes
    }

    fn parse(bytes: &[u8]) -> Entry {
        let number = |at: usize| u32::from_le_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]]);
        Entry { kind: bytes[4], start: number(8), sectors: number(12) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The first FAT at 1 MiB, 128 MiB long; the second after it, 32 MiB long.
    #[test]
    fn fats_come_first() {
        let path = std::env::temp_dir().join(format!("xtask-table-{}", std::process::id()));
        std::fs::write(&path, [0u8; 1024]).unwrap();
        make_hybrid(&Partitions::read().unwrap(), &path).unwrap();
        let bytes = std::fs::read(&path).unwrap();
        let found = read(&path).unwrap();
        std::fs::remove_file(&path).unwrap();
        assert_eq!(
            bytes[446..462],
            [0, 0xfe, 0xff, 0xff, 0x0c, 0xfe, 0xff, 0xff, 0, 8, 0, 0, 0, 0, 4, 0],
            "the first entry"
        );
        assert_eq!(bytes[510..], [&[0x55, 0xaa][..], &[0; 512]].concat());
        let expected = [(0x0c, 2048, 262_144), (0x0e, 264_192, 65_536), (0xee, 1, 2047)];
        assert_eq!(found, expected.map(|(kind, start, sectors)| Entry { kind, start, sectors }));
    }
}
