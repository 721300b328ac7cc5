//! HTTP-FLV: how old a frame is when a viewer has it, and what a GB costs with 100 viewers, against node-media-server.
//! What each server does to take the stream counts as well; Relaybox packages it for HLS too.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, Result};

use crate::load::{self, Crowd};
use crate::plan::Plan;
use crate::publisher::Publisher;
use crate::rounds::{self, Accept, Round, Row, quantile};
use crate::servers::{self, Server};
use crate::source::{self, Source};

const KBPS: u32 = 2_500;
const VIEWERS: usize = 100;

struct Side {
    server: Server,
    publisher: Publisher,
    path: String,
}

struct Measured {
    alone_p50_ms: f64,
    crowd_p50_ms: f64,
    crowd_p99_ms: f64,
    cpu_s_per_gb: f64,
    others_cores: f64,
    late_ms: f64,
}

impl Side {
    fn set(server: Server, source: &Arc<Source>) -> Result<Side> {
        let name = servers::stream_name(0);
        let publisher = Publisher::start(server.rtmp, &name, source, Duration::ZERO)?;
        Ok(Side { server, publisher, path: format!("/live/{name}.flv") })
    }

    fn measure(&self, plan: &Plan) -> Result<Measured> {
        let http = self.server.http;
        self.publisher.latest_ms();
        let alone = load::watch(http, &self.path, plan.window(10))?;
        // One of the viewers looks at the clock.
        let crowd = Crowd::join(http, &self.path, VIEWERS - 1)?;
        std::thread::sleep(plan.settle());
        let bytes_before = crowd.bytes();
        let (ages_ms, usage) =
            self.server.process.window(|| load::watch(http, &self.path, plan.window(20)))?;
        // What the viewer with the clock read is as much as each of the others did.
        let bytes = (crowd.bytes() - bytes_before) as f64 * VIEWERS as f64 / (VIEWERS - 1) as f64;
        crowd.leave()?;
        Ok(Measured {
            alone_p50_ms: quantile(&alone, 0.5),
            crowd_p50_ms: quantile(&ages_ms, 0.5),
            crowd_p99_ms: quantile(&ages_ms, 0.99),
            cpu_s_per_gb: usage.cpu_s / (bytes / 1e9),
            others_cores: usage.others_cores,
            late_ms: self.publisher.latest_ms(),
        })
    }
}

pub(super) fn run(plan: &Plan) -> Result<Vec<Row>> {
    let source = Arc::new(source::source(KBPS, &plan.dir)?);
    let ours = Side::set(servers::relayd(&plan.relayd, &plan.dir, 1)?, &source)?;
    let peer = Side::set(peer(&plan.manifest_dir, &plan.dir)?, &source)?;
    std::thread::sleep(plan.settle());
    let rounds = rounds::run("flv", plan.rounds, || {
        let mut round = Round::default();
        let (ours, peer) = (ours.measure(plan)?, peer.measure(plan)?);
        round.note("alone_p50", ours.alone_p50_ms, peer.alone_p50_ms);
        round.note("crowd_p50", ours.crowd_p50_ms, peer.crowd_p50_ms);
        round.note("crowd_p99", ours.crowd_p99_ms, peer.crowd_p99_ms);
        round.note("cpu_s_per_gb", ours.cpu_s_per_gb, peer.cpu_s_per_gb);
        for side in [ours, peer] {
            round.disturbed(side.others_cores, side.late_ms);
        }
        Ok(round)
    })?;
    for side in [ours, peer] {
        side.publisher.finish()?;
    }
    Ok(vec![
        rounds.row("alone_p50", "HTTP-FLV, age of a frame at one viewer, p50", "ms", Accept::AtMost(2.0))?,
        rounds.row("crowd_p50", "the same among 100 viewers, p50", "ms", Accept::Anything)?,
        rounds.row("crowd_p99", "the same among 100 viewers, p99", "ms", Accept::Anything)?,
        rounds.row(
            "cpu_s_per_gb",
            "HTTP-FLV to 100 viewers, against node-media-server",
            "CPU-s/GB",
            Accept::Ratio(1.0),
        )?,
    ])
}

fn peer(manifest_dir: &Path, dir: &Path) -> Result<Server> {
    servers::node_media_server(manifest_dir, dir).context("node-media-server, the peer of HTTP-FLV")
}
