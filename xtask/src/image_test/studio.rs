//! The box's page for its friend, behind the PIN, as a browser at home uses it: what a friend wishes, and whether the box
//! says that it is kept.

use std::net::Ipv4Addr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use anyhow::{Context as _, Result, anyhow, ensure};

use super::street::Street;
use crate::lab::netns::Handle;
use crate::stop::Stop;

/// How long an answer may take in emulation. After a cut it is waited for in vain.
const ANSWER_LIMIT: Duration = Duration::from_secs(15);
const ANSWER_BYTES_MAX: u64 = 1 << 20;
/// 507: there is no room for it (RFC 4918, 11.5).
const NOT_KEPT: u16 = 507;
/// The first limit that is wished for, in kbit/s.
const FIRST_KBPS: u64 = 1000;

/// A session.
pub(super) struct Studio {
    place: Handle,
    agent: ureq::Agent,
    url: String,
    cookie: String,
}

impl Studio {
    pub(super) fn enter(street: &Street, host: Ipv4Addr, pin: &str) -> Result<Studio> {
        let config = ureq::Agent::config_builder().timeout_global(Some(ANSWER_LIMIT));
        let agent: ureq::Agent = config.http_status_as_error(false).build().into();
        let url = format!("http://{host}/api/v1");
        let mut studio = Studio { place: street.at_the_viewer()?, agent, url, cookie: String::new() };
        studio.cookie = studio.place.inside(|| {
            let request =
                studio.agent.post(format!("{}/session", studio.url)).content_type("application/json");
            let answer = request.send(format!("{{\"pin\": \"{pin}\"}}")).context("opening a session")?;
            ensure!(answer.status().is_success(), "the PIN is not taken: status {}", answer.status());
            let cookie = answer.headers().get("set-cookie").context("no session was given")?;
            let cookie = cookie.to_str().context("an odd cookie")?;
            Ok(cookie.split(';').next().unwrap_or_default().to_owned())
        })?;
        Ok(studio)
    }

    /// Once this is answered, the box has it for good.
    pub(super) fn wish(&self, limit_kbps: u64) -> Result<()> {
        self.place.inside(|| {
            let request = self.agent.put(format!("{}/giving", self.url)).content_type("application/json");
            let wish = format!("{{\"limit_kbps\": {limit_kbps}}}");
            let answer = request.header("cookie", &self.cookie).send(wish).context("saving a wish")?;
            ensure!(answer.status().is_success(), "a wish is not taken: status {}", answer.status());
            Ok(())
        })
    }

    /// A change that the box is to refuse, with a status of its own for one that it can't keep, and in these words.
    pub(super) fn refused(&self, put: bool, path: &str, body: &str, words: &str) -> Result<()> {
        self.place.inside(|| {
            let url = format!("{}/{path}", self.url);
            let request = if put { self.agent.put(url) } else { self.agent.post(url) };
            let request = request.content_type("application/json").header("cookie", &self.cookie);
            let mut answer = request.send(body).with_context(|| format!("asking for {path}"))?;
            let text = answer.body_mut().with_config().limit(ANSWER_BYTES_MAX).read_to_string();
            let text = text.context("reading the refusal")?;
            let is_right = answer.status() == NOT_KEPT && text.contains(words);
            ensure!(is_right, "{path} is answered by {}: {text}", answer.status());
            Ok(())
        })
    }

    pub(super) fn wished(&self) -> Result<Option<u64>> {
        self.place.inside(|| {
            let request = self.agent.get(format!("{}/giving", self.url)).header("cookie", &self.cookie);
            let mut answer = request.call().context("asking for the wish")?;
            ensure!(answer.status().is_success(), "the wish is not shown: status {}", answer.status());
            let text = answer.body_mut().with_config().limit(ANSWER_BYTES_MAX).read_to_vec();
            let view: serde_json::Value = serde_json::from_slice(&text.context("reading the wish")?)?;
            Ok(view["wish"]["limit_kbps"].as_u64())
        })
    }
}

/// What a box said of a friend's wishes: the last that it said is kept, and the last that it was told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Said {
    pub(super) kept: u64,
    pub(super) told: u64,
}

impl Said {
    /// A box may have kept what it had no time to say so of, and must have kept what it did.
    pub(super) fn demand(self, found: Option<u64>) -> Result<()> {
        let Said { kept, told } = self;
        let is_there = found.is_some_and(|found| (kept..=told).contains(&found));
        ensure!(is_there, "the box said that {kept} kbit/s are kept, was told {told}, and has {found:?}");
        Ok(())
    }
}

/// Wishes again and again, each time something else, as fast as the box answers.
pub(super) struct Wishing {
    kept: Arc<AtomicU64>,
    stop: Stop,
    thread: JoinHandle<Result<u64>>,
}

impl Wishing {
    pub(super) fn start(studio: Studio) -> Wishing {
        let (kept, stop) = (Arc::new(AtomicU64::new(0)), Stop::default());
        let (says, ends) = (kept.clone(), stop.clone());
        let thread = std::thread::spawn(move || wish_on(&studio, &says, &ends));
        Wishing { kept, stop, thread }
    }

    /// The box said at least once that it kept something.
    pub(super) fn has_begun(&self) -> bool {
        self.kept.load(Ordering::Relaxed) > 0 || self.thread.is_finished()
    }

    /// From here on no answer is missed.
    pub(super) fn let_go(&self) {
        self.stop.set();
    }

    /// An error if the box left a wish without an answer before it was let go.
    pub(super) fn finish(self) -> Result<Said> {
        self.stop.set();
        let told = self.thread.join().map_err(|_| anyhow!("the wishing thread panicked"))??;
        Ok(Said { kept: self.kept.load(Ordering::Relaxed), told })
    }
}

/// The last wish that the box was told.
fn wish_on(studio: &Studio, kept: &AtomicU64, stop: &Stop) -> Result<u64> {
    let mut told = FIRST_KBPS;
    while !stop.wanted() {
        told += 1;
        match studio.wish(told) {
            Ok(()) => kept.store(told, Ordering::Relaxed),
            Err(_) if stop.wanted() => break,
            Err(error) => return Err(error.context("the box stopped answering by itself")),
        }
    }
    Ok(told)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_said_to_be_kept_is_demanded() {
        let said = Said { kept: 1007, told: 1008 };
        said.demand(Some(1007)).unwrap();
        said.demand(Some(1008)).unwrap();
        for lost in [None, Some(1006), Some(1009)] {
            assert!(said.demand(lost).is_err(), "{lost:?}");
        }
    }
}
