//! Serving a stream that is published elsewhere, from what an edge has of it: what a GB costs, and what five hundred
//! viewers wait for a part that the edge does not have, and how often its origin is asked then.

use std::time::Duration;

use anyhow::{Context as _, Result};

use crate::edge::{OURS, PEER, Stage};
use crate::load::{self, Taken};
use crate::m3u8;
use crate::plan::Plan;
use crate::process::Usage;
use crate::rounds::{self, Accept, Round, Row, quantile};
use crate::{crowd, http};

/// At this rate a segment of 2 s is about 2 MB.
const HEAVY_KBPS: u32 = 8_200;
const USUAL_KBPS: u32 = 2_500;
const CONNECTIONS: usize = 4;
const CACHE_LOADER: Duration = Duration::from_secs(65);
const SEGMENTS_MIN: usize = 3;
const VIEWERS: usize = 500;
/// What leaves the origin.
const LINE_MBPS: u32 = 20;
/// The newest part that is asked for: a box begins with the newest segment of which there are some.
const ASKED_PART: u32 = 3;

pub(super) fn run(plan: &Plan) -> Result<Vec<Row>> {
    Ok([warm(plan)?, cold(plan)?].concat())
}

/// Ours goes on carrying the stream meanwhile, and that is counted against it; the origin and who publishes there are
/// counted for none.
fn warm(plan: &Plan) -> Result<Vec<Row>> {
    let mut stage = Stage::set(plan, HEAVY_KBPS, None)?;
    if !plan.quick {
        // A child of nginx ends a minute after its start (the cache loader), which would spoil a window.
        std::thread::sleep(CACHE_LOADER);
    }
    stage.cool()?;
    let window = plan.window(20);
    let rounds = rounds::run("edge, warm", plan.rounds, || {
        let (playlist, media) = stage.playlist_at_edge(SEGMENTS_MIN)?;
        let segment = media.segments.last().context("the playlist lost its segments")?;
        let path = m3u8::resolve(&playlist, segment);
        stage.publisher.latest_ms();
        let mut round = Round::default();
        let per_gb = |usage: Usage, taken: Taken| usage.cpu_s / (taken.bytes as f64 / 1e9);
        let mut costs = Vec::new();
        for (server, process) in [(OURS, stage.ours.as_ref().context("our edge runs")?), (PEER, &stage.peer)]
        {
            let (once, often) = (path.clone(), path.clone());
            stage.at_edge(move || http::Connection::open(server)?.fetch(&once).map(drop))?;
            let asking = || stage.at_edge(move || load::closed_loop(server, &often, CONNECTIONS, window));
            let (taken, usage) = process.window(asking)?;
            round.disturbed(usage.others_cores, 0.0);
            costs.push(per_gb(usage, taken));
        }
        round.note("cpu_s_per_gb", costs[0], costs[1]);
        round.disturbed(0.0, stage.publisher.latest_ms());
        Ok(round)
    })?;
    stage.publisher.finish()?;
    let what = "serving 2 MB objects of a stream that is published elsewhere, against nginx's cache";
    Ok(vec![rounds.row("cpu_s_per_gb", what, "CPU-s/GB", Accept::Ratio(1.2))?])
}

/// One after the other, so that neither takes the other's line.
fn cold(plan: &Plan) -> Result<Vec<Row>> {
    let mut stage = Stage::set(plan, USUAL_KBPS, Some(LINE_MBPS))?;
    let rounds = rounds::run("edge, cold", plan.rounds, || {
        stage.publisher.latest_ms();
        let mut round = Round::default();
        let mut sides = Vec::new();
        for server in [OURS, PEER] {
            if server == OURS {
                stage.cool()?;
            }
            // Connected before the part is chosen, which is not new for long.
            let crowd = stage.at_edge(move || crowd::gather(server, VIEWERS))?;
            let (path, before) = (stage.newest_part(ASKED_PART)?, stage.hits()?);
            let waits_ms = crowd::ask(crowd, &path)?;
            sides.push((stage.hits()? - before, quantile(&waits_ms, 0.5), quantile(&waits_ms, 0.99)));
            stage.ours = None;
        }
        let (ours, peer) = (sides[0], sides[1]);
        round.note("hits", ours.0 as f64, peer.0 as f64);
        round.note("p50", ours.1, peer.1);
        round.note("p99", ours.2, peer.2);
        round.disturbed(0.0, stage.publisher.latest_ms());
        Ok(round)
    })?;
    stage.publisher.finish()?;
    let what = "a part that the edge does not have, 500 viewers at once, an origin with 20 Mbit/s";
    Ok(vec![
        rounds.row(
            "hits",
            &format!("{what}: connections to the origin"),
            "connections",
            Accept::AtMost(1.0),
        )?,
        rounds.row("p99", "the same: first byte, p99", "ms", Accept::AtMost(500.0))?,
        rounds.row("p50", "the same: first byte, p50", "ms", Accept::Anything)?,
    ])
}
