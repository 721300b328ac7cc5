//! The access units in a part of another box, for HTTP-FLV there: reads exactly the boxes that our packager writes.
//!
//! ```text
//! init: moov ── trak (tkhd: id; mdia: mdhd: timescale, hdlr: vide | soun) ..., mvex ── trex: defaults
//! part: moof ── traf (tfhd, tfdt, trun) ...      mdat: the samples' bytes
//! ```
//! ISO/IEC 14496-12. Refuses what lies outside of its box, and more units than a part can have; unknown boxes are passed
//! over.

use alloc::vec::Vec;

use bytes::Bytes;

use crate::flv::{FlvUnit, media_tag};
use crate::track::{TrackKind, Tracks};

/// Units of one part: ten seconds at 120 frames a second, and as much audio.
const UNITS_MAX: usize = 4096;
const TRACKS_MAX: usize = 4;
/// `sample_is_non_sync_sample` (8.8.3.1).
const NON_SYNC: u32 = 0x0001_0000;

/// The bytes are not what our packager writes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a fragment as the packager writes them: {0}")]
pub struct FragmentError(&'static str);

/// A track of an initialization section.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Track {
    id: u32,
    kind: TrackKind,
    /// Ticks per second.
    timescale: u32,
    defaults: Defaults,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Defaults {
    duration: u32,
    size: u32,
    flags: u32,
}

/// What an initialization section says of its tracks.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Layout {
    tracks: Vec<Track>,
}

/// An access unit in a part.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unit {
    pub kind: TrackKind,
    /// Decoding time on the epoch's timeline, in microseconds.
    pub dts_us: i64,
    /// Presentation time less decoding time, in microseconds.
    pub composition_us: i64,
    pub keyframe: bool,
    pub data: Bytes,
}

impl Layout {
    /// # Errors
    /// [`FragmentError`].
    pub fn of(init: &[u8]) -> Result<Self, FragmentError> {
        let mut layout = Self::default();
        let moov = find(init, *b"moov").ok_or(FragmentError("no moov"))?;
        for (kind, content) in boxes(moov) {
            if &kind == b"trak" && layout.tracks.len() < TRACKS_MAX {
                layout.tracks.extend(track(content)?);
            }
        }
        for (_, trex) in boxes(find(moov, *b"mvex").unwrap_or_default()).filter(|(kind, _)| kind == b"trex") {
            let mut at = Cursor(trex, 4);
            let id = at.u32()?;
            at.u32()?;
            let defaults = Defaults { duration: at.u32()?, size: at.u32()?, flags: at.u32()? };
            if let Some(track) = layout.tracks.iter_mut().find(|track| track.id == id) {
                track.defaults = defaults;
            }
        }
        if layout.tracks.is_empty() { Err(FragmentError("no track")) } else { Ok(layout) }
    }

    /// The units of a part, in the order of their decoding times.
    ///
    /// # Errors
    /// [`FragmentError`].
    pub fn units(&self, part: &Bytes) -> Result<Vec<Unit>, FragmentError> {
        let mut units = Vec::new();
        let mut at = 0;
        for (kind, content) in boxes(part) {
            let head = content.as_ptr() as usize - part.as_ptr() as usize;
            if &kind == b"moof" {
                for (_, traf) in boxes(content).filter(|(kind, _)| kind == b"traf") {
                    self.traf(traf, part, at, &mut units)?;
                }
            }
            at = head + content.len();
        }
        units.sort_by_key(|unit| unit.dts_us);
        Ok(units)
    }

    fn traf(
        &self,
        traf: &[u8],
        part: &Bytes,
        moof: usize,
        units: &mut Vec<Unit>,
    ) -> Result<(), FragmentError> {
        let mut head = Cursor(find(traf, *b"tfhd").ok_or(FragmentError("no tfhd"))?, 0);
        let flags = head.u32()? & 0xff_ffff;
        let id = head.u32()?;
        let Some(track) = self.tracks.iter().find(|track| track.id == id) else { return Ok(()) };
        let base = if flags & 1 != 0 { head.u64()? } else { moof as u64 };
        head.skip_if(flags & 2)?;
        let mut defaults = track.defaults;
        for (flag, value) in
            [(8, &mut defaults.duration), (0x10, &mut defaults.size), (0x20, &mut defaults.flags)]
        {
            if flags & flag != 0 {
                *value = head.u32()?;
            }
        }
        let mut time = Cursor(find(traf, *b"tfdt").ok_or(FragmentError("no tfdt"))?, 0);
        let long = time.u32()? >> 24 == 1;
        let mut dts = if long { time.u64()? } else { u64::from(time.u32()?) };
        for (_, trun) in boxes(traf).filter(|(kind, _)| kind == b"trun") {
            dts = run(trun, track, &defaults, base, dts, part, units)?;
        }
        Ok(())
    }
}

/// One `trun` (8.8.8); gives the decoding time behind it.
fn run(
    trun: &[u8],
    track: &Track,
    defaults: &Defaults,
    base: u64,
    mut dts: u64,
    part: &Bytes,
    units: &mut Vec<Unit>,
) -> Result<u64, FragmentError> {
    let mut at = Cursor(trun, 0);
    let flags = at.u32()? & 0xff_ffff;
    let count = at.u32()? as usize;
    if units.len() + count > UNITS_MAX {
        return Err(FragmentError("too many units"));
    }
    let offset = if flags & 1 != 0 { i64::from(at.u32()?.cast_signed()) } else { 0 };
    let first_flags = if flags & 4 != 0 { Some(at.u32()?) } else { None };
    let mut place = base.checked_add_signed(offset).ok_or(FragmentError("an offset that is none"))?;
    for nth in 0..count {
        let duration = if flags & 0x100 != 0 { at.u32()? } else { defaults.duration };
        let size = if flags & 0x200 != 0 { at.u32()? } else { defaults.size };
        let own = if flags & 0x400 != 0 { at.u32()? } else { defaults.flags };
        let composition = if flags & 0x800 != 0 { at.u32()?.cast_signed() } else { 0 };
        let flags = first_flags.filter(|_| nth == 0).unwrap_or(own);
        let from = usize::try_from(place).map_err(|_| FragmentError("an offset that is none"))?;
        let to = from.checked_add(size as usize).filter(|to| *to <= part.len());
        let to = to.ok_or(FragmentError("a unit beyond the end"))?;
        units.push(Unit {
            kind: track.kind,
            dts_us: micros(i64::try_from(dts).unwrap_or(i64::MAX), track.timescale),
            composition_us: micros(i64::from(composition), track.timescale),
            keyframe: flags & NON_SYNC == 0,
            data: part.slice(from..to),
        });
        place = to as u64;
        dts = dts.saturating_add(u64::from(duration));
    }
    Ok(dts)
}

fn micros(ticks: i64, timescale: u32) -> i64 {
    let exact = i128::from(ticks) * 1_000_000 / i128::from(timescale.max(1));
    i64::try_from(exact).unwrap_or(i64::MAX)
}

/// A part as FLV tags, and which of them a viewer may begin with. `zero_us` is the FLV stream's beginning.
#[must_use]
pub fn flv_tags(units: &[Unit], tracks: &Tracks, zero_us: i64) -> Vec<(Bytes, bool)> {
    let tag = |unit: &Unit| {
        let config = match unit.kind {
            TrackKind::Video => tracks.video.as_ref(),
            TrackKind::Audio => tracks.audio.as_ref(),
        };
        let starts = match unit.kind {
            TrackKind::Video => unit.keyframe,
            TrackKind::Audio => tracks.video.is_none(),
        };
        let stamp_ms = u32::try_from((unit.dts_us - zero_us).div_euclid(1000) & 0xffff_ffff).unwrap_or(0);
        let composition_ms = i32::try_from(unit.composition_us.div_euclid(1000)).unwrap_or(0);
        let flv = FlvUnit { stamp_ms, composition_ms, keyframe: unit.keyframe, data: &unit.data };
        Some((media_tag(config?.codec, &flv), starts))
    };
    units.iter().filter_map(tag).collect()
}

fn track(trak: &[u8]) -> Result<Option<Track>, FragmentError> {
    let mut tkhd = Cursor(find(trak, *b"tkhd").ok_or(FragmentError("no tkhd"))?, 0);
    let long = tkhd.u32()? >> 24 == 1;
    tkhd.skip(if long { 16 } else { 8 })?;
    let id = tkhd.u32()?;
    let mdia = find(trak, *b"mdia").ok_or(FragmentError("no mdia"))?;
    let mut mdhd = Cursor(find(mdia, *b"mdhd").ok_or(FragmentError("no mdhd"))?, 0);
    let long = mdhd.u32()? >> 24 == 1;
    mdhd.skip(if long { 16 } else { 8 })?;
    let timescale = mdhd.u32()?;
    let mut hdlr = Cursor(find(mdia, *b"hdlr").ok_or(FragmentError("no hdlr"))?, 8);
    let kind = match &hdlr.u32()?.to_be_bytes() {
        b"vide" => TrackKind::Video,
        b"soun" => TrackKind::Audio,
        _ => return Ok(None),
    };
    Ok(Some(Track { id, kind, timescale, defaults: Defaults::default() }))
}

/// The boxes that are whole.
fn boxes(mut bytes: &[u8]) -> impl Iterator<Item = ([u8; 4], &[u8])> {
    core::iter::from_fn(move || {
        let (&[a, b, c, d, kind @ ..], _) = bytes.split_first_chunk::<8>()?;
        let len = u32::from_be_bytes([a, b, c, d]) as usize;
        let (content, rest) = bytes.split_at_checked(len).filter(|_| len >= 8)?;
        bytes = rest;
        Some((kind, &content[8..]))
    })
}

fn find(bytes: &[u8], kind: [u8; 4]) -> Option<&[u8]> {
    boxes(bytes).find(|(found, _)| *found == kind).map(|(_, content)| content)
}

struct Cursor<'a>(&'a [u8], usize);

impl Cursor<'_> {
    fn skip(&mut self, bytes: usize) -> Result<(), FragmentError> {
        self.1 += bytes;
        if self.1 <= self.0.len() { Ok(()) } else { Err(FragmentError("a box that ends too early")) }
    }

    fn skip_if(&mut self, flag: u32) -> Result<(), FragmentError> {
        if flag != 0 { self.skip(4) } else { Ok(()) }
    }

    fn u32(&mut self) -> Result<u32, FragmentError> {
        let bytes = self.0.get(self.1..).and_then(|rest| rest.first_chunk::<4>().copied());
        self.1 += 4;
        bytes.map(u32::from_be_bytes).ok_or(FragmentError("a box that ends too early"))
    }

    fn u64(&mut self) -> Result<u64, FragmentError> {
        Ok(u64::from(self.u32()?) << 32 | u64::from(self.u32()?))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::track::{Codec, TrackConfig};

    fn boxed(kind: &[u8; 4], content: &[u8]) -> Vec<u8> {
        let len = (content.len() as u32 + 8).to_be_bytes();
        [len.as_slice(), kind, content].concat()
    }

    fn words(words: &[u32]) -> Vec<u8> {
        words.iter().flat_map(|word| word.to_be_bytes()).collect()
    }

    fn init() -> Vec<u8> {
        let trak = |id: u32, timescale: u32, handler: &[u8; 4]| {
            let tkhd = boxed(b"tkhd", &words(&[0, 0, 0, id, 0]));
            let mdhd = boxed(b"mdhd", &words(&[0, 0, 0, timescale, 0]));
            let hdlr = boxed(b"hdlr", &[words(&[0, 0]).as_slice(), handler, &[0; 12]].concat());
            boxed(b"trak", &[tkhd, boxed(b"mdia", &[mdhd, hdlr].concat())].concat())
        };
        let trex = boxed(b"trex", &words(&[0, 2, 1, 1024, 3, 0]));
        let moov = [trak(1, 30_000, b"vide"), trak(2, 48_000, b"soun"), boxed(b"mvex", &trex)].concat();
        boxed(b"moov", &moov)
    }

    /// Two pictures, the second one shown a frame later, and two audio frames with the defaults.
    fn part() -> Bytes {
        let video = |offset: u32| {
            let tfhd = boxed(b"tfhd", &words(&[0x02_0000, 1]));
            let tfdt = boxed(b"tfdt", &words(&[0x0100_0000, 0, 30_000]));
            let run = words(&[0x0100_0f01, 2, offset, 1000, 4, 0x0200_0000, 0, 1000, 5, NON_SYNC, 1000]);
            boxed(b"traf", &[tfhd, tfdt, boxed(b"trun", &run)].concat())
        };
        let audio = |offset: u32| {
            let tfhd = boxed(b"tfhd", &words(&[0x02_0000, 2]));
            let tfdt = boxed(b"tfdt", &words(&[0, 48_100]));
            let run = words(&[1, 2, offset]);
            boxed(b"traf", &[tfhd, tfdt, boxed(b"trun", &run)].concat())
        };
        let moof = |v, a| boxed(b"moof", &[video(v), audio(a)].concat());
        let head = moof(0, 0).len() as u32 + 8;
        let mdat = boxed(b"mdat", b"KEYFINTERaaabbb");
        [boxed(b"styp", b"cmfs"), moof(head, head + 9), mdat].concat().into()
    }

    #[test]
    fn units_come_in_the_order_of_their_times() {
        let units = Layout::of(&init()).unwrap().units(&part()).unwrap();
        let told: Vec<_> = units
            .iter()
            .map(|unit| (unit.dts_us, unit.composition_us, unit.keyframe, unit.data.as_ref()))
            .collect();
        assert_eq!(
            told,
            [
                (1_000_000, 0, true, b"KEYF".as_slice()),
                (1_002_083, 0, true, b"aaa"),
                (1_023_416, 0, true, b"bbb"),
                (1_033_333, 33_333, false, b"INTER"),
            ]
        );
        let track = |codec| Some(TrackConfig { codec, record: Bytes::new(), audio: None });
        let tracks = Tracks { video: track(Codec::H264), audio: track(Codec::Aac) };
        let tags = flv_tags(&units, &tracks, 1_000_000);
        assert_eq!(tags.iter().map(|(_, starts)| *starts).collect::<Vec<_>>(), [true, false, false, false]);
        // Tag type, and the stamp in milliseconds (FLV 10.1, E.4.1).
        let heads: Vec<_> = tags.iter().map(|(tag, _)| (tag[0], tag[6])).collect();
        assert_eq!(heads, [(9, 0), (8, 2), (8, 23), (9, 33)]);
        assert_eq!(&tags[0].0[16..20], b"KEYF");
    }

    #[test]
    fn what_lies_outside_is_refused() {
        let layout = Layout::of(&init()).unwrap();
        let part = part();
        let cut = part.slice(..part.len() - 9);
        // The box of the bytes is not whole any more.
        assert!(layout.units(&cut).is_err() || layout.units(&cut).unwrap().is_empty());
        assert!(Layout::of(&[]).is_err());
        assert!(Layout::of(&boxed(b"moov", &[])).is_err());
    }

    proptest! {
        #[test]
        fn any_bytes_give_units_or_an_error(at in 0_usize..300, byte: u8, cut in 0_usize..400) {
            let (mut init, part) = (init(), part());
            let mut part = part.to_vec();
            if let Some(place) = part.get_mut(at) {
                *place = byte;
            }
            part.truncate(cut);
            let part = Bytes::from(part);
            let layout = Layout::of(&init).unwrap();
            if let Ok(units) = layout.units(&part) {
                prop_assert!(units.iter().all(|unit| unit.data.len() <= part.len()));
            }
            if let Some(place) = init.get_mut(at) {
                *place = byte;
            }
            let _ = Layout::of(&init);
        }
    }

    #[test]
    fn more_units_than_a_part_can_have_are_refused() {
        let mut bent = part().to_vec();
        let at = bent.windows(4).position(|window| window == b"trun").unwrap();
        bent[at + 8..at + 12].copy_from_slice(&u32::MAX.to_be_bytes());
        assert_eq!(Layout::of(&init()).unwrap().units(&bent.into()), Err(FragmentError("too many units")));
    }
}
