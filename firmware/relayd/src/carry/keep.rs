//! One stream of another box for as long as it is wanted: asks the coordinator again and again from whom to take it, and
//! goes on with what it knows when there is no answer.

use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use relay::{Carrier, CarrierConfig, Parent, Report, Shown, Tally};
use store::Live;
use stream::StreamName;
use swarm::fetch::Fault;
use swarm::part::{StripeCount, Stripes};
use tokio::sync::{mpsc, watch};
use tokio::time::{Instant as TokioInstant, sleep_until};
use trust::BoxKey;
use wire::{Code, ParentsResponse};

use super::house::{Court, Roads};
use super::room::is_steady;
use super::{Carriers, Faults, lock};

/// Nobody watches it here and nobody takes it from here for so long: it is let go.
const IDLE: Duration = Duration::from_secs(30);
/// A stream of which nothing new came for so long is over: its origin is gone without a word.
const SILENT_MAX: Duration = Duration::from_secs(15);
/// The same while the coordinator is silent, too: more likely this box's own line is down, and viewers go on after it.
const ALONE_MAX: Duration = Duration::from_secs(60);
/// An ended stream can be read for so long.
const OVER_FOR: Duration = Duration::from_secs(10);
/// How often that is looked at.
const LOOK_EVERY: Duration = Duration::from_secs(2);
/// The same while nothing is there that could be given on: then others wait for it.
const LOOK_EARLY_EVERY: Duration = Duration::from_millis(200);
/// Between two questions, however badly it goes.
const ASK_PAUSE: Duration = Duration::from_secs(1);
/// After one that was not answered: soon enough not to be taken for gone.
const TRY_AGAIN: Duration = Duration::from_secs(3);
/// A parent that forged something is named to the coordinator for so long.
const FORGED_FOR: Duration = Duration::from_secs(u32::MAX as u64);
/// One that broke the rules.
const FAILED_FOR: Duration = Duration::from_secs(60);
/// One that was gone or slow: it may have had nothing itself, and is soon needed again.
const MISSED_FOR: Duration = Duration::from_secs(15);
/// What a path is taken to be while nobody measured it, in milliseconds.
const ROUND_TRIP_MS: u64 = 60;
/// So long after it began a box says of nobody that it is slow.
const YOUNG: Duration = Duration::from_secs(15);
/// One that is silent is asked again within this.
const SILENT_FOR: Duration = Duration::from_secs(4);
const REPORTS_MAX: usize = 32;

pub(super) struct Keep {
    pub(super) carriers: Arc<Carriers>,
    pub(super) name: StreamName,
    pub(super) live: Arc<Live>,
    pub(super) tally: Arc<Tally>,
    pub(super) wanted: Arc<Mutex<Instant>>,
}

impl Keep {
    pub(super) async fn run(self, answer: ParentsResponse, shows: watch::Sender<Option<Shown>>) {
        let Some(stripes) = StripeCount::new(answer.stripes) else {
            tracing::warn!(stripes = answer.stripes, "the coordinator names an impossible number of stripes");
            return self.carriers.end(&self.name);
        };
        let (parents, named) = watch::channel(self.parents(&answer));
        let (reports, mut told) = mpsc::channel(REPORTS_MAX);
        let config = CarrierConfig {
            name: self.name.clone(),
            origin: answer.owner,
            live: Arc::clone(&self.live),
            stripes,
            tally: Arc::clone(&self.tally),
            uplink: self.carriers.uplink.clone(),
        };
        let (ways, judge) = (Roads(Arc::clone(&self.carriers)), Arc::new(Court(Arc::clone(&self.carriers))));
        let mut tasks = tokio::task::JoinSet::new();
        tasks.spawn(Carrier::run(config, ways, judge, named, shows, reports));
        let mut heard = (self.newest(), TokioInstant::now());
        let mut failed: Vec<(BoxKey, Instant)> = Vec::new();
        let began = TokioInstant::now();
        let mut silent: Vec<(BoxKey, TokioInstant)> = Vec::new();
        let mut asked = TokioInstant::now();
        let mut next = asked + Duration::from_secs(u64::from(answer.next_s.clamp(1, 60)));
        let mut gives = false;
        let mut answered = true;
        loop {
            tokio::select! {
                report = told.recv() => match report {
                    None => break,
                    Some(Report::Starved) => next = next.min(asked + ASK_PAUSE),
                    // It is asked again here; elsewhere it may have been asked later, and has something.
                    Some(Report::Demoted { fault: Fault::Empty, .. }) => {}
                    // Where many begin at once, whoever is late waits for others itself.
                    Some(Report::Demoted { fault, .. }) if is_slowness(fault) && began.elapsed() < YOUNG => {}
                    // Whether it is gone or only stood still for a moment is known when it is asked again, or when
                    // others say the same.
                    Some(Report::Demoted { parent, fault: Fault::Silent }) => {
                        silent.push((parent, TokioInstant::now() + SILENT_FOR));
                        silent.truncate(REPORTS_MAX);
                        next = next.min(asked + ASK_PAUSE);
                    }
                    Some(Report::Demoted { parent, fault }) => {
                        failed.push((parent, Instant::now() + failed_for(fault)));
                        next = next.min(asked + ASK_PAUSE);
                    }
                },
                () = sleep_until(next) => {
                    asked = TokioInstant::now();
                    self.forgive(&mut silent);
                    let pause = self.ask_again(&mut failed, &silent, &parents, &answer).await;
                    answered = pause.is_some();
                    next = asked + pause.unwrap_or(TRY_AGAIN);
                }
                () = tokio::time::sleep(if gives { LOOK_EVERY } else { LOOK_EARLY_EVERY }) => {}
            }
            // The coordinator hears at once when it can count on this box again.
            if is_steady(&self.tally) != gives {
                gives = !gives;
                next = if gives { next.min(asked + ASK_PAUSE) } else { next };
            }
            for (parent, _) in silent.extract_if(.., |(_, due)| *due <= TokioInstant::now()) {
                let flows = self.tally.flows();
                if flows.iter().all(|(key, flow)| *key != parent || flow.takes == 0) {
                    failed.push((parent, Instant::now() + MISSED_FOR));
                    next = next.min(asked + ASK_PAUSE);
                }
            }
            if !self.is_wanted() {
                break;
            }
            let newest = self.newest();
            if newest != heard.0 {
                heard = (newest, TokioInstant::now());
            } else if newest.is_some() && heard.1.elapsed() >= if answered { SILENT_MAX } else { ALONE_MAX } {
                tracing::info!(stream.id = %self.name, "nothing comes any more: it ends here");
                break;
            }
        }
        drop(tasks);
        // Who watches is told that it is over, and has a moment to hear it.
        self.live.end();
        let over = TokioInstant::now() + OVER_FOR;
        let mut question = self.carriers.question(&self.name, &self.tally, &Faults::default(), 0);
        question.leaving = true;
        let _ = tokio::time::timeout(Duration::from_secs(5), self.carriers.ask(&question)).await;
        if self.live.is_watched() {
            sleep_until(over).await;
        }
        self.carriers.end(&self.name);
    }

    /// Asks, and gives the pause until the next time; none where there was no answer.
    async fn ask_again(
        &self,
        failed: &mut Vec<(BoxKey, Instant)>,
        silent: &[(BoxKey, TokioInstant)],
        parents: &watch::Sender<Vec<Parent>>,
        first: &ParentsResponse,
    ) -> Option<Duration> {
        failed.retain(|(_, until)| *until > Instant::now());
        let faults = Faults {
            failed: failed.iter().map(|(key, _)| *key).collect(),
            silent: silent.iter().map(|(key, _)| *key).collect(),
        };
        let viewers = u32::try_from(self.live.viewers()).unwrap_or(u32::MAX);
        let question = self.carriers.question(&self.name, &self.tally, &faults, viewers);
        match self.carriers.ask(&question).await {
            Ok(answer) => {
                if answer.owner != first.owner {
                    tracing::warn!(stream.id = %self.name, "the stream is another box's now");
                    self.carriers.end(&self.name);
                }
                let named = self.parents(&answer);
                parents.send_if_modified(|before| {
                    let changed = *before != named;
                    *before = named;
                    changed
                });
                Some(Duration::from_secs(u64::from(answer.next_s.clamp(1, 60))))
            }
            Err(error) => {
                if error.code() != Code::TryAgain {
                    tracing::debug!(stream.id = %self.name, %error, "no word from the coordinator");
                }
                // With the parents that are known the stream goes on.
                (!error.is_silence()).then_some(TRY_AGAIN)
            }
        }
    }

    /// Who gives again was not gone.
    fn forgive(&self, silent: &mut Vec<(BoxKey, TokioInstant)>) {
        let flows = self.tally.flows();
        let gives = |parent: &BoxKey| flows.iter().any(|(key, flow)| key == parent && flow.takes != 0);
        silent.retain(|(parent, _)| !gives(parent));
    }

    fn parents(&self, answer: &ParentsResponse) -> Vec<Parent> {
        let round_trips = self.carriers.round_trips();
        let entries = answer.parents.iter().map(|entry| Parent {
            key: entry.key,
            score: entry.score,
            round_trip_ms: round_trips.get(&entry.key).copied().unwrap_or(ROUND_TRIP_MS),
            stripes: Stripes(entry.stripes),
            barred: Stripes(entry.barred),
            heir: Stripes(entry.heir),
        });
        entries.collect()
    }

    /// Which part is the newest that anybody gave.
    fn newest(&self) -> Option<u64> {
        self.live.newest_part().map(|item| item.stamp().serial)
    }

    fn is_wanted(&self) -> bool {
        let gives = self.tally.flows().iter().any(|(_, flow)| !flow.gives().is_empty());
        if self.live.is_watched() || gives {
            *lock(&self.wanted) = Instant::now();
            return true;
        }
        lock(&self.wanted).elapsed() < IDLE
    }
}

/// What a box with a full line does, and one that waits itself.
const fn is_slowness(fault: Fault) -> bool {
    matches!(fault, Fault::Stale | Fault::Silent | Fault::Starved | Fault::Slow)
}

const fn failed_for(fault: Fault) -> Duration {
    match fault {
        Fault::Forged => FORGED_FOR,
        Fault::NotAsked | Fault::Lied => FAILED_FOR,
        Fault::Stale | Fault::Empty | Fault::Silent | Fault::Starved | Fault::Slow => MISSED_FOR,
    }
}
