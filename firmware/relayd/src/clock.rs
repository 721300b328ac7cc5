//! `relayd clock`: sets the clock of a board that has none, or a wrong one, by the coordinator's signed answer over the
//! pinned key. A program of its own, so that the daemon needs no right to set clocks, and this one needs no other.
//!
//! ```text
//! build time, last time seen ─> floor ─┐
//! nonce ─> coordinator ─> signed time ─┴─> trust::clock ─> Setter ─> the kernel's clock
//! ```
//! Refuses to turn a clock back that it set once, and leaves one alone that the network's time service set.

mod setter;

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use clap::Parser;
use nix::sys::time::TimeSpec;
use nix::time::{ClockId, clock_settime};
use trust::UnixSeconds;
use trust::clock::Clock;

use crate::control::ask::TimeDesk;
use crate::control::hour::{self, Hour};
use crate::control::kept::{self, Kept};
use crate::control::plan::Backoff;
use crate::secrets::keep;
use crate::settings::DATA_DIR;
use setter::{Setter, Step};

/// How often the last time seen is saved.
const SAVE_EVERY: Duration = Duration::from_secs(600);
/// How often the coordinator is asked once it answered.
const ASK_EVERY: Duration = Duration::from_secs(6 * 3600);
/// How often a box that is in no mesh yet looks whether it is.
const JOINED_EVERY: Duration = Duration::from_secs(2);
/// Waits after failures are no longer than this: the box has no network before it has the time.
const AGAIN_MAX: Duration = Duration::from_secs(15);
/// When nobody has said the time for so long, any that is later than all before has to do.
const GUESS_AFTER: Duration = Duration::from_secs(60);
/// Made by systemd-timesyncd when it has set the clock (systemd-timesyncd.service(8)).
const SYNCHRONIZED: &str = "/run/systemd/timesync/synchronized";
const SEEN: &str = "clock";

#[derive(Debug, Parser)]
pub(crate) struct Args {
    #[arg(long, value_name = "DIR", default_value = DATA_DIR)]
    data_dir: PathBuf,
    /// Where the last time seen is kept; the data directory if it is not given.
    #[arg(long, value_name = "DIR")]
    state_dir: Option<PathBuf>,
}

pub(crate) fn run(args: &Args) -> Result<()> {
    let filter = tracing_subscriber::EnvFilter::try_from_default_env().unwrap_or_else(|_| "info".into());
    tracing_subscriber::fmt().with_env_filter(filter).with_ansi(false).with_writer(std::io::stderr).init();
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_all().build().context("the runtime")?;
    let state = args.state_dir.as_ref().unwrap_or(&args.data_dir).join(SEEN);
    runtime.block_on(keep_right(&kept::directory(&args.data_dir), state))
}

/// Runs for as long as the board does.
async fn keep_right(mesh: &Path, state: PathBuf) -> Result<()> {
    let began = Instant::now();
    let seen = [kept::read_time(&state), kept::read_floor(mesh)].into_iter().flatten().max();
    let hour = Hour::after(seen, 0);
    tracing::info!(shown = %hour::shown(), floor = %hour.floor(), "the board's clock");
    let mut keeper = Keeper { hour, setter: Setter::default(), state, saved: None, refused: false };
    let kept = joined(mesh).await?;
    let mut desk = TimeDesk::new(kept.url.clone(), kept.pin)?;
    let mut backoff = Backoff::default();
    let mut asked: Option<Instant> = None;
    loop {
        let mut wait = SAVE_EVERY;
        if asked.is_none_or(|asked| asked.elapsed() >= ASK_EVERY) {
            // Revocations may have come since, and another coordinator's certificate with them.
            let revocations = Kept::read(mesh)?.map(|kept| kept.revocations()).unwrap_or_default();
            match desk.follow(&keeper.hour, &kept.root, &revocations).await {
                Ok(_) => {
                    tracing::info!(shown = %hour::shown(), "the coordinator said the time");
                    asked = Some(Instant::now());
                    backoff.handle_success();
                }
                Err(error) => {
                    let error = anyhow::Error::from(error);
                    tracing::warn!(error = format!("{error:#}"), "the coordinator does not say the time");
                    wait = backoff.handle_failure(500).min(AGAIN_MAX);
                }
            }
        }
        keeper.put_right(began.elapsed() >= GUESS_AFTER);
        keeper.save().await;
        tokio::time::sleep(wait).await;
    }
}

/// Whose time counts is known once the box is in a mesh.
async fn joined(mesh: &Path) -> Result<Kept> {
    loop {
        if let Some(kept) = Kept::read(mesh)? {
            return Ok(kept);
        }
        tokio::time::sleep(JOINED_EVERY).await;
    }
}

struct Keeper {
    hour: Hour,
    setter: Setter,
    state: PathBuf,
    saved: Option<UnixSeconds>,
    refused: bool,
}

impl Keeper {
    /// Compares the board's clock with what is known, and sets it where that is due.
    fn put_right(&mut self, may_guess: bool) {
        if Path::new(SYNCHRONIZED).exists() {
            return;
        }
        let (shown, known) = (hour::shown(), self.hour.known());
        let step = match known {
            Some(now) => self.setter.handle_time(shown, now),
            None if may_guess => self.setter.handle_silence(shown, self.hour.floor().plus(SAVE_EVERY)),
            None => return,
        };
        match step {
            Step::Keep => {}
            Step::Set(time) => match set(time) {
                Ok(()) if known.is_some() => tracing::info!(was = %shown, is = %time, "the clock is set"),
                Ok(()) => {
                    tracing::warn!(was = %shown, is = %time, "nobody says the time: set to the last time seen");
                }
                Err(error) => tracing::error!(error = format!("{error:#}"), "the clock is not set"),
            },
            Step::Refuse { ahead } => {
                if !std::mem::replace(&mut self.refused, true) {
                    let (ahead_s, most_s) = (ahead.as_secs(), Clock::APART_MAX.as_secs());
                    tracing::warn!(ahead_s, most_s, "the clock is ahead; it is never turned back");
                }
            }
        }
    }

    /// What is saved only ever grows.
    async fn save(&mut self) {
        let floor = self.hour.floor();
        if self.saved.is_some_and(|saved| saved >= floor) {
            return;
        }
        match keep(self.state.clone(), format!("{}\n", floor.get()).into_bytes(), 0o600).await {
            Ok(()) => self.saved = Some(floor),
            Err(error) => tracing::error!(error = format!("{error:#}"), "the time is not kept"),
        }
    }
}

fn set(time: UnixSeconds) -> Result<()> {
    let seconds = i64::try_from(time.get()).context("the year 9999")?;
    clock_settime(ClockId::CLOCK_REALTIME, TimeSpec::new(seconds, 0))
        .context("setting the clock takes CAP_SYS_TIME")
}
