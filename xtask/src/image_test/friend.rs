//! A friend's box in another household, at which a stream is published: the booted box has to get it through the mesh.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};

use super::office::Office;
use super::street::Street;
use crate::child::Child;
use crate::command;
use crate::source::Source;

pub(super) const STREAM: &str = "party";
const KEY: &str = "publishedfaraway";
const NAME: &str = "bob";
/// Enough for flash and beep, and little for an emulated processor.
const SOURCE: Source = Source { width: 640, height: 360, frame_rate: 30, seconds: None, video_kbps: 800 };

pub(super) struct Friend<'a> {
    street: &'a Street,
    dir: PathBuf,
    // The publisher ends first.
    publisher: Option<Child>,
    home: Child,
}

impl<'a> Friend<'a> {
    /// Joins and starts.
    pub(super) fn open(
        street: &'a Street,
        office: &Office<'_>,
        relayd: &Path,
        dir: &Path,
    ) -> Result<Friend<'a>> {
        let dir = dir.join("friend");
        fs::create_dir_all(&dir).with_context(|| format!("making {}", dir.display()))?;
        let invite = office.invite(NAME)?;
        let run = |words: &[&str]| {
            let mut command = street.far_away(relayd);
            command.args(words).arg("--data-dir").arg(dir.join("box"));
            command
        };
        command::output(&mut run(&["join", &invite])).context("the friend's box does not come in")?;
        let config = dir.join("relayd.toml");
        fs::write(&config, "").with_context(|| format!("writing {}", config.display()))?;
        let stream = format!("{STREAM}:{KEY}");
        let mut start = run(&["run", "--rtmp", "[::]:1935", "--http", "[::]:8080", "--stream", &stream]);
        start.arg("--config").arg(&config).env("RUST_LOG", "info,relayd=debug");
        let started = Child::start("the friend's box", &start, &dir.join("relayd.log"))?;
        Ok(Friend { street, dir, publisher: None, home: started })
    }

    pub(super) fn publish(&mut self) -> Result<()> {
        let mut ffmpeg = self.street.far_away(Path::new("ffmpeg"));
        ffmpeg.args(SOURCE.arguments(&format!("rtmp://127.0.0.1/live/{KEY}")));
        let log = self.dir.join("publisher.log");
        self.publisher = Some(Child::start("the publisher (ffmpeg)", &ffmpeg, &log)?);
        Ok(())
    }

    /// Nobody publishes for now.
    pub(super) fn rest(&mut self) {
        self.publisher = None;
    }

    pub(super) fn logs(&self) -> String {
        self.publisher.iter().chain([&self.home]).map(Child::log_tail).collect()
    }
}
