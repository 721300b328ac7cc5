//! Boxes that something here wants to reach and that may not stand in the map: the coordinator is asked, and puts each
//! of the two into the other's map for a while.
//!
//! ```text
//! connection to a box ───┐
//! packet for an address ─┴─> Seeks ─> Asked: not again yet, or ─> coordinator ─> the map, by its push
//!                                       └── again at half time, while bytes flow
//! ```
//! Refuses to ask again soon, also where the answer was no; to ask for more than a few at once; and to let anybody wait
//! who has nothing to wait for.

mod asked;

use std::sync::Arc;
use std::time::Instant;

use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinSet;
use trust::{BoxKey, Ula};
use wire::updates::LookupResponse;
use wire::{Code, path};

use super::ask::{AskError, Desk};
use crate::inside::Meters;
use asked::{Answer, Asked, Verdict};

/// Questions that wait; one more is as if it had been refused.
const WAITING_MAX: usize = 32;

/// Who is sought.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Sought {
    Key(BoxKey),
    /// Inside of the mesh.
    Address(Ula),
}

/// A question.
#[derive(Debug)]
pub(crate) struct Seek {
    pub(crate) sought: Sought,
    /// It stands in the map: the other one may not know this box.
    pub(crate) is_there: bool,
    /// Hears whether it stands in the map soon.
    pub(crate) done: Option<oneshot::Sender<bool>>,
}

/// The way to ask; cheap to clone.
#[derive(Clone, Debug)]
pub(crate) struct Seeks {
    waiting: mpsc::Sender<Seek>,
    _task: Arc<JoinSet<()>>,
}

impl Seeks {
    /// Has to be called on the runtime. `meters` say how many bytes have been exchanged with a box so far.
    pub(crate) fn open(desk: Desk, meters: Meters) -> Self {
        let moved = move |key: &BoxKey| meters.moved(key);
        Self::with(|waiting| Seeker { desk, waiting, asked: Asked::default(), moved }.run())
    }

    /// With questions answered by somebody else.
    pub(crate) fn with<T: Future<Output = ()> + Send + 'static>(
        answers: impl FnOnce(mpsc::Receiver<Seek>) -> T,
    ) -> Self {
        let (waiting, questions) = mpsc::channel(WAITING_MAX);
        let mut task = JoinSet::new();
        task.spawn(answers(questions));
        Self { waiting, _task: Arc::new(task) }
    }

    /// The host sends packets to an address, and they can't go there: nobody in the map has it, or who has it may not
    /// know this box.
    pub(crate) fn handle_packet_for(&self, address: Ula, is_there: bool) {
        self.note(Sought::Address(address), is_there);
    }

    /// A box that stands in the map is being connected to: it has to know this box as well.
    pub(crate) fn handle_connecting(&self, key: &BoxKey) {
        self.note(Sought::Key(*key), true);
    }

    /// Asks for a box that does not stand in the map; `true` if it does so soon.
    pub(crate) async fn find(&self, key: &BoxKey) -> bool {
        let (done, answer) = oneshot::channel();
        let seek = Seek { sought: Sought::Key(*key), is_there: false, done: Some(done) };
        self.waiting.try_send(seek).is_ok() && answer.await.unwrap_or_default()
    }

    fn note(&self, sought: Sought, is_there: bool) {
        if self.waiting.try_send(Seek { sought, is_there, done: None }).is_err() {
            tracing::debug!("too many boxes are sought at once");
        }
    }
}

/// The task that asks.
struct Seeker<F> {
    desk: Desk,
    waiting: mpsc::Receiver<Seek>,
    asked: Asked,
    moved: F,
}

impl<F: Fn(&BoxKey) -> u64> Seeker<F> {
    /// Ends when nobody is left to ask.
    async fn run(mut self) {
        loop {
            let renewal = self.asked.next_renewal();
            let due = async {
                match renewal {
                    Some(at) => tokio::time::sleep_until(at.into()).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                seek = self.waiting.recv() => {
                    let Some(Seek { sought, is_there, done }) = seek else { return };
                    let is_found = self.seek(sought, is_there).await;
                    if let Some(done) = done {
                        // Whoever asked may have given up.
                        let _ = done.send(is_found);
                    }
                }
                () = due => {
                    let due = self.asked.poll_renewals(&self.moved, Instant::now());
                    for key in due {
                        self.ask(Sought::Key(key)).await;
                    }
                }
            }
        }
    }

    async fn seek(&mut self, sought: Sought, is_there: bool) -> bool {
        match self.asked.judge(&sought, is_there, Instant::now()) {
            Verdict::Ask => self.ask(sought).await,
            Verdict::Found => true,
            Verdict::Rest => false,
        }
    }

    async fn ask(&mut self, sought: Sought) -> bool {
        let question = match &sought {
            Sought::Key(key) => serde_json::to_value(key).ok().and_then(|key| {
                let key = key.as_str()?;
                Some(format!("{}?key={key}", path::LOOKUP))
            }),
            Sought::Address(address) => Some(format!("{}?address={address}", path::LOOKUP)),
        };
        // A key always has a text.
        let Some(question) = question else { return false };
        let answer = self.desk.get::<LookupResponse>(&question).await;
        let now = Instant::now();
        let (key, answer) = match answer {
            Ok(found) => {
                tracing::debug!(?sought, lasts_s = found.lasts_s, "a box was looked up");
                (Some(*found.entry.key()), Answer::found(found.lasts_s))
            }
            Err(error) => (None, refused(sought, &error)),
        };
        for sought in [Some(sought), key.map(Sought::Key)].into_iter().flatten() {
            let moved = match &sought {
                Sought::Key(key) => (self.moved)(key),
                Sought::Address(_) => 0,
            };
            self.asked.handle_answer(sought, answer, moved, now);
        }
        key.is_some()
    }
}

fn refused(sought: Sought, error: &AskError) -> Answer {
    let code = error.code();
    tracing::debug!(?sought, %error, %code, "a box was not found");
    if code == Code::BoxUnknown { Answer::Unknown } else { Answer::Failed }
}
