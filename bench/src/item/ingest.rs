//! Taking streams: processor time and memory of a fresh server at 1, 10 and 30 of them, against nginx-rtmp with HLS.
//! Relaybox makes fMP4 in parts, LL-HLS and FLV of each; nginx-rtmp makes TS segments. Once while nobody watches, as the
//! demand has it, and with a viewer at each stream, since Relaybox does less for what nobody watches.

use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use anyhow::{Context as _, Result, anyhow, ensure};

use super::parts;
use crate::http::Connection;
use crate::load::Audience;
use crate::m3u8;
use crate::plan::Plan;
use crate::publisher::Publisher;
use crate::rounds::{self, Accept, Round, Rounds, Row};
use crate::servers::{self, Server};
use crate::source::{self, Source};

const KBPS: u32 = 2_500;
/// Streams begin spread over one group of pictures, as strangers to each other do.
const GROUP: Duration = Duration::from_secs(2);

struct Case {
    streams: usize,
    /// One stream costs so little that a tick of the kernel's clock needs a longer window.
    window_s: u64,
    pss_mb_max: f64,
}

const CASES: [Case; 3] = [
    Case { streams: 1, window_s: 60, pss_mb_max: 50.0 },
    Case { streams: 10, window_s: 20, pss_mb_max: 65.0 },
    Case { streams: 30, window_s: 20, pss_mb_max: 120.0 },
];

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Watched {
    ByNobody,
    /// One viewer of ordinary HLS at each stream, who costs the server what serving costs
    Each,
    /// One viewer of LL-HLS at each of our streams, and one of ordinary HLS at each of the peer's, which has no other
    Near,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Side {
    Ours,
    Peer,
}

/// One server with its load, measured.
struct Measured {
    cpu_ms: f64,
    pss_mb: f64,
    others_cores: f64,
    late_ms: f64,
    cache_mb: f64,
}

pub(super) fn run(plan: &Plan) -> Result<Vec<Row>> {
    let mut rows = Vec::new();
    for case in cases(plan) {
        let streams = case.streams;
        let rounds = side_by_side(plan, case, Watched::ByNobody)?;
        let what = format!("taking {}, against nginx-rtmp", plural(streams));
        rows.push(rounds.row("cpu_ms", &what, "CPU-ms per stream-second", Accept::Ratio(1.5))?);
        let what = format!("memory with {}, without the media kept", plural(streams));
        rows.push(rounds.row("pss_mb", &what, "MB PSS", Accept::AtMost(case.pss_mb_max))?);
        let what = format!("media kept of {} by then", plural(streams));
        rows.push(rounds.row("cache_mb", &what, "MB", Accept::Anything)?);
    }
    Ok(rows)
}

pub(super) fn watched(plan: &Plan) -> Result<Vec<Row>> {
    let mut rows = Vec::new();
    // What a viewer adds is the same with each stream, and best measured with many.
    if let Some(case) = CASES.last() {
        let streams = plural(case.streams);
        let rounds = side_by_side(plan, case, Watched::Each)?;
        let what = format!("taking {streams} with a viewer each, against nginx-rtmp");
        rows.push(rounds.row("cpu_ms", &what, "CPU-ms per stream-second", Accept::Ratio(1.5))?);
        let rounds = side_by_side(plan, case, Watched::Near)?;
        let what =
            format!("taking {streams} with a viewer of LL-HLS each, against nginx-rtmp with one of HLS");
        rows.push(rounds.row("cpu_ms", &what, "CPU-ms per stream-second", Accept::Anything)?);
    }
    Ok(rows)
}

fn cases(plan: &Plan) -> impl Iterator<Item = &'static Case> {
    let only = plan.streams;
    CASES.iter().filter(move |case| only.is_none_or(|only| case.streams == only))
}

fn plural(streams: usize) -> String {
    if streams == 1 { "1 stream".to_owned() } else { format!("{streams} streams") }
}

fn side_by_side(plan: &Plan, case: &Case, watched: Watched) -> Result<Rounds> {
    let source = Arc::new(source::source(KBPS, &plan.dir)?);
    let name = match watched {
        Watched::ByNobody => format!("ingest {}", case.streams),
        Watched::Each => format!("watched {}", case.streams),
        Watched::Near => format!("watched near {}", case.streams),
    };
    rounds::run(&name, plan.rounds, || {
        let mut round = Round::default();
        let server = servers::relayd(&plan.relayd, &plan.dir, case.streams)?;
        let ours = measure(plan, case, Side::Ours, &server, &source, watched)?;
        drop(server);
        let server = servers::nginx(&plan.dir, true)?;
        let peer = measure(plan, case, Side::Peer, &server, &source, watched)?;
        round.note("cpu_ms", ours.cpu_ms, peer.cpu_ms);
        round.note("pss_mb", ours.pss_mb - ours.cache_mb, peer.pss_mb);
        round.note("cache_mb", ours.cache_mb, None);
        for side in [ours, peer] {
            round.disturbed(side.others_cores, side.late_ms);
        }
        Ok(round)
    })
}

fn measure(
    plan: &Plan,
    case: &Case,
    side: Side,
    server: &Server,
    source: &Arc<Source>,
    watched: Watched,
) -> Result<Measured> {
    let count = u32::try_from(case.streams).context("few streams")?;
    let mut publishers = Vec::new();
    for number in 0..count {
        let key = servers::stream_name(number as usize);
        // All connect at once, and begin one after the other.
        publishers.push(Publisher::start(server.rtmp, &key, source, GROUP * number / count)?);
    }
    std::thread::sleep(GROUP + plan.settle());
    let (mut audience, mut near) = (None, Vec::new());
    match (watched, side) {
        (Watched::ByNobody, _) => {}
        (Watched::Near, Side::Ours) => near = viewers_near(plan, case, server),
        (Watched::Each | Watched::Near, _) => audience = Some(viewers(plan, case, side, server)),
    }
    publishers.iter().for_each(|publisher| {
        publisher.latest_ms();
    });
    let (taken, usage) = server.process.window(|| {
        let taken = || audience.as_ref().map(Audience::bytes);
        let before = taken();
        std::thread::sleep(plan.window(case.window_s));
        Ok(taken().zip(before).map(|(after, before)| after - before))
    })?;
    let pss_mb = server.process.pss_mb()?;
    let cache_mb = match side {
        Side::Ours => kept_mb(server)?,
        Side::Peer => 0.0,
    };
    let late_ms = publishers.iter().map(Publisher::latest_ms).fold(0.0, f64::max);
    if let (Some(audience), Some(taken)) = (audience, taken) {
        audience.leave()?;
        let sent = f64::from(KBPS) * 125.0 * usage.wall_s * f64::from(count);
        // A window holds a segment more or less than it is long.
        ensure!(taken as f64 > sent * 0.5, "viewers read {taken} bytes of the {sent} that were sent");
    }
    for viewer in near {
        let parts = viewer.join().map_err(|_| anyhow!("a viewer panicked"))??.len();
        ensure!(parts as f64 > usage.wall_s * 2.5, "a viewer read {parts} parts of 200 ms");
    }
    for publisher in publishers {
        publisher.finish()?;
    }
    let cpu_ms = usage.cpu_s * 1e3 / usage.wall_s / f64::from(count);
    Ok(Measured { cpu_ms, pss_mb, others_cores: usage.others_cores, late_ms, cache_mb })
}

/// Viewers that have found their place: the first playlist, and the segment that they begin with.
fn viewers(plan: &Plan, case: &Case, side: Side, server: &Server) -> Audience {
    let index = |number| match side {
        Side::Ours => index(number),
        Side::Peer => format!("/{}.m3u8", servers::stream_name(number)),
    };
    let audience = Audience::join(server.http, (0..case.streams).map(index).collect());
    std::thread::sleep(plan.settle());
    audience
}

fn index(number: usize) -> String {
    format!("/live/{}/index.m3u8", servers::stream_name(number))
}

/// Viewers who take each part as soon as there is one, each on a thread of its own.
fn viewers_near(plan: &Plan, case: &Case, server: &Server) -> Vec<JoinHandle<Result<Vec<f64>>>> {
    let (http, time) = (server.http, plan.settle() + plan.window(case.window_s) + Duration::from_secs(1));
    let watch = |number| {
        std::thread::spawn(move || {
            let index = index(number);
            let text = Connection::open(http)?.fetch_text(&index)?;
            let variant = m3u8::variant(&text).context("a playlist without a variant")?;
            parts::follow(http, &m3u8::resolve(&index, variant), time)
        })
    };
    let viewers = (0..case.streams).map(watch).collect();
    std::thread::sleep(plan.settle());
    viewers
}

/// The media that the store keeps, and the rings for FLV viewers, as relayd counts them itself.
fn kept_mb(server: &Server) -> Result<f64> {
    let text = Connection::open(server.http)?.fetch_text("/metrics")?;
    let sum = |name: &str| -> f64 {
        let values = text.lines().filter(|line| line.starts_with(name) && !line.starts_with('#'));
        values.filter_map(|line| line.rsplit_once(' ')?.1.parse::<f64>().ok()).sum()
    };
    Ok((sum("relaybox_stream_bytes{") + sum("relaybox_stream_flv_bytes{")) / 1e6)
}
