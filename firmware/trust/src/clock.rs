//! The time of a board that may have no clock: a floor it was certainly past, then the coordinator's signed answer to
//! a nonce of its own. Refuses answers to other questions, answers below the floor, and, once the clock was set, every
//! jump back.

use core::time::Duration;

use serde::{Deserialize, Serialize};

use crate::coordinator::{Coordinator, CoordinatorCertificate, CoordinatorError};
use crate::digest::MeshId;
use crate::fixed;
use crate::key::{RootKey, role};
use crate::revocation::Revocations;
use crate::statement::{Kind, Signed, Statement, VerifyError};
use crate::time::UnixSeconds;

/// 32 bytes of the shell's randomness, new for each question.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Nonce(pub [u8; 32]);

impl Serialize for Nonce {
    fn serialize<S: serde::Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        fixed::serialize(&self.0, to)
    }
}
impl<'de> Deserialize<'de> for Nonce {
    fn deserialize<D: serde::Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        fixed::deserialize(from).map(Self)
    }
}

/// The coordinator's word about the time, in answer to one question.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SignedTime {
    pub mesh: MeshId,
    pub nonce: Nonce,
    pub now: UnixSeconds,
}

impl Statement for SignedTime {
    type Signer = role::Coordinator;
    const KIND: Kind = Kind::Time;
    const BYTES_MAX: usize = 160;

    fn mesh(&self) -> &MeshId {
        &self.mesh
    }
}

/// An answer about the time is not to be followed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ClockError {
    #[error("the coordinator that answered can't be believed")]
    Coordinator(#[source] CoordinatorError),
    #[error("the answer is not by the coordinator")]
    Answer(#[source] VerifyError),
    #[error("the answer is to another question")]
    OtherNonce,
    #[error("the answer took {} s, more than {} s", .0.as_secs(), Clock::ROUND_TRIP_MAX.as_secs())]
    TooSlow(Duration),
    #[error("the answer {answer} lies before {floor}, when this board certainly was")]
    BelowFloor { floor: UnixSeconds, answer: UnixSeconds },
    #[error("the answer {answer} would turn the clock back from {now}")]
    Back { now: UnixSeconds, answer: UnixSeconds },
}

/// What to do with the board's clock.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// It is right within [`Clock::APART_MAX`].
    Keep,
    Set(UnixSeconds),
}

/// What is known about the time before and after the first answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Clock {
    floor: UnixSeconds,
    state: State,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// Whatever the board shows is a guess.
    Guessed,
    /// An answer was followed since the start.
    Set,
}

/// An answer with all that it takes to believe it.
#[derive(Clone, Copy, Debug)]
pub struct Answer<'a> {
    pub certificate: &'a Signed<CoordinatorCertificate>,
    pub time: &'a Signed<SignedTime>,
    /// From question to answer, by a monotonic clock.
    pub round_trip: Duration,
}

impl Clock {
    /// A slower answer says too little: 10 s.
    pub const ROUND_TRIP_MAX: Duration = Duration::from_secs(10);
    /// A clock that is off by no more is left alone, so that it never goes back: 2 s. One that runs ahead by more
    /// gets [`ClockError::Back`], and may be slowed down by its shell.
    pub const APART_MAX: Duration = Duration::from_secs(2);

    /// At the start: the floor is when this software was built, or the last time that was saved.
    #[must_use]
    pub fn new(built: UnixSeconds, last_seen: Option<UnixSeconds>) -> Self {
        let floor = last_seen.map_or(built, |seen| seen.max(built));
        Self { floor, state: State::Guessed }
    }

    /// The board was certainly past this; saved now and then.
    #[must_use]
    pub const fn floor(&self) -> UnixSeconds {
        self.floor
    }

    /// Judges an answer, and says what to do with a clock that shows `shown`. The certificate is judged at the time
    /// of the answer, as there is no better one yet; the floor is what keeps a key from long ago out.
    ///
    /// # Errors
    /// [`ClockError`]; nothing is changed.
    pub fn handle_answer(
        &mut self,
        answer: &Answer<'_>,
        nonce: &Nonce,
        root: &RootKey,
        revocations: &Revocations,
        shown: UnixSeconds,
    ) -> Result<Step, ClockError> {
        let claimed = answer.time.claims().now;
        let coordinator = Coordinator::verify(answer.certificate, root, claimed, revocations)
            .map_err(ClockError::Coordinator)?;
        let time = coordinator.open(answer.time).map_err(ClockError::Answer)?;
        if time.nonce != *nonce {
            return Err(ClockError::OtherNonce);
        }
        if answer.round_trip > Self::ROUND_TRIP_MAX {
            return Err(ClockError::TooSlow(answer.round_trip));
        }
        // What a set clock shows raises the floor, and it may be ahead by as much as is left alone.
        if time.now.plus(Self::APART_MAX) < self.floor {
            return Err(ClockError::BelowFloor { floor: self.floor, answer: time.now });
        }
        // The answer was true at some moment of the round trip.
        let now = time.now.plus(answer.round_trip / 2);
        let apart = now.since(shown).max(shown.since(now));
        if apart > Self::APART_MAX && now < shown && self.state == State::Set {
            return Err(ClockError::Back { now: shown, answer: now });
        }
        (self.floor, self.state) = (self.floor.max(time.now), State::Set);
        if apart <= Self::APART_MAX { Ok(Step::Keep) } else { Ok(Step::Set(now)) }
    }

    /// Time goes on: what a set clock shows raises the floor. A guess raises nothing.
    pub fn handle_timeout(&mut self, shown: UnixSeconds) {
        if self.state == State::Set {
            self.floor = self.floor.max(shown);
        }
    }
}
