//! What all children together may get: a rate, kept by making senders wait. Refuses to choose it.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use swarm::score::{acknowledges, on_the_line};
use tokio::sync::watch;
use tokio::time::{Instant, sleep_until};
use trust::BoxKey;

use crate::turns::{Class, Turn, Turns};

/// What may go out at once after a pause.
const BURST: Duration = Duration::from_millis(10);
/// A block waits for its turn at most so long: a second less than until the child gives its part up.
const LATE: Duration = Duration::from_secs(2);
/// Blocks that wait for longer are late.
const ON_TIME: Duration = Duration::from_millis(250);
/// When all were late for so long, there is more than the line carries, or was once: then what is late is left out, until
/// the line is on time again (as CoDel does it with packets, RFC 8289).
const LATE_FOR: Duration = Duration::from_millis(600);
/// By so much later counts each block that a child asks for by name, and so much later at most.
const PULL_COSTS: Duration = Duration::from_secs(1);
const PULL_LEAD_MAX: Duration = Duration::from_secs(3);
/// What was booked may be on its way for so long before it counts as what nobody sent. Longer would be a queue on the line.
const ON_ITS_WAY: Duration = Duration::from_millis(15);
/// A sender looks again at least this often whether the rate has changed.
const LOOK_EVERY: Duration = Duration::from_millis(200);

/// Shared by all that send; cheap to clone.
#[derive(Clone, Debug)]
pub struct Uplink {
    /// Bits per second on the line; none: as much as goes.
    rate: watch::Sender<Option<u64>>,
    account: Arc<Mutex<Account>>,
    turns: Turns,
    /// When the next pull of a child counts as asked for.
    pulls: Arc<Mutex<BTreeMap<BoxKey, Instant>>>,
    /// Since when all blocks are late.
    late_since: Arc<Mutex<Option<Instant>>>,
}

/// What may go out, and what did. All in bytes on the line.
#[derive(Debug)]
struct Account {
    /// When what was booked so far will have gone out.
    gone: Instant,
    booked: u64,
    /// Of it, what had gone out at the last look, if it was as booked.
    due: u64,
    /// By how much more was really sent.
    excess: i64,
    /// Of the excess, what is booked and has not passed yet; and what will have been booked when it has.
    settling: u64,
    settled_at: u64,
}

impl Account {
    fn new() -> Self {
        Self { gone: Instant::now(), booked: 0, due: 0, excess: 0, settling: 0, settled_at: 0 }
    }

    /// From when on it goes out.
    fn book(&mut self, line_bytes: u64, rate: u64) -> Instant {
        let from = from(self.gone);
        self.gone = from + lasts(line_bytes, rate);
        self.booked = self.booked.saturating_add(line_bytes);
        from
    }

    /// So much was sent since the last call. What is beyond what was booked is booked now.
    fn settle(&mut self, line_bytes: u64, rate: u64) {
        let ahead = within(self.gone.saturating_duration_since(Instant::now()), rate);
        let due = self.booked.saturating_sub(ahead);
        let expected = signed(due) - signed(std::mem::replace(&mut self.due, due));
        let least = -signed(within(ON_ITS_WAY, rate));
        self.excess = (self.excess + signed(line_bytes) - expected).max(least);
        self.settling = self.settling.min(self.settled_at.saturating_sub(due));
        let more = u64::try_from(self.excess - signed(self.settling)).unwrap_or(0);
        if more > 0 {
            self.book(more, rate);
            self.settling += more;
            self.settled_at = self.booked;
        }
    }
}

impl Default for Uplink {
    fn default() -> Self {
        Self {
            rate: watch::Sender::new(None),
            account: Arc::new(Mutex::new(Account::new())),
            turns: Turns::default(),
            pulls: Arc::default(),
            late_since: Arc::default(),
        }
    }
}

impl Uplink {
    /// Bits per second on the line, 0 for a pause; none: as much as goes.
    pub fn set(&self, rate: Option<u64>) {
        self.rate.send_if_modified(|now| std::mem::replace(now, rate) != rate);
    }

    #[must_use]
    pub fn rate(&self) -> Option<u64> {
        *self.rate.borrow()
    }

    /// Whether what was promised has come late for a while.
    #[must_use]
    pub fn is_behind(&self) -> bool {
        let late = *self.late_since.lock().unwrap_or_else(PoisonError::into_inner);
        late.is_some_and(|since| since.elapsed() > LATE_FOR)
    }

    /// How long a block may wait.
    pub(crate) fn patience(&self) -> Duration {
        if self.is_behind() { ON_TIME } else { LATE }
    }

    /// A block has waited for so long.
    pub(crate) fn note_late(&self, late: Duration) {
        let mut since = self.late_since.lock().unwrap_or_else(PoisonError::into_inner);
        *since = if late > ON_TIME { since.or_else(|| Some(Instant::now())) } else { None };
    }

    /// Until a block may begin that a child wants at this time.
    pub(crate) async fn turn(&self, class: Class, wanted: Instant) -> Turn {
        if self.rate().is_none() { Turn::free() } else { self.turns.take(class, wanted).await }
    }

    /// When a block counts as asked for that this child asks for by name now: later, the more it asked for just before. What a
    /// full line has left for pulls is a block a second, and a newcomer asks for dozens at once: who misses a single one would
    /// wait behind all of them.
    pub(crate) fn pulled_by(&self, child: BoxKey) -> Instant {
        let now = Instant::now();
        let mut pulls = self.pulls.lock().unwrap_or_else(PoisonError::into_inner);
        pulls.retain(|_, next| *next > now);
        let at = pulls.get(&child).map_or(now, |next| (*next).min(now + PULL_LEAD_MAX));
        pulls.insert(child, at + PULL_COSTS);
        at
    }

    /// The same for what goes out even in a pause, and is little.
    pub(crate) async fn pace(&self, bytes: usize) {
        if self.rate() != Some(0) {
            self.take(bytes).await;
        }
    }

    /// Waits until these bytes may go out.
    pub async fn take(&self, bytes: usize) {
        let mut changes = self.rate.subscribe();
        loop {
            let Some(rate) = *changes.borrow_and_update() else { return };
            if rate > 0
                && let Some(at) = self.book(bytes, rate)
            {
                return sleep_until(at).await;
            }
            // Paused, or so slow that the rate may change first.
            let _ = tokio::time::timeout(LOOK_EVERY, changes.changed()).await;
        }
    }

    /// Something has to go out at once; what waits goes later by as much.
    pub(crate) fn spend(&self, bytes: usize) {
        self.spend_line(on_the_line(bytes as u64));
    }

    /// So much was really sent since the last call, ten times a second: also what others had passed on, what was sent again,
    /// and what a relay puts around it. Senders wait by as much as it is more than what they booked.
    pub fn handle_sent(&self, line_bytes: u64) {
        if let Some(rate) = self.rate().filter(|rate| *rate > 0) {
            self.account().settle(line_bytes, rate);
        }
    }

    fn spend_line(&self, line_bytes: u64) {
        if let Some(rate) = self.rate().filter(|rate| *rate > 0) {
            self.account().book(line_bytes, rate);
        }
    }

    fn account(&self) -> MutexGuard<'_, Account> {
        self.account.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// These bytes came: what acknowledges them goes out on the same line.
    pub(crate) fn handle_received(&self, bytes: usize) {
        self.spend_line(acknowledges(bytes as u64));
    }

    /// When these bytes may go; none if that is too far off to be promised.
    fn book(&self, bytes: usize, rate: u64) -> Option<Instant> {
        let mut account = self.account();
        let is_far = account.gone > Instant::now() + LOOK_EVERY;
        (!is_far).then(|| account.book(on_the_line(bytes as u64), rate))
    }
}

fn from(gone: Instant) -> Instant {
    let now = Instant::now();
    gone.max(now.checked_sub(BURST).unwrap_or(now))
}

fn lasts(line_bytes: u64, rate: u64) -> Duration {
    Duration::from_nanos(line_bytes.saturating_mul(8 * 1_000_000_000) / rate)
}

/// Bytes that a line of this rate carries in that time.
fn within(time: Duration, rate: u64) -> u64 {
    let nanos = u64::try_from(time.as_nanos()).unwrap_or(u64::MAX);
    (nanos / 1_000).saturating_mul(rate / 1_000) / 8_000
}

fn signed(bytes: u64) -> i64 {
    i64::try_from(bytes).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn many_senders_together_keep_the_rate() {
        let uplink = Uplink::default();
        uplink.set(Some(3_000_000));
        let began = Instant::now();
        let senders: Vec<_> = (0..4)
            .map(|_| {
                let uplink = uplink.clone();
                tokio::spawn(async move {
                    for _ in 0..50 {
                        uplink.take(16_384).await;
                    }
                })
            })
            .collect();
        for sender in senders {
            sender.await.unwrap();
        }
        // 200 blocks of 16 KiB and what is around them, at 3 Mbit/s: 9.87 s.
        let took = began.elapsed().as_secs_f64();
        assert!((9.6..9.95).contains(&took), "{took}");
    }

    /// A path takes more than is booked for each block, by so many thousandths; says what the line had in ten seconds, in
    /// thousandths of its rate.
    async fn used(more: u64) -> u64 {
        const RATE: u64 = 5_000_000;
        let uplink = Uplink::default();
        uplink.set(Some(RATE));
        let (mut on_line, mut told, mut looked) = (0, 0, Instant::now());
        let began = Instant::now();
        while began.elapsed() < Duration::from_secs(10) {
            uplink.take(16_384).await;
            on_line += on_the_line(16_384) * (1000 + more) / 1000;
            if looked.elapsed() >= Duration::from_millis(100) {
                looked = Instant::now();
                uplink.handle_sent(on_line - std::mem::replace(&mut told, on_line));
            }
        }
        on_line * 8 * 1000 / (10 * RATE)
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_sent_again_is_waited_for() {
        for more in [0, 30, 250, 700] {
            let used = used(more).await;
            assert!((980..=1020).contains(&used), "{more}: {used}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn what_was_booked_and_not_sent_makes_no_room_for_long() {
        let uplink = Uplink::default();
        uplink.set(Some(5_000_000));
        for _ in 0..50 {
            uplink.take(16_384).await;
            uplink.handle_sent(0);
        }
        // All of a second's line at once, and then a block: it waits for nearly as long.
        uplink.handle_sent(625_000);
        let began = Instant::now();
        uplink.take(16_384).await;
        let waited = began.elapsed().as_millis();
        assert!((900..=1_030).contains(&waited), "{waited}");
    }

    #[tokio::test(start_paused = true)]
    async fn who_asks_for_one_block_is_before_who_asked_for_many() {
        let uplink = Uplink::default();
        let [many, one] = [1, 2].map(|n| trust::BoxSecret::from_seed(&[n; 32]).public());
        let asked: Vec<_> = (0..40).map(|_| uplink.pulled_by(many)).collect();
        assert!(asked.is_sorted() && asked[39] == Instant::now() + PULL_LEAD_MAX);
        tokio::time::sleep(Duration::from_millis(900)).await;
        assert!(uplink.pulled_by(one) < asked[1], "behind the first only");
        // Nothing is kept of who has asked for nothing for a while.
        tokio::time::sleep(Duration::from_secs(5)).await;
        assert_eq!(uplink.pulled_by(many), Instant::now());
        assert_eq!(uplink.pulls.lock().unwrap().len(), 1);
    }

    #[tokio::test(start_paused = true)]
    async fn a_pause_holds_and_its_end_lets_go() {
        let uplink = Uplink::default();
        uplink.set(Some(0));
        let waiting = tokio::spawn({
            let uplink = uplink.clone();
            async move { uplink.take(1).await }
        });
        tokio::time::sleep(Duration::from_secs(5)).await;
        assert!(!waiting.is_finished());
        uplink.set(None);
        waiting.await.unwrap();
    }
}
