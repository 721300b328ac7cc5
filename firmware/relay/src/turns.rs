//! Whose block goes out next: from its first piece to its last, one at a time. Feeds before pulls, what a newcomer begins
//! with last, and what is wanted first before what is wanted later. While many would send in turns by pieces, each of
//! their blocks would take as long as all of them together, and nothing else could be said on those connections
//! meanwhile. Refuses to interrupt.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::oneshot;
use tokio::time::Instant;

/// What was promised goes out before what is asked for by name, and that before what is old already to who begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Class {
    Feed,
    Pull,
    Start,
}

#[derive(Debug, Default)]
struct State {
    busy: bool,
    asked: u64,
    /// At most one for each connection.
    waiting: BTreeMap<(Class, Instant, u64), oneshot::Sender<Turn>>,
}

#[derive(Clone, Debug, Default)]
pub(crate) struct Turns(Arc<Mutex<State>>);

/// Held while a block goes out. None where no limit is kept.
#[derive(Debug)]
pub(crate) struct Turn(Option<Turns>);

impl Turn {
    pub(crate) const fn free() -> Self {
        Self(None)
    }
}

impl Turns {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits until the line is free, and nobody waits who comes before.
    pub(crate) async fn take(&self, class: Class, wanted: Instant) -> Turn {
        let turn = {
            let mut state = self.lock();
            if !state.busy {
                state.busy = true;
                return Turn(Some(self.clone()));
            }
            let (sender, turn) = oneshot::channel();
            let asked = state.asked;
            state.asked += 1;
            state.waiting.insert((class, wanted, asked), sender);
            turn
        };
        // The other end is kept until it was used.
        turn.await.unwrap_or(Turn(None))
    }

    /// To the next who still waits.
    fn pass_on(&self) {
        let mut state = self.lock();
        loop {
            let Some((_, next)) = state.waiting.pop_first() else {
                state.busy = false;
                return;
            };
            // What comes back must not be dropped with the lock held: it would be passed on in turn.
            match next.send(Turn(Some(self.clone()))) {
                Ok(()) => return,
                Err(mut unwanted) => unwanted.0 = None,
            }
        }
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        if let Some(turns) = self.0.take() {
            turns.pass_on();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn the_oldest_goes_first_then_pulls_and_a_newcomers_past_last() {
        let turns = Turns::default();
        let now = Instant::now();
        let held = turns.take(Class::Feed, now).await;
        let order = Arc::new(Mutex::new(Vec::new()));
        let wanted =
            [(Class::Start, 0), (Class::Pull, 0), (Class::Feed, 30), (Class::Feed, 10), (Class::Feed, 20)];
        let mut tasks = Vec::new();
        for (class, ms) in wanted {
            let (turns, order) = (turns.clone(), Arc::clone(&order));
            tasks.push(tokio::spawn(async move {
                let turn = turns.take(class, now + Duration::from_millis(ms)).await;
                order.lock().unwrap().push((class, ms));
                drop(turn);
            }));
            tokio::task::yield_now().await;
        }
        // One goes away while it waits.
        tasks.pop().unwrap().abort();
        tokio::task::yield_now().await;
        drop(held);
        for task in tasks {
            task.await.unwrap();
        }
        assert_eq!(
            *order.lock().unwrap(),
            [(Class::Feed, 10), (Class::Feed, 30), (Class::Pull, 0), (Class::Start, 0)]
        );
        drop(turns.take(Class::Pull, now).await);
    }
}
