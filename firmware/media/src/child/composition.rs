//! Puts composition offsets into a fragment that was muxed in decoding order.
//!
//! The muxer writes a part's earliest presentation time as its base media decode time. In the middle of a group of
//! pictures with B-frames that runs backward against the part before, and a browser then drops pictures up to the
//! next keyframe (Media Source Extensions, coded frame processing: a decode timestamp below the last one). So video
//! goes through the muxer with its decoding times alone, which it keeps exactly, and the offsets between decoding
//! and presentation are written here (ISO/IEC 14496-12, 8.8.8: `sample_composition_time_offset`, version 1).

use anyhow::{Context, Result, ensure};

const TRUN_COMPOSITION: u32 = 0x800;
const TRUN_DATA_OFFSET: u32 = 0x1;

/// A box in a buffer: where it begins, where its content begins, where it ends.
#[derive(Clone, Copy, Debug)]
struct Span {
    start: usize,
    body: usize,
    end: usize,
}

/// Writes `offsets`, in ticks, one per video sample in decoding order, into the track run of `track_id`.
///
/// # Errors
/// The fragment is not as the muxer makes it: one `moof` first, one `trun` in the track, without offsets, with as
/// many samples as there are offsets.
pub(crate) fn write(fragment: &mut Vec<u8>, track_id: u32, offsets: &[i32]) -> Result<()> {
    let moof = find(fragment, 0, fragment.len(), *b"moof").context("no moof")?;
    let (traf, trun) =
        track_run(fragment, moof, track_id)?.with_context(|| format!("no track {track_id}"))?;
    let flags = word(fragment, trun.body)?;
    let count = word(fragment, trun.body + 4)? as usize;
    ensure!(flags & TRUN_COMPOSITION == 0, "the run has composition offsets already");
    ensure!(count == offsets.len(), "{count} samples, {} offsets", offsets.len());

    let first = trun.body + 8 + 4 * (flags & 0x5).count_ones() as usize;
    let sample = 4 * (flags >> 8 & 0xf).count_ones() as usize;
    ensure!(first + count * sample == trun.end, "a run that does not add up");
    let mut run = fragment[trun.body..first].to_vec();
    for (index, offset) in offsets.iter().enumerate() {
        let at = first + index * sample;
        run.extend_from_slice(&fragment[at..at + sample]);
        run.extend_from_slice(&offset.to_be_bytes());
    }
    run[..4].copy_from_slice(&(0x0100_0000 | (flags & 0x00ff_ffff) | TRUN_COMPOSITION).to_be_bytes());
    fragment.splice(trun.body..trun.end, run);

    let grown = 4 * count;
    for span in [moof, traf, trun] {
        grow(fragment, span.start, grown)?;
    }
    let moof = Span { end: moof.end + grown, ..moof };
    shift_data(fragment, moof, grown)
}

/// How many samples of a track the fragment holds; none if the track is not in it.
pub(crate) fn samples(fragment: &[u8], track_id: u32) -> Result<usize> {
    let moof = find(fragment, 0, fragment.len(), *b"moof").context("no moof")?;
    match track_run(fragment, moof, track_id)? {
        Some((_, trun)) => Ok(word(fragment, trun.body + 4)? as usize),
        None => Ok(0),
    }
}

/// The one run of a track, with its track fragment.
fn track_run(data: &[u8], moof: Span, track_id: u32) -> Result<Option<(Span, Span)>> {
    let mut at = moof.body;
    while let Some(traf) = find(data, at, moof.end, *b"traf") {
        let tfhd = find(data, traf.body, traf.end, *b"tfhd").context("no tfhd")?;
        if word(data, tfhd.body + 4)? == track_id {
            let trun = find(data, traf.body, traf.end, *b"trun").context("no trun")?;
            ensure!(find(data, trun.end, traf.end, *b"trun").is_none(), "more than one run");
            return Ok(Some((traf, trun)));
        }
        at = traf.end;
    }
    Ok(None)
}

/// The movie fragment grew, so the media data of each track lies further behind its start.
fn shift_data(data: &mut [u8], moof: Span, by: usize) -> Result<()> {
    let mut at = moof.body;
    while let Some(traf) = find(data, at, moof.end, *b"traf") {
        let mut inner = traf.body;
        while let Some(trun) = find(data, inner, traf.end, *b"trun") {
            ensure!(word(data, trun.body)? & TRUN_DATA_OFFSET != 0, "a run without a data offset");
            grow(data, trun.body + 8, by)?;
            inner = trun.end;
        }
        at = traf.end;
    }
    Ok(())
}

fn find(data: &[u8], mut at: usize, end: usize, name: [u8; 4]) -> Option<Span> {
    while at + 8 <= end {
        let length = word(data, at).ok()? as usize;
        let found: [u8; 4] = data.get(at + 4..at + 8)?.try_into().ok()?;
        if length < 8 || at + length > end {
            return None;
        }
        if found == name {
            return Some(Span { start: at, body: at + 8, end: at + length });
        }
        at += length;
    }
    None
}

fn word(data: &[u8], at: usize) -> Result<u32> {
    let bytes = data.get(at..at + 4).context("a box that is cut short")?;
    Ok(u32::from_be_bytes(bytes.try_into().context("four bytes")?))
}

/// Adds to the 32-bit number at `at`.
fn grow(data: &mut [u8], at: usize, by: usize) -> Result<()> {
    let value = word(data, at)? as usize + by;
    let value = u32::try_from(value).context("a fragment over 4 GiB")?;
    data[at..at + 4].copy_from_slice(&value.to_be_bytes());
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn boxed(name: &[u8; 4], content: &[&[u8]]) -> Vec<u8> {
        let body = content.concat();
        [&(body.len() as u32 + 8).to_be_bytes()[..], name, &body].concat()
    }

    fn words(values: &[u32]) -> Vec<u8> {
        values.iter().flat_map(|value| value.to_be_bytes()).collect()
    }

    fn fragment(video_run: &[u32], audio_offset: u32) -> Vec<u8> {
        let traf = |id: u32, run: &[u32]| {
            boxed(b"traf", &[&boxed(b"tfhd", &[&words(&[0x20000, id])]), &boxed(b"trun", &[&words(run)])])
        };
        let moof = boxed(b"moof", &[&traf(1, video_run), &traf(2, &[0x1, 1, audio_offset])]);
        [moof, boxed(b"mdat", &[b"video-audio"])].concat()
    }

    #[test]
    fn offsets_go_in_and_everything_behind_moves() {
        // Two samples with duration and size; data offsets 100 and 105.
        let mut made = fragment(&[0x301, 2, 100, 3000, 3, 3000, 2], 105);
        write(&mut made, 1, &[6000, -3000]).unwrap();
        let run = [0x0100_0b01, 2, 108, 3000, 3, 6000, 3000, 2, (-3000i32) as u32];
        assert_eq!(made, fragment(&run, 113));
    }

    #[test]
    fn what_does_not_add_up_is_refused() {
        let good = fragment(&[0x301, 2, 100, 3000, 3, 3000, 2], 105);
        assert!(write(&mut good.clone(), 1, &[0]).is_err());
        assert!(write(&mut good.clone(), 9, &[0, 0]).is_err());
        for cut in 0..good.len() - 19 {
            assert!(write(&mut good[..cut].to_vec(), 1, &[0, 0]).is_err(), "{cut}");
        }
        let lying = fragment(&[0x301, 3, 100, 3000, 3, 3000, 2], 105);
        assert!(write(&mut lying.clone(), 1, &[0, 0, 0]).is_err());
    }
}
