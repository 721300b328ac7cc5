//! The map of an image's blocks, by which a card is written without its empty parts, and checked: version 2.0 of the
//! format that `bmaptool` reads.
//!
//! An empty block is one of zeros, not a hole of the file: the map is then the same wherever the image lies.

use std::fs::File;
use std::io::Read as _;
use std::path::Path;

use anyhow::{Context as _, Result};
use sha2::{Digest as _, Sha256};

use super::mirror::hex;

const BLOCK_BYTES: usize = 4096;

/// What the map says in place of its own checksum while that is computed.
const NO_SUM: &str = "0000000000000000000000000000000000000000000000000000000000000000";

struct Range {
    first: u64,
    last: u64,
    sum: String,
}

/// The map's text.
pub(super) fn of(image: &Path) -> Result<String> {
    let bytes = image.metadata().with_context(|| format!("looking at {}", image.display()))?.len();
    let mut file = File::open(image).with_context(|| format!("opening {}", image.display()))?;
    let mut ranges = Vec::new();
    let mut open: Option<(u64, Sha256)> = None;
    let mut block = vec![0; BLOCK_BYTES];
    for number in 0..bytes.div_ceil(BLOCK_BYTES as u64) {
        let left = bytes - number * BLOCK_BYTES as u64;
        let length = left.min(BLOCK_BYTES as u64) as usize;
        file.read_exact(&mut block[..length]).with_context(|| format!("reading {}", image.display()))?;
        if block[..length].iter().any(|byte| *byte != 0) {
            let (_, hasher) = open.get_or_insert_with(|| (number, Sha256::new()));
            hasher.update(&block[..length]);
        } else if let Some((first, hasher)) = open.take() {
            ranges.push(Range { first, last: number - 1, sum: hex(&hasher.finalize()) });
        }
    }
    if let Some((first, hasher)) = open.take() {
        let last = bytes.div_ceil(BLOCK_BYTES as u64) - 1;
        ranges.push(Range { first, last, sum: hex(&hasher.finalize()) });
    }
    let text = text(bytes, &ranges);
    let sum = hex(&Sha256::digest(&text));
    Ok(text.replacen(NO_SUM, &sum, 1))
}

fn text(bytes: u64, ranges: &[Range]) -> String {
    let blocks = bytes.div_ceil(BLOCK_BYTES as u64);
    let mapped: u64 = ranges.iter().map(|range| range.last - range.first + 1).sum();
    let mut text = format!(
        "<?xml version=\"1.0\" ?>\n<bmap version=\"2.0\">\n    <ImageSize> {bytes} </ImageSize>\n    \
         <BlockSize> {BLOCK_BYTES} </BlockSize>\n    <BlocksCount> {blocks} </BlocksCount>\n    \
         <MappedBlocksCount> {mapped} </MappedBlocksCount>\n    <ChecksumType> sha256 </ChecksumType>\n    \
         <BmapFileChecksum> {NO_SUM} </BmapFileChecksum>\n    <BlockMap>\n"
    );
    for Range { first, last, sum } in ranges {
        let numbers = if first == last { first.to_string() } else { format!("{first}-{last}") };
        text.push_str(&format!("        <Range chksum=\"{sum}\"> {numbers} </Range>\n"));
    }
    text + "    </BlockMap>\n</bmap>\n"
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_blocks_with_something_in_them_are_mapped() {
        let path = std::env::temp_dir().join(format!("xtask-bmap-{}", std::process::id()));
        let mut bytes = vec![0; 5 * BLOCK_BYTES + 100];
        bytes[BLOCK_BYTES] = 1;
        bytes[3 * BLOCK_BYTES - 1] = 1;
        bytes[5 * BLOCK_BYTES] = 1;
        std::fs::write(&path, bytes).unwrap();
        let map = of(&path).unwrap();
        std::fs::remove_file(&path).unwrap();
        let ranges: Vec<&str> = map.lines().filter(|line| line.contains("Range")).collect();
        assert!(ranges[0].ends_with("\"> 1-2 </Range>") && ranges[1].ends_with("\"> 5 </Range>"), "{map}");
        assert!(map.contains("<MappedBlocksCount> 3 <") && !map.contains(NO_SUM));
    }
}
