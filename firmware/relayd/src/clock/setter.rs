//! What to do about the board's clock, from what it shows and what is known: a plain state machine.
//!
//! ```text
//! Guessed ── the time is said ──> Right     forward and back
//!    └── nobody says it ──> Guessed         forward alone, to what is later than all that was seen
//! Right ── the time is said ──> Right       forward alone
//! ```

use std::time::Duration;

use trust::UnixSeconds;
use trust::clock::Clock;

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum State {
    /// Whatever it shows is a guess.
    #[default]
    Guessed,
    /// It was set, or found to be right.
    Right,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Step {
    Keep,
    Set(UnixSeconds),
    /// It is ahead, and would have to be turned back.
    Refuse {
        ahead: Duration,
    },
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Setter(State);

impl Setter {
    /// The clock shows `shown` when it is `now`.
    pub(super) fn handle_time(&mut self, shown: UnixSeconds, now: UnixSeconds) -> Step {
        let state = std::mem::replace(&mut self.0, State::Right);
        let ahead = shown.since(now);
        match state {
            _ if ahead.max(now.since(shown)) <= Clock::APART_MAX => Step::Keep,
            State::Right if ahead > Duration::ZERO => Step::Refuse { ahead },
            State::Right | State::Guessed => Step::Set(now),
        }
    }

    /// Nobody says what time it is; `late` is later than all that this board ever showed to others.
    pub(super) fn handle_silence(&mut self, shown: UnixSeconds, late: UnixSeconds) -> Step {
        match self.0 {
            State::Guessed if shown < late => Step::Set(late),
            State::Guessed | State::Right => Step::Keep,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: UnixSeconds = UnixSeconds::new(1_800_000_000);

    fn at(s: i64) -> UnixSeconds {
        UnixSeconds::new(NOW.get().saturating_add_signed(s))
    }

    #[test]
    fn a_clock_is_set_once_and_never_turned_back() {
        let check = |said: &[(UnixSeconds, Step)]| {
            let mut setter = Setter::default();
            for (shown, step) in said {
                assert_eq!(setter.handle_time(*shown, NOW), *step, "{shown}");
            }
        };
        let refused = |s| Step::Refuse { ahead: Duration::from_secs(s) };
        check(&[(UnixSeconds::new(10), Step::Set(NOW)), (NOW, Step::Keep), (at(3), refused(3))]);
        // A board may also begin in the future.
        check(&[(at(86_400), Step::Set(NOW)), (at(86_400), refused(86_400)), (at(-3), Step::Set(NOW))]);
        check(&[(at(2), Step::Keep), (at(-2), Step::Keep), (at(-3), Step::Set(NOW)), (at(3), refused(3))]);
    }

    #[test]
    fn without_anybody_it_goes_forward_until_somebody_knows() {
        let mut setter = Setter::default();
        assert_eq!(setter.handle_silence(UnixSeconds::new(10), NOW), Step::Set(NOW));
        assert_eq!(setter.handle_silence(at(1), NOW), Step::Keep);
        assert_eq!(setter.handle_time(at(600), NOW), Step::Set(NOW), "it was a guess");
        assert_eq!(setter.handle_silence(at(-5), NOW), Step::Keep);
    }
}
