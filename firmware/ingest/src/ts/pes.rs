//! The packets of the first programme's first picture and first sound, collected whole. The transport stream itself is
//! read by mpeg2ts-reader.

use bytes::{Bytes, BytesMut};
use mpeg2ts_reader::StreamType;
use mpeg2ts_reader::demultiplex::{
    Demultiplex, DemuxContext, FilterChangeset, FilterRequest, NullPacketFilter, PacketFilter,
    PatPacketFilter, PmtPacketFilter,
};
use mpeg2ts_reader::packet::Packet as TsPacket;
use mpeg2ts_reader::pes::{
    ElementaryStreamConsumer, PesContents, PesHeader, PesPacketFilter, PtsDts, Timestamp,
};
use mpeg2ts_reader::psi::pat::PAT_PID;

/// Packets of one segment; a minute of 60 pictures and as many sounds each second.
const PACKETS_MAX: usize = 8192;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum StreamKind {
    H264,
    /// AAC with a header before each frame.
    Adts,
}

/// One packet of an elementary stream, with its stamps in 33 bits of 90 kHz.
#[derive(Debug)]
pub(super) struct Packet {
    pub(super) kind: StreamKind,
    pub(super) pts: i64,
    pub(super) dts: i64,
    pub(super) data: Bytes,
}

#[derive(Debug, Default)]
pub(super) struct Found {
    /// In the order in which they ended.
    pub(super) packets: Vec<Packet>,
    /// What the programme has that is not carried, in words.
    pub(super) unsupported: Option<&'static str>,
}

/// Reads up to the end, or up to the first packet that is none.
pub(super) fn read(segment: &[u8]) -> Found {
    let mut context = Context::default();
    Demultiplex::new(&mut context).push(&mut context, segment);
    for kind in [StreamKind::H264, StreamKind::Adts] {
        context.close(kind);
    }
    context.found
}

/// What becomes of the packets of one PID.
enum Filter {
    Pat(PatPacketFilter<Context>),
    Pmt(PmtPacketFilter<Context>),
    Pes(PesPacketFilter<Context, Collector>),
    Left(NullPacketFilter<Context>),
}

impl PacketFilter for Filter {
    type Ctx = Context;

    fn consume(&mut self, context: &mut Context, packet: &TsPacket<'_>) {
        match self {
            Self::Pat(filter) => filter.consume(context, packet),
            Self::Pmt(filter) => filter.consume(context, packet),
            Self::Pes(filter) => filter.consume(context, packet),
            Self::Left(filter) => filter.consume(context, packet),
        }
    }
}

#[derive(Default)]
struct Context {
    changes: FilterChangeset<Filter>,
    programme: Option<u16>,
    open: [Option<Open>; 2],
    taken: [bool; 2],
    found: Found,
}

struct Open {
    pts: i64,
    dts: i64,
    data: BytesMut,
}

impl Context {
    fn close(&mut self, kind: StreamKind) {
        let Some(Open { pts, dts, data }) = self.open[kind as usize].take() else { return };
        if self.found.packets.len() < PACKETS_MAX {
            self.found.packets.push(Packet { kind, pts, dts, data: data.freeze() });
        }
    }

    /// The first of its kind is taken; others of the kind are left out.
    fn select(&mut self, stream: StreamType) -> Option<StreamKind> {
        let kind = match stream {
            StreamType::H264 => StreamKind::H264,
            StreamType::ADTS => StreamKind::Adts,
            other => {
                self.found.unsupported = self.found.unsupported.or(refused(other));
                return None;
            }
        };
        let first = !std::mem::replace(&mut self.taken[kind as usize], true);
        first.then_some(kind)
    }
}

/// What can't be left out without a word. Data beside picture and sound can.
fn refused(stream: StreamType) -> Option<&'static str> {
    match stream {
        StreamType::H265 => Some("HEVC in an MPEG-TS segment: pull it by RTMP"),
        StreamType::LATM => Some("AAC in LATM: set the server's encoder to ADTS"),
        StreamType::ISO_11172_AUDIO | StreamType::ISO_138183_AUDIO => {
            Some("MP3 audio: set the encoder to AAC")
        }
        StreamType::ATSC_DOLBY_DIGITAL_AUDIO => Some("Dolby audio: set the encoder to AAC"),
        StreamType::ISO_11172_VIDEO | StreamType::H262 | StreamType::ISO_14496_2_VISUAL => {
            Some("MPEG video: set the encoder to H.264")
        }
        _ => None,
    }
}

impl DemuxContext for Context {
    type F = Filter;

    fn filter_changeset(&mut self) -> &mut FilterChangeset<Filter> {
        &mut self.changes
    }

    fn construct(&mut self, request: FilterRequest<'_, '_>) -> Filter {
        match request {
            FilterRequest::ByPid(PAT_PID) => Filter::Pat(PatPacketFilter::default()),
            FilterRequest::Pmt { pid, program_number }
                if *self.programme.get_or_insert(program_number) == program_number =>
            {
                Filter::Pmt(PmtPacketFilter::new(pid, program_number))
            }
            FilterRequest::ByStream { stream_type, .. } => match self.select(stream_type) {
                Some(kind) => Filter::Pes(PesPacketFilter::new(Collector(kind))),
                None => Filter::Left(NullPacketFilter::default()),
            },
            FilterRequest::ByPid(_) | FilterRequest::Pmt { .. } | FilterRequest::Nit { .. } => {
                Filter::Left(NullPacketFilter::default())
            }
        }
    }
}

struct Collector(StreamKind);

impl Collector {
    fn open<'a>(&self, context: &'a mut Context) -> &'a mut Option<Open> {
        &mut context.open[self.0 as usize]
    }
}

impl ElementaryStreamConsumer<Context> for Collector {
    fn start_stream(&mut self, _: &mut Context) {}

    fn begin_packet(&mut self, context: &mut Context, header: PesHeader<'_>) {
        context.close(self.0);
        // Without a stamp nobody knows when it is due.
        if let PesContents::Parsed(Some(contents)) = header.contents()
            && let Ok(stamps) = contents.pts_dts()
            && let Some((pts, dts)) = stamps_of(stamps)
        {
            let data = BytesMut::from(contents.payload());
            *self.open(context) = Some(Open { pts, dts, data });
        }
    }

    fn continue_packet(&mut self, context: &mut Context, data: &[u8]) {
        if let Some(open) = self.open(context) {
            open.data.extend_from_slice(data);
        }
    }

    fn end_packet(&mut self, context: &mut Context) {
        context.close(self.0);
    }

    fn continuity_error(&mut self, context: &mut Context) {
        // Something is missing in it.
        *self.open(context) = None;
    }
}

fn stamps_of(stamps: PtsDts) -> Option<(i64, i64)> {
    let ticks = |stamp: Timestamp| i64::try_from(stamp.value()).ok();
    match stamps {
        PtsDts::PtsOnly(Ok(pts)) => Some((ticks(pts)?, ticks(pts)?)),
        PtsDts::Both { pts: Ok(pts), dts: Ok(dts) } => Some((ticks(pts)?, ticks(dts)?)),
        PtsDts::None | PtsDts::Invalid | PtsDts::PtsOnly(Err(_)) | PtsDts::Both { .. } => None,
    }
}
