//! One job: parsers and the fragmented-MP4 muxer, which closes both tracks at each cut it is told.
//!
//! ```text
//! pad ! h264parse ! isofmp4mux ! appsink -> outlet
//! pad ! aacparse  ! isofmp4mux
//! ```
//! A cut is a serialized event in each track; the muxer never decides one by itself (`manual-split`). It applies the
//! event to the unit that leaves its one-unit input stage next, and whether the unit in front of the event is still in
//! that stage depends on how far the other track is. So the event goes between two marks: empty gap buffers, which
//! the muxer counts as units and leaves out of the media. Whichever of them the cut falls on, no unit changes sides.
//!
//! Units are pushed from the thread that reads the commands; only the muxer has a thread of its own, which sleeps
//! between a part and the next: see [`super::gate`].

use std::cell::Cell;
use std::collections::VecDeque;
use std::sync::{Arc, Mutex};

use anyhow::{Context, Result, anyhow, bail, ensure};
use bytes::Bytes;
use gst::prelude::*;
use media::message::{AudioTrack, Item, JobId, Output, Sample, VideoTrack, WireCodec};

use super::gate::Gate;
use super::outlet::Outlet;
use super::timing::{self, Timed, Truth};

/// Video sample times are 90 kHz ticks.
const VIDEO_TIMESCALE: u32 = 90_000;

/// Media that the muxer queues per track before a push would block: far beyond what one batch spans.
const QUEUE_TIME: gst::ClockTime = gst::ClockTime::from_seconds(600);

pub(crate) struct Job {
    pipeline: gst::Pipeline,
    video: Option<Lane>,
    audio: Option<Lane>,
    gate: Arc<Gate>,
}

/// The units of a track that are in the muxer, in decoding order.
type Inside = Arc<Mutex<VecDeque<Timed>>>;

/// A track as its fragments are checked against what went in.
struct Track {
    /// The muxer numbers its tracks from 1 in the order in which they were requested: video first.
    id: u32,
    truth: Truth,
    inside: Inside,
}

struct Lane {
    source: gst::Pad,
    /// The muxer's end of the track: cuts go in behind the parser, which holds nothing back.
    mux: gst::Pad,
    /// Decoding time of the newest unit.
    newest: Cell<Option<gst::ClockTime>>,
    inside: Inside,
    caps: gst::Caps,
    timescale: u32,
}

impl Job {
    pub(crate) fn open(
        id: JobId,
        video: Option<VideoTrack>,
        audio: Option<AudioTrack>,
        mut records: Bytes,
        outlet: Outlet,
    ) -> Result<Self> {
        let pipeline = gst::Pipeline::new();
        let mux = gst::ElementFactory::make("isofmp4mux")
            .property("manual-split", true)
            .property("send-force-keyunit", false)
            .property("latency", QUEUE_TIME.nseconds())
            .property_from_str("header-update-mode", "none")
            .property_from_str("write-edts-mode", "never")
            .build()
            .context("isofmp4mux")?;
        let sink =
            gst_app::AppSink::builder().sync(false).enable_last_sample(false).buffer_list(true).build();
        pipeline.add_many([&mux, sink.upcast_ref()]).context("building the pipeline")?;
        mux.link(&sink).context("linking the muxer")?;

        let mut take = |bytes: u32| -> Result<Bytes> {
            ensure!(records.len() >= bytes as usize, "record is shorter than said");
            Ok(records.split_to(bytes as usize))
        };
        let video =
            video.map(|track| video_lane(&pipeline, &mux, track, take(track.record_bytes)?)).transpose()?;
        let audio =
            audio.map(|track| audio_lane(&pipeline, &mux, track, take(track.record_bytes)?)).transpose()?;

        let tracks = [(&video, Truth::Offsets), (&audio, Truth::Durations)];
        let tracks = tracks.into_iter().filter_map(|(lane, truth)| Some((lane.as_ref()?, truth)));
        let tracks =
            tracks.zip(1..).map(|((lane, truth), id)| Track { id, truth, inside: Arc::clone(&lane.inside) });
        let gate = Arc::new(Gate::default());
        deliver(id, &mux, &sink, outlet.clone(), tracks.collect(), Arc::clone(&gate));
        report_errors(id, &pipeline, outlet)?;
        pipeline.set_state(gst::State::Playing).context("starting the pipeline")?;
        let job = Self { pipeline, video, audio, gate };
        job.lanes().try_for_each(Lane::start)?;
        Ok(job)
    }

    pub(crate) fn batch(&mut self, items: &[Item], mut payload: Bytes) -> Result<()> {
        let mut cuts = 0;
        for item in items {
            ensure!(payload.len() >= item.payload_bytes(), "payload is shorter than the items say");
            let data = payload.split_to(item.payload_bytes());
            match *item {
                Item::Video(sample) => lane(self.video.as_ref())?.push(sample, data)?,
                Item::Audio(sample) => lane(self.audio.as_ref())?.push(sample, data)?,
                Item::Cut { segment, at, audio_at } => {
                    self.cut(segment, at, audio_at)?;
                    cuts += 1;
                }
            }
        }
        self.gate.ask(cuts);
        Ok(())
    }

    /// The audio marks stand just before the video marks, so that both tracks are full as soon as the marks are in.
    fn cut(&self, segment: bool, at: u64, audio_at: Option<u64>) -> Result<()> {
        let mut at_ns = None;
        if let Some(video) = &self.video {
            let at = video.time(at)?;
            video.cut(segment, at, gst::BufferFlags::DELTA_UNIT)?;
            at_ns = Some(at.saturating_sub(gst::ClockTime::from_nseconds(1)));
        }
        if let Some(audio) = &self.audio {
            let behind = audio_at.or(at_ns.is_none().then_some(at)).map(|at| audio.time(at)).transpose()?;
            let at = [at_ns, behind].into_iter().flatten().min().context("a cut without a time")?;
            audio.cut(segment, at, gst::BufferFlags::empty())?;
        }
        Ok(())
    }

    pub(crate) fn finish(&mut self) -> Result<()> {
        self.gate.open();
        for lane in self.lanes() {
            ensure!(lane.source.push_event(gst::event::Eos::new()), "a track refused its end");
        }
        Ok(())
    }

    fn lanes(&self) -> impl Iterator<Item = &Lane> {
        [&self.video, &self.audio].into_iter().flatten()
    }
}

impl Drop for Job {
    fn drop(&mut self) {
        if let Some(bus) = self.pipeline.bus() {
            bus.unset_sync_handler();
        }
        self.gate.open();
        // A pipeline that does not stop is left to the watchdog of the parent.
        let _ = self.pipeline.set_state(gst::State::Null);
    }
}

fn lane(lane: Option<&Lane>) -> Result<&Lane> {
    lane.context("a unit for a track that the job does not have")
}

impl Lane {
    fn start(&self) -> Result<()> {
        let segment = gst::FormattedSegment::<gst::ClockTime>::new();
        let events = [
            gst::event::StreamStart::new(&self.source.name()),
            gst::event::Caps::new(&self.caps),
            gst::event::Segment::new(&segment),
        ];
        for event in events {
            ensure!(self.source.push_event(event), "{} refuses its configuration", self.source.name());
        }
        Ok(())
    }

    /// Units go in with their decoding times alone: see [`timing`].
    fn push(&self, sample: Sample, data: Bytes) -> Result<()> {
        let offset = i64::try_from(sample.pts)? - i64::try_from(sample.dts)?;
        let offset = i32::try_from(offset).context("a composition offset beyond six hours")?;
        let timed = Timed { dts: sample.dts, duration: sample.duration, offset };
        self.inside.lock().map_err(|_| anyhow!("another thread died"))?.push_back(timed);
        let mut buffer = gst::Buffer::from_slice(data);
        {
            let buffer = buffer.get_mut().context("a fresh buffer is writable")?;
            let dts = self.time(sample.dts)?;
            self.newest.set(Some(dts));
            buffer.set_dts(dts);
            buffer.set_pts(dts);
            buffer.set_duration(self.time(u64::from(sample.duration))?);
            if !sample.keyframe {
                buffer.set_flags(gst::BufferFlags::DELTA_UNIT);
            }
        }
        self.source.push(buffer).with_context(|| format!("pushing {}", self.source.name()))?;
        Ok(())
    }

    fn cut(&self, segment: bool, at: gst::ClockTime, flags: gst::BufferFlags) -> Result<()> {
        let at = self.newest.get().map_or(at, |newest| newest.max(at));
        self.mark(at, flags)?;
        let cut = gst::Structure::builder("FMP4MuxSplitNow").field("chunk", !segment).build();
        ensure!(self.mux.send_event(gst::event::CustomDownstream::new(cut)), "the track refused a cut");
        self.mark(at, flags)
    }

    fn mark(&self, at: gst::ClockTime, flags: gst::BufferFlags) -> Result<()> {
        let mut mark = gst::Buffer::new();
        let buffer = mark.get_mut().context("a fresh buffer is writable")?;
        buffer.set_dts(at);
        buffer.set_pts(at);
        buffer.set_duration(gst::ClockTime::ZERO);
        buffer.set_flags(flags | gst::BufferFlags::GAP | gst::BufferFlags::DROPPABLE);
        self.mux.chain(mark).context("marking a cut")?;
        Ok(())
    }

    /// Rounded up, since the muxer rounds down on the way back: a time comes out as it went in.
    fn time(&self, value: u64) -> Result<gst::ClockTime> {
        let ns = (u128::from(value) * 1_000_000_000).div_ceil(u128::from(self.timescale));
        Ok(gst::ClockTime::from_nseconds(u64::try_from(ns).context("a time beyond 500 years")?))
    }
}

fn video_lane(
    pipeline: &gst::Pipeline,
    mux: &gst::Element,
    track: VideoTrack,
    record: Bytes,
) -> Result<Lane> {
    let (parser, caps) = match track.codec {
        WireCodec::H264 => ("h264parse", gst::Caps::builder("video/x-h264").field("stream-format", "avc")),
        WireCodec::Hevc => ("h265parse", gst::Caps::builder("video/x-h265").field("stream-format", "hvc1")),
        WireCodec::Av1 => {
            ("av1parse", gst::Caps::builder("video/x-av1").field("stream-format", "obu-stream"))
        }
        WireCodec::Aac | WireCodec::Opus => bail!("an audio codec in the video track"),
    };
    let alignment = if track.codec == WireCodec::Av1 { "tu" } else { "au" };
    let caps =
        caps.field("alignment", alignment).field("codec_data", gst::Buffer::from_slice(record)).build();
    lane_of(pipeline, mux, parser, caps, VIDEO_TIMESCALE)
}

fn audio_lane(
    pipeline: &gst::Pipeline,
    mux: &gst::Element,
    track: AudioTrack,
    record: Bytes,
) -> Result<Lane> {
    let rate = i32::try_from(track.sample_rate).context("sample rate")?;
    ensure!(rate > 0, "a sample rate of zero");
    let channels = i32::from(track.channels);
    let (parser, caps) = match track.codec {
        WireCodec::Aac => (
            "aacparse",
            gst::Caps::builder("audio/mpeg")
                .field("mpegversion", 4)
                .field("stream-format", "raw")
                .field("framed", true)
                .field("rate", rate)
                .field("channels", channels)
                .field("codec_data", gst::Buffer::from_slice(record))
                .build(),
        ),
        WireCodec::Opus => (
            "opusparse",
            gst::Caps::builder("audio/x-opus")
                .field("channel-mapping-family", 0)
                .field("rate", rate)
                .field("channels", channels)
                .field("streamheader", gst::Array::new([gst::Buffer::from_slice(record)]))
                .build(),
        ),
        WireCodec::H264 | WireCodec::Hevc | WireCodec::Av1 => bail!("a video codec in the audio track"),
    };
    lane_of(pipeline, mux, parser, caps, track.sample_rate)
}

fn lane_of(
    pipeline: &gst::Pipeline,
    mux: &gst::Element,
    parser: &str,
    caps: gst::Caps,
    timescale: u32,
) -> Result<Lane> {
    let parser_name = parser;
    let parser = gst::ElementFactory::make(parser).build().with_context(|| format!("element {parser}"))?;
    pipeline.add(&parser).context("building the pipeline")?;
    let pad = mux.request_pad_simple("sink_%u").context("a pad of the muxer")?;
    pad.set_property("trak-timescale", timescale);
    let parsed = parser.static_pad("src").context("the parser's output")?;
    parsed.link(&pad).context("linking the track to the muxer")?;
    drop_tags(&parsed);
    let source = gst::Pad::builder(gst::PadDirection::Src).name(parser_name).build();
    source.set_active(true).context("activating the track")?;
    source
        .link(&parser.static_pad("sink").context("the parser's input")?)
        .context("linking the track to its parser")?;
    Ok(Lane { source, mux: pad, newest: Cell::new(None), inside: Inside::default(), caps, timescale })
}

/// A parser's bit-rate tags come between units at any time; the muxer has no use for them.
fn drop_tags(pad: &gst::Pad) {
    pad.add_probe(gst::PadProbeType::EVENT_DOWNSTREAM, |_, info| {
        match info.event().map(|event| event.type_()) {
            Some(gst::EventType::Tag) => gst::PadProbeReturn::Handled,
            _ => gst::PadProbeReturn::Ok,
        }
    });
}

/// Hands each buffer list of the muxer to the parent: the first one opens with the initialization section.
fn deliver(
    id: JobId,
    mux: &gst::Element,
    sink: &gst_app::AppSink,
    outlet: Outlet,
    tracks: Vec<Track>,
    gate: Arc<Gate>,
) {
    let mux = mux.downgrade();
    let eos = outlet.clone();
    let failed = move |error: &anyhow::Error| eprintln!("relaybox-media: job {id}: {error:#}");
    let mut fragments = 0;
    sink.set_callbacks(
        gst_app::AppSinkCallbacks::builder()
            .new_sample(move |sink| {
                let sample = sink.pull_sample().map_err(|_| gst::FlowError::Eos)?;
                let list = sample.buffer_list_owned().ok_or(gst::FlowError::Error)?;
                send_list(id, &mux, &list, &outlet, &tracks, &mut fragments).map_err(|error| {
                    failed(&error);
                    gst::FlowError::Error
                })?;
                gate.pass();
                Ok(gst::FlowSuccess::Ok)
            })
            .eos(move |_| {
                if let Err(error) = eos.send(&Output::Finished { job: id }, &[]) {
                    failed(&error);
                }
            })
            .build(),
    );
}

fn send_list(
    id: JobId,
    mux: &gst::glib::WeakRef<gst::Element>,
    list: &gst::BufferList,
    outlet: &Outlet,
    tracks: &[Track],
    fragments: &mut u32,
) -> Result<()> {
    let mut fragment = Vec::with_capacity(list.calculate_size());
    for buffer in list.iter() {
        let map = buffer.map_readable().context("a buffer can't be read")?;
        if map.get(4..8) == Some(b"ftyp".as_slice()) {
            let (width, height) = mux.upgrade().and_then(|mux| video_size(&mux)).unwrap_or((0, 0));
            outlet.send(&Output::Init { job: id, width, height }, &map)?;
        } else {
            fragment.extend_from_slice(&map);
        }
    }
    if fragment.is_empty() {
        return Ok(());
    }
    tracks.iter().try_for_each(|track| track.correct(&mut fragment))?;
    *fragments = fragments.wrapping_add(1);
    timing::number(&mut fragment, *fragments)?;
    outlet.send(&Output::Fragment { job: id }, &fragment)
}

impl Track {
    fn correct(&self, fragment: &mut Vec<u8>) -> Result<()> {
        let count = timing::samples(fragment, self.id)?;
        let out: Vec<Timed> = {
            let mut inside = self.inside.lock().map_err(|_| anyhow!("another thread died"))?;
            ensure!(count <= inside.len(), "more units came out than went in");
            inside.drain(..count).collect()
        };
        timing::write(fragment, self.id, self.truth, &out)
    }
}

/// As the parser read it from the sequence parameter set.
fn video_size(mux: &gst::Element) -> Option<(u32, u32)> {
    mux.sink_pads().into_iter().find_map(|pad| {
        let caps = pad.current_caps()?;
        let structure = caps.structure(0)?;
        let width: i32 = structure.get("width").ok()?;
        let height: i32 = structure.get("height").ok()?;
        Some((u32::try_from(width).ok()?, u32::try_from(height).ok()?))
    })
}

fn report_errors(id: JobId, pipeline: &gst::Pipeline, outlet: Outlet) -> Result<()> {
    let bus = pipeline.bus().context("the pipeline has a bus")?;
    bus.set_sync_handler(move |_, message| {
        if let gst::MessageView::Error(error) = message.view() {
            let source = message.src().map(|source| source.name().to_string()).unwrap_or_default();
            let reason = format!("{source}: {}", error.error());
            if let Err(error) = outlet.send(&Output::Failed { job: id, reason }, &[]) {
                eprintln!("relaybox-media: job {id}: {error:#}");
            }
        }
        gst::BusSyncReply::Drop
    });
    Ok(())
}
