//! Puts the exact times of its samples into a fragment, and its number.
//!
//! Two times the muxer can't know are written here, each from what the parent said of the sample:
//!
//! - *Composition offsets.* The muxer writes a part's earliest presentation time as its base media decode time. In the
//!   middle of a group of pictures with B-frames that runs backward against the part before, and a browser then drops
//!   pictures up to the next keyframe (Media Source Extensions, coded frame processing: a decode timestamp below the
//!   last one). So video goes through the muxer with its decoding times alone, which it keeps exactly, and the
//!   offsets come in here (ISO/IEC 14496-12, 8.8.8: `sample_composition_time_offset`, version 1).
//! - *Durations of audio.* A part's last frame would end at the cut, which lies inside it; it is as long as it is.

use anyhow::{Context, Result, ensure};

const RUN_DATA_OFFSET: u32 = 0x1;
const RUN_DURATION: u32 = 0x100;
const RUN_COMPOSITION: u32 = 0x800;
const HEADER_DURATION: u32 = 0x8;

/// A sample that went into the muxer, in its track's timescale.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Timed {
    pub(crate) dts: u64,
    pub(crate) duration: u32,
    pub(crate) offset: i32,
}

/// What a fragment has to say of its samples.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Truth {
    Durations,
    Offsets,
}

/// A box in a buffer: where it begins, where its content begins, where it ends.
#[derive(Clone, Copy, Debug)]
struct Span {
    start: usize,
    body: usize,
    end: usize,
}

/// A track's run of samples and the boxes around it.
#[derive(Clone, Copy, Debug)]
struct Run {
    moof: Span,
    traf: Span,
    header: Span,
    trun: Span,
    flags: u32,
    count: usize,
    /// Where the first sample's fields begin.
    first: usize,
}

impl Run {
    /// None if the track is not in the fragment.
    fn find(data: &[u8], track_id: u32) -> Result<Option<Self>> {
        let moof = find(data, 0, data.len(), *b"moof").context("no moof")?;
        let mut at = moof.body;
        while let Some(traf) = find(data, at, moof.end, *b"traf") {
            let header = find(data, traf.body, traf.end, *b"tfhd").context("no tfhd")?;
            at = traf.end;
            if word(data, header.body + 4)? != track_id {
                continue;
            }
            let trun = find(data, traf.body, traf.end, *b"trun").context("no trun")?;
            ensure!(find(data, trun.end, traf.end, *b"trun").is_none(), "more than one run");
            let flags = word(data, trun.body)? & 0x00ff_ffff;
            let count = word(data, trun.body + 4)? as usize;
            let first = trun.body + 8 + 4 * (flags & 0x5).count_ones() as usize;
            let run = Self { moof, traf, header, trun, flags, count, first };
            let fits = run.sample_bytes().checked_mul(count).is_some_and(|bytes| first + bytes == trun.end);
            ensure!(fits, "a run that does not add up");
            return Ok(Some(run));
        }
        Ok(None)
    }

    fn sample_bytes(&self) -> usize {
        4 * (self.flags >> 8 & 0xf).count_ones() as usize
    }

    /// Durations as the muxer wrote them; none where it left them to the movie's default.
    fn durations(&self, data: &[u8]) -> Result<Option<Vec<u32>>> {
        if self.flags & RUN_DURATION != 0 {
            let each = (0..self.count).map(|index| word(data, self.first + index * self.sample_bytes()));
            return each.collect::<Result<Vec<u32>>>().map(Some);
        }
        let flags = word(data, self.header.body)?;
        if flags & HEADER_DURATION == 0 {
            return Ok(None);
        }
        let before = [0x1, 0x1, 0x2].iter().filter(|flag| flags & **flag != 0).count();
        Ok(Some(vec![word(data, self.header.body + 8 + 4 * before)?; self.count]))
    }
}

/// Numbers the fragment (ISO/IEC 14496-12, 8.8.5): the muxer gives all parts of a segment one number, which players
/// that watch for gaps take for lost parts.
///
/// # Errors
/// The fragment does not begin with a `moof` that has a `mfhd`.
pub(crate) fn number(fragment: &mut [u8], number: u32) -> Result<()> {
    let moof = find(fragment, 0, fragment.len(), *b"moof").context("no moof")?;
    let header = find(fragment, moof.body, moof.end, *b"mfhd").context("no mfhd")?;
    ensure!(header.end - header.body == 8, "a mfhd that does not add up");
    fragment[header.body + 4..header.end].copy_from_slice(&number.to_be_bytes());
    Ok(())
}

/// How many samples of a track the fragment holds.
pub(crate) fn samples(fragment: &[u8], track_id: u32) -> Result<usize> {
    Ok(Run::find(fragment, track_id)?.map_or(0, |run| run.count))
}

/// Writes what is true of the track's samples, where the fragment says otherwise.
///
/// # Errors
/// The fragment is not as the muxer makes it: one `moof` first, one `trun` a track, without offsets, with as many
/// samples as are given.
pub(crate) fn write(fragment: &mut Vec<u8>, track_id: u32, truth: Truth, samples: &[Timed]) -> Result<()> {
    let Some(run) = Run::find(fragment, track_id)? else { return Ok(()) };
    ensure!(run.count == samples.len(), "{} samples, {} are known", run.count, samples.len());
    ensure!(run.flags & RUN_COMPOSITION == 0, "the run has composition offsets already");
    match truth {
        Truth::Offsets if samples.iter().all(|sample| sample.offset == 0) => Ok(()),
        Truth::Offsets => {
            let offsets: Vec<u32> = samples.iter().map(|sample| sample.offset as u32).collect();
            rebuild(fragment, run, None, Some(&offsets))
        }
        Truth::Durations => {
            let durations = durations(samples)?;
            if run.durations(fragment)?.as_ref() == Some(&durations) {
                return Ok(());
            }
            rebuild(fragment, run, Some(&durations), None)
        }
    }
}

/// Each sample lasts until the next one; the last one as long as it is.
fn durations(samples: &[Timed]) -> Result<Vec<u32>> {
    let until = |pair: &[Timed]| {
        let distance = pair[1].dts.checked_sub(pair[0].dts).and_then(|distance| u32::try_from(distance).ok());
        distance.context("samples out of order")
    };
    let mut durations = samples.windows(2).map(until).collect::<Result<Vec<u32>>>()?;
    durations.extend(samples.last().map(|last| last.duration));
    Ok(durations)
}

/// Writes the run anew with explicit durations or offsets, and moves what lies behind it.
fn rebuild(
    fragment: &mut Vec<u8>,
    run: Run,
    durations: Option<&[u32]>,
    offsets: Option<&[u32]>,
) -> Result<()> {
    let has_duration = run.flags & RUN_DURATION != 0;
    let mut flags = run.flags;
    flags |= if durations.is_some() { RUN_DURATION } else { 0 };
    flags |= if offsets.is_some() { RUN_COMPOSITION } else { 0 };
    let version = u32::from(offsets.is_some()) << 24;
    let mut written = fragment[run.trun.body..run.first].to_vec();
    written[..4].copy_from_slice(&(version | flags).to_be_bytes());
    for index in 0..run.count {
        let at = run.first + index * run.sample_bytes();
        let mut fields = &fragment[at..at + run.sample_bytes()];
        if let Some(durations) = durations {
            written.extend_from_slice(&durations[index].to_be_bytes());
            fields = &fields[if has_duration { 4 } else { 0 }..];
        }
        written.extend_from_slice(fields);
        if let Some(offsets) = offsets {
            written.extend_from_slice(&offsets[index].to_be_bytes());
        }
    }
    let grown = written.len() - (run.trun.end - run.trun.body);
    fragment.splice(run.trun.body..run.trun.end, written);
    for span in [run.moof, run.traf, run.trun] {
        grow(fragment, span.start, grown)?;
    }
    shift_data(fragment, Span { end: run.moof.end + grown, ..run.moof }, grown)
}

/// The movie fragment grew, so the media data of each track lies further behind its start.
fn shift_data(data: &mut [u8], moof: Span, by: usize) -> Result<()> {
    let mut at = moof.body;
    while let Some(traf) = find(data, at, moof.end, *b"traf") {
        let mut inner = traf.body;
        while let Some(trun) = find(data, inner, traf.end, *b"trun") {
            ensure!(word(data, trun.body)? & RUN_DATA_OFFSET != 0, "a run without a data offset");
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
        if length < 8 || length > end - at {
            return None;
        }
        if data.get(at + 4..at + 8)? == name {
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

    fn timed(dts: u64, duration: u32, offset: i32) -> Timed {
        Timed { dts, duration, offset }
    }

    #[test]
    fn offsets_go_in_and_everything_behind_moves() {
        // Two samples with duration and size; data offsets 100 and 105.
        let mut made = fragment(&[0x301, 2, 100, 3000, 3, 3000, 2], 105);
        write(&mut made, 1, Truth::Offsets, &[timed(0, 3000, 6000), timed(3000, 3000, -3000)]).unwrap();
        let run = [0x0100_0b01, 2, 108, 3000, 3, 6000, 3000, 2, (-3000i32) as u32];
        assert_eq!(made, fragment(&run, 113));
    }

    #[test]
    fn durations_are_set_in_place_or_put_in() {
        let samples = [timed(0, 1024, 0), timed(1024, 1024, 0)];
        let mut made = fragment(&[0x301, 2, 100, 1024, 3, 384, 2], 105);
        write(&mut made, 1, Truth::Durations, &samples).unwrap();
        assert_eq!(made, fragment(&[0x301, 2, 100, 1024, 3, 1024, 2], 105));
        let mut made = fragment(&[0x201, 2, 100, 3, 2], 105);
        write(&mut made, 1, Truth::Durations, &samples).unwrap();
        assert_eq!(made, fragment(&[0x301, 2, 108, 1024, 3, 1024, 2], 113));
    }

    #[test]
    fn a_fragment_gets_its_number() {
        let made = |number| boxed(b"moof", &[&boxed(b"mfhd", &[&words(&[0, number])]), &boxed(b"traf", &[])]);
        let mut fragment = [boxed(b"styp", &[b"cmfc"]), made(1), boxed(b"mdat", &[b"media"])].concat();
        number(&mut fragment, 0x0102_0304).unwrap();
        assert_eq!(fragment[12..12 + made(1).len()], made(0x0102_0304));
        assert!(number(&mut boxed(b"moof", &[&boxed(b"mfhd", &[&words(&[0])])]), 2).is_err());
        assert!(number(&mut boxed(b"moof", &[]), 2).is_err());
    }

    #[test]
    fn what_is_true_already_is_left_alone() {
        let good = fragment(&[0x301, 2, 100, 3000, 3, 3000, 2], 105);
        for truth in [Truth::Durations, Truth::Offsets] {
            let mut made = good.clone();
            write(&mut made, 1, truth, &[timed(0, 3000, 0), timed(3000, 3000, 0)]).unwrap();
            assert_eq!(made, good);
        }
    }

    #[test]
    fn what_does_not_add_up_is_refused() {
        let good = fragment(&[0x301, 2, 100, 3000, 3, 3000, 2], 105);
        let samples = [timed(0, 3000, 1), timed(3000, 3000, 0)];
        let write = |mut data: Vec<u8>, samples: &[Timed]| write(&mut data, 1, Truth::Offsets, samples);
        assert!(write(good.clone(), &samples[..1]).is_err());
        for cut in 0..good.len() - 19 {
            assert!(write(good[..cut].to_vec(), &samples).is_err(), "{cut}");
        }
        assert!(write(fragment(&[0x301, 3, 100, 3000, 3, 3000, 2], 105), &samples).is_err());
    }
}
