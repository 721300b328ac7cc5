//! Hand-made fragmented MP4: 30 pictures and 48 000 samples a second, each picture one NAL unit.

use mp4_atom::esds::{DecoderConfig, DecoderSpecific, EsDescriptor};
use mp4_atom::{
    Any, Audio, Avc1, Avcc, Codec, Edts, Elst, ElstEntry, Encode, Esds, FourCC, Ftyp, Hdlr, Mdhd, Mdia, Mfhd,
    Minf, Moof, Moov, Mp4a, Mvex, Mvhd, Smhd, Stbl, Stsd, Tfdt, Tfhd, Tkhd, Traf, Trak, Trex, Trun,
    TrunEntry, Visual, Vmhd,
};

pub(crate) const FRAME_TICKS: u32 = 3000;
pub(crate) const AUDIO_FRAME: u64 = 1024;
const SYNC: u32 = 0x0200_0000;
const NON_SYNC: u32 = 0x0101_0000;

/// A piece of the stream before it is boxed.
#[derive(Clone, Debug)]
pub(crate) struct Fragment {
    /// Of each picture: whether it is a keyframe, and what its flag says.
    pub(crate) video: Vec<(bool, bool)>,
    /// In ticks of 90 kHz.
    pub(crate) video_start: u64,
    pub(crate) frame_ticks: u32,
    pub(crate) audio_frames: u64,
    /// In samples.
    pub(crate) audio_start: u64,
    /// Bytes of a picture that is no keyframe.
    pub(crate) frame_bytes: usize,
}

impl Fragment {
    /// Part `part` of the stream, counted from its beginning: six pictures, and the audio frames that begin in it.
    pub(crate) fn part(part: u64) -> Self {
        let first_audio = |part: u64| (part * 9600).div_ceil(AUDIO_FRAME);
        let key = |frame: u64| part.is_multiple_of(5) && frame == 0;
        Self {
            video: (0..6).map(|frame| (key(frame), key(frame))).collect(),
            video_start: part * 6 * u64::from(FRAME_TICKS),
            frame_ticks: FRAME_TICKS,
            audio_start: first_audio(part) * AUDIO_FRAME,
            audio_frames: first_audio(part + 1) - first_audio(part),
            frame_bytes: 200,
        }
    }

    pub(crate) fn bytes(&self) -> Vec<u8> {
        let mut mdat = Vec::new();
        let mut video = Vec::new();
        for (key, sync) in &self.video {
            let size = if *key { 2000 } else { self.frame_bytes };
            mdat.extend((size as u32 - 4).to_be_bytes());
            mdat.push(if *key { 0x65 } else { 0x41 });
            mdat.extend(std::iter::repeat_n(0x80, size - 5));
            let flags = if *sync { SYNC } else { NON_SYNC };
            video.push(entry(self.frame_ticks, size as u32, flags));
        }
        let video_bytes = mdat.len() as i32;
        let audio: Vec<TrunEntry> =
            (0..self.audio_frames).map(|_| entry(AUDIO_FRAME as u32, 20, SYNC)).collect();
        mdat.extend(std::iter::repeat_n(0x21, 20 * audio.len()));
        let moof = |offset: i32| {
            let mut traf = vec![traf(1, self.video_start, video.clone(), offset)];
            traf.push(traf_of_audio(self.audio_start, audio.clone(), offset + video_bytes));
            encoded(&Moof { mfhd: Mfhd { sequence_number: 1 }, traf })
        };
        let mut out = moof(moof(0).len() as i32 + 8);
        out.extend((mdat.len() as u32 + 8).to_be_bytes());
        out.extend(b"mdat");
        out.extend(mdat);
        out
    }
}

fn entry(duration: u32, size: u32, flags: u32) -> TrunEntry {
    TrunEntry { duration: Some(duration), size: Some(size), flags: Some(flags), cts: Some(0) }
}

fn traf_of_audio(start: u64, entries: Vec<TrunEntry>, offset: i32) -> Traf {
    traf(2, start, entries, offset)
}

fn traf(track_id: u32, start: u64, entries: Vec<TrunEntry>, offset: i32) -> Traf {
    Traf {
        tfhd: Tfhd { track_id, default_base_is_moof: true, ..Tfhd::default() },
        tfdt: Some(Tfdt { base_media_decode_time: start }),
        trun: vec![Trun { data_offset: Some(offset), samples: entries.into() }],
        ..Traf::default()
    }
}

fn encoded(atom: &impl Encode) -> Vec<u8> {
    let mut out = Vec::new();
    atom.encode(&mut out).unwrap();
    out
}

pub(crate) fn init() -> Vec<u8> {
    init_edited(None)
}

/// With an edit list that begins the presentation of video this many ticks into it.
pub(crate) fn init_edited(video_ticks: Option<u64>) -> Vec<u8> {
    let avcc = Avcc::new(&[0x67, 0x42, 0xc0, 0x1e], &[0x68, 0xce]).unwrap();
    let visual = Visual { data_reference_index: 1, width: 640, height: 360, ..Visual::default() };
    let avc1 = Avc1 { visual, avcc, ..Avc1::default() };
    let specific = DecoderSpecific { profile: 2, freq_index: 3, chan_conf: 2, ..DecoderSpecific::default() };
    let dec_config = DecoderConfig {
        object_type_indication: 0x40,
        stream_type: 5,
        dec_specific: Some(specific),
        ..DecoderConfig::default()
    };
    let es_desc = EsDescriptor { es_id: 2, dec_config, ..EsDescriptor::default() };
    let audio =
        Audio { data_reference_index: 1, channel_count: 2, sample_size: 16, sample_rate: 48_000.into() };
    let mp4a = Mp4a { audio, esds: Esds { es_desc }, btrt: None, taic: None };
    let video = Minf { vmhd: Some(Vmhd::default()), ..minf(avc1.into()) };
    let sound = Minf { smhd: Some(Smhd::default()), ..minf(mp4a.into()) };
    let edit = |ticks| ElstEntry { segment_duration: 0, media_time: Some(ticks), media_rate: 1.into() };
    let edts = video_ticks.map(|ticks| Edts { elst: Some(Elst { entries: vec![edit(ticks)] }) });
    let trex = |track_id| Trex { track_id, default_sample_description_index: 1, ..Trex::default() };
    let moov = Moov {
        mvhd: Mvhd { timescale: 1000, next_track_id: 3, ..Mvhd::default() },
        mvex: Some(Mvex { mehd: None, trex: vec![trex(1), trex(2)] }),
        trak: vec![Trak { edts, ..trak(1, b"vide", 90_000, video) }, trak(2, b"soun", 48_000, sound)],
        ..Moov::default()
    };
    let ftyp =
        Ftyp { major_brand: b"iso6".into(), minor_version: 0, compatible_brands: vec![b"cmfc".into()] };
    [encoded(&Any::from(ftyp)), encoded(&moov)].concat()
}

fn minf(codec: Codec) -> Minf {
    let stbl = Stbl { stsd: Stsd { codecs: vec![codec] }, ..Stbl::default() };
    Minf { stbl, ..Minf::default() }
}

fn trak(track_id: u32, handler: &[u8; 4], timescale: u32, minf: Minf) -> Trak {
    let hdlr = Hdlr { handler: FourCC::new(handler), name: String::new() };
    let mdhd = Mdhd { timescale, language: "und".to_owned(), ..Mdhd::default() };
    Trak {
        tkhd: Tkhd { track_id, enabled: true, width: 640.into(), height: 360.into(), ..Tkhd::default() },
        mdia: Mdia { mdhd, hdlr, minf },
        ..Trak::default()
    }
}
