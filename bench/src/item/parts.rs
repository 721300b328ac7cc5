//! How soon a part can be had: from when its last frame was sent to when a viewer who waits on the preload hint has
//! read all of it.

use std::ops::ControlFlow;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};

use crate::http::Connection;
use crate::m3u8::{self, Media, Place};
use crate::plan::Plan;
use crate::publisher::Publisher;
use crate::rounds::{self, Accept, Round, Row, quantile};
use crate::servers;
use crate::source;
use crate::stamp::{self, Finder};

const KBPS: u32 = 2_500;

pub(super) fn run(plan: &Plan) -> Result<Vec<Row>> {
    let source = Arc::new(source::source(KBPS, &plan.dir)?);
    let mut server = servers::relayd(&plan.relayd, &plan.dir, 1)?;
    let name = servers::stream_name(0);
    let publisher = Publisher::start(server.rtmp, &name, &source, Duration::ZERO)?;
    let index = format!("/live/{name}/index.m3u8");
    let http = server.http;
    let playlist = server.process.await_ready(|| {
        let text = Connection::open(http).ok()?.fetch_text(&index).ok()?;
        Some(m3u8::resolve(&index, m3u8::variant(&text)?))
    })?;
    std::thread::sleep(plan.settle());
    let rounds = rounds::run("parts", plan.rounds, || {
        publisher.latest_ms();
        let (ages_ms, usage) = server.process.window(|| follow(http, &playlist, plan.window(40)))?;
        let mut round = Round::default();
        round.note("p50", quantile(&ages_ms, 0.5), None);
        round.note("p99", quantile(&ages_ms, 0.99), None);
        round.note("parts", ages_ms.len() as f64, None);
        round.disturbed(usage.others_cores, publisher.latest_ms());
        Ok(round)
    })?;
    publisher.finish()?;
    Ok(vec![
        rounds.row(
            "p99",
            "last frame of a part sent -> part downloaded, p99",
            "ms",
            Accept::AtMost(100.0),
        )?,
        rounds.row("p50", "the same, p50", "ms", Accept::Anything)?,
        rounds.row("parts", "parts read in a round", "parts", Accept::Anything)?,
    ])
}

/// Takes each part as soon as there is one; returns how old their last frames were, in milliseconds, sorted.
pub(super) fn follow(server: std::net::SocketAddr, playlist: &str, time: Duration) -> Result<Vec<f64>> {
    let begun = Instant::now();
    let mut connection = Connection::open(server)?;
    let mut media = m3u8::media(&connection.fetch_text(playlist)?);
    let mut ages_ms = Vec::new();
    while begun.elapsed() < time {
        let hint = media.hint.clone().context("a playlist without a preload hint")?;
        let next = media.next;
        if let Some(age_ms) = age_of(&mut connection, &m3u8::resolve(playlist, &hint))? {
            ages_ms.push(age_ms);
            media = reload(&mut connection, playlist, next)?;
            continue;
        }
        // The segment ended before the hinted part: the next segment's first part is had a round trip later.
        let first = Place { msn: next.msn + 1, part: 0 };
        media = reload(&mut connection, playlist, first)?;
        if media.next == (Place { part: 1, ..first }) {
            let part = media.newest_part.clone().context("a playlist without parts")?;
            ages_ms.extend(age_of(&mut connection, &m3u8::resolve(playlist, &part))?);
        }
    }
    ensure!(!ages_ms.is_empty(), "no part came");
    ages_ms.sort_by(f64::total_cmp);
    Ok(ages_ms)
}

fn reload(connection: &mut Connection, playlist: &str, place: Place) -> Result<Media> {
    let Place { msn, part } = place;
    let text = connection.fetch_text(&format!("{playlist}?_HLS_msn={msn}&_HLS_part={part}"))?;
    Ok(m3u8::media(&text))
}

/// Reads a part to its end; none if it is never made.
fn age_of(connection: &mut Connection, path: &str) -> Result<Option<f64>> {
    let mut newest_ns = None;
    let mut finder = Finder::default();
    let answer = connection.get(path, |bytes| {
        finder.feed(bytes, |sent_ns| newest_ns = newest_ns.max(Some(sent_ns)));
        ControlFlow::Continue(())
    })?;
    let now_ns = stamp::now_ns();
    if answer.status == 404 {
        return Ok(None);
    }
    ensure!(answer.status == 200, "GET {path}: {}", answer.status);
    let newest_ns = newest_ns.with_context(|| format!("GET {path}: a part without a frame"))?;
    Ok(Some(now_ns.saturating_sub(newest_ns) as f64 / 1e6))
}
