//! One job: parsers and the fragmented-MP4 muxer, which closes both tracks at each cut it is told.
//!
//! ```text
//! pad ! h264parse ! isofmp4mux ! appsink -> outlet
//! pad ! aacparse  ! isofmp4mux
//! ```
//! A cut is a serialized event in each track; the muxer never decides one by itself (`manual-split`). It applies a
//! cut to the next unit of the track that leaves its one-unit input stage, so the order in which units and cuts
//! go in decides where the cut falls. The order that always works, and that the parent keeps (see
//! `stream::cutter`):
//!
//! 1. no video unit goes in before an audio unit at or after its decoding time: then it never waits in that stage;
//! 2. at a cut: audio up to and including the first unit behind the cut (it waits in the stage, so the cut will
//!    fall before it), video up to the cut, the video cut, the audio cut, the first video unit behind the cut.
//!
//! Units are pushed from the thread that reads the commands; only the muxer has a thread of its own.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};

use anyhow::{Context, Result, anyhow, bail, ensure};
use bytes::Bytes;
use gst::prelude::*;
use media::message::{AudioTrack, Item, JobId, Output, Sample, VideoTrack, WireCodec};

use super::composition;
use super::outlet::Outlet;

/// Video sample times are 90 kHz ticks.
const VIDEO_TIMESCALE: u32 = 90_000;

/// Media that the muxer queues per track before a push would block: far beyond what one batch spans.
const QUEUE_TIME: gst::ClockTime = gst::ClockTime::from_seconds(600);

pub(crate) struct Job {
    pipeline: gst::Pipeline,
    video: Option<Lane>,
    audio: Option<Lane>,
    offsets: Offsets,
}

/// Composition offsets of the video units that are in the muxer, in decoding order.
type Offsets = Arc<Mutex<VecDeque<i32>>>;

/// The muxer numbers its tracks from 1 in the order in which they were requested: video first.
const VIDEO_TRACK: u32 = 1;

struct Lane {
    source: gst::Pad,
    /// The muxer's end of the track, where it can be asked how far it is.
    mux: gst::Pad,
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

        let offsets = Offsets::default();
        deliver(id, &mux, &sink, outlet.clone(), video.is_some().then(|| Arc::clone(&offsets)));
        report_errors(id, &pipeline, outlet)?;
        pipeline.set_state(gst::State::Playing).context("starting the pipeline")?;
        let job = Self { pipeline, video, audio, offsets };
        job.lanes().try_for_each(Lane::start)?;
        Ok(job)
    }

    pub(crate) fn batch(&mut self, items: &[Item], mut payload: Bytes) -> Result<()> {
        for item in items {
            ensure!(payload.len() >= item.payload_bytes(), "payload is shorter than the items say");
            let data = payload.split_to(item.payload_bytes());
            match *item {
                Item::Video(sample) => self.push_video(sample, data)?,
                Item::Audio(sample) => lane(self.audio.as_ref())?.push(sample, data)?,
                Item::CutVideo { segment } => lane(self.video.as_ref())?.cut(segment)?,
                Item::CutAudio { segment } => lane(self.audio.as_ref())?.cut(segment)?,
            }
        }
        if items.iter().any(|item| matches!(item, Item::CutVideo { .. })) {
            self.settle();
        }
        Ok(())
    }

    /// Video goes in with its decoding time alone: see [`composition`].
    fn push_video(&self, sample: Sample, data: Bytes) -> Result<()> {
        let offset = i64::try_from(sample.pts)? - i64::try_from(sample.dts)?;
        let offset = i32::try_from(offset).context("a composition offset beyond six hours")?;
        self.offsets.lock().map_err(|_| anyhow!("another thread died"))?.push_back(offset);
        lane(self.video.as_ref())?.push(Sample { pts: sample.dts, ..sample }, data)
    }

    pub(crate) fn finish(&mut self) -> Result<()> {
        for lane in self.lanes() {
            ensure!(lane.source.push_event(gst::event::Eos::new()), "a track refused its end");
        }
        Ok(())
    }

    fn lanes(&self) -> impl Iterator<Item = &Lane> {
        [&self.video, &self.audio].into_iter().flatten()
    }

    /// Waits until the muxer has seen the audio cut, so that the next batch can't overtake it. The video unit behind
    /// the cut is in already, so the audio unit in front of the cut event is taken and the query answered.
    fn settle(&self) {
        if let (Some(_), Some(audio)) = (&self.video, &self.audio) {
            audio.mux.query(&mut gst::query::Drain::new());
        }
    }
}

impl Drop for Job {
    fn drop(&mut self) {
        if let Some(bus) = self.pipeline.bus() {
            bus.unset_sync_handler();
        }
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

    fn push(&self, sample: Sample, data: Bytes) -> Result<()> {
        let mut buffer = gst::Buffer::from_slice(data);
        {
            let buffer = buffer.get_mut().context("a fresh buffer is writable")?;
            buffer.set_dts(self.time(sample.dts)?);
            buffer.set_pts(self.time(sample.pts)?);
            buffer.set_duration(self.time(u64::from(sample.duration))?);
            if !sample.keyframe {
                buffer.set_flags(gst::BufferFlags::DELTA_UNIT);
            }
        }
        self.source.push(buffer).with_context(|| format!("pushing {}", self.source.name()))?;
        Ok(())
    }

    fn cut(&self, segment: bool) -> Result<()> {
        let cut = gst::Structure::builder("FMP4MuxSplitNow").field("chunk", !segment).build();
        ensure!(self.source.push_event(gst::event::CustomDownstream::new(cut)), "the track refused a cut");
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
    Ok(Lane { source, mux: pad, caps, timescale })
}

/// A parser's bit-rate tags come between units at any time; the muxer has no use for them, and each would hold the
/// unit in front of it in the input stage, where a cut would overtake it.
fn drop_tags(pad: &gst::Pad) {
    pad.add_probe(gst::PadProbeType::EVENT_DOWNSTREAM, |_, info| {
        match info.event().map(|event| event.type_()) {
            Some(gst::EventType::Tag) => gst::PadProbeReturn::Handled,
            _ => gst::PadProbeReturn::Ok,
        }
    });
}

/// Hands each buffer list of the muxer to the parent: the first one opens with the initialization section.
fn deliver(id: JobId, mux: &gst::Element, sink: &gst_app::AppSink, outlet: Outlet, offsets: Option<Offsets>) {
    let mux = mux.downgrade();
    let eos = outlet.clone();
    let failed = move |error: &anyhow::Error| eprintln!("relaybox-media: job {id}: {error:#}");
    sink.set_callbacks(
        gst_app::AppSinkCallbacks::builder()
            .new_sample(move |sink| {
                let sample = sink.pull_sample().map_err(|_| gst::FlowError::Eos)?;
                let list = sample.buffer_list_owned().ok_or(gst::FlowError::Error)?;
                send_list(id, &mux, &list, &outlet, offsets.as_ref()).map_err(|error| {
                    failed(&error);
                    gst::FlowError::Error
                })?;
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
    offsets: Option<&Offsets>,
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
    if let Some(offsets) = offsets {
        put_offsets(&mut fragment, offsets)?;
    }
    outlet.send(&Output::Fragment { job: id }, &fragment)
}

fn put_offsets(fragment: &mut Vec<u8>, offsets: &Offsets) -> Result<()> {
    let units = composition::samples(fragment, VIDEO_TRACK)?;
    let offsets: Vec<i32> = {
        let mut offsets = offsets.lock().map_err(|_| anyhow!("another thread died"))?;
        ensure!(units <= offsets.len(), "more video came out than went in");
        offsets.drain(..units).collect()
    };
    if offsets.iter().all(|offset| *offset == 0) {
        return Ok(());
    }
    composition::write(fragment, VIDEO_TRACK, &offsets)
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
