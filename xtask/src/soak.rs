//! The soak: one box, one publisher that comes back every minute, one viewer that stays; memory has to stay flat.
//!
//! Reconnects take turns: the publisher is killed and a new one comes, or a new one with the same key takes over
//! while the old one is still connected. The smoke is the same in one minute: it judges media, not memory, since
//! memory is still filling up to its budget.

use std::fmt::Write as _;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail, ensure};

use crate::apt::{Consent, Purpose};
use crate::build::Profile;
use crate::child::Child;
use crate::origin::{Origin, STREAM, children_of};
use crate::source::Source;
use crate::stop::Stop;
use crate::viewer::{Reader, Viewer};
use crate::{apt, build, command};

/// How long media may stay away after a reconnect: a new epoch within 2 s, and a group of pictures to be whole.
const RETURN_LIMIT: Duration = Duration::from_secs(15);

const SAMPLE_EVERY: Duration = Duration::from_secs(5);

/// Until then the window of the store fills, and memory grows as it should.
const WARM_UP: Duration = Duration::from_secs(180);

/// The last quarter may be above the first by this much.
const GROWTH_MAX: f64 = 0.05;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Plan {
    time: Duration,
    reconnect_every: Duration,
    profile: Profile,
}

impl Plan {
    pub(crate) fn full(minutes: u32) -> Plan {
        let time = Duration::from_secs(u64::from(minutes) * 60);
        Plan { time, reconnect_every: Duration::from_secs(60), profile: Profile::Dist }
    }

    pub(crate) fn smoke() -> Plan {
        let seconds = Duration::from_secs;
        Plan { time: seconds(60), reconnect_every: seconds(15), profile: Profile::Debug }
    }

    /// Whether enough of the run lies behind the warm-up to compare its quarters.
    fn judges_memory(&self) -> bool {
        self.time >= WARM_UP * 4
    }
}

/// Memory of the daemon and its children at one moment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Memory {
    at: Duration,
    relayd: Size,
    children: Size,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Size {
    rss_kb: u64,
    pss_kb: u64,
}

pub(crate) fn run(plan: &Plan, consent: Consent) -> Result<()> {
    apt::require(&[Purpose::Build, Purpose::Web, Purpose::Run, Purpose::Publish], consent)?;
    let relayd = build::relayd(plan.profile)?;
    let stop = Stop::on_signals()?;
    let dir = command::target().join("soak");
    let any = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
    let origin = Origin::start(&relayd, &dir, any, any, &stop)?;
    let mut soak = Soak::start(origin, &dir)?;
    let soaked = soak.run(plan, &stop);
    std::fs::write(dir.join("samples.csv"), table(&soak.samples)).context("could not write the samples")?;
    soaked?;
    ensure!(!stop.wanted(), "stopped before the time was over");
    soak.judge(plan)
}

struct Soak {
    origin: Origin,
    publishers: Publishers,
    viewer: Viewer,
    metrics: Reader,
    samples: Vec<Memory>,
    reconnects: u32,
}

impl Soak {
    fn start(origin: Origin, dir: &Path) -> Result<Soak> {
        let mut publishers = Publishers::new(&origin.publish_url(), dir);
        publishers.add()?;
        let viewer = Viewer::start(&origin.http_url(), STREAM, dir);
        let metrics = Reader::new(Duration::from_secs(5));
        Ok(Soak { origin, publishers, viewer, metrics, samples: Vec::new(), reconnects: 0 })
    }

    fn run(&mut self, plan: &Plan, stop: &Stop) -> Result<()> {
        self.await_media(0, stop)?;
        let start = Instant::now();
        let mut next_reconnect = plan.reconnect_every;
        while start.elapsed() < plan.time && !stop.wanted() {
            self.sample(start.elapsed())?;
            // The last stretch stays whole, so that the viewer ends with a sample of it.
            if start.elapsed() >= next_reconnect && start.elapsed() + plan.reconnect_every / 2 < plan.time {
                next_reconnect += plan.reconnect_every;
                let parts = self.viewer.tally().parts;
                self.reconnect()?;
                self.await_media(parts, stop)?;
                println!("{:>5} s  {}", start.elapsed().as_secs(), self.line());
            }
            stop.wait(SAMPLE_EVERY.min(plan.time.saturating_sub(start.elapsed())));
        }
        Ok(())
    }

    fn reconnect(&mut self) -> Result<()> {
        self.reconnects += 1;
        if self.reconnects % 2 == 1 {
            self.publishers.end_all();
            self.publishers.add()
        } else {
            self.publishers.add()
        }
    }

    /// Waits until the viewer read more parts than it had.
    fn await_media(&mut self, parts: u64, stop: &Stop) -> Result<()> {
        let came = stop.wait_until(RETURN_LIMIT, || self.viewer.tally().parts > parts + 5);
        if came || stop.wanted() {
            return Ok(());
        }
        let why = self.viewer.tally().last_fault.unwrap_or_default();
        Err(self.origin.child.failure())
            .context(format!("no media {} s after a publisher came: {why}", RETURN_LIMIT.as_secs()))
    }

    fn sample(&mut self, at: Duration) -> Result<()> {
        if self.origin.child.ended().is_some() {
            return Err(self.origin.child.failure());
        }
        self.metrics.fetch(&format!("{}/metrics", self.origin.http_url()))?;
        let relayd = size_of(self.origin.child.id())?;
        let mut children = Size::default();
        for pid in children_of(self.origin.child.id())? {
            // The media child may be on its way out, to be replaced.
            let Ok(child) = size_of(pid) else { continue };
            children =
                Size { rss_kb: children.rss_kb + child.rss_kb, pss_kb: children.pss_kb + child.pss_kb };
        }
        self.samples.push(Memory { at, relayd, children });
        self.publishers.forget_ended();
        Ok(())
    }

    fn line(&self) -> String {
        let tally = self.viewer.tally();
        let Memory { relayd, children, .. } = self.samples.last().copied().unwrap_or_default();
        format!(
            "{} reconnects, {:.0} s of media in {} parts, {} faults; PSS relayd {:.1} MB, media {:.1} MB",
            self.reconnects,
            tally.media_s,
            tally.parts,
            tally.faults,
            relayd.pss_kb as f64 / 1024.0,
            children.pss_kb as f64 / 1024.0
        )
    }

    fn judge(mut self, plan: &Plan) -> Result<()> {
        let line = self.line();
        let growth = growth(&self.samples);
        let (tally, verdict) = self.viewer.finish()?;
        self.publishers.end_all();
        ensure!(self.origin.child.stop(), "relayd did not end when asked");
        println!("soak: {line}; {verdict}");
        verdict.demand(true)?;
        let wanted_s = plan.time.as_secs_f64() * 0.5;
        ensure!(
            tally.media_s >= wanted_s,
            "only {:.0} s of media were read, not {wanted_s:.0}",
            tally.media_s
        );
        if !plan.judges_memory() {
            println!("soak: too short for a verdict on memory");
            return Ok(());
        }
        let Some(growth) = growth else { bail!("too few samples of memory") };
        println!("soak: the last quarter's RSS against the first's: {:+.1} %", growth * 100.0);
        ensure!(
            growth <= GROWTH_MAX,
            "memory grew by {:.1} %, more than {:.0} %",
            growth * 100.0,
            GROWTH_MAX * 100.0
        );
        Ok(())
    }
}

/// The publisher in charge, and perhaps the one it took over from.
struct Publishers {
    url: String,
    dir: std::path::PathBuf,
    running: Vec<Child>,
    started: u32,
}

impl Publishers {
    fn new(url: &str, dir: &Path) -> Publishers {
        Publishers { url: url.to_owned(), dir: dir.to_owned(), running: Vec::new(), started: 0 }
    }

    fn add(&mut self) -> Result<()> {
        // Two logs in turn are enough to see how the last two ended.
        let log = self.dir.join(format!("publisher-{}.log", self.started % 2));
        self.started += 1;
        let source = Source { width: 640, height: 360, ..Source::default() };
        self.running.push(Child::start("the publisher (ffmpeg)", &source.publisher(&self.url), &log)?);
        Ok(())
    }

    fn end_all(&mut self) {
        for mut child in self.running.drain(..) {
            child.kill();
        }
    }

    fn forget_ended(&mut self) {
        self.running.retain_mut(|child| child.ended().is_none());
    }
}

fn size_of(pid: u32) -> Result<Size> {
    let path = format!("/proc/{pid}/smaps_rollup");
    let text = std::fs::read_to_string(&path).with_context(|| format!("could not read {path}"))?;
    parse_size(&text).with_context(|| format!("{path} says nothing of memory"))
}

fn parse_size(rollup: &str) -> Option<Size> {
    let field = |name: &str| {
        let line = rollup.lines().find_map(|line| line.strip_prefix(name))?;
        line.split_whitespace().next()?.parse().ok()
    };
    Some(Size { rss_kb: field("Rss:")?, pss_kb: field("Pss:")? })
}

/// How much higher the mean of the last quarter is than that of the first, behind the warm-up. By resident memory, since
/// the proportional one moves when other processes come and go that run the same binaries.
fn growth(samples: &[Memory]) -> Option<f64> {
    let steady: Vec<f64> = samples
        .iter()
        .filter(|sample| sample.at >= WARM_UP)
        .map(|sample| (sample.relayd.rss_kb + sample.children.rss_kb) as f64)
        .collect();
    let quarter = steady.len() / 4;
    if quarter == 0 {
        return None;
    }
    let mean = |part: &[f64]| part.iter().sum::<f64>() / part.len() as f64;
    Some(mean(&steady[steady.len() - quarter..]) / mean(&steady[..quarter]) - 1.0)
}

fn table(samples: &[Memory]) -> String {
    let mut text = String::from("at_s,relayd_rss_kb,relayd_pss_kb,children_rss_kb,children_pss_kb\n");
    for Memory { at, relayd, children } in samples {
        let at = at.as_secs();
        writeln!(text, "{at},{},{},{},{}", relayd.rss_kb, relayd.pss_kb, children.rss_kb, children.pss_kb)
            .expect("writing to a string can't fail");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn samples(rss_kb: impl Fn(u64) -> u64) -> Vec<Memory> {
        let sample = |second| Memory {
            at: Duration::from_secs(second),
            relayd: Size { rss_kb: rss_kb(second), pss_kb: 0 },
            children: Size { rss_kb: 1000, pss_kb: 0 },
        };
        (0..3600).step_by(5).map(sample).collect()
    }

    #[test]
    fn filling_up_is_no_growth_and_a_leak_is() {
        let filling = growth(&samples(|second| second.min(100) * 100)).unwrap();
        assert!(filling.abs() < 1e-9, "{filling}");
        let leaking = growth(&samples(|second| 9000 + second)).unwrap();
        assert!(leaking > 0.2, "{leaking}");
        assert_eq!(growth(&[]), None);
    }

    #[test]
    fn only_a_long_run_judges_memory() {
        assert!(Plan::full(60).judges_memory());
        assert!(!Plan::full(5).judges_memory());
        assert!(!Plan::smoke().judges_memory());
    }

    #[test]
    fn sizes_come_from_the_kernel_s_rollup() {
        let text = "55d0-7ffd ---p 00000000 00:00 0 [rollup]\nRss:               36492 kB\nPss:               30210 kB\nPss_Dirty: 1 kB\n";
        assert_eq!(parse_size(text), Some(Size { rss_kb: 36492, pss_kb: 30210 }));
        assert_eq!(parse_size(""), None);
    }
}
