//! A viewer without a screen: follows the LL-HLS playlist, fetches every part, keeps a sample and has it judged by
//! outside code.
//!
//! It shares no code with the daemon on purpose: what it reads is what any player gets.

mod follow;
pub(crate) mod pace;
pub(crate) mod playlist;
pub(crate) mod verdict;

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};

use crate::lab::netns::Handle;
use crate::stop::Stop;
use follow::Follower;
use pace::Pace;

/// Above this no answer is read: playlists are a few KB, parts of a test picture a few hundred.
const ANSWER_BYTES_MAX: u64 = 32 << 20;

/// What was read so far.
#[derive(Clone, Debug, Default)]
pub(crate) struct Tally {
    pub(crate) playlists: u64,
    pub(crate) parts: u64,
    pub(crate) bytes: u64,
    pub(crate) media_s: f64,
    /// How often another initialization section, and so another epoch, began.
    pub(crate) epochs: u64,
    /// Answers after the first part that were no media: refusals, timeouts, broken connections.
    pub(crate) faults: u64,
    pub(crate) last_fault: Option<String>,
    /// Parts that the playlist names as missing.
    pub(crate) gaps: u64,
    /// The playlist says that nothing more comes.
    pub(crate) ended: bool,
    /// When a picture would have stood still.
    pub(crate) pace: Pace,
}

#[derive(Debug)]
pub(crate) struct Viewer {
    tally: Arc<Mutex<Tally>>,
    stop: Stop,
    thread: JoinHandle<Option<Sample>>,
    sample_path: PathBuf,
}

/// A stretch of media with its initialization section, from one keyframe on.
#[derive(Clone, Debug, Default)]
pub(crate) struct Sample {
    bytes: Vec<u8>,
    media_s: f64,
}

impl Viewer {
    /// Begins to follow the stream at `http_url`; at the end a sample lies in `dir`.
    pub(crate) fn start(http_url: &str, stream: &str, dir: &Path) -> Viewer {
        let tally = Arc::new(Mutex::new(Tally::default()));
        let stop = Stop::default();
        let follower = Follower::new(http_url, stream, tally.clone(), stop.clone());
        let thread = std::thread::spawn(move || follower.run());
        Viewer { tally, stop, thread, sample_path: dir.join("sample.mp4") }
    }

    /// The same behind a box of the lab: everything is asked for from inside of this namespace.
    pub(crate) fn start_inside(place: Handle, http_url: &str, stream: &str, sample_path: PathBuf) -> Viewer {
        let tally = Arc::new(Mutex::new(Tally::default()));
        let stop = Stop::default();
        let follower = Follower::new(http_url, stream, tally.clone(), stop.clone());
        let thread = std::thread::spawn(move || place.inside(|| Ok(follower.run())).ok().flatten());
        Viewer { tally, stop, thread, sample_path }
    }

    pub(crate) fn tally(&self) -> Tally {
        self.tally.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Ends the reading without a judgement; a request that is under way is not waited for.
    pub(crate) fn leave(self) {
        self.stop.set();
    }

    /// What would be seen just now, and from now on the least that is in the buffer is looked for anew.
    pub(crate) fn look(&self) -> Tally {
        let mut tally = self.tally.lock().unwrap_or_else(PoisonError::into_inner);
        tally.pace.advance(Instant::now());
        let seen = tally.clone();
        tally.pace.forget_lowest();
        seen
    }

    /// Ends the reading, and lets ffprobe and ffmpeg judge the last sample.
    pub(crate) fn finish(self) -> Result<(Tally, verdict::Verdict)> {
        let tally = self.tally();
        self.stop.set();
        let sample = self.thread.join().map_err(|_| anyhow::anyhow!("the reading thread panicked"))?;
        let why = tally.last_fault.as_deref().unwrap_or("the playlist named none");
        ensure!(tally.parts > 0, "no part of the stream could be read back: {why}");
        let sample = sample.with_context(|| format!("no sample that begins at a keyframe: {why}"))?;
        let path = &self.sample_path;
        std::fs::write(path, &sample.bytes).with_context(|| format!("could not write {}", path.display()))?;
        Ok((tally, verdict::judge(path, sample.media_s)?))
    }
}

/// Plain GET requests with limits of time and size, on kept connections.
#[derive(Clone, Debug)]
pub(crate) struct Reader {
    agent: ureq::Agent,
}

/// A whole answer, whatever its status.
#[derive(Debug)]
pub(crate) struct Reply {
    pub(crate) status: u16,
    pub(crate) body: Vec<u8>,
}

impl Reader {
    pub(crate) fn new(limit: Duration) -> Reader {
        let config = ureq::Agent::config_builder().timeout_global(Some(limit)).http_status_as_error(false);
        Reader { agent: config.build().into() }
    }

    pub(crate) fn get(&self, url: &str) -> Result<Reply> {
        let mut response = self.agent.get(url).call().with_context(|| format!("GET {url}"))?;
        let body = response.body_mut().with_config().limit(ANSWER_BYTES_MAX).read_to_vec();
        Ok(Reply { status: response.status().as_u16(), body: body.with_context(|| format!("GET {url}"))? })
    }

    /// The body of an answer with status 200.
    pub(crate) fn fetch(&self, url: &str) -> Result<Vec<u8>> {
        let reply = self.get(url)?;
        ensure!(
            reply.status == 200,
            "GET {url}: status {} {}",
            reply.status,
            String::from_utf8_lossy(&reply.body).trim()
        );
        Ok(reply.body)
    }

    pub(crate) fn fetch_text(&self, url: &str) -> Result<String> {
        String::from_utf8(self.fetch(url)?).with_context(|| format!("GET {url}: not UTF-8"))
    }
}
