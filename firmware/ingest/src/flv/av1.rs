//! AV1 open bitstream units: only as far as to see whether a temporal unit begins with a key frame.
//!
//! A keyframe is a temporal unit whose first frame header says KEY_FRAME and is coded, not shown again (AV1
//! 5.9.2). A forward key frame, which is shown later, and an intra-only frame are none.

const OBU_FRAME_HEADER: u8 = 3;
const OBU_FRAME: u8 = 6;
const KEY_FRAME: u8 = 0;

/// AV1CodecConfigurationRecord (AV1-ISOBMFF 2.3.3): marker bit and version 1 in the first of four bytes.
pub(super) fn check_record(record: &[u8]) -> Option<()> {
    (record.len() >= 4 && record[0] == 0x81).then_some(())
}

/// None if a unit's size points beyond the data.
pub(super) fn is_keyframe(data: &[u8]) -> Option<bool> {
    let mut rest = data;
    while let Some((&header, after)) = rest.split_first() {
        let kind = header >> 3 & 0xF;
        let after = if header & 0x04 == 0 { after } else { after.get(1..)? };
        let (unit, after) = if header & 0x02 == 0 { (after, &[][..]) } else { sized(after)? };
        if kind == OBU_FRAME || kind == OBU_FRAME_HEADER {
            let first = *unit.first()?;
            let (shown_again, frame_type, shown) = (first & 0x80 != 0, first >> 5 & 3, first & 0x10 != 0);
            return Some(!shown_again && frame_type == KEY_FRAME && shown);
        }
        rest = after;
    }
    Some(false)
}

/// A unit behind its size in LEB128 (4.10.5): at most eight bytes, value below 2^32.
fn sized(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let mut size = 0_u64;
    for (index, byte) in bytes.iter().enumerate().take(8) {
        size |= u64::from(byte & 0x7F) << (7 * index);
        if byte & 0x80 == 0 {
            return bytes[index + 1..].split_at_checked(usize::try_from(size).ok()?);
        }
    }
    None
}
