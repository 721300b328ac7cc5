//! Serving the same bytes from Relaybox and from nginx: what a GB of 2 MB objects costs, and what a playlist costs.
//! Relaybox goes on taking and packaging the stream meanwhile, and that is counted against it.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, Result};

use crate::http::Connection;
use crate::load::{self, Taken};
use crate::m3u8;
use crate::plan::Plan;
use crate::process::Usage;
use crate::publisher::Publisher;
use crate::rounds::{self, Accept, Round, Row};
use crate::servers::{self, Server};
use crate::source;

/// At this rate a segment of 2 s is about 2 MB.
const HEAVY_KBPS: u32 = 8_200;
const USUAL_KBPS: u32 = 2_500;
const OBJECT_CONNECTIONS: usize = 4;
const PLAYLIST_CONNECTIONS: usize = 8;
/// Segments in the playlist before anything is measured.
const SEGMENTS_MIN: usize = 3;

/// Relaybox with one stream, and nginx.
struct Stage {
    publisher: Publisher,
    ours: Server,
    peer: Server,
    playlist: String,
    window: Duration,
}

impl Stage {
    fn set(plan: &Plan, kbps: u32) -> Result<Stage> {
        let source = Arc::new(source::source(kbps, &plan.dir)?);
        let mut ours = servers::relayd(&plan.relayd, &plan.dir, 1)?;
        let peer = servers::nginx(&plan.dir, false)?;
        let publisher = Publisher::start(ours.rtmp, &servers::stream_name(0), &source, Duration::ZERO)?;
        let http = ours.http;
        let playlist = ours.process.await_ready(|| {
            let index = format!("/live/{}/index.m3u8", servers::stream_name(0));
            let mut connection = Connection::open(http).ok()?;
            let text = connection.fetch_text(&index).ok()?;
            let playlist = m3u8::resolve(&index, m3u8::variant(&text)?);
            let media = m3u8::media(&connection.fetch_text(&playlist).ok()?);
            (media.segments.len() >= SEGMENTS_MIN).then_some(playlist)
        })?;
        Ok(Stage { publisher, ours, peer, playlist, window: plan.window(20) })
    }

    /// Both serve `path` and a copy of it, one after the other; what `cost` makes of it is noted.
    fn round(
        &self,
        path: &str,
        connections: usize,
        cost: impl Fn(Usage, Taken) -> f64,
        key: &'static str,
    ) -> Result<Round> {
        let bytes = Connection::open(self.ours.http)?.fetch(path)?;
        self.peer.root.as_ref().context("nginx has a root")?.place("copy", &bytes)?;
        self.publisher.latest_ms();
        let mut round = Round::default();
        let mut side = |server: &Server, path: &str| -> Result<f64> {
            let asking = || load::closed_loop(server.http, path, connections, self.window);
            let (taken, usage) = server.process.window(asking)?;
            round.disturbed(usage.others_cores, 0.0);
            Ok(cost(usage, taken))
        };
        let ours = side(&self.ours, path)?;
        // The peer takes no stream: who publishes to us must not be counted as a stranger, nor may it be late.
        let peer = side(&self.peer, "/copy")?;
        round.note(key, ours, peer);
        round.disturbed(0.0, self.publisher.latest_ms());
        Ok(round)
    }
}

pub(super) fn objects(plan: &Plan) -> Result<Vec<Row>> {
    let stage = Stage::set(plan, HEAVY_KBPS)?;
    let per_gb = |usage: Usage, taken: Taken| usage.cpu_s / (taken.bytes as f64 / 1e9);
    let rounds = rounds::run("objects", plan.rounds, || {
        let mut connection = Connection::open(stage.ours.http)?;
        let media = m3u8::media(&connection.fetch_text(&stage.playlist)?);
        let segment = media.segments.last().context("the playlist lost its segments")?;
        stage.round(&m3u8::resolve(&stage.playlist, segment), OBJECT_CONNECTIONS, per_gb, "cpu_s_per_gb")
    })?;
    stage.publisher.finish()?;
    let what = "serving 2 MB objects, against nginx with sendfile";
    Ok(vec![rounds.row("cpu_s_per_gb", what, "CPU-s/GB", Accept::Ratio(1.2))?])
}

pub(super) fn playlists(plan: &Plan) -> Result<Vec<Row>> {
    let stage = Stage::set(plan, USUAL_KBPS)?;
    let per_request = |usage: Usage, taken: Taken| usage.cpu_s * 1e6 / taken.requests as f64;
    let rounds = rounds::run("playlists", plan.rounds, || {
        stage.round(&stage.playlist, PLAYLIST_CONNECTIONS, per_request, "cpu_us")
    })?;
    stage.publisher.finish()?;
    let what = "serving a live media playlist, against nginx with the same bytes in a file";
    Ok(vec![rounds.row("cpu_us", what, "CPU-us/request", Accept::Ratio(2.5))?])
}
