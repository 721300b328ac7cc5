//! Taking streams: processor time and memory of a fresh server at 1, 10 and 30 of them, against nginx-rtmp with HLS.
//! Relaybox makes fMP4 in parts, LL-HLS and FLV of each; nginx-rtmp makes TS segments.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, Result};

use crate::http::Connection;
use crate::plan::Plan;
use crate::publisher::Publisher;
use crate::rounds::{self, Accept, Round, Row};
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

/// One server with its load, measured.
struct Measured {
    cpu_ms: f64,
    pss_mb: f64,
    others_cores: f64,
    late_ms: f64,
    cache_mb: f64,
}

pub(super) fn run(plan: &Plan) -> Result<Vec<Row>> {
    let source = Arc::new(source::source(KBPS, &plan.dir)?);
    let mut rows = Vec::new();
    for case in CASES.iter().filter(|case| plan.streams.is_none_or(|only| case.streams == only)) {
        let streams = case.streams;
        let name = format!("ingest {streams}");
        let rounds = rounds::run(&name, plan.rounds, || {
            let mut round = Round::default();
            let server = servers::relayd(&plan.relayd, &plan.dir, streams)?;
            let ours = measure(plan, case, &server, &source, true)?;
            drop(server);
            let peer = measure(plan, case, &servers::nginx(&plan.dir, true)?, &source, false)?;
            round.note("cpu_ms", ours.cpu_ms, peer.cpu_ms);
            round.note("pss_mb", ours.pss_mb - ours.cache_mb, peer.pss_mb);
            round.note("cache_mb", ours.cache_mb, None);
            for side in [ours, peer] {
                round.disturbed(side.others_cores, side.late_ms);
            }
            Ok(round)
        })?;
        let plural = if streams == 1 { "stream" } else { "streams" };
        let what = format!("taking {streams} {plural}, against nginx-rtmp");
        rows.push(rounds.row("cpu_ms", &what, "CPU-ms per stream-second", Accept::Ratio(1.5))?);
        let what = format!("memory with {streams} {plural}, without the media kept");
        rows.push(rounds.row("pss_mb", &what, "MB PSS", Accept::AtMost(case.pss_mb_max))?);
        let what = format!("media kept of {streams} {plural} by then");
        rows.push(rounds.row("cache_mb", &what, "MB", Accept::Anything)?);
    }
    Ok(rows)
}

fn measure(plan: &Plan, case: &Case, server: &Server, source: &Arc<Source>, ours: bool) -> Result<Measured> {
    let count = u32::try_from(case.streams).context("few streams")?;
    let mut publishers = Vec::new();
    for number in 0..count {
        let key = servers::stream_name(number as usize);
        // All connect at once, and begin one after the other.
        publishers.push(Publisher::start(server.rtmp, &key, source, GROUP * number / count)?);
    }
    std::thread::sleep(GROUP + plan.settle());
    publishers.iter().for_each(|publisher| {
        publisher.latest_ms();
    });
    let ((), usage) = server.process.window(|| {
        std::thread::sleep(plan.window(case.window_s));
        Ok(())
    })?;
    let pss_mb = server.process.pss_mb()?;
    let cache_mb = if ours { kept_mb(server)? } else { 0.0 };
    let late_ms = publishers.iter().map(Publisher::latest_ms).fold(0.0, f64::max);
    for publisher in publishers {
        publisher.finish()?;
    }
    let cpu_ms = usage.cpu_s * 1e3 / usage.wall_s / f64::from(count);
    Ok(Measured { cpu_ms, pss_mb, others_cores: usage.others_cores, late_ms, cache_mb })
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
