//! `cargo xtask demo`: one box on this machine, with a test picture, from nothing to something one can watch; with
//! `--boxes`, several that reach each other.
//!
//! It is also a proof: with `--seconds` it ends by itself, and its exit status is 0 only if media was published
//! through RTMP, served, read back over HTTP and decoded by a program that is not ours.

mod boxes;
mod carried;
mod door;
mod status;

use std::io::{IsTerminal as _, Write as _};
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};

use crate::apt::{Consent, Purpose};
use crate::build::Profile;
use crate::child::Child;
use crate::origin::{Origin, STREAM, Wish, home_address};
use crate::source::Source;
use crate::stop::Stop;
use crate::viewer::Viewer;
use crate::{apt, build, command};
use status::Status;

/// How long the picture may take from publisher to player before the demo gives up.
const FIRST_PICTURE_LIMIT: Duration = Duration::from_secs(30);

/// How much media has to be read back before `--seconds` may call it served.
const MEDIA_S_MIN: f64 = 3.0;

#[derive(clap::Args, Debug)]
pub(crate) struct Args {
    /// So many boxes behind different routers and a coordinator, in network namespaces, in place of one box with a
    /// picture
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u8).range(2..=boxes::BOXES_MAX))]
    #[arg(conflicts_with_all = ["no_publisher", "http", "rtmp"])]
    boxes: Option<u8>,
    /// A stream is published at the first of the boxes, the others carry it, and one of them is pulled from the wall; ends
    /// after a minute or so many seconds, with exit status 0 only if nobody's picture stood still
    #[arg(long, requires = "boxes")]
    kill_one: bool,
    /// End by itself after this many seconds, with exit status 0 only if media was served and read back
    #[arg(long)]
    seconds: Option<u64>,
    /// Publish nothing and wait for OBS
    #[arg(long)]
    no_publisher: bool,
    /// Install missing Debian packages without a question
    #[arg(long)]
    yes: bool,
    /// Where players connect; without it all addresses, port 8080 or a free one
    #[arg(long, value_name = "ADDR")]
    http: Option<SocketAddr>,
    /// Where publishers connect; without it all addresses, port 1935 or a free one
    #[arg(long, value_name = "ADDR")]
    rtmp: Option<SocketAddr>,
}

pub(crate) fn run(args: &Args) -> Result<()> {
    let time = args.seconds.map(Duration::from_secs);
    match args.boxes {
        Some(boxes) if args.kill_one => {
            ensure!(boxes > 2, "with --kill-one there have to be 3 boxes or more");
            ensure!(
                args.seconds.is_none_or(|seconds| seconds >= carried::SECONDS_MIN),
                "with --kill-one it takes {} seconds or more",
                carried::SECONDS_MIN
            );
            return carried::run(boxes, time, Consent::from_yes(args.yes));
        }
        Some(boxes) => return boxes::run(boxes, time, Consent::from_yes(args.yes)),
        None => {}
    }
    let everywhere = |port| SocketAddr::from((Ipv4Addr::UNSPECIFIED, port));
    apt::require(
        &[Purpose::Build, Purpose::Web, Purpose::Run, Purpose::Publish],
        Consent::from_yes(args.yes),
    )?;
    let relayd = build::relayd(Profile::Release)?;
    let stop = Stop::on_signals()?;
    let rtmp = Wish::new(args.rtmp, everywhere(1935)).settle("RTMP")?;
    let http = Wish::new(args.http, everywhere(8080)).settle("HTTP")?;
    let dir = Folder::claim(&command::target().join("demo"))?;
    let origin = Origin::start(&relayd, &dir.path, rtmp, http, &stop)?;
    let mut demo = Demo::new(origin, &dir.path, !args.no_publisher)?;
    demo.print_addresses();
    let watched = demo.watch(time, &stop);
    let read_back = watched.and_then(|()| demo.read_back(args.seconds.is_some(), stop.wanted()));
    demo.stop();
    read_back
}

/// The demo's folder: its key stays from run to run, and two demos never share it.
struct Folder {
    path: PathBuf,
    _lock: std::fs::File,
}

impl Folder {
    fn claim(path: &Path) -> Result<Folder> {
        std::fs::create_dir_all(path).with_context(|| format!("could not make {}", path.display()))?;
        let lock = std::fs::File::create(path.join("lock")).context("could not write the lock")?;
        lock.try_lock()
            .map_err(|_| anyhow::anyhow!("another demo runs in {}: end it first", path.display()))?;
        Ok(Folder { path: path.to_owned(), _lock: lock })
    }
}

struct Demo {
    origin: Origin,
    publisher: Option<Child>,
    viewer: Option<Viewer>,
}

impl Demo {
    fn new(origin: Origin, dir: &Path, publishes: bool) -> Result<Demo> {
        let publisher = if publishes {
            let command = Source::default().publisher(&origin.publish_url());
            Some(Child::start("the publisher (ffmpeg)", &command, &dir.join("publisher.log"))?)
        } else {
            None
        };
        let viewer = Some(Viewer::start(&origin.http_url(), STREAM, dir));
        Ok(Demo { origin, publisher, viewer })
    }

    fn print_addresses(&self) {
        let listens = self.origin.addresses.http;
        let host = if listens.ip().is_unspecified() {
            home_address().unwrap_or(Ipv4Addr::LOCALHOST.into())
        } else {
            listens.ip()
        };
        let http = format!("http://{}", SocketAddr::new(host, listens.port()));
        let rtmp = SocketAddr::new(host, self.origin.addresses.rtmp.port());
        println!();
        println!("  player       {http}/live/{STREAM}");
        println!("  phone, HLS   {http}/live/{STREAM}/index.m3u8");
        println!("  VLC, FLV     {http}/live/{STREAM}.flv");
        println!("  the box      {http}/        its streamer's page: {http}/studio");
        println!(
            "  OBS          Settings, Stream: service Custom, server rtmp://{rtmp}/live, stream key {}",
            self.origin.key
        );
        if self.publisher.is_some() {
            println!("               (takes the stream over from the test picture while it publishes)");
        }
        if let Ok(pin) = std::fs::read_to_string(self.origin.log.with_file_name("pin")) {
            println!("  PIN          {} (for /studio)", pin.trim());
        }
        println!("  log          {}", self.origin.log.display());
        println!("  Ctrl-C stops all of it.\n");
    }

    /// Shows how it goes until the time is over or Ctrl-C.
    fn watch(&mut self, time: Option<Duration>, stop: &Stop) -> Result<()> {
        let start = Instant::now();
        let mut line = Line::default();
        while !stop.wanted() && time.is_none_or(|time| start.elapsed() < time) {
            stop.wait(
                Duration::from_secs(1)
                    .min(time.map_or(Duration::MAX, |time| time.saturating_sub(start.elapsed()))),
            );
            if self.origin.child.ended().is_some() {
                line.end();
                return Err(self.origin.child.failure());
            }
            if self.publisher.as_mut().is_some_and(|child| child.ended().is_some()) && !stop.wanted() {
                self.publisher_ended()?;
            }
            let status = Status::read(&self.origin.http_url(), STREAM);
            let tally = self.viewer.as_ref().map(Viewer::tally).unwrap_or_default();
            line.show(&format!(
                "{:>4} s  {status}  read back {}",
                start.elapsed().as_secs(),
                status::read_back(&tally)
            ));
            if self.publisher.is_some() && tally.parts == 0 && start.elapsed() > FIRST_PICTURE_LIMIT {
                line.end();
                let why = tally.last_fault.unwrap_or_default();
                anyhow::bail!(
                    "no picture after {} s: {why}\n{}",
                    FIRST_PICTURE_LIMIT.as_secs(),
                    self.origin.child.log_tail()
                );
            }
        }
        line.end();
        Ok(())
    }

    /// OBS with the same key takes the stream over, which ends our publisher as it should.
    fn publisher_ended(&mut self) -> Result<()> {
        let Some(mut publisher) = self.publisher.take() else { return Ok(()) };
        let status = Status::read(&self.origin.http_url(), STREAM);
        if status.is_live() {
            eprintln!("\nanother publisher took the stream over; the test picture ended");
            return Ok(());
        }
        Err(publisher.failure())
    }

    /// Judges what was read back. Without a limit of time the person in front has seen it, and a word is enough.
    fn read_back(&mut self, must: bool, stopped: bool) -> Result<()> {
        let Some(viewer) = self.viewer.take() else { return Ok(()) };
        if !must || stopped {
            let tally = viewer.tally();
            println!("read back: {}", status::read_back(&tally));
            ensure!(!must, "stopped before the time was over");
            return Ok(());
        }
        let (tally, verdict) = viewer.finish()?;
        println!("read back: {}; {verdict}", status::read_back(&tally));
        ensure!(
            tally.media_s >= MEDIA_S_MIN,
            "only {:.1} s of media were read back: {}",
            tally.media_s,
            tally.last_fault.unwrap_or_default()
        );
        verdict.demand(self.publisher.is_some()).context("what was read back is not right")
    }

    fn stop(mut self) {
        if let Some(publisher) = &mut self.publisher {
            publisher.stop();
        }
        if !self.origin.child.stop() {
            eprintln!(
                "relayd did not end when asked, so it was killed; its log is {}",
                self.origin.log.display()
            );
        }
    }
}

/// One line that is written over on a terminal, and written now and then elsewhere.
#[derive(Default)]
struct Line {
    width: usize,
    last: Option<Instant>,
}

impl Line {
    const EVERY: Duration = Duration::from_secs(5);

    fn show(&mut self, text: &str) {
        if std::io::stdout().is_terminal() {
            let columns =
                rustix::termios::tcgetwinsize(std::io::stdout()).map_or(80, |size| usize::from(size.ws_col));
            // A line that wraps could not be written over.
            let text: String = text.chars().take(columns.saturating_sub(1)).collect();
            let width = text.chars().count();
            print!("\r{text}{}", " ".repeat(self.width.saturating_sub(width)));
            std::io::stdout().flush().ok();
            self.width = width;
        } else if self.last.is_none_or(|last| last.elapsed() >= Self::EVERY) {
            println!("{text}");
            self.last = Some(Instant::now());
        }
    }

    fn end(&mut self) {
        if self.width > 0 {
            println!();
            self.width = 0;
        }
    }
}
