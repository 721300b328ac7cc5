//! Fragmented MP4 (ISO/IEC 14496-12): an initialization section, then fragments.
//!
//! Boxes are decoded by mp4-atom; a file with its samples in `moov` is refused, as nothing here makes one.

use anyhow::{Context, bail, ensure};
use mp4_atom::{Any, Codec, Decode, Elst, Moof, Moov, Traf, Trak};

use crate::probe::media::{Kind, Media, Sample, Stamp, Track};
use crate::probe::nal::{self, Syntax};

/// Samples in one piece of media; more is refused.
const SAMPLES_MAX: usize = 1 << 20;
/// `sample_is_non_sync_sample` (ISO/IEC 14496-12 8.8.3.1).
const NON_SYNC: u32 = 0x0001_0000;

/// What the initialization section says about the tracks.
#[derive(Clone, Debug)]
pub(crate) struct Fmp4 {
    tracks: Vec<TrackHead>,
}

#[derive(Clone, Debug)]
struct TrackHead {
    id: u32,
    kind: Kind,
    codec: String,
    syntax: Option<Syntax>,
    timescale: u32,
    /// What the edit list adds to composition times.
    shift: Stamp,
    /// Presented size in pixels.
    size: Option<(u16, u16)>,
    default_duration: u32,
    default_size: u32,
    default_flags: u32,
}

impl Fmp4 {
    pub(crate) fn parse(init: &[u8]) -> anyhow::Result<Self> {
        for atom in boxes(init) {
            let (kind, bytes) = atom?;
            if kind == *b"moov" {
                let moov = Moov::decode(&mut &bytes[..]).context("the moov box is damaged")?;
                return Self::from_moov(&moov);
            }
        }
        bail!("no moov box in the initialization section")
    }

    fn from_moov(moov: &Moov) -> anyhow::Result<Self> {
        let mvex = moov.mvex.as_ref().context("not fragmented: no mvex box")?;
        let mut tracks = Vec::new();
        for trak in &moov.trak {
            let Some((kind, codec, syntax)) = describe(trak) else { continue };
            let trex = mvex.trex.iter().find(|trex| trex.track_id == trak.tkhd.track_id);
            let trex = trex.context("a track without a trex box")?;
            let timescale = trak.mdia.mdhd.timescale;
            let edits = trak.edts.as_ref().and_then(|edts| edts.elst.as_ref());
            let (width, height) = (trak.tkhd.width.integer(), trak.tkhd.height.integer());
            tracks.push(TrackHead {
                id: trak.tkhd.track_id,
                kind,
                codec,
                syntax,
                timescale,
                shift: edits.map_or(Stamp(0), |elst| shift_of(elst, timescale, moov.mvhd.timescale)),
                size: (kind == Kind::Video).then_some((width, height)),
                default_duration: trex.default_sample_duration,
                default_size: trex.default_sample_size,
                default_flags: trex.default_sample_flags,
            });
        }
        Ok(Self { tracks })
    }

    pub(crate) fn size(&self) -> Option<(u16, u16)> {
        self.tracks.iter().find_map(|track| track.size)
    }

    pub(crate) fn kinds(&self) -> impl Iterator<Item = (Kind, &str)> {
        self.tracks.iter().map(|track| (track.kind, track.codec.as_str()))
    }

    /// The samples of all fragments in `media`.
    pub(crate) fn read(&self, media: &[u8]) -> anyhow::Result<Media> {
        let mut out = Media::default();
        let mut offset = 0;
        for atom in boxes(media) {
            let (kind, bytes) = atom?;
            if kind == *b"moof" {
                let moof = Moof::decode(&mut &bytes[..]).context("a moof box is damaged")?;
                for traf in &moof.traf {
                    if let Some(head) = self.tracks.iter().find(|head| head.id == traf.tfhd.track_id) {
                        let samples = head.read(traf, media, offset)?;
                        let (kind, codec) = (head.kind, head.codec.clone());
                        out.append(Media { tracks: vec![Track { kind, codec, samples }] });
                    }
                }
            }
            offset += bytes.len();
        }
        Ok(out)
    }
}

impl TrackHead {
    fn read(&self, traf: &Traf, media: &[u8], moof_at: usize) -> anyhow::Result<Vec<Sample>> {
        let tfdt = traf.tfdt.as_ref().context("a track fragment without a tfdt box")?;
        let base = traf.tfhd.base_data_offset.map_or(moof_at as i128, i128::from);
        let mut dts = i128::from(tfdt.base_media_decode_time);
        let mut at = base;
        let mut samples = Vec::new();
        for trun in &traf.trun {
            if let Some(offset) = trun.data_offset {
                at = base + i128::from(offset);
            }
            ensure!(samples.len() + trun.samples.len() <= SAMPLES_MAX, "too many samples in a fragment");
            for entry in &trun.samples {
                let tfhd = &traf.tfhd;
                let duration =
                    entry.duration.or(tfhd.default_sample_duration).unwrap_or(self.default_duration);
                let size = entry.size.or(tfhd.default_sample_size).unwrap_or(self.default_size);
                let flags = entry.flags.or(tfhd.default_sample_flags).unwrap_or(self.default_flags);
                let sync = flags & NON_SYNC == 0;
                let bytes = slice(media, at, size);
                let coded = self.syntax.zip(bytes).and_then(|(syntax, bytes)| nal::is_key(syntax, bytes));
                let pts = dts + i128::from(entry.cts.unwrap_or(0));
                samples.push(Sample {
                    dts: Stamp::from_units(dts, self.timescale).plus(self.shift),
                    pts: Stamp::from_units(pts, self.timescale).plus(self.shift),
                    duration: Stamp::from_units(i128::from(duration), self.timescale),
                    key: coded.unwrap_or(sync),
                    sync_flag: Some(sync),
                });
                dts += i128::from(duration);
                at += i128::from(size);
            }
        }
        Ok(samples)
    }
}

fn slice(media: &[u8], at: i128, size: u32) -> Option<&[u8]> {
    let at = usize::try_from(at).ok()?;
    media.get(at..at.checked_add(size as usize)?)
}

fn describe(trak: &Trak) -> Option<(Kind, String, Option<Syntax>)> {
    let h264 = |avcc: &mp4_atom::Avcc| Syntax::H264 { length_bytes: usize::from(avcc.length_size) };
    let hevc =
        |hvcc: &mp4_atom::Hvcc| Syntax::Hevc { length_bytes: usize::from(hvcc.length_size_minus_one) + 1 };
    let codec = trak.mdia.minf.stbl.stsd.codecs.first()?;
    let (kind, name, syntax) = match codec {
        Codec::Avc1(entry) => (Kind::Video, "avc1", Some(h264(&entry.avcc))),
        Codec::Avc3(entry) => (Kind::Video, "avc3", Some(h264(&entry.avcc))),
        Codec::Hvc1(entry) => (Kind::Video, "hvc1", Some(hevc(&entry.hvcc))),
        Codec::Hev1(entry) => (Kind::Video, "hev1", Some(hevc(&entry.hvcc))),
        Codec::Av01(_) => (Kind::Video, "av01", Some(Syntax::Av1)),
        Codec::Mp4a(_) => (Kind::Audio, "mp4a", None),
        Codec::Opus(_) => (Kind::Audio, "Opus", None),
        _ if trak.mdia.hdlr.handler == mp4_atom::FourCC::new(b"vide") => (Kind::Video, "unknown", None),
        _ if trak.mdia.hdlr.handler == mp4_atom::FourCC::new(b"soun") => (Kind::Audio, "unknown", None),
        _ => return None,
    };
    Some((kind, name.to_owned(), syntax))
}

/// Empty edits delay a track, and the first edit with media says where in it presentation begins.
fn shift_of(elst: &Elst, timescale: u32, movie_timescale: u32) -> Stamp {
    let mut shift = Stamp(0);
    for entry in elst.entries.iter().take(16) {
        match entry.media_time {
            None => {
                shift = shift.plus(Stamp::from_units(i128::from(entry.segment_duration), movie_timescale));
            }
            Some(start) => return shift.minus(Stamp::from_units(i128::from(start), timescale)),
        }
    }
    shift
}

/// Whether the bytes begin with a box that fragmented MP4 begins with.
pub(crate) fn looks_like(bytes: &[u8]) -> bool {
    matches!(bytes.get(4..8), Some(b"ftyp" | b"styp" | b"moof" | b"moov" | b"sidx" | b"prft"))
}

/// The end of the last box before the first `moof`: the length of the initialization section.
pub(crate) fn init_bytes(file: &[u8]) -> usize {
    let heads = boxes(file)
        .map_while(Result::ok)
        .take_while(|(kind, _)| !matches!(kind, b"moof" | b"styp" | b"mdat"));
    heads.map(|(_, bytes)| bytes.len()).sum()
}

/// The boxes of the top level, each with its header.
fn boxes(bytes: &[u8]) -> impl Iterator<Item = anyhow::Result<([u8; 4], &[u8])>> {
    let mut rest = bytes;
    std::iter::from_fn(move || {
        if rest.is_empty() {
            return None;
        }
        let atom = first_box(rest);
        rest = atom.as_ref().map_or(&[], |(_, bytes)| &rest[bytes.len()..]);
        Some(atom)
    })
}

fn first_box(bytes: &[u8]) -> anyhow::Result<([u8; 4], &[u8])> {
    let (head, _) = bytes.split_first_chunk::<8>().context("a box ends within its header")?;
    let [s0, s1, s2, s3, kind @ ..] = *head;
    let size = match u32::from_be_bytes([s0, s1, s2, s3]) {
        0 => bytes.len() as u64,
        1 => {
            let large = bytes.get(8..16).context("a box ends within its header")?;
            large.iter().fold(0, |sum, byte| sum << 8 | u64::from(*byte))
        }
        size => u64::from(size),
    };
    let size = usize::try_from(size).ok().filter(|size| *size >= 8);
    let whole = size.and_then(|size| bytes.get(..size));
    Ok((kind, whole.with_context(|| format!("the box {} is cut off", kind.escape_ascii()))?))
}

/// The boxes that mp4-atom does not know, or can't read: a second opinion on what a packager wrote.
pub(crate) fn damaged_boxes(bytes: &[u8]) -> Vec<String> {
    let mut out = Vec::new();
    for atom in boxes(bytes).take(SAMPLES_MAX) {
        match atom {
            Ok((kind, _)) if kind == *b"mdat" => {}
            Ok((kind, bytes)) => {
                if let Err(error) = Any::decode(&mut &bytes[..]) {
                    out.push(format!("{}: {error}", kind.escape_ascii()));
                }
            }
            Err(error) => out.push(error.to_string()),
        }
    }
    out
}
