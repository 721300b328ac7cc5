//! Streams that this box takes from other servers, as a viewer of them: the way from a running SRS, nginx or MediaMTX to
//! here.
//!
//! ```text
//! Connecting --> Waiting --> Live --+-- over, failed ---------> Failed --- a pause, doubled up to 30 s --> Connecting
//!      ^                            +-- a publisher came here -> Held --- 10 s after that one is gone ---> Connecting
//! ```
//! What is pulled is a publication like any other: same timeline, same cuts, same bounds. Whoever publishes with the
//! stream's key takes it over: somebody who acts now knows better than a setting. Refuses to take a stream from a
//! publisher, and to show or log more of another server than its host.

mod hls;
mod rtmp;
mod supply;
mod wanted;

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use anyhow::{Context as _, Result};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;
use rustls::{ClientConfig, RootCertStore};
use serve::{Advice, HealthProblem, Severity, SourceState, SourceView};
use stream::StreamName;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep};

use self::supply::{End, Supply};
use self::wanted::Way;
pub(crate) use self::wanted::{PullFragment, Wanted, check};
use crate::publish::Roster;

/// Between two tries at first, and at most.
const PAUSE_FIRST: Duration = Duration::from_secs(1);
const PAUSE_MAX: Duration = Duration::from_secs(30);
/// A try that lasted so long was none in vain.
const LASTED: Duration = Duration::from_secs(30);
/// A publisher who is gone may come back: OBS tries again after 2 s.
const RETURN_AFTER: Duration = Duration::from_secs(10);
/// Tries in a row that failed: then something is wrong that does not go away by itself.
const FAILURES_SAID: u32 = 3;

/// All streams that are pulled.
#[derive(Debug, Default)]
pub(crate) struct Pulls {
    all: BTreeMap<StreamName, Arc<Pulled>>,
}

/// One of them.
#[derive(Debug)]
pub(crate) struct Pulled {
    wanted: Wanted,
    trust: Arc<ClientConfig>,
    limits: ingest::Limits,
    standing: Mutex<Standing>,
    tries: AtomicU64,
}

#[derive(Clone, Debug)]
struct Standing {
    state: SourceState,
    trouble: Option<String>,
    /// In a row, without media in between.
    failures: u32,
}

impl Pulls {
    pub(crate) fn open(all: &[Wanted], limits: ingest::Limits) -> Result<Self> {
        let all = all.iter().map(|wanted| {
            let trust = trust(wanted).with_context(|| format!("pull: {}", wanted.name))?;
            let standing = Standing { state: SourceState::Connecting, trouble: None, failures: 0 };
            let pulled = Pulled {
                wanted: wanted.clone(),
                trust: Arc::new(trust),
                limits,
                standing: Mutex::new(standing),
                tries: AtomicU64::new(0),
            };
            Ok((wanted.name.clone(), Arc::new(pulled)))
        });
        Ok(Self { all: all.collect::<Result<_>>()? })
    }

    /// Begins with all of them. They go on until the set is dropped.
    pub(crate) fn begin(&self, roster: &Arc<Roster>, tasks: &mut JoinSet<()>, at: &tokio::runtime::Handle) {
        for pulled in self.all.values() {
            tasks.spawn_on(run(Arc::clone(pulled), Arc::clone(roster)), at);
        }
    }

    /// None for a stream that is not pulled.
    pub(crate) fn view(&self, name: &StreamName) -> Option<SourceView> {
        let pulled = self.all.get(name)?;
        let Standing { state, trouble, .. } = pulled.standing().clone();
        Some(SourceView { text: format!("pulled from {}", pulled.wanted.source.label()), state, trouble })
    }

    /// For the streamer's page.
    pub(crate) fn advice(&self, name: &StreamName) -> Vec<Advice> {
        let view = self.view(name).and_then(|SourceView { text, trouble, .. }| Some((text, trouble?)));
        let advice = view.map(|(text, trouble)| Advice {
            code: "pull".to_owned(),
            severity: Severity::Error,
            text: format!(
                "This stream is {text}, and does not come: {trouble}. The box tries again by itself."
            ),
        });
        advice.into_iter().collect()
    }

    /// Those that have failed for a while, for everybody to see.
    pub(crate) fn problems(&self) -> Vec<HealthProblem> {
        let failing = self.all.iter().filter_map(|(name, pulled)| {
            let standing = pulled.standing();
            let trouble = standing.trouble.as_ref().filter(|_| standing.failures >= FAILURES_SAID)?;
            let text =
                format!("The stream {name} can't be pulled: {trouble}. The box tries again by itself.");
            Some(HealthProblem { code: "pull".to_owned(), text })
        });
        failing.collect()
    }

    /// Listed in docs/metrics.md.
    pub(crate) fn metrics(&self, out: &mut String) {
        let mut one = |name: &str, kind: &str, help: &str, value: fn(&Pulled) -> u64| {
            let _ = writeln!(out, "# HELP {name} {help}\n# TYPE {name} {kind}");
            for (stream, pulled) in &self.all {
                let _ = writeln!(out, "{name}{{stream=\"{stream}\"}} {}", value(pulled));
            }
        };
        one(PULL_LIVE, "gauge", "Whether media comes from the server that is pulled from.", |pulled| {
            u64::from(pulled.standing().state == SourceState::Live)
        });
        one(PULL_TRIES, "counter", "Connections that were tried.", |pulled| {
            pulled.tries.load(Ordering::Relaxed)
        });
    }
}

const PULL_LIVE: &str = "relaybox_pull_live";
const PULL_TRIES: &str = "relaybox_pull_tries_total";

impl Pulled {
    fn standing(&self) -> MutexGuard<'_, Standing> {
        self.standing.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn enter(&self, state: SourceState) {
        let mut standing = self.standing();
        standing.state = state;
        match state {
            SourceState::Live => (standing.trouble, standing.failures) = (None, 0),
            SourceState::Held => standing.trouble = None,
            SourceState::Connecting | SourceState::Waiting | SourceState::Failed => {}
        }
    }

    /// Said once for each reason.
    fn fail(&self, trouble: String) {
        let (name, host) = (&self.wanted.name, self.wanted.source.label());
        let mut standing = self.standing();
        if standing.trouble.as_ref() == Some(&trouble) {
            tracing::debug!(stream.id = %name, host, trouble, "not pulled");
        } else {
            tracing::warn!(stream.id = %name, host, trouble, "not pulled: trying again and again");
        }
        standing.state = SourceState::Failed;
        standing.trouble = Some(trouble);
        standing.failures = standing.failures.saturating_add(1);
    }
}

/// How long to wait before the next try.
#[derive(Debug)]
struct Pause(Duration);

impl Pause {
    fn after(&mut self, lasted: Duration) -> Duration {
        if lasted >= LASTED {
            self.0 = PAUSE_FIRST;
        }
        let pause = self.0;
        self.0 = (2 * pause).min(PAUSE_MAX);
        pause
    }
}

/// Never ends.
async fn run(pulled: Arc<Pulled>, roster: Arc<Roster>) {
    let slot = roster.slot(&pulled.wanted.name);
    let mut pause = Pause(PAUSE_FIRST);
    loop {
        if slot.is_held() {
            pulled.enter(SourceState::Held);
            slot.vacated().await;
            sleep(RETURN_AFTER).await;
            continue;
        }
        let began = Instant::now();
        pulled.enter(SourceState::Connecting);
        pulled.tries.fetch_add(1, Ordering::Relaxed);
        // A task of its own: what a server sends must not end the others, whatever it is.
        let mut task = JoinSet::new();
        task.spawn(attempt(Arc::clone(&pulled), Arc::clone(&roster)));
        let end = match task.join_next().await {
            Some(Ok(end)) => end,
            Some(Err(error)) => {
                tracing::error!(%error, stream.id = %pulled.wanted.name, "a pull broke down");
                End::Failed("a fault of this box, which its log names".to_owned())
            }
            None => continue,
        };
        match end {
            End::Held => continue,
            End::Over => {
                tracing::info!(stream.id = %pulled.wanted.name, "what was pulled is over");
                pulled.enter(SourceState::Waiting);
            }
            End::Failed(trouble) => pulled.fail(trouble),
        }
        sleep(pause.after(began.elapsed())).await;
    }
}

/// One connection, or one run along a playlist.
async fn attempt(pulled: Arc<Pulled>, roster: Arc<Roster>) -> End {
    let mut supply = Supply::new(Arc::clone(&pulled), roster);
    let source = &pulled.wanted.source;
    let end = match &source.way {
        Way::Rtmp(request) => rtmp::pull(&pulled, source, request, &mut supply).await,
        Way::Hls(url) => hls::pull(&pulled, url, &mut supply).await,
    };
    supply.close(&end);
    end
}

/// Whom to trust for TLS: the public authorities, or those in the file.
fn trust(wanted: &Wanted) -> Result<ClientConfig> {
    let mut roots = RootCertStore::empty();
    match &wanted.authorities {
        None => roots.extend(webpki_roots::TLS_SERVER_ROOTS.iter().cloned()),
        Some(file) => {
            let read = || format!("reading the certificates in {}", file.display());
            for certificate in CertificateDer::pem_file_iter(file).with_context(read)? {
                roots.add(certificate.with_context(read)?).with_context(read)?;
            }
        }
    }
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = ClientConfig::builder_with_provider(provider);
    let builder = builder.with_safe_default_protocol_versions().context("TLS versions")?;
    Ok(builder.with_root_certificates(roots).with_no_client_auth())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_double_up_to_a_bound_and_begin_anew_after_a_good_while() {
        let mut pause = Pause(PAUSE_FIRST);
        let soon = Duration::from_secs(3);
        let pauses: Vec<u64> = (0..7).map(|_| pause.after(soon).as_secs()).collect();
        assert_eq!(pauses, [1, 2, 4, 8, 16, 30, 30]);
        assert_eq!(pause.after(Duration::from_secs(31)).as_secs(), 1);
        assert_eq!(pause.after(soon).as_secs(), 2);
    }

    #[test]
    fn what_fails_is_a_problem_after_a_while_and_shows_no_key() {
        let url = "demo=rtmp://srs.example/live/s3cret";
        let wanted = check(vec![PullFragment::flag(url).unwrap()]).unwrap();
        let pulls = Pulls::open(&wanted, ingest::Limits::default()).unwrap();
        let name = "demo".parse().unwrap();
        let pulled = &pulls.all[&name];
        pulled.fail("no connection".to_owned());
        pulled.fail("no connection".to_owned());
        assert!(pulls.problems().is_empty());
        pulled.fail("no connection".to_owned());
        let problem = &pulls.problems()[0];
        assert_eq!(problem.code, "pull");
        assert_eq!(
            problem.text,
            "The stream demo can't be pulled: no connection. The box tries again by itself."
        );
        assert_eq!(
            pulls.advice(&name)[0].text,
            "This stream is pulled from srs.example, and does not come: no connection. The box tries again by itself."
        );
        let view = pulls.view(&name).unwrap();
        assert_eq!((&*view.text, view.state), ("pulled from srs.example", SourceState::Failed));
        let mut metrics = String::new();
        pulls.metrics(&mut metrics);
        assert!(metrics.contains("relaybox_pull_live{stream=\"demo\"} 0"), "{metrics}");
        let all = format!("{pulls:?}{problem:?}{view:?}{metrics}");
        assert!(!all.contains("s3cret"), "{all}");
        pulled.enter(SourceState::Live);
        assert!(pulls.problems().is_empty());
        assert_eq!(pulls.view(&"other".parse().unwrap()).map(|view| view.text), None);
    }

    #[test]
    fn every_metric_is_documented() {
        let page = include_str!("../../../docs/metrics.md");
        for (name, kind) in [(PULL_LIVE, "gauge"), (PULL_TRIES, "counter")] {
            assert!(page.contains(&format!("| `{name}` | {kind} |")), "{name}");
        }
    }
}
